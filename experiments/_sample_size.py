"""Accuracy and AUROC against the number of training patients.

For each seed the patients of a size are the first ones of one random order (`cohort.subset_train_patients`), so that a
smaller size is part of a larger one; the validation images are the same at every size.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from cxrjax.base import InputError
from cxrjax.base.config import ExperimentConfig
from cxrjax.base.tasks import Task
from cxrjax.report.figures import forest
from cxrjax.runs import sweep, sweep_tables
from cxrjax.runs.sweep import Outcome, Row
from cxrjax.runs.sweep_tables import Column, compared, measured

from ._rows import Shown

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ALL = "all"


class Size(NamedTuple):
    """A number of training patients."""

    asked: str  # as the flag has it
    patients: int  # 0: all


class Design(NamedTuple):
    """The rows, and what they were made of."""

    rows: list[Row]
    patients: dict[str, float]  # row -> training patients, mean over runs
    steps: dict[str, float]  # row -> steps of gradient descent, mean over runs
    pool: float  # images on a run's training side, of which a size takes some; mean over runs
    fix: str  # see `design`

    def show(self, task: Task, outcomes: Sequence[Outcome], minutes: float) -> Shown:
        """The table in its forms."""
        rows = table(outcomes, self)
        return Shown(
            sweep_tables.csv(rows),
            markdown(rows, task, self.fix, sweep_tables.notes_of(outcomes, ALL)),
            figure(rows, task),
            last_line(rows, task, minutes),
        )


def sizes(text: str, patients: int) -> list[Size]:
    """Sizes of a flag such as `1/16,0.25,100,all`, the smallest first, each number of patients once.

    Args:
      text: fractions, numbers of patients and `all`, separated by commas.
      patients: on the training side of every run, of which fractions are taken and rounded.

    Raises:
      InputError: if one is neither, below 1, or a fraction above 1.
    """
    by_patients: dict[int, Size] = {}
    for word in filter(None, (word.strip() for word in text.split(","))):
        size = _size(word, patients)
        by_patients.setdefault(size.patients, size)
    if not by_patients:
        raise InputError(f"--sizes must name at least one size, got {text!r}")
    return sorted(by_patients.values(), key=lambda size: size.patients or np.inf)


def _size(word: str, patients: int) -> Size:
    if word == ALL:
        return Size(word, 0)
    if word.isdecimal() and int(word):
        return Size(word, int(word))
    parts = re.fullmatch(r"(\d+)/(\d+)|(0?\.\d+)", word)
    if parts and parts[2] != "0" and not (parts[2] and int(parts[2]) == 0):
        share = float(parts[3]) if parts[3] else int(parts[1]) / int(parts[2])
        if 0 < share < 1:
            return Size(word, max(1, round(share * patients)))
        if share == 1:
            return Size(word, 0)
    raise InputError(f"--sizes must hold whole numbers above 0, fractions up to 1 or 'all', got {word!r}")


def design(base: ExperimentConfig, source: sweep.Source, text: str, fix: str) -> Design:
    """A row for each size; one that leaves a run without one of the classes, or asks for too many, is not available.

    Args:
      base: configuration of all patients.
      source: its data and weights.
      text: see `sizes`.
      fix: epochs: those of `base` at each size, so that fewer patients mean fewer steps; steps: so many epochs that
        each size makes as many steps as `base` does with all patients, to the nearest epoch.

    Raises:
      InputError: if no size is left, or the data do not serve.
    """
    whole = sweep.dry_run(base, source)
    designed = Design([], {}, {}, float(whole.sizes.train.mean()), fix)
    refused = []
    for size in sizes(text, int(whole.patients.min())):
        name = f"patients_{size.patients:05d}" if size.patients else ALL
        config = sweep.row_config(base, name, train_patients=size.patients)
        try:
            dry = sweep.dry_run(config, source)
        except InputError as error:
            refused.append(str(error))
            designed.rows.append(Row(name, size.asked, config, unavailable=str(error)))
            continue
        if fix == "steps":
            config = dataclasses.replace(config, epochs=whole.epochs_of_equal_steps(dry))
        designed.rows.append(Row(name, size.asked, config))
        designed.patients[name] = float(dry.patients.mean())
        designed.steps[name] = config.epochs * dry.steps
    if not designed.patients:
        raise InputError(f"--sizes={text}: no size can be trained on; {refused[0]}")
    return designed


def table(outcomes: Sequence[Outcome], designed: Design) -> pd.DataFrame:
    """A row a size: columns of `sweep_tables.table`, with patients and steps (means over runs); shares 0..1.

    Intervals are the corrected resampled t, but with all images of the training side, `Design.pool`, as n_train at each
    size: the correction 1/J + n_val/n_train stands for what the runs of different seeds share, and those of few
    patients share no more than others. With the images trained on it would be far too large: simulated with 800
    images, 160 of them for validation, ten runs and a linear discriminant, the interval held the true accuracy 99, 98,
    97, 96 and 96 times of 100 with 40, 80, 160, 320 and 640 images trained on (tests/experiments/test_sample_size.py);
    with these as n_train it was 3.4, 2.4, 1.8, 1.3 and 1 times as wide.
    """
    rows = sweep_tables.table(outcomes, ALL, designed.pool)
    asked = {outcome.row.name: outcome.row.config.train_patients for outcome in outcomes}
    rows.insert(1, "patients", [designed.patients.get(name, asked[name]) for name in rows["row"]])
    rows.insert(2, "steps", [designed.steps.get(name, np.nan) for name in rows["row"]])
    return rows


def _patients(row: pd.Series) -> str:
    return f"{row['patients']:.0f}"


def _label(row: pd.Series) -> str:
    return str(row["label"])


def markdown(rows: pd.DataFrame, task: Task, fix: str, notes: Sequence[str] = ()) -> str:
    """The table as people read it, in percent, with what must be known beside it.

    Args:
      rows: see `table`.
      task: of the runs.
      fix: see `design`.
      notes: further lines, of the data.
    """
    accuracy, interval = measured("accuracy")
    columns = [
        Column("size", _label, undone=_label),
        Column("training patients", _patients, undone=_patients),
        Column("training images", lambda row: f"{row['n_train']:.0f}"),
        accuracy._replace(undone=lambda row: str(row["status"])),
        interval,
        *measured("auroc"),
        compared("accuracy", ALL),
        compared("auroc", ALL),
        sweep_tables.RUNS,
        Column("steps", lambda row: f"{row['steps']:.0f}"),
    ]
    title = f"{task.title}: how many patients are needed"
    return sweep_tables.document(title, columns, rows, [*_below(rows, fix), *notes])


def _below(rows: pd.DataFrame, fix: str) -> list[str]:
    held = (
        "Every size makes the same number of steps, to the nearest epoch: fewer patients are seen in more epochs."
        if fix == "steps"
        else "Every size is trained for the same epochs: fewer patients also mean fewer steps of gradient descent."
    )
    lines = [
        held,
        "Accuracy and AUROC are mean ± SD over runs. Patients are drawn anew for each run, a smaller size being part "
        "of a larger one; validation images are the same at every size.",
        "Intervals are the corrected resampled t of Nadeau and Bengio (2003), n_train being the images that a run "
        "could have trained on, not those of the size; they are not widened for the number of sizes.",
    ]
    lines += [f"{row['label']}: {row['reason']}." for _, row in rows[rows["reason"] != ""].iterrows()]
    return lines + [f"Difference from all, {line}." for line in sweep_tables.cautions(rows, "label")]


def last_line(rows: pd.DataFrame, task: Task, minutes: float) -> str:
    """The smallest and the largest size in a line."""
    done = sweep_tables.done(rows).sort_values("patients")
    ends = [done.iloc[0], done.iloc[-1]] if len(done) > 1 else [row for _, row in done.iterrows()]
    parts = [
        f"{row['patients']:.0f} training patients: accuracy {sweep_tables.mean_sd(row, 'accuracy')}, "
        f"AUROC {sweep_tables.mean_sd(row, 'auroc')}"
        for row in ends
    ]
    return f"{task.title}: {'; '.join([*parts, f'{len(done)} of {len(rows)} sizes'])}, {minutes:.0f} min"


def figure(rows: pd.DataFrame, task: Task) -> Figure | None:
    """Accuracy and AUROC against training patients; None if no row is done."""
    done = sweep_tables.done(rows).sort_values("patients")
    return forest.sample_size(done, sweep_tables.runs_of(done), task) if len(done) else None
