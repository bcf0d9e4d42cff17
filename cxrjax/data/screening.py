"""May this be a chest radiograph? Rules that no radiograph breaks and many other pictures do.

`prepare` lists what breaks one as doubtful, `predict` refuses it. They cannot tell a chest from a hand, nor a grey
photograph from a radiograph. Beside each limit stands what was measured at 256 pixels on the real images of NIH
(1823), of Kermany et al. (1,120) and of V7's lung outlines (283) and five DICOM files; limits and the table `_CHEST`
were chosen on one half of the patients of the first two. On them two alarms are raised, at two films that NIH has
inverted; of the same images inverted 99.9 % are found.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from PIL import Image

MIN_SIDE = 128  # pixels of the shorter side, half of what the network is given; real: 224 and more
CHROMA = 32  # grey levels between a coloured pixel's largest and smallest channel; JPEG makes a few out of grey
COLOURED = 0.1  # share of coloured pixels; letters, arrows and logos in colour take less; real: 0
BLANK = 0.8  # share of the image within 24 grey levels; real: at most 0.71, letters on black: 0.86 and more
FEW_LEVELS = (
    0.8  # share of pixels in their 32 most frequent grey levels; real: at most 0.76, four levels enlarged: 0.83
)
MISSING = 0.62  # share of cells; real: at most 0.60, half of an image cut off: 0.9
OUTSTANDING = 14  # lines; real: at most 13
# Grey levels of a step, the quarter that has it with those after it, and how often the sign changes; real: 12 and 4.
_ALTERNATING = ((8, 3, 14), (24, 1, 6))
UNEVEN = 3.2  # times; real: at most 2.7 (columns) and 1.7 (rows), every line shifted by 8: 3.5
INVERTED = -0.05  # likeness; real: at least -0.02, but for the two that NIH has inverted (-0.74, -0.79)
_WINDOW, _LEVELS = 24, 32
_NOISE = 4  # grey levels that JPEG leaves in a single grey
_GRID = 128  # colour is looked at in so many rows and columns
_CELLS = 32  # rows and columns of cells, whose means show no noise
_GREY = ("1", "L", "LA", "I", "I;16", "I;16B", "I;16L", "I;16N", "F")


# What tells a chest from its negative: logistic regression on 8 x 8 cells without their mean, of unit length, both ways
# round, also with bars, gamma, crops; mirrored and rounded.
_CHEST = np.array(
    [
        [-99, -68, -35, 26, 26, -35, -68, -99],
        [-34, -4, -18, 22, 22, -18, -4, -34],
        [-26, -7, -47, 19, 19, -47, -7, -26],
        [-30, -16, -37, 42, 42, -37, -16, -30],
        [-40, -19, -6, 63, 63, -6, -19, -40],
        [-46, -11, 20, 73, 73, 20, -11, -46],
        [-54, 14, 53, 87, 87, 53, 14, -54],
        [-50, 47, 81, 99, 99, 81, 47, -50],
    ]
)


class Doubt(NamedTuple):
    """Why an image may be no chest radiograph."""

    code: str  # one of `CODES`
    reason: str  # a sentence without its subject: names the rule and the figure, not the file


_IS = {"blank": "is blank or nearly so", "few levels": "has few grey levels", "part missing": "lacks a part"}
CODES = ("colour", "small", "blank", "few levels", "part missing", "striped", "inverted")


def screen(image: Image.Image, pixels: np.ndarray) -> Doubt | None:
    """The first of `of_opened` and `of_reduced` of an image and of what it is reduced to."""
    return of_opened(image) or of_reduced(pixels)


def of_opened(image: Image.Image) -> Doubt | None:
    """What is wrong with an image as its file has it: in colour, or too small.

    Args:
      image: decoded, of its own size, any mode; transparency is not looked at.
    """
    share = coloured(image)
    if share > COLOURED:
        return Doubt("colour", f"is in colour: {100 * share:.0f} % of its pixels, and radiographs are grey")
    if min(image.size) < MIN_SIDE:
        return Doubt("small", f"has {image.width} x {image.height} pixels; each side must have at least {MIN_SIDE}")
    return None


def of_reduced(pixels: np.ndarray) -> Doubt | None:
    """What is wrong with [size, size] u8, 0 is black: the first of blank to inverted, in the order of `CODES`."""
    small = _cells(pixels, 2 * _CELLS)
    shares = (
        ("blank", _in_a_window(_cells(small, _CELLS)), BLANK, f"of it lies within {_WINDOW} of 255 grey levels"),
        ("few levels", few_levels(pixels), FEW_LEVELS, f"of its pixels share {_LEVELS} grey levels"),
        ("part missing", _missing(pixels), MISSING, "of one half has a single grey level, and the other half does not"),
    )
    for code, share, limit, what in shares:
        if share > limit:
            return Doubt(code, f"{_IS[code]}: {100 * share:.0f} % {what}")
    changes = []
    for lines, name in ((pixels, "rows"), (pixels.T, "columns")):
        steps = _steps(lines)
        changes.append(np.abs(steps).sum(axis=0, dtype=np.int32).astype(np.float32) / len(steps))
        jumps = max(_alternating(steps), _outstanding(changes[-1]))
        if jumps:
            return Doubt("striped", f"is striped: {jumps} of its {name} differ sharply from the next")
    rows, columns = (float(change.mean()) + _NOISE / 4 for change in changes)
    times = max(rows / columns, columns / rows)
    if times > UNEVEN:
        name, other = ("rows", "columns") if rows > columns else ("columns", "rows")
        return Doubt("striped", f"is striped: its {name} differ {times:.1f} times as much as its {other}")
    likeness = _chest(small)
    if likeness < INVERTED:
        return Doubt("inverted", f"is inverted: its greys match a chest with black and white swapped ({likeness:.2f})")
    return None


def _cells(pixels: np.ndarray, count: int) -> np.ndarray:
    """[count, count] u8, means."""
    return np.asarray(Image.fromarray(pixels).resize((count, count), Image.Resampling.BOX))


def _in_a_window(values: np.ndarray) -> float:
    """Greatest share of the values in `_WINDOW` grey levels that follow each other."""
    counts = np.concatenate([[0], np.cumsum(np.bincount(values.ravel(), minlength=256))])
    return float((counts[_WINDOW:] - counts[:-_WINDOW]).max() / values.size)


def few_levels(pixels: np.ndarray) -> float:
    """Share of u8 pixels that have one of the `_LEVELS` most frequent grey levels; of masks near 1, though JPEG."""
    return float(np.sort(_counts(pixels))[-_LEVELS:].sum() / pixels.size)


def _counts(pixels: np.ndarray) -> np.ndarray:
    """[256], pixels of each grey level."""
    return np.array(Image.fromarray(pixels).histogram())


def _missing(pixels: np.ndarray) -> float:
    """How many more cells of one half than of the opposite one are of a single grey; share of a half."""
    if np.convolve(_counts(pixels), np.ones(_NOISE + 1)).max() < MISSING / 2 * pixels.size:
        return 0.0  # of most images, at once: no grey takes so much
    side = max(1, len(pixels) // _CELLS)
    count = len(pixels) // side
    strips = pixels[: side * count, : side * count].reshape(count, side, -1)
    low, high = strips.min(axis=1).reshape(count, count, side), strips.max(axis=1).reshape(count, count, side)
    flat = high.max(axis=2) - low.min(axis=2) <= _NOISE
    middle = count // 2
    return max(abs(float(half[:middle].mean() - half[middle:].mean())) for half in (flat, flat.T))


def _steps(lines: np.ndarray) -> np.ndarray:
    """[w, n - 1] int16: what changes from each line, along the first axis, to the next, at w places."""
    places = np.ascontiguousarray(lines[:, :: max(1, len(lines) // 128)].T).astype(np.int16)
    return np.diff(places[: len(places) // 4 * 4], axis=1)


def _alternating(steps: np.ndarray) -> int:
    """How often the steps [w, n - 1] go up and down in turn, in most places of a quarter; 0 if a radiograph's may."""
    quarters = steps.reshape(4, -1, steps.shape[1])
    majority = quarters.shape[1] // 2
    for size, quarter, limit in _ALTERNATING:
        up = (quarters >= size).sum(axis=1, dtype=np.uint8) > majority  # at most 64 places
        down = (quarters <= -size).sum(axis=1, dtype=np.uint8) > majority
        if 2 * np.minimum(up.sum(axis=1), down.sum(axis=1)).max() < limit:  # saves most images the counting
            continue
        signs = up.astype(np.int8) - down
        turns = sorted(int((np.diff(line[line != 0]) != 0).sum()) for line in signs)[quarter]
        if turns >= limit:
            return turns
    return 0


