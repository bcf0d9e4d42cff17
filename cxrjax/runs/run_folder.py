"""The folder of a run: refused if it holds something else, continued if the run in it was interrupted.

Beside the run's own files it may hold records of what was dreamt and mapped, `dreams/` and `maps/`, each whole or
absent.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from cxrjax.analysis.tables import DreamRecord, MapRecord, Results, read_table
from cxrjax.base import InputError, faults, files
from cxrjax.base.config import BOXES, OFFICIAL, ExperimentConfig, question, result_path, run_path, with_absolute_paths
from cxrjax.base.flags import SOURCE_FLAGS
from cxrjax.base.recipes import AUTO
from cxrjax.report import pages, report

# Fields that may differ when a run is continued: they change its files, but nothing that was trained.
# (How a source is read shows in the hash of the data; no external image is trained on.)
_PLACES = frozenset({"data_dir", "weights", "labels", "start_from", "external_dir"})  # hashes tell of all but the last
_IGNORED = SOURCE_FLAGS | _PLACES | {"out", "overwrite", "wanted_sensitivity", "prevalence", "lang", "small_ok"}
_CONFIG, _RESOLVED, _SUMMARY = "config.json", "resolved.json", "summary.json"
_HOLD_OUT = "hold_out_boxes"  # a flag of earlier versions
_EARLIER = "settled.json"  # what runs of earlier versions have in the place of resolved.json

DREAMS, MAPS = "dreams", "maps"  # folders of records
_NUMBERS = "numbers.json"  # of a record, written last: its presence says that the rest is there


@dataclasses.dataclass(frozen=True)
class Resolved:
    """What followed from machine and files, resolved.json: a run is continued only where it is the same."""

    input: str  # tfdata or resident
    seed_batch: int  # seeds trained side by side
    device: str  # devices and programs round differently; one run holds the numbers of one kind only
    weights_sha256: str | None  # of the pretrained parameters; None: random ones
    data_sha256: str  # of the images that take part, their labels and patients
    start_sha256: str | None = None  # of the heads of --start_from; None: there are none
    augmentation: str = ""  # code: what --augment_bank=auto took, and why; "": a number was given


def is_finished(folder: Path) -> bool:
    """True if the run in the folder came to its end; the summary is written last."""
    return (folder / _SUMMARY).is_file()


def recall(config: ExperimentConfig) -> Resolved | None:
    """What an interrupted run of this configuration resolved; None if there is none."""
    folder = run_path(config)
    if is_finished(folder) or not (folder / _CONFIG).is_file() or _differing(folder / _CONFIG, _fields(config)):
        return None
    return _read_resolved(folder)


def bank_of(config: ExperimentConfig) -> int | None:
    """--augment_bank with which an interrupted run of this configuration began; None if there is none."""
    return None if recall(config) is None else int(_read(run_path(config) / _CONFIG)["augment_bank"])


def read_finished(folder: Path) -> tuple[ExperimentConfig, Resolved]:
    """Configuration of a finished run, and what it resolved.

    Raises:
      InputError: if the folder holds no run, one that is not finished, or one of another version.
    """
    if not (folder / _CONFIG).is_file():
        what = f"it holds no {_CONFIG}" if folder.is_dir() else "there is no such folder"
        raise InputError(f"{folder} must be the folder of a finished run, and {what}")
    if not is_finished(folder):
        raise InputError(f"{folder} must be the folder of a finished run; this one was interrupted or is under way")
    _refuse_earlier(folder)
    try:
        config = ExperimentConfig(**_without_removed(folder, _read(folder / _CONFIG)))
    except (ValueError, TypeError) as error:
        raise InputError(f"{folder} holds a damaged run, or one of another version: {error}") from error
    return config, _read_resolved(folder)


def read_binary(folder: Path) -> tuple[ExperimentConfig, Resolved]:
    """As `read_finished`, of a run of two classes.

    Raises:
      InputError: see `read_finished`; or the run has many labels.
    """
    config, resolved = read_finished(folder)
    if question(config).is_multilabel:
        raise InputError(f"{folder} has many labels; give the folder of one finding: {folder}/findings/NAME")
    return config, resolved


def _without_removed(folder: Path, fields: dict[str, Any]) -> dict[str, Any]:
    """Fields of a configuration of an earlier version without those that are no more, whose place --test has taken."""
    held_out = fields.pop(_HOLD_OUT, False)
    if held_out or fields.get("split_by") == "official":
        flag, now = (f"--{_HOLD_OUT}", BOXES) if held_out else ("--split_by=official", OFFICIAL)
        raise InputError(f"{folder} holds a run made with {flag}, which is --test={now} now; train it again with that")
    return fields


def _refuse_earlier(folder: Path) -> None:
    if (folder / _EARLIER).is_file() and not (folder / _RESOLVED).is_file():
        raise InputError(f"{folder} holds a run of an earlier version of cxrjax ({_EARLIER}); train it anew")


def _read_resolved(folder: Path) -> Resolved:
    try:
        return Resolved(**_read(folder / _RESOLVED))
    except (ValueError, TypeError) as error:
        raise InputError(f"{folder / _RESOLVED} is damaged, or of another version: {error}") from error


@contextlib.contextmanager
def claim(config: ExperimentConfig, resolved: Resolved) -> Iterator[Path]:
    """Makes or re-opens the folder for this run, and holds it against other processes.

    config.json names data and weights by their absolute paths, so that the run can be opened from anywhere.

    Args:
      config: as the user gave it.
      resolved: an interrupted run is continued only where it is the same.

    Raises:
      InputError: if it holds a finished run (unless config.overwrite), an interrupted run of another configuration
        (naming the fields), something that is no run, or a run that is under way.
    """
    folder = run_path(config)
    if not (folder / _CONFIG).is_file():
        must_go(config, {})  # refuses what is no run before anything is made
    import fcntl  # POSIX alone

    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        try:
            with faults.naming(folder):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(f"--out={folder} is in use by a run that is under way") from error
        if must_go(config, dataclasses.asdict(resolved)):
            _empty(folder)
        files.write_json(folder / _RESOLVED, dataclasses.asdict(resolved))
        files.write_json(folder / _CONFIG, dataclasses.asdict(with_absolute_paths(config)))
        yield folder


def write_finding(results: Results) -> None:
    """Writes the results of one finding into a folder of its own, which is read like that of a run."""
    folder = result_path(results.config)
    folder.mkdir(parents=True, exist_ok=True)
    files.write_json(folder / _RESOLVED, results.resolved)
    files.write_json(folder / _CONFIG, dataclasses.asdict(with_absolute_paths(results.config)))
    report.write(folder, results)


def must_go(config: ExperimentConfig, resolved: Mapping[str, Any]) -> bool:
    """Whether an earlier run has to make room, as --overwrite allows; raises as `claim`. `resolved`: fields of
    `Resolved`, all or some."""
    folder = run_path(config)
    if folder.exists() and not folder.is_dir():
        raise InputError(f"--out={folder} is a file; it must be a folder or not exist")
    if not (folder / _CONFIG).is_file():
        if folder.is_dir() and _foreign(folder):
            raise InputError(f"--out={folder} is in use: it holds files that are not a run's")
        return False
    other_machine_or_files = _differing(folder / _RESOLVED, resolved)
    differing = _differing(folder / _CONFIG, _fields(config)) + other_machine_or_files
    if other_machine_or_files:
        places = {name: getattr(with_absolute_paths(config), name) for name in sorted(_PLACES)}
        differing += _differing(folder / _CONFIG, places)
    if config.overwrite:
        return bool(is_finished(folder) or differing)
    if is_finished(folder):
        raise InputError(f"--out={folder} holds a finished run; --overwrite replaces it")
    if differing:
        _refuse_earlier(folder)
        raise InputError(
            f"--out={folder} holds an interrupted run of another configuration: {', '.join(differing)}; "
            "--overwrite replaces it"
        )
    return False


def _fields(config: ExperimentConfig) -> dict[str, Any]:
    fields = dataclasses.asdict(with_absolute_paths(config))
    open_ones = {"augment_bank"} if config.augment_bank == AUTO else set()  # as the run had them
    return {name: value for name, value in fields.items() if name not in _IGNORED | open_ones}


def _read(file: Path) -> dict[str, Any]:
    return dict(json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else {}


def _differing(file: Path, now: Mapping[str, Any]) -> list[str]:
    """Fields that are not what the file says; none if there is no file. What an earlier version did not know is at its
    default."""
    before = _read(file)
    fields = (*dataclasses.fields(ExperimentConfig), *dataclasses.fields(Resolved))
    was = {field.name: field.default for field in fields} | before
    differing = [f"{k} (was {was.get(k)!r}, now {now[k]!r})" for k in now if before and was.get(k) != now[k]]
    return differing + [_HOLD_OUT] * bool(before.get(_HOLD_OUT))


def _foreign(folder: Path) -> bool:
    """True if the folder holds what no run leaves behind that was killed before it wrote its configuration."""
    return any(not entry.name.startswith(".") and entry.name != _RESOLVED for entry in folder.iterdir())


def _empty(folder: Path) -> None:
    """Removes a run; after a kill on the way it is still a run, since its configuration goes last."""
    last = (_SUMMARY, _CONFIG)
    for entry in [entry for entry in folder.iterdir() if entry.name not in (".lock", *last)]:
        if entry.is_dir():
            shutil.rmtree(entry)
        else:
            entry.unlink()
    for name in last:
        (folder / name).unlink(missing_ok=True)


def write_record(
    folder: Path,
    pictures: dict[str, np.ndarray],
    tables: dict[str, pd.DataFrame],
    numbers: dict[str, Any],
    further: Mapping[str, bytes] = MappingProxyType({}),
) -> None:
    """Writes pictures NAME.png, tables NAME.csv, further files, and numbers.json last.

    Args:
      folder: of the record, made if it is not there.
      pictures: [H, W] or [H, W, 3] u8.
      tables: without an index of interest.
      numbers: for JSON.
      further: file name -> what it holds.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / _NUMBERS).unlink(missing_ok=True)
    for name, picture in pictures.items():
        files.write_bytes(folder / f"{name}.png", pages.png(picture))
    for name, content in further.items():
        files.write_bytes(folder / name, content)
    for name, table in tables.items():
        files.write_text(folder / f"{name}.csv", table.to_csv(index=False, float_format="%.6g"))
    files.write_json(folder / _NUMBERS, numbers)


