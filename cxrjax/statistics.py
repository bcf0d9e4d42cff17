"""Numbers over runs, with NumPy and scikit-learn."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from scipy import stats
from sklearn.metrics import roc_auc_score


class Summary(NamedTuple):
    """A figure over runs."""

    mean: float
    sd: float  # sample standard deviation, NaN of one run
    low: float  # 95 % interval of the mean
    high: float


def auroc(label: np.ndarray, score: np.ndarray) -> float:
    """Area under the ROC curve, 0..1; NaN if `label` [n] holds one class only, for which it is undefined."""
    if len(np.unique(label)) < 2:
        return math.nan
    return float(roc_auc_score(label, score))


def operating_point(label: np.ndarray, decision: np.ndarray) -> dict[str, float]:
    """Accuracy, FP and FN shares, sensitivity and specificity.

    `fp_share` and `fn_share` are shares of all images, as in the poster; sensitivity is the share of positives
    called positive, specificity of negatives called negative. NaN where there is no image to count.

    >>> operating_point(np.array([1, 1, 0, 0]), np.array([1, 0, 0, 0]))["sensitivity"]
    0.5

    Args:
      label: [n], 1 is pneumonia.
      decision: [n], 1 is pneumonia.
    """
    positive, called = label == 1, decision == 1
    return {
        "accuracy": _mean(positive == called),
        "fp_share": _mean(called & ~positive),
        "fn_share": _mean(~called & positive),
        "sensitivity": _mean(called[positive]),
        "specificity": _mean(~called[~positive]),
    }


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if values.size else math.nan


def over_runs(values: np.ndarray, n_train: float, n_val: float) -> Summary:
    """Mean, SD and 95 % interval of a figure over runs that split the same images anew.

    The interval is the corrected resampled t of Nadeau & Bengio 2003 (Machine Learning 52, eq. 9): runs share
    images, so the variance of the mean is (1/J + n_val/n_train) sd^2, not sd^2/J; Student's t, J - 1 degrees.
    Its ends are cut to 0..1, the range of every share.

    Args:
      values: [J], a share (0..1) of each run; runs that are NaN are left out.
      n_train: training images of a run (mean over runs).
      n_val: validation images of a run (mean over runs).
    """
    values = values[~np.isnan(values)]
    runs = len(values)
    if runs < 2:
        mean = float(values[0]) if runs else math.nan
        return Summary(mean, math.nan, math.nan, math.nan)
    mean, sd = float(values.mean()), float(values.std(ddof=1))
    half = float(stats.t.ppf(0.975, runs - 1)) * sd * math.sqrt(1 / runs + n_val / n_train)
    return Summary(mean, sd, max(mean - half, 0.0), min(mean + half, 1.0))
