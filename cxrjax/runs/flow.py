"""How a source's images become those of the runs, stage by stage: CLAIM's and STARD's flow of participants."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from cxrjax.base import tasks
from cxrjax.base.config import ExperimentConfig
from cxrjax.base.tasks import Task
from cxrjax.data import cohort
from cxrjax.data.cohort import Cohort, Split
from cxrjax.storage.store import About

EXCLUDED = ("not_present", "unreadable", "unlabelled", "other_view", "other_class", "not_drawn", "train_excluded")
_COUNTS = ("images", "positives", "negatives")


def flow(
    config: ExperimentConfig, about: About, table: pd.DataFrame, cohorts: Sequence[Cohort], splits: Sequence[Split]
) -> pd.DataFrame:
    """`RunTables.flow`.

    Stages in order, those of `EXCLUDED` indented: listed (in the source's own table), not_present (of those, never
    downloaded), unreadable, unlabelled, other_view (than --view), other_class (neither positive nor negative in the
    task: NP with findings where the negatives are NF), eligible, not_drawn (negatives left over by the draw), drawn,
    train_excluded (of patients whom --train_patients or --hold_out_boxes leaves out), train, val. From not_drawn on
    means over runs.

    Images, positives and negatives of a stage are those of the stage before less the excluded between them; train and
    val are drawn less train_excluded. Patients do not add up: one may be in several. NaN is what a source does not say:
    patients of images that are not there, and the classes of those where some are missing and others unreadable.

    Args:
      config: task and view count.
      about: of the store.
      table: of the store.
      cohorts: of each run.
      splits: of each run.
    """
    task = tasks.get(config.task)
    positive, negative = (cohort.members(table["labels"], c) for c in (task.positive, task.negative))
    labelled = (table["labels"] != "").to_numpy(bool)
    in_view = np.ones(len(table), bool) if config.view == "all" else (table["view"] == config.view).to_numpy(bool)

    def row(stage: str, parts: list[np.ndarray]) -> tuple[object, ...]:
        """Means over runs, whose images are given as [N] bool."""
        counts = [(p.sum(), (p & positive).sum(), (p & negative).sum(), table["patient"][p].nunique()) for p in parts]
        return stage, stage in EXCLUDED, *np.mean(counts, axis=0)

    eligible = (positive | negative) & in_view
    drawn, train, val = _of_runs(len(table), cohorts, splits)
    rows = [
        *_before(about, task, row("present", [np.ones(len(table), bool)])[2:5]),
        row("unlabelled", [~labelled]),
        row("other_view", [labelled & ~in_view]),
        row("other_class", [labelled & in_view & ~eligible]),
        row("eligible", [eligible]),
        row("not_drawn", [eligible & ~own for own in drawn]),
        row("drawn", drawn),
        row("train_excluded", [d & ~t & ~v for d, t, v in zip(drawn, train, val, strict=True)]),
        row("train", train),
        row("val", val),
    ]
    return pd.DataFrame(rows, columns=["stage", "excluded", *_COUNTS, "patients"])


def _of_runs(
    n: int, cohorts: Sequence[Cohort], splits: Sequence[Split]
) -> tuple[list[np.ndarray], list[np.ndarray], list[np.ndarray]]:
    """Images of each run, [n] bool: drawn, for training, for validation."""
    rows = np.arange(n)
    return (
        [np.isin(rows, c.index) for c in cohorts],
        [np.isin(rows, c.index[s.train]) for c, s in zip(cohorts, splits, strict=True)],
        [np.isin(rows, c.index[s.val]) for c, s in zip(cohorts, splits, strict=True)],
    )


def _before(about: About, task: Task, present: Sequence[object]) -> list[tuple[object, ...]]:
    """listed, not_present and unreadable; `present` are the `_COUNTS` of the store."""
    there = np.array(present, float)
    bad = len(about.bad_images)
    classes = cohort.count(about.listed, (task.positive, task.negative))
    if about.listed:
        listed = np.array([sum(about.listed.values()), *classes.values()], float)
    else:  # a source without a table of its own lists what it has
        listed = there + np.array([bad, *[np.nan if bad else 0] * 2])
    lost = listed - there
    unreadable = min(bad, lost[0])
    missing, broken = (
        lost if part == lost[0] else np.array([part, *[np.nan if part else 0.0] * 2])
        for part in (lost[0] - unreadable, unreadable)
    )
    stages = (("listed", listed), ("not_present", missing), ("unreadable", broken))
    return [(name, name in EXCLUDED, *counts, np.nan if counts[0] else 0.0) for name, counts in stages]
