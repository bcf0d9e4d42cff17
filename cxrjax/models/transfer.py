"""A network cut into a frozen trunk and a head to be retrained, filled with pretrained weights; the way through it."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from cxrjax.base import Array, Params, devices
from cxrjax.base.numerics import new_key, pinned
from cxrjax.models import pretrained, registry
from cxrjax.models.augment import normalise
from cxrjax.models.pretrained import Weights
from cxrjax.models.registry import Activation, Model
from cxrjax.storage import checkpoint


class Forward(NamedTuple):
    """What a network makes of B images."""

    output: jax.Array  # of the last stage that ran: logits [B, K] f32, or what the next stage reads
    activations: dict[str, Activation]  # by stage


@pinned()
def forward(
    model: Model,
    variables: Mapping[str, Any],
    x: Array,
    *,
    start: str | None = None,
    stop: str | None = None,
    train: bool = False,
    rngs: Mapping[str, jax.Array] | None = None,
    taps: Mapping[str, jax.Array] = MappingProxyType({}),
) -> Forward:
    """Runs some stages of a network: the one way in, for training, evaluation, dreams and maps.

    Args:
      model: the network.
      variables: Flax collections, {"params": layer -> {"kernel", "bias"}}; may hold more layers than are run.
      x: for the first stage pixels, 0..255, u8 or float, [B, H, W], grey, or [B, H, W, 3], RGB, at least
        `model.smallest` a side, which are preprocessed here; for a later one the output of the stage before it.
      start: first stage; None: the network's.
      stop: last stage, which is run, too; None: the logits.
      train: True drops units; then `rngs` must hold "dropout".
      rngs: kind -> key.
      taps: stage -> what is added to its activations before they go on; the gradient with respect to zeros is that of
        the activations.

    Raises:
      ValueError: if there is no such stage, or `start` comes after `stop`.
    """
    start, stop = start or model.stages[0], stop or model.logits
    inputs = normalise(x, model.preprocessing) if start == model.stages[0] else jnp.asarray(x)
    output, activations = model.build(start, stop).apply(variables, inputs, train, taps, rngs=rngs)
    return Forward(jnp.asarray(output, jnp.float32) if stop == model.logits else output, activations)


class Trunk(NamedTuple):
    """The frozen stages."""

    model: Model
    run: Callable[[Params, Array], jax.Array]  # (params, pixels [B, H, W]), compiled
    params: Params
    shape: tuple[int, ...]  # of one image's output
    dtype: np.dtype  # of the output
    identity: str  # changes with what the output depends on; "": no stages, the pixels pass as they are

    @pinned()
    def __call__(self, pixels: Array) -> jax.Array:
        """Activations [B, *shape] of pixels [B, crop, crop] u8."""
        return self.run(self.params, pixels)


Head: TypeAlias = "Callable[[Params, Array, jax.Array | None], jax.Array]"
"""(params, inputs [B, ...], dropout key or None) -> logits [B, K]; without a key nothing is dropped."""


@dataclasses.dataclass(frozen=True)
class RetrainedHead:
    """The stages from `start` on; two of the same model and start are equal, so that one program does for both."""

    model: Model
    start: str

    def __call__(self, params: Params, inputs: Array, key: jax.Array | None) -> jax.Array:
        """See `Head`."""
        train, rngs = key is not None, {} if key is None else {"dropout": key}
        return forward(self.model, {"params": params}, inputs, start=self.start, train=train, rngs=rngs).output


class Network(NamedTuple):
    """A frozen trunk and the head to be retrained."""

    model: Model  # with the classes, the dtype and the preprocessing of this network
    trunk: Trunk
    head: Head
    initial: Callable[[jax.Array], Params]  # key -> head parameters of one seed
    fresh: tuple[str, ...]  # head layers that start from random weights
    dense: bool  # the head holds no convolution


@pinned()
def build_transfer_model(
    weights: Weights | None,
    retrain_from: str,
    num_classes: int = 2,
    model: Model = registry.ALEXNET,
    dtype: str = "float32",
) -> Network:
    """Cuts a network into trunk and head, and fills in what weights there are.

    Args:
      weights: pretrained; None: random, the trunk the same for all seeds.
      retrain_from: first stage of the head.
      num_classes: outputs of the last stage, which always starts from random weights.
      model: if there are no weights, which name theirs.
      dtype: float32 or bfloat16, of activations and of the products that make them; parameters, logits, loss and
        update are float32 in both.

    Raises:
      InputError: if the network has no stage `retrain_from`; if a frozen layer is missing in the weights or does not
        fit, listing all such layers.
    """
    model = dataclasses.replace(weights.model if weights else model, num_classes=num_classes, dtype=dtype)
    model.check_stage(retrain_from, "retrain_from")
    retrained = model.between(retrain_from, model.logits)
    shapes = model.parameter_shapes(retrain_from)
    given: Params = {}
    if weights:
        usable = {name: weights.params[name] for name in shapes if name in weights.params and name != model.logits}
        absent = tuple(name for name in shapes if name not in usable)
        given = pretrained.match(usable, shapes, absent, model.stages)
    return Network(
        model,
        _trunk(model, weights, model.before(retrain_from)),
        RetrainedHead(model, retrain_from),
        functools.partial(_initial, model, retrain_from, given),
        tuple(name for name in shapes if name not in given),
        all(stage in model.dense for stage in retrained),
    )


@pinned()
def _initial(model: Model, start: str, given: Params, key: jax.Array) -> Params:
    """Parameters of one seed's head: those that are given, and random ones."""
    example = jnp.zeros(model.input_shape(start), jnp.float32)
    return {**model.build(start).init(key, example)["params"], **given}


