"""Sets of scores by image: any model's table beside labels, or a finished run's; and two of them compared.

A set has a row an image, and where several seeds scored it one for each: seed, image, patient, label, score (0..1).
"""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pandas as pd

from cxrjax.analysis import comparison
from cxrjax.analysis.comparison import Comparison
from cxrjax.analysis.tables import SCORED_BY_ALL, TABLES, read_table
from cxrjax.base import InputError
from cxrjax.base.config import question, question_paths
from cxrjax.base.flags import ScoresFlags
from cxrjax.base.tasks import Task
from cxrjax.data import classes, predictions
from cxrjax.runs import run_folder

log = logging.getLogger(__name__)

OF_RUN = {"validation": "predictions"} | {name: name for name in SCORED_BY_ALL}  # --set -> table of a run
_FLAGS = {"external": "external_dir", "test": "test"}  # of training, whence a set comes


def read(path: Path, task: Task, listed: pd.DataFrame, logits: bool) -> dict[str, pd.DataFrame]:
    """Finding -> its scores in a table, of the listed images that are in a class of its question.

    Args:
      path: see `predictions.read`.
      task: that is asked.
      listed: see `predictions.listed`; or image, patient and for each finding `label FINDING` (0, 1; NaN: in no class).
      logits: the table has log odds.

    Raises:
      InputError: see `predictions.read` and `joined`; or no scored image is in a class of the task.
    """
    scored = predictions.read(path, task.questions, logits)
    rows, sets = predictions.joined(scored, listed, str(path)), {}
    for part in task.questions:
        finding = part.positive.finding
        if finding not in scored:
            continue
        if "labels" in rows:
            label, belongs = classes.in_class(rows["labels"], part)
        else:
            label = rows[f"label {finding}"].to_numpy()
            belongs = ~np.isnan(label)
        of_part = rows.assign(label=label, seed=0, score=rows[f"score {finding}"])[belongs].astype({"label": int})
        if len(of_part):
            sets[finding] = of_part.reset_index(drop=True)
        else:
            log.warning("%s: no image is in a class of it", part.title)
    if not sets:
        raise InputError(f"{path}: no matched image is in a class of {task.title}")
    return sets


def of_run(folder: Path, which: str) -> tuple[Task, dict[str, pd.DataFrame]]:
    """The task of a finished run, and for each finding its scores of the set `which` of `OF_RUN`.

    Raises:
      InputError: see `run_folder.read_finished`; or it has no such set.
    """
    config, _ = run_folder.read_finished(folder)
    of_set, sets = TABLES[OF_RUN[which]], {}
    for of_question, place in question_paths(folder, config).items():
        path = place / f"{of_set.file}.csv"
        if which in SCORED_BY_ALL and not path.is_file():
            raise InputError(f"--set={which}: {folder} has no such images; it was trained without --{_FLAGS[which]}")
        sets[question(of_question).positive.finding] = read_table(path, of_set.columns)[of_set.columns]
    return question(config), sets


def _labels(sets: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """What a run says of its images, see `read`."""
    of_images = {name: scored.drop_duplicates("image").set_index(["image", "patient"]) for name, scored in sets.items()}
    return pd.concat([rows["label"].rename(f"label {name}") for name, rows in of_images.items()], axis=1).reset_index()


def compare(a: Path, b: Path, which: str, task: Task | None, flags: ScoresFlags) -> dict[str, Comparison]:
    """Finding -> two sets of scores on common images, of each finding that both have.

    Args:
      a: folder of a finished run, or a table of scores.
      b: likewise.
      which: of `OF_RUN`, the set of a run.
      task: that two tables are asked; beside a run it is the run's.
      flags: whence the labels of two tables come; whether tables have log odds.

    Raises:
      InputError: see `read`, `of_run`, `comparison.compare_scores`; or no finding is in both.
    """
    runs = {place: of_run(place, which) for place in (a, b) if not place.is_file()}
    if len(titles := {run_task.title for run_task, _ in runs.values()}) > 1:
        raise InputError(f"the runs answer different questions, {' and '.join(titles)}, and cannot be compared")
    task = next((run_task for run_task, _ in runs.values()), task)
    if task is None:
        raise ValueError("task must be given: of two tables it is not known")
    if runs:
        listed = _labels(next(iter(runs.values()))[1])
        log.info("%s: its %s set, %d images, and its labels of them", next(iter(runs)), which, len(listed))
    else:
        listed = predictions.listed(str(flags.data_dir), flags, flags.labels)
    sides = [runs[x][1] if x in runs else read(x, task, listed, flags.logits) for x in (a, b)]
    if not (both := [name for name in sides[0] if name in sides[1]]):
        raise InputError(f"{a} and {b} have no finding in common: {', '.join(sides[0])}; {', '.join(sides[1])}")
    return {name: comparison.compare_scores(sides[0][name], sides[1][name]) for name in both}
