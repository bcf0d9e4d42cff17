"""Groups of images by what is known of them, and how well a run does in those of its validation images."""

from __future__ import annotations

import jax
import numpy as np
import pandas as pd

from cxrjax.analysis import scores
from cxrjax.base import codes
from cxrjax.metrics import bootstrap, registry
from cxrjax.metrics.resampled_t import Estimate

MIN_PATIENTS, MIN_OF_A_CLASS = 20, 5  # a group with fewer patients, or images of a class, is small
UNKNOWN = "unknown"
IMPOSSIBLE_AGE = "outside 0-120"  # typing errors: NIH has patients of 412 years
AGES = {"0-17": 0, "18-39": 18, "40-59": 40, "60-79": 60, "80+": 80}  # band -> its first age in years
NO_FOLLOWUP = "0 or unknown"  # a source that knows none has 0 everywhere
FOLLOWUPS = {NO_FOLLOWUP: 0, "1-5": 1, "6-20": 6, "21+": 21}
IMAGES = {"1": 1, "2": 2, "3-5": 3, "6-10": 6, "11+": 11}  # of one patient


def table(key: jax.Array, predictions: pd.DataFrame, images: pd.DataFrame, cells: int | None = None) -> pd.DataFrame:
    """`Analysis.subgroups`: rows of all seeds together, at threshold 0.5, intervals by resampling the group's patients.

    A variable of which all images are in one group is left out.

    Args:
      key: typed PRNG key.
      predictions: `RunTables.predictions`.
      images: `RunTables.images`; a patient's images are counted here.
      cells: see `bootstrap.intervals`.
    """
    member = groups(images).loc[predictions["image"]].reset_index(drop=True)
    parts = {
        (variable, str(group)): predictions[rows.to_numpy()]
        for variable in member
        if member[variable].nunique() > 1
        for group in member[variable].cat.categories
        if (rows := member[variable] == group).any()
    }
    names = registry.shown_in(registry.SUBGROUPS)
    evaluation = registry.Evaluation(tuple(registry.METRICS[name] for name in names))
    runs = [scores.images_of(part) for part in parts.values()]
    estimates = bootstrap.intervals(key, evaluation, runs, cells=cells) if runs else []
    rows = [
        {"variable": variable, "group": group, **_counts(part), **_metrics(part, of_part)}
        for ((variable, group), part), of_part in zip(parts.items(), estimates, strict=True)
    ]
    columns = [name + end for name in names for end in ("", "_low", "_high")]
    sizes = ["images", "patients", "positives", "small"]
    return pd.DataFrame(rows, columns=["variable", "group", *sizes, *columns, "undefined"])


def groups(images: pd.DataFrame) -> pd.DataFrame:
    """Group of each image, by its name: view, sex, age, images (how many of its patient take part)."""
    number = images.groupby("patient")["image"].transform("size")
    return pd.DataFrame(
        {
            "view": named(images["view"]),
            "sex": named(images["sex"]),
            "age": age_band(images["age"]),
            "images": images_band(number),
        }
    ).set_axis(images["image"])


def _counts(part: pd.DataFrame) -> dict[str, object]:
    """Each image once, however many seeds validated it."""
    once = part.drop_duplicates("image")
    patients, positives = once["patient"].nunique(), int(once["label"].sum())
    small = patients < MIN_PATIENTS or min(positives, len(once) - positives) < MIN_OF_A_CLASS
    return {"images": len(once), "patients": patients, "positives": positives, "small": small}


def _metrics(part: pd.DataFrame, estimates: dict[str, Estimate]) -> dict[str, object]:
    row: dict[str, object] = {}
    for name, estimate in estimates.items():
        row |= dict(zip((name, f"{name}_low", f"{name}_high"), estimate[:3], strict=True))
    label, score, _ = scores.images_of(part)
    names = registry.shown_in(registry.SUBGROUPS)
    missing = [name for name in names if np.isnan(estimates[name].value)]
    reasons = registry.reasons(missing, label, score, np.ones(len(label)))
    why = [codes.tag(reasons.get(name, estimates[name].reason), metric=name) for name in names]
    return row | {"undefined": codes.join(why)}


def named(values: pd.Series) -> pd.Series:
    """Text as a categorical in alphabetical order, "" as `UNKNOWN` and last."""
    texts = values.replace("", UNKNOWN)
    return texts.astype(pd.CategoricalDtype([*sorted(set(texts) - {UNKNOWN}), UNKNOWN]))


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
