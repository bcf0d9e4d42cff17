"""Ten seconds that tell a sound installation from a broken one: a few steps of training on drawn radiographs."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from cxrjax.base import devices
from cxrjax.base.numerics import new_key
from cxrjax.base.recipes import Recipe
from cxrjax.data import phantom
from cxrjax.models import registry, transfer
from cxrjax.training import step
from cxrjax.training.optimizer import make_optimizer

# Computed on an x86 CPU by jax 0.10: mean activation of the trunk, mean loss of each of four steps.
KNOWN = (0.02671994, 0.70090091, 0.69530559, 0.69776976, 0.69226599)
TOLERANCE = 2e-3  # relative; devices and compilers sum in other orders, a wrong program is off by far more
_IMAGES = 16


def run() -> list[float]:
    """The numbers that stand beside `KNOWN`: a narrow AlexNet of random weights, its head trained with dropout."""
    options = (*registry.ALEXNET.options, ("widths", (4, 12, 24, 16, 16, 64, 64)))
    model = dataclasses.replace(registry.ALEXNET, options=options)
    drawn = phantom.phantom(12)
    inner = slice((model.source - model.crop) // 2, (model.source + model.crop) // 2)
    pixels = jnp.asarray(drawn.images[:_IMAGES, inner, inner])
    label = drawn.table["labels"].str.contains("Pneumonia").to_numpy(np.int32)[:_IMAGES]
    with devices.precision("float32"):
        net = transfer.build_transfer_model(None, "fc6", model=model)
        features = net.trunk(pixels, {})
        optimizer = make_optimizer(Recipe(learning_rate=0.01), net.fresh)
        state = step.init(net.initial(new_key(0)), optimizer, new_key(1))
        train = jax.jit(step.make_step(net.head, optimizer))
        batch = step.Batch(features, jnp.asarray(label), jnp.ones(_IMAGES, bool))
        numbers = [float(jnp.abs(features).mean())]
        for _ in KNOWN[1:]:
            state, metrics = train(state, batch)
            numbers.append(float(metrics.loss_sum / metrics.count))
    return numbers


def fault(numbers: list[float]) -> str:
    """What is wrong with the numbers of `run`, or "".

    >>> fault([*KNOWN]), fault([float("nan"), *KNOWN[1:]])
    ('', 'number 1 is nan, not 0.0267199')
    """
    for place, (number, known) in enumerate(zip(numbers, KNOWN, strict=True), 1):
        if not abs(number - known) <= TOLERANCE * known:  # NaN is not
            return f"number {place} is {number:.6g}, not {known:.6g}"
    return ""
