"""Faults of the machine, told from mistakes of the program: by errno, by status code, by where they came from.

A fault of the machine (disk, permission, memory, device) is one line for the user; whatever this module does not
recognise is a mistake of the program, whose traceback must be seen.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})  # disk, quota, largest file (`ulimit -f`)
NOT_WRITABLE = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})

# What the system may lack whatever the path: these are told even where the error names none.
_LACKS = {
    errno.EMFILE: "too many open files; `ulimit -n` raises the limit",
    errno.ENFILE: "the system has too many open files",
    errno.ENOMEM: "the machine has no memory left",
    errno.EAGAIN: "the system has no room for another process or thread; `ulimit -u` raises the limit",
    errno.EIO: "the disk, or the share on another machine, failed; what was written before is kept",
}
# absl's status codes that speak of the machine, at the start of an error's text; JAX, XLA and TensorStore raise them.
_STATUS = re.compile(r"(RESOURCE_EXHAUSTED|UNAVAILABLE|DEADLINE_EXCEEDED|ABORTED|DATA_LOSS)\b")
_DRIVER = re.compile(r"\b(CUDA_ERROR|CUDNN_STATUS|CUBLAS_STATUS|hipError)\w*")
_OS_CODE = re.compile(r"os_error_code='(\d+)'|\[OS error (\d+)")  # TensorStore's, of two versions


def sentence(error: BaseException) -> str | None:
    """One line that says what the machine lacks and what helps; None if the error is no fault of the machine.

    An error that was raised `from` a fault of the machine is this fault.
    """
    cause: BaseException | None = error
    while cause is not None:
        text = _sentence(cause)
        if text:
            return text
        cause = cause.__cause__
    return None


def _sentence(error: BaseException) -> str | None:
    origin = _origin(error)
    if isinstance(error, MemoryError):
        return f"the machine has no memory left{_quoted(error)}; a smaller --seed_batch or --batch_size may help"
    if origin == "tempfile" and isinstance(error, FileNotFoundError):
        return f"no folder for temporary files can be written{_quoted(error)}; TMPDIR names one"
    if isinstance(error, OSError):
        return _of_system(error)
    if isinstance(error, RuntimeError) and origin == "threading" and "new thread" in str(error):
        return _LACKS[errno.EAGAIN]
    if isinstance(error, (RuntimeError, ValueError)) and (text := _of_status(error)):
        return text
    return _no_device() if isinstance(error, (RuntimeError, AssertionError)) else None


def _no_device() -> str | None:
    """JAX's own error does not tell where it came from, since it takes its frames out; so it is asked once more."""
    jax: Any = sys.modules.get("jax")
    try:
        if jax is not None:
            jax.devices()
        return None
    except (RuntimeError, AssertionError) as error:
        return (
            f"JAX finds no device, JAX_PLATFORMS={os.environ.get('JAX_PLATFORMS', '')}{_quoted(error)}; without "
            "JAX_PLATFORMS it takes the best device there is, with JAX_PLATFORMS=cpu the processor"
        )


def _of_system(error: OSError) -> str | None:
    if error.errno is None:  # raised by a library, not by the system
        return None
    reason, path = error.strerror or os.strerror(error.errno), error.filename
    if error.errno in NO_ROOM:
        where = f" on the disk of {path}" if path else ""
        return f"no room left{where} ({reason}); the same command goes on once there is room"
    if error.errno in _LACKS:
        return f"{path or reason}: {_LACKS[error.errno]}"
    if error.errno in NOT_WRITABLE and path:
        return f"{path}: {reason}; give a place that may be read and written, or change its permissions"
    if error.errno in (errno.ENOTDIR, errno.EEXIST) and path:
        return f"{path}: {reason}; a file stands where a folder is needed"
    return f"{path}: {reason}" if path else None


def _of_status(error: BaseException) -> str | None:
    """Errors of C++ libraries, whose status is in the text alone."""
    if code := system_code(error):
        return _of_system(OSError(code, os.strerror(code))) or os.strerror(code)
    status = _STATUS.match(str(error))
    if status and status[1] == "RESOURCE_EXHAUSTED":
        return f"the device has no memory left{_quoted(error)}; a smaller --seed_batch or --batch_size may help"
    return f"the device failed{_quoted(error)}" if status or _DRIVER.search(str(error)) else None


def system_code(error: BaseException) -> int:
    """errno of what TensorStore could not do; 0 if its message holds none."""
    match = _OS_CODE.search(str(error))
    return int(match[1] or match[2]) if match else 0


@contextlib.contextmanager
def naming(path: str | Path) -> Iterator[None]:
    """An OSError of the body that names no path, as of `write`, names this one; so does TensorStore's, made one.

    Args:
      path: what the user knows of; a temporary name beside it (`.NAME....`) is replaced by it, too.
    """
    try:
        yield
    except OSError as error:
        if error.errno is not None and (not error.filename or _beside(str(error.filename), Path(path))):
            error.filename, error.filename2 = str(path), None
        raise
    except (RuntimeError, ValueError) as error:
        code = system_code(error)
        if not code:
            raise
        raise OSError(code, os.strerror(code), str(path)) from error


def _beside(name: str, path: Path) -> bool:
    parts = Path(name).parts
    return any(part.startswith(f".{path.name}.") for part in parts)


def _origin(error: BaseException) -> str:
    """Name of the module that raised it; "" if it was not raised."""
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    return str(frame.tb_frame.f_globals.get("__name__", "")) if frame else ""


def _quoted(error: BaseException) -> str:
    """Its first line in brackets, or nothing."""
    text = str(error).strip()
    return f" ({text.splitlines()[0]})" if text else ""