def layers(net: Network, head: Params) -> Params:
    """Every layer's parameters: the trunk's and one head's, or a stack of heads [S, ...]."""
    return {**net.trunk.params, **head}


def seed_axes(net: Network) -> dict[str, int | None]:
    """Where `layers` of a stack of heads has its axis S, for `jax.vmap`: the trunk has none."""
    return {name: None if name in net.trunk.params else 0 for name in net.model.parameter_shapes()}


def _trunk(model: Model, weights: Weights | None, stop: str | None) -> Trunk:
    """The frozen stages, the last of them `stop`, as a compiled function; of none, the pixels as they are."""
    pixels = (model.crop, model.crop)
    if stop is None:
        return Trunk(model, lambda _, images: jnp.asarray(images), {}, pixels, np.dtype(np.uint8), "")
    if weights:
        params = pretrained.match(weights.params, model.parameter_shapes(stop=stop), others=model.stages)
        params = jax.tree.map(jnp.asarray, params)
    else:
        example = jnp.zeros(model.input_shape(), jnp.float32)
        params = model.build(stop=stop).init(new_key(0), example)["params"]

    def run(params: Params, images: Array) -> jax.Array:
        return forward(model, {"params": params}, images, stop=stop).output

    shape = jax.eval_shape(lambda: run(params, jnp.zeros((1, *pixels), jnp.uint8))).shape
    options = dict(model.options)
    identity = f"{checkpoint.digest(params)} {model.name} {options} {stop} {model.preprocessing} {model.dtype}"
    compiled = jax.jit(run, compiler_options=devices.convolution_options())
    return Trunk(model, compiled, params, shape[1:], np.dtype(model.dtype), identity)


def facts(weights: Weights | None, retrain_from: str, model: Model = registry.ALEXNET) -> dict[str, Any]:
    """What is said of the network: which it is, its input, dropout, and which layers are frozen, retrained, of these
    begin at random (`fresh`, as `build_transfer_model` fills them in), and drop units."""
    model = weights.model if weights else model
    retrained = model.between(retrain_from, model.logits)
    given = set(weights.info.layers) if weights else set()
    of_model = ("label", "description", "crop", "source", "channels", "logits", "dropout")
    return {
        "model": model.name,
        **{name: getattr(model, name) for name in of_model},
        "frozen": [name for name in model.stages if name not in retrained],
        "retrained": list(retrained),
        "fresh": [name for name in retrained if name not in given or name == model.logits],
        "dropped": [name for name in retrained if name in model.dropped],
    }
