"""`--data_dir` to an ImageStore: told apart, prepared into the cache once, opened."""

from __future__ import annotations

import csv
import hashlib
import logging
import os
import re
import shlex
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from cxrjax.base import InputError
from cxrjax.base.config import program
from cxrjax.base.flags import SOURCE_FLAGS, SourceFlags, flag_words
from cxrjax.data import labels, patients, store_table
from cxrjax.data.attributes import fold_meanings
from cxrjax.data.decode import Reduction
from cxrjax.data.dicom import Details
from cxrjax.data.labels import Spelling
from cxrjax.data.phrases import Vocabulary
from cxrjax.data.prepare import prepare
from cxrjax.data.reading import Done
from cxrjax.data.sources import ARCHIVES, OTHER_ARCHIVES, Source, folder, nih, table, tuberculosis
from cxrjax.data.sources.image_files import why_no_image
from cxrjax.data.vocabulary import key
from cxrjax.storage.store import About, ImageStore, is_store, label_counts, open_store, read_about

log = logging.getLogger(__name__)

_READ_ARCHIVES = (
    "only NIH's images_0NN.tar.gz are read, beside Data_Entry_2017*.csv, which names their images and labels"
)
_LOGGED = 8  # spellings of labels in the log of a run; about.json has all


class Naming(NamedTuple):
    """How a hospital's own names are read."""

    vocabulary: Vocabulary = Vocabulary()  # of labels and class folders
    columns: Mapping[str, str] = MappingProxyType({})  # our name of a table's column -> theirs
    patient: re.Pattern[str] | None = None  # see `patients.by_pattern`
    meanings: Mapping[str, Mapping[str, str]] = MappingProxyType({})  # sex, view -> `attributes.fold_meanings`
    keep_masks: bool = False  # see `folder.scan_images`
    flags: tuple[str, ...] = ()  # that said so, as words of a command line


def naming(flags: SourceFlags) -> Naming:
    """What the flags of a program say.

    Raises:
      InputError: if one of them is not of its form.
    """
    columns, meanings = {}, {}
    for ours, theirs in _pairs("columns", flags.columns).items():
        columns[ours], *values = theirs.split(":") if "=" in theirs else (theirs,)
        if values:
            meanings[ours] = fold_meanings(ours, _pairs("columns", ",".join(values)))
    unknown = sorted(set(columns) - set(table.KNOWN))
    if unknown:
        raise InputError(f"--columns knows {', '.join(table.KNOWN)}, not {', '.join(unknown)}")
    vocabulary = Vocabulary(_pairs("classes", flags.classes), flags.other_findings, flags.uncertain)
    vocabulary.entry("")  # refuses a meaning that cannot be read
    of_source = SourceFlags(**{name: getattr(flags, name) for name in SOURCE_FLAGS})
    words = tuple(flag_words(of_source))
    return Naming(vocabulary, columns, _pattern(flags.patient_regex), meanings, flags.masks == "keep", words)


def _pairs(flag_name: str, text: str) -> dict[str, str]:
    """`a=b,c=d` as a dictionary; a pair with a comma stands in double quotes."""
    parts = next(csv.reader([text], skipinitialspace=True), [])
    pairs = [part.partition("=")[::2] for part in parts if part.strip()]
    if any(not all(side.strip() for side in pair) for pair in pairs):
        raise InputError(f"--{flag_name} must be NAME=VALUE,NAME=VALUE, got {text!r}")
    values = {name.strip(): value.strip() for name, value in pairs}
    folded = Counter(map(key, values))
    twice = [name for name, value in pairs if folded[key(name)] > 1 or values[name.strip()] != value.strip()]
    if twice:
        raise InputError(f"--{flag_name} gives {twice[0].strip()!r} two meanings: {text!r}")
    return values


def _pattern(text: str) -> re.Pattern[str] | None:
    try:
        return re.compile(text) if text else None
    except re.error as error:
        raise InputError(f"--patient_regex must be a regular expression, got {text!r}: {error}") from error


_REMEDY = "CXRJAX_CACHE=FOLDER names a place for prepared images, activations and compiled programs"


