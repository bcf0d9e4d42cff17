"""The loop over epochs: trunk, head steps, validation, history. The only place that knows the seeds' axis S.

The trunk (layers before `retrain_from`) is frozen: it runs forward only and all seeds share it. The head holds the
retrained layers and carries the axis S. An epoch is: trunk over the epoch's augmented images, then head steps over
the resulting activations.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from cxrjax.base import devices, files
from cxrjax.base.types import Array, InputError, Params
from cxrjax.models.transfer import Network
from cxrjax.training import bank, evaluate, inputs
from cxrjax.training import plan as planning
from cxrjax.training import step as train
from cxrjax.training import sums as metrics
from cxrjax.training.plan import Plan, Schedule, SeedData
from cxrjax.training.step import Batch, TrainState
from cxrjax.training.sums import Metrics

log = logging.getLogger(__name__)

HELD_BYTES = 200_000_000  # of what validation puts into the head that are kept on the device

Advance: TypeAlias = Callable[[TrainState, Batch], tuple[TrainState, Metrics]]
"""(states with leaves [S, ...], Batch leaves [S, t, B, ...]) -> states, Metrics leaves [S]: t steps of all seeds."""


class History(NamedTuple):
    """Learning curves. Training figures are running ones, with dropout and augmentation on, as Keras reports."""

    train_loss: np.ndarray  # [S, E] f32, nats
    train_accuracy: np.ndarray  # [S, E] f32, 0..1
    val_loss: np.ndarray
    val_accuracy: np.ndarray


class Progress(NamedTuple):
    """Training after some epochs; all that is needed to go on."""

    epochs: int
    states: TrainState  # leaves [S, ...]
    history: History
    waited: float = 0.0  # share of the last epoch's training, 0..1, in which it waited for input


class Fitted(NamedTuple):
    """What training gave."""

    params: Params  # head, leaves [S, ...], NumPy
    history: History
    val_logits: list[np.ndarray]  # of each seed [v, K], after the last epoch


class Diverged(InputError):
    """The training loss is not finite; `progress` of the seeds from `first_seed` on ends with that epoch."""

    def __init__(self, progress: Progress, first_seed: int, seeds: list[int]) -> None:
        """`seeds` are those whose loss is not finite."""
        named = ", ".join(map(str, seeds))
        super().__init__(
            f"seed {named}: the training loss is not finite in epoch {progress.epochs}; "
            "a smaller --learning_rate, with --overwrite, may help"
        )
        self.progress = progress
        self.first_seed = first_seed


def fit(
    net: Network,
    feed: bank.Feed,
    labels: np.ndarray,
    runs: list[SeedData],
    schedule: Schedule,
    cache: bank.Cache | None = None,
    resume: Any = None,
    on_epoch: Callable[[Progress], None] = lambda progress: None,
) -> Fitted:
    """Trains all runs side by side, as one program over all devices.

    Args:
      net: see `network`.
      feed: pipeline over the store's images.
      labels: [N] i32, label of each row of the store; a run may be taught others, see `SeedData`.
      runs: S of them.
      schedule: see `Schedule`.
      cache: where the trunk's activations are kept; None: in memory.
      resume: where an interrupted fit had come to, as `pack` wrote it.
      on_epoch: called after every epoch.

    Raises:
      Diverged: if the loss is no longer finite.
    """
    optimiser = optax.sgd(schedule.learning_rate, schedule.momentum or None)
    mesh = devices.mesh(len(runs), schedule.batch_size)
    drawn = inputs.planner(runs, schedule, devices.padded(len(runs), mesh), net.model.offsets)
    step_all = advance(net, optimiser)
    source = inputs.source(net.trunk, feed, runs, schedule, len(labels), cache, mesh)
    check = _validation(net, feed, labels, runs, cache, mesh)
    taught = inputs.taught(runs, labels, devices.padded(len(runs), mesh))
    reached = _begin(net, optimiser, runs, mesh) if resume is None else _unpack(resume, net, optimiser, runs, mesh)
    del resume  # 2 GB of ten seeds
    for epoch in range(reached.epochs, schedule.epochs):
        plan, waiting = drawn(epoch), inputs.Waiting()
        states, sums = _epoch(step_all, source(plan, waiting), plan, taught, reached.states, mesh)
        waited = waiting.share()
        _, val_sums = check(states.params)
        reached = Progress(epoch + 1, states, _extend(reached.history, sums, val_sums), waited)
        _refuse_divergence(reached, runs)
        on_epoch(reached)
    val_logits, _ = check(reached.states.params)
    trimmed = [x[: len(run.val)] for x, run in zip(val_logits, runs, strict=False)]
    return Fitted(_first(devices.fetch(reached.states.params), len(runs)), reached.history, trimmed)


def _first(tree: Any, seeds: int) -> Any:
    """Without the masked seeds that fill the mesh."""
    return jax.tree.map(lambda x: x[:seeds], tree)


def _begin(net: Network, optimiser: optax.GradientTransformation, runs: list[SeedData], mesh: Mesh) -> Progress:
    filler = [runs[0].seed] * (devices.padded(len(runs), mesh) - len(runs))
    numbers = np.array([*(run.seed for run in runs), *filler], np.uint32)
    over_seeds = NamedSharding(mesh, PartitionSpec(devices.SEED))
    states = jax.jit(initial_states(net, optimiser), out_shardings=over_seeds)(numbers)
    nothing = np.zeros((len(runs), 0), np.float32)
    return Progress(0, states, History(*[nothing] * 4))


def initial_states(net: Network, optimiser: optax.GradientTransformation) -> Callable[[Array], TrainState]:
    """Seeds [S] -> their states before the first step, leaves [S, ...]."""

    def one(number: Array) -> TrainState:
        root = jax.random.key(number)
        params = net.initial(planning.stream(root, planning.INITIAL_WEIGHTS))
        return train.init(params, optimiser, planning.stream(root, planning.DROPOUT))

    return jax.vmap(one)


def advance(net: Network, optimiser: optax.GradientTransformation) -> Advance:
    """Compiles several steps of all seeds; the states that go in are given up (donated).

    Dense heads: one `lax.scan` under one `vmap`. Batch 64, fc6, 2 idle CPU cores, ms a step and seed: 121 (one seed
    118), with `lax.map` over three seeds 125. A convolution in a scan is up to 9 times slower on CPU (jax#12868), so a
    head that holds some is stepped from Python.
    """
    step = train.make_step(net.head, optimiser)

    def scanned(state: TrainState, batches: Batch) -> tuple[TrainState, Metrics]:
        state, sums = jax.lax.scan(step, state, batches)
        return state, jax.tree.map(lambda x: x.sum(axis=0), sums)

    if net.dense:
        return jax.jit(_over_seeds(scanned), donate_argnums=0)
    single = jax.jit(_over_seeds(step), donate_argnums=0, compiler_options=devices.convolution_options())

    def stepped(states: TrainState, batches: Batch) -> tuple[TrainState, Metrics]:
        parts = []
        for t in range(batches.label.shape[1]):
            states, sums = single(states, jax.tree.map(lambda x, t=t: x[:, t], batches))
            parts.append(sums)
        return states, functools.reduce(metrics.merge, parts)

    return stepped


def _over_seeds(function: Advance) -> Advance:
    """`jax.vmap`; one seed is taken out of its axis instead, since XLA's CPU compiler turns the weight gradient of a
    vmapped single one round by a slow copy: 335 ms a step against 118."""

    def lifted(states: TrainState, batches: Batch) -> tuple[TrainState, Metrics]:
        if batches.label.shape[0] > 1:
            return jax.vmap(function)(states, batches)
        one = function(*jax.tree.map(lambda x: x[0], (states, batches)))
        return jax.tree.map(lambda x: x[None], one)

    return lifted


def _epoch(
    step_all: Advance, segments: Iterator[jax.Array], plan: Plan, taught: np.ndarray, states: TrainState, mesh: Mesh
) -> tuple[TrainState, Metrics]:
    """All steps of an epoch; `taught` [S, N]."""
    parts: list[Metrics] = []
    label = taught[np.arange(len(taught))[:, None, None], plan.index]
    start, steps = 0, plan.index.shape[1]
    clock = files.Clock(steps)
    for images in segments:
        part = slice(start, start + images.shape[1])
        start = part.stop
        rest = (devices.put(mesh, x, *inputs.BATCHED) for x in (label[:, part], plan.mask[:, part]))
        states, sums = step_all(states, Batch(images, *rest))
        parts.append(sums)
        left = clock.tick(start)
        if left and start < steps:
            log.info("step %d of %d, %s of this epoch", start, steps, left)
    return states, devices.fetch(functools.reduce(metrics.merge, parts))


def _validation(
    net: Network,
    feed: bank.Feed,
    labels: np.ndarray,
    runs: list[SeedData],
    cache: bank.Cache | None,
    mesh: Mesh,
) -> Callable[[Params], tuple[np.ndarray, Metrics]]:
    """Runs the trunk over the centre crops once; params [S, ...] -> logits [S, V, K] and Metrics leaves [S]."""
    width = max(len(run.val) for run in runs)
    filled = [*runs, *[runs[0]] * (devices.padded(len(runs), mesh) - len(runs))]
    rows = np.stack([np.resize(run.val, width) for run in filled])
    mask = np.arange(width) < np.array([[len(run.val)] for run in filled])
    centre = bank.build_centre(net.trunk, feed, np.unique(rows), len(labels), cache)
    label, counts = (devices.put(mesh, x, devices.SEED) for x in (labels[rows], mask))

    def pieces() -> Iterator[jax.Array]:
        return (devices.put(mesh, x, devices.SEED) for x in bank.pieces(centre, rows, evaluate.CHUNK))

    # A few hundred images stay on the device; of tens of thousands each epoch reads the bank anew.
    small = rows.size * int(np.prod(net.trunk.shape)) * net.trunk.dtype.itemsize <= HELD_BYTES
    held = list(pieces()) if small else None

    def check(params: Params) -> tuple[np.ndarray, Metrics]:
        parts = [evaluate.logits(net.head, params, images) for images in held or pieces()]
        logits = jnp.concatenate(parts, axis=1)
        return devices.fetch((logits, evaluate.sums(logits, label, counts)))

    return check


def _extend(history: History, train_sums: Metrics, val_sums: Metrics) -> History:
    values = (f(sums) for sums in (train_sums, val_sums) for f in (metrics.loss, metrics.accuracy))
    new = [np.asarray(value, np.float32)[: len(history.val_loss), None] for value in values]
    return History(*(np.concatenate(pair, axis=1) for pair in zip(history, new, strict=True)))


def _refuse_divergence(progress: Progress, runs: list[SeedData]) -> None:
    bad = ~np.isfinite(progress.history.train_loss[:, -1])
    if bad.any():
        raise Diverged(progress, runs[0].seed, [run.seed for run, is_bad in zip(runs, bad, strict=True) if is_bad])


def pack(progress: Progress) -> Any:
    """Progress as a tree of plain arrays in memory of the host, for a checkpoint."""
    states = progress.states._replace(key=jax.random.key_data(progress.states.key))
    leaves = _first(devices.fetch(jax.tree.leaves(states)), len(progress.history.val_loss))
    named = {f"{i:03d}": leaf for i, leaf in enumerate(leaves)}
    return {"states": named, "history": progress.history._asdict()}


def _unpack(
    packed: Any, net: Network, optimiser: optax.GradientTransformation, runs: list[SeedData], mesh: Mesh
) -> Progress:
    structure = jax.tree.structure(jax.eval_shape(initial_states(net, optimiser), np.zeros(1, np.uint32)))
    extra = devices.padded(len(runs), mesh) - len(runs)
    leaves = []
    for name in sorted(packed["states"]):
        leaf = packed["states"][name]
        whole = np.concatenate([leaf, *[leaf[:1]] * extra]) if extra else leaf
        leaves.append(devices.put(mesh, whole, devices.SEED))
    states = jax.tree.unflatten(structure, leaves)
    history = History(**packed["history"])
    states = states._replace(key=jax.random.wrap_key_data(states.key))
    return Progress(history.val_loss.shape[1], states, history)
