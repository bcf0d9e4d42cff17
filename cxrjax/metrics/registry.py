"""All figures of one run's scores, and why one is undefined. The figures are pure JAX; arguments as in
`cxrjax.metrics.discrimination`."""

from __future__ import annotations

import math
from collections.abc import Sequence

import jax
import numpy as np

from cxrjax.base.types import Array
from cxrjax.metrics import calibration, discrimination

NIH_PREVALENCE = 0.013  # 1,431 of the 112,120 images of NIH's 2020 table carry Pneumonia

# Figures of the table that are undefined where a condition of `_obstacles` holds; the first that holds is the reason.
_EVERY = ("no image", "a score is not a number")
_NO_POSITIVE, _NO_NEGATIVE = "no positive image", "no negative image"
_NONE_CALLED, _ALL_CALLED = "no image is called positive", "no image is called negative"
_SEPARATE = "the scores of the two classes do not overlap, or are constant"
_BOTH = (_NO_POSITIVE, _NO_NEGATIVE)
_OBSTACLES = {
    "accuracy": (),
    "fp_share": (),
    "fn_share": (),
    "sensitivity": (_NO_POSITIVE,),
    "specificity": (_NO_NEGATIVE,),
    "ppv": (_NONE_CALLED,),
    "npv": (_ALL_CALLED,),
    "ppv_at_prevalence": (*_BOTH, _NONE_CALLED),
    "npv_at_prevalence": (*_BOTH, _ALL_CALLED),
    "f1": (_NO_POSITIVE,),
    "mcc": (*_BOTH, _NONE_CALLED, _ALL_CALLED),
    "auroc": _BOTH,
    "auprc": (_NO_POSITIVE,),
    "brier": (),
    "ece": (),
    "calibration_slope": (*_BOTH, _SEPARATE),
    "calibration_intercept": (*_BOTH, _SEPARATE),
    "calibration_in_the_large": _BOTH,
}
NAMES = tuple(_OBSTACLES)


# Figures of decisions; the others depend on no threshold.
DECISIONS = (
    "accuracy", "fp_share", "fn_share", "sensitivity", "specificity", "ppv", "npv", "ppv_at_prevalence",
    "npv_at_prevalence", "f1", "mcc",
)  # fmt: skip
_ENDS = {"mcc": (-1.0, 1.0)} | dict.fromkeys(
    ("calibration_slope", "calibration_intercept", "calibration_in_the_large"), (-math.inf, math.inf)
)


def ends(name: str) -> tuple[float, float]:
    """The ends of the range of one of `NAMES`; most are shares.

    >>> ends("mcc")
    (-1.0, 1.0)
    """
    return _ENDS.get(name, (0.0, 1.0))


def figures(
    label: Array,
    score: Array,
    weight: Array,
    threshold: float | Array = discrimination.THRESHOLD,
    prevalence: float | Array = NIH_PREVALENCE,
) -> dict[str, jax.Array]:
    """`NAMES` -> [] f32, NaN where undefined.

    Args:
      label: [N], 1 is pneumonia.
      score: [N] 0..1.
      weight: [N] non-negative multiplicities, 0: absent.
      threshold: [] or, if images of several networks are pooled, [N]; scores above it are called positive.
      prevalence: 0..1, share of positives for which `ppv_at_prevalence` and `npv_at_prevalence` hold.
    """
    found = of_decisions(label, score, weight, threshold, prevalence) | of_scores(label, score, weight)
    return {name: found[name] for name in NAMES}


