"""The folder of a run: refused if it holds something else, continued if the run in it was interrupted."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cxrjax.base import files
from cxrjax.base.config import ExperimentConfig, run_path
from cxrjax.base.types import InputError

# Fields that may differ when a run is continued: they change its files, but nothing that was trained.
_IGNORED = {"out", "overwrite", "wanted_sensitivity", "prevalence", "lang"}
_CONFIG, _SETTLED = "config.json", "settled.json"


def is_finished(folder: Path) -> bool:
    """True if the run in the folder came to its end; the summary is written last."""
    return (folder / "summary.json").is_file()


def recall(config: ExperimentConfig) -> dict[str, Any]:
    """What an interrupted run of this configuration settled by itself (`claim`'s `settled`); empty if there is none."""
    folder = run_path(config)
    if is_finished(folder) or not (folder / _CONFIG).is_file() or _differing(folder / _CONFIG, _fields(config)):
        return {}
    return _read(folder / _SETTLED)


def read_finished(folder: Path) -> tuple[ExperimentConfig, dict[str, Any]]:
    """Configuration of a finished run, and what it settled by itself (`claim`'s `settled`).

    Raises:
      InputError: if the folder holds no run, one that is not finished, or one of another version.
    """
    if not (folder / _CONFIG).is_file():
        what = f"it holds no {_CONFIG}" if folder.is_dir() else "there is no such folder"
        raise InputError(f"{folder} must be the folder of a finished run, and {what}")
    if not is_finished(folder):
        raise InputError(f"{folder} must be the folder of a finished run; this one was interrupted or is under way")
    try:
        config, settled = ExperimentConfig(**_read(folder / _CONFIG)), _read(folder / _SETTLED)
    except (ValueError, TypeError) as error:
        raise InputError(f"{folder} holds a damaged run, or one of another version: {error}") from error
    if "weights_sha256" not in settled:
        raise InputError(f"{folder} holds a run of another version: {_SETTLED} must have weights_sha256")
    return config, settled


@contextlib.contextmanager
def claim(config: ExperimentConfig, settled: dict[str, Any]) -> Iterator[Path]:
    """Makes or re-opens the folder for this run, and holds it against other processes.

    Args:
      config: as the user gave it.
      settled: what followed from machine and files (input, seed_batch, hashes of weights and data): an interrupted
        run is continued only where these are the same.

    Raises:
      InputError: if it holds a finished run (unless config.overwrite), an interrupted run of another configuration
        (naming the fields), something that is no run, or a run that is under way.
    """
    folder = run_path(config)
    if folder.exists() and not folder.is_dir():
        raise InputError(f"--out={folder} is a file; it must be a folder or not exist")
    if folder.is_dir() and not (folder / _CONFIG).is_file() and _foreign(folder):
        raise InputError(f"--out={folder} is in use: it holds files that are not a run's")
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(f"--out={folder} is in use by a run that is under way") from error
        _check(folder, config, settled)
        files.write_json(folder / _SETTLED, settled)
        files.write_json(folder / _CONFIG, dataclasses.asdict(config))
        yield folder


def _check(folder: Path, config: ExperimentConfig, settled: dict[str, Any]) -> None:
    """Empties the folder of an earlier run if asked to, or refuses what cannot be continued."""
    if not (folder / _CONFIG).is_file():
        return
    differing = _differing(folder / _CONFIG, _fields(config)) + _differing(folder / _SETTLED, settled)
    if config.overwrite and (is_finished(folder) or differing):
        _empty(folder)
    elif is_finished(folder):
        raise InputError(f"--out={folder} holds a finished run; --overwrite replaces it")
    elif differing:
        raise InputError(
            f"--out={folder} holds an interrupted run of another configuration: {', '.join(differing)}; "
            "--overwrite replaces it"
        )


def _fields(config: ExperimentConfig) -> dict[str, Any]:
    return {name: value for name, value in dataclasses.asdict(config).items() if name not in _IGNORED}


def _read(file: Path) -> dict[str, Any]:
    return dict(json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else {}


def _differing(file: Path, now: dict[str, Any]) -> list[str]:
    """Fields that are not what the file says; none if there is no file."""
    before = _read(file)
    return [f"{k} (was {before.get(k)!r}, now {now[k]!r})" for k in now if before and before.get(k) != now[k]]


def _foreign(folder: Path) -> bool:
    """True if the folder holds what no run leaves behind that was killed before it wrote its configuration."""
    return any(not entry.name.startswith(".") and entry.name != _SETTLED for entry in folder.iterdir())


def _empty(folder: Path) -> None:
    """Removes a run; after a kill on the way it is still a run, since its configuration goes last."""
    last = ("summary.json", _CONFIG)
    for entry in [entry for entry in folder.iterdir() if entry.name not in (".lock", *last)]:
        if entry.is_dir():
            shutil.rmtree(entry)
        else:
            entry.unlink()
    for name in last:
        (folder / name).unlink(missing_ok=True)
