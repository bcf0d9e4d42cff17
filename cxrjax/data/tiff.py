"""Which end of a TIFF is white (TIFF 6.0, section 8); Pillow heeds it at some depths only."""

from __future__ import annotations

import struct

from PIL import Image

from cxrjax.base import InputError

_PHOTOMETRIC, _SAMPLE_FORMAT = 262, 339  # tags
_SIGNED = 2
_ORDERS = {b"II": "<", b"MM": ">"}
_KINDS = {1: "B", 3: "H", 4: "I"}  # BYTE, SHORT, LONG
_BIG = 43  # version of a BigTIFF
_MOST = 1000  # tags that are looked at


def as_black_is_zero(content: bytes) -> tuple[bytes, bool]:
    """The file as one whose pixels are black at 0, and whether they were white there, so that they must be inverted.

    Args:
      content: of a file of any kind; what is no TIFF, or is damaged, comes back as it is.
    """
    order = _ORDERS.get(content[:2])
    try:
        place = _place_of_white_is_zero(content, order) if order else None
    except struct.error:  # it ends before
        place = None
    if order is None or place is None:
        return content, False
    at, kind = place
    one = struct.pack(order + kind, 1)
    return content[:at] + one + content[at + len(one) :], True


def _place_of_white_is_zero(content: bytes, order: str) -> tuple[int, str] | None:
    """Where the first image says that white is zero, and in which kind of number; None if it does not."""

    def number(at: int, kind: str) -> int:
        return int(struct.unpack_from(order + kind, content, at)[0])

    big = number(2, "H") == _BIG
    directory = number(8, "Q") if big else number(4, "I")
    count, first, size, value = (number(directory, "Q"), 8, 20, 12) if big else (number(directory, "H"), 2, 12, 8)
    for entry in range(directory + first, directory + first + size * min(count, _MOST), size):
        kind = _KINDS.get(number(entry + 2, "H"))
        if number(entry, "H") == _PHOTOMETRIC and kind:
            return (entry + value, kind) if number(entry + value, kind) == 0 else None
    return None


def refuse_swapped(image: Image.Image) -> None:
    """Pillow swaps the bytes of some values once more that libtiff has unpacked in the machine's order already.

    Raises:
      InputError: if it would.
    """
    swapped = image.mode in ("I", "F") and getattr(getattr(image, "tag_v2", None), "prefix", b"") == b"MM"
    if swapped and any(tile.codec_name == "libtiff" for tile in getattr(image, "tile", ())):
        raise InputError("is compressed, of big-endian values that are signed or of more than 16 bits: not read")


def refuse_signed_bytes(image: Image.Image) -> None:
    """Pillow takes signed values of 8 bits for unsigned ones.

    Raises:
      InputError: if the image holds such.
    """
    formats = getattr(image, "tag_v2", {}).get(_SAMPLE_FORMAT, ())
    if image.mode == "L" and _SIGNED in (formats if isinstance(formats, tuple) else (formats,)):
        raise InputError("holds signed values of 8 bits, which are not read")