def cache_place() -> Path:
    """Where prepared stores, activations and compiled programs are kept: CXRJAX_CACHE, else ~/.cache/cxrjax.

    Raises:
      InputError: if no home is known.
    """
    given = os.environ.get("CXRJAX_CACHE")
    try:
        return Path(given).expanduser() if given else Path.home() / ".cache" / "cxrjax"
    except RuntimeError as error:
        raise InputError(f"no home folder is known: HOME is not set, or names nothing; {_REMEDY}") from error


def cache_dir() -> Path:
    """`cache_place`, made if need be. One that is there and may only be read serves with what it holds.

    Raises:
      InputError: if there is none and none can be made, as for a user without a home.
    """
    folder = cache_place()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        home = "" if os.environ.get("CXRJAX_CACHE") else f" (HOME={os.environ.get('HOME', '')})"
        raise InputError(f"{folder}{home} cannot be made a folder: {error.strerror}; {_REMEDY}") from error
    return folder


def find(place: Path, naming: Naming = Naming()) -> Source:  # noqa: B008 - immutable
    """Tells what a source is and lists what is there, without decoding an image.

    In this order: an NIH folder (`Data_Entry_2017*.csv`), Shenzhen's or Montgomery's (`CXR_png/CHNCXR_0001_0.png`), a
    folder with one table of images (columns path and label, or path and one column a finding), class folders, any
    folder with images, which then have no label; or such a table, or one image file.

    Raises:
      InputError: if it is missing or none of these, or something in it is not understood.
    """
    if place.exists():
        log.info("%s: listing its images", place)
    try:
        source = _find(place, naming)
    except OSError as error:
        raise InputError(f"{error.filename or place} cannot be read: {error.strerror}") from error
    names = sorted(naming.columns.keys() - naming.meanings.keys())
    if names and source.kind != "table":
        raise InputError(f"--columns={names[0]}=... names a column of a table of images, and {place} is: {source.kind}")
    by_pattern = tuple(patients.by_pattern(source.table["image"].tolist(), naming.patient)) if naming.patient else ()
    meanings = {**source.meanings, **naming.meanings}
    return source._replace(patients=by_pattern, meanings=meanings, flags=naming.flags)


def _find(place: Path, naming: Naming) -> Source:
    """The first layout that fits; a new source is a line here."""
    vocabulary, columns = naming.vocabulary, naming.columns
    if place.is_file():
        if place.name.lower().endswith((*ARCHIVES, *OTHER_ARCHIVES)):
            raise InputError(f"{place} is an archive, which must be unpacked; {_READ_ARCHIVES}")
        if why_no_image(place):
            return table.scan(place, vocabulary, columns)
        return folder.scan_images(place, vocabulary, naming.keep_masks)
    if not place.is_dir():
        raise InputError(f"{place} does not exist")
    if nih.find_table(place):
        return nih.scan(place, vocabulary)
    if tuberculosis.film_folders(place):
        return tuberculosis.scan(place, vocabulary)
    classes = folder.class_folders(place, vocabulary)
    chosen, note, beside = table.choose(place, columns, vocabulary, classes)
    if chosen:
        source = table.scan(chosen, vocabulary, columns)
    elif not classes and any(path.name.lower().endswith((*ARCHIVES, *OTHER_ARCHIVES)) for path in place.iterdir()):
        raise InputError(f"{place} holds archives, which must be unpacked; {_READ_ARCHIVES}")
    else:
        source = folder.scan_images(place, vocabulary, naming.keep_masks)
    notes = (note, *source.notes) if note else source.notes
    return source._replace(notes=notes, problems=[*source.problems, *beside])


