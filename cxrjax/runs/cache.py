"""What programs keep between runs in the cache (`data.load.cache_dir`): how much of what, and its removal.

A file is one of the cache's own by its place and name alone; nothing else is ever counted or removed.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

from cxrjax.base import faults
from cxrjax.storage.store import FILES

_KEY = r"[0-9a-f]{16}"
_STORE = rf"[^/]+-{_KEY}(?:-\d+)?"  # `load.load`; on its way `data.prepare`
_IN_STORE = "|".join(map(re.escape, (*FILES, "settings.json", "ledger.jsonl", "rows.bin", ".lock")))
KINDS: Mapping[str, re.Pattern[str]] = MappingProxyType(
    {
        "prepared images": re.compile(rf"stores/(?:{_STORE}|\.{_STORE}\.partial(?:/store|/old)?)/(?:{_IN_STORE})"),
        "activations": re.compile(rf"activations/{_KEY}/(?:values\.bin|keys\.bin|\.lock)"),
        "compiled programs": re.compile(r"programs/(?:[^/]+-(?:cache|atime)|\.lockfile)"),
        "list of fonts": re.compile(r"matplotlib/fontlist-[^/]+\.json"),
    }
)
"""Kind -> the path of its files below the cache."""


def sizes(cache: Path) -> dict[str, tuple[int, int]]:
    """Kind -> number of files and bytes on disk."""
    counted = dict.fromkeys(KINDS, (0, 0))
    for kind, file in _files(cache):
        with contextlib.suppress(OSError):  # gone meanwhile
            files, size = counted[kind]
            counted[kind] = files + 1, size + file.stat().st_blocks * 512
    return counted


def clear(cache: Path) -> dict[str, tuple[int, int]]:
    """Removes the cache's own files and the folders that are empty then; of what a program is at work on, none.

    Returns:
      Kind -> number of files and bytes that were removed.
    """
    before, busy = sizes(cache), {path.parent for path in cache.glob("*/*/.lock") if _is_held(path)}
    places = []
    for _, file in list(_files(cache)):
        if not busy.intersection(file.parents):
            file.unlink(missing_ok=True)
            places += [place for place in file.parents if place.is_relative_to(cache) and place != cache]
    for place in sorted(set(places), key=lambda place: -len(place.parts)):
        with contextlib.suppress(OSError):  # not empty
            place.rmdir()
    after = sizes(cache)
    return {kind: (before[kind][0] - after[kind][0], before[kind][1] - after[kind][1]) for kind in KINDS}


def _files(cache: Path) -> Iterator[tuple[str, Path]]:
    """The cache's own files with their kind; links are followed neither to files nor to folders."""
    for folder, _, names in os.walk(cache):
        for file in (Path(folder) / name for name in names):
            path = file.relative_to(cache).as_posix()
            kind = next((kind for kind, pattern in KINDS.items() if pattern.fullmatch(path)), None)
            if kind and not file.is_symlink():
                yield kind, file


def _is_held(lock: Path) -> bool:
    """Whether a process holds the file."""
    import fcntl  # POSIX alone

    try:
        with lock.open(encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError as error:
        return error.errno in faults.NOT_WRITABLE
    return False
