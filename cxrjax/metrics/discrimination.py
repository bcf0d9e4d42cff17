"""How well scores tell the classes apart: decisions at a threshold, and ranks. Pure JAX, written for one run.

Every function takes arrays, lists or pandas Series

    label   [N] 0 or 1, of any type of numbers or bool; 1 is positive
    score   [N] 0..1, compared with the threshold as float32; of ranks any finite numbers, compared as float64
    weight  [N] non-negative multiplicities: an image of weight 2 counts as two equal rows, one of weight 0 is absent
            (padding, whatever its label and score)

and returns a scalar f32, NaN where the metric is undefined (`registry.undefined` says why). Ranks are summed in
float64, as by `cxrjax.metrics.delong`, and rounded at the end, unless the caller has x64 on. An image is called
positive if its score lies above the threshold. What is none of these is a ValueError; inside `jax.jit`, where no value
can be looked at, the metric is NaN. Values do not depend on JAX's configuration. `jax.vmap` over weights alone, as in
`cxrjax.metrics.bootstrap`, sorts the scores once.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from cxrjax.base import Array
from cxrjax.metrics import arguments as given

THRESHOLD = 0.5  # as in the poster


class Counts(NamedTuple):
    """Sums of weights by label and decision, each [] f32."""

    true_pos: jax.Array
    false_pos: jax.Array
    false_neg: jax.Array
    true_neg: jax.Array


def arguments(
    label: Array, score: Array, weight: Array, probabilities: bool = True
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The three as [N]: label and weight f32, score f32, or f64 if it need be no probability.

    Where they are traced and cannot be looked at, a label that counts and is neither 0 nor 1, and a score that is NaN,
    make the weight NaN, and with it every metric.

    Raises:
      ValueError: as `cxrjax.metrics.arguments.checked`.
    """
    label, score, weight = given.checked(label, score, weight, probabilities)
    label, weight = jnp.asarray(label, jnp.float32), jnp.asarray(weight, jnp.float32)
    score = jnp.asarray(score, jnp.float32 if probabilities else jnp.float64)
    wrong = jnp.isnan(score) | ((label != 0) & (label != 1))
    return jnp.where(weight > 0, label, 0), score, jnp.where(wrong & (weight > 0), jnp.nan, weight)


@given.pinned_metric
def counts(label: Array, score: Array, weight: Array, threshold: float | Array = THRESHOLD) -> Counts:
    """The confusion matrix; weights sum exactly up to 2^24 images."""
    label, score, weight = arguments(label, score, weight)
    called, positive = score > jnp.asarray(threshold, jnp.float32), label == 1
    wrong = jnp.isnan(jnp.sum(weight))  # by hand, since XLA makes a choice of NaN times a bool

    def total(chosen: jax.Array) -> jax.Array:
        return jnp.where(wrong, jnp.nan, jnp.sum(weight * chosen))

    return Counts(
        true_pos=total(called & positive),
        false_pos=total(called & ~positive),
        false_neg=total(~called & positive),
        true_neg=total(~called & ~positive),
    )


@given.pinned_metric
def accuracy(label: Array, score: Array, weight: Array, threshold: float | Array = THRESHOLD) -> jax.Array:
    """Share of right decisions, 0..1."""
    tp, fp, fn, tn = counts(label, score, weight, threshold)
    return (tp + tn) / (tp + fp + fn + tn)


@given.pinned_metric
def fp_share(label: Array, score: Array, weight: Array, threshold: float | Array = THRESHOLD) -> jax.Array:
    """False positives as a share of ALL images, as the poster reports them; not the false positive rate."""
    tp, fp, fn, tn = counts(label, score, weight, threshold)
    return fp / (tp + fp + fn + tn)


@given.pinned_metric
def fn_share(label: Array, score: Array, weight: Array, threshold: float | Array = THRESHOLD) -> jax.Array:
    """False negatives as a share of ALL images, as the poster reports them; not the false negative rate."""
    tp, fp, fn, tn = counts(label, score, weight, threshold)
    return fn / (tp + fp + fn + tn)


@given.pinned_metric
def sensitivity(label: Array, score: Array, weight: Array, threshold: float | Array = THRESHOLD) -> jax.Array:
    """Share of positives that are called positive, 0..1; NaN without positives."""
    tp, _, fn, _ = counts(label, score, weight, threshold)
    return tp / (tp + fn)


@given.pinned_metric
def specificity(label: Array, score: Array, weight: Array, threshold: float | Array = THRESHOLD) -> jax.Array:
    """Share of negatives that are called negative, 0..1; NaN without negatives."""
    _, fp, _, tn = counts(label, score, weight, threshold)
    return tn / (tn + fp)


@given.pinned_metric
def ppv(label: Array, score: Array, weight: Array, threshold: float | Array = THRESHOLD) -> jax.Array:
    """Positive predictive value (precision) at the prevalence of these images, 0..1; NaN if none is called positive."""
    tp, fp, _, _ = counts(label, score, weight, threshold)
    return tp / (tp + fp)


