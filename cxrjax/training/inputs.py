"""What enters the head: the plan of an epoch executed over the mesh, from fresh augmentations or from a bank."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator
from typing import TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from cxrjax.base import devices
from cxrjax.base.types import Array
from cxrjax.models import transfer
from cxrjax.models.augment import crop_flip
from cxrjax.training import bank
from cxrjax.training import plan as planning
from cxrjax.training.plan import Plan, Schedule, SeedData

SEGMENT = 16  # steps whose activations are held at once: 16 x 64 x 9216 x 4 bytes = 38 MB a seed
BANK_SHARE = 3  # a bank of up to a third of an accelerator's memory is resident there
BATCHED = (devices.SEED, None, devices.DATA)  # mesh axes of [S, t, B, ...]


class Waiting:
    """How long the trunk had nothing to do because its next images were not there, of how long in all."""

    def __init__(self) -> None:
        """Begins to count."""
        self._begun, self._seconds = time.monotonic(), 0.0

    def through(self, pixels: Iterator[Array], busy: Callable[[], bool]) -> Iterator[Array]:
        """Passes images on; the time they took counts unless the device still has work (`busy`) when they come."""
        while True:
            begun = time.monotonic()
            try:
                batch = next(pixels)
            except StopIteration:
                return
            if not busy():
                self._seconds += time.monotonic() - begun
            yield batch

    def share(self) -> float:
        """Share of the time so far, 0..1; an upper bound, since work may have ended shortly before the images came."""
        return self._seconds / max(time.monotonic() - self._begun, 1e-9)


Source: TypeAlias = Callable[[Plan, Waiting], Iterator[jax.Array]]
"""(plan [S, T, B], clock) -> what enters the head, [S, t, B, ...], in segments of at most `SEGMENT` steps."""


def planner(runs: list[SeedData], schedule: Schedule, seeds: int, offsets: int) -> Callable[[int], Plan]:
    """Epoch -> plan of all seeds, leaves [S, T, B, ...] in NumPy; a seed that fills the mesh is masked whole."""
    steps = max(planning.steps_per_epoch(len(run.train), schedule.batch_size) for run in runs)
    filler = [runs[0]] * (seeds - len(runs))
    rows = np.stack([planning.fill(run.train, schedule.batch_size, steps) for run in (*runs, *filler)])
    sizes = np.array([len(run.train) for run in runs] + [0] * len(filler), np.int32)
    numbers = np.array([run.seed for run in (*runs, *filler)], np.uint32)

    def planned(epoch: int) -> Plan:
        plan = _draw(
            numbers, rows, sizes, np.int32(epoch), steps, offsets, schedule.augment_bank or None, schedule.flip
        )
        return Plan(*map(np.asarray, plan))

    return planned


@functools.partial(jax.jit, static_argnums=(4, 5, 6, 7))
def _draw(
    numbers: Array, rows: Array, sizes: Array, epoch: Array, steps: int, offsets: int, slots: int | None, flip: bool
) -> Plan:
    """Plans [S, T, B] of seeds [S], whose rows [S, T * B] hold sizes [S] images."""

    def one(number: Array, own: Array, size: Array) -> Plan:
        return planning.draw(jax.random.key(number), epoch, own, size, steps, offsets, slots, flip)

    return jax.vmap(one)(numbers, rows, sizes)


def taught(runs: list[SeedData], labels: np.ndarray, seeds: int) -> np.ndarray:
    """Label with which each seed is trained on each row of the store, [S, N] i32; `labels` [N] are the true ones."""
    given = np.tile(labels, (seeds, 1))
    for own, run in zip(given, runs, strict=False):
        if run.taught is not None:
            own[run.train] = run.taught
    return given


def source(
    trunk: transfer.Trunk,
    feed: bank.Feed,
    runs: list[SeedData],
    schedule: Schedule,
    store_size: int,
    cache: bank.Cache | None,
    mesh: Mesh,
) -> Source:
    """Prepares what the epochs of all runs draw on: the bank, if the schedule has one, is filled here."""
    if not schedule.augment_bank:
        everywhere = trunk._replace(params=jax.tree.map(lambda x: devices.put(mesh, x), trunk.params))
        return lambda plan, waiting: _fresh(everywhere, feed, plan, mesh, waiting)
    rows = np.unique(np.concatenate([run.train for run in runs]))
    filled = _placed(bank.build(trunk, feed, rows, schedule.augment_bank, store_size, cache, schedule.flip))

    def banked(plan: Plan, waiting: Waiting) -> Iterator[jax.Array]:
        for start in range(0, plan.index.shape[1], SEGMENT):
            part = slice(start, start + SEGMENT)
            # Padding points at row 0, which need not be in the bank.
            index = np.where(plan.mask[:, part], plan.index[:, part], rows[0])
            yield devices.put(mesh, bank.gather(filled, index, plan.slot[:, part]), *BATCHED)

    return banked


def _placed(filled: bank.Bank) -> bank.Bank:
    """On an accelerator, where it fits, the bank is resident; a CPU reads the memory map, which it need not copy."""
    if jax.default_backend() == "cpu" or jax.process_count() > 1:
        return filled
    return bank.on_device(filled, devices.memory() // BANK_SHARE)


def _fresh(trunk: transfer.Trunk, feed: bank.Feed, plan: Plan, mesh: Mesh, waiting: Waiting) -> Iterator[jax.Array]:
    """Runs the trunk over the epoch's images, batch by batch in the order of the steps, seeds side by side."""
    seeds, steps, size = plan.index.shape[:3]
    by_step = Plan(*(np.swapaxes(x, 0, 1).reshape(-1, *x.shape[2:]) for x in plan))  # [T * S, B, ...]
    # Every device takes its share of each batch, whatever its place in the mesh; of a batch that does not divide, all.
    axes = ((devices.SEED, devices.DATA),) if size % mesh.size == 0 else ()
    pending: list[jax.Array] = []

    def busy() -> bool:
        return bool(pending) and not pending[-1].is_ready()  # type: ignore[attr-defined]  # missing in jax's stubs

    for pixels in waiting.through(feed(by_step), busy):
        pending.append(trunk(devices.put(mesh, pixels, *axes)))
        if len(pending) == seeds * min(SEGMENT, steps):
            yield _stack(pending, seeds, mesh)
            pending.clear()
    if pending:
        yield _stack(pending, seeds, mesh)


@functools.partial(jax.jit, static_argnums=(1, 2))
def _stack(parts: list[jax.Array], seeds: int, mesh: Mesh) -> jax.Array:
    """t * S arrays [B, ...] in the order of steps -> [S, t, B, ...] over the mesh."""
    stacked = jnp.stack([jnp.stack(parts[seed::seeds]) for seed in range(seeds)])
    return jax.lax.with_sharding_constraint(stacked, NamedSharding(mesh, PartitionSpec(*BATCHED)))


def batches(images: jax.Array, plan: Plan, crop: int) -> Iterator[jax.Array]:
    """The resident pipeline: executes a plan over images [N, side, side] u8 that are on the device.

    Yields:
      [B, crop, crop] u8 for each of the plan's T steps; the same pixels as `tf_input.batches`.
    """
    for index, offset, flip in zip(plan.index, plan.offset, plan.flip, strict=True):
        yield crop_flip(images[index], offset, flip, crop)
