"""Grad-CAM, and where the cells of its maps lie in the image."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp

from cxrjax.base import Array, Variables, devices
from cxrjax.base.numerics import pinned
from cxrjax.models import transfer
from cxrjax.models.model import SAME, Model
from cxrjax.models.transfer import Network


@pinned()
def grad_cam(
    net: Network, variables: Variables, images: Array, direction: jax.Array, stage: str | None = None
) -> jax.Array:
    """Where a stage's channels that speak for a class are active (Selvaraju et al. 2017, arXiv:1610.02391).

    relu(sum_c w_c A_c), where A_c is channel c's map after ReLU, before normalisation and pooling, and w_c the mean
    over the map of d score / d A_c. The score is logits @ direction.

    Args:
      net: the network.
      variables: of every layer, see `transfer.layers`.
      images: [B, H, W], grey 0..255, u8 or float, at least `Model.smallest` pixels a side.
      direction: [K] f32 over the logits, see `objectives.log_odds`.
      stage: one with a map; None: the model's `cam_stage`, AlexNet's conv5.

    Returns:
      [B, h, w] f32, >= 0, at the stage's resolution; `enlarge` brings it to the image's.

    Raises:
      ValueError: if `images` is not [B, H, W], or the stage has no map.
    """
    stage = stage or net.model.cam_stage
    check_map(net.model, stage)
    return cam_maps(net.model, stage, jax.device_put(variables), checked(images), direction)


@pinned()
def slope(
    model: Model, variables: Variables, images: jax.Array, direction: jax.Array, stage: str
) -> tuple[jax.Array, jax.Array]:
    """How much the score logits @ direction rises with each of a stage's activations, and these, both [B, h, w, C]
    (or [B, C]); the arguments as `grad_cam`'s, of any stage but the logits.
    """

    def score(tap: jax.Array) -> tuple[jax.Array, jax.Array]:
        seen = transfer.forward(model, variables, images, taps={stage: tap})
        return (seen.output @ direction).sum(), seen.activations[stage].after

    run = functools.partial(transfer.forward, model)
    shape = jax.eval_shape(run, variables, images).activations[stage].after
    return jax.grad(score, has_aux=True)(jnp.zeros(shape.shape, shape.dtype))


def check_map(model: Model, stage: str) -> None:
    """Refuses a stage without a map.

    Raises:
      ValueError: naming those that have one.
    """
    maps = [name for name in model.stages if name not in model.dense]
    if stage not in maps:
        raise ValueError(f"stage must be one of {', '.join(maps)}, which have a map, got {stage!r}")


def centres(model: Model, stage: str, length: int = 0) -> tuple[float, int]:
    """First and pitch of a stage's cells: cell i is centred at pixel first + i pitch, in rows as in columns.

    A convolution or pooling of width k, stride s and padding p adds pitch ((k - 1) / 2 - p) to `first` and multiplies
    `pitch` by s (Dumoulin & Visin 2016, arXiv:1603.07285, for one layer). 0 is the centre of the first pixel.
    `length` is of a row of the image, pixels; 0: the network's crop. It matters to TensorFlow's padding alone.

    >>> from cxrjax.models import registry
    >>> [centres(registry.get(name), "conv5") for name in ("alexnet", "alexnet-caffe")]
    [(15.0, 16), (17.0, 16)]

    Raises:
      ValueError: if the stage has no map.
    """
    check_map(model, stage)
    first, pitch, length = 0.0, 1, length or model.crop
    for size, stride, padding in model.build().windows(stage):
        cells = -(-length // stride) if padding == SAME else (length + 2 * padding - size) // stride + 1
        start = max(0, (cells - 1) * stride + size - length) // 2 if padding == SAME else padding
        first, pitch, length = first + pitch * ((size - 1) / 2 - start), pitch * stride, cells
    return first, pitch


@pinned()
def enlarge(maps: jax.Array, shape: tuple[int, ...], model: Model, stage: str | None = None) -> jax.Array:
    """A stage's maps [B, h, w] at the pixels of the image, [B, H, W]: bilinear between the centres of the cells.

    Beyond the outermost centres their value holds on. To stretch the map over the image, as is usual, would draw
    conv5's outermost cells 7 and 11 pixels further out (227 pixels, torchvision: at 8 and 218 instead of 15 and 207).

    Args:
      maps: [B, h, w] f32.
      shape: (H, W) of the image.
      model: whose map it is.
      stage: one with a map; None: the model's `cam_stage`.

    Raises:
      ValueError: if the stage has no map.
    """

    def matrix(pixels: int, cells: int) -> jax.Array:
        first, pitch = centres(model, stage or model.cam_stage, pixels)
        place = jnp.clip((jnp.arange(pixels) - first) / pitch, 0, cells - 1)
        return jnp.maximum(0, 1 - jnp.abs(place[:, None] - jnp.arange(cells)[None, :]))

    rows, columns = (matrix(*sides) for sides in zip(shape, maps.shape[1:], strict=True))
    return jnp.einsum("yh,bhw,xw->byx", rows, maps, columns, precision="highest")


@devices.jit_convolutions(0, 1)
def cam_maps(model: Model, stage: str, variables: Variables, images: jax.Array, direction: jax.Array) -> jax.Array:
    """The program of `grad_cam`."""

    def one(image: jax.Array) -> jax.Array:
        gradient, activation = slope(model, variables, image[None], direction, stage)
        weights = gradient.astype(jnp.float32).mean((0, 1, 2))
        return jax.nn.relu(activation[0].astype(jnp.float32) @ weights)

    return jax.vmap(one)(images)


def checked(images: Array) -> jax.Array:
    """[B, H, W] as f32; refuses other shapes."""
    if jnp.ndim(images) != 3:
        raise ValueError(f"images must be [B, H, W], got {list(jnp.shape(images))}")
    return jnp.asarray(images, jnp.float32)
