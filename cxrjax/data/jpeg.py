"""JPEG's marker segments (ITU-T T.81, annex B; JPEG-LS: T.87): what a file or frame holds, and whether it is all there.

libjpeg makes the missing end of an image grey and warns nobody, in Pillow and in imagecodecs alike.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from cxrjax.base import InputError

BASELINE, EXTENDED, PROGRESSIVE, LOSSLESS, LS = 0xC0, 0xC1, 0xC2, 0xC3, 0xF7  # start of frame: the process
_FRAMES = {*range(0xC0, 0xD0), LS} - {0xC4, 0xC8, 0xCC}
_START_OF_SCAN, _END = 0xDA, 0xD9
_MARKER = re.compile(rb"\xff+([^\x00\xff])", re.DOTALL)
_AFTER_SCAN = re.compile(rb"\xff+([^\x00\xd0-\xd7\xff])", re.DOTALL)  # not a stuffed byte, not a restart
_AFTER_LS_SCAN = re.compile(rb"\xff+([\x80-\xcf\xd8-\xfe])", re.DOTALL)  # JPEG-LS stuffs a bit
_FILLER = bytes(range(1, 255)) * 8  # no marker is in it


class Jpeg(NamedTuple):
    """What the frame header says, and where the end marker stands."""

    process: int  # BASELINE, ...
    precision: int  # bits a sample
    rows: int
    columns: int
    end: int  # its place in the bytes


def parse(content: bytes) -> Jpeg:
    """Goes through the segments of the first image.

    Raises:
      InputError: without start, frame header or end marker; the last is missing where a file was cut off.
    """
    if content[:2] != b"\xff\xd8":
        raise InputError("is no JPEG")
    frame: Jpeg | None = None
    place, pattern = 2, _MARKER
    while marker := pattern.search(content, place):
        code, pattern = marker[1][0], _MARKER
        if code == _END:
            if frame is None:
                break
            return frame._replace(end=marker.start())
        body = marker.end() + 2
        if code in _FRAMES and frame is None:
            rows, columns = (int.from_bytes(content[at : at + 2]) for at in (body + 1, body + 3))
            frame = Jpeg(code, int.from_bytes(content[body : body + 1]), rows, columns, 0)
        place = marker.end() + int.from_bytes(content[marker.end() : body])
        if code == _START_OF_SCAN:
            pattern = _AFTER_LS_SCAN if frame and frame.process == LS else _AFTER_SCAN
    raise InputError("ends too early: it has no end marker" if frame else "has no JPEG frame")


def check_whole(content: bytes, end: int, pixels: np.ndarray, decode: Callable[[bytes], np.ndarray]) -> None:
    """Refuses an image whose data end before it does: then other bytes before the end marker make other pixels.

    Args:
      content: of the file or frame.
      end: place of the end marker, of `parse`.
      pixels: what `decode` makes of `content`.
      decode: libjpeg, by whichever library.

    Raises:
      InputError: if bytes are missing.
    """
    if not np.array_equal(decode(content[:end] + _FILLER + content[end:]), pixels):
        raise InputError("ends too early: its data do not fill the image")
