"""Intervals of a metric from its value in draws of patients: normal, on the logit scale, or BCa; `bootstrap` draws."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeAlias

import numpy as np
from scipy import special

from cxrjax.base.codes import code
from cxrjax.metrics.resampled_t import Estimate

_LIMIT = 0.05  # share of draws beyond which no interval is given; AUROC 0.99: 0.6 coverage where 5 to 10 % are at 1


class Draws(NamedTuple):
    """A metric of one run, with others' images."""

    value: float  # of the images as they are
    replicates: np.ndarray  # [D] of each draw of patients
    jackknife: np.ndarray  # [P] without each patient


Limits: TypeAlias = "tuple[float, float, str]"  # low, high, and the code of why they are NaN


def logit_normal(draws: Draws, level: float) -> Limits:
    """expit(logit(value) ± z sd(logit(replicates))), for shares that hardly reach 0 or 1."""
    if not 0 < draws.value < 1:
        return math.nan, math.nan, code("end_of_range", value=f"{draws.value:g}")
    inside = draws.replicates[(draws.replicates > 0) & (draws.replicates < 1)]
    if reason := _obstacle(draws.replicates, inside, "extreme_in_draws"):
        return math.nan, math.nan, reason
    half = float(special.ndtri((1 + level) / 2)) * special.logit(inside).std(ddof=1)
    low, high = special.expit(special.logit(draws.value) + np.array([-half, half]))
    return float(low), float(high), ""


def normal(draws: Draws, level: float) -> Limits:
    """value ± z sd(replicates), for metrics without bounds."""
    defined = draws.replicates[np.isfinite(draws.replicates)]
    if reason := _obstacle(draws.replicates, defined, "undefined_in_draws"):
        return math.nan, math.nan, reason
    half = float(special.ndtri((1 + level) / 2) * defined.std(ddof=1))
    return draws.value - half, draws.value + half, ""


def bca(draws: Draws, level: float) -> Limits:
    """Bias-corrected and accelerated quantiles of the replicates (Efron 1987, JASA 82), whatever the metric's range.

    Half of the replicates equal to the value count as below it. Student's t for the few patients, as in the expanded
    percentile interval (Hesterberg 2015, American Statistician 69).
    """
    defined = np.sort(draws.replicates[np.isfinite(draws.replicates)])
    if reason := _obstacle(draws.replicates, defined, "undefined_in_draws"):
        return math.nan, math.nan, reason
    influence = draws.jackknife.mean() - draws.jackknife
    if not np.isfinite(influence).all():
        return math.nan, math.nan, code("undefined_without_a_patient")
    spread = float(np.sum(influence**2))
    if spread <= 1e-12:  # float32's rounding, squared
        return math.nan, math.nan, code("same_without_any_patient")
    acceleration = float(np.sum(influence**3)) / (6 * spread**1.5)
    below = float((defined < draws.value).mean() + (defined <= draws.value).mean()) / 2
    skewed = code("too_skewed", share=f"{1 - below:.4g}")
    if below in (0.0, 1.0):
        return math.nan, math.nan, skewed
    patients = len(influence)
    z = math.sqrt(patients / (patients - 1)) * float(special.stdtrit(patients - 1, (1 + level) / 2))
    shifted = float(special.ndtri(below)) + np.array([-z, z])
    at = special.ndtr(special.ndtri(below) + shifted / (1 - acceleration * shifted))
    # An end beyond the draws is not known from them; the pole of the correction lies further out still.
    if not (1 / len(defined) <= at[0] < at[1] <= 1 - 1 / len(defined)):
        return math.nan, math.nan, skewed
    low, high = np.quantile(defined, at)
    return float(low), float(high), ""


def no_interval(draws: Draws, level: float) -> Limits:
    """No interval: resampling itself moves the metric."""
    return math.nan, math.nan, code("raised_by_resampling")


def _obstacle(replicates: np.ndarray, used: np.ndarray, otherwise: str) -> str:
    share = 1 - len(used) / len(replicates)
    if share > _LIMIT:
        return code(otherwise, share=f"{share:.4g}")
    return code("same_in_every_draw") if np.ptp(used) <= 1e-6 else ""  # float32's rounding


METHODS: Mapping[str, Callable[[Draws, float], Limits]] = {  # of `Metric.interval`
    "bca": bca,
    "logit": logit_normal,
    "normal": normal,
    "none": no_interval,
}


def estimate(draws: Draws, method: str, level: float) -> Estimate:
    """A metric and its interval, by one of `METHODS`; NaN with a reason where it is undefined, or of one patient."""
    if math.isnan(draws.value):
        return Estimate(math.nan, math.nan, math.nan, code("undefined"))
    if len(draws.jackknife) < 2:
        return Estimate(draws.value, math.nan, math.nan, code("one_patient"))
    return Estimate(draws.value, *METHODS[method](draws, level))
