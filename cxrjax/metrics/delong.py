"""AUROC without a bootstrap: covariance, interval and paired test (DeLong), for patients of several images, too.

label [n] 0 or 1, 1 is positive; score [n] finite numbers, of which only the order counts; patient [n] any names, None:
every image is a patient of its own; arrays, lists or pandas Series, else a ValueError. NumPy in float64, as
`discrimination.auroc`, whose value is the same; there are no weights, so leave out what is absent.
"""

from __future__ import annotations

import math

import numpy as np
from scipy import special

from cxrjax.base.codes import code
from cxrjax.metrics import arguments
from cxrjax.metrics.resampled_t import Comparison, Estimate

_ZERO = 1e-30  # rounding; one pair of images that changes sides moves a variance by 1 / n^4, 1e-20 of 100,000 images


def placements(label: np.ndarray, score: np.ndarray) -> np.ndarray:
    """Placement value of every image [n], 0..1: the share of the other class that it stands on the right side of.

    A tie counts 1/2. The mean over the positives, and over the negatives, is the AUROC. By mid-ranks in O(n log n)
    (Sun & Xu 2014, IEEE Signal Processing Letters 21).

    Raises:
      ValueError: one class is absent.
    """
    label, score = _checked(label, score)
    positive = label == 1
    if positive.all() or not positive.any():
        raise ValueError(f"label must hold both classes, got {positive.sum()} positive images of {positive.size}")
    value = np.empty(len(label))
    for members, rising in ((positive, score), (~positive, -score)):
        value[members] = (_mid_ranks(rising)[members] - _mid_ranks(rising[members])) / (~members).sum()
    return value


def _mid_ranks(values: np.ndarray) -> np.ndarray:
    """Ranks [n], from 1; equal values have their mean rank. `scipy.stats` takes a second to import."""
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(count) - (count - 1) / 2)[place]


def covariance(
    label: np.ndarray, scores: np.ndarray, patient: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """AUROC of each of K scores of the same images, and their covariance.

    With X and Y [K, P] the sums over a patient's positive and negative images of placement - AUROC, of m and n in all,
    the covariance is  c(P1) X X' / m^2 + c(P0) Y Y' / n^2 + c(P) (X Y' + Y X') / (m n),  c(k) = k / (k - 1), where P1
    and P0 patients have positive and negative images (Obuchowski 1997, Biometrics 53). With an image a patient the
    last term is 0, and the rest DeLong, DeLong & Clarke-Pearson 1988 (Biometrics 44).

    Args:
      label: [n], 1 is positive.
      scores: [K, n].
      patient: [n], or None.

    Returns:
      [K] and [K, K].

    Raises:
      ValueError: fewer than two patients have positive images, or negative ones.
    """
    label, numbers = arguments.labels(label), _patients(label, patient)
    if reason := _obstacle(label, numbers):
        raise ValueError(f"label and patient leave no variance to estimate: {reason}")
    values = np.stack([placements(label, score) for score in np.asarray(scores)])
    return values[:, label == 1].mean(axis=1), _covariance(label, values, numbers)


def _covariance(label: np.ndarray, values: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Of the means of `values` [K, n], placements or differences of placements; `numbers` as of `_patients`."""
    positive = label == 1
    m, n = int(positive.sum()), int((~positive).sum())
    excess = (values - values[:, positive].mean(axis=1, keepdims=True)).T
    x, y = np.zeros((2, numbers.max() + 1, len(values)))
    np.add.at(x, numbers[positive], excess[positive])
    np.add.at(y, numbers[~positive], excess[~positive])
    cross = _correction(numbers) * x.T @ y / (m * n)
    within = _correction(numbers[positive]) * x.T @ x / m**2 + _correction(numbers[~positive]) * y.T @ y / n**2
    total: np.ndarray = within + cross + cross.T
    return total


def _checked(label: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    label, score, _ = arguments.checked(label, score, np.ones(np.shape(label)), probabilities=False)
    return label, np.asarray(score, float)  # negated below: unsigned numbers and bool have no negative


def _patients(label: np.ndarray, patient: np.ndarray | None) -> np.ndarray:
    """A number for each image [n], equal for equal patients."""
    if patient is None:
        return np.arange(len(label))
    arguments.same_length(label=len(label), patient=len(patient))
    return arguments.patients(patient)


def _correction(numbers: np.ndarray) -> float:
    patients = len(np.unique(numbers))
    return patients / (patients - 1)


def _obstacle(label: np.ndarray, numbers: np.ndarray) -> str:
    """The code of why there is no variance; "" if there is."""
    if not label.size:
        return code("no_image")
    for name, members in (("positive", label == 1), ("negative", label != 1)):
        if not members.any():
            return code(f"no_{name}_image")
        if len(np.unique(numbers[members])) < 2:
            return code(f"one_{name}_patient")
    return ""


def interval(label: np.ndarray, score: np.ndarray, patient: np.ndarray | None = None, level: float = 0.95) -> Estimate:
    """AUROC A and its interval, expit(logit(A) ± z sd / (A (1 - A))): on that scale it is more nearly normal.

    The limits are NaN with a reason where there is no variance, as at A = 0 and A = 1.
    """
    (label, score), numbers = _checked(label, score), _patients(label, patient)
    reason, z = _obstacle(label, numbers), float(special.ndtri(arguments.quantile(level)))
    if len(np.unique(label)) < 2:
        return Estimate(math.nan, math.nan, math.nan, reason)
    value = placements(label, score)
    area = float(value[label == 1].mean())
    if reason:
        return Estimate(area, math.nan, math.nan, reason)
    variance = float(_covariance(label, value[None], numbers)[0, 0])
    if variance <= _ZERO:
        return Estimate(area, math.nan, math.nan, code("no_variance"))
    half = z * math.sqrt(variance) / (area * (1 - area))
    low, high = special.expit(special.logit(area) + np.array([-half, half]))
    return Estimate(area, float(low), float(high), "")


def compare(
    label: np.ndarray, score_a: np.ndarray, score_b: np.ndarray, patient: np.ndarray | None = None, level: float = 0.95
) -> Comparison:
    """Whether two scores of the same images differ in AUROC: difference b - a, its interval, z and two-sided p.

    NaN with a reason where the difference has no variance, as between scores that rank the images alike.
    """
    undefined = (math.nan, math.nan, math.nan, math.nan)
    label, numbers = arguments.labels(label), _patients(label, patient)
    z = float(special.ndtri(arguments.quantile(level)))
    if reason := _obstacle(label, numbers):
        return Comparison(math.nan, *undefined, reason)
    # Not by the covariance of the two: if they rank alike the differences of placements are exactly 0.
    value = placements(label, score_b) - placements(label, score_a)
    difference, variance = float(value[label == 1].mean()), float(_covariance(label, value[None], numbers)[0, 0])
    if variance <= _ZERO:
        return Comparison(difference, *undefined, code("no_variance"))
    error = math.sqrt(variance)
    half = z * error
    p = 2 * float(special.ndtr(-abs(difference) / error))
    return Comparison(difference, difference - half, difference + half, difference / error, p, "")
