"""How long a run will take here: its FLOPs as the compiler counts them, at speeds that are measured just before.

Counted are the frozen stages over every augmentation and every centre crop, the head's steps of all seeds, and the
head over the validation images after every epoch. Speeds are those of two calls on this machine: of the stages before
the network's usual `retrain_from` (convolutions) over a batch, and of training steps of the others of one seed. With
those of 2 idle CPU cores (`docs/speed.md`) AlexNet's ten seeds, 60 epochs and a bank of 8 on 810 images make 16
minutes, where 17 were measured.

Not counted: activations that the cache holds already, and the time that accelerators gain where seeds run side by
side, so that there the estimate is too long.
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

from cxrjax.base.config import ExperimentConfig
from cxrjax.base.numerics import new_key
from cxrjax.base.recipes import Recipe
from cxrjax.models import transfer
from cxrjax.models.model import Model
from cxrjax.models.registry import ALEXNET
from cxrjax.training import loop, step
from cxrjax.training import plan as planning
from cxrjax.training.optimizer import make_optimizer
from cxrjax.training.step import Batch

START_SECONDS = 30.0  # of a run, whatever its size: data, compilation, evaluation, deep dream, report
CLASSES = 2  # outputs of the network that is counted
_BATCH, _STEPS, _CALLS = 64, 4, 3  # of the measurement
# A training step of the convolutions took 3.6 times as long as their forward pass (CPU, batch 64), not the 2.9 counted.
_BACKWARD = 1.25


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


def measure(model: Model = ALEXNET) -> Speed:
    """Times both kinds of stages; some 10 seconds on 2 CPU cores, most of them compilation."""
    net = transfer.build_transfer_model(None, model.retrain_from, model=model)
    pixels = jnp.zeros((_BATCH, model.crop, model.crop), jnp.uint8)
    optimizer = make_optimizer(Recipe())
    advance = loop.compile_steps(net, optimizer)
    state = loop.initial_states(net, optimizer, np.zeros(1, np.uint32))
    shape = (1, _STEPS, _BATCH)
    batch = Batch(jnp.zeros((*shape, *net.trunk.shape)), jnp.zeros(shape, jnp.int32), jnp.ones(shape, bool))

    def train() -> Any:
        nonlocal state
        state, sums = advance(state, batch)
        return sums

    trunk, steps = _measured(model)
    return Speed(trunk / _seconds(lambda: net.trunk(pixels)), _STEPS * steps / _seconds(train))


def _measured(model: Model) -> tuple[float, float]:
    """FLOPs of the two kinds of stages in `measure`: of a trunk call and of a training step."""
    model = dataclasses.replace(model, num_classes=CLASSES)
    return _BATCH * trunk_flops(model, model.retrain_from), step_flops(model, model.retrain_from, _BATCH)


def _seconds(call: Callable[[], Any]) -> float:
    """Median of a few calls after the first one, which compiles."""
    took = []
    for _ in range(_CALLS + 1):
        start = time.perf_counter()
        jax.block_until_ready(call())
        took.append(time.perf_counter() - start)
    return statistics.median(took[1:])


def work(config: ExperimentConfig, sizes: Sizes, model: Model = ALEXNET) -> Work:
    """What a run of all seeds and epochs needs, nothing of it done yet.

    Args:
      config: of the run.
      sizes: of its data.
      model: its network.
    """
    model = dataclasses.replace(model, num_classes=CLASSES)
    batch, runs, start = config.batch_size, len(sizes.train), model.first_retrained(config.retrain_from)
    steps = runs * config.epochs * max(planning.steps_per_epoch(int(n), batch) for n in sizes.train)
    uses = sizes.distinct_train * config.augment_bank or config.epochs * int(sizes.train.sum())
    frozen, usual = trunk_flops(model, start), trunk_flops(model, model.retrain_from)
    trunk = Work(min(frozen, usual), max(0.0, frozen - usual))
    training = _split(step_flops, model, start, batch)
    head = _split(head_flops, model, start, 1)
    parts = (
        (trunk, uses + sizes.distinct),
        (Work(_BACKWARD * training.convolution, training.dense), steps),
        (head, (config.epochs + 1) * int(sizes.val.sum())),
    )
    return Work(*(sum(part[kind] * count for part, count in parts) for kind in (0, 1)))


def _split(count: Callable[[Model, str, int], float], model: Model, start: str, batch: int) -> Work:
    """A head's FLOPs by kind of stage."""
    every, dense = count(model, start, batch), count(model, model.retrain_from, batch)
    return Work(max(0.0, every - dense), min(every, dense))


def seconds(needed: Work, speed: Speed) -> float:
    """Time that work takes, with what every run takes."""
    return START_SECONDS + needed.convolution / speed.convolution + needed.dense / speed.dense


def explain(speed: Speed, model: Model = ALEXNET) -> str:
    """What was measured, in words."""
    trunk, steps = (1000 * flops / rate for flops, rate in zip(_measured(model), speed, strict=True))
    stages = model.between(model.retrain_from, model.logits)
    trained = f"{stages[0]} to {stages[-1]}" if len(stages) > 1 else stages[0]
    return (
        f"{_BATCH} images take {trunk:.0f} ms through the convolutions and {steps:.0f} ms in a training step of "
        f"{trained}, measured now; {START_SECONDS:.0f} s a run for all else"
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
    label: Any = jax.ShapeDtypeStruct((batch,), jnp.int32)
    mask: Any = jax.ShapeDtypeStruct((batch,), jnp.bool_)
    examples = Batch(_head_inputs(model, retrain_from, batch), label, mask)
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
