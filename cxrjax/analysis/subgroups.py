"""How well a run does in groups of its validation images."""

from __future__ import annotations

import jax
import numpy as np
import pandas as pd

from cxrjax.analysis import groups as groupings
from cxrjax.base.types import Array
from cxrjax.metrics import bootstrap, discrimination
from cxrjax.metrics.bootstrap import Images
from cxrjax.metrics.resampled_t import Estimate

MIN_PATIENTS, MIN_OF_A_CLASS = 20, 5  # a group with fewer patients, or images of a class, is small
_FIGURES = ("accuracy", "sensitivity", "specificity", "auroc")
_NEEDS = {"sensitivity": (1,), "specificity": (0,), "auroc": (1, 0)}  # classes without which it is undefined
_CLASS = {1: "no positive image", 0: "no negative image"}
_COLUMNS = [
    "variable", "group", "images", "patients", "positives", "small",
    *(name + end for name in _FIGURES for end in ("", "_low", "_high")), "undefined",
]  # fmt: skip


def table(key: jax.Array, predictions: pd.DataFrame, images: pd.DataFrame) -> pd.DataFrame:
    """`Analysis.subgroups`: rows of all seeds together, at threshold 0.5, intervals by resampling the group's patients.

    A variable of which all images are in one group is left out.

    Args:
      key: typed PRNG key.
      predictions: `RunTables.predictions`.
      images: `RunTables.images`; a patient's images are counted here.
    """
    member = groups(images).loc[predictions["image"]].reset_index(drop=True)
    parts = {
        (variable, str(group)): predictions[rows.to_numpy()]
        for variable in member
        if member[variable].nunique() > 1
        for group in member[variable].cat.categories
        if (rows := member[variable] == group).any()
    }
    runs = [
        Images(own["label"].to_numpy(np.int32), own["score"].to_numpy(np.float32), own["patient"].to_numpy(str))
        for own in parts.values()
    ]
    found = bootstrap.intervals(key, _figures, runs) if runs else []
    rows = [
        {"variable": variable, "group": group, **_counts(own), **_columns(own, estimates)}
        for ((variable, group), own), estimates in zip(parts.items(), found, strict=True)
    ]
    return pd.DataFrame(rows, columns=_COLUMNS)


def groups(images: pd.DataFrame) -> pd.DataFrame:
    """Group of each image, by its name: view, sex, age, images (how many of its patient take part)."""
    number = images.groupby("patient")["image"].transform("size")
    return pd.DataFrame(
        {
            "view": groupings.named(images["view"]),
            "sex": groupings.named(images["sex"]),
            "age": groupings.age_band(images["age"]),
            "images": groupings.images_band(number),
        }
    ).set_axis(images["image"])


def _counts(own: pd.DataFrame) -> dict[str, object]:
    """Each image once, however many seeds validated it."""
    once = own.drop_duplicates("image")
    patients, positives = once["patient"].nunique(), int(once["label"].sum())
    small = patients < MIN_PATIENTS or min(positives, len(once) - positives) < MIN_OF_A_CLASS
    return {"images": len(once), "patients": patients, "positives": positives, "small": small}


def _columns(own: pd.DataFrame, estimates: dict[str, Estimate]) -> dict[str, object]:
    row: dict[str, object] = {}
    there, reasons = set(own["label"]), []
    for name in _FIGURES:
        row |= dict(zip((name, f"{name}_low", f"{name}_high"), estimates[name][:3], strict=True))
        reasons += [f"{name}: {_CLASS[label]}" for label in _NEEDS.get(name, ()) if label not in there]
    return row | {"undefined": "; ".join(reasons)}


def _figures(label: Array, score: Array, weight: Array) -> dict[str, jax.Array]:
    return {name: getattr(discrimination, name)(label, score, weight) for name in _FIGURES}
