"""A table of runs: named configurations run one after the other, each in a folder of its own, resumable.

A row that is finished is kept, one that was interrupted goes on, and one that a finished run elsewhere has trained
already is taken from there. A row that fails does not lose the others.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cxrjax.base.config import ExperimentConfig, run_path
from cxrjax.base.types import InputError
from cxrjax.data.load import load
from cxrjax.models import pretrained, registry
from cxrjax.models.pretrained import Weights
from cxrjax.models.registry import ALEXNET
from cxrjax.runs import cost, experiment, finished
from cxrjax.storage.store import About, ImageStore
from cxrjax.training import seed_batches

log = logging.getLogger(__name__)

DONE, UNAVAILABLE, FAILED, WAITING = "done", "not available", "failed", "not run yet"
_NOTHING = cost.Work(0.0, 0.0)


class Row(NamedTuple):
    """One configuration of a table."""

    name: str  # of its folder
    label: str  # in the table
    config: ExperimentConfig  # with its own out
    note: str = ""  # what the table says of it besides
    unavailable: str = ""  # why it cannot be run; "" if it can


class Source(NamedTuple):
    """Data and weights that the rows share, opened once."""

    store: ImageStore
    about: About
    weights: Weights | None


class Met(NamedTuple):
    """What a configuration meets in the data, before anything is trained."""

    sizes: cost.Sizes
    patients: np.ndarray  # [S] in training, of each run
    settled: dict[str, Any]  # see `experiment.prepare`


class Task(NamedTuple):
    """A row, and what is left to do for it."""

    row: Row
    folder: Path | None  # of a finished run of it
    status: str
    reason: str
    left: cost.Work


class Outcome(NamedTuple):
    """What became of a row."""

    row: Row
    folder: Path | None  # of the finished run; None unless it is done
    status: str  # DONE, UNAVAILABLE, FAILED or WAITING
    reason: str = ""  # why it is not done


def open_source(data_dir: str | None, weights: str) -> Source:
    """Opens data and weights as `experiment.run` does.

    Raises:
      InputError: if either is missing or damaged.
    """
    found = None if weights == "random" else pretrained.load_weights(weights)
    side = pretrained.model_of(found, registry.ALEXNET.name).source
    return Source(*load(data_dir, size=side), found)


def meet(config: ExperimentConfig, source: Source) -> Met:
    """Draws and splits as the run will.

    Raises:
      InputError: if the run would be refused.
    """
    experiment.check(config)
    with _silent():
        made = experiment.prepare(config, source.store, source.about, _weights(config, source))
    drawn = list(zip(made.cohorts, made.splits, strict=True))
    train, val = [c.index[s.train] for c, s in drawn], [c.index[s.val] for c, s in drawn]
    sizes = cost.Sizes(
        np.array([len(rows) for rows in train]),
        np.array([len(rows) for rows in val]),
        len(np.unique(np.concatenate(train))),
        len(np.unique(np.concatenate(train + val))),
    )
    return Met(sizes, np.array([len(np.unique(c.patient[s.train])) for c, s in drawn]), made.settled)


def _weights(config: ExperimentConfig, source: Source) -> Weights | None:
    return None if config.weights == "random" else source.weights


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """`experiment.prepare` tells of the data each time; the run itself will."""
    before = experiment.log.level
    experiment.log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        experiment.log.setLevel(before)


def look(rows: Sequence[Row], source: Source, reuse: Sequence[finished.Run] = ()) -> list[Task]:
    """What is left to do for each row; nothing is trained or written.

    Args:
      rows: of the table.
      source: data and weights of all of them.
      reuse: finished runs, which serve the rows of the same numbers.

    Raises:
      InputError: if a row's folder holds another run.
    """
    return [_look(row, source, reuse) for row in rows]


def _look(row: Row, source: Source, reuse: Sequence[finished.Run]) -> Task:
    if row.unavailable:
        return Task(row, None, UNAVAILABLE, row.unavailable, _NOTHING)
    try:
        met = meet(row.config, source)
    except InputError as error:
        return Task(row, None, FAILED, str(error), _NOTHING)
    run = finished.Run(run_path(row.config), row.config, met.settled)
    folder = finished.own(run) or finished.same(run, reuse)
    if folder:
        return Task(row, folder, DONE, "", _NOTHING)
    weights = _weights(row.config, source)
    needed = cost.work(row.config, met.sizes, weights.model if weights else ALEXNET)
    share = 1 - seed_batches.trained_share(run.folder / "checkpoints", row.config.epochs, len(met.sizes.train))
    return Task(row, None, WAITING, "", cost.Work(needed.convolution * share, needed.dense * share))


def seconds(tasks: Sequence[Task], speed: cost.Speed) -> float:
    """Time that is left."""
    return sum(cost.seconds(task.left, speed) for task in tasks if task.status == WAITING)


def forecast(tasks: Sequence[Task], speed: cost.Speed) -> str:
    """What will be done and how long it will take, a line a row."""
    lines = [f"estimated time: {duration(seconds(tasks, speed))} ({cost.explain(speed)})"]
    for task in tasks:
        if task.status == WAITING:
            what = duration(cost.seconds(task.left, speed))
        else:
            what = f"finished, {task.folder}" if task.status == DONE else f"{task.status}: {task.reason}"
        lines.append(f"  {task.row.name:14s} {what}")
    return "\n".join(lines)


def duration(seconds: float) -> str:
    """In whole minutes.

    >>> duration(20), duration(130), duration(5400)
    ('under 1 min', '2 min', '1 h 30 min')
    """
    minutes = round(seconds / 60)
    if minutes < 1:
        return "under 1 min"
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def waiting(tasks: Sequence[Task]) -> list[Outcome]:
    """The rows as they stand before any is run."""
    return [Outcome(task.row, task.folder, task.status, task.reason) for task in tasks]


def run(tasks: Sequence[Task], speed: cost.Speed) -> Iterator[list[Outcome]]:
    """Runs what is left, row by row; gives the state of all rows after each of them.

    A mistake that a row is refused for is its outcome, and the next row begins.
    """
    outcomes = waiting(tasks)
    open_places = [place for place, task in enumerate(tasks) if task.status == WAITING]
    foreseen, took = 0.0, 0.0  # seconds, of the rows that were run
    for number, place in enumerate(open_places):
        later = [tasks[i] for i in open_places[number:]]
        left = seconds(later, speed) * (took / foreseen if foreseen else 1.0)
        log.info("row %d of %d, %s: %s; all rows: %s left", number + 1, len(open_places), tasks[place].row.name,
                 tasks[place].row.label, duration(left))  # fmt: skip
        started = time.monotonic()
        outcomes[place] = _run(tasks[place].row)
        if outcomes[place].status == DONE:
            took += time.monotonic() - started
            foreseen += cost.seconds(tasks[place].left, speed)
        yield outcomes


def _run(row: Row) -> Outcome:
    try:
        experiment.run(row.config)
    except InputError as error:
        log.error("%s failed: %s", row.name, error)
        return Outcome(row, None, FAILED, str(error))
    return Outcome(row, run_path(row.config), DONE)
