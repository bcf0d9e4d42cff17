"""Arrays on disk by key: append-only, memory-mapped, whole after a kill at any moment.

A folder holds `values.bin`, entry after entry, and `keys.bin`, 32 bytes for every entry that is complete. Keys are
written after their values have reached the disk; what a killed process left behind its last key is written over.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from cxrjax.base import InputError, devices, faults, files

log = logging.getLogger(__name__)

KEY_BYTES = 32
_REMEDY = "set CXRJAX_CACHE to another folder, or use a smaller --augment_bank"
Compute = Callable[[np.ndarray], Iterator[np.ndarray]]


def ensure(
    folder: Path, keys: Sequence[bytes], shape: tuple[int, ...], dtype: np.dtype, compute: Compute
) -> tuple[np.ndarray, np.ndarray]:
    """Finds the entries of `keys`; computes and appends those that are missing.

    Args:
      folder: of the cache, made if need be. Two processes may use it at once: the second waits for the first. Where it
        may not be written it is read, and what is missing kept in memory.
      keys: [n], distinct, `KEY_BYTES` each.
      shape: of one entry.
      dtype: of its numbers.
      compute: places in `keys` [m] -> blocks [b, *shape] which together are their entries, in that order.

    Returns:
      A read-only memory map, or array, [M, *shape] of all entries, and the place in it of each key, [n] i64.

    Raises:
      InputError: if the disk, or memory where it may not be written, has no room for what is missing.
    """
    size = int(np.prod(shape)) * dtype.itemsize
    with contextlib.ExitStack() as stack:
        writable = _held(folder, stack)
        place = _places(folder, size)
        missing = np.array([i for i, key in enumerate(keys) if key not in place], np.int64)
        if len(missing) and not writable:
            return _in_memory(folder, keys, shape, dtype, compute)
        if len(missing):
            _check_room(folder, size * len(missing))
            try:
                _append(folder, size, [keys[i] for i in missing], compute(missing))
            except OSError as error:
                raise InputError(f"{faults.sentence(error) or error}; {_REMEDY}") from error
            place = _places(folder, size)
    return _read(folder, len(place), shape, dtype), np.array([place[key] for key in keys], np.int64)


def demand(folder: Path, keys: Sequence[bytes], shape: tuple[int, ...], dtype: np.dtype) -> tuple[int, int]:
    """Bytes that `ensure` would add, and bytes that are free for them: of the disk, or of memory where it may not be
    written. Arguments as there; nothing is made."""
    size = int(np.prod(shape)) * dtype.itemsize
    place = _places(folder, size)
    missing = sum(key not in place for key in keys)
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if missing and not os.access(existing, os.W_OK):
        return size * len(keys), devices.memory()
    return size * missing, shutil.disk_usage(existing).free


def _held(folder: Path, stack: contextlib.ExitStack) -> bool:
    """Holds the folder against other processes; False if it may only be read."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = stack.enter_context((folder / ".lock").open("w"))
    except OSError as error:
        if error.errno not in faults.NOT_WRITABLE:
            raise
        return False
    files.lock(lock, "another run is computing the same activations; waiting for it")
    return True


def _read(folder: Path, count: int, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    return np.memmap(folder / "values.bin", dtype, mode="r", shape=(count, *shape))


def _in_memory(
    folder: Path, keys: Sequence[bytes], shape: tuple[int, ...], dtype: np.dtype, compute: Compute
) -> tuple[np.ndarray, np.ndarray]:
    """Entries of `keys`, in their order, those that are missing computed."""
    size = int(np.prod(shape)) * dtype.itemsize
    place = _places(folder, size)
    needed, room = size * len(keys), devices.memory() // 4
    if needed > room:
        raise InputError(
            f"{folder} may not be written, and the trunk's activations need {needed / 2**30:.1f} GB, more than the "
            f"{room / 2**30:.1f} GB that may be kept in memory; {_REMEDY}"
        )
    log.warning("%s may not be written; activations that it lacks are kept in memory", folder)
    entries = np.empty((len(keys), *shape), dtype)
    missing = np.array([i for i, key in enumerate(keys) if key not in place], np.int64)
    present = np.array([i for i, key in enumerate(keys) if key in place], np.int64)
    if len(present):
        entries[present] = _read(folder, len(place), shape, dtype)[[place[keys[i]] for i in present]]
    done = 0
    for block in compute(missing):
        entries[missing[done : done + len(block)]] = block
        done += len(block)
    return entries, np.arange(len(keys))


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
    with (
        faults.naming(folder),
        (folder / "values.bin").open("r+b") as values,
        (folder / "keys.bin").open("r+b") as names,
    ):
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
            f"free; {_REMEDY}"
        )
