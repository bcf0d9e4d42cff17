"""Files that are whole or not there.

A file is written to a temporary name beside the target, then renamed.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
from pathlib import Path
from typing import IO, Any

from cxrjax.base import faults

log = logging.getLogger(__name__)


def write_bytes(path: Path, content: bytes) -> None:
    """Writes a file in one step as others see it.

    Raises:
      OSError: naming the file, with what is there left as it is.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with faults.naming(path):
        try:
            temporary.write_bytes(content)
            temporary.replace(path)
        finally:
            with contextlib.suppress(OSError):  # where it could not be made
                temporary.unlink(missing_ok=True)


def write_text(path: Path, content: str) -> None:
    """As `write_bytes`, UTF-8; what a file's name holds beyond that is escaped."""
    write_bytes(path, content.encode("utf-8", "backslashreplace"))


def write_json(path: Path, content: Any) -> None:
    """As `write_bytes`; NaN, which JSON does not know, must not occur (use None)."""
    write_text(path, json.dumps(content, indent=1, allow_nan=False) + "\n")


def lock(file: IO[str], waiting: str) -> None:
    """Holds an open file against other processes until it is closed.

    Args:
      file: that all of them open for writing.
      waiting: what is logged where another process holds it and this one has to wait.
    """
    import fcntl  # POSIX alone; imported here so that everything else works without it

    with faults.naming(file.name):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log.info(waiting)
            fcntl.flock(file, fcntl.LOCK_EX)
