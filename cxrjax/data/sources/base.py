"""What a source of radiographs offers, whatever its layout: a table, image files, archives; and a walk through them."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple, Protocol

import pandas as pd

from cxrjax.base.types import InputError
from cxrjax.data.decode import SUFFIXES
from cxrjax.data.dicom import is_dicom
from cxrjax.data.sources import archive

CLASSES = {"NORMAL": "No Finding", "PNEUMONIA": "Pneumonia"}  # upper-case name of a class -> NIH label

MAX_BYTES = 200_000_000  # of one image file: 50 million pixels of 16 bits, twice
_NO_IMAGES = (".txt", ".csv", ".json", ".xml", ".html", ".md", ".pdf", ".xlsx", ".zip", ".gz", ".npy", ".db", ".ini")
# Kermany et al.: person123_bacteria_45.jpeg, IM-0620-0001-0001.jpeg, NORMAL2-IM-0620-0001.jpeg
_KERMANY = re.compile(r"^(person\d+)_|^((?:NORMAL2-)?IM-\d+)-")


class File(NamedTuple):
    """A file on disk."""

    name: str  # of the image in the table; of an archive, its own
    path: Path
    size: int  # bytes
    stamp: str  # changes when the file does


class Bad(NamedTuple):
    """Something that a user must hear of."""

    image: str
    origin: str  # where it lies: a path, or ARCHIVE!MEMBER
    reason: str
    left_out: bool = True  # False: it is used, and reported only


class Source(NamedTuple):
    """A source as it was found. Images enter a store in the order of the table."""

    place: Path
    kind: str  # for people: "NIH folder", ...
    table: pd.DataFrame  # columns `store.COLUMNS`, "" or NaN where unknown; images that may come, unique names
    patients: list[str]  # a row of the table each: whose it is by the file's name, if nothing else tells
    files: list[File]
    archives: list[File]
    problems: list[Bad]  # seen while looking around: missing files, names listed twice
    listed: dict[str, int]  # label as written -> images in the source's table, present or not
    boxes: pd.DataFrame  # `BOX_COLUMNS`, as shares of the image, 0..1


class Entry(NamedTuple):
    """An image that is there, not read or not decoded yet."""

    image: str
    origin: str
    stamp: str
    content: Path | bytes
    behind: int  # bytes of the source that are behind us with this entry, of `total_bytes`


class Same(NamedTuple):
    """An image that an earlier attempt has read from a file that is still the same."""

    image: str


class End(NamedTuple):
    """An archive that was read to its end without fault."""

    archive: str
    stamp: str


class Ledger(Protocol):
    """What was done in an earlier attempt."""

    def has(self, image: str, stamp: str) -> bool:
        """True if this image of this file needs no second look."""

    def ended(self, archive: str, stamp: str) -> set[str] | None:
        """Images of an archive that was read to its end without fault; None if it was not."""


def total_bytes(source: Source) -> int:
    """Size of all files and archives, the measure of progress."""
    return sum(file.size for file in (*source.files, *source.archives))


def entries(source: Source, ledger: Ledger) -> Iterator[Entry | Same | Bad | End]:
    """Goes through files, then archives, in order; archives are read as streams and never unpacked to disk.

    Of two images of one name the first is used and the other reported. Archives that can add nothing are not read.
    """
    yield from source.problems
    seen: set[str] = set()
    behind = 0
    for file in source.files:
        behind += file.size
        seen.add(file.name)
        if ledger.has(file.name, file.stamp):
            yield Same(file.name)
        else:
            yield Entry(file.name, str(file.path), file.stamp, file.path, behind)
    wanted = set(source.table["image"]) if source.archives else set()
    for file in source.archives:
        before = ledger.ended(file.name, file.stamp)
        if wanted <= seen:
            before = set()  # unpacked already, or all found in the archives before
        if before is None:
            yield from _unpack(file, wanted, seen, ledger, behind)
        else:
            yield from (Same(image) for image in sorted(before - seen))
            seen |= before
        behind += file.size


def _unpack(
    file: File, wanted: set[str], seen: set[str], ledger: Ledger, behind: int
) -> Iterator[Entry | Same | Bad | End]:
    sound = True
    for member in archive.members(file.path, MAX_BYTES):
        origin = f"{file.path}!{member.name}" if member.name else str(file.path)
        image = PurePosixPath(member.name).name if member.name else file.name
        fault, left_out = member.fault, True
        if member.name and image not in wanted:
            continue
        if not fault and image in seen:
            fault, left_out = "duplicate name: only the first file of this name is looked at", False
        if fault:
            sound = False
            yield Bad(image, origin, fault, left_out)
            continue
        seen.add(image)
        if ledger.has(image, file.stamp):
            yield Same(image)
        else:
            yield Entry(image, origin, file.stamp, member.content, behind + member.position)
    if sound:
        yield End(file.name, file.stamp)


def content_of(entry: Entry) -> bytes:
    """The bytes of an image, read now if they lie in a file; raises as `read`."""
    return entry.content if isinstance(entry.content, bytes) else read(entry.content)


def read(path: Path) -> bytes:
    """Content of an image file.

    Raises:
      InputError: if it is missing, no regular file (a pipe would never end), unreadable, or too large.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise InputError("is not a regular file")
        if status.st_size > MAX_BYTES:
            raise InputError(f"has {status.st_size} bytes, more than the {MAX_BYTES // 1_000_000} MB allowed")
        return path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        raise InputError(f"cannot be read: {getattr(error, 'strerror', None) or error}") from error


