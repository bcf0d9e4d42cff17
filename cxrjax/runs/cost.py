"""How long a run will take here: its arithmetic counted, at speeds that are measured just before.

Counted (`cxrjax.runs.roofline`) are the frozen layers over every augmentation and every centre crop, the head's
steps of all seeds, and the head over the validation images after every epoch. Speeds are those of two calls on this
machine: the convolutions over a batch, and training steps of fc6 to fc8 of one seed. With those of 2 idle CPU cores
(`docs/speed.md`) ten seeds, 60 epochs and a bank of 8 on 810 images make 16 minutes, where 17 were measured.

Not counted: activations that the cache holds already, and the time that accelerators gain where seeds run side by
side, so that there the estimate is too long.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from cxrjax.base.config import ExperimentConfig
from cxrjax.models import transfer
from cxrjax.models.alexnet import Variant
from cxrjax.runs import roofline
from cxrjax.training import loop
from cxrjax.training import plan as planning
from cxrjax.training.optimizer import RECIPES, make_optimizer
from cxrjax.training.step import Batch

START_SECONDS = 30.0  # of a run, whatever its size: data, compilation, evaluation, deep dream, report
_BATCH, _STEPS, _CALLS = 64, 4, 3  # of the measurement
_FC6 = "fc6"
# A training step of the convolutions took 3.6 times as long as their forward pass (CPU, batch 64), not the 2.9 counted.
_BACKWARD = 1.25


class Speed(NamedTuple):
    """FLOP/s of the two kinds of layers."""

    convolution: float
    dense: float


class Work(NamedTuple):
    """FLOPs of the two kinds of layers."""

    convolution: float
    dense: float


class Sizes(NamedTuple):
    """Images of an experiment."""

    train: np.ndarray  # [S] of each run
    val: np.ndarray  # [S]
    distinct_train: int  # over all runs
    distinct: int  # training and validation, over all runs


def measure() -> Speed:
    """Times both kinds of layers; some 10 seconds on 2 CPU cores, most of them compilation."""
    net = transfer.build_transfer_model(None, _FC6)
    pixels = jnp.zeros((_BATCH, net.model.crop, net.model.crop), jnp.uint8)
    optimizer = make_optimizer(RECIPES["poster"], 1)
    advance = loop.compile_steps(net, optimizer)
    state = loop.initial_states(net, optimizer, np.zeros(1, np.uint32))
    shape = (1, _STEPS, _BATCH)
    batch = Batch(jnp.zeros((*shape, *net.trunk.shape)), jnp.zeros(shape, jnp.int32), jnp.ones(shape, bool))

    def step() -> Any:
        nonlocal state
        state, sums = advance(state, batch)
        return sums

    convolution = roofline.trunk("torchvision", _FC6, _BATCH).flops
    dense = _STEPS * roofline.head_step("torchvision", _FC6, _BATCH).flops
    return Speed(convolution / _seconds(lambda: net.trunk(pixels)), dense / _seconds(step))


def _seconds(call: Callable[[], Any]) -> float:
    """Median of a few calls after the first one, which compiles."""
    took = []
    for _ in range(_CALLS + 1):
        start = time.perf_counter()
        jax.block_until_ready(call())
        took.append(time.perf_counter() - start)
    return statistics.median(took[1:])


def work(config: ExperimentConfig, sizes: Sizes, variant: Variant = "torchvision") -> Work:
    """What a run of all seeds and epochs needs, nothing of it done yet.

    Args:
      config: of the run.
      sizes: of its data.
      variant: of its weights.
    """
    batch, runs = config.batch_size, len(sizes.train)
    steps = runs * config.epochs * max(planning.steps_per_epoch(int(n), batch) for n in sizes.train)
    uses = sizes.distinct_train * config.augment_bank or config.epochs * int(sizes.train.sum())
    through_trunk = _times(_trunk(variant, config.retrain_from), uses + sizes.distinct)
    training = _times(_head_step(variant, config.retrain_from, batch), steps)
    validation = _times(_head(variant, config.retrain_from), (config.epochs + 1) * int(sizes.val.sum()))
    return Work(*(sum(parts) for parts in zip(through_trunk, training, validation, strict=True)))


def seconds(needed: Work, speed: Speed) -> float:
    """Time that work takes, with what every run takes."""
    return START_SECONDS + needed.convolution / speed.convolution + needed.dense / speed.dense


def told(speed: Speed) -> str:
    """What was measured, in words."""
    trunk = roofline.trunk("torchvision", _FC6, _BATCH).flops / speed.convolution
    step = roofline.head_step("torchvision", _FC6, _BATCH).flops / speed.dense
    return (
        f"{_BATCH} images take {1000 * trunk:.0f} ms through the convolutions and {1000 * step:.0f} ms in a training "
        f"step of fc6 to fc8, measured now; {START_SECONDS:.0f} s a run for all else"
    )


def _times(one: Work, count: int) -> Work:
    return Work(one.convolution * count, one.dense * count)


def _trunk(variant: Variant, retrain_from: str) -> Work:
    """Frozen layers over one image."""
    every = roofline.trunk(variant, retrain_from, 1).flops
    convolution = min(every, roofline.trunk(variant, _FC6, 1).flops)
    return Work(convolution, every - convolution)


def _head_step(variant: Variant, retrain_from: str, batch: int) -> Work:
    """One step of one seed."""
    every = roofline.head_step(variant, retrain_from, batch).flops
    dense = min(every, roofline.head_step(variant, _FC6, batch).flops)
    return Work(_BACKWARD * (every - dense), dense)


def _head(variant: Variant, retrain_from: str) -> Work:
    """The head over one image, forward."""
    every = roofline.evaluation(variant, retrain_from, 1, 1).flops - roofline.trunk(variant, retrain_from, 1).flops
    dense = roofline.evaluation(variant, _FC6, 1, 1).flops - roofline.trunk(variant, _FC6, 1).flops
    return Work(max(0, every - dense), min(every, dense))
