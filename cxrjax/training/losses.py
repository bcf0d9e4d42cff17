"""Losses: what a step descends, the sums of the learning curves, and the scores, of two classes and of many labels."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from cxrjax.base import Array, InputError
from cxrjax.base.numerics import pinned
from cxrjax.base.recipes import LOSSES


class Metrics(NamedTuple):
    """Sums over decisions: one an image, of many labels one for each known label. Two of them merge by addition."""

    loss_sum: Array  # [] f32, nats, cross-entropy without weights, whatever the loss
    correct: Array  # [] i32
    count: Array  # type: ignore[assignment]  # [] i32; hides tuple.count on purpose

    @property
    def loss(self) -> Array:
        """Mean cross-entropy of a decision in nats, ln 2 by chance; NaN of none."""
        return self.loss_sum / self.count

    @property
    def accuracy(self) -> Array:
        """Share of right decisions, 0..1; NaN of none."""
        return self.correct / self.count


def merge(a: Metrics, b: Metrics) -> Metrics:
    """Sums over the decisions of both."""
    return jax.tree.map(jnp.add, a, b)


@dataclasses.dataclass(frozen=True)
class Loss:
    """Cross-entropy, by a softmax of two classes or by a sigmoid for each of many labels, weighted as `name` says.

    cross_entropy: without weights. Of many labels the binary cross-entropies are summed, as CheXNet's 14 are
    (Rajpurkar et al. 2017, arXiv:1711.05225).
    class_weights: positives weigh |N| / (|P| + |N|), negatives |P| / (|P| + |N|), of each label by the run's training
    images (CheXNet's loss of pneumonia alone).
    w_cel: positives weigh (|P| + |N|) / |P|, negatives (|P| + |N|) / |N|, by all labels of a batch together (Wang et
    al. 2017, arXiv:1705.02315, section 4.1).

    All are means over the images of a batch. An unknown label, NaN, is masked: it has no loss and no gradient.
    """

    multilabel: bool = False  # labels are [B, K] f32, 1, 0 or NaN; else [B] i32, 0..1, of logits [B, 2]
    name: str = "cross_entropy"

    def __post_init__(self) -> None:
        """Refuses an unknown name."""
        if self.name not in LOSSES:
            raise InputError(f"--loss must be one of {', '.join(LOSSES)}, got {self.name!r}")

    @pinned()
    def mean(self, logits: Array, label: Array, mask: Array, class_weights: Array | None = None) -> jax.Array:
        """What a step descends, [] f32, nats; 0 if all is masked.

        The last, partial batch is averaged over its own size, as Keras and PyTorch do.

        Args:
          logits: [B, K] f32, of two classes K = 2.
          label: [B] i32 or [B, K] f32.
          mask: [B] bool, False: does not count.
          class_weights: of `class_weights`, see the function of that name.
        """
        each, counts = self._each(logits, label), self._counts(label, mask)
        if self.name != "cross_entropy":
            weights = _batch_weights(label, counts) if self.name == "w_cel" else jnp.asarray(class_weights)
            of_absent, of_present = (jnp.broadcast_to(weight, each.shape) for weight in weights)
            each = each * jnp.where(jnp.asarray(label) == 1, of_present, of_absent)
        return jnp.sum(each, where=counts) / jnp.maximum(jnp.sum(mask), 1)

    @pinned()
    def sums(self, logits: Array, label: Array, mask: Array) -> Metrics:
        """Sums over the unmasked decisions of a batch; right is the larger logit, of many labels its sign."""
        decision = jnp.asarray(logits) > 0 if self.multilabel else jnp.argmax(logits, axis=-1)
        counts = self._counts(label, mask)
        return Metrics(
            loss_sum=jnp.sum(self._each(logits, label), where=counts),
            correct=jnp.sum(decision == label, where=counts),
            count=jnp.sum(jnp.asarray(counts, jnp.int32)),
        )

    def score(self, logits: Array) -> jax.Array:
        """Probability of the positive class (1), [..., 2] -> [...]; of many labels of each, [..., K]; 0..1."""
        return jax.nn.sigmoid(logits) if self.multilabel else jax.nn.softmax(logits, axis=-1)[..., 1]

    def _each(self, logits: Array, label: Array) -> jax.Array:
        """Cross-entropy of each decision in nats, [B] or [B, K], of an unknown label some finite number."""
        if self.multilabel:
            return optax.sigmoid_binary_cross_entropy(jnp.asarray(logits), jnp.nan_to_num(label))
        return optax.softmax_cross_entropy_with_integer_labels(logits, label)

    def _counts(self, label: Array, mask: Array) -> Array:
        """Which decisions count, [B] or [B, K] bool."""
        return ~jnp.isnan(label) & jnp.asarray(mask)[:, None] if self.multilabel else mask


BINARY = Loss()


def class_weights(label: np.ndarray) -> np.ndarray:
    """Weights of the negatives and of the positives of a run's training labels, [2] f32, of many labels [2, K].

    Args:
      label: [n] i32 or [n, K] f32, NaN unknown.

    >>> class_weights(np.array([1, 0, 0, 0]))  # the rarer class weighs more
    array([0.25, 0.75], dtype=float32)
    """
    positives, negatives = (np.sum(label == value, axis=0) for value in (1, 0))
    return np.array([positives, negatives], np.float32) / np.maximum(positives + negatives, 1).astype(np.float32)


def _batch_weights(label: Array, counts: Array) -> jax.Array:
    """Of W-CEL, [2] f32: of negatives and positives."""
    positives = jnp.sum(jnp.asarray(label) == 1, where=counts)
    total = jnp.sum(jnp.asarray(counts, jnp.int32))
    return total / jnp.maximum(jnp.stack([total - positives, positives]), 1)