@given.pinned_metric
def npv(label: Array, score: Array, weight: Array, threshold: float | Array = THRESHOLD) -> jax.Array:
    """Negative predictive value at the prevalence of these images, 0..1; NaN if none is called negative."""
    _, _, fn, tn = counts(label, score, weight, threshold)
    return tn / (tn + fn)


@given.pinned_metric
def ppv_at(label: Array, score: Array, weight: Array, threshold: float | Array, prevalence: float | Array) -> jax.Array:
    """Positive predictive value where a share `prevalence` (0..1) of images is positive, by Bayes' rule.

    se p / (se p + (1 - sp) (1 - p)) with sensitivity se and specificity sp: images drawn to 43 % positives say little
    of a clinic with 1 %. NaN where se or sp is, or where none is called positive.
    """
    tp, fp, fn, tn = counts(label, score, weight, threshold)
    prevalence = jnp.asarray(prevalence, jnp.float32)
    hit, alarm = prevalence * tp / (tp + fn), (1 - prevalence) * fp / (fp + tn)
    return hit / (hit + alarm)


@given.pinned_metric
def npv_at(label: Array, score: Array, weight: Array, threshold: float | Array, prevalence: float | Array) -> jax.Array:
    """Negative predictive value where a share `prevalence` (0..1) of images is positive; see `ppv_at`."""
    tp, fp, fn, tn = counts(label, score, weight, threshold)
    prevalence = jnp.asarray(prevalence, jnp.float32)
    miss, quiet = prevalence * fn / (tp + fn), (1 - prevalence) * tn / (fp + tn)
    return quiet / (quiet + miss)


@given.pinned_metric
def f1(label: Array, score: Array, weight: Array, threshold: float | Array = THRESHOLD) -> jax.Array:
    """Harmonic mean of PPV and sensitivity, 2 TP / (2 TP + FP + FN); NaN if nothing is or is called positive."""
    tp, fp, fn, _ = counts(label, score, weight, threshold)
    return 2 * tp / (2 * tp + fp + fn)


@given.pinned_metric
def mcc(label: Array, score: Array, weight: Array, threshold: float | Array = THRESHOLD) -> jax.Array:
    """Matthews correlation coefficient of label and decision, -1..1; NaN if either is the same for all images."""
    tp, fp, fn, tn = counts(label, score, weight, threshold)
    # Two square roots: the product of four sums of small weights would leave f32.
    spread = jnp.sqrt((tp + fp) * (tn + fn)) * jnp.sqrt((tp + fn) * (tn + fp))
    return (tp * tn - fp * fn) / spread


class _Ranking(NamedTuple):
    """Images from the highest score to the lowest; weights f64."""

    positive: jax.Array  # [N] weight of each if positive, else 0
    negative: jax.Array  # [N]
    true_pos: jax.Array  # [N + 1] weight of the positives among the first k
    false_pos: jax.Array  # [N + 1]
    above: jax.Array  # [N] i32, how many scores are higher
    at_or_above: jax.Array  # [N] i32, how many are higher or equal


def _ranking(label: Array, score: Array, weight: Array) -> _Ranking:
    label, score, weight = arguments(label, score, weight, probabilities=False)
    label, weight = (jnp.asarray(array, jnp.float64) for array in (label, weight))
    falling, order = jax.lax.sort((-score, jnp.arange(score.size, dtype=jnp.int32)), num_keys=1)
    positive, negative = (weight * label)[order], (weight * (1 - label))[order]
    zero = jnp.zeros(1, jnp.float64)
    return _Ranking(
        positive,
        negative,
        jnp.concatenate([zero, jnp.cumsum(positive)]),
        jnp.concatenate([zero, jnp.cumsum(negative)]),
        jnp.searchsorted(falling, falling, side="left"),
        jnp.searchsorted(falling, falling, side="right"),
    )


@given.pinned_rank
def auroc(label: Array, score: Array, weight: Array) -> jax.Array:
    """Area under the ROC curve, 0..1: P(positive scores above negative) + P(they tie) / 2; NaN of one class.

    The trapezoids under the empirical curve, i.e. the Mann-Whitney statistic (Hanley & McNeil 1982, Radiology 143).
    """
    r = _ranking(label, score, weight)
    higher = (r.true_pos[r.above] + r.true_pos[r.at_or_above]) / (2 * r.true_pos[-1])
    return jnp.sum(r.negative * higher) / r.false_pos[-1]


@given.pinned_rank
def auprc(label: Array, score: Array, weight: Array) -> jax.Array:
    """Average precision, 0..1, the sum over thresholds of (gain in sensitivity) x PPV; NaN without positives.

    As scikit-learn's `average_precision_score`: no interpolation. An uninformative score reaches the prevalence.
    """
    r = _ranking(label, score, weight)
    tp, fp = r.true_pos[r.at_or_above], r.false_pos[r.at_or_above]
    precision = jnp.where(r.positive > 0, tp / (tp + fp), 0.0)  # 0 / 0 where nothing above counts
    return jnp.sum(r.positive * precision) / r.true_pos[-1]
