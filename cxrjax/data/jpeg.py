"""JPEG's marker segments (ITU-T T.81, annex B; JPEG-LS: T.87): what a file or frame holds, and whether it is all there.

libjpeg makes the missing end of an image grey and passes over data that are left, and tells nobody, in Pillow and in
imagecodecs alike.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from cxrjax.base import InputError

BASELINE, EXTENDED, PROGRESSIVE, LOSSLESS, LS = 0xC0, 0xC1, 0xC2, 0xC3, 0xF7  # start of frame: the process
_FRAMES = {*range(0xC0, 0xD0), LS} - {0xC4, 0xC8, 0xCC}
_START_OF_SCAN, _RESTARTS, _END = 0xDA, 0xDD, 0xD9
_MARKER = re.compile(rb"\xff+([^\x00\xff])", re.DOTALL)
_NO_RESTART = re.compile(rb"\xff+([^\x00\xd0-\xd7\xff])", re.DOTALL)
_AFTER_LS_SCAN = re.compile(rb"\xff+([\x80-\xcf\xd8-\xfe])", re.DOTALL)  # JPEG-LS stuffs a bit
_FILLER = bytes(range(1, 255)) * 8  # no marker is in it
_LAST = 8  # bytes; some encoders add one or two


class Jpeg(NamedTuple):
    """What the frame header says, and where the data end."""

    process: int  # BASELINE, ...
    precision: int  # bits a sample
    rows: int
    columns: int
    start: int  # of the last scan, with its header
    end: int  # of its data: the marker behind it


def parse(content: bytes) -> Jpeg:
    """Goes through the segments of the first image.

    Raises:
      InputError: without start, frame header or end marker; the last is missing where a file was cut off.
    """
    if content[:2] != b"\xff\xd8":
        raise InputError("is no JPEG")
    frame: Jpeg | None = None
    place, pattern, restarts, scanned = 2, _MARKER, False, False
    while marker := pattern.search(content, place):
        code, pattern = marker[1][0], _MARKER
        if scanned and frame:
            frame, scanned = frame._replace(end=marker.start()), False
        if code == _END:
            if frame is None:
                break
            return frame
        body = marker.end() + 2
        length = int.from_bytes(content[marker.end() : body])
        if code in _FRAMES and frame is None:
            rows, columns = (int.from_bytes(content[at : at + 2]) for at in (body + 1, body + 3))
            frame = Jpeg(code, int.from_bytes(content[body : body + 1]), rows, columns, 0, 0)
        elif code == _RESTARTS:
            restarts = content[body : body + 2] != b"\0\0"
        elif code == _START_OF_SCAN:
            scanned, frame = True, frame and frame._replace(start=place)
            stuffed = _AFTER_LS_SCAN if frame and frame.process == LS else _MARKER
            pattern = _NO_RESTART if restarts else stuffed
        place = marker.end() + length
    raise InputError("ends too early: it has no end marker" if frame else "has no JPEG frame")


def check_whole(content: bytes, header: Jpeg, pixels: np.ndarray, decode: Callable[[bytes], np.ndarray]) -> None:
    """Refuses an image whose data end before it does, or do not end with it: bytes inside are missing or changed.

    Where the data suffice more bytes behind them change nothing. Where the image needs them all others in place of the
    last ones change it; not asked of progressive images, whose last scan may add nothing, nor of blank ones.

    Args:
      content: of the file or frame.
      header: what `parse` says of it.
      pixels: what `decode` makes of it.
      decode: libjpeg, by whichever library.

    Raises:
      InputError: if so.
    """
    before, behind = content[: header.end], content[header.end :]
    if not np.array_equal(decode(before + _FILLER + behind), pixels):
        raise InputError("ends too early: its data do not fill the image")
    if header.process == PROGRESSIVE or header.end - header.start < 8 * _LAST or np.ptp(pixels) <= 1:
        return
    if np.array_equal(decode(before[:-_LAST] + _FILLER + behind), pixels):
        raise InputError("is damaged: it has data after the end of the image")
