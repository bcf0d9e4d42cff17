"""The loop over epochs: trunk, head steps, validation, history; it lifts the step, written for one seed, over S seeds.

The trunk (layers before `retrain_from`) is frozen: it runs forward only and all seeds share it. The head holds the
retrained layers and carries the axis S. An epoch is: trunk over the epoch's augmented images, then head steps over
the resulting activations.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol, cast

import jax
import numpy as np
import optax
from jax.sharding import NamedSharding, PartitionSpec

from cxrjax.base import Array, InputError, Variables, devices
from cxrjax.base.numerics import new_key, pinned
from cxrjax.base.progress import Stage
from cxrjax.models.transfer import Network
from cxrjax.training import inputs, losses, step
from cxrjax.training import plan as planning
from cxrjax.training.losses import BINARY, Loss, Metrics
from cxrjax.training.optimizer import make_optimizer
from cxrjax.training.plan import SeedData, Workload
from cxrjax.training.step import Batch, Constants, TrainState, Validation


class Advance(Protocol):
    """t steps of all seeds."""

    def __call__(self, states: TrainState, batches: Batch, features: Array | None = None) -> tuple[TrainState, Metrics]:
        """States with leaves [S, ...], Batch leaves [S, t, B, ...], a bank's features -> states, Metrics leaves [S]."""


class History(NamedTuple):
    """Learning curves. Training metrics are running ones, with dropout and augmentation on, as Keras reports."""

    train_loss: np.ndarray  # [S, E] f32, nats
    train_accuracy: np.ndarray  # [S, E] f32, 0..1
    val_loss: np.ndarray
    val_accuracy: np.ndarray

    def extended(self, train: Metrics, val: Metrics) -> History:
        """With one more epoch, whose sums have leaves [S or more]; those beyond S fill the mesh."""
        values = (x for sums in (train, val) for x in (sums.loss, sums.accuracy))
        new = [np.asarray(value, np.float32)[: len(self.val_loss), None] for value in values]
        return History(*(np.concatenate(pair, axis=1) for pair in zip(self, new, strict=True)))


class Progress(NamedTuple):
    """Training after some epochs; all that is needed to go on."""

    epochs: int
    states: TrainState  # leaves [S, ...]
    history: History
    waited: float = 0.0  # share of the last epoch's training, 0..1, in which it waited for input
    val_logits: np.ndarray | None = None  # [S or more, V, K] after the last epoch; None: not evaluated since a restart

    def pack(self) -> Any:
        """As a tree of plain arrays in memory of the host, for a checkpoint; `Trainer.restore` reads it."""
        states = self.states._replace(key=jax.random.key_data(self.states.key), constants=Constants())
        leaves = _first(devices.fetch(jax.tree.leaves(states)), len(self.history.val_loss))
        named = {f"{i:03d}": leaf for i, leaf in enumerate(leaves)}
        return {"states": named, "history": self.history._asdict()}


class Fitted(NamedTuple):
    """What training gave."""

    variables: Variables  # head, leaves [S, ...], NumPy
    history: History
    val_logits: list[np.ndarray]  # of each seed [v, K], of two classes K = 2, after the last epoch


REMEDY = "a smaller --learning_rate, with --overwrite, may help"


MAX_LOSS = 1e6  # nats, chance is ln 2; f32 logits of this size are 0.06 apart, from which nothing can be learnt


class Diverged(InputError):
    """A loss is not finite, or beyond `MAX_LOSS`; `progress` of the seeds from `first_seed` on ends with that epoch."""

    def __init__(self, progress: Progress, first_seed: int, seeds: list[int], loss: str, fault: str) -> None:
        """`seeds` are those whose `loss`, training or validation, is `fault`: not finite, or above the limit."""
        named = ", ".join(map(str, seeds))
        super().__init__(f"seed {named}: the {loss} loss is {fault} in epoch {progress.epochs}; {REMEDY}")
        self.progress = progress
        self.first_seed = first_seed


@pinned()
def fit(
    workload: Workload,
    runs: Sequence[SeedData],
    resume: Any = None,
    on_epoch: Callable[[Progress], None] = lambda progress: None,
    bar: Stage | None = None,
) -> Fitted:
    """Trains all runs side by side, as one program over all devices.

    Args:
      workload: network, images, labels and hyper-parameters.
      runs: S of them.
      resume: where an interrupted fit had come to, as `Progress.pack` gave it; None: from the beginning.
      on_epoch: called after every epoch.
      bar: counts epochs of seeds.

    Raises:
      Diverged: if the loss is no longer finite.
    """
    with bar.aside() if bar else contextlib.nullcontext():
        trainer = Trainer(workload, runs)
    progress = trainer.init() if resume is None else trainer.restore(resume)
    if bar:
        bar.skip(progress.epochs * len(runs))
    del resume  # 2 GB of ten seeds
    while progress.epochs < workload.recipe.epochs:
        progress = trainer.run_epoch(progress, bar)
        trainer.refuse_divergence(progress)
        on_epoch(progress)
    val_logits = progress.val_logits
    if val_logits is None:
        val_logits, _ = trainer.validation.evaluate(progress.states.variables)
    trimmed = [x[: len(run.val)] for x, run in zip(val_logits, runs, strict=False)]
    return Fitted(_first(devices.fetch(progress.states.variables), len(runs)), progress.history, trimmed)


