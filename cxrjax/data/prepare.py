"""A source -> ImageStore: decoded on all cores, continued after a kill at any moment, never a half image.

The store grows in `.NAME.partial` beside its place. Rows reach the disk before the ledger's lines that speak of them;
what a kill leaves behind the last line is cut off. At the end the store is put together in `.NAME.partial/store`, from
where one rename takes it to its place; until then nothing is lost that would have to be read again.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import importlib.metadata
import json
import logging
import os
import shutil
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from PIL import Image

from cxrjax.base import files
from cxrjax.base.types import InputError
from cxrjax.data import reading
from cxrjax.data.decode import Decoded, Reduction
from cxrjax.data.dicom import Details, NoImage
from cxrjax.data.ledger import Done, Ledger
from cxrjax.data.sources import base as sources
from cxrjax.data.sources.base import Bad, End, Same, Source
from cxrjax.storage.store import BAD_COLUMNS, COLUMNS, FILES, About, Rows, is_store, write_tables

log = logging.getLogger(__name__)

COMMIT_SECONDS = 1.0  # between two moments from which a killed preparation goes on
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_SETTINGS, _LEDGER, _ROWS, _LOCK = "settings.json", "ledger.jsonl", "rows.npy", ".lock"
_STORE, _OLD = "store", "old"  # the new store before, an old one after it is in its place


class Outcome(NamedTuple):
    """What became of a source."""

    images: int  # in the store
    bad: int  # left out
    doubtful: int  # in the store, and reported
    read: int  # images read this time, the others came from an interrupted attempt
    seconds: float


def prepare(
    source: Source, out: Path, reduction: Reduction, max_bad: float = 0.01, workers: int = 0, overwrite: bool = False
) -> Outcome | None:
    """Makes a store of a source, or goes on with an interrupted one.

    Args:
      source: what there is.
      out: where the store will be; its folder is made if need be.
      reduction: size, fit and filter.
      max_bad: share of images, 0..1, that may be bad; they are left out and listed in `bad_images.csv`.
      workers: threads that decode; 0: as many as there are cores.
      overwrite: replace a store at `out`, or an interrupted one of other settings.

    Returns:
      The outcome; None if another process had made the store while this one waited.

    Raises:
      InputError: if too many images are bad, none is good, the disk is full (what is done is kept), `out` holds
        something else, or an interrupted store of other settings.
    """
    started = time.monotonic()
    out = out.resolve()  # a link to a folder on another disk means that disk
    _refuse(out, overwrite)
    there = is_store(out)
    try:
        with _claimed(out) as partial:
            if is_store(out) and not there:
                return None
            _begin(partial, source, reduction, overwrite)
            with warnings.catch_warnings():
                warnings.simplefilter("error", Image.DecompressionBombWarning)
                warnings.filterwarnings("ignore", module="pydicom")  # they may quote the file
                outcome = _fill(partial, source, reduction, max_bad, workers or _cores())
            _place(partial, out)
            return outcome._replace(seconds=time.monotonic() - started)
    except OSError as error:
        if error.errno not in _FULL:
            raise InputError(f"{out}: cannot be written: {error.strerror} ({error.filename or out})") from error
        raise InputError(
            f"no room left on the disk of {out.parent.resolve()}; what is prepared so far is kept, the same command "
            "goes on once there is room"
        ) from error


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _refuse(out: Path, overwrite: bool) -> None:
    if out.exists() and not out.is_dir():
        raise InputError(f"{out} is a file; a store is a folder")
    foreign = sorted(path.name for path in out.iterdir() if path.name not in FILES) if out.is_dir() else []
    if foreign or (out.is_dir() and not is_store(out) and any(out.iterdir())):
        raise InputError(f"{out} is in use: it holds files that are not a store's ({', '.join(foreign[:3])})")
    if is_store(out) and not overwrite:
        raise InputError(f"{out} holds a finished store; --overwrite replaces it")


@contextlib.contextmanager
def _claimed(out: Path) -> Iterator[Path]:
    """The folder in which the store grows, held against other processes; the next one waits."""
    partial = out.parent / f".{out.name}.partial"
    while True:
        partial.mkdir(parents=True, exist_ok=True)
        with (partial / _LOCK).open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                log.info("another process is preparing %s; waiting for it", out)
                fcntl.flock(lock, fcntl.LOCK_EX)
            try:
                held = os.path.samestat((partial / _LOCK).stat(), os.fstat(lock.fileno()))
            except OSError:
                held = False
            if held:  # else the other process has finished and its lock is gone with its folder
                yield partial
                if is_store(out):
                    shutil.rmtree(partial, ignore_errors=True)  # its lock goes last or with it
                return


def _begin(partial: Path, source: Source, reduction: Reduction, overwrite: bool) -> None:
    """Refuses or empties what an attempt with other settings left behind."""
    settings = {"source": str(source.place.resolve()), **_made(reduction)}
    path = partial / _SETTINGS
    before = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else settings
    differing = [f"{k} (was {before.get(k)!r}, now {settings[k]!r})" for k in settings if before.get(k) != settings[k]]
    if differing and not overwrite:
        raise InputError(
            f"{partial} holds an interrupted store of other settings: {', '.join(differing)}; --overwrite starts anew"
        )
    inside, rows = partial / _STORE, partial / _ROWS
    if not rows.exists() and (inside / "images.npy").exists():  # killed between the last two renames
        (inside / "images.npy").replace(rows)
    shutil.rmtree(inside, ignore_errors=True)
    if differing or not path.is_file():
        for name in (_SETTINGS, _LEDGER, _ROWS):  # in this order: what is left after a kill is not taken for whole
            (partial / name).unlink(missing_ok=True)
    files.write_json(path, settings)


def _made(reduction: Reduction) -> dict[str, object]:
    """What the pixels depend on beside the source."""
    versions = {}
    for name in ("cxrjax", "pillow", "pydicom"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return {**reduction._asdict(), "versions": versions}


def _place(partial: Path, out: Path) -> None:
    """Takes a whole store to its place, and an old one out of it; `partial` is removed later."""
    if out.is_dir():
        shutil.rmtree(partial / _OLD, ignore_errors=True)
        out.rename(partial / _OLD)
    (partial / _STORE).rename(out)


def _fill(partial: Path, source: Source, reduction: Reduction, max_bad: float, workers: int) -> Outcome:
    """Reads what is not in the partial store yet and puts the store together."""
    with contextlib.ExitStack() as stack:
        ledger = stack.enter_context(contextlib.closing(Ledger(partial / _LEDGER)))
        if not Rows.holds(partial / _ROWS, reduction.size, ledger.rows()):
            ledger.forget()
        rows = stack.enter_context(contextlib.closing(Rows(partial / _ROWS, reduction.size, ledger.rows())))
        if ledger.done:
            log.info("going on behind %d images that are done", len(ledger.done))
        done, bad, read = _read_all(source, reduction, workers, ledger, rows)
        table, order = _table(source, done)
        bad += _duplicates(table, done)
        listed = _listed(bad)
        lost = int(listed["left_out"].sum())
        _check(partial, listed, lost, len(table), max_bad)
        about = About(str(source.place), source.listed, _made(reduction), {})
        boxes = source.boxes[source.boxes["image"].isin(set(table["image"]))]
        inside = partial / _STORE
        inside.mkdir()
        write_tables(inside, table, about, listed, boxes if reduction.fit == "stretch" else None)
        rows.finish(order, inside / "images.npy")
    return Outcome(len(table), lost, len(listed) - lost, read, 0.0)


def _listed(bad: list[Bad]) -> pd.DataFrame:
    """`BAD_COLUMNS`, sorted."""
    rows = [(sources.printable(one.image), sources.printable(one.origin), one.left_out, one.reason) for one in bad]
    return pd.DataFrame(rows, columns=list(BAD_COLUMNS)).sort_values(["image", "origin"], kind="stable")


def _check(partial: Path, listed: pd.DataFrame, lost: int, images: int, max_bad: float) -> None:
    share = lost / max(lost + images, 1)
    if images and share <= max_bad:
        return
    files.write_text(partial / "bad_images.csv", listed.to_csv(index=False))
    first = listed[listed["left_out"]].iloc[0] if lost else None
    why = "" if first is None else f"{first['origin']} {first['reason']}"
    where = partial / "bad_images.csv"
    if not lost:
        raise InputError("the archives hold none of the images that the table lists")
    if not images:
        raise InputError(f"none of the {lost} images can be used; the first: {why}; all are listed in {where}")
    raise InputError(
        f"{lost} of {lost + images} images ({100 * share:.1f} %) are bad, more than --max_bad={max_bad:g} allows; the "
        f"first: {why}; all are listed in {where}"
    )


def _read_all(
    source: Source, reduction: Reduction, workers: int, ledger: Ledger, rows: Rows
) -> tuple[dict[str, Done], list[Bad], int]:
    """Decodes what the ledger does not have and commits it every second.

    Returns:
      What is good now, by image; what is wrong with the source; the number of images that were read.
    """
    bad: list[Bad] = []
    same: set[str] = set()
    faulty: set[str] = set()  # stamps of archives that must be read again next time
    fresh: dict[str, Done] = {}
    waiting: list[Done] = []  # in `rows`, not in the ledger yet
    archives: dict[str, str] = {}
    progress = reading.Progress(sources.total_bytes(source))
    committed = time.monotonic()
    for item, result in reading.decoded(sources.entries(source, ledger), reduction, workers):
        if isinstance(item, Same):
            same.add(item.image)
        elif isinstance(item, End):
            if item.stamp not in faulty:
                archives[item.archive] = item.stamp
        elif isinstance(item, Bad):
            bad.append(item)
        else:
            progress.count(item.behind)
            if isinstance(result, Decoded):
                digest = hashlib.sha256(result.pixels.tobytes()).hexdigest()
                fresh[item.image] = Done(item.image, item.stamp, rows.append(result.pixels), digest, result.details)
                waiting.append(fresh[item.image])
            else:
                bad.append(Bad(item.image, item.origin, str(result), not isinstance(result, NoImage)))
                faulty.add(item.stamp)
        if time.monotonic() - committed > COMMIT_SECONDS:
            rows.sync()
            ledger.write(waiting, archives)
            waiting, archives, committed = [], {}, time.monotonic()
    rows.sync()
    ledger.write(waiting, archives)
    return {**{image: ledger.done[image] for image in same}, **fresh}, bad, len(fresh)


def _table(source: Source, done: dict[str, Done]) -> tuple[pd.DataFrame, list[int]]:
    """The rows of what is there, with what DICOM headers add, and their places in order of arrival."""
    known = source.table.assign(by_name=source.patients)
    table = known[known["image"].isin(done)].reset_index(drop=True)
    headers = pd.DataFrame([done[image].details for image in table["image"]], columns=list(Details._fields), dtype=str)
    for name in ("patient", "sex", "view"):
        table[name] = table[name].where(table[name] != "", headers[name])
    table["age"] = pd.to_numeric(table["age"]).fillna(sources.years(headers["age"]))
    table["patient"] = table["patient"].where(table["patient"] != "", table["by_name"])
    return table[list(COLUMNS)], [done[image].row for image in table["image"]]


def _duplicates(table: pd.DataFrame, done: dict[str, Done]) -> list[Bad]:
    """Images whose pixels stood before in the table, under another label or patient."""
    first = table.groupby(table["image"].map(lambda image: done[image].sha256))[
        ["image", "patient", "labels"]
    ].transform("first")
    found = []
    for name, what in (("patient", "patient"), ("labels", "label")):
        differing = table[name] != first[name]
        columns = (table["image"], first["image"], table[name], first[name])
        for image, other, own, others in zip(*(column[differing].astype(str) for column in columns), strict=True):
            reason = f"same pixels as {other}, whose {what} is {others!r}, not {own!r}"
            found.append(Bad(image, image, reason, left_out=False))
    return found
