"""Where radiographs come from: what a source offers, whatever its layout, and a walk through its images.

To add a source, write a module `cxrjax/data/sources/x.py` with a function `scan(folder) -> Source` and give it its
line in `cxrjax.data.load._find`; nothing else knows of sources. `scan` lists and reads tables, but no image: it builds

  - `table`: a row an image that may come, columns `store.COLUMNS` ("" or NaN where unknown), names that are unique;
    patient, view and sex as written, which `prepare` reads by all that is written (`data.patients`, `data.attributes`);
  - `files`: `stat_file(name, path)` of each image on disk, and `archives` likewise, whose members are found by name;
  - `folders`: for each row the folder that names its class, where folders do; those below it may be the patients';
  - `problems`: a `Bad` for each thing that a user must hear of, such as a file that is passed over;
  - `spellings`: what was written for labels and what `data.labels` read, of images that are there;
  - `notes`: what else was understood, a sentence each, which logs and `prepare` tell.

`folder.scan_images` is the shortest example. Decoding, bad files, interruptions, equal pixels under two labels and the
cache of prepared stores follow by themselves.
"""

from __future__ import annotations

import stat
import tarfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import NamedTuple

import pandas as pd

from cxrjax.base import InputError, lazy_modules
from cxrjax.data.decode import begins_as_image
from cxrjax.data.dicom import is_dicom
from cxrjax.data.labels import Spelling

lazy_modules(__name__)

DUPLICATE_FILE = "duplicate name: only the first file of this name is used"
ARCHIVES = (".tar.gz", ".tgz", ".tar")
OTHER_ARCHIVES = (".zip", ".7z", ".rar", ".tar.bz2", ".tar.xz")  # that are not read
MAX_BYTES = 200_000_000  # of one image file: 50 million pixels of 16 bits, twice
_ERRORS = (tarfile.TarError, OSError, EOFError, zlib.error)
_EXTENDED = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)
_AGE = r"^0*(\d{1,3})(?:\.\d*)?\s*([YMWD]?)(?:(?<=Y)(?:RS?|EARS?)|(?<=M)(?:OS?|ONS?|ONTHS?))?$"
_MAX_HEADER = 1_000_000  # bytes of an extended header, which is read whole


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
    passed_over: bool = False  # left out, and no image of the source is lost with it: a text, an image of no row


class Source(NamedTuple):
    """A source as it was found. Images enter a store in the order of the table."""

    place: Path
    kind: str  # for people: "NIH folder", ...
    table: pd.DataFrame  # columns `store.COLUMNS`, "" or NaN where unknown; images that may come, unique names
    files: list[File]
    archives: list[File]
    problems: list[Bad]  # seen while looking around: missing files, names listed twice
    listed: dict[str, int]  # labels as read -> images in the source's table, present or not
    boxes: pd.DataFrame  # `BOX_COLUMNS`, as shares of the image, 0..1
    spellings: tuple[Spelling, ...] = ()  # labels as written and as read, of images that are there
    notes: tuple[str, ...] = ()  # what else was understood, a sentence each
    folders: tuple[str, ...] = ()  # a row of the table each: place of the folder that names its class; () where none do
    patients: tuple[str, ...] = ()  # a row of the table each: whose it is by the user's pattern, or ""; () without one
    meanings: Mapping[str, Mapping[str, str]] = MappingProxyType({})  # sex, view -> `attributes.fold_meanings`
    borders: str = "keep"  # crop: its films have black borders, see `decode.Reduction`
    flags: tuple[str, ...] = ()  # words of a command line that say how it was read, see `flags.SourceFlags`


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


def stem(name: str) -> str:
    """What names an image, of a file's name: an export may have changed its format, a file system the case."""
    return name.casefold().rsplit(".", 1)[0]


def total_bytes(source: Source) -> int:
    """Size of all files and archives, the measure of progress."""
    return sum(file.size for file in (*source.files, *source.archives))


