"""Trunk activations of a fixed set of augmentations, computed once and kept in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from cxrjax import plan as planning
from cxrjax.types import Array, Plan

Trunk: TypeAlias = Callable[[Array], jax.Array]
"""[B, 227, 227] u8 -> [B, F] f32."""

Feed: TypeAlias = Callable[[Plan], Iterator[Array]]
"""A pipeline: executes a plan [T, B], yields [B, 227, 227] u8 for each step."""

BATCH = 64  # images a trunk call; 64 keeps a layer's maps near the caches, larger ones are not faster on CPU


class Bank(NamedTuple):
    """Activations by (row of the store, slot)."""

    features: jax.Array  # [n * K, F] f32
    position: np.ndarray  # [N] i32, place of a row among the n, -1: not in the bank
    slots: int  # K


def activations(trunk: Trunk, feed: Feed, plan: Plan) -> np.ndarray:
    """Runs every planned image through the trunk; [number unmasked, F], in the plan's order."""
    parts = [np.asarray(trunk(images))[mask] for images, mask in zip(feed(plan), np.asarray(plan.mask), strict=True)]
    return np.concatenate(parts)


def build(trunk: Trunk, feed: Feed, rows: np.ndarray, slots: int, store_size: int) -> Bank:
    """Computes the activations of all K augmentations (`plan.bank`) of each row.

    Args:
      trunk: see `Trunk`.
      feed: see `Feed`.
      rows: [n] i32, distinct rows of the store.
      slots: K.
      store_size: N, images in the store.
    """
    return Bank(
        jnp.asarray(activations(trunk, feed, _rebatch(planning.bank(rows, slots), BATCH))),
        _positions(rows, store_size),
        slots,
    )


def build_centre(trunk: Trunk, feed: Feed, rows: np.ndarray, store_size: int) -> Bank:
    """Activations of the centre crop of each row, for validation: a bank of one slot."""
    features = activations(trunk, feed, planning.centre(rows, BATCH))
    return Bank(jnp.asarray(features), _positions(rows, store_size), 1)


def gather(bank: Bank, index: Array, slot: Array) -> jax.Array:
    """Activations [..., F] of rows `index` [...] at slots `slot` [...].

    Raises:
      KeyError: if a row is not in the bank.
    """
    position = bank.position[np.asarray(index)]
    if (position < 0).any():
        raise KeyError(f"row {np.asarray(index)[position < 0].flat[0]} of the store is not in the bank")
    return bank.features[position * bank.slots + np.asarray(slot)]


def _positions(rows: np.ndarray, store_size: int) -> np.ndarray:
    position = np.full(store_size, -1, np.int32)
    position[rows] = np.arange(len(rows), dtype=np.int32)
    return position


def _rebatch(plan: Plan, batch_size: int) -> Plan:
    """The same examples in order, `batch_size` a step; the last step is padded with masked ones."""
    count = plan.mask.size
    padded = planning.steps_per_epoch(count, batch_size) * batch_size

    def reshape(x: Array) -> np.ndarray:
        flat = np.asarray(x).reshape(count, *x.shape[2:])
        return np.resize(flat, (padded, *flat.shape[1:])).reshape(-1, batch_size, *flat.shape[1:])

    resized = Plan(*map(reshape, plan))
    return resized._replace(mask=resized.mask & (np.arange(padded) < count).reshape(-1, batch_size))
