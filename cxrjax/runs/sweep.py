"""A table of runs: named configurations run one after the other, each in a folder of its own, resumable.

A row that is finished is kept, one that was interrupted goes on, and one that a finished run elsewhere has trained
already is taken from there. A row that fails does not lose the others.
"""

from __future__ import annotations

import dataclasses
import functools
import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cxrjax.base import InputError, progress
from cxrjax.base.config import ExperimentConfig, run_path
from cxrjax.base.flags import SOURCE_FLAGS
from cxrjax.data.load import at_hand
from cxrjax.models import pretrained
from cxrjax.models.model import Model
from cxrjax.models.pretrained import Weights
from cxrjax.runs import cost, draws, experiment, run_folder, setup
from cxrjax.runs.draws import Cohorts
from cxrjax.storage.store import About, ImageStore
from cxrjax.training.plan import steps_per_epoch

log = logging.getLogger(__name__)

DONE, UNAVAILABLE, FAILED, WAITING = "done", "not available", "failed", "not run yet"
_NOTHING = cost.Work(0.0, 0.0)
# Fields in which runs of the same numbers may differ: where files lie (hashes tell what is in them), how the work is
# spread, what is evaluated besides, and how it is told.
_FREE = SOURCE_FLAGS | {
    "name", "recipe", "data_dir", "labels", "weights", "max_bad", "out", "overwrite", "input", "seed_batch",
    "external_dir", "lang", "prevalence", "wanted_sensitivity", "floors", "small_ok",
}  # fmt: skip


class Row(NamedTuple):
    """One configuration of a table."""

    name: str  # of its folder
    label: str  # in the table
    config: ExperimentConfig  # with its own out
    note: str = ""  # what the table says of it besides
    unavailable: str = ""  # why it cannot be run; "" if it can


def row_config(base: ExperimentConfig, name: str, **changes: Any) -> ExperimentConfig:
    """The base with some fields changed, as a row: in a folder of its own below the base's, without controls; a row
    that starts from one above it names that, start_from="NAME"."""
    folder, start = Path(base.out or ""), changes.get("start_from", base.start_from)
    changes["start_from"] = str((folder / start).resolve()) if start else ""
    return dataclasses.replace(base, floors=False, out=str(folder / name), **changes)


class Opened(NamedTuple):
    """Images at the size that a network takes."""

    store: ImageStore
    about: About
    hashes: setup.ImageHashes


class Source:
    """Data and weights of the rows, each opened once, at its first use; each image is hashed once."""

    def __init__(self, make: bool = True) -> None:
        """Nothing is read yet. `make`: see `load.load`."""
        self.make = make
        self._opened: dict[tuple[str | None, int], Opened] = {}
        self._load = functools.cache(lambda place: pretrained.load_weights(place))
        self.digest = functools.cache(lambda place: setup.weights_digest(self._load(place)))

    def network(self, config: ExperimentConfig) -> tuple[ExperimentConfig, Weights | None]:
        """See `setup.open_network`."""
        return setup.open_network(config, self._load)

    def data(self, config: ExperimentConfig, side: int) -> Opened:
        """Images of a row, whose source flags are those of all rows; see `setup.open_data`."""
        place = config.data_dir, side
        if place not in self._opened:
            store, about = setup.open_data(config, side, self.make)
            self._opened[place] = Opened(store, about, setup.ImageHashes(store))
        return self._opened[place]

    def open(self, base: ExperimentConfig) -> tuple[ExperimentConfig, Weights | None]:
        """Opens data and weights as `experiment.run` does, or raises its InputError; names the network."""
        base, weights = self.network(base)
        self.data(base, setup.model_of(base, weights).source)
        return base, weights


class DryRun(NamedTuple):
    """What a configuration, its network named, meets in the data, before anything is built or trained."""

    config: ExperimentConfig
    model: Model
    cohorts: Cohorts
    sizes: cost.Sizes
    patients: np.ndarray  # [S] in training, of each run
    weights_sha256: str | None
    data_sha256: str  # "": not known, nothing being prepared

    @property
    def steps(self) -> float:
        """Of an epoch, mean over runs."""
        return float(np.mean([steps_per_epoch(int(n), self.config.batch_size) for n in self.sizes.train]))

    def epochs_of_equal_steps(self, other: DryRun, share: float = 1.0) -> int:
        """Epochs of another configuration that make this share of the steps of this one, to the nearest epoch."""
        return max(1, round(share * self.config.epochs * self.steps / other.steps))


class KnownRun(NamedTuple):
    """A finished run, or one that is to be."""

    folder: Path
    config: ExperimentConfig
    device: str
    weights_sha256: str | None
    data_sha256: str


class Outcome(NamedTuple):
    """What has become of a row, and what is left to do for it."""

    row: Row
    folder: Path | None  # of the finished run; None unless it is done
    status: str  # DONE, UNAVAILABLE, FAILED or WAITING
    reason: str = ""  # why it is not done
    left: cost.Work = _NOTHING
    dry_run: DryRun | None = None  # of what is WAITING


def dry_run(config: ExperimentConfig, source: Source) -> DryRun:
    """Draws and splits as the run will.

    Raises:
      InputError: if the run would be refused.
    """
    setup.check(config)
    config, weights = source.network(config)
    model = setup.model_of(config, weights)
    store, _, hashes = source.data(config, model.source)
    cohorts = draws.draw(config, store)
    pairs = zip(cohorts.cohorts, cohorts.splits, strict=True)
    patients = np.array([len(np.unique(c.patient[split.train])) for c, split in pairs])
    weights_sha256 = None if config.weights == "random" else source.digest(config.weights)
    is_known = at_hand(store)
    data_sha256 = setup.data_digest(hashes.of(cohorts.rows), store.table, cohorts.test) if is_known else ""
    return DryRun(config, model, cohorts, cost.sizes(config, cohorts), patients, weights_sha256, data_sha256)


