"""What a source offers, decoded by many threads in order, with progress told on the way."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeAlias

from cxrjax.base import files
from cxrjax.base.types import InputError
from cxrjax.data.decode import Check, Decoded, Reduction, decode
from cxrjax.data.sources import base as sources
from cxrjax.data.sources.base import Bad, End, Entry, Same

log = logging.getLogger(__name__)

Item: TypeAlias = Entry | Same | Bad | End


def decoded(
    items: Iterator[Item], reduction: Reduction, workers: int, check: Check | None = None
) -> Iterator[tuple[Item, Decoded | InputError | None]]:
    """Decodes in threads (Pillow works without the GIL) and in order; a bad image comes with its error.

    `check` may refuse images, see `decode`."""
    pending: deque[tuple[Item, Future[Decoded | InputError] | None]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        for item in items:
            future = pool.submit(_attempt, item, reduction, check) if isinstance(item, Entry) else None
            pending.append((item, future))
            if len(pending) > 2 * workers:  # as many files in memory at most
                yield _result(*pending.popleft())
        while pending:
            yield _result(*pending.popleft())


def _result(item: Item, future: Future[Decoded | InputError] | None) -> tuple[Item, Decoded | InputError | None]:
    return item, None if future is None else future.result()


def _attempt(entry: Entry, reduction: Reduction, check: Check | None) -> Decoded | InputError:
    try:
        return decode(sources.content_of(entry), entry.image, reduction, check)
    except InputError as error:
        return error


class Progress:
    """Logs images a second and the time left, by the bytes of the source that are behind."""

    def __init__(self, total: int) -> None:
        """`total` is the source's `total_bytes`."""
        self._total, self._images, self._clock = total, 0, files.Clock(total)

    def count(self, behind: int) -> None:
        """An image is done, with which `behind` bytes of the source are."""
        self._images += 1
        left = self._clock.tick(behind)
        if left:
            rate = self._images / (time.monotonic() - self._clock.started)
            share = 100 * behind / max(self._total, 1)
            log.info("%d images, %.0f images/s, %.0f %% of the source, %s", self._images, rate, share, left)
