"""Files that are whole or not there: written to a temporary name beside the target, then renamed."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any


def write_bytes(path: Path, content: bytes) -> None:
    """Writes a file in one step as others see it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, content: str) -> None:
    """As `write_bytes`, UTF-8; what a file's name holds beyond that is escaped."""
    write_bytes(path, content.encode("utf-8", "backslashreplace"))


def write_json(path: Path, content: Any) -> None:
    """As `write_bytes`; NaN, which JSON does not know, must not occur (use None)."""
    write_text(path, json.dumps(content, indent=1, allow_nan=False) + "\n")
