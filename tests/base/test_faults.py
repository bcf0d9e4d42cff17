"""What is a fault of the machine, and what a mistake of the program; errors as libraries really raise them."""

import errno
import os
import resource
import subprocess
import sys
import tempfile

import jax
import numpy as np
import pytest

from cxrjax.base import faults, files
from cxrjax.storage import checkpoint
from tests.conftest import ROOT


def raised(function, *arguments):
    with pytest.raises(BaseException) as info:
        function(*arguments)
    return info.value


@pytest.mark.parametrize("code", sorted(faults.NO_ROOM))
def test_no_room_names_the_file_and_what_helps(code, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(code, os.strerror(code))  # as `write` does, without a path

    path = tmp_path / "report.html"
    path.write_bytes(b"before")
    monkeypatch.setattr(type(path), "write_bytes", full)
    line = faults.sentence(raised(files.write_bytes, path, b"x"))
    assert line.startswith(f"no room left on the disk of {path} (") and "once there is room" in line
    assert path.read_bytes() == b"before" and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("code", sorted(faults.NOT_WRITABLE))
def test_what_may_not_be_written_is_named(code):
    line = faults.sentence(OSError(code, os.strerror(code), "/somewhere"))
    assert line.startswith(f"/somewhere: {os.strerror(code)}; ") and "\n" not in line


def test_errors_of_the_system_itself(tmp_path):
    long = tmp_path / ("x" * 300)
    assert "File name too long" in faults.sentence(raised(files.write_text, long, ""))
    (tmp_path / "file").touch()
    assert "a file stands where a folder is needed" in faults.sentence(raised((tmp_path / "file" / "x").mkdir))
    gone = tmp_path / "gone" / "x.csv"
    assert faults.sentence(raised(files.write_text, gone, "")) == f"{gone}: No such file or directory"


def test_too_many_open_files(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest_free = os.dup(0)
    os.close(lowest_free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, hard))
    try:
        error = raised(files.write_text, tmp_path / "x", "")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert "ulimit -n" in faults.sentence(error)


def test_what_tensorstore_cannot_write_names_the_checkpoint(tmp_path):
    """It writes from C++ and raises a ValueError with the system's code in its text."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        error = raised(checkpoint.save_tree, tmp_path / "seed", {"a": np.random.default_rng(0).random(100_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert faults.sentence(error).startswith(f"no room left on the disk of {tmp_path / 'seed'} (File too large)")
    assert not list(tmp_path.iterdir())


def test_memory_of_machine_and_device():
    assert "no memory left" in faults.sentence(raised(np.empty, 10**17))
    line = faults.sentence(raised(lambda: jax.block_until_ready(jax.numpy.zeros((2**44,), "uint8"))))
    assert line.startswith("the device has no memory left (RESOURCE_EXHAUSTED") and "--seed_batch" in line
    driver = jax.errors.JaxRuntimeError("INTERNAL: CUDA error: CUDA_ERROR_ECC_UNCORRECTABLE")
    assert faults.sentence(driver).startswith("the device failed (INTERNAL: CUDA error")
    assert faults.sentence(jax.errors.JaxRuntimeError("INTERNAL: a mistake of the compiler")) is None


@pytest.mark.parametrize("platforms", ["cuda", "nonsense"])
def test_a_device_that_is_not_there_names_the_variable(platforms):
    """Wherever JAX first needs it; from below `jit` it hides where its error came from."""
    program = """
import jax, jax.numpy
from cxrjax.base import faults
for use in (jax.devices, jax.process_count, jax.jit(lambda: 1), lambda: jax.numpy.zeros(3)):
    try:
        use()
    except Exception as error:
        print(faults.sentence(error))
"""
    environment = os.environ | {"JAX_PLATFORMS": platforms, "PYTHONPATH": str(ROOT)}
    output = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    ).stdout
    lines = output.splitlines()
    assert len(lines) == 4 and all(line.startswith(f"JAX finds no device, JAX_PLATFORMS={platforms}") for line in lines)


def test_no_folder_for_temporary_files(monkeypatch):
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: ["/nowhere", "/proc"])
    monkeypatch.setattr(tempfile, "tempdir", None)
    assert "TMPDIR names one" in faults.sentence(raised(tempfile.mkdtemp))


def test_a_mistake_of_the_program_stays_one():
    for error in (
        ValueError("shapes differ"), KeyError("x"), TypeError("x"), RuntimeError("x"), AssertionError(),
        OSError("cannot identify image"), OSError(errno.EBADF, "Bad file descriptor"),
    ):  # fmt: skip
        assert faults.sentence(error) is None
    during = TypeError("a mistake while a cache was found to be empty")
    during.__context__ = FileNotFoundError(errno.ENOENT, "No such file", "/cache/x")
    assert faults.sentence(during) is None
    during.__cause__ = PermissionError(errno.EACCES, "Permission denied", "/cache/x")
    assert faults.sentence(during).startswith("/cache/x: Permission denied")
