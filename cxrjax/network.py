"""AlexNet cut into a frozen trunk and a head to be retrained, filled with pretrained weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from cxrjax import augment, bank, checkpoint, convert, devices, train
from cxrjax.alexnet import AlexNet, Variant, layer_before, layers_between
from cxrjax.types import Array, Params, Preprocessing, Weights

_IMAGENET = {"torchvision": convert.TORCHVISION, "caffe": convert.CAFFE}


class Network(NamedTuple):
    """A frozen trunk and the head to be retrained."""

    trunk: bank.Trunk
    head: train.Head
    initial: Callable[[jax.Array], Params]  # key -> head parameters of one seed
    fresh: tuple[str, ...]  # head layers that start from random weights
    dense: bool  # the head holds no convolution


def cut(
    weights: Weights | None,
    retrain_from: str,
    num_classes: int = 2,
    variant: Variant = "torchvision",
    dtype: str = "float32",
) -> Network:
    """Cuts AlexNet into trunk and head, and fills in what weights there are.

    Args:
      weights: pretrained; None: random, the trunk the same for all seeds.
      retrain_from: first layer of the head.
      num_classes: outputs of fc8, which always starts from random weights.
      variant: if there are no weights to tell.
      dtype: float32 or bfloat16, of activations and of the products that make them; parameters, logits, loss and
        update are float32 in both.

    Raises:
      InputError: if a frozen layer is missing in the weights or does not fit, listing all such layers.
    """
    variant = weights.info.variant if weights else variant
    preprocessing = weights.info.preprocessing if weights else _IMAGENET[variant]
    last_frozen = layer_before(retrain_from)
    head_net = AlexNet(num_classes, variant, first=retrain_from, dtype=jnp.dtype(dtype))
    trunk = _trunk(weights, variant, last_frozen, preprocessing, jnp.dtype(dtype))
    example = jnp.zeros((1, *(trunk.shape if last_frozen else (*trunk.shape, 3))), jnp.float32)
    shapes = jax.eval_shape(head_net.init, jax.random.key(0), example)["params"]
    layers = layers_between(retrain_from, "fc8")
    given: Params = {}
    if weights:
        usable = {name: value for name, value in weights.params.items() if name in layers[:-1]}
        given, _ = convert.match(usable, shapes, optional=tuple(name for name in layers if name not in usable))

    def head(params: Params, images: Array, key: jax.Array | None) -> jax.Array:
        x = augment.normalise(images, preprocessing) if last_frozen is None else jnp.asarray(images)
        rngs = {} if key is None else {"dropout": key}
        logits, _ = head_net.apply({"params": params}, x, key is not None, rngs=rngs)
        return jnp.asarray(logits, jnp.float32)

    def initial(key: jax.Array) -> Params:
        return {**head_net.init(key, example)["params"], **given}

    fresh = tuple(name for name in layers if name not in given)
    return Network(trunk, head, initial, fresh, dense=retrain_from.startswith("fc"))


def logit_of(net: Network, label: int) -> Callable[[tuple[Params, Params], jax.Array], jax.Array]:
    """The whole network, for `dream`: ((trunk parameters, head parameters), grey image [H, W]) -> one logit []."""

    def objective(params: tuple[Params, Params], image: jax.Array) -> jax.Array:
        trunk, head = params
        return net.head(head, net.trunk.apply(trunk, image[None]), None)[0, label]

    return objective


def _pass(params: Params, images: Array) -> jax.Array:
    return jnp.asarray(images)


def _trunk(
    weights: Weights | None, variant: Variant, last: str | None, preprocessing: Preprocessing, dtype: np.dtype
) -> bank.Trunk:
    """The frozen layers as a compiled function; of none, the pixels as they are."""
    pixels = (augment.CROP, augment.CROP)
    if last is None:
        return bank.Trunk(_pass, _pass, {}, pixels, np.dtype(np.uint8), "")
    net = AlexNet(variant=variant, last=last, dtype=dtype)
    example = jnp.zeros((1, *pixels, 3), jnp.float32)
    if weights:
        template = jax.eval_shape(net.init, jax.random.key(0), example)["params"]
        params, _ = convert.match(weights.params, template)
        params = jax.tree.map(jnp.asarray, params)
    else:
        params = net.init(jax.random.key(0), example)["params"]

    def run(params: Params, images: Array) -> jax.Array:
        return net.apply({"params": params}, augment.normalise(images, preprocessing))[0]

    shape = jax.eval_shape(run, params, jax.ShapeDtypeStruct((1, *pixels), jnp.uint8)).shape
    identity = f"{checkpoint.digest(params)} {variant} {last} {preprocessing} {dtype}"
    compiled = jax.jit(run, compiler_options=devices.convolution_options())
    return bank.Trunk(run, compiled, params, shape[1:], dtype, identity)
