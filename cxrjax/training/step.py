"""One optimiser step, written for one seed; logits, scores and validation, over the seeds' axis S.

`loop` lifts the step over seeds by `jax.vmap`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias, cast

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh

from cxrjax.base import Array, Params, Variables, devices
from cxrjax.base.numerics import pinned, typed_key
from cxrjax.models import pretrained
from cxrjax.models.transfer import Head
from cxrjax.training import bank as banks
from cxrjax.training.losses import BINARY, Loss, Metrics
from cxrjax.training.plan import SeedData, Workload

CHUNK = 256  # images a call of the head in evaluation, which bounds memory where it holds convolutions
HELD_BYTES = 200_000_000  # of what validation puts into the head that are kept on the device


class Batch(NamedTuple):
    """One step's examples."""

    inputs: Array  # what enters the head: [B, crop, crop] u8 pixels, or [B, ...] f32, the trunk's activations; with a
    # bank on the device [B, 2] i32, its places in the bank's features
    label: Array  # [B] i32, of many labels [B, K] f32, 1, 0 or NaN
    mask: Array  # [B] bool, False: padding


def batch_shapes(shape: tuple[int, ...], each: tuple[int, ...], dtype: Any) -> Batch:
    """Shapes and types of a `Batch` of two classes, to look at programs without its arrays.

    Args:
      shape: of its examples, [B], or [S, t, B] of t steps of S seeds.
      each: shape of what enters the head by one example.
      dtype: of that.
    """
    leaves = ((*shape, *each), dtype), (shape, jnp.int32), (shape, jnp.bool_)
    return Batch(*(cast(Any, jax.ShapeDtypeStruct(*leaf)) for leaf in leaves))


class Constants(NamedTuple):
    """What is the same in all steps of one seed."""

    total_steps: Array | None = None  # [] i32, of its whole training, for schedules
    class_weights: Array | None = None  # of `losses.class_weights`, for that loss


class TrainState(NamedTuple):
    """Everything that training one seed carries from step to step."""

    step: Array  # [] i32, number of steps that held at least one example
    params: Params  # of the head
    opt_state: Any
    key: Array  # [] typed PRNG key of dropout; step t uses fold_in(key, t)
    batch_stats: Params  # of the head: running statistics of BatchNorm, empty where there is none
    constants: Constants = Constants()

    @property
    def variables(self) -> Variables:
        """Of the head."""
        return pretrained.collections(self.params, self.batch_stats)


Step: TypeAlias = "Callable[[TrainState, Batch], tuple[TrainState, Metrics]]"


def init(variables: Variables, optimizer: optax.GradientTransformation, dropout_key: jax.Array) -> TrainState:
    """State before the first step; `variables` are the head's."""
    params, batch_stats = variables["params"], variables.get("batch_stats", {})
    return TrainState(jnp.zeros((), jnp.int32), params, optimizer.init(params), typed_key(dropout_key), batch_stats)


