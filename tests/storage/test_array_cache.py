"""Entries on disk by key, against arrays in memory, with kills at the worst moments."""

import errno
import hashlib
import os
import resource
import shutil
import threading
from pathlib import Path
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest

from cxrjax.base import InputError, devices
from cxrjax.storage import array_cache

SHAPE = (2, 3)
FLOAT = np.dtype(np.float32)


def key(i):
    return hashlib.sha256(str(i).encode()).digest()


def value(i):
    return np.full(SHAPE, i, FLOAT)


class Source:
    """Entries of numbers, in blocks of two; counts what it was asked for."""

    def __init__(self, numbers, stop_before=None):
        self.numbers, self.stop_before, self.computed = numbers, stop_before, []

    def __call__(self, places):
        wanted = [self.numbers[i] for i in places]
        for start in range(0, len(wanted), 2):
            if self.stop_before is not None and start >= self.stop_before:
                raise KeyboardInterrupt
            self.computed += wanted[start : start + 2]
            yield np.stack([value(i) for i in wanted[start : start + 2]])


def ensure(folder, numbers, **kwargs):
    source = Source(numbers, **kwargs)
    values, place = array_cache.ensure(folder, [key(i) for i in numbers], SHAPE, FLOAT, source)
    np.testing.assert_array_equal(values[place], [value(i) for i in numbers])
    return source.computed


def test_only_what_is_missing_is_computed(tmp_path):
    assert ensure(tmp_path, [3, 1, 2]) == [3, 1, 2]
    assert ensure(tmp_path, [2, 3]) == []
    assert ensure(tmp_path, [5, 1, 4, 3]) == [5, 4]
    assert ensure(tmp_path, [1, 2, 3, 4, 5]) == []


def test_bfloat16_goes_there_and_back(tmp_path):
    rough = np.arange(6).reshape(1, *SHAPE).astype(jnp.bfloat16)
    values, place = array_cache.ensure(tmp_path, [key(0)], SHAPE, rough.dtype, lambda places: iter([rough]))
    assert values.dtype == rough.dtype
    np.testing.assert_array_equal(values[place], rough)


def test_whole_blocks_survive_an_interruption(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        ensure(tmp_path, [1, 2, 3, 4, 5], stop_before=4)
    assert ensure(tmp_path, [1, 2, 3, 4, 5]) == [5]


@pytest.mark.parametrize("torn", ["values without keys", "half a key", "keys without values"])
def test_what_a_kill_left_behind_is_written_over(tmp_path, torn):
    ensure(tmp_path, [1, 2])
    if torn == "values without keys":
        with (tmp_path / "values.bin").open("ab") as file:
            file.write(b"\xff" * 37)
    elif torn == "half a key":
        with (tmp_path / "keys.bin").open("ab") as file:
            file.write(b"\xff" * 15)
    else:
        os.truncate(tmp_path / "values.bin", value(1).nbytes + 5)
    computed = ensure(tmp_path, [1, 2, 3])
    assert computed == ([2, 3] if torn == "keys without values" else [3])
    assert ensure(tmp_path, [3, 2, 1]) == []


def test_a_second_process_waits_and_finds_all(tmp_path):
    """flock holds between two openings of a file, so threads stand for processes."""
    entered, leave = threading.Event(), threading.Event()

    class Slow(Source):
        def __call__(self, places):
            entered.set()
            assert leave.wait(10)
            yield from super().__call__(places)

    keys = [key(i) for i in (1, 2)]
    first = threading.Thread(target=array_cache.ensure, args=(tmp_path, keys, SHAPE, FLOAT, Slow([1, 2])))
    first.start()
    assert entered.wait(10)
    computed = []
    second = threading.Thread(target=lambda: computed.append(ensure(tmp_path, [1, 2])))
    second.start()
    second.join(0.3)
    assert second.is_alive()
    leave.set()
    first.join(10)
    second.join(10)
    assert computed == [[]]


def test_a_full_disk_is_an_error_with_sizes(tmp_path, monkeypatch):
    monkeypatch.setattr(array_cache.shutil, "disk_usage", lambda folder: SimpleNamespace(free=2**20))
    with pytest.raises(InputError, match=r"need 1\.0 GB of disk and 0\.0 GB are free"):
        array_cache.ensure(tmp_path, [key(0)], (2**28,), FLOAT, Source([0]))
    assert not (tmp_path / "keys.bin").exists()


def test_a_short_computation_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="an entry for each of 2 keys, got 0"):
        array_cache.ensure(tmp_path, [key(0), key(1)], SHAPE, FLOAT, lambda places: iter(()))


def refuse(code):
    """What any writing in the folder meets."""

    def fail(path, mode="r", *args, **kwargs):
        if "r" not in mode or "+" in mode:
            raise OSError(code, os.strerror(code), str(path))
        return usual(path, mode, *args, **kwargs)

    usual = Path.open
    return fail


@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES])
def test_a_cache_that_may_only_be_read_is_used_as_it_is(tmp_path, monkeypatch, code, caplog):
    ensure(tmp_path, [3, 1, 2])
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    monkeypatch.setattr(Path, "open", refuse(code))
    assert ensure(tmp_path, [2, 3]) == [] and not caplog.messages
    assert ensure(tmp_path, [5, 1, 4, 3]) == [5, 4]
    assert caplog.messages == [f"{tmp_path} may not be written; activations that it lacks are kept in memory"]
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    monkeypatch.setattr(devices, "memory", lambda: 3 * 4 * value(0).nbytes)
    with pytest.raises(InputError, match=r"more than the .* in memory; set CXRJAX_CACHE to another folder"):
        ensure(tmp_path, [5, 1, 4, 3])


def test_a_full_disk_is_one_line_and_the_next_time_goes_on(tmp_path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5 * value(0).nbytes, limits[1]))
    try:
        with pytest.raises(InputError, match=r"no room left on the disk of .* goes on .*; set CXRJAX_CACHE to another"):
            ensure(tmp_path, [1, 2, 3, 4, 5, 6])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert ensure(tmp_path, [1, 2, 3, 4, 5, 6]) == [4, 5, 6]  # of the keys, three fitted


def test_what_it_would_add_and_what_is_free(tmp_path, monkeypatch):
    folder, keys, free = tmp_path / "cache" / "bank", [key(i) for i in range(3)], shutil.disk_usage(tmp_path).free
    needed, before = array_cache.demand(folder, keys, SHAPE, FLOAT)
    assert needed == 3 * 2 * 3 * 4 and not folder.parent.exists()
    assert before == pytest.approx(free, rel=0.2)
    array_cache.ensure(folder, keys[:2], SHAPE, FLOAT, Source([0, 1]))
    assert array_cache.demand(folder, keys, SHAPE, FLOAT)[0] == 2 * 3 * 4
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # what may only be read is kept in memory whole
    assert array_cache.demand(folder, keys, SHAPE, FLOAT) == (3 * 2 * 3 * 4, devices.memory())
    assert array_cache.demand(folder, keys[:2], SHAPE, FLOAT)[0] == 0
