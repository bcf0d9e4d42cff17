"""Which values of an image of more than 8 bits are black and white, where nothing says it.

All but the outer 5 % of the pixels at either end are taken; beyond them what follows without a gap of a tenth of their
range, and no further than three quarters of it (as Tukey's fences, Exploratory Data Analysis, 1977). So a marker or
letters at 65,535, hot and dead pixels do not set the scale. Of NIH's and Kermany's radiographs, in 16 bits, 97 of 100
keep their whole range; with a marker on 1 to 3.5 % of the pixels at 65,535 and 0.2 % at 0 the median keeps it, too.
"""

from __future__ import annotations

import numpy as np

from cxrjax.base import InputError

RANGES = ("robust", "full")
_OUTER = 0.05  # share of the pixels at either end that may be left out
_GAP, _REACH = 0.1, 0.75  # of the range of the others: empty, and all together


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
