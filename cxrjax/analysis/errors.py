"""The validation images that a run gets wrong."""

from __future__ import annotations

import numpy as np
import pandas as pd

from cxrjax.metrics import discrimination

SHOWN = 6  # of each kind, as pictures in the report
_COLUMNS = ["kind", "image", "patient", "labels", "view", "age", "sex", "label", "score", "seeds"]


def table(predictions: pd.DataFrame, images: pd.DataFrame) -> pd.DataFrame:
    """`Analysis.errors`: images whose mean score lies on the wrong side of 0.5, the most wrong first.

    Args:
      predictions: `RunTables.predictions`.
      images: `RunTables.images`.
    """
    means = predictions.groupby("image", as_index=False).agg(
        label=("label", "first"), score=("score", "mean"), seeds=("seed", "size")
    )
    wrong = means[(means["score"] > discrimination.THRESHOLD) != (means["label"] == 1)]
    kind = np.where(wrong["label"] == 1, "false negative", "false positive")
    known = wrong.assign(kind=kind, off=(wrong["score"] - wrong["label"]).abs()).merge(
        images, on="image", validate="one_to_one"
    )
    return known.sort_values(["off", "image"], ascending=[False, True], ignore_index=True)[_COLUMNS]


def shown(errors: pd.DataFrame) -> list[str]:
    """Names of the images that a report shows: the most wrong of each kind."""
    return list(errors.groupby("kind", sort=True).head(SHOWN)["image"])