def of_decisions(
    label: Array,
    score: Array,
    weight: Array,
    threshold: float | Array = discrimination.THRESHOLD,
    prevalence: float | Array = NIH_PREVALENCE,
) -> dict[str, jax.Array]:
    """Those of `figures` that depend on the threshold, `DECISIONS`."""
    given = (label, score, weight)
    return {
        "accuracy": discrimination.accuracy(*given, threshold),
        "fp_share": discrimination.fp_share(*given, threshold),
        "fn_share": discrimination.fn_share(*given, threshold),
        "sensitivity": discrimination.sensitivity(*given, threshold),
        "specificity": discrimination.specificity(*given, threshold),
        "ppv": discrimination.ppv(*given, threshold),
        "npv": discrimination.npv(*given, threshold),
        "ppv_at_prevalence": discrimination.ppv_at(*given, threshold, prevalence),
        "npv_at_prevalence": discrimination.npv_at(*given, threshold, prevalence),
        "f1": discrimination.f1(*given, threshold),
        "mcc": discrimination.mcc(*given, threshold),
    }


def of_scores(label: Array, score: Array, weight: Array) -> dict[str, jax.Array]:
    """Those of `figures` that depend on no threshold."""
    given = (label, score, weight)
    fit = calibration.recalibration(*given)
    return {
        "auroc": discrimination.auroc(*given),
        "auprc": discrimination.auprc(*given),
        "brier": calibration.brier(*given),
        "ece": calibration.expected_calibration_error(*given),
        "calibration_slope": fit.slope,
        "calibration_intercept": fit.intercept,
        "calibration_in_the_large": calibration.calibration_in_the_large(*given),
    }


def undefined(
    label: Array, score: Array, weight: Array, threshold: float | Array = discrimination.THRESHOLD
) -> dict[str, str]:
    """Each of `NAMES` that is NaN -> why, in words; empty if all are defined. Arguments as `figures`, one run.

    >>> undefined(np.ones(3), np.array([0.2, 0.6, 0.7]), np.ones(3))["auroc"]
    'no negative image'

    Raises:
      ValueError: a label is neither 0 nor 1, a weight is negative or not finite, or a score lies outside 0..1.
    """
    check(label, score, weight)
    values = jax.device_get(_figures(label, score, weight, threshold))
    return reasons([name for name in NAMES if np.isnan(values[name])], label, score, weight, threshold)


def reasons(
    names: Sequence[str], label: Array, score: Array, weight: Array, threshold: float | Array = discrimination.THRESHOLD
) -> dict[str, str]:
    """Why these of `NAMES`, which are NaN, are so, in words; the other arguments as `figures`."""
    if not names:
        return {}
    found = _obstacles(label, score, weight, threshold)
    return {
        name: next((why for why in (*_EVERY, *_OBSTACLES[name]) if found[why]), "the fit did not converge")
        for name in names
    }


_figures, _overlap = jax.jit(figures), jax.jit(calibration.overlap)


def _obstacles(label: Array, score: Array, weight: Array, threshold: float | Array) -> dict[str, bool]:
    counted = np.asarray(weight) > 0
    own, scores = np.asarray(label)[counted], np.asarray(score, np.float32)[counted]
    called = scores > np.broadcast_to(np.asarray(threshold, np.float32), counted.shape)[counted]
    return {
        "no image": not own.size,
        "a score is not a number": bool(np.isnan(scores).any()),
        _NO_POSITIVE: not (own == 1).any(),
        _NO_NEGATIVE: not (own == 0).any(),
        _NONE_CALLED: not called.any(),
        _ALL_CALLED: bool(called.all()),
        _SEPARATE: not _overlap(label, score, weight),
    }


def check(label: Array, score: Array, weight: Array) -> None:
    """Raises a ValueError if a label is neither 0 nor 1, a weight negative or not finite, or a score outside 0..1.

    NaN scores pass: the figures are then NaN, and `undefined` says so.
    """
    label, score, weight = np.asarray(label), np.asarray(score, float), np.asarray(weight, float)
    discrimination.arguments(label, score, weight)
    wrong = ~np.isin(label, (0, 1))
    if wrong.any():
        raise ValueError(f"label must be 0 or 1, got {label[wrong][0]}")
    if not (np.isfinite(weight) & (weight >= 0)).all():
        raise ValueError(f"weight must be finite and not negative, got {weight.min()}")
    outside = ((score < 0) | (score > 1)) & (weight > 0)
    if outside.any():
        raise ValueError(f"score must lie in 0..1, got {score[outside][0]}")
