"""Compressed pixel data decoded in a process of its own, since damaged data take decoders down.

Seen with mutated files: a decoder that ends the program by an exception of C++, pydicom that goes round for ever at a
JPEG 2000 box of length 0. In a child they may crash or hang without harm to the images before and after.
"""

from __future__ import annotations

import atexit
import contextlib
import io
import queue
import signal
import subprocess
import sys
from pathlib import Path
from typing import IO

import numpy as np

from cxrjax.base import InputError

LIMIT_SECONDS = 60.0  # for one image
_SEARCHED = [str(Path(__file__).parents[2]), *(str(Path(place).absolute()) for place in sys.path)]
_idle: queue.LifoQueue[subprocess.Popen[bytes]] = queue.LifoQueue()


def pixel_array(content: bytes) -> np.ndarray:
    """What `frames.decode` gives for a DICOM file, by a child process. Threads may call it.

    Args:
      content: of the file.

    Raises:
      InputError: if it cannot decode the file, crashes, or takes more than `LIMIT_SECONDS`.
    """
    answer = _ask(content) or _ask(content)  # twice: the first child may have been killed by others
    if answer is None:
        raise InputError(f"its decoder crashed, or took more than {LIMIT_SECONDS:.0f} s")
    fault, pixels = answer
    if fault:
        raise InputError(fault.decode())
    return np.asarray(np.load(io.BytesIO(pixels), allow_pickle=False))


def _ask(content: bytes) -> tuple[bytes, bytes] | None:
    """Fault (empty for none) and array file by a child; None if it is gone."""
    child = _child()
    assert child.stdin is not None and child.stdout is not None, "pipes were asked for"
    try:
        _send(child.stdin, str(LIMIT_SECONDS).encode(), content)
        answer = _receive(child.stdout), _receive(child.stdout)
    except (OSError, EOFError):
        _end(child)
        return None
    _idle.put(child)
    return answer


def _child() -> subprocess.Popen[bytes]:
    """An idle child that lives, else a new one."""
    with contextlib.suppress(queue.Empty):
        while (idle := _idle.get_nowait()).poll() is not None:
            _end(idle)
        return idle
    # Modules are looked for where this process finds them, installed or not, wherever it stands meanwhile.
    start = "import sys; sys.path[:] = sys.argv[1:]; from cxrjax.data.dicom import worker; worker.serve()"
    command = [sys.executable, "-c", start, *_SEARCHED]
    # What decoders print about damaged data is of no use to anybody.
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)


def _end(child: subprocess.Popen[bytes]) -> None:
    child.kill()
    child.communicate()  # closes the pipes and waits


@atexit.register
def close() -> None:
    """Ends the idle children."""
    while not _idle.empty():
        _end(_idle.get_nowait())


def _send(pipe: IO[bytes], *parts: bytes) -> None:
    for part in parts:
        pipe.write(len(part).to_bytes(8, "big"))
        pipe.write(part)
    pipe.flush()


def _receive(pipe: IO[bytes]) -> bytes:
    """The next part; EOFError if the other side is gone."""
    head = pipe.read(8)
    part = pipe.read(int.from_bytes(head, "big"))
    if len(head) < 8 or len(part) < int.from_bytes(head, "big"):
        raise EOFError
    return part


def _serve(requests: IO[bytes], answers: IO[bytes]) -> None:
    """The child: a limit in seconds and a file in, a fault (empty for none) and a NumPy array out."""
    import resource  # with `setitimer` POSIX alone

    import pydicom

    from cxrjax.data.dicom import frames

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a dump would hold the whole file
    with contextlib.suppress(EOFError):
        while True:
            limit, content = (_receive(requests) for _ in range(2))
            signal.setitimer(signal.ITIMER_REAL, float(limit))  # ends the process, also when its parent is gone
            fault, buffer = "", io.BytesIO()
            try:
                np.save(buffer, frames.decode(pydicom.dcmread(io.BytesIO(content), force=True)))
            except InputError as error:
                fault = str(error)
            except Exception as error:  # its message may quote the file
                fault = f"its decoder fails ({type(error).__name__})"
            signal.setitimer(signal.ITIMER_REAL, 0)
            _send(answers, fault.encode(), buffer.getvalue())


def serve() -> None:
    """What the child runs."""
    _serve(sys.stdin.buffer, sys.stdout.buffer)