def read_dreams(run: Path) -> DreamRecord | None:
    """What `experiments.deep_dream` wrote of a run; None if there is none.

    Raises:
      InputError: if it is damaged.
    """
    record = _read_record(run / DREAMS, ("transfer",))
    return record and DreamRecord(record[0], record[1]["transfer"], record[2])


def read_maps(run: Path) -> MapRecord | None:
    """What `experiments.where_it_looks` wrote of a run; None if there is none.

    Raises:
      InputError: if it is damaged.
    """
    boxes = ("boxes",) if (run / MAPS / "boxes.csv").is_file() else ()  # not written by earlier versions
    record = _read_record(run / MAPS, ("focus", "agreement", *boxes))
    return record and MapRecord(
        record[0], record[1]["focus"], record[1]["agreement"], record[2], record[1].get("boxes")
    )


def _read_record(
    folder: Path, tables: tuple[str, ...]
) -> tuple[dict[str, np.ndarray], dict[str, pd.DataFrame], dict[str, Any]] | None:
    """Pictures, tables and numbers of a record."""
    if not (folder / _NUMBERS).is_file():
        return None
    try:
        numbers = json.loads((folder / _NUMBERS).read_text(encoding="utf-8"))
        pictures = {}
        for path in sorted(folder.glob("*.png")):
            with Image.open(path) as opened:
                pictures[path.stem] = np.asarray(opened)
        read = {name: read_table(folder / f"{name}.csv") for name in tables}
    except (OSError, ValueError) as error:
        raise InputError(f"{folder} holds damaged files: {error}") from error
    return pictures, read, numbers


def params_sha256(folder: Path) -> dict[str, str]:
    """Seed -> SHA-256 of its parameters, of a finished run."""
    table = read_table(folder / "results.csv", ["seed", "params_sha256"])
    return dict(zip(table["seed"].astype(int).astype(str), table["params_sha256"], strict=True))
