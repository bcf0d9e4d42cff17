"""How long a run will take here: its FLOPs as the compiler counts them, at speeds that are measured just before.

Counted are the frozen stages over every augmentation and every centre crop that the cache does not hold, the head's
steps of all seeds, and the head over the validation images after every epoch. Speeds are those of two small programs
on this machine, which stand for all networks: a convolution for the stages before a network's usual `retrain_from`, a
training step of one dense layer for the others. `docs/explanation/scale.md` sets estimates beside what runs took.

Not counted: the time that accelerators gain where seeds run side by side, so that there the estimate is too long.
"""

from __future__ import annotations

import dataclasses
import functools
import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from cxrjax.base import devices, tasks
from cxrjax.base.config import ExperimentConfig, arms, run_path
from cxrjax.base.numerics import new_key
from cxrjax.base.progress import duration
from cxrjax.base.recipes import Recipe
from cxrjax.models import transfer
from cxrjax.models.model import Model
from cxrjax.models.registry import ALEXNET
from cxrjax.runs import draws, run_folder, setup
from cxrjax.runs.draws import Cohorts
from cxrjax.training import bank, inputs, seed_batches, step
from cxrjax.training import plan as planning
from cxrjax.training.optimizer import make_optimizer

# Of a run, whatever its size, and of each seed: start, compilation; scores, linear probe, intervals; dream, report.
START_SECONDS, SEED_SECONDS = 20.0, 2.0
_CALLS = 3  # of the measurement
# Speed of a network's stages by that of the measured programs. CPU: trunks of AlexNet 0.98, ResNet-50 0.86, ResNet-18
# 0.85, VGG16 0.83, EfficientNet-Lite0, much of it depthwise, 0.61; AlexNet's head step 1.2.
_TRUNK, _HEAD = 0.85, 1.2
# A training step of AlexNet's convolutions took 3.6 times as long as their forward pass (CPU, batch 64), where the
# compiler counts 2.9.
_BACKWARD = 1.25
_ADAMW = 1.3  # its step of AlexNet's head by SGD's: moments of all weights are read and written, too


class Speed(NamedTuple):
    """FLOP/s of the two kinds of stages."""

    convolution: float
    dense: float


class Work(NamedTuple):
    """FLOPs of the two kinds of stages."""

    convolution: float
    dense: float


class Sizes(NamedTuple):
    """Images of an experiment."""

    train: np.ndarray  # [S] of each run, as often as an epoch uses them
    val: np.ndarray  # [S]
    distinct_train: int  # over all runs
    distinct: int  # training and validation, over all runs


def sizes(config: ExperimentConfig, cohorts: Cohorts) -> Sizes:
    """Of an experiment whose images are drawn."""
    return Sizes(
        np.array([len(run.train) for run in draws.seed_data(config, cohorts)]),
        np.array([len(rows) for rows in cohorts.val]),
        len(np.unique(np.concatenate(cohorts.train))),
        len(np.unique(np.concatenate(cohorts.train + cohorts.val))),
    )


@functools.cache
def measure(dtype: str = "float32") -> Speed:
    """Times a convolution and training steps of a dense layer: half a second on 2 idle CPU cores, with compilation."""
    images, side, channels = 8 if jax.default_backend() == "cpu" else 512, 14, 256
    pixels, kernel = jnp.ones((images, side, side, channels), dtype), jnp.ones((3, 3, channels, channels), dtype)
    batch, units = jnp.ones((64, 2048), dtype), 4096
    weights = jnp.zeros((2048, units))

    @devices.jit_convolutions()
    def convolve(pixels: jax.Array, kernel: jax.Array) -> jax.Array:
        return jax.lax.conv_general_dilated(pixels, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))

    @functools.partial(jax.jit, donate_argnums=0)
    def train(weights: jax.Array, batch: jax.Array) -> jax.Array:
        loss = jax.grad(lambda weights: jnp.square(batch @ weights.astype(batch.dtype)).sum().astype(jnp.float32))
        return weights - 1e-3 * loss(weights)

    def advance() -> jax.Array:
        nonlocal weights
        weights = train(weights, batch)
        return weights

    convolution, dense = 2 * pixels.size * kernel.size / channels, 4 * batch.size * units
    return Speed(_TRUNK * convolution / _seconds(lambda: convolve(pixels, kernel)), _HEAD * dense / _seconds(advance))


def _seconds(call: Callable[[], Any]) -> float:
    """Median of a few calls after the first one, which compiles."""
    took = []
    for _ in range(_CALLS + 1):
        start = time.perf_counter()
        jax.block_until_ready(call())
        took.append(time.perf_counter() - start)
    return statistics.median(took[1:])


def work(
    config: ExperimentConfig, sizes: Sizes, model: Model = ALEXNET, missing: tuple[int, int] | None = None
) -> Work:
    """What a run of all seeds and epochs needs.

    Args:
      config: of the run.
      sizes: of its data.
      model: its network.
      missing: images whose bank entries, and whose centre crops, the cache does not hold; None: all.
    """
    model = dataclasses.replace(model, num_classes=tasks.get(config.task).outputs)
    batch, runs, start = config.batch_size, len(sizes.train), model.first_retrained(config.retrain_from)
    in_bank, centre_crops = missing or (sizes.distinct_train, sizes.distinct)
    stepped = config.head != "linear"  # which is solved on centre crops
    uses = in_bank * config.augment_bank if config.augment_bank else config.epochs * int(sizes.train.sum()) * stepped
    slower = _ADAMW if config.optimizer == "adamw" else 1.0
    steps = runs * config.epochs * max(planning.steps_per_epoch(int(n), batch) for n in sizes.train) * stepped
    frozen, usual = trunk_flops(model, start), trunk_flops(model, model.retrain_from)
    trunk = Work(min(frozen, usual), max(0.0, frozen - usual))
    forward_alone = bool(config.start_from and config.trunk_factor == 0)  # but for the last layer's weights
    training = _split(head_flops if forward_alone else step_flops, model, start, batch)
    head = _split(head_flops, model, start, 1)
    parts = (
        (trunk, uses + centre_crops),
        (Work(_BACKWARD * training.convolution, slower * training.dense), steps),
        (head, (config.epochs + 1) * int(sizes.val.sum()) * stepped),
    )
    return Work(*(sum(part[kind] * count for part, count in parts) for kind in (0, 1)))


