"""Trunk activations of a fixed set of augmentations, computed once and kept: in memory, or in a cache on disk."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import jaxlib
import numpy as np

from cxrjax.base import devices, files
from cxrjax.base.types import Array
from cxrjax.models.transfer import Trunk
from cxrjax.storage import array_cache
from cxrjax.training import plan as planning
from cxrjax.training.plan import Plan

log = logging.getLogger(__name__)

Feed: TypeAlias = Callable[[Plan], Iterator[Array]]
"""A pipeline: executes a plan [T, B], yields [B, crop, crop] u8 for each step."""

BATCH = 64  # images a trunk call; 32 were 3 % faster on CPU, 8 the same


class Cache(NamedTuple):
    """Where banks are kept between runs."""

    folder: Path
    hashes: Mapping[int, bytes]  # row of the store -> SHA-256 of its pixels (`store.hash_rows`), part of the keys


class Bank(NamedTuple):
    """Activations by (row of the store, slot)."""

    features: Array  # [M, K, ...], on the device, or a memory map
    position: np.ndarray  # [N] i64, place of a row among the M, -1: not in the bank


def build(
    trunk: Trunk,
    feed: Feed,
    rows: np.ndarray,
    slots: int,
    store_size: int,
    cache: Cache | None = None,
    flip: bool = True,
) -> Bank:
    """Activations of all K augmentations (`plan.bank`) of each row.

    Args:
      trunk: see `Trunk`.
      feed: see `Feed`.
      rows: [n] i32, distinct rows of the store.
      slots: K.
      store_size: N, images in the store.
      cache: what is in there is not computed again, and what is computed goes there; None: kept in memory.
      flip: False: no slot is flipped.
    """
    what = f"bank of {slots}" if flip else f"bank of {slots}, none flipped"
    return _build(
        trunk, feed, rows, lambda some: planning.bank(some, slots, trunk.model.offsets, flip), what, store_size, cache
    )


def build_centre(trunk: Trunk, feed: Feed, rows: np.ndarray, store_size: int, cache: Cache | None = None) -> Bank:
    """Activations of the centre crop of each row, for validation: a bank of one slot. Arguments as `build`."""
    return _build(
        trunk, feed, rows, lambda some: planning.centre(some, 1, trunk.model.centre), "centre crops", store_size, cache
    )


def gather(bank: Bank, index: Array, slot: Array) -> Array:
    """Activations [..., F] of rows `index` [...] at slots `slot` [...].

    Raises:
      KeyError: if a row is not in the bank.
    """
    position = bank.position[np.asarray(index)]
    if (position < 0).any():
        raise KeyError(f"row {np.asarray(index)[position < 0].flat[0]} of the store is not in the bank")
    return bank.features[position, np.asarray(slot)]


def pieces(bank: Bank, index: np.ndarray, size: int) -> Iterator[np.ndarray]:
    """Slot 0 of rows `index` [S, V] in order, [S, at most `size`, ...] at a time: a bank on disk may be any size."""
    for start in range(0, index.shape[1], size):
        part = index[:, start : start + size]
        yield np.asarray(gather(bank, part, np.zeros_like(part)))


def on_device(bank: Bank, budget: int) -> Bank:
    """The bank's own rows on the device if they fit into `budget` bytes, else as it is."""
    rows = np.flatnonzero(bank.position >= 0)
    if len(rows) * bank.features[:1].nbytes > budget:
        return bank
    position = np.full_like(bank.position, -1)
    position[rows] = np.arange(len(rows))
    return Bank(jnp.asarray(bank.features[bank.position[rows]]), position)


def _build(
    trunk: Trunk,
    feed: Feed,
    rows: np.ndarray,
    planned: Callable[[np.ndarray], Plan],
    what: str,
    store_size: int,
    cache: Cache | None,
) -> Bank:
    """Bank of the augmentations that `planned` gives for rows [n]: leaves [n, K, ...]."""
    slots = planned(rows[:1]).index.shape[1]
    shape = (slots, *trunk.shape)

    def compute(places: np.ndarray) -> Iterator[np.ndarray]:
        return _blocks(trunk, feed, planned(rows[places]), what)

    if cache is None or not trunk.identity:
        features, place = np.concatenate(list(compute(np.arange(len(rows))))), np.arange(len(rows))
    else:
        folder = cache.folder / _name(trunk, what)
        features, place = array_cache.ensure(folder, _keys(cache.hashes, rows), shape, trunk.dtype, compute)
    position = np.full(store_size, -1, np.int64)
    position[rows] = place
    return Bank(features, position)


def _blocks(trunk: Trunk, feed: Feed, plan: Plan, what: str) -> Iterator[np.ndarray]:
    """Runs a plan [n, K] through the trunk, whole images at a time; yields [b, K, ...]."""
    count, slots = plan.mask.shape
    each = max(1, BATCH // slots)  # images a trunk call
    calls = planning.steps_per_epoch(count, each)
    batched = Plan(
        *(np.resize(x, (calls * each, *x.shape[1:])).reshape(calls, each * slots, *x.shape[2:]) for x in plan)
    )
    clock = files.Clock(count)
    for call, pixels in enumerate(feed(batched)):
        out = np.asarray(trunk(pixels)).reshape(each, slots, *trunk.shape)
        yield out[: count - call * each]
        done = min((call + 1) * each, count)
        left = clock.tick(done)
        if left:
            log.info("trunk, %s: %d of %d images, %s", what, done, count, left)


def _name(trunk: Trunk, what: str) -> str:
    """Folder of the entries that one trunk, device and compiler compute for one set of slots."""
    # Devices, compilers and convolution libraries round differently: a run must not mix their numbers unseen.
    numerics = [jax.default_backend(), jax.devices()[0].device_kind, jaxlib.__version__, devices.convolution_options()]
    parts = [3, trunk.identity, what, str(trunk.dtype), *numerics]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def _keys(hashes: Mapping[int, bytes], rows: np.ndarray) -> list[bytes]:
    """Row and pixels: the augmentations of a bank are drawn by row."""
    return [hashlib.sha256(np.int64(row).tobytes() + hashes[int(row)]).digest() for row in rows]
