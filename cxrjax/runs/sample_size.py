"""Accuracy and AUROC against the number of training patients.

For each seed the patients of a size are the first ones of one random order (`cohort.subset_train_patients`), so that a
smaller size is part of a larger one; the validation images are the same at every size.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from cxrjax.base import tasks
from cxrjax.base.config import ExperimentConfig
from cxrjax.base.types import InputError
from cxrjax.report.figures import sweeps
from cxrjax.report.language import DASH
from cxrjax.report.pages import escape
from cxrjax.runs import sweep, sweep_tables
from cxrjax.runs.sweep import DONE, Outcome, Row
from cxrjax.training import plan as planning

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


def sizes(text: str, patients: int) -> list[Size]:
    """Sizes of a flag such as `1/16,0.25,100,all`, the smallest first, each number of patients once.

    Args:
      text: fractions, numbers of patients and `all`, separated by commas.
      patients: on the training side of every run, of which fractions are taken and rounded.

    Raises:
      InputError: if one is neither, below 1, or a fraction above 1.
    """
    found: dict[int, Size] = {}
    for word in filter(None, (word.strip() for word in text.split(","))):
        size = _size(word, patients)
        found.setdefault(size.patients, size)
    if not found:
        raise InputError(f"--sizes must name at least one size, got {text!r}")
    return sorted(found.values(), key=lambda size: size.patients or np.inf)


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
    whole = sweep.meet(base, source)
    made = Design([], {}, {}, float(whole.sizes.train.mean()))
    refused = []
    for size in sizes(text, int(whole.patients.min())):
        name = f"patients_{size.patients:05d}" if size.patients else ALL
        config = dataclasses.replace(
            base, train_patients=size.patients, floors=False, out=str(Path(base.out or "") / name)
        )
        try:
            met = sweep.meet(config, source)
        except InputError as error:
            refused.append(str(error))
            made.rows.append(Row(name, size.asked, config, unavailable=str(error)))
            continue
        each = _steps(base, met)
        if fix == "steps":
            config = dataclasses.replace(config, epochs=max(1, round(base.epochs * _steps(base, whole) / each)))
        made.rows.append(Row(name, size.asked, config))
        made.patients[name] = float(met.patients.mean())
        made.steps[name] = config.epochs * each
    if not made.patients:
        raise InputError(f"--sizes={text}: no size can be trained on; {refused[0]}")
    return made


def _steps(config: ExperimentConfig, met: sweep.Met) -> float:
    """Of an epoch, mean over runs."""
    return float(np.mean([planning.steps_per_epoch(int(n), config.batch_size) for n in met.sizes.train]))


def table(outcomes: Sequence[Outcome], made: Design) -> pd.DataFrame:
    """A row a size: columns of `sweep_tables.table`, with patients and steps (means over runs); shares 0..1.

    Intervals are the corrected resampled t, but with all images of the training side, `Design.pool`, as n_train at each
    size: the correction 1/J + n_val/n_train stands for what the runs of different seeds share, and those of few
    patients share no more than others. With the images trained on it would be far too large: simulated with 800
    images, 160 of them for validation, ten runs and a linear discriminant, the interval held the true accuracy 99, 98,
    97, 96 and 96 times of 100 with 40, 80, 160, 320 and 640 images trained on (`tests/test_sample_size.py`); with these
    as n_train it was 3.4, 2.4, 1.8, 1.3 and 1 times as wide.
    """
    found = sweep_tables.table(outcomes, ALL, made.pool)
    asked = {outcome.row.name: outcome.row.config.train_patients for outcome in outcomes}
    found.insert(1, "patients", [made.patients.get(name, asked[name]) for name in found["row"]])
    found.insert(2, "steps", [made.steps.get(name, np.nan) for name in found["row"]])
    return found


def markdown(found: pd.DataFrame, task: str, fix: str, notes: Sequence[str] = ()) -> str:
    """The table as people read it, in percent, with what must be known beside it.

    Args:
      found: see `table`.
      task: p_vs_nf or p_vs_np.
      fix: see `design`.
      notes: further lines, of the data.
    """
    head = ["size", "training patients", "training images", "accuracy", "95 % interval", "AUROC", "95 % interval",
            "accuracy − all", "AUROC − all", "runs × epochs", "steps"]  # fmt: skip
    body = sweep_tables.markdown(head, [_cells(row) for _, row in found.iterrows()])
    return f"### {tasks.get(task).title}: how many patients are needed\n\n{body}\n\n{_below(found, fix, notes)}\n"


def _cells(row: pd.Series) -> list[str]:
    if row["status"] != DONE:
        return [row["label"], f"{row['patients']:.0f}", DASH, row["status"], *[DASH] * 7]
    return [
        row["label"],
        f"{row['patients']:.0f}",
        f"{row['n_train']:.0f}",
        sweep_tables.mean_sd(row, "accuracy"),
        sweep_tables.interval(row, "accuracy"),
        sweep_tables.mean_sd(row, "auroc"),
        sweep_tables.interval(row, "auroc"),
        sweep_tables.difference(row, "accuracy"),
        sweep_tables.difference(row, "auroc"),
        f"{row['seeds']} × {row['epochs']}",
        f"{row['steps']:.0f}",
    ]


def _below(found: pd.DataFrame, fix: str, notes: Sequence[str]) -> str:
    held = (
        "Every size makes the same number of steps, to the nearest epoch: fewer patients are seen in more epochs."
        if fix == "steps"
        else "Every size is trained for the same epochs: fewer patients also mean fewer steps of gradient descent."
    )
    told = [
        held,
        "Accuracy and AUROC are mean ± SD over runs. Patients are drawn anew for each run, a smaller size being part "
        "of a larger one; validation images are the same at every size.",
        "Intervals are the corrected resampled t of Nadeau and Bengio (2003), n_train being the images that a run "
        "could have trained on, not those of the size; they are not widened for the number of sizes.",
    ]
    told += [f"{row['label']}: {row['reason']}." for _, row in found[found["reason"] != ""].iterrows()]
    told += [f"Difference from all, {line}." for line in sweep_tables.cautions(found, "label")]
    return "\n".join(f"- {escape(line)}" for line in [*told, *notes])


def notes(outcomes: Sequence[Outcome]) -> list[str]:
    """What a reader must know of the data: the notes of the summary of the run on all patients."""
    whole = sweep_tables.read_all(outcomes)[1].get(ALL)
    return whole.notes if whole else []


def last_line(found: pd.DataFrame, task: str, minutes: float) -> str:
    """The smallest and the largest size in a line."""
    known = found[found["status"] == DONE].sort_values("patients")
    ends = [known.iloc[0], known.iloc[-1]] if len(known) > 1 else [row for _, row in known.iterrows()]
    told = [
        f"{row['patients']:.0f} training patients: accuracy {sweep_tables.mean_sd(row, 'accuracy')}, "
        f"AUROC {sweep_tables.mean_sd(row, 'auroc')}"
        for row in ends
    ]
    return f"{tasks.get(task).title}: {'; '.join([*told, f'{len(known)} of {len(found)} sizes'])}, {minutes:.0f} min"


def figure(found: pd.DataFrame, task: str) -> Figure | None:
    """Accuracy and AUROC against training patients; None if no row is done."""
    done = found[found["status"] == DONE].sort_values("patients")
    runs = [sweep_tables.read(Path(folder)).seeds for folder in done["folder"]]
    return sweeps.sample_size(done, runs, tasks.get(task)) if len(done) else None
