"""Augmentation: translation, horizontal flip and reduction to the crop; then what the weights expect of a pixel."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp

from cxrjax.base import Array
from cxrjax.models.model import Preprocessing

LUMA = (0.299, 0.587, 0.114)  # of red, green, blue: ITU-R BT.601


@functools.partial(jax.jit, static_argnames="crop")
def crop_flip(images: Array, offset: Array, flip: Array, crop: int) -> jax.Array:
    """Cuts a square window out of each image and mirrors some of them left to right.

    The poster: images reduced to 256x256; at each use translated at random, flipped with probability 1/2, reduced to
    227x227. A 227 crop of 256 has offsets 0..29 in y and x.

    Args:
      images: [B, side, side], any type; the pixels are only moved.
      offset: [B, 2] i32, (y, x) of the window's upper left corner, 0..side - crop.
      flip: [B] bool.
      crop: side of the window, pixels.

    Returns:
      [B, crop, crop], of the type of `images`.
    """

    def crop_one(image: jax.Array, corner: jax.Array, mirrored: jax.Array) -> jax.Array:
        window = jax.lax.dynamic_slice(image, (corner[0], corner[1]), (crop, crop))
        return jnp.where(mirrored, window[:, ::-1], window)

    return jax.vmap(crop_one)(jnp.asarray(images), jnp.asarray(offset), jnp.asarray(flip))


def normalise(images: Array, preprocessing: Preprocessing) -> jax.Array:
    """Pixels to the channels that the weights expect.

    Args:
      images: [B, H, W], grey, or [B, H, W, 3], RGB; 0..255, u8 or float.
      preprocessing: mean and standard deviation of its C channels, in their order.

    Returns:
      [B, H, W, C] f32, (value / 255 * range - mean) / std. Grey is the same in RGB and BGR; mean and std are not. RGB
      becomes one grey channel by ITU-R BT.601's luma.
    """
    scaled = jnp.asarray(images, jnp.float32) * (preprocessing.range / 255)
    if scaled.ndim == 3:
        scaled = scaled[..., None]
    elif preprocessing.channels == "BGR":
        scaled = scaled[..., ::-1]
    elif preprocessing.channels == "L":
        scaled = jnp.sum(scaled * jnp.array(LUMA, jnp.float32), axis=-1, keepdims=True)
    mean, std = (
        jnp.array(value, jnp.float32).reshape(1, 1, 1, -1) for value in (preprocessing.mean, preprocessing.std)
    )
    return (scaled - mean) / std