def _first(tree: Any, seeds: int) -> Any:
    """Without the masked seeds that fill the mesh."""
    return jax.tree.map(lambda x: x[:seeds], tree)


class Trainer:
    """Trains a group of seeds epoch by epoch; it holds what does not change on the way, `Progress` the rest."""

    @pinned()
    def __init__(self, workload: Workload, runs: Sequence[SeedData]) -> None:
        """Fills the bank, if there is one, and runs the trunk over the validation images. Arguments as `fit`."""
        recipe, self.net, self.runs = workload.recipe, workload.net, runs
        self.mesh = devices.mesh(len(runs), recipe.batch_size)
        filled = [*runs, *[runs[0]] * (devices.padded(len(runs), self.mesh) - len(runs))]
        self.planner = inputs.EpochPlanner(workload, filled, len(runs))
        self.optimizer = make_optimizer(recipe, self.net.fresh)
        self._constants = _constants(workload, filled)
        self._starts = [run.start for run in filled]
        self.advance = compile_steps(self.net, self.optimizer, workload.loss, self.mesh.devices.flat[0].platform)
        self.head_input = inputs.head_input(workload, runs, self.mesh)
        self.validation = Validation(workload, filled, self.mesh)
        self.train_labels = inputs.train_labels(filled, workload.labels)

    @pinned()
    def init(self) -> Progress:
        """Before the first epoch."""
        over_seeds = NamedSharding(self.mesh, PartitionSpec(devices.SEED))
        states = initial_states(self.net, self.optimizer, self.planner.seeds, over_seeds)
        if all(self._starts):
            heads = [start() for start in self._starts if start]
            stacked = jax.tree.map(lambda *x: devices.put(self.mesh, np.stack(x), devices.SEED), *heads)
            states = states._replace(params=stacked["params"], batch_stats=stacked.get("batch_stats", {}))
        nothing = np.zeros((len(self.runs), 0), np.float32)
        return Progress(0, self._with_constants(states), History(*[nothing] * 4))

    @pinned()
    def restore(self, packed: Any) -> Progress:
        """Where an interrupted training had come to, as `Progress.pack` gave it."""
        example = state_shapes(self.net, self.optimizer, len(self.planner.seeds))
        extra = len(self.planner.seeds) - len(self.runs)
        saved = [packed["states"][name] for name in sorted(packed["states"], key=int)]
        whole = (np.concatenate([leaf, *[leaf[:1]] * extra]) if extra else leaf for leaf in saved)
        leaves = [devices.put(self.mesh, leaf, devices.SEED) for leaf in whole]
        states = jax.tree.unflatten(jax.tree.structure(example), leaves)
        history = History(**packed["history"])
        states = states._replace(key=jax.random.wrap_key_data(states.key))
        return Progress(history.val_loss.shape[1], self._with_constants(states), history)

    def _with_constants(self, states: TrainState) -> TrainState:
        """States whose constants are arrays of their own, since states are donated."""
        return states._replace(
            constants=jax.tree.map(lambda x: devices.put(self.mesh, x, devices.SEED), self._constants)
        )

    @pinned()
    def run_epoch(self, progress: Progress, bar: Stage | None = None) -> Progress:
        """Trains and validates one more epoch; the states of `progress` are given up (donated). `bar`: see `fit`."""
        plan, timer = self.planner.plan(progress.epochs), inputs.InputTimer()
        label = self.train_labels[np.arange(len(self.train_labels))[:, None, None], plan.index]
        states, parts = progress.states, list[Metrics]()
        start, steps = 0, plan.index.shape[1]
        for segment in self.head_input.segments(plan, timer):
            part = slice(start, start + segment.shape[1])
            start = part.stop
            rest = (devices.put(self.mesh, x, *inputs.BATCHED) for x in (label[:, part], plan.mask[:, part]))
            states, sums = self.advance(states, Batch(segment, *rest), self.head_input.features)
            parts.append(sums)
            if bar:
                bar.advance(len(self.runs) * (part.stop - part.start) / steps)
        train: Metrics = devices.fetch(functools.reduce(losses.merge, parts))
        waited = timer.share()
        val_logits, val = self.validation.evaluate(states.variables)
        return Progress(progress.epochs + 1, states, progress.history.extended(train, val), waited, val_logits)

    def refuse_divergence(self, progress: Progress) -> None:
        """Raises `Diverged` if the last epoch's loss of any seed is not finite, or above `MAX_LOSS`.

        The training loss is that before each step: of weights that the last step spoiled the validation loss tells.
        """
        for loss, curves in (("training", progress.history.train_loss), ("validation", progress.history.val_loss)):
            bad = ~(curves[:, -1] <= MAX_LOSS)
            if bad.any():
                fault = f"above {MAX_LOSS:g}" if np.isfinite(curves[:, -1]).all() else "not finite"
                seeds = [run.seed for run, is_bad in zip(self.runs, bad, strict=True) if is_bad]
                raise Diverged(progress, self.runs[0].seed, seeds, loss, fault)


