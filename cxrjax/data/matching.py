"""Matched draws: of each stratum of view, sex, age or follow-up number as many positives as negatives."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
import pandas as pd

from cxrjax.base import InputError

_BINS: Mapping[str, tuple[int, ...]] = MappingProxyType(
    {"age": tuple(range(0, 121, 20)), "followup": (0, 1, 3, 10, 30)}  # where the bins begin: years; number of the visit
)
VARIABLES = ("view", "sex", *_BINS)


def variables(text: str) -> tuple[str, ...]:
    """The variables that `--match` names.

    >>> variables("view,followup"), variables("")
    (('view', 'followup'), ())

    Raises:
      InputError: if one is none of `VARIABLES`, or named twice.
    """
    names = tuple(text.split(",")) if text else ()
    wrong = next((name for name in names if name not in VARIABLES or names.count(name) > 1), None)
    if wrong is not None:
        raise InputError(f"--match must be of {','.join(VARIABLES)}, each once, got {wrong!r} in {text!r}")
    return names


def strata(table: pd.DataFrame, by: tuple[str, ...]) -> np.ndarray:
    """Stratum of each image, [N] int: images of one stratum agree in all these variables; unknown is a value, too.

    Args:
      table: an ImageStore's table; a view or sex of "" and an age that is NaN are unknown.
      by: of `VARIABLES`.

    Raises:
      InputError: if one of them is unknown or the same of every image.
    """
    columns = []
    for name in by:
        value = table[name].to_numpy(str)
        if name in _BINS:  # unknown: -1, of no bin
            value = np.where(table[name].isna(), -1, np.digitize(table[name].to_numpy(float), _BINS[name]))
        levels, column = np.unique(value, return_inverse=True)
        if len(levels) == 1:
            raise InputError(f"--match={','.join(by)}: {name} is the same or unknown of all {len(table)} images")
        columns.append(column)
    return np.unique(np.stack(columns, axis=1), axis=0, return_inverse=True)[1].ravel()


def draw(stratum: np.ndarray, label: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Positions of images, sorted, of which each stratum has as many positives as negatives, and as many as it can.

    Args:
      stratum: [n] int, of each image.
      label: [n] i32, 1 is positive.
      rng: draws the images of the class that a stratum has more of.

    Raises:
      InputError: if no stratum holds images of both classes.
    """
    chosen = []
    for number in np.unique(stratum):
        sides = [np.flatnonzero((stratum == number) & (label == side)) for side in (0, 1)]
        chosen += [rng.choice(side, min(map(len, sides)), replace=False) for side in sides]
    positions = np.sort(np.concatenate(chosen))
    if not len(positions):
        raise InputError("--match: no stratum holds images of both classes")
    return positions
