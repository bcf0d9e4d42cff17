"""Work on the next things while one is used: what lies on a disk is read and hashed, several small problems solved."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def ahead(function: Callable[[T], R], items: Iterable[T], workers: int = 0) -> Iterator[R]:
    """What `function` makes of each item, in order.

    JAX's context managers (`jax.enable_x64`) hold for the thread that enters them: `function` must enter its own.

    Args:
      function: called in threads.
      items: of its argument.
      workers: threads, and how many results there are beyond the one that is used; 0: one a core.

    >>> list(ahead(abs, (-1, 2, -3)))
    [1, 2, 3]
    """
    workers = workers or os.cpu_count() or 1
    with ThreadPoolExecutor(workers) as pool:
        coming = deque[Future[R]]()
        for item in items:
            coming.append(pool.submit(function, item))
            if len(coming) > workers:
                yield coming.popleft().result()
        while coming:
            yield coming.popleft().result()
