"""Counts of right and wrong decisions as mergeable sums, and the rates they give."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from cxrjax.base.types import Array


class Metrics(NamedTuple):
    """Sums over examples; two of them merge by addition. See `cxrjax.metrics`."""

    loss_sum: Array  # [] f32, nats
    correct: Array  # [] i32
    false_pos: Array  # [] i32
    false_neg: Array  # [] i32
    count: Array  # type: ignore[assignment]  # [] i32; hides tuple.count on purpose


def from_logits(logits: Array, label: Array, mask: Array) -> Metrics:
    """Sums over the unmasked examples of a batch.

    Args:
      logits: [B, K]; class 1 is pneumonia. The decision is the largest logit (for K = 2, a score above 0.5).
      label: [B] i32.
      mask: [B] bool, False: does not count.
    """
    loss = optax.softmax_cross_entropy_with_integer_labels(logits, label)
    decision = jnp.argmax(logits, axis=-1)
    return Metrics(
        loss_sum=jnp.sum(loss, where=mask),
        correct=jnp.sum(decision == label, where=mask),
        false_pos=jnp.sum((decision == 1) & (label != 1), where=mask),
        false_neg=jnp.sum((decision != 1) & (label == 1), where=mask),
        count=jnp.sum(jnp.asarray(mask, jnp.int32)),
    )


def merge(a: Metrics, b: Metrics) -> Metrics:
    """Sums over the examples of both."""
    return jax.tree.map(jnp.add, a, b)


def loss(sums: Metrics) -> Array:
    """Mean cross-entropy in nats; NaN of no examples."""
    return sums.loss_sum / sums.count


def accuracy(sums: Metrics) -> Array:
    """Share of right decisions, 0..1; NaN of no examples."""
    return sums.correct / sums.count


def fp_share(sums: Metrics) -> Array:
    """False positives as a share of ALL examples, as the poster reports them; not the false positive rate."""
    return sums.false_pos / sums.count


def fn_share(sums: Metrics) -> Array:
    """False negatives as a share of ALL examples, as the poster reports them; not the false negative rate."""
    return sums.false_neg / sums.count