def look(name: str, path: Path) -> File:
    """A file and its state; a missing one has size 0."""
    try:
        status = path.stat()
    except (OSError, ValueError):
        return File(name, path, 0, "missing")
    return File(name, path, status.st_size, f"{path.name} {status.st_size} {status.st_mtime_ns}")


def images_under(folder: Path) -> tuple[list[Path], list[Bad]]:
    """Image files anywhere below, sorted, links followed: by suffix, else DICOM by content.

    Hidden ones and DICOMDIR are left out; folders that cannot be read come as faults.
    """
    found: list[Path] = []
    faults: list[Bad] = []
    visited: set[str] = set()

    def refuse(error: OSError) -> None:
        place = str(error.filename)
        faults.append(Bad(place, place, f"folder cannot be read: {error.strerror}"))

    for root, folders, names in os.walk(folder, onerror=refuse, followlinks=True):
        visited.add(os.path.realpath(root))
        folders[:] = [name for name in folders if _is_new_folder(Path(root, name), visited)]
        found += [Path(root, name) for name in names if not name.startswith(".") and _is_image(Path(root, name))]
    return sorted(found), faults


def _is_new_folder(path: Path, visited: set[str]) -> bool:
    return not path.name.startswith((".", "__MACOSX")) and os.path.realpath(path) not in visited


def _is_image(path: Path) -> bool:
    if path.suffix.lower() in SUFFIXES:
        return True
    if path.suffix.lower() in _NO_IMAGES or path.name.upper() == "DICOMDIR" or not path.is_file():
        return False
    try:
        with path.open("rb") as file:  # a PACS names DICOM files by numbers and dots
            return is_dicom(file.read(132))
    except OSError:
        return False


def name_of(path: Path, root: Path) -> str:
    """An image's name in the table: its place below the source."""
    return printable(path.relative_to(root).as_posix())


def printable(name: str) -> str:
    """A file's name as text: bytes in it that are no UTF-8 are escaped."""
    return name.encode("utf-8", "backslashreplace").decode()


def patient_of(image: str, pattern: re.Pattern[str] | None = None) -> tuple[str, str]:
    """Patient of an image by its name: what the user's pattern tells (or ""), and what else the name tells.

    Args:
      image: its place below the source.
      pattern: searched in the file's name, then in the whole of `image`; its group `patient`, or else its first group,
        or else what it matches.

    The second is, with the folder before it since Kermany numbers the patients of each class from 1, `personN` or
    `IM-N`; for any other name the image is a patient of its own.

    >>> patient_of("NORMAL/person12_virus_46.jpeg"), patient_of("A/1.png")
    (('', 'NORMAL/person12'), ('', 'A/1'))
    >>> patient_of("A/p7/1.png", re.compile("p([0-9]+)/"))
    ('7', 'A/p7/1')
    """
    path = PurePosixPath(image)
    stem = image[: -len(path.suffix)] if path.suffix.lower() in SUFFIXES else image
    known = _KERMANY.search(path.name)
    own = f"{path.parent.name}/{known[1] or known[2]}" if known else stem
    match = pattern and (pattern.search(path.name) or pattern.search(image))
    if not match:
        return "", own
    if "patient" in match.re.groupindex:
        return match["patient"] or "", own
    return next((group for group in match.groups() if group), match.group()), own


def label_of(text: str, classes: dict[str, str]) -> str:
    """NIH label of a class name, whatever its case; a name that is no class stays as it is.

    >>> label_of("Normal", CLASSES), label_of("Effusion|Pneumonia", CLASSES)
    ('No Finding', 'Effusion|Pneumonia')
    """
    return classes.get(text.strip().upper(), text.strip())


def years(text: pd.Series) -> pd.Series:
    """Ages as DICOM and NIH write them to whole years: 058Y, 58, 58.0; 011M, 003W and 013D are 0; NaN for all else."""
    found = text.astype(str).str.strip().str.upper().str.extract(r"^0*(\d{1,3})(?:\.\d*)?([YMWD]?)$")
    number = pd.to_numeric(found[0], errors="coerce")
    return number // found[1].map({"M": 12, "W": 52, "D": 365}).astype(float).fillna(1)


def numbers(text: pd.Series) -> pd.Series:
    """Whole numbers; 0 for what is none."""
    return pd.to_numeric(text.str.extract(r"^\s*0*(\d{1,9})(?:\.0*)?\s*$", expand=False)).fillna(0).astype(int)