def entries(
    source: Source,
    stamps: Mapping[str, str] = MappingProxyType({}),
    ended: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[Entry | Same | Bad | End]:
    """Goes through files, then archives, in order; archives are read as streams and never unpacked to disk.

    Of two images of one name the first is used and the other reported. Archives that can add nothing are not read.

    Args:
      source: where to go through.
      stamps: image -> `File.stamp` of what an earlier attempt read it from; if that is still the same, it is `Same`.
      ended: archive -> its stamp when it was read to its end without fault.
    """
    yield from source.problems
    seen: set[str] = set()
    behind = 0
    for file in source.files:
        behind += file.size
        seen.add(file.name)
        if stamps.get(file.name) == file.stamp:
            yield Same(file.name)
        else:
            yield Entry(file.name, str(file.path), file.stamp, file.path, behind)
    wanted = {stem(image): image for image in source.table["image"]} if source.archives else {}
    for file in source.archives:
        if seen.issuperset(wanted.values()):  # unpacked already, or all found in the archives before
            pass
        elif ended.get(file.name) == file.stamp:
            before = {image for image, stamp in stamps.items() if stamp == file.stamp} - seen
            yield from (Same(image) for image in sorted(before))
            seen |= before
        else:
            yield from _unpack(file, wanted, seen, stamps, behind)
        behind += file.size


def _unpack(
    file: File, wanted: Mapping[str, str], seen: set[str], stamps: Mapping[str, str], behind: int
) -> Iterator[Entry | Same | Bad | End]:
    sound = True
    for member in members(file.path):
        origin = f"{file.path}!{member.name}" if member.name else str(file.path)
        name = PurePosixPath(member.name).name
        image = wanted.get(stem(name), "") if member.name else file.name
        fault, left_out = member.fault, True
        is_other = name.casefold() != image.casefold() and not member.fault
        if not image or (name and is_other and not (begins_as_image(member.content) or is_dicom(member.content))):
            continue  # a note may share an image's stem
        if not fault and image in seen:
            fault, left_out = DUPLICATE_FILE, False
        if fault:
            sound = False
            yield Bad(image, origin, fault, left_out)
            continue
        seen.add(image)
        if stamps.get(image) == file.stamp:
            yield Same(image)
        else:
            yield Entry(image, origin, file.stamp, member.content, behind + member.position)
    if sound:
        yield End(file.name, file.stamp)


class _Info(tarfile.TarInfo):
    """A header that does not fill the memory."""

    def _proc_member(self, archive: tarfile.TarFile) -> tarfile.TarInfo:
        if self.type in _EXTENDED and self.size > _MAX_HEADER:
            raise tarfile.ReadError(f"a header of {self.size} bytes")
        info: tarfile.TarInfo = super()._proc_member(archive)  # type: ignore[misc]  # private: where tarfile reads it
        return info


class Member(NamedTuple):
    """A file in an archive, or what is wrong with it."""

    name: str  # "" for a fault of the archive itself
    content: bytes
    position: int  # bytes of the archive that are behind us
    fault: str  # "" if there is none


def is_archive(path: Path) -> bool:
    """True by the name: .tar, .tar.gz, .tgz."""
    return path.name.lower().endswith(ARCHIVES)


def members(path: Path, max_bytes: int = MAX_BYTES) -> Iterator[Member]:
    """Goes through an archive as far as it is whole: one that is half downloaded gives its first images.

    Args:
      path: of the archive.
      max_bytes: a larger member is not read.
    """
    try:
        with path.open("rb") as file, tarfile.open(fileobj=file, mode="r|*", tarinfo=_Info) as tar:
            for info in tar:
                if not info.isdir():
                    yield _member(tar, info, file.tell(), max_bytes)
                tar.members = []  # type: ignore[attr-defined]  # a stream needs no index, and this one grows
    except _ERRORS as error:
        why = "ends too early" if "end" in str(error).lower() else str(error) or type(error).__name__
        yield Member("", b"", 0, f"the archive is damaged or incomplete ({why}); the part before that is used")


def _member(tar: tarfile.TarFile, info: tarfile.TarInfo, position: int, max_bytes: int) -> Member:
    name = PurePosixPath(info.name)
    fault = ""
    if name.is_absolute() or ".." in name.parts:
        fault = "points outside its archive"
    elif not info.isreg():
        fault = "is a link or a device, not a file"
    elif info.size > max_bytes:
        fault = f"has {info.size} bytes, more than the {max_bytes // 1_000_000} MB allowed"
    if fault:
        return Member(info.name, b"", position, fault)
    stream = tar.extractfile(info)
    return Member(info.name, stream.read() if stream else b"", position, "")


def content_of(entry: Entry) -> bytes:
    """The bytes of an image, read now if they lie in a file; raises as `read_file`."""
    return entry.content if isinstance(entry.content, bytes) else read_file(entry.content)


def read_file(path: Path) -> bytes:
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


def stat_file(name: str, path: Path) -> File:
    """A file and its state; a missing one has size 0."""
    try:
        status = path.stat()
    except (OSError, ValueError):
        return File(name, path, 0, "missing")
    return File(name, path, status.st_size, f"{path.name} {status.st_size} {status.st_mtime_ns}")


def printable(name: str) -> str:
    """A file's name as text: bytes in it that are no UTF-8 are escaped."""
    return name.encode("utf-8", "backslashreplace").decode()


def years(text: pd.Series) -> pd.Series:
    """Ages as DICOM, NIH and people write them, in whole years: 058Y, 58.0, 58 yrs; 8 months, 003W are 0; else NaN."""

    def read(distinct: pd.Series) -> pd.Series:
        parts = distinct.astype(str).str.strip().str.upper().str.extract(_AGE)
        number = pd.to_numeric(parts[0], errors="coerce")
        return number // parts[1].map({"M": 12, "W": 52, "D": 365}).astype(float).fillna(1)

    return _each_once(read, text)


def numbers(text: pd.Series) -> pd.Series:
    """Whole numbers; 0 for what is none."""

    def read(distinct: pd.Series) -> pd.Series:
        digits = distinct.str.extract(r"^\s*0*(\d{1,9})(?:\.0*)?\s*$", expand=False)
        return pd.to_numeric(digits).fillna(0).astype(int)

    return _each_once(read, text)


def _each_once(read: Callable[[pd.Series], pd.Series], text: pd.Series) -> pd.Series:
    """What `read` makes of texts; a column has few different ones, and pandas is slow at each."""
    place, distinct = pd.factorize(text, use_na_sentinel=False)
    return pd.Series(read(pd.Series(distinct, dtype=text.dtype)).to_numpy()[place], text.index)
