"""Stored values of a DICOM radiograph -> grey as it is meant to be seen (PS3.3 C.11 and C.8.11.3).

All is done on a table of the values that may occur, not on the image: no large arrays in between.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, zip_longest
from typing import NamedTuple

import numpy as np
from pydicom import Dataset

from cxrjax.base import InputError
from cxrjax.data import grey
from cxrjax.data.dicom.elements import note, number, numbers, photometric, text

OVERLAY_BITS = tuple((group << 16) + 0x0102 for group in range(0x6000, 0x6020, 2))  # OverlayBitPosition
_FLAT = 0.98  # share of the pixels that no window makes equal
_LACKING = 3  # entries that a LUT may lack: some count wrongly
_NARROWEST = {"LINEAR": 1.0, "LINEAR_EXACT": 0.0, "SIGMOID": 0.0}  # window width that is allowed; 0 itself is not


class Window(NamedTuple):
    """Centre and width, in values after the rescale, and the VOI LUT function."""

    centre: float
    width: float
    function: str


def shown(data: Dataset, container: np.ndarray, rule: str, notes: list[str]) -> np.ndarray:
    """Grey values of an image.

    Args:
      data: its header.
      container: [H, W] of 8 or 16 bits, as they stand in the file; those outside the stored ones may hold anything.
      rule: what becomes black and white where the header does not say it, see `grey.limits`.
      notes: see `elements.numbers`.

    Returns:
      [H, W] f32, 0..255.

    Raises:
      InputError: saying what is wrong.
    """
    if container.dtype.itemsize > 2:
        raise InputError(f"pixel data are {container.dtype}; at most 16 bits are read")
    index = container.view(f"u{container.dtype.itemsize}")
    values = 2 ** (8 * index.dtype.itemsize)
    counts = np.zeros(values, np.int64)
    for rows in np.array_split(index, max(1, index.size // 1_000_000)):
        counts += np.bincount(rows.ravel(), minlength=values)
    bits, high = int(data.BitsStored), int(data.get("HighBit", data.BitsStored - 1))
    if high != bits - 1 and not counts[2**bits :].any():
        raise InputError(f"high bit {high} of {bits} bits stored, and no pixel has a bit above the {bits} lowest")
    stored = stored_values(data, np.arange(values))
    if _has_foreign_bits(data, stored, counts):
        note(notes, "bits that BitsStored does not count are set and not looked at")
    table = _grey_values(data, stored, counts, rule, notes)
    if not np.isfinite(table).all():
        raise InputError("rescale or window give values that are not finite")
    return np.asarray(table[index])


def stored_values(data: Dataset, container: np.ndarray) -> np.ndarray:
    """Stored values [V] int32 of containers [V]: bits from BitsStored below HighBit, signed or not (PS3.5 8.1.1).

    What stands in the other bits, an overlay or the sign, is no part of them.
    """
    bits = int(data.BitsStored)
    values = (container >> (int(data.get("HighBit", bits - 1)) + 1 - bits)) & (2**bits - 1)
    if int(data.PixelRepresentation):
        values = (values ^ 2 ** (bits - 1)) - 2 ** (bits - 1)
    return np.asarray(values, np.int32)


def _has_foreign_bits(data: Dataset, stored: np.ndarray, counts: np.ndarray) -> bool:
    """Whether pixels, of which container v comes `counts`[v] times, hold more than values, their sign and overlays."""
    bits = int(data.BitsStored)
    shift = int(data.get("HighBit", bits - 1)) + 1 - bits
    container = np.arange(len(counts))
    clean = (container & ~((2**bits - 1) << shift) == 0) | ((stored << shift) & (len(counts) - 1) == container)
    return bool(counts[~clean].any()) and not any(data[tag].value for tag in OVERLAY_BITS if tag in data)


def _grey_values(data: Dataset, stored: np.ndarray, counts: np.ndarray, rule: str, notes: list[str]) -> np.ndarray:
    """Grey values [V] f32, 0..255, of stored values [V], of which the image has `counts`."""
    padding = _is_padding(data, stored, notes)
    values = _modality(data, stored, notes)
    seen = np.where(padding, 0, counts)
    for candidate in _voi(data, values, seen, notes):
        if not _flattens(candidate, seen):
            greys = candidate
            break
        note(notes, "a window or LUT makes nearly all pixels equal; it was passed over")
    else:
        greys = _without_voi(data, stored, values, seen, rule)
    greys = np.clip(greys, 0, 255)
    return np.where(padding, 0, 255 - greys if _inverted(data, notes) else greys).astype(np.float32)


def _without_voi(data: Dataset, stored: np.ndarray, values: np.ndarray, seen: np.ndarray, rule: str) -> np.ndarray:
    """Grey values where neither window nor LUT tells them; `seen` counts the pixels that are no padding."""
    if int(data.BitsStored) <= 8 and not int(data.PixelRepresentation) and np.array_equal(values, stored):
        return np.asarray(values * (255 / (2 ** int(data.BitsStored) - 1)))
    low, high = grey.limits(np.repeat(values.astype(np.float32), seen), rule)
    return (values - low) * (255 / (high - low)) if high > low else np.zeros(len(values))


def _voi(data: Dataset, values: np.ndarray, seen: np.ndarray, notes: list[str]) -> Iterator[np.ndarray]:
    """Grey values [V] by the VOI LUT, then by each window (PS3.3 C.11.2)."""
    windows = _windows(data, notes)
    item = next((item for item in data.get("VOILUTSequence") or () if "LUTData" in item), None)
    if item is not None:
        try:
            table, greys = _look_up(data, item, values, signed=bool(values.min() < 0), notes=notes)
        except InputError as error:
            first = next(windows, None)
            if first is None:
                raise
            note(notes, f"{error}; the window was used")
            windows = chain([first], windows)
        else:
            yield greys * (255 / _white(item, table, greys[seen > 0], notes))
    for window in windows:
        yield _through(window, values)


def _flattens(greys: np.ndarray, seen: np.ndarray) -> bool:
    """Whether greys [V] make equal what differs: pixels of all but the commonest value, which may be a border."""
    others = seen.copy()
    others[np.argmax(others)] = 0
    levels = np.bincount(np.rint(np.clip(greys, 0, 255)).astype(np.int64), weights=others)
    return bool(levels.max() > _FLAT * others.sum() and others.max() < _FLAT / 2 * others.sum())


def _modality(data: Dataset, stored: np.ndarray, notes: list[str]) -> np.ndarray:
    """Modality LUT, or else rescale slope and intercept (PS3.3 C.11.1)."""
    if data.get("ModalityLUTSequence"):
        return _look_up(data, data.ModalityLUTSequence[0], stored, bool(int(data.PixelRepresentation)), notes)[1]
    slope, intercept = (number(data, name, notes) for name in ("RescaleSlope", "RescaleIntercept"))
    if slope == 0:
        raise InputError("rescale slope is 0, which leaves no image")
    values = stored * (1.0 if slope is None else slope) + (intercept or 0.0)
    if np.abs(values).max() > np.finfo(np.float32).max:
        raise InputError("rescale gives values beyond all bounds")
    return np.asarray(values)


def _look_up(
    data: Dataset, item: Dataset, values: np.ndarray, signed: bool, notes: list[str]
) -> tuple[np.ndarray, np.ndarray]:
    """The entries of a LUT, and those of `values`: before its first that one, behind its last the last (C.11.2.1.1).

    Args:
      data: the header.
      item: the LUT.
      values: [V] that are looked up.
      signed: whether they may be negative; then so may the first one that the LUT maps, whatever its VR says, which
        implicit VR does not tell and many write as US.
      notes: see `elements.numbers`.
    """
    descriptor = numbers(item, "LUTDescriptor", notes)
    if len(descriptor) < 2 or descriptor[0] is None or descriptor[1] is None:
        raise InputError("the descriptor of a LUT does not say how many entries there are, and from where")
    entries, first = int(descriptor[0]) % 2**16 or 2**16, int(descriptor[1])
    explicit = not data.original_encoding[0] and first < 0
    first %= 2**16
    if (signed or explicit) and first >= 2**15:
        first -= 2**16
    narrow = len(descriptor) < 3 or (descriptor[2] or 0) <= 8
    table = _entries(item.LUTData, entries, narrow, "<" if data.original_encoding[1] else ">")
    if len(table) < entries:
        note(notes, f"a LUT of {entries} entries has {len(table)}; the last one counts for the others")
        table = np.pad(table, (0, entries - len(table)), "edge")
    return table, table[np.clip(np.rint(values) - first, 0, entries - 1).astype(np.int64)]


def _entries(raw: bytes | int | list[int], entries: int, narrow: bool, order: str) -> np.ndarray:
    """[entries] f64, or a few less; `narrow` ones of 8 bits may be stored in 8 bits, two a word, or in 16."""
    if isinstance(raw, bytes):
        words = np.frombuffer(raw + b"\0" * (len(raw) % 2), f"{order}u2")
    else:
        words = np.atleast_1d(np.asarray(raw))
    table = words.astype("<u2")
    if narrow and len(table) < entries and len(table) == (entries + 1) // 2:
        table = table.view(np.uint8)
    if len(table) < max(entries - _LACKING, 2):
        raise InputError(f"a LUT of {entries} entries has {len(table)}")
    return table[:entries].astype(np.float64)


def _white(item: Dataset, table: np.ndarray, reached: np.ndarray, notes: list[str]) -> float:
    """The entry that is white: the largest of the bits the descriptor claims, if they reach its upper half.

    Else what they hold: 12 bits are written as 16, 16 as 8. An entry far above all others (`grey.limits`) counts only
    if it is `reached` by pixels.
    """
    claims = numbers(item, "LUTDescriptor", notes)
    largest = max(grey.limits(table)[1], float(reached.max(initial=0)))
    claimed = 2.0 ** claims[2] - 1 if len(claims) > 2 and claims[2] is not None and 0 < claims[2] <= 16 else 0.0
    return claimed if claimed / 2 < largest <= claimed else max(largest, 1.0)


def _windows(data: Dataset, notes: list[str]) -> Iterator[Window]:
    """Those that are some."""
    function = text(data, "VOILUTFunction").upper() or "LINEAR"
    centres, widths = numbers(data, "WindowCenter", notes), numbers(data, "WindowWidth", notes)
    for centre, width in zip_longest(centres, widths):
        if centre is not None and width is not None and width > 0 and width >= _NARROWEST.get(function, 1):
            if function not in _NARROWEST:
                note(notes, f"the VOI LUT function is none of {', '.join(_NARROWEST)}; LINEAR was taken")
            yield Window(centre, width, function)
        else:
            note(notes, "WindowCenter and WindowWidth hold a pair that is no window; it was passed over")


def _through(window: Window, values: np.ndarray) -> np.ndarray:
    """Values to 0..255 (C.11.2.1.2 and C.11.2.1.3)."""
    centre, width, function = window
    if function == "SIGMOID":
        return np.asarray(255 / (1 + np.exp(np.clip(-4 * (values - centre) / width, -700, 700))))
    if function == "LINEAR_EXACT":
        return np.asarray(((values - centre) / width + 0.5) * 255)
    if width == 1:
        return np.where(values > centre - 0.5, 255.0, 0.0)
    return np.asarray(((values - (centre - 0.5)) / (width - 1) + 0.5) * 255)


def _is_padding(data: Dataset, stored: np.ndarray, notes: list[str]) -> np.ndarray:
    """Which stored values are padding (PS3.3 C.7.5.1.1.2), [V] bool; they are shown black."""
    padding, limit = (number(data, name, notes) for name in ("PixelPaddingValue", "PixelPaddingRangeLimit"))
    if padding is None:
        return np.zeros(stored.shape, bool)
    ends = [int(padding), int(padding if limit is None else limit)]
    if int(data.PixelRepresentation):  # some write signed values as if they were unsigned
        ends = [end - 2**16 if end >= 2**15 else end for end in ends]
    return (stored >= min(ends)) & (stored <= max(ends))


def _inverted(data: Dataset, notes: list[str]) -> bool:
    shape, white_is_low = text(data, "PresentationLUTShape").upper(), photometric(data) == "MONOCHROME1"
    if shape not in ("IDENTITY", "INVERSE"):
        if shape:
            note(notes, "PresentationLUTShape is neither IDENTITY nor INVERSE; the photometric interpretation counts")
        return white_is_low
    if (shape == "INVERSE") != white_is_low:
        note(notes, "PresentationLUTShape contradicts the photometric interpretation; the shape counts")
    return shape == "INVERSE"
