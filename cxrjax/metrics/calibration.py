"""Whether scores are right as probabilities. Pure JAX, written for one run.

Arguments, weights and NaN as in `cxrjax.metrics.discrimination`.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from cxrjax.base import Array
from cxrjax.metrics.arguments import pinned_metric
from cxrjax.metrics.discrimination import arguments

BINS = 10
# Scores are kept this far from 0 and 1, whose logit is infinite; 1 - CLIP is exact in float32: |logit| <= 13.9.
CLIP = 2.0**-20
_STEPS = 100  # of Newton; 5 to 12 are usual
_SMALL = 1e-4  # relative change of the largest logit that ends Newton: convergence is quadratic, so the next is tiny


class Recalibration(NamedTuple):
    """logit P(label = 1) = intercept + slope logit(score); 0 and 1 where scores are calibrated."""

    intercept: jax.Array  # [] f32
    slope: jax.Array  # [] f32; below 1: scores too extreme (over-fitted), above 1: too timid


@pinned_metric
def brier(label: Array, score: Array, weight: Array) -> jax.Array:
    """Mean squared difference of score and label, 0..1 (Brier 1950); a constant score of 1/2 reaches 0.25."""
    label, score, weight = arguments(label, score, weight)
    return jnp.sum(jnp.where(weight == 0, 0.0, weight * (score - label) ** 2)) / jnp.sum(weight)


@pinned_metric
def expected_calibration_error(label: Array, score: Array, weight: Array, bins: int = BINS) -> jax.Array:
    """Mean over images of |share of positives - mean score| of the image's bin, 0..1 (Naeini 2015, AAAI).

    `bins` of equal width, (k / bins, (k + 1) / bins], the first with 0 in it, as in scikit-learn's `calibration_curve`.
    Chance alone keeps it above 0: with n images in a bin by some 0.4 / sqrt(n) at a score of 1/2.
    """
    label, score, weight = arguments(label, score, weight)
    inner = jnp.linspace(0, 1, bins + 1, dtype=jnp.float32)[1:-1]
    member = jax.nn.one_hot(jnp.searchsorted(inner, score, side="left"), bins, dtype=jnp.float32)  # [N, bins]
    excess = jnp.where(weight == 0, 0.0, weight * (label - score))
    return jnp.sum(jnp.abs(jnp.matmul(excess, member, precision="highest"))) / jnp.sum(weight)


@pinned_metric
def overlap(label: Array, score: Array, weight: Array) -> jax.Array:
    """Whether the scores of the two classes overlap, [] bool, without which no slope is the likeliest.

    With one covariate the estimate of a logistic regression exists if and only if each class has a value below the
    highest of the other (Albert & Anderson 1984, Biometrika 71): not under separation, nor with one score or class.
    """
    label, score, weight = arguments(label, score, weight)
    x, positive, negative = logit(score), (weight > 0) & (label == 1), (weight > 0) & (label != 1)
    low = [jnp.min(x, where=own, initial=jnp.inf) for own in (positive, negative)]
    high = [jnp.max(x, where=own, initial=-jnp.inf) for own in (positive, negative)]
    return (low[0] < high[1]) & (low[1] < high[0])


def logit(score: Array) -> jax.Array:
    """log(s / (1 - s)) of scores kept `CLIP` away from 0 and 1."""
    clipped = jnp.clip(score, CLIP, 1 - CLIP)
    return jnp.log(clipped) - jnp.log1p(-clipped)


@pinned_metric
def recalibration(label: Array, score: Array, weight: Array) -> Recalibration:
    """Calibration intercept and slope: logistic regression of the label on logit(score) (Cox 1958, Biometrika 45).

    Maximum likelihood. NaN if the classes' scores do not overlap, or if Newton has not converged.
    """
    defined = overlap(label, score, weight)
    label, score, weight = arguments(label, score, weight)
    share = weight / jnp.sum(weight)
    x = jnp.where(weight == 0, 0.0, logit(score))
    mean = jnp.sum(share * x)
    sd = jnp.sqrt(jnp.sum(share * (x - mean) ** 2))
    x = jnp.where(weight == 0, 0.0, (x - mean) / sd)
    at = _maximum(x, jnp.zeros_like(x), label, share, defined, slope_free=True)
    return Recalibration(at[0] - at[1] * mean / sd, at[1] / sd)


@pinned_metric
def calibration_in_the_large(label: Array, score: Array, weight: Array) -> jax.Array:
    """Calibration intercept with the slope held at 1: what must be added to every logit(score) to fit the share of
    positives; 0 where that is right, above 0 where scores are too low. NaN of one class."""
    label, score, weight = arguments(label, score, weight)
    share = weight / jnp.sum(weight)
    positives = jnp.sum(share * label)
    offset = jnp.where(weight == 0, 0.0, logit(score))
    defined = (positives > 0) & (positives < 1)
    return _maximum(jnp.zeros_like(offset), offset, label, share, defined, slope_free=False)[0]


def _maximum(
    x: jax.Array, offset: jax.Array, label: jax.Array, share: jax.Array, defined: jax.Array, slope_free: bool
) -> jax.Array:
    """Intercept and slope [2] of the likeliest logistic regression, eta = offset + intercept + slope x, by Newton.

    Newton's full step may overshoot. Along any direction the third derivative is at most c times the second, c the
    largest change of an eta, so that log(1 + c) / c of the step always climbs (Sun & Tran-Dinh 2019, Math. Programming
    178, generalised self-concordance), if slowly where some eta are large. So the likeliest is taken of the full step,
    the sure one, and their geometric mean. NaN if Newton has not converged.

    Args:
      x: [N], of mean 0 and SD 1, so that f32 is enough.
      offset: [N].
      label: [N], 0 or 1.
      share: [N], of sum 1.
      defined: [] bool, False: NaN at once.
      slope_free: False: the slope stays 0.
    """

    def newton(at: jax.Array) -> jax.Array:
        eta = offset + at[0] + at[1] * x
        p, q = jax.nn.sigmoid(eta), jax.nn.sigmoid(-eta)  # no 1 - p, which cancels
        rest, spread = share * jnp.where(label == 1, q, -p), share * p * q
        # About the mean by `spread` the equations of the two coefficients part.
        centre = jnp.sum(spread * x) / jnp.sum(spread)
        pull = jnp.sum(rest * (x - centre))
        slope = pull / jnp.sum(spread * (x - centre) ** 2) if slope_free else jnp.float32(0)
        return jnp.stack([jnp.sum(rest) / jnp.sum(spread) - slope * centre, slope])

    def likelihood(at: jax.Array) -> jax.Array:
        eta = offset + at[0] + at[1] * x
        return jnp.sum(share * jax.nn.log_sigmoid(jnp.where(label == 1, eta, -eta)))

    def change(step: jax.Array) -> jax.Array:
        return jnp.max(jnp.abs(step[0] + step[1] * x), where=share > 0, initial=0.0)

    def converged(at: jax.Array, step: jax.Array) -> jax.Array:
        largest = jnp.max(jnp.abs(offset + at[0] + at[1] * x), where=share > 0, initial=0.0)
        return change(step) <= _SMALL * (1 + largest)  # quadratic: after the step to come none would count

    def advance(state: tuple[jax.Array, jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array, jax.Array]:
        number, at, step = state
        sure = jnp.log1p(change(step)) / jnp.maximum(change(step), 1e-30)
        tried = at[None] + jnp.stack([jnp.float32(1), jnp.sqrt(sure), sure])[:, None] * step[None]
        at = tried[jnp.argmax(jnp.nan_to_num(jax.vmap(likelihood)(tried), nan=-jnp.inf))]
        return number + 1, at, newton(at)

    def unfinished(state: tuple[jax.Array, jax.Array, jax.Array]) -> jax.Array:
        number, at, step = state
        return (number < _STEPS) & ~converged(at, step) & jnp.isfinite(step).all() & defined

    start = jnp.zeros(2, jnp.float32)
    _, at, step = jax.lax.while_loop(unfinished, advance, (jnp.int32(0), start, newton(start)))
    return jnp.where(defined & converged(at, step), at + step, jnp.nan)
