"""AlexNet cut into a frozen trunk and a head to be retrained, filled with pretrained weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, TypeAlias

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from cxrjax.base import devices
from cxrjax.base.types import Array, Params
from cxrjax.models import alexnet, augment, pretrained
from cxrjax.models.alexnet import AlexNet, Variant, layer_before, layers_between
from cxrjax.models.pretrained import Preprocessing, Weights
from cxrjax.storage import checkpoint


class Trunk(NamedTuple):
    """The frozen layers."""

    apply: Callable[[Params, Array], jax.Array]  # (params, pixels [B, H, W]), to be used inside other programs
    compiled: Callable[[Params, Array], jax.Array]  # the same as a program of its own
    params: Params
    shape: tuple[int, ...]  # of one image's output
    dtype: np.dtype  # of the output
    identity: str  # changes with what the output depends on; "": no layers, the pixels pass as they are

    def __call__(self, pixels: Array) -> jax.Array:
        """Activations [B, *shape] of pixels [B, 227, 227] u8."""
        return self.compiled(self.params, pixels)


Head: TypeAlias = "Callable[[Params, Array, jax.Array | None], jax.Array]"
"""(params, image [B, ...], dropout key or None) -> logits [B, K]; without a key nothing is dropped."""


_IMAGENET = {"torchvision": pretrained.TORCHVISION, "caffe": pretrained.CAFFE}


class Network(NamedTuple):
    """A frozen trunk and the head to be retrained."""

    trunk: Trunk
    head: Head
    initial: Callable[[jax.Array], Params]  # key -> head parameters of one seed
    fresh: tuple[str, ...]  # head layers that start from random weights
    dense: bool  # the head holds no convolution
    whole: AlexNet  # trunk and head in one, for `see`
    preprocessing: Preprocessing


class Seen(NamedTuple):
    """What a network makes of B images."""

    logits: jax.Array  # [B, K] f32
    activations: dict[str, jax.Array]  # layer -> after ReLU, before normalisation and pooling: [B, h, w, C] or [B, C]
    preactivations: dict[str, jax.Array]  # the same before ReLU


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
        given, _ = pretrained.match(usable, shapes, optional=tuple(name for name in layers if name not in usable))

    def head(params: Params, images: Array, key: jax.Array | None) -> jax.Array:
        x = augment.normalise(images, preprocessing) if last_frozen is None else jnp.asarray(images)
        rngs = {} if key is None else {"dropout": key}
        logits, _ = head_net.apply({"params": params}, x, key is not None, rngs=rngs)
        return jnp.asarray(logits, jnp.float32)

    def initial(key: jax.Array) -> Params:
        return {**head_net.init(key, example)["params"], **given}

    fresh = tuple(name for name in layers if name not in given)
    whole = AlexNet(num_classes, variant, dtype=jnp.dtype(dtype))
    return Network(trunk, head, initial, fresh, retrain_from.startswith("fc"), whole, preprocessing)


def layers(net: Network, head: Params) -> Params:
    """Every layer's parameters: the trunk's and one head's, or a stack of heads [S, ...]."""
    return {**net.trunk.params, **head}


def seed_axes(net: Network) -> dict[str, int | None]:
    """Where `layers` of a stack of heads has its axis S, for `jax.vmap`: the trunk has none."""
    names = layers_between("conv1", "fc8")
    return {name: None if name in net.trunk.params else 0 for name in names}


def see(net: Network, params: Params, images: Array, added: Mapping[str, jax.Array] = MappingProxyType({})) -> Seen:
    """The whole network without dropout, and all that happens on the way.

    Args:
      net: see `cut`.
      params: of every layer, see `layers`.
      images: [B, H, W], grey, or [B, H, W, 3], RGB; 0..255, u8 or float; 63 pixels or more a side.
      added: see `AlexNet`.
    """
    x = augment.normalise(images, net.preprocessing)
    (logits, activations), found = net.whole.apply(
        {"params": params}, x, added=added, capture_intermediates=_is_layer, mutable=["intermediates"]
    )
    inputs = {name: value["__call__"][0] for name, value in found["intermediates"].items()}
    return Seen(jnp.asarray(logits, jnp.float32), activations, inputs)


def _is_layer(module: nn.Module, method: str) -> bool:
    return method == "__call__" and isinstance(module, nn.Conv | nn.Dense)


def _pass(params: Params, images: Array) -> jax.Array:
    return jnp.asarray(images)


def _trunk(
    weights: Weights | None, variant: Variant, last: str | None, preprocessing: Preprocessing, dtype: np.dtype
) -> Trunk:
    """The frozen layers as a compiled function; of none, the pixels as they are."""
    pixels = (augment.CROP, augment.CROP)
    if last is None:
        return Trunk(_pass, _pass, {}, pixels, np.dtype(np.uint8), "")
    net = AlexNet(variant=variant, last=last, dtype=dtype)
    example = jnp.zeros((1, *pixels, 3), jnp.float32)
    if weights:
        template = jax.eval_shape(net.init, jax.random.key(0), example)["params"]
        params, _ = pretrained.match(weights.params, template)
        params = jax.tree.map(jnp.asarray, params)
    else:
        params = net.init(jax.random.key(0), example)["params"]

    def run(params: Params, images: Array) -> jax.Array:
        return net.apply({"params": params}, augment.normalise(images, preprocessing))[0]

    shape = jax.eval_shape(run, params, jax.ShapeDtypeStruct((1, *pixels), jnp.uint8)).shape
    identity = f"{checkpoint.digest(params)} {variant} {last} {preprocessing} {dtype}"
    compiled = jax.jit(run, compiler_options=devices.convolution_options())
    return Trunk(run, compiled, params, shape[1:], dtype, identity)


def facts(weights: Weights | None, retrain_from: str) -> dict[str, Any]:
    """What is said of the network: variant, weights, dropout, and which layers are frozen, retrained, of these begin at
    random (`fresh`, as `cut` fills them in), and drop units."""
    retrained = layers_between(retrain_from, "fc8")
    given = set(weights.info.layers) if weights else set()
    return {
        "variant": weights.info.variant if weights else "torchvision",
        "frozen": [name for name in alexnet.LAYERS if name not in retrained],
        "retrained": list(retrained),
        "fresh": [name for name in retrained if name not in given or name == "fc8"],
        "dropout": alexnet.DROPOUT,
        "dropped": [name for name in retrained if name in alexnet.WIDTHS],
    }