def _constants(workload: Workload, runs: Sequence[SeedData]) -> Constants:
    """Leaves [S, ...]: a seed counts the steps that its own images need, so that it is as if it were alone."""
    recipe, labels = workload.recipe, workload.labels
    steps = [recipe.epochs * planning.steps_per_epoch(len(run.train), recipe.batch_size) for run in runs]
    if workload.loss.name != "class_weights":
        return Constants(np.array(steps, np.int32))
    trained = [labels[run.train] if run.train_labels is None else run.train_labels for run in runs]
    return Constants(np.array(steps, np.int32), np.stack([losses.class_weights(label) for label in trained]))


@pinned()
def initial_states(
    net: Network, optimizer: optax.GradientTransformation, seeds: np.ndarray, sharding: NamedSharding | None = None
) -> TrainState:
    """States before the first step, leaves [S, ...], of seeds [S] u32."""

    def initial_state(seed: Array) -> TrainState:
        root = new_key(seed)
        variables = net.initial(planning.stream(root, planning.INITIAL_WEIGHTS))
        return step.init(variables, optimizer, planning.stream(root, planning.DROPOUT))

    return jax.jit(jax.vmap(initial_state), out_shardings=sharding)(seeds)


def state_shapes(net: Network, optimizer: optax.GradientTransformation, seeds: int) -> TrainState:
    """Shapes and types of `initial_states` of so many seeds."""
    shapes: TrainState = jax.eval_shape(functools.partial(initial_states, net, optimizer), np.zeros(seeds, np.uint32))
    return shapes


def compile_steps(
    net: Network, optimizer: optax.GradientTransformation, loss: Loss = BINARY, platform: str | None = None
) -> Advance:
    """Compiles several steps of all seeds; the states that go in are given up (donated).

    Dense heads: one `lax.scan` under one `vmap`. Batch 64, fc6, 2 idle CPU cores, ms a step and seed: 121 (one seed
    118), with `lax.map` over three seeds 125. A convolution in a scan is up to 9 times slower on CPU (jax#12868), so a
    head that holds some is stepped from Python there.

    Args:
      net, optimizer, loss: what is trained, and how.
      platform: that the programs are for, as `jax.Device.platform` names it; None: JAX's default.
    """
    one_step = step.make_step(net.head, optimizer, loss)

    def gathered(state: TrainState, batch: Batch, features: Array | None = None) -> tuple[TrainState, Metrics]:
        if features is not None:
            batch = batch._replace(inputs=features[batch.inputs[:, 0], batch.inputs[:, 1]])
        return one_step(state, batch)

    def scanned(state: TrainState, batches: Batch, features: Array | None = None) -> tuple[TrainState, Metrics]:
        state, sums = jax.lax.scan(functools.partial(gathered, features=features), state, batches)
        return state, jax.tree.map(lambda x: x.sum(axis=0), sums)

    if net.dense or (platform or jax.default_backend()) != "cpu":
        return cast(Advance, jax.jit(_over_seeds(scanned), donate_argnums=0))
    options = devices.convolution_options(training=True)
    single = jax.jit(_over_seeds(gathered), donate_argnums=0, compiler_options=options)

    def stepped(states: TrainState, batches: Batch, features: Array | None = None) -> tuple[TrainState, Metrics]:
        parts = []
        for t in range(batches.mask.shape[1]):
            states, sums = single(states, jax.tree.map(lambda x, t=t: x[:, t], batches), features)
            parts.append(sums)
        return states, functools.reduce(losses.merge, parts)

    return stepped


def _over_seeds(function: Callable[..., tuple[TrainState, Metrics]]) -> Advance:
    """`jax.vmap`; one seed is taken out of its axis instead, since XLA's CPU compiler turns the weight gradient of a
    vmapped single one round by a slow copy: 335 ms a step against 118."""

    def lifted(states: TrainState, batches: Batch, features: Array | None = None) -> tuple[TrainState, Metrics]:
        if batches.mask.shape[0] > 1:
            return jax.vmap(function, (0, 0, None))(states, batches, features)
        single = function(*jax.tree.map(lambda x: x[0], (states, batches)), features)
        return jax.tree.map(lambda x: x[None], single)

    return lifted
