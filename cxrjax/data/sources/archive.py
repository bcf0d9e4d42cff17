"""Members of a tar archive, compressed or not, read as a stream: nothing is unpacked to disk, nothing read twice."""

from __future__ import annotations

import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

SUFFIXES = (".tar.gz", ".tgz", ".tar")
_ERRORS = (tarfile.TarError, OSError, EOFError, zlib.error)
_EXTENDED = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)
_MAX_HEADER = 1_000_000  # bytes of an extended header, which is read whole


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
    return path.name.lower().endswith(SUFFIXES)


def members(path: Path, max_bytes: int) -> Iterator[Member]:
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
        yield Member("", b"", 0, f"the archive is damaged or not whole ({why}); what comes before is used")


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
