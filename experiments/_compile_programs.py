"""The programs of training, dreams and maps that are compiled for a GPU: the library's own, their arrays as shapes."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp

from cxrjax.interpret import dream, grad_cam, objectives, saliency
from cxrjax.models import registry, transfer
from cxrjax.models.model import Model
from cxrjax.training import inputs, loop
from cxrjax.training import plan as planning
from cxrjax.training.optimizer import Recipe, make_optimizer
from cxrjax.training.step import batch_shapes

from . import _benchmark_parts
from ._compiled import PLATFORM, Program

TRUNK, HEAD, ALL = "trunk", "head steps", "all-layers step"


class Sizes(NamedTuple):
    """Of a run."""

    batch: int
    seeds: int
    train: int  # images of each seed
    val: int
    slots: int  # augmentations an image in the bank

    @property
    def steps(self) -> int:
        """Of an epoch."""
        return planning.steps_per_epoch(self.train, self.batch)


def of(model: Model, dtype: str, sizes: Sizes) -> Iterator[Program]:
    """Programs of one network: trunk and all-layers step; of AlexNet also head steps, dreams and maps.

    Args:
      model: the network.
      dtype: float32 or bfloat16.
      sizes: of the run.
    """
    weights = _benchmark_parts.random_weights(model)
    net = _benchmark_parts.network(weights, "head", dtype)
    pixels = jax.ShapeDtypeStruct((sizes.batch, net.model.crop, net.model.crop), jnp.uint8)
    program = functools.partial(Program, model.name, dtype)
    yield program(f"{TRUNK}, batch {sizes.batch}", cast(Any, net.trunk.run).lower, (net.trunk.variables, pixels))
    if model == registry.ALEXNET:
        yield _head_steps(program, net, sizes)
    whole = _benchmark_parts.network(weights, "all", dtype, batch_norm="train")
    yield _all_layers(program, whole, sizes.batch)
    if model == registry.ALEXNET:
        yield from _dreams(program, net, sizes.seeds)
        yield from _maps(program, net)


def _states(net: transfer.Network, seeds: int) -> Any:
    return loop.state_shapes(net, make_optimizer(Recipe()), seeds)


def _head_steps(program: Any, net: transfer.Network, sizes: Sizes) -> Program:
    """An epoch of all seeds in one call, which gathers from a bank on the device."""
    advance = cast(Any, loop.compile_steps(net, make_optimizer(Recipe()), platform=PLATFORM))
    features = jax.ShapeDtypeStruct((sizes.train + sizes.val, sizes.slots, *net.trunk.shape), net.trunk.dtype)

    def steps(count: int) -> Program:
        batch = batch_shapes((sizes.seeds, count, sizes.batch), (2,), jnp.int32)
        name = f"{HEAD} of {sizes.seeds} seeds, {count} a call"
        return cast(Program, program(name, advance.lower, (_states(net, sizes.seeds), batch, features)))

    return steps(sizes.steps)._replace(single=steps(1))


def _all_layers(program: Any, net: transfer.Network, batch: int) -> Program:
    """Steps of one seed from pixels, as many a call as training puts into one."""
    advance = cast(Any, loop.compile_steps(net, make_optimizer(Recipe()), platform=PLATFORM))

    def steps(count: int) -> Program:
        examples = batch_shapes((1, count, batch), net.trunk.shape, net.trunk.dtype)
        return cast(Program, program(f"{ALL}, {count} a call", advance.lower, (_states(net, 1), examples)))

    return steps(inputs.SEGMENT)._replace(single=steps(1))


def _dreams(program: Any, net: transfer.Network, seeds: int) -> Iterator[Program]:
    """An iteration of all seeds' dreams at each of the default sizes."""
    heads = _states(net, seeds).variables
    parameters = (transfer.layers(net, heads), objectives.class_logit(net, 1))
    ascent, objective = dream.OCTAVES, objectives.channel_objective(net)
    static = (
        objective,
        (ascent.parametrisation, ascent.transform, ascent.optimiser),
        dream.hashable((transfer.seed_axes(net), None)),
    )
    for side in dream.octave_sizes(net.model.crop, ascent.octaves, ascent.scale):
        images = jax.ShapeDtypeStruct((seeds, side, side), jnp.float32)
        name = f"dream of {seeds} seeds, {side} pixels"
        yield program(name, cast(Any, dream.iterate).lower, (parameters, None, images, ()), static)


def _maps(program: Any, net: transfer.Network) -> Iterator[Program]:
    """Grad-CAM and the gradient of one network for as many images as one call takes."""
    variables = transfer.layers(net, jax.eval_shape(net.initial, jax.random.key(0)))
    direction = objectives.log_odds(net)
    images = jax.ShapeDtypeStruct((saliency.CHUNK, net.model.crop, net.model.crop), jnp.float32)
    cam, gradient = cast(Any, grad_cam.cam_maps).lower, cast(Any, saliency.gradients).lower
    yield program("Grad-CAM, 64 images", cam, (variables, images, direction), (net.model, net.model.cam_stage))
    static = (objectives.channel_objective(net),)
    yield program("gradient map, 64 images", gradient, ((variables, direction), images), static)
