"""The loop over epochs: trunk, head steps, validation, history. The only place that knows the seeds' axis S.

The trunk (layers before `retrain_from`) is frozen: it runs forward only and all seeds share it. The head holds the
retrained layers and carries the axis S. An epoch is: trunk over the epoch's augmented images, then head steps over
the resulting activations.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
import optax

from cxrjax import bank, evaluate, metrics, train
from cxrjax import plan as planning
from cxrjax.network import Network
from cxrjax.types import Batch, InputError, Metrics, Params, Plan, TrainState

SEGMENT = 16  # steps whose activations are held at once: 16 x 64 x 9216 x 4 bytes = 38 MB a seed

Source: TypeAlias = Callable[[Plan], Iterator[jax.Array]]
"""Plan [S, T, B] -> what enters the head, [S, t, B, ...], in segments of at most `SEGMENT` steps."""

Advance: TypeAlias = Callable[[TrainState, Batch], tuple[TrainState, Metrics]]
"""(states with leaves [S, ...], Batch leaves [S, t, B, ...]) -> states, Metrics leaves [S]: t steps of all seeds."""


class Schedule(NamedTuple):
    """How long and how to train."""

    epochs: int
    batch_size: int
    learning_rate: float
    momentum: float
    augment_bank: int


class SeedData(NamedTuple):
    """The images of one run."""

    seed: int
    train: np.ndarray  # [n] i32, rows of the store
    val: np.ndarray  # [v] i32


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


class Fitted(NamedTuple):
    """What training gave."""

    params: Params  # head, leaves [S, ...]
    history: History
    val_logits: list[np.ndarray]  # of each seed [v, K], after the last epoch


def fit(
    net: Network,
    feed: bank.Feed,
    labels: np.ndarray,
    runs: list[SeedData],
    schedule: Schedule,
    resume: Any = None,
    on_epoch: Callable[[Progress], None] = lambda progress: None,
) -> Fitted:
    """Trains all runs side by side, as one program.

    Args:
      net: see `network`.
      feed: pipeline over the store's images.
      labels: [N] i32, label of each row of the store.
      runs: S of them.
      schedule: see `Schedule`.
      resume: where an interrupted fit had come to, as `pack` wrote it.
      on_epoch: called after every epoch.

    Raises:
      InputError: if the loss is no longer finite, naming seed and epoch.
    """
    optimiser = optax.sgd(schedule.learning_rate, schedule.momentum or None)
    roots = [jax.random.key(run.seed) for run in runs]
    steps = max(planning.steps_per_epoch(len(run.train), schedule.batch_size) for run in runs)
    advance = _advance(net, optimiser)
    source = _source(net, feed, runs, schedule, len(labels))
    check = _validation(net, feed, labels, runs)
    progress = _begin(net, optimiser, roots) if resume is None else _unpack(resume, net, optimiser, roots)
    for epoch in range(progress.epochs, schedule.epochs):
        plans = [
            planning.epoch(root, epoch, run.train, schedule.batch_size, steps, schedule.augment_bank or None)
            for root, run in zip(roots, runs, strict=True)
        ]
        plan = Plan(*(np.stack([np.asarray(x) for x in leaves]) for leaves in zip(*plans, strict=True)))
        states, sums = _epoch(advance, source, plan, labels, progress.states)
        _, val_sums = check(states.params)
        progress = Progress(epoch + 1, states, _extend(progress.history, sums, val_sums))
        _refuse_divergence(progress, runs)
        on_epoch(progress)
    val_logits, _ = check(progress.states.params)
    trimmed = [x[: len(run.val)] for x, run in zip(np.asarray(val_logits), runs, strict=True)]
    return Fitted(progress.states.params, progress.history, trimmed)


def _begin(net: Network, optimiser: optax.GradientTransformation, roots: list[jax.Array]) -> Progress:
    def one(root: jax.Array) -> TrainState:
        params = net.initial(planning.stream(root, planning.INITIAL_WEIGHTS))
        return train.init(params, optimiser, planning.stream(root, planning.DROPOUT))

    nothing = np.zeros((len(roots), 0), np.float32)
    return Progress(0, jax.jit(jax.vmap(one))(jnp.stack(roots)), History(*[nothing] * 4))


def _advance(net: Network, optimiser: optax.GradientTransformation) -> Advance:
    """Compiles several steps of all seeds.

    Dense heads: one `lax.scan` under one `vmap`, 210 ms a step and seed (batch 64, fc6, 2 CPU cores), against 222 a
    seed at a time, 236 with `lax.map` over seeds and 252 in single calls. A convolution in a scan is up to 9 times
    slower on CPU (jax#12868), so a head that holds some is stepped from Python.
    """
    step = train.make_step(net.head, optimiser)

    def scanned(state: TrainState, batches: Batch) -> tuple[TrainState, Metrics]:
        state, sums = jax.lax.scan(step, state, batches)
        return state, jax.tree.map(lambda x: x.sum(axis=0), sums)

    if net.dense:
        return jax.jit(jax.vmap(scanned), donate_argnums=0)
    single = jax.jit(jax.vmap(step), donate_argnums=0)

    def stepped(states: TrainState, batches: Batch) -> tuple[TrainState, Metrics]:
        parts = []
        for t in range(batches.label.shape[1]):
            states, sums = single(states, jax.tree.map(lambda x, t=t: x[:, t], batches))
            parts.append(sums)
        return states, functools.reduce(metrics.merge, parts)

    return stepped


def _epoch(
    advance: Advance, source: Source, plan: Plan, labels: np.ndarray, states: TrainState
) -> tuple[TrainState, Metrics]:
    """All steps of an epoch."""
    parts: list[Metrics] = []
    start = 0
    for images in source(plan):
        part = slice(start, start + images.shape[1])
        start = part.stop
        states, sums = advance(states, Batch(images, labels[plan.index[:, part]], plan.mask[:, part]))
        parts.append(sums)
    return states, functools.reduce(metrics.merge, parts)


def _source(net: Network, feed: bank.Feed, runs: list[SeedData], schedule: Schedule, store_size: int) -> Source:
    if not schedule.augment_bank:
        return lambda plan: _fresh(net.trunk, feed, plan)
    rows = np.unique(np.concatenate([run.train for run in runs]))
    filled = bank.build(net.trunk, feed, rows, schedule.augment_bank, store_size)

    def banked(plan: Plan) -> Iterator[jax.Array]:
        for start in range(0, plan.index.shape[1], SEGMENT):
            part = slice(start, start + SEGMENT)
            # Padding points at row 0, which need not be in the bank.
            index = np.where(plan.mask[:, part], plan.index[:, part], rows[0])
            yield bank.gather(filled, index, plan.slot[:, part])

    return banked


def _fresh(trunk: bank.Trunk, feed: bank.Feed, plan: Plan) -> Iterator[jax.Array]:
    """Runs the trunk over the epoch's images, batch by batch in the order of the steps, seeds side by side."""
    seeds, steps = plan.index.shape[:2]
    by_step = Plan(*(np.swapaxes(x, 0, 1).reshape(-1, *x.shape[2:]) for x in plan))  # [T * S, B, ...]
    pending = []
    for images in feed(by_step):
        pending.append(trunk(images))
        if len(pending) == seeds * min(SEGMENT, steps):
            yield _by_seed(pending, seeds)
            pending = []
    if pending:
        yield _by_seed(pending, seeds)


def _by_seed(parts: list[jax.Array], seeds: int) -> jax.Array:
    """t * S arrays [B, ...] in the order of steps -> [S, t, B, ...]."""
    stacked = jnp.stack(parts)
    return jnp.swapaxes(stacked.reshape(-1, seeds, *stacked.shape[1:]), 0, 1)


def _validation(
    net: Network, feed: bank.Feed, labels: np.ndarray, runs: list[SeedData]
) -> Callable[[Params], tuple[jax.Array, Metrics]]:
    """Runs the trunk over the centre crops once; params [S, ...] -> logits [S, V, K] and Metrics leaves [S]."""
    width = max(len(run.val) for run in runs)
    rows = np.stack([np.resize(run.val, width) for run in runs])
    mask = np.arange(width) < np.array([[len(run.val)] for run in runs])
    centre = bank.build_centre(net.trunk, feed, np.unique(rows), len(labels))
    images = bank.gather(centre, rows, np.zeros_like(rows))

    def check(params: Params) -> tuple[jax.Array, Metrics]:
        logits = evaluate.logits(net.head, params, images)
        return logits, evaluate.sums(logits, labels[rows], mask)

    return check


def _extend(history: History, train_sums: Metrics, val_sums: Metrics) -> History:
    values = (f(sums) for sums in (train_sums, val_sums) for f in (metrics.loss, metrics.accuracy))
    new = [np.asarray(value, np.float32)[:, None] for value in values]
    return History(*(np.concatenate(pair, axis=1) for pair in zip(history, new, strict=True)))


def _refuse_divergence(progress: Progress, runs: list[SeedData]) -> None:
    bad = ~np.isfinite(progress.history.train_loss[:, -1])
    if bad.any():
        seed = runs[int(np.flatnonzero(bad)[0])].seed
        raise InputError(
            f"seed {seed}: the training loss is not finite in epoch {progress.epochs}; "
            "a smaller --learning_rate may help"
        )


def pack(progress: Progress) -> Any:
    """Progress as a tree of plain arrays, for a checkpoint."""
    states = progress.states._replace(key=jax.random.key_data(progress.states.key))
    leaves = {f"{i:03d}": leaf for i, leaf in enumerate(jax.tree.leaves(states))}
    return {"states": leaves, "history": progress.history._asdict()}


def _unpack(packed: Any, net: Network, optimiser: optax.GradientTransformation, roots: list[jax.Array]) -> Progress:
    structure = jax.tree.structure(jax.eval_shape(lambda: _begin(net, optimiser, roots)).states)
    leaves = [jnp.asarray(packed["states"][name]) for name in sorted(packed["states"])]
    states = jax.tree.unflatten(structure, leaves)
    history = History(**packed["history"])
    states = states._replace(key=jax.random.wrap_key_data(states.key))
    return Progress(history.val_loss.shape[1], states, history)


def pack_fitted(fitted: Fitted) -> Any:
    """What training gave, as a tree of plain arrays."""
    return {"params": fitted.params, "history": fitted.history._asdict(), "val_logits": fitted.val_logits}


def unpack_fitted(packed: Any) -> Fitted:
    """Undoes `pack_fitted`."""
    return Fitted(packed["params"], History(**packed["history"]), packed["val_logits"])
