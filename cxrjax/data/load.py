"""`--data_dir` to an ImageStore: told apart, prepared into the cache once, opened."""

from __future__ import annotations

import hashlib
import logging
import os
import re
from pathlib import Path
from typing import NamedTuple

from cxrjax.base.types import InputError
from cxrjax.data.decode import Reduction
from cxrjax.data.prepare import prepare
from cxrjax.data.sources import archive, folder, listing, nih
from cxrjax.data.sources.base import CLASSES, Source
from cxrjax.storage.store import About, ImageStore, is_store, label_counts, open_store, read_about

log = logging.getLogger(__name__)


class Naming(NamedTuple):
    """How a hospital's own names are read."""

    classes: dict[str, str] = CLASSES  # upper-case name of a folder or label -> NIH label
    columns: dict[str, str] = {}  # our name of a CSV column -> theirs  # noqa: RUF012 - never written to
    patient: re.Pattern[str] | None = None  # see `base.patient_of`


def cache_dir() -> Path:
    """Where prepared stores are kept: CXRJAX_CACHE, else ~/.cache/cxrjax."""
    return Path(os.environ.get("CXRJAX_CACHE") or Path.home() / ".cache" / "cxrjax")


def find(place: Path, naming: Naming = Naming()) -> Source:  # noqa: B008 - immutable
    """Tells what a source is and looks what is there, without reading an image.

    In this order: an NIH folder (`Data_Entry_2017*.csv`), a folder with one CSV that has the columns path and label,
    class folders, any folder with images, which then have no label; or such a CSV, or one image file.

    Raises:
      InputError: if it is missing or none of these.
    """
    try:
        return _find(place, naming)
    except OSError as error:
        raise InputError(f"{error.filename or place} cannot be read: {error.strerror}") from error


def _find(place: Path, naming: Naming) -> Source:
    if place.is_file():
        if place.suffix.lower() == ".csv":
            return listing.scan(place, naming.classes, naming.columns, naming.patient)
        return folder.scan(place, naming.classes, naming.patient)
    if not place.is_dir():
        raise InputError(f"{place} does not exist")
    if nih.find_table(place):
        return nih.scan(place)
    labelled = folder.class_folders(place, naming.classes)
    table = listing.find_table(place, naming.columns, required=not labelled or bool(naming.columns))
    if table:
        return listing.scan(table, naming.classes, naming.columns, naming.patient)
    if not labelled and any(archive.is_archive(path) for path in place.iterdir()):
        raise InputError(f"{place} holds archives but no Data_Entry_2017*.csv, which names their images and labels")
    return folder.scan(place, naming.classes, naming.patient)


def load(data_dir: str | None, max_bad: float = 0.01) -> tuple[ImageStore, About]:
    """Opens a data set; a raw one is prepared into the cache first, and found there the next time.

    Args:
      data_dir: prepared store, or what `find` knows; None is the embedded phantom.
      max_bad: share of images, 0..1, that may be bad; they are left out.

    Raises:
      InputError: if it is missing or of no known kind, or too many images are bad.
    """
    if data_dir is None:
        return _load_phantom()
    place = Path(data_dir)
    if is_store(place):
        return open_store(place), read_about(place)
    source = find(place)
    prepared = cache_dir() / "stores" / f"{place.resolve().name}-{_fingerprint(source)}"
    if not is_store(prepared):
        log.info("%s: preparing %s into %s", source.kind, place, prepared)
        outcome = prepare(source, prepared, Reduction(), max_bad)
        if outcome:
            log.info("%d images prepared, %d bad, %d doubtful", outcome.images, outcome.bad, outcome.doubtful)
    return _checked(prepared, max_bad)


def _checked(prepared: Path, max_bad: float) -> tuple[ImageStore, About]:
    """A store of the cache, which may have been made when more bad images were allowed."""
    store, about = open_store(prepared), read_about(prepared)
    bad, images = len(about.bad_images), len(store.table)
    if bad > max_bad * (bad + images):
        raise InputError(
            f"{about.source}: {bad} of {bad + images} images are bad, more than --max_bad={max_bad:g} allows; they are "
            f"listed in {prepared / 'bad_images.csv'}"
        )
    return store, about


def _fingerprint(source: Source) -> str:
    """Changes with any row of the table and with any file's place, size or time."""
    digest = hashlib.sha256(f"2 {source.place.resolve()}\n{source.table.to_csv()}{source.patients}".encode())
    for file in (*source.files, *source.archives):
        digest.update(f"{file.name} {file.path} {file.stamp}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()[:16]


def _load_phantom() -> tuple[ImageStore, About]:
    from cxrjax.data.phantom import phantom

    made = phantom.phantom()
    return ImageStore(made.images, made.table), About("phantom", label_counts(made.table), {}, {})
