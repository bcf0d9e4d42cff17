"""Scores of images that were not trained on, vmapped over seeds."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp

from cxrjax import metrics
from cxrjax.train import Head
from cxrjax.types import Array, Metrics, Params

CHUNK = 256  # images a call, which bounds memory where the head holds convolutions


@functools.partial(jax.jit, static_argnums=0)
@functools.partial(jax.vmap, in_axes=(None, 0, 0))
def _logits(head: Head, params: Params, images: jax.Array) -> jax.Array:
    return head(params, images, None)


def logits(head: Head, params: Params, images: Array) -> jax.Array:
    """Logits without dropout, each seed's network on its own images.

    Args:
      head: see `train.Head`.
      params: leaves [S, ...].
      images: [S, V, ...], what enters the head.

    Returns:
      [S, V, K] f32.
    """
    images = jnp.asarray(images)
    parts = [_logits(head, params, images[:, i : i + CHUNK]) for i in range(0, images.shape[1], CHUNK)]
    return jnp.concatenate(parts, axis=1)


def score(logits: Array) -> jax.Array:
    """Probability of pneumonia, [..., K] -> [...], 0..1."""
    return jax.nn.softmax(logits, axis=-1)[..., 1]


@jax.jit
def sums(logits: Array, label: Array, mask: Array) -> Metrics:
    """Metrics of each seed: [S, V, K], [S, V], [S, V] -> leaves [S]."""
    return jax.vmap(metrics.from_logits)(logits, label, mask)
