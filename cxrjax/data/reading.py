"""What a source offers, decoded by many threads in order; and what of it is on the disk so far."""

from __future__ import annotations

import hashlib
import json
import os
import statistics
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from cxrjax.base import InputError
from cxrjax.data import sources
from cxrjax.data.crop import Region
from cxrjax.data.decode import Decoded, Reduction, decode
from cxrjax.data.dicom import Details
from cxrjax.data.screening import Doubt
from cxrjax.data.sources import Bad, End, Entry, Same

Item: TypeAlias = Entry | Same | Bad | End
Result: TypeAlias = tuple[Item, Decoded | InputError | None]


def decoded(items: Iterable[Item], reduction: Reduction, workers: int, find: Region | None = None) -> Iterator[Result]:
    """Decodes in threads (Pillow works without the GIL) and in order; a bad image comes with its error.

    Args:
      items: as `data.sources.entries` gives them; only an `Entry` is decoded, the others come with None.
      reduction: size, fit, filter, range and crop.
      workers: threads, 1 or more; at most twice as many files are in memory.
      find: see `decode.decode`.
    """
    pending: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        for item in items:
            pending.append(pool.submit(_attempt, item, reduction, find))
            if len(pending) > 2 * workers:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


def _attempt(item: Item, reduction: Reduction, find: Region | None) -> Result:
    try:
        return item, decode(sources.content_of(item), item.image, reduction, find) if isinstance(item, Entry) else None
    except InputError as error:
        return item, error


class Done(NamedTuple):
    """An image that was read."""

    image: str  # its name in the table
    stamp: str  # of the file or archive that it was read from
    row: int  # its place in `rows.bin`
    sha256: str  # of its reduced pixels, hex
    side: int  # of `Decoded`
    details: Details  # of a DICOM header
    notes: tuple[str, ...] = ()  # of `Decoded`
    doubt: Doubt | None = None  # of `Decoded`


class Enlarged(NamedTuple):
    """How many images of a store had fewer pixels than they have in it."""

    size: int  # width and height in the store
    images: int  # that were enlarged
    of: int  # all of the store
    median: int = 0  # `Reduction.side` of those that were enlarged
    smallest: int = 0

    @classmethod
    def among(cls, sides: Sequence[int], size: int) -> Enlarged:
        """Of images with these `Reduction.side`."""
        fewer = [side for side in sides if side < size]
        seen = (statistics.median_low(fewer), min(fewer)) if fewer else ()
        return cls(size, len(fewer), len(sides), *seen)

    def line(self) -> str:
        """A sentence for logs."""
        if not self.images:
            return f"size: none of {self.of} images enlarged to {self.size} pixels"
        before = f"from {self.median} (median; smallest {self.smallest})"
        return f"size: {self.images} of {self.of} images enlarged to {self.size} pixels, {before}"


def _done(line: dict[str, Any]) -> Done:
    """A line of the ledger as it was before."""
    doubt = Doubt(*line["doubt"]) if line["doubt"] else None
    return Done(**line | {"details": Details(*line["details"]), "notes": tuple(line["notes"]), "doubt": doubt})


class Partial:
    """Images read so far, on disk: `rows.bin`, pixels in order of arrival, and `ledger.jsonl`, a line of JSON an image.

    `commit` brings rows to the disk before the lines that speak of them; what a kill leaves behind the last whole line
    is cut off when the files are opened again.
    """

    LEDGER, ROWS = "ledger.jsonl", "rows.bin"

    def __init__(self, folder: Path, size: int) -> None:
        """Opens or makes the files of [size, size] images; drops lines of another version or whose rows are gone."""
        self.done: dict[str, Done] = {}  # by image
        self.ended: dict[str, str] = {}  # archive -> its stamp; read to the end without fault
        self._size, self._lines = size, list[dict[str, Any]]()
        ledger, rows = folder / self.LEDGER, folder / self.ROWS
        ledger.touch()
        rows.touch()
        content = ledger.read_bytes()
        content = content[: content.rfind(b"\n") + 1]
        lines = [json.loads(line) for line in content.splitlines()]
        images = [line for line in lines if "image" in line]
        self._count = len(images)
        of_another_version = any(line.keys() != set(Done._fields) for line in images)
        if of_another_version or self._count * size**2 > rows.stat().st_size:
            content, lines, self._count = b"", [], 0
        for line in lines:
            if "image" in line:
                self.done[line["image"]] = _done(line)
            else:
                self.ended[line["archive"]] = line["stamp"]
        os.truncate(ledger, len(content))
        os.truncate(rows, self._count * size**2)
        self._ledger, self._rows = ledger.open("ab"), rows.open("a+b")

    def append(self, image: str, stamp: str, result: Decoded) -> None:
        """Takes an image in; it is on the disk after the next `commit`."""
        self._rows.write(np.ascontiguousarray(result.pixels).data)
        sha256 = hashlib.sha256(result.pixels.tobytes()).hexdigest()
        self.done[image] = Done(image, stamp, self._count, sha256, *result[1:])
        self._count += 1
        self._lines.append(self.done[image]._asdict())

    def end(self, archive: str, stamp: str) -> None:
        """Notes that an archive was read to its end without fault."""
        self.ended[archive] = stamp
        self._lines.append({"archive": archive, "stamp": stamp})

    def commit(self) -> None:
        """Waits until all that was taken in is on the disk."""
        self._rows.flush()
        os.fsync(self._rows.fileno())
        self._ledger.write("".join(json.dumps(line) + "\n" for line in self._lines).encode())
        self._ledger.flush()
        os.fsync(self._ledger.fileno())
        self._lines.clear()

    def pixels(self, images: Iterable[str]) -> Iterator[np.ndarray]:
        """[size, size] u8 of each image, by file I/O."""
        for image in images:
            content = os.pread(self._rows.fileno(), self._size**2, self.done[image].row * self._size**2)
            yield np.frombuffer(content, np.uint8).reshape(self._size, self._size)

    def close(self) -> None:
        """Closes the files; what came after the last `commit` may be lost."""
        self._ledger.close()
        self._rows.close()
