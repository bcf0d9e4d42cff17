"""Scores of images that were not trained on, vmapped over seeds."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np

from cxrjax.base.types import Array, Params
from cxrjax.models.transfer import Head
from cxrjax.training import bank
from cxrjax.training import sums as metrics
from cxrjax.training.sums import Metrics

CHUNK = 256  # images a call, which bounds memory where the head holds convolutions


@functools.partial(jax.jit, static_argnums=0)
@functools.partial(jax.vmap, in_axes=(None, 0, 0))
def _logits(head: Head, params: Params, images: jax.Array) -> jax.Array:
    return head(params, images, None)


def logits(head: Head, params: Params, images: Array) -> jax.Array:
    """Logits without dropout, each seed's network on its own images.

    Args:
      head: see `step.Head`.
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


def of_rows(head: Head, params: Params, features: bank.Bank, rows: np.ndarray) -> np.ndarray:
    """Probability of pneumonia [n] f32 by one network of the images in `rows` [n] of a bank, from slot 0.

    Calls are filled up to a power of two, so that few programs are compiled.

    Args:
      head: see `step.Head`.
      params: leaves [1, ...].
      features: what enters the head.
      rows: of the store, at least one.
    """
    size = min(CHUNK, 1 << (len(rows) - 1).bit_length())
    filled = np.resize(rows, (1, -(-len(rows) // size) * size))
    params = jax.device_put(params)
    parts = [score(logits(head, params, x))[0] for x in bank.pieces(features, filled, size)]
    return np.concatenate(parts)[: len(rows)]


@jax.jit
def sums(logits: Array, label: Array, mask: Array) -> Metrics:
    """Metrics of each seed: [S, V, K], [S, V], [S, V] -> leaves [S]."""
    return jax.vmap(metrics.from_logits)(logits, label, mask)