def read_known(folder: Path) -> KnownRun:
    """A finished run.

    Raises:
      InputError: if the folder is not that of a finished run.
    """
    config, resolved = run_folder.read_finished(folder)
    return KnownRun(folder, config, resolved.device, resolved.weights_sha256, resolved.data_sha256)


def gather(folders: Iterable[str | Path]) -> list[KnownRun]:
    """Finished runs, and the finished ones among their arms.

    Raises:
      InputError: if a folder is not that of a finished run.
    """
    runs = []
    for folder in map(Path, folders):
        runs.append(read_known(folder))
        runs += [read_known(path) for path in sorted(folder.glob("arms/*")) if run_folder.is_finished(path)]
    return runs


def differences(a: KnownRun, b: KnownRun) -> list[str]:
    """What keeps two runs from having the same numbers, as `epochs (30, not 60)`; empty if nothing does.

    A run split by both is a run split by patient, the other split being an arm. Weights and data are compared by their
    hashes. Devices may differ, which round differently.
    """
    names = [field.name for field in dataclasses.fields(ExperimentConfig) if field.name not in _FREE]
    pairs = [(name, _value(a, name), _value(b, name)) for name in names]
    return (
        [f"{name} ({of_a}, not {of_b})" for name, of_a, of_b in pairs if of_a != of_b]
        + ["weights"] * (a.weights_sha256 != b.weights_sha256)
        + ["data"] * (a.data_sha256 != b.data_sha256 and bool(a.data_sha256 and b.data_sha256))
    )


def _value(run: KnownRun, name: str) -> Any:
    value = getattr(run.config, name)
    return "patient" if name == "split_by" and value == "both" else value


def find_same(wanted: KnownRun, candidates: Sequence[KnownRun]) -> Path | None:
    """Folder of the first candidate that has the numbers of the run; None if none has."""
    return next((run.folder for run in candidates if not differences(wanted, run)), None)


def finished_folder(wanted: KnownRun) -> Path | None:
    """Its folder if it holds this run, finished; None if there is none, or it is to be continued.

    Raises:
      InputError: if the folder holds another run, so that it would be refused at its turn.
    """
    folder, remedy = wanted.folder, "give another --out, or remove that folder"
    if run_folder.is_finished(folder):
        differing = differences(read_known(folder), wanted)
        if differing:
            raise InputError(f"{folder} holds another run, which differs in {', '.join(differing)}; {remedy}")
        return folder
    if (folder / "config.json").is_file():
        before = run_folder.recall(wanted.config)
        data = before.data_sha256 if before and wanted.data_sha256 else ""
        if before is None or (before.device, before.weights_sha256, data) != wanted[2:]:
            raise InputError(f"{folder} holds an interrupted run of other flags, data, weights or device; {remedy}")
    return None


def plan_rows(rows: Sequence[Row], source: Source, reuse: Sequence[KnownRun] = ()) -> list[Outcome]:
    """What is left to do for each row; nothing is trained or written.

    Args:
      rows: of the table.
      source: data and weights of all of them.
      reuse: finished runs, which serve the rows of the same numbers.

    Raises:
      InputError: if a row's folder holds another run.
    """
    return [_plan_row(row, source, reuse) for row in rows]


def _plan_row(row: Row, source: Source, reuse: Sequence[KnownRun]) -> Outcome:
    if row.unavailable:
        return Outcome(row, None, UNAVAILABLE, row.unavailable)
    try:
        dry = dry_run(row.config, source)
    except pretrained.NoWeights as error:
        return Outcome(row, None, UNAVAILABLE, f"weights not available: {error}")
    except InputError as error:
        return Outcome(row, None, FAILED, str(error))
    row = row._replace(config=dry.config)
    run = KnownRun(run_path(row.config), row.config, setup.device(), dry.weights_sha256, dry.data_sha256)
    folder = finished_folder(run) or find_same(run, reuse)
    if folder:
        return Outcome(row, folder, DONE)
    return Outcome(row, None, WAITING, "", cost.left(row.config, cost.work(row.config, dry.sizes, dry.model)), dry)


def seconds(plan: Sequence[Outcome], speed: cost.Speed) -> float:
    """Time that is left."""
    waiting = (planned for planned in plan if planned.status == WAITING)
    return sum(cost.seconds(planned.left, speed, planned.row.config.seeds) for planned in waiting)


def run(plan: Sequence[Outcome], speed: cost.Speed) -> Iterator[list[Outcome]]:
    """Runs what is left, row by row; gives the state of all rows after each of them.

    A mistake that a row is refused for is its outcome, and the next row begins.
    """
    outcomes = list(plan)
    places = [place for place, planned in enumerate(plan) if planned.status == WAITING]
    foreseen, took = 0.0, 0.0  # seconds, of the rows that were run
    for number, place in enumerate(places):
        row = plan[place].row
        left = seconds([plan[i] for i in places[number:]], speed) * (took / foreseen if foreseen else 1.0)
        log.info(
            "row %d of %d, %s: %s; all rows: %s left",
            number + 1,
            len(places),
            row.name,
            row.label,
            progress.duration(left),
        )
        started = time.monotonic()
        outcomes[place] = _run(row)
        if outcomes[place].status == DONE:
            took += time.monotonic() - started
            foreseen += cost.seconds(plan[place].left, speed, row.config.seeds)
        yield outcomes


def _run(row: Row) -> Outcome:
    try:
        experiment.run(row.config)
    except InputError as error:
        log.error("%s failed: %s", row.name, error)
        return Outcome(row, None, FAILED, str(error))
    return Outcome(row, run_path(row.config), DONE)
