"""What enters the head: the plan of an epoch executed over the mesh, from fresh augmentations or from a bank."""

from __future__ import annotations

import dataclasses
import functools
import importlib.util
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from cxrjax.base import Array, devices
from cxrjax.base.config import install_command
from cxrjax.base.numerics import new_key
from cxrjax.models.augment import AUGMENTATIONS, crop_flip
from cxrjax.models.transfer import Trunk
from cxrjax.training import bank, tf_input
from cxrjax.training import plan as planning
from cxrjax.training.optimizer import Recipe
from cxrjax.training.plan import Pipeline, Plan, SeedData, Variation, Workload

log = logging.getLogger(__name__)

SEGMENT = 16  # steps whose activations are held at once: 16 x 64 x 9216 x 4 bytes = 38 MB a seed
BANK_SHARE = 3  # a bank, and images, of up to a third of an accelerator's memory are resident there
BATCHED = (devices.SEED, None, devices.DATA)  # mesh axes of [S, t, B, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class Resident:
    """Images on the device; the same pixels as `tf_input.TfData`."""

    images: Array  # [N, side, side] u8
    crop: int  # pixels a side of the batches, see `Model.crop`

    def batches(self, plan: Plan) -> Iterator[jax.Array]:
        """See `plan.Pipeline`."""
        for index, offset, flip in zip(plan.index, plan.offset, plan.flip, strict=True):
            yield _cut(self.images, index, offset, flip, self.crop)


@functools.partial(jax.jit, static_argnums=4)
def _cut(images: Array, index: Array, offset: Array, flip: Array, crop: int) -> jax.Array:
    """Rows of the images, cut out, in one call: on a GPU the calls of a batch take longer than its arithmetic."""
    return crop_flip(images[index], offset, flip, crop)


def make_pipeline(name: str, images: np.ndarray, crop: int) -> Pipeline:
    """The pipeline of --input.

    Args:
      name: tfdata or resident.
      images: [N, side, side] u8; may be a memory map.
      crop: pixels a side of the batches, see `Model.crop`.
    """
    return Resident(jnp.asarray(images), crop) if name == "resident" else tf_input.TfData(images, crop)


def default_pipeline(images_bytes: int) -> str:
    """What --input=auto means here: resident where the images take up to a third of an accelerator's memory, elsewhere
    tfdata, or where TensorFlow is not installed, which is logged, resident."""
    if jax.default_backend() != "cpu" and images_bytes <= devices.memory() // BANK_SHARE:
        return "resident"
    if importlib.util.find_spec("tensorflow"):
        return "tfdata"
    log.info("--input=auto: TensorFlow is not installed (`%s`), so the input is resident", install_command("tf"))
    return "resident"


def variation(recipe: Recipe) -> Variation:
    """What a recipe says of training images: of each of `AUGMENTATIONS` its field is the limit, 0 is off."""
    limits = ((name, float(getattr(recipe, name))) for name in AUGMENTATIONS)
    return Variation(recipe.flip, tuple((name, limit) for name, limit in limits if limit))


class InputTimer:
    """How long the trunk had nothing to do because its next images were not there, of how long in all."""

    def __init__(self) -> None:
        """Begins to count."""
        self._start, self._seconds = time.monotonic(), 0.0

    def wrap(self, batches: Iterator[Array], busy: Callable[[], bool]) -> Iterator[Array]:
        """Passes batches on; the time they took counts unless the device still has work (`busy`) when they come."""
        while True:
            start = time.monotonic()
            try:
                pixels = next(batches)
            except StopIteration:
                return
            if not busy():
                self._seconds += time.monotonic() - start
            yield pixels

    def share(self) -> float:
        """Share of the time so far, 0..1; an upper bound, since work may have ended shortly before the images came."""
        return self._seconds / max(time.monotonic() - self._start, 1e-9)


class EpochPlanner:
    """Plans the epochs of all seeds; a seed that fills the mesh is masked whole."""

    def __init__(self, workload: Workload, runs: Sequence[SeedData], real: int) -> None:
        """Of S runs, which fill the mesh; those from `real` on are masked."""
        self._recipe, self._offsets = workload.recipe, workload.net.model.offsets
        batch_size = self._recipe.batch_size
        self.seeds = np.array([run.seed for run in runs], np.uint32)
        self.steps = max(planning.steps_per_epoch(len(run.train), batch_size) for run in runs)
        self._rows = np.stack([planning.fill(run.train, batch_size, self.steps) for run in runs])
        self._sizes = np.array([len(run.train) * (i < real) for i, run in enumerate(runs)], np.int32)

    def plan(self, epoch: int) -> Plan:
        """Leaves [S, T, B, ...] in NumPy."""
        draw = jax.vmap(planning.draw, (0, None, 0, 0, None, None, None, None))
        roots, slots, varied = jax.vmap(new_key)(self.seeds), self._recipe.augment_bank or None, variation(self._recipe)
        plan = draw(roots, np.int32(epoch), self._rows, self._sizes, self.steps, self._offsets, slots, varied)
        in_numpy: Plan = jax.tree.map(np.asarray, plan)
        return in_numpy


