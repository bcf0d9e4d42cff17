"""Groups of images by what is known of them: view, sex, age, follow-up, split, and how many images the patient has."""

from __future__ import annotations

import numpy as np
import pandas as pd

UNKNOWN = "unknown"
IMPOSSIBLE_AGE = "outside 0-120"  # typing errors: NIH has patients of 412 years
AGES = {"0-17": 0, "18-39": 18, "40-59": 40, "60-79": 60, "80+": 80}  # band -> its first age in years
FOLLOWUPS = {"0 or unknown": 0, "1-5": 1, "6-20": 6, "21+": 21}  # a source that knows none has 0 everywhere
IMAGES = {"1": 1, "2": 2, "3-5": 3, "6-10": 6, "11+": 11}  # of one patient


def named(values: pd.Series) -> pd.Series:
    """Text as a categorical in alphabetical order, "" as `UNKNOWN` and last."""
    known = values.replace("", UNKNOWN)
    return known.astype(pd.CategoricalDtype([*sorted(set(known) - {UNKNOWN}), UNKNOWN]))


def possible_age(age: pd.Series) -> pd.Series:
    """Ages in years, NaN where unknown or impossible."""
    return age.where(age.between(0, 120))


def age_band(age: pd.Series) -> pd.Series:
    """Band of `AGES`, `IMPOSSIBLE_AGE` or `UNKNOWN` of each age in years."""
    band = banded(possible_age(age), AGES).astype(object)
    band = band.where(band.notna(), age.isna().map({True: UNKNOWN, False: IMPOSSIBLE_AGE}))
    return band.astype(pd.CategoricalDtype([*AGES, IMPOSSIBLE_AGE, UNKNOWN]))


def followup_band(followup: pd.Series) -> pd.Series:
    """Band of `FOLLOWUPS` of each follow-up number; a negative one counts as 0."""
    return banded(followup.clip(lower=0), FOLLOWUPS)


def images_band(number: pd.Series) -> pd.Series:
    """Band of `IMAGES` of each number of images."""
    return banded(number, IMAGES)


def banded(values: pd.Series, bands: dict[str, int]) -> pd.Series:
    """Band of each value as an ordered categorical, the last one open above; `bands`: name -> its first value."""
    return pd.cut(values.astype(float), [*bands.values(), np.inf], right=False, labels=list(bands))
