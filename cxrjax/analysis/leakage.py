"""How much a patient on both sides of the split flatters the result."""

from __future__ import annotations

import numpy as np
import pandas as pd

from cxrjax.analysis import seed_figures
from cxrjax.analysis.schema import RunTables
from cxrjax.metrics import resampled_t

FIGURES = ("contaminated_share", "accuracy", "fp_share", "fn_share", "sensitivity", "specificity", "auroc")


def table(by_patient: RunTables, by_image: RunTables) -> pd.DataFrame:
    """`Analysis.leakage`: the run's seeds split by patient, and the same seeds split by image.

    A seed draws the same negatives and initial weights in both, so the pairs share those; the images it validates
    differ, and what they add to the variance of a difference is in the differences' own spread. The corrected
    resampled t (`resampled_t.compare_runs`) is then rather too careful: its n_val/n_train stands for what runs share,
    part of which cancels out between the two splits. The contaminated share follows from the splits themselves: it has
    a difference, and nothing to test.

    Raises:
      ValueError: the seeds are not the same.
    """
    one, other = _seeds(by_patient), _seeds(by_image)
    if list(one.index) != list(other.index):
        raise ValueError(f"the split by image must have the run's seeds {list(one.index)}, got {list(other.index)}")
    n_train, n_val = (float(np.mean([one[name].mean(), other[name].mean()])) for name in ("n_train", "n_val"))
    rows = []
    for name in FIGURES:
        test = resampled_t.compare_runs(one[name].to_numpy(float), other[name].to_numpy(float), n_train, n_val)
        low, high, p = (np.nan,) * 3 if name == "contaminated_share" else (test.low, test.high, test.p)
        rows.append((name, one[name].mean(), other[name].mean(), test.difference, low, high, p))
    return pd.DataFrame(rows, columns=["figure", "patient", "image", "difference", "low", "high", "p"])


def _seeds(tables: RunTables) -> pd.DataFrame:
    """`FIGURES`, n_train and n_val of each seed, by seed."""
    own = tables.seeds.set_index("seed")[["contaminated_share", "n_train", "n_val"]]
    return own.join(seed_figures.at_half(tables.predictions), how="outer").sort_index()