def make_step(head: Head, optimizer: optax.GradientTransformation, loss: Loss = BINARY) -> Step:
    """Builds the step: forward, backward, update. A step without any unmasked example changes no state."""

    optimizer = optax.with_extra_args_support(optimizer)

    def objective(params: Params, state: TrainState, batch: Batch, key: jax.Array) -> Any:
        logits, batch_stats = head(state._replace(params=params).variables, batch.inputs, key, batch.mask)
        mean = loss.mean(logits, batch.label, batch.mask, state.constants.class_weights)
        return mean, (logits, batch_stats)

    @pinned()
    def step(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        key = jax.random.fold_in(state.key, state.step)
        differentiated = jax.value_and_grad(objective, has_aux=True)
        (_, (logits, batch_stats)), gradient = differentiated(state.params, state, batch, key)
        updates, opt_state = optimizer.update(
            gradient, state.opt_state, state.params, step=state.step, total_steps=state.constants.total_steps
        )
        live = jnp.any(batch.mask)
        # A select, not a branch: it fuses into the update, and under vmap a branch would become one anyway.
        params, opt_state, batch_stats = jax.tree.map(
            lambda new, old: jnp.where(live, new, old),
            (optax.apply_updates(state.params, updates), opt_state, batch_stats),
            (state.params, state.opt_state, state.batch_stats),
        )
        new = TrainState(state.step + live, params, opt_state, state.key, batch_stats, state.constants)
        return new, loss.sums(logits, batch.label, batch.mask)

    return step


@functools.partial(jax.jit, static_argnums=0)
@functools.partial(jax.vmap, in_axes=(None, 0, 0))
def _logits(head: Head, variables: Variables, inputs: jax.Array) -> jax.Array:
    return head(variables, inputs, None, None)[0]


@pinned()
def logits(head: Head, variables: Variables, inputs: Array) -> jax.Array:
    """Logits without dropout, each seed's network on its own images.

    Args:
      head: see `transfer.Head`.
      variables: leaves [S, ...].
      inputs: [S, V, ...], what enters the head.

    Returns:
      [S, V, K] f32.
    """
    inputs = jnp.asarray(inputs)
    parts = [_logits(head, variables, inputs[:, i : i + CHUNK]) for i in range(0, inputs.shape[1], CHUNK)]
    return jnp.concatenate(parts, axis=1)


def score_rows(head: Head, loss: Loss, variables: Variables, bank: banks.Bank, rows: np.ndarray) -> np.ndarray:
    """Scores of images of a bank, from slot 0, by one network, [n] f32, of many labels [n, K], see `Loss.score`.

    Calls are filled up to a power of two, so that few programs are compiled.

    Args:
      head: see `transfer.Head`.
      loss: with which it was trained.
      variables: leaves [1, ...].
      bank: what enters the head.
      rows: [n] i32 of the store, at least one.
    """
    size = min(CHUNK, 1 << (len(rows) - 1).bit_length())
    filled = np.resize(rows, (1, -(-len(rows) // size) * size))
    variables = jax.device_put(variables)
    parts = [loss.score(logits(head, variables, x))[0] for x in banks.pieces(bank, filled, size)]
    return np.concatenate(parts)[: len(rows)]


@functools.partial(jax.jit, static_argnums=0)
def evaluate(loss: Loss, logits: Array, label: Array, mask: Array) -> Metrics:
    """Metrics of each seed: logits [S, V, K], labels [S, V] or [S, V, K], mask [S, V] -> leaves [S]."""
    sums: Metrics = jax.vmap(loss.sums)(logits, label, mask)
    return sums


class Validation:
    """The validation images of all seeds; the trunk has run over their centre crops once."""

    def __init__(self, workload: Workload, runs: Sequence[SeedData], mesh: Mesh) -> None:
        """Runs the trunk over the centre crops of S runs, so many that they fill the mesh."""
        trunk, self._head, self._loss, self._mesh = workload.net.trunk, workload.net.head, workload.loss, mesh
        sizes = np.array([[len(run.val)] for run in runs])
        self._rows = np.stack([np.resize(run.val, sizes.max()) for run in runs])  # [S, V] of the store, padded
        self._label = devices.put(mesh, workload.labels[self._rows], devices.SEED)
        self._mask = devices.put(mesh, np.arange(sizes.max()) < sizes, devices.SEED)
        rows = np.unique(self._rows)
        self._centre = banks.build(trunk, workload.pipeline, rows, banks.CENTRE, len(workload.labels), workload.cache)
        # A few hundred images stay on the device; of tens of thousands each epoch reads the bank anew.
        small = self._rows.size * int(np.prod(trunk.shape)) * trunk.dtype.itemsize <= HELD_BYTES
        self._held = list(self._pieces()) if small else None

    def _pieces(self) -> Iterator[jax.Array]:
        """What enters the head, [S, v, ...] at a time."""
        return (devices.put(self._mesh, x, devices.SEED) for x in banks.pieces(self._centre, self._rows, CHUNK))

    def evaluate(self, variables: Variables) -> tuple[np.ndarray, Metrics]:
        """Variables with leaves [S, ...] -> logits [S, V, K] and Metrics leaves [S]."""
        parts = [logits(self._head, variables, piece) for piece in self._held or self._pieces()]
        every = jnp.concatenate(parts, axis=1)
        fetched: tuple[np.ndarray, Metrics] = devices.fetch(
            (every, evaluate(self._loss, every, self._label, self._mask))
        )
        return fetched
