"""Grad-CAM, and where the cells of its maps lie in the image."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp

from cxrjax.base import devices
from cxrjax.base.types import Array, Params
from cxrjax.models import transfer
from cxrjax.models.alexnet import CONVOLUTIONS, Variant
from cxrjax.models.transfer import Network


def grad_cam(net: Network, params: Params, images: Array, direction: jax.Array, layer: str = "conv5") -> jax.Array:
    """Where a layer's channels that speak for a class are active (Selvaraju et al. 2017, arXiv:1610.02391).

    relu(sum_c w_c A_c), where A_c is channel c's map after ReLU, before normalisation and pooling, and w_c the mean
    over the map of d score / d A_c. The score is logits @ direction.

    Args:
      net: see `transfer.cut`.
      params: of every layer, see `transfer.layers`.
      images: [B, H, W], grey 0..255, u8 or float; 63 pixels or more a side.
      direction: [K] f32 over the logits, see `objectives.log_odds`.
      layer: conv1 .. conv5.

    Returns:
      [B, h, w] f32, >= 0, at the layer's resolution; `enlarge` brings it to the image's.

    Raises:
      ValueError: if `images` is not [B, H, W], or the layer has no map.
    """
    centres(net.whole.variant, layer)  # refuses a layer without a map
    return _cam(Alike(net), layer)(jax.device_put(params), checked(images), direction)


def slope(
    net: Network, params: Params, images: jax.Array, direction: jax.Array, layer: str
) -> tuple[jax.Array, jax.Array]:
    """How much the score logits @ direction rises with each of a layer's activations, and these, both [B, h, w, C]
    (or [B, C]); the arguments as `grad_cam`'s, of any layer but fc8.
    """

    def score(added: jax.Array) -> tuple[jax.Array, jax.Array]:
        seen = transfer.see(net, params, images, {layer: added})
        return (seen.logits @ direction).sum(), seen.activations[layer]

    shape = jax.eval_shape(functools.partial(transfer.see, net), params, images).activations[layer]
    return jax.grad(score, has_aux=True)(jnp.zeros(shape.shape, shape.dtype))


def centres(variant: Variant, layer: str = "conv5") -> tuple[float, int]:
    """First and pitch of a layer's cells: cell i is centred at pixel first + i pitch, in rows as in columns.

    A convolution or pooling of width k, stride s and padding p adds pitch ((k - 1) / 2 - p) to `first` and multiplies
    `pitch` by s (Dumoulin & Visin 2016, arXiv:1603.07285, for one layer). 0 is the centre of the first pixel.

    >>> centres("torchvision"), centres("caffe")
    ((15.0, 16), (17.0, 16))

    Raises:
      ValueError: if the layer has no map.
    """
    layers = CONVOLUTIONS[variant]
    if layer not in layers:
        raise ValueError(f"layer must be one of {', '.join(layers)}, which have a map, got {layer!r}")
    first, pitch = 0.0, 1
    for name, conv in layers.items():
        first, pitch = first + pitch * ((conv.kernel - 1) / 2 - conv.padding), pitch * conv.stride
        if name == layer:
            break
        if conv.pool:
            first, pitch = first + pitch, pitch * 2  # `alexnet.max_pool`: 3 wide, no padding at the start
    return first, pitch


def enlarge(maps: jax.Array, shape: tuple[int, ...], variant: Variant, layer: str = "conv5") -> jax.Array:
    """A layer's maps [B, h, w] at the pixels of the image, [B, H, W]: bilinear between the centres of the cells.

    Beyond the outermost centres their value holds on. To stretch the map over the image, as is usual, would draw
    conv5's outermost cells 7 and 11 pixels further out (227 pixels, torchvision: at 8 and 218 instead of 15 and 207).

    Args:
      maps: [B, h, w] f32.
      shape: (H, W) of the image.
      variant: whose map it is.
      layer: conv1 .. conv5.

    Raises:
      ValueError: if the layer has no map.
    """
    first, pitch = centres(variant, layer)

    def matrix(pixels: int, cells: int) -> jax.Array:
        place = jnp.clip((jnp.arange(pixels) - first) / pitch, 0, cells - 1)
        return jnp.maximum(0, 1 - jnp.abs(place[:, None] - jnp.arange(cells)[None, :]))

    rows, columns = (matrix(*sides) for sides in zip(shape, maps.shape[1:], strict=True))
    return jnp.einsum("yh,bhw,xw->byx", rows, maps, columns, precision="highest")


class Alike:
    """A network as key of a cache of programs: what the parameters do not tell decides."""

    def __init__(self, net: Network) -> None:
        """Of one network."""
        self.net = net

    def __eq__(self, other: object) -> bool:
        """Whether one program does for both."""
        return isinstance(other, Alike) and self._told() == other._told()

    def __hash__(self) -> int:
        """Of what is compared."""
        return hash(self._told())

    def _told(self) -> tuple[Any, Any]:
        return self.net.whole, self.net.preprocessing


@functools.lru_cache(maxsize=8)
def _cam(alike: Alike, layer: str) -> Any:
    """(params, images, direction) -> Grad-CAM, compiled."""

    def one(params: Params, image: jax.Array, direction: jax.Array) -> jax.Array:
        gradient, activation = slope(alike.net, params, image[None], direction, layer)
        weights = gradient.astype(jnp.float32).mean((0, 1, 2))
        return jax.nn.relu(activation[0].astype(jnp.float32) @ weights)

    return jax.jit(jax.vmap(one, (None, 0, None)), compiler_options=devices.convolution_options())


def checked(images: Array) -> jax.Array:
    """[B, H, W] as f32; refuses other shapes."""
    if jnp.ndim(images) != 3:
        raise ValueError(f"images must be [B, H, W], got {list(jnp.shape(images))}")
    return jnp.asarray(images, jnp.float32)
