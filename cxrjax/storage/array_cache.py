"""Arrays on disk by key: append-only, memory-mapped, whole after a kill at any moment.

A folder holds `values.bin`, entry after entry, and `keys.bin`, 32 bytes for every entry that is complete. Keys are
written after their values have reached the disk; what a killed process left behind its last key is written over.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from cxrjax.base import InputError, files

KEY_BYTES = 32
Compute = Callable[[np.ndarray], Iterator[np.ndarray]]


def ensure(
    folder: Path, keys: Sequence[bytes], shape: tuple[int, ...], dtype: np.dtype, compute: Compute
) -> tuple[np.ndarray, np.ndarray]:
    """Finds the entries of `keys`; computes and appends those that are missing.

    Args:
      folder: of the cache, made if need be. Two processes may use it at once: the second waits for the first.
      keys: [n], distinct, `KEY_BYTES` each.
      shape: of one entry.
      dtype: of its numbers.
      compute: places in `keys` [m] -> blocks [b, *shape] which together are their entries, in that order.

    Returns:
      A read-only memory map [M, *shape] of all entries, and the place in it of each key, [n] i64.

    Raises:
      InputError: if the disk has no room for what is missing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    size = int(np.prod(shape)) * dtype.itemsize
    with (folder / ".lock").open("w") as lock:
        files.lock(lock, "another run is computing the same activations; waiting for it")
        place = _places(folder, size)
        missing = np.array([i for i, key in enumerate(keys) if key not in place], np.int64)
        if len(missing):
            _check_room(folder, size * len(missing))
            _append(folder, size, [keys[i] for i in missing], compute(missing))
            place = _places(folder, size)
    values = np.memmap(folder / "values.bin", dtype, mode="r", shape=(len(place), *shape))
    return values, np.array([place[key] for key in keys], np.int64)


def _places(folder: Path, size: int) -> dict[bytes, int]:
    """Key -> place, of every complete entry of `size` bytes."""
    names, values = folder / "keys.bin", folder / "values.bin"
    if not (names.is_file() and values.is_file()):
        return {}
    keys = names.read_bytes()
    whole = min(len(keys) // KEY_BYTES, values.stat().st_size // size)
    return {keys[i * KEY_BYTES : (i + 1) * KEY_BYTES]: i for i in range(whole)}


def _append(folder: Path, size: int, keys: list[bytes], blocks: Iterator[np.ndarray]) -> None:
    """Writes block after block behind the last complete entry."""
    count, done = len(_places(folder, size)), 0
    for name in ("values.bin", "keys.bin"):
        (folder / name).touch()
    with (folder / "values.bin").open("r+b") as values, (folder / "keys.bin").open("r+b") as names:
        values.seek(count * size)
        names.seek(count * KEY_BYTES)
        names.truncate()  # a key without values must not become one of other values
        for block in blocks:
            values.write(np.ascontiguousarray(block).reshape(-1).view(np.uint8).data)
            values.flush()
            os.fsync(values.fileno())
            names.write(b"".join(keys[done : done + len(block)]))
            names.flush()
            done += len(block)
    if done != len(keys):
        raise ValueError(f"compute must give an entry for each of {len(keys)} keys, got {done}")


def _check_room(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise InputError(
            f"{folder}: the trunk's activations need {needed / 2**30:.1f} GB of disk and {free / 2**30:.1f} GB are "
            "free; CXRJAX_CACHE names another place, a smaller --augment_bank needs less"
        )
