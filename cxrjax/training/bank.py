"""Trunk activations of a fixed set of augmentations, computed once and kept: in memory, or in a cache on disk."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import jax
import jaxlib
import numpy as np
from jax.sharding import Mesh

from cxrjax.base import Array, devices, progress
from cxrjax.models.model import Model
from cxrjax.models.transfer import Trunk
from cxrjax.storage import array_cache
from cxrjax.training import plan as planning
from cxrjax.training.plan import PLAIN, Pipeline, Plan, Variation

BATCH = 64  # images a trunk call; 32 were 3 % faster on CPU, 8 the same


class Cache(NamedTuple):
    """Where banks are kept between runs."""

    folder: Path
    hashes: Mapping[int, bytes]  # row of the store -> SHA-256 of its pixels (`store.hash_rows`), part of the keys


class Bank(NamedTuple):
    """Activations by (row of the store, slot)."""

    features: Array  # [M, K, ...], on the device, or a memory map
    position: np.ndarray  # [N] i64, place of a row among the M, -1: not in the bank


class Slots(NamedTuple):
    """The augmentations of each image that a bank holds."""

    number: int  # K of `plan.bank`; 0: the centre crop alone
    variation: Variation = PLAIN

    def __str__(self) -> str:
        """Part of a folder's name in the cache, and what the log says."""
        if not self.number:
            return "centre crops"
        parts = [f"bank of {self.number}", *([] if self.variation.flip else ["none flipped"])]
        return ", ".join([*parts, *(f"{name} {limit!r}" for name, limit in self.variation.limits)])

    def plan(self, rows: np.ndarray, model: Model) -> Plan:
        """Plan of rows [n] for a network's crop, leaves [n, K, ...]."""
        if not self.number:
            return planning.centre(rows, 1, model.centre)
        return planning.bank(rows, self.number, model.offsets, self.variation)


CENTRE = Slots(0)


def build(
    trunk: Trunk,
    pipeline: Pipeline,
    rows: np.ndarray,
    slots: Slots,
    store_size: int,
    cache: Cache | None = None,
    batch_size: int = BATCH,
) -> Bank:
    """Activations of some augmentations of each row.

    Args:
      trunk: the frozen layers.
      pipeline: of the store's images.
      rows: [n] i32, distinct rows of the store.
      slots: which augmentations; `CENTRE`: for validation.
      store_size: N, images in the store.
      cache: what is in there is not computed again, and what is computed goes there; None: kept in memory.
      batch_size: images a trunk call, the last of which is filled up; another one may round differently.
    """
    compute = functools.partial(_compute, trunk, pipeline, rows, slots, batch_size)
    if cache is None or not trunk.identity:
        features, place = np.concatenate(list(compute(np.arange(len(rows))))), np.arange(len(rows))
    else:
        shape = (max(1, slots.number), *trunk.shape)
        folder = cache.folder / _folder_name(trunk, slots)
        features, place = array_cache.ensure(folder, _keys(cache.hashes, rows), shape, trunk.dtype, compute)
    position = np.full(store_size, -1, np.int64)
    position[rows] = place
    return Bank(features, position)


def missing(trunk: Trunk, rows: np.ndarray, slots: Slots, cache: Cache) -> int:
    """How many of some rows the cache does not hold."""
    return demand(trunk, rows, slots, cache)[0] // _entry(trunk, slots)


def _entry(trunk: Trunk, slots: Slots) -> int:
    """Bytes of an image's activations."""
    return max(1, slots.number) * int(np.prod(trunk.shape)) * trunk.dtype.itemsize


def demand(trunk: Trunk, rows: np.ndarray, slots: Slots, cache: Cache) -> tuple[int, int]:
    """Bytes that `build` would add to the cache, and bytes that are free for them, see `array_cache.demand`."""
    shape = (max(1, slots.number), *trunk.shape)
    return array_cache.demand(cache.folder / _folder_name(trunk, slots), _keys(cache.hashes, rows), shape, trunk.dtype)


def places(bank: Bank, index: Array, slot: Array) -> np.ndarray:
    """Where rows `index` [...] at slots `slot` [...] lie in the bank's features, [..., 2] i32.

    Raises:
      KeyError: if a row is not in the bank.
    """
    position = bank.position[np.asarray(index)]
    if (position < 0).any():
        raise KeyError(f"row {np.asarray(index)[position < 0].flat[0]} of the store is not in the bank")
    return np.stack([position, np.asarray(slot)], axis=-1).astype(np.int32)


def gather(bank: Bank, index: Array, slot: Array) -> Array:
    """Activations [..., F] of rows `index` [...] at slots `slot` [...]; raises as `places`."""
    return bank.features[tuple(np.moveaxis(places(bank, index, slot), -1, 0))]


def pieces(bank: Bank, index: np.ndarray, size: int) -> Iterator[np.ndarray]:
    """Slot 0 of rows `index` [S, V] in order, [S, at most `size`, ...] at a time: a bank on disk may be any size."""
    for start in range(0, index.shape[1], size):
        part = index[:, start : start + size]
        yield np.asarray(gather(bank, part, np.zeros_like(part)))


def on_device(bank: Bank, budget: int, mesh: Mesh) -> Bank:
    """The bank's own rows on every device of the mesh if they fit into `budget` bytes, else as it is."""
    rows = np.flatnonzero(bank.position >= 0)
    if len(rows) * bank.features[:1].nbytes > budget:
        return bank
    position = np.full_like(bank.position, -1)
    position[rows] = np.arange(len(rows))
    return Bank(devices.put(mesh, bank.features[bank.position[rows]]), position)


def _compute(
    trunk: Trunk, pipeline: Pipeline, rows: np.ndarray, slots: Slots, batch_size: int, places: np.ndarray
) -> Iterator[np.ndarray]:
    """Entries of `rows[places]` through the trunk, whole images at a time; yields [b, K, ...]."""
    plan = slots.plan(rows[places], trunk.model)
    count, each_slots = plan.mask.shape
    each = max(1, batch_size // each_slots)  # images a trunk call
    calls = planning.steps_per_epoch(count, each)
    batched: Plan = jax.tree.map(
        lambda x: np.resize(x, (calls * each, *x.shape[1:])).reshape(calls, each * each_slots, *x.shape[2:]), plan
    )
    with progress.stage(f"trunk, {slots}", count, "images") as bar:
        for call, pixels in enumerate(pipeline.batches(batched)):
            amounts = {name: values[call] for name, values in batched.amounts.items()}
            out = np.asarray(trunk(pixels, amounts)).reshape(each, each_slots, *trunk.shape)
            yield out[: count - call * each]
            bar.advance(min(each, count - call * each))


def _folder_name(trunk: Trunk, slots: Slots) -> str:
    """Folder of the entries that one trunk, device and compiler compute for one set of slots."""
    # Devices, compilers and convolution libraries round differently: a run must not mix their numbers unseen.
    numerics = [jax.default_backend(), jax.devices()[0].device_kind, jaxlib.__version__, devices.convolution_options()]
    # So do settings of JAX's; their defaults add nothing, so that entries of before are found.
    settings = {name: jax.config.values[f"jax_{name}"] for name in ("disable_jit", "default_matmul_precision")}
    numerics += [f"{name}={value}" for name, value in settings.items() if value]
    parts = [3, trunk.identity, str(slots), str(trunk.dtype), *numerics]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def _keys(hashes: Mapping[int, bytes], rows: np.ndarray) -> list[bytes]:
    """Row and pixels: the augmentations of a bank are drawn by row."""
    return [hashlib.sha256(np.int64(row).tobytes() + hashes[int(row)]).digest() for row in rows]
