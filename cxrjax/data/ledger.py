"""What a preparation has done so far, a line of JSON an image, so that the same command goes on after a kill."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from cxrjax.data.dicom import Details


class Done(NamedTuple):
    """An image that is in the store."""

    image: str
    stamp: str  # of the file it was read from
    row: int  # in order of arrival
    sha256: str  # of its reduced pixels
    details: Details


class Ledger:
    """The file, append-only. Lines count once they are whole; rows they name must be on the disk before."""

    def __init__(self, path: Path) -> None:
        """Opens the file, made if need be; a line that a kill cut short is dropped."""
        self.done: dict[str, Done] = {}
        self._archives: dict[str, str] = {}
        path.touch()
        self._file = path.open("r+b")
        whole = 0
        for line in self._file:
            if not line.endswith(b"\n"):
                break
            whole += len(line)
            self._take(json.loads(line))
        self._file.truncate(whole)
        self._file.seek(whole)

    def has(self, image: str, stamp: str) -> bool:
        """True if this image was read from this file as it is now."""
        return image in self.done and self.done[image].stamp == stamp

    def ended(self, archive: str, stamp: str) -> set[str] | None:
        """Images of an archive that was read to its end without fault, as it is now; None if it was not."""
        if self._archives.get(archive) != stamp:
            return None
        return {done.image for done in self.done.values() if done.stamp == stamp}

    def rows(self) -> int:
        """Number of rows that the lines speak of."""
        return max((done.row for done in self.done.values()), default=-1) + 1

    def write(self, images: Iterable[Done], archives: dict[str, str]) -> None:
        """Appends images and archives (name -> stamp) that were read to their end, and waits for the disk."""
        lines: list[dict[str, Any]] = [done._asdict() for done in images]
        lines += [{"archive": name, "stamp": stamp} for name, stamp in archives.items()]
        self._file.write("".join(json.dumps(line) + "\n" for line in lines).encode())
        self._file.flush()
        os.fsync(self._file.fileno())
        for line in lines:
            self._take(line)

    def _take(self, line: dict[str, Any]) -> None:
        if "archive" in line:
            self._archives[line["archive"]] = line["stamp"]
        else:
            done = Done(**line)
            self.done[done.image] = done._replace(details=Details(*done.details))

    def forget(self) -> None:
        """Drops all lines, as the rows that they speak of are gone."""
        self.done.clear()
        self._archives.clear()
        self._file.seek(0)
        self._file.truncate()

    def close(self) -> None:
        """Closes the file."""
        self._file.close()