def _outstanding(change: np.ndarray) -> int:
    """How many of the mean changes [n - 1] are much larger than those 2 to 4 lines away; 0 if a radiograph's may."""
    end = len(change) - 4
    before, after = (_median(*(change[4 + far : end + far] for far in side)) for side in ((-4, -3, -2), (2, 3, 4)))
    outstanding = int((change[4:end] > 2.5 * np.maximum(before, after) + 1.5).sum())
    return outstanding if outstanding >= OUTSTANDING else 0


def _median(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """Of three arrays, place by place."""
    middle: np.ndarray = np.maximum(np.minimum(a, b), np.minimum(np.maximum(a, b), c))
    return middle


def _chest(small: np.ndarray) -> float:
    """Likeness of [m, m] u8 to a chest, -1..1, below 0 to its negative; borders of a single grey are left out."""
    rows, columns = (np.flatnonzero(np.ptp(small, axis=axis) > _NOISE) for axis in (1, 0))
    if min(len(rows), len(columns)) >= 16:
        small = np.ascontiguousarray(small[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])
    cells = _cells(small, len(_CHEST)).astype(float)
    cells -= cells.mean()
    return float((cells * _CHEST).sum() / max(np.linalg.norm(cells) * np.linalg.norm(_CHEST), 1e-9))


def coloured(image: Image.Image) -> float:
    """Share of the pixels, 0..1, whose channels (RGB) differ by more than `CHROMA`; of a grid of pixels as they are."""
    if image.mode in _GREY:
        return 0.0
    # Nearest neighbours alone work on palettes, and do not weigh colours by transparency.
    grid = image.resize((_GRID, _GRID), Image.Resampling.NEAREST)
    channels = np.asarray(grid.convert("RGB")).astype(np.int16)
    return float((channels.max(-1) - channels.min(-1) > CHROMA).mean())
