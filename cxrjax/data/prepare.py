"""A source -> ImageStore: decoded on all cores, continued after a kill at any moment, never a half image.

What is read gathers in `.NAME.partial` beside the store's place (`reading.Partial`). At the end the store is put
together in `.NAME.partial/store`, from where one rename takes it to its place; until then nothing is lost that would
have to be read again.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import logging
import os
import shutil
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from PIL import Image

from cxrjax.base import InputError, __version__, faults, files, progress
from cxrjax.data import contact_sheet, crop, reading, sources, store_table
from cxrjax.data.decode import Decoded, Reduction
from cxrjax.data.dicom import NoImage
from cxrjax.data.reading import Done, Enlarged, Partial
from cxrjax.data.sources import Bad, End, Same, Source
from cxrjax.storage.store import BAD_COLUMNS, FILES, About, is_store, write_images, write_tables

log = logging.getLogger(__name__)

COMMIT_SECONDS = 1.0  # between two moments from which a killed preparation goes on
_SETTINGS, _LOCK = "settings.json", ".lock"
_STORE, _OLD = "store", "old"  # the new store before, an old one after it is in its place


class Outcome(NamedTuple):
    """What became of a source."""

    images: int  # in the store
    bad: int  # left out
    doubtful: int  # in the store, and reported
    doubts: dict[str, int]  # those of them that may be no chest radiographs: code of `screening` -> images
    passed_over: int  # no images of the source, such as texts
    read: int  # images read this time, the others came from an interrupted attempt
    seconds: float
    notes: tuple[str, ...]  # what was understood of the source, a sentence each


def prepare(
    source: Source,
    out: Path,
    reduction: Reduction,
    max_bad: float = 0.01,
    workers: int = 0,
    overwrite: bool = False,
    find: crop.Region | None = None,
) -> Outcome | None:
    """Makes a store of a source, or goes on with an interrupted one.

    Args:
      source: what there is.
      out: where the store will be; its folder is made if need be.
      reduction: size, fit, filter, range and crop.
      max_bad: share of images, 0..1, that may be bad; they are left out and listed in `bad_images.csv`.
      workers: threads that decode; 0: as many as there are cores.
      overwrite: replace a store at `out`, or an interrupted one of other settings.
      find: where the lungs are, for `reduction.crop`.

    Returns:
      The outcome; None if another process had made the store while this one waited.

    Raises:
      InputError: if too many images are bad, none is good, the disk is full (what is done is kept), `out` holds
        something else, or an interrupted store of other settings.
    """
    started = time.monotonic()
    reduction = reduction._replace(borders=source.borders)
    out = out.resolve()  # a link to a folder on another disk means that disk
    _refuse(out, overwrite)
    existed = is_store(out)
    try:
        with faults.naming(out), _claimed(out) as folder:
            if is_store(out) and not existed:
                return None
            _begin(folder, source, reduction, overwrite)
            with warnings.catch_warnings():
                warnings.simplefilter("error", Image.DecompressionBombWarning)
                warnings.filterwarnings("ignore", module="pydicom")  # they may quote the file
                outcome = _fill(folder, source, reduction, max_bad, workers or _cores(), find)
            _place(folder, out)
            return outcome._replace(seconds=time.monotonic() - started)
    except OSError as error:
        if error.errno not in faults.NO_ROOM:
            raise InputError(faults.sentence(error) or f"{out} cannot be written: {error}") from error
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


def foresee(source: Source, out: Path, reduction: Reduction, overwrite: bool = False) -> int:
    """Images that `prepare` would find read by an interrupted attempt; nothing is written. Arguments as there.

    Raises:
      InputError: if `out` holds something else, or there is an interrupted store of other settings.
    """
    out = out.resolve()
    _refuse(out, overwrite)
    ledger = _partial(out) / Partial.LEDGER
    if _differing(_partial(out), source, reduction._replace(borders=source.borders), overwrite) or not ledger.is_file():
        return 0
    return sum('"image"' in line for line in ledger.read_text(encoding="utf-8").splitlines())


def _partial(out: Path) -> Path:
    """Where a store grows."""
    return out.parent / f".{out.name}.partial"


@contextlib.contextmanager
def _claimed(out: Path) -> Iterator[Path]:
    """The folder in which the store grows, held against other processes; the next one waits."""
    folder = _partial(out)
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / _LOCK).open("w") as lock:
            files.lock(lock, f"another process is preparing {out}; waiting for it")
            try:
                held = os.path.samestat((folder / _LOCK).stat(), os.fstat(lock.fileno()))
            except OSError:
                held = False
            if held:  # else the other process has finished and its lock is gone with its folder
                yield folder
                if is_store(out):
                    shutil.rmtree(folder, ignore_errors=True)  # its lock goes last or with it
                return


def _begin(folder: Path, source: Source, reduction: Reduction, overwrite: bool) -> None:
    """Refuses or empties what an attempt with other settings left behind."""
    differing, path = _differing(folder, source, reduction, overwrite), folder / _SETTINGS
    shutil.rmtree(folder / _STORE, ignore_errors=True)
    if differing or not path.is_file():
        for name in (_SETTINGS, Partial.LEDGER, Partial.ROWS):  # what is left after a kill is not taken for whole
            (folder / name).unlink(missing_ok=True)
    files.write_json(path, _settings(source, reduction))


def _settings(source: Source, reduction: Reduction) -> dict[str, object]:
    return {"source": str(source.place.resolve()), **_provenance(reduction)}


def _differing(folder: Path, source: Source, reduction: Reduction, overwrite: bool) -> list[str]:
    """Settings of an interrupted attempt that are other ones; refused without `overwrite`."""
    settings, path = _settings(source, reduction), folder / _SETTINGS
    before = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else settings
    differing = [f"{k} (was {before.get(k)!r}, now {settings[k]!r})" for k in settings if before.get(k) != settings[k]]
    if differing and not overwrite:
        raise InputError(
            f"{folder} holds an interrupted store of other settings: {', '.join(differing)}; --overwrite starts anew"
        )
    return differing


def _provenance(reduction: Reduction) -> dict[str, object]:
    """What the pixels depend on beside the source."""
    versions = {"cxrjax": __version__}  # also where it is not installed
    for name in ("pillow", "pydicom"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    usual = {"borders": "keep", "crop": "none"}  # not recorded, as before there was a choice
    kept = {name: value for name, value in reduction._asdict().items() if usual.get(name) != value}
    return {**kept, "versions": versions}


def _place(folder: Path, out: Path) -> None:
    """Takes a whole store to its place, and an old one out of it; `folder` is removed later."""
    if out.is_dir():
        shutil.rmtree(folder / _OLD, ignore_errors=True)
        out.rename(folder / _OLD)
    (folder / _STORE).rename(out)


def _fill(
    folder: Path, source: Source, reduction: Reduction, max_bad: float, workers: int, find: crop.Region | None
) -> Outcome:
    """Reads what is not in the partial store yet and puts the store together."""
    with contextlib.closing(Partial(folder, reduction.size)) as partial:
        if partial.done:
            log.info("continuing after %d images that are done", len(partial.done))
        images, bad, read = _read_all(source, reduction, workers, partial, find)
        done = [partial.done[image] for image in source.table["image"] if image in images]
        table, notes, account, equal = store_table.table_of(source, done)
        done = [image for image in done if image.image in set(table["image"])]
        codes = {image.image: image.doubt.code for image in done if image.doubt}
        bad_images = _bad_table(bad + _noted(done) + equal)
        passed_over = int(bad_images["passed_over"].sum())
        left_out = int(bad_images["left_out"].sum()) - passed_over
        _check(folder, bad_images, left_out, len(table), max_bad)
        spellings = [list(spelling) for spelling in source.spellings]
        enlarged = Enlarged.among([image.side for image in done], reduction.size)
        notes.append(enlarged.line())
        if find:
            notes.append(crop.line(sum(crop.NOT_FOUND in image.notes for image in done), len(done)))
        facts = (spellings, notes, account._asdict(), enlarged._asdict(), list(source.flags))
        about = About(str(source.place), source.listed, _provenance(reduction), {}, *facts)
        boxes = source.boxes[source.boxes["image"].isin(table["image"])]
        inside = folder / _STORE
        inside.mkdir()
        is_whole = reduction.fit == "stretch" and not find
        write_tables(inside, table, about, bad_images, boxes if is_whole else None)
        write_images(inside / "images.npy", partial.pixels(table["image"]), len(table))
        files.write_bytes(inside / "contact_sheet.png", contact_sheet.draw(table, codes, left_out, partial.pixels))
    doubtful = len(bad_images) - left_out - passed_over
    return Outcome(len(table), left_out, doubtful, Counter(codes.values()), passed_over, read, 0.0, tuple(notes))


def _noted(done: list[Done]) -> list[Bad]:
    """A row an image that is used: headers not taken as they stand, doubts of `screening`."""
    said = {image.image: [*image.notes, *([image.doubt.reason] if image.doubt else [])] for image in done}
    return [Bad(image, image, "; ".join(reasons), left_out=False) for image, reasons in said.items() if reasons]


def _bad_table(bad: list[Bad]) -> pd.DataFrame:
    """`BAD_COLUMNS`, sorted."""
    rows = [(sources.printable(b.image), sources.printable(b.origin), b.left_out, b.passed_over, b.reason) for b in bad]
    return pd.DataFrame(rows, columns=list(BAD_COLUMNS)).sort_values(["image", "origin"], kind="stable")


def _check(folder: Path, bad_images: pd.DataFrame, left_out: int, images: int, max_bad: float) -> None:
    """Refuses a store without an image or with too many bad ones, and lists them in `bad_images.csv`."""
    share = left_out / max(left_out + images, 1)
    if images and share <= max_bad:
        return
    path = folder / "bad_images.csv"
    files.write_text(path, bad_images.to_csv(index=False))
    if not left_out:
        raise InputError("the archives hold none of the images that the table lists")
    first = bad_images[bad_images["left_out"] & ~bad_images["passed_over"]].iloc[0]
    what = f"none of the {left_out} images can be used"
    if images:
        percent = f"{100 * share:.1f} %"
        what = f"{left_out} of {left_out + images} images ({percent}) are bad, more than --max_bad={max_bad:g} allows"
    raise InputError(f"{what}; the first: {first['origin']} {first['reason']}; all are listed in {path}")


def _read_all(
    source: Source, reduction: Reduction, workers: int, partial: Partial, find: crop.Region | None
) -> tuple[set[str], list[Bad], int]:
    """Decodes what `partial` does not have and commits it every second.

    Returns:
      The images that are good now; what is wrong with the source; the number of images that were read.
    """
    images: set[str] = set()
    bad: list[Bad] = []
    faulty: set[str] = set()  # stamps of archives that must be read again next time
    read = 0
    committed = time.monotonic()
    stamps = {image: done.stamp for image, done in partial.done.items()}
    items = sources.entries(source, stamps, partial.ended)
    with progress.stage("reading images", sources.total_bytes(source), "bytes") as bar:
        for item, result in reading.decoded(items, reduction, workers, find):
            if isinstance(item, Same):
                images.add(item.image)
            elif isinstance(item, End):
                if item.stamp not in faulty:
                    partial.end(item.archive, item.stamp)
            elif isinstance(item, Bad):
                bad.append(item)
            else:
                if isinstance(result, Decoded):
                    partial.append(item.image, item.stamp, result)
                    images.add(item.image)
                    read += 1
                else:
                    bad.append(Bad(item.image, item.origin, str(result), passed_over=isinstance(result, NoImage)))
                    faulty.add(item.stamp)
                bar.advance(item.behind - bar.done, images=f"{len(images):,}")
            if time.monotonic() - committed > COMMIT_SECONDS:
                partial.commit()
                committed = time.monotonic()
    partial.commit()
    return images, bad, read
