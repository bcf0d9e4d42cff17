"""Which files are images: by what they hold, or by a name that promises one; and what is passed over, by reason."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from cxrjax.data.decode import SUFFIXES as SUFFIXES
from cxrjax.data.decode import begins_as_image
from cxrjax.data.dicom import is_dicom
from cxrjax.data.sources import Bad, printable
from cxrjax.storage.store import is_store

_HEAD = 512  # bytes that are looked at
_KINDS = {  # first bytes -> what it is, for people
    b"PK\x03\x04": "a ZIP archive or office file",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive",
    b"Rar!": "a RAR archive",
    b"\x1f\x8b": "a gzip file or archive",
    b"BZh": "a bzip2 file or archive",
    b"\xfd7zXZ": "an xz file or archive",
    b"%PDF": "a PDF",
    b"\x93NUMPY": "a NumPy array",
    b"\xd0\xcf\x11\xe0": "an office file or Windows' thumbnails",
}
_HIDDEN = (".", "__MACOSX", "@eaDir")  # the others are copies that macOS and Synology make


def images_under(folder: Path) -> tuple[list[Path], list[Bad]]:
    """Image files anywhere below, sorted, links followed.

    Returns:
      Images; folders that cannot be read, and files that are passed over, each with its reason.
    """
    paths: list[Path] = []
    faults: list[Bad] = []
    visited: set[str] = set()

    def refuse(error: OSError) -> None:
        place = str(error.filename)
        faults.append(Bad(place, place, f"folder cannot be read: {error.strerror}"))

    for root, folders, names in os.walk(folder, onerror=refuse, followlinks=True):
        visited.add(os.path.realpath(root))
        for reason, place in _folders_passed_over(Path(root), folders, names):
            faults.append(Bad(printable(place.relative_to(folder).as_posix()), str(place), reason, passed_over=True))
        folders[:] = [name for name in folders if _is_new_folder(Path(root, name), visited)]
        for path in (Path(root, name) for name in names):
            reason = why_no_image(path)
            if reason:
                faults.append(Bad(printable(path.relative_to(folder).as_posix()), str(path), reason, passed_over=True))
            else:
                paths.append(path)
    return sorted(paths), faults


def _is_new_folder(path: Path, visited: set[str]) -> bool:
    return not path.name.startswith(_HIDDEN) and os.path.realpath(path) not in visited and not is_store(path)


def _folders_passed_over(root: Path, folders: list[str], names: list[str]) -> Iterator[tuple[str, Path]]:
    """Why, and which: what is hidden in a folder, and itself where it is empty."""
    yield from (("is a hidden folder", root / name) for name in folders if name.startswith(_HIDDEN))
    yield from (("is a prepared store", root / name) for name in folders if is_store(root / name))
    if not folders and not names:
        yield "is an empty folder", root


def why_no_image(path: Path) -> str:
    """Why a file is passed over, "" of an image: what has an image's suffix, or an image's or DICOM's first bytes.

    A file of an image's suffix that holds none is not passed over: an image is lost with it.
    """
    if path.name.startswith("."):
        return "is a hidden file"
    if path.name.upper() == "DICOMDIR":
        return "is no image: a DICOM directory"
    if path.suffix.lower() in SUFFIXES:
        return ""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            return "is no image: no regular file"
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except FileNotFoundError:
        return "is no image: a link to nothing"
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return "" if is_image(head) else f"is no image: {_kind(head)}"


def is_image(head: bytes) -> bool:
    """True if a file begins as an image of a format that is read, or as DICOM.

    Args:
      head: its first 132 bytes or more.
    """
    return is_dicom(head) or (begins_as_image(head) and not _is_text(head))


def _is_text(head: bytes) -> bool:
    """A note that begins with BM or P5, as BMP and PGM do, is none of them. A cut-off last letter is no fault."""
    control = set(range(32)) - set(b"\t\n\r\f")
    return bool(head) and not control & set(head) and len(head.decode("utf-8", "ignore").encode()) > len(head) - 4


def _kind(head: bytes) -> str:
    """What a file is that is no image, for people."""
    if not head:
        return "an empty file"
    kind = next((kind for start, kind in _KINDS.items() if head.startswith(start)), "")
    return kind or ("text" if _is_text(head) else "of an unknown format")


def count_passed_over(faults: Iterable[Bad]) -> str:
    """How many files are passed over, by reason, most frequent first; "" of none.

    >>> count_passed_over([Bad("a.txt", "", "is no image: text", passed_over=True)])
    'files passed over: 1 (is no image: text)'
    """
    counts = Counter(fault.reason for fault in faults if fault.passed_over)
    reasons = ", ".join(f"{files} ({reason})" for reason, files in counts.most_common())
    return f"files passed over: {reasons}" if counts else ""