def train_labels(runs: Sequence[SeedData], labels: np.ndarray) -> np.ndarray:
    """Label with which each seed is trained on each row of the store, [S, N(, K)]; `labels` are the true ones."""
    by_seed = np.repeat(labels[None], len(runs), axis=0)
    for row, run in zip(by_seed, runs, strict=True):
        if run.train_labels is not None:
            row[run.train] = run.train_labels
    return by_seed


class BankInput(NamedTuple):
    """Activations from a bank."""

    bank: bank.Bank
    filler: int  # a row of the store that is in the bank
    mesh: Mesh

    @property
    def features(self) -> jax.Array | None:
        """What the compiled steps gather from themselves, where the bank is on the devices."""
        return self.bank.features if isinstance(self.bank.features, jax.Array) else None

    def segments(self, plan: Plan, timer: InputTimer) -> Iterator[jax.Array]:
        """What enters the head by a plan [S, T, B]: [S, t, B, ...], in segments of at most `SEGMENT` steps; of a bank
        on the devices the places [S, T, B, 2] of the whole epoch."""
        index = np.where(plan.mask, plan.index, self.filler)  # padding points at row 0, which need not be in the bank
        if self.features is not None:
            yield devices.put(self.mesh, bank.places(self.bank, index, plan.slot), *BATCHED)
            return
        for start in range(0, plan.index.shape[1], SEGMENT):
            part = slice(start, start + SEGMENT)
            yield devices.put(self.mesh, bank.gather(self.bank, index[:, part], plan.slot[:, part]), *BATCHED)


class FreshInput(NamedTuple):
    """The trunk over newly augmented images, batch by batch in the order of the steps, seeds side by side."""

    trunk: Trunk  # parameters on all devices
    pipeline: Pipeline
    mesh: Mesh
    features: None = None  # the steps gather nothing

    def segments(self, plan: Plan, timer: InputTimer) -> Iterator[jax.Array]:
        """As `BankInput.segments`; `timer` counts how long the trunk waits for the pipeline."""
        seeds, steps, size = plan.index.shape[:3]
        by_step = jax.tree.map(lambda x: np.swapaxes(x, 0, 1).reshape(-1, *x.shape[2:]), plan)  # [T * S, B, ...]
        # Every device takes its share of each batch, whatever its place in the mesh; of a batch that does not divide,
        # all.
        axes = ((devices.SEED, devices.DATA),) if size % self.mesh.size == 0 else ()
        pending: list[jax.Array] = []

        def busy() -> bool:
            return bool(pending) and not pending[-1].is_ready()  # type: ignore[attr-defined]  # missing in jax's stubs

        for call, pixels in enumerate(timer.wrap(self.pipeline.batches(by_step), busy)):
            amounts = {name: values[call] for name, values in by_step.amounts.items()}
            placed = jax.tree.map(lambda x: devices.put(self.mesh, x, *axes), (pixels, amounts))
            pending.append(self.trunk(*placed))
            if len(pending) == seeds * min(SEGMENT, steps):
                yield _stack(pending, seeds, self.mesh)
                pending.clear()
        if pending:
            yield _stack(pending, seeds, self.mesh)


def head_input(workload: Workload, runs: Sequence[SeedData], mesh: Mesh) -> BankInput | FreshInput:
    """Prepares what the epochs of all runs draw on: the bank, if the recipe has one, is filled here."""
    _, pipeline, labels, recipe, cache = workload
    trunk = workload.net.trunk
    if not recipe.augment_bank:
        everywhere = trunk._replace(variables=jax.tree.map(lambda x: devices.put(mesh, x), trunk.variables))
        return FreshInput(everywhere, pipeline, mesh)
    rows = np.unique(np.concatenate([run.train for run in runs]))
    filled = bank.build(trunk, pipeline, rows, bank.Slots(recipe.augment_bank, variation(recipe)), len(labels), cache)
    # On an accelerator, where it fits, the bank is resident; a CPU reads the memory map, which it need not copy.
    if mesh.devices.flat[0].platform != "cpu" and jax.process_count() == 1:
        filled = bank.on_device(filled, devices.memory() // BANK_SHARE, mesh)
    return BankInput(filled, int(rows[0]), mesh)


@functools.partial(jax.jit, static_argnums=(1, 2))
def _stack(parts: list[jax.Array], seeds: int, mesh: Mesh) -> jax.Array:
    """t * S arrays [B, ...] in the order of steps -> [S, t, B, ...] over the mesh."""
    stacked = jnp.stack([jnp.stack(parts[seed::seeds]) for seed in range(seeds)])
    return jax.lax.with_sharding_constraint(stacked, NamedSharding(mesh, PartitionSpec(*BATCHED)))
