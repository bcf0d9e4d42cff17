"""Finished runs that stand for others: whether two runs have the same numbers, whatever their folders are called."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from cxrjax.analysis import comparison, tables
from cxrjax.base.config import ExperimentConfig
from cxrjax.base.types import InputError
from cxrjax.metrics import registry
from cxrjax.runs import run_folder

# Fields that may differ: where files lie (hashes tell what is in them), how the work is spread, what is evaluated
# besides, and how it is told.
_FREE = {
    "name", "data_dir", "weights", "max_bad", "out", "overwrite", "input", "seed_batch", "external_dir", "lang",
    "prevalence", "wanted_sensitivity", "floors",
}  # fmt: skip
_HASHES = ("weights_sha256", "data_sha256")


class Run(NamedTuple):
    """A run, or one that is to be."""

    folder: Path
    config: ExperimentConfig
    settled: dict[str, Any]  # what followed from machine and files, `run_folder.claim`'s


def gather(folders: Iterable[str | Path]) -> list[Run]:
    """Finished runs, and the finished ones among their arms.

    Raises:
      InputError: if a folder is not that of a finished run.
    """
    found = []
    for folder in map(Path, folders):
        found.append(Run(folder, *run_folder.read_finished(folder)))
        arms = sorted(path for path in folder.glob("arms/*") if run_folder.is_finished(path))
        found += [Run(path, *run_folder.read_finished(path)) for path in arms]
    return found


def differences(one: Run, other: Run) -> list[str]:
    """What keeps two runs from having the same numbers, as `epochs (30, not 60)`; empty if nothing does.

    A run split by both is a run split by patient, the other split being an arm. Weights and data are compared by their
    hashes. Devices may differ, which round differently.
    """
    names = [field.name for field in dataclasses.fields(ExperimentConfig) if field.name not in _FREE]
    pairs = [(name, _value(one, name), _value(other, name)) for name in names]
    told = [f"{name} ({a}, not {b})" for name, a, b in pairs if a != b]
    return told + [name.removesuffix("_sha256") for name in _HASHES if one.settled[name] != other.settled[name]]


def _value(run: Run, name: str) -> Any:
    value = getattr(run.config, name)
    return "patient" if name == "split_by" and value == "both" else value


def same(wanted: Run, candidates: Sequence[Run]) -> Path | None:
    """Folder of the first candidate that has the numbers of the run; None if none has."""
    return next((run.folder for run in candidates if not differences(wanted, run)), None)


def own(wanted: Run) -> Path | None:
    """Its folder if it holds this run, finished; None if there is none, or it is to be continued.

    Raises:
      InputError: if the folder holds another run, so that it would be refused at its turn.
    """
    folder, remedy = wanted.folder, "give another --out, or remove that folder"
    if run_folder.is_finished(folder):
        other = differences(Run(folder, *run_folder.read_finished(folder)), wanted)
        if other:
            raise InputError(f"{folder} holds another run, which differs in {', '.join(other)}; {remedy}")
        return folder
    if (folder / "config.json").is_file():
        before = run_folder.recall(wanted.config)
        if any(before.get(name) != value for name, value in wanted.settled.items()):
            raise InputError(f"{folder} holds an interrupted run of other flags, data, weights or device; {remedy}")
    return None


def read_compared(folder: Path) -> comparison.Run:
    """A finished run.

    Raises:
      InputError: the folder holds none, or a file or a column is missing.
    """
    config, settled = run_folder.read_finished(folder)
    seeds = tables.read_table(folder / "results.csv", ["seed", "n_train", "n_val", *registry.shown_in(registry.MAIN)])
    columns = ["seed", "image", "patient", "label", "score"]
    predictions = tables.read_table(folder / "predictions.csv", columns)
    return comparison.Run(config, settled.get("data_sha256"), seeds.set_index("seed"), predictions)