def load(
    data_dir: str | None,
    max_bad: float = 0.01,
    size: int | None = Reduction().size,
    flags: SourceFlags = SourceFlags(),  # noqa: B008 - immutable
    make: bool = True,
) -> tuple[ImageStore, About]:
    """Opens a data set; a raw one is prepared into the cache first, and found there the next time.

    Args:
      data_dir: prepared store, or what `find` knows; None is the embedded phantom, of 256 pixels.
      max_bad: share of images, 0..1, that may be bad; they are left out.
      size: width and height of the images in pixels; a store of another size is refused. None: a store's own, else 256.
      flags: how the words of a raw one are read.
      make: False: nothing is written; a raw one that is not prepared yet is what it will be if all of its images are
        good, see `listed`.

    Raises:
      InputError: if it is missing or of no known kind, too many images are bad, or a store has another size.
    """
    if data_dir is None:
        return _phantom(size)
    place = Path(data_dir)
    if is_store(place):
        return _told(*_of_size(place, size))
    source, reduction = find(place, naming(flags)), Reduction(size or Reduction().size)
    suffix = "" if reduction == Reduction() else f"-{size}"
    cache = cache_dir() if make else cache_place()
    prepared = cache / "stores" / f"{place.resolve().name}-{_fingerprint(source)}{suffix}"
    if not is_store(prepared):
        if not make:
            return listed(source, reduction.size)
        if not os.access(cache, os.W_OK):
            raise InputError(
                f"{place} is not prepared yet, and {cache} may not be written; CXRJAX_CACHE names another place"
            )
        log.info("%s: preparing %s into %s", source.kind, place, prepared)
        outcome = prepare(source, prepared, reduction, max_bad)
        if outcome:
            log.info("%d images prepared, %d bad, %d doubtful", outcome.images, outcome.bad, outcome.doubtful)
    return _told(*_checked(prepared, max_bad))


def listed(source: Source, size: int) -> tuple[ImageStore, About]:
    """A source as its tables, folders and names have it, before an image is read: what DICOM headers say is missing,
    every image counts as good (of archives every one that the table has), and one 0 stands for all pixels."""
    present = {file.name for file in source.files}
    images = [name for name in source.table["image"] if source.archives or name in present]
    done = [Done(image, "", row, str(row), size, Details()) for row, image in enumerate(images)]
    table, notes, account, _ = store_table.table_of(source, done)
    about = About(str(source.place), source.listed, {}, {}, notes=notes, patients=account._asdict())
    return ImageStore(np.broadcast_to(np.uint8(0), (len(table), size, size)), table), about


def at_hand(store: ImageStore) -> bool:
    """Whether a store has its pixels, unlike one of `listed`."""
    return bool(store.images.strides[0])


def _told(store: ImageStore, about: About) -> tuple[ImageStore, About]:
    """Both, after a log of what was understood of the source."""
    for note in about.notes:
        log.info("%s", note)
    spellings = [Spelling(*row) for row in about.spellings]
    for line in labels.lines(spellings, _LOGGED) if spellings else ():
        log.info("%s", line)
    return store, about


def _of_size(place: Path, size: int | None) -> tuple[ImageStore, About]:
    """A prepared store, refused with the command that makes the right one if its images have another size."""
    store, about = open_store(place), read_about(place)
    side = store.images.shape[1]
    if size is None or size == side:
        return store, about
    wanted = Reduction.recorded(about.made, size)
    pairs = list(zip(Reduction._fields, wanted, Reduction(), strict=True))[:-1]  # borders follow from the source
    words = [
        program("prepare"),
        f"--source={shlex.quote(about.source) if about.made else 'ORIGINALS'}",
        f"--out={shlex.quote(f'{place}-{size}')}",
        *(f"--{name}={value}" for name, value, default in pairs if name == "size" or value != default),
        *about.flags,
    ]
    why = ": small ones are not enlarged" if side < size else ": reduced twice they would be other pixels"
    raise InputError(
        f"{place} has images of {side} pixels a side, and this network at this --image_size takes {size}{why}. "
        f"A store of that size, from the originals: {' '.join(words)}"
    )


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
    """Changes with any row of the table, any file's place, size or time, and the rules (their number) of decoding."""
    words = f"{source.table.to_csv()}{source.patients}{source.meanings}"
    digest = hashlib.sha256(f"4 {source.place.resolve()}\n{words}".encode())
    for file in (*source.files, *source.archives):
        digest.update(f"{file.name} {file.path} {file.stamp}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()[:16]


def _phantom(size: int | None) -> tuple[ImageStore, About]:
    from cxrjax.data import phantom
    from cxrjax.data.phantom import anatomy

    if size not in (None, anatomy.SIZE):
        raise InputError(
            f"--data_dir must be given: the embedded phantom has {anatomy.SIZE} pixels a side, and this network "
            f"at this --image_size takes {size}"
        )
    drawn = phantom.embedded()
    return ImageStore(drawn.images, drawn.table.copy()), About("phantom", label_counts(drawn.table), {}, {})