def _split(count: Callable[[Model, str, int], float], model: Model, start: str, batch: int) -> Work:
    """A head's FLOPs by kind of stage."""
    every, dense = count(model, start, batch), count(model, model.retrain_from, batch)
    return Work(max(0.0, every - dense), min(every, dense))


def left(config: ExperimentConfig, needed: Work) -> Work:
    """What is left of the work, an interrupted run having done its share."""
    if run_folder.recall(config) is None:
        return needed
    share = 1 - seed_batches.trained_share(run_path(config) / "checkpoints", config.epochs, config.seeds)
    return Work(needed.convolution * share, needed.dense * share)


def seconds(needed: Work, speed: Speed, seeds: int) -> float:
    """Time that work takes, with what every run, and every seed of it, takes besides."""
    rest = START_SECONDS + SEED_SECONDS * seeds
    return rest + needed.convolution / speed.convolution + needed.dense / speed.dense


def estimate(config: ExperimentConfig, net: transfer.Network, cohorts: Cohorts, cache: bank.Cache) -> str:
    """How long a run will take, and what of that goes where, in words.

    Args:
      config: nothing is open in it.
      net: to be trained.
      cohorts: of all runs.
      cache: of activations.
    """
    slots = bank.Slots(config.augment_bank, inputs.variation(setup.recipe(config)))
    in_bank, centre_crops = (
        bank.missing(net.trunk, np.unique(np.concatenate(images)), of, cache) if net.trunk.identity else 0
        for images, of in ((cohorts.train, slots), (cohorts.train + cohorts.val, bank.CENTRE))
    )
    model = setup.model_of(config, None)  # whatever the head, stages by the network's own names
    needed = left(config, work(config, sizes(config, cohorts), model, (in_bank, centre_crops)))
    speed, runs = measure(config.dtype), 1 + len(arms(config))
    convolution, dense = needed.convolution / speed.convolution, needed.dense / speed.dense
    total = runs * seconds(needed, speed, config.seeds)
    of_arms = f"{runs} runs, with the arms; " if runs > 1 else ""
    return (
        f"{duration(total)} ({of_arms}of a run convolutions {duration(convolution)}, dense layers "
        f"{duration(dense)}; at speeds measured now)"
    )


def explain(speed: Speed) -> str:
    """What was measured, in words."""
    convolution, dense = (rate / 1e9 for rate in speed)
    return (
        f"at {convolution:.0f} GFLOP/s in convolutions and {dense:.0f} in dense layers, as measured now; "
        f"{START_SECONDS:.0f} s a run and {SEED_SECONDS:.0f} a seed for all else"
    )


@functools.cache
def trunk_flops(model: Model, retrain_from: str) -> float:
    """FLOPs of the frozen stages over one image, 0 if there are none."""
    stop = model.before(retrain_from)
    if stop is None:
        return 0.0

    def run(variables: Any, pixels: jax.Array) -> jax.Array:
        return transfer.forward(model, variables, pixels, stop=stop).output

    return _flops(run, model.variable_shapes(stop=stop), _head_inputs(model, model.stages[0], 1))


@functools.cache
def head_flops(model: Model, retrain_from: str, batch: int) -> float:
    """FLOPs of one seed's head over a batch, forward, without dropout."""
    head = functools.partial(transfer.RetrainedHead(model, retrain_from), key=None)
    return _flops(head, model.variable_shapes(retrain_from), _head_inputs(model, retrain_from, batch))


@functools.cache
def step_flops(model: Model, retrain_from: str, batch: int) -> float:
    """FLOPs of one training step of one seed's head, its inputs ready."""
    optimizer = make_optimizer(Recipe())
    initial = functools.partial(step.init, optimizer=optimizer, dropout_key=new_key(0))
    states = jax.eval_shape(initial, model.variable_shapes(retrain_from))
    entering = _head_inputs(model, retrain_from, batch)
    examples = step.batch_shapes((batch,), entering.shape[1:], entering.dtype)
    return _flops(step.make_step(transfer.RetrainedHead(model, retrain_from), optimizer), states, examples)


def _head_inputs(model: Model, start: str, batch: int) -> Any:
    """Shape and type of what `start` reads."""
    if start == model.stages[0]:
        return jax.ShapeDtypeStruct((batch, model.crop, model.crop), jnp.uint8)
    return jax.ShapeDtypeStruct((batch, *model.input_shape(start)[1:]), jnp.dtype(model.dtype))


def _flops(function: Callable[..., Any], *examples: Any) -> float:
    """The compiler's count before it optimises: products with padding left out, element-wise work included."""
    analysis: Any = jax.jit(function).lower(*examples).cost_analysis()
    return float(analysis["flops"])
