"""Numbers over runs, and what intervals and tests return; with NumPy and SciPy."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from scipy import special

from cxrjax.base.codes import code
from cxrjax.metrics import arguments


class Summary(NamedTuple):
    """A metric over runs."""

    mean: float
    sd: float  # sample standard deviation, NaN of one run
    low: float  # 95 % interval of the mean
    high: float


class Estimate(NamedTuple):
    """A metric of one set of images."""

    value: float
    low: float  # ends of the interval, NaN where it is undefined
    high: float
    reason: str  # codes of why value or interval is NaN; "" where all are defined


class Comparison(NamedTuple):
    """A difference b - a of two metrics."""

    difference: float
    low: float  # ends of the interval of the difference
    high: float
    statistic: float  # z or t under the hypothesis of no difference
    p: float  # two-sided
    reason: str  # code of why one of them is NaN; "" where all are defined


def over_runs(values: np.ndarray, n_train: float, n_val: float, ends: tuple[float, float] = (0.0, 1.0)) -> Summary:
    """Mean, SD and 95 % interval of a metric over runs that split the same images anew.

    The interval is the corrected resampled t of Nadeau & Bengio 2003 (Machine Learning 52, eq. 9): runs share
    images, so the variance of the mean is (1/J + n_val/n_train) sd^2, not sd^2/J; Student's t, J - 1 degrees.
    It is cut to the metric's range.

    Args:
      values: [J], the metric of each run; runs that are NaN are left out.
      n_train: training images of a run (mean over runs).
      n_val: validation images of a run (mean over runs).
      ends: lowest and highest value of the metric, as `registry.Metric.range`; 0 and 1 of a share.
    """
    values = np.asarray(values, float)
    values = values[~np.isnan(values)]
    runs = len(values)
    if runs < 2:
        mean = float(values[0]) if runs else math.nan
        return Summary(mean, math.nan, math.nan, math.nan)
    mean, sd = float(values.mean()), float(values.std(ddof=1))
    half = float(special.stdtrit(runs - 1, 0.975)) * _error_of_mean(values, n_train, n_val)
    return Summary(mean, sd, max(mean - half, ends[0]), min(mean + half, ends[1]))


def compare_runs(a: np.ndarray, b: np.ndarray, n_train: float, n_val: float, level: float = 0.95) -> Comparison:
    """Whether a metric differs between two experiments whose runs have the same seeds, hence the same splits.

    The corrected resampled t-test of Nadeau & Bengio 2003: t = mean(b - a) / sqrt((1/J + n_val/n_train) var(b - a)),
    J - 1 degrees; the plain paired t-test calls far too many differences significant, since runs share images.
    NaN with a reason for fewer than two pairs, or if the differences do not vary.

    Args:
      a: [J], the metric of each run of the one experiment.
      b: [J], of the other, in the same order; pairs with a NaN are left out.
      n_train: training images of a run (mean over runs).
      n_val: validation images of a run (mean over runs).
      level: of the interval of the difference.

    Raises:
      ValueError: a and b differ in length, or level is no share.
    """
    a, b, quantile = np.asarray(a, float), np.asarray(b, float), arguments.quantile(level)
    if a.shape != b.shape:
        raise ValueError(f"a and b must have a value for each of the same runs, got {a.shape} and {b.shape}")
    values = (b - a)[~np.isnan(b - a)]
    runs = len(values)
    mean = float(values.mean()) if runs else math.nan
    if runs < 2:
        return Comparison(mean, math.nan, math.nan, math.nan, math.nan, code("one_pair"))
    error = _error_of_mean(values, n_train, n_val)
    if error <= 1e-12:  # differences of metrics in 0..1, which float64 holds to 1e-16
        return Comparison(mean, math.nan, math.nan, math.nan, math.nan, code("no_difference_varies"))
    half = float(special.stdtrit(runs - 1, quantile)) * error
    p = 2 * float(special.stdtr(runs - 1, -abs(mean) / error))
    return Comparison(mean, mean - half, mean + half, mean / error, p, "")


def _error_of_mean(values: np.ndarray, n_train: float, n_val: float) -> float:
    """Standard error of the mean of runs that share images (Nadeau & Bengio 2003, eq. 9)."""
    return float(values.std(ddof=1)) * math.sqrt(1 / len(values) + n_val / n_train)


def half_width(runs: int, n_train: float, n_val: float, level: float = 0.95) -> float:
    """Half the width of an interval over so many runs that share images, in their SD.

    >>> round(half_width(10, 400, 100), 2), round(half_width(3, 400, 100), 2)
    (1.34, 3.29)
    """
    return float(special.stdtrit(runs - 1, arguments.quantile(level))) * math.sqrt(1 / runs + n_val / n_train)


def threshold_for_sensitivity(label: np.ndarray, score: np.ndarray, sensitivity: float) -> float:
    """The highest threshold at which at least a share `sensitivity` of the positives lies above it.

    Choose it on training scores: on the images of the result it would flatter the result. It is the middle between
    the lowest score that must be called positive and the next lower one of any image, -1 < 0 counting as one, so that
    rounding to float32 changes no decision.

    >>> threshold_for_sensitivity(np.array([1, 1, 0, 0]), np.array([0.75, 0.5, 0.25, 0.125]), 1.0)
    0.375

    Args:
      label: [n], 0 or 1, 1 is positive.
      score: [n], 0..1.
      sensitivity: above 0, at most 1.

    Raises:
      ValueError: sensitivity is out of range, no image is positive, a label is neither 0 nor 1, or a score is not in
        0..1.
    """
    label, score, _ = arguments.checked(label, score, np.ones(np.shape(label)))
    score = np.asarray(score, np.float32)
    falling = np.sort(score[label == 1])[::-1]
    if not 0 < sensitivity <= 1:
        raise ValueError(f"sensitivity must be above 0 and at most 1, got {sensitivity}")
    if not falling.size:
        raise ValueError("label must hold a positive image, got none")
    lowest = falling[math.ceil(sensitivity * falling.size - 1e-9) - 1]  # 0.55 * 100 is 55.00000000000001
    below = np.max(score[score < lowest], initial=np.float32(-1))
    middle = np.float32((float(lowest) + float(below)) / 2)
    return float(middle if middle < lowest else below)
