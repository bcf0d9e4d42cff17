"""Translation, horizontal flip and reduction to 227x227, then what the weights expect of a pixel.

The poster: images reduced to 256x256; at each use translated at random, flipped with probability 1/2, reduced to
227x227. A 227 crop of 256 has offsets 0..29 in y and x.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from cxrjax.base.types import Array
from cxrjax.models.registry import Preprocessing

SOURCE = 256
CROP = 227
OFFSETS = SOURCE - CROP + 1  # 0..29
CENTRE = (SOURCE - CROP) // 2  # 14, as torchvision's CenterCrop and MATLAB's centerCropWindow2d round
MIDDLE = slice(CENTRE, CENTRE + CROP)  # rows, or columns, of the centre crop


@jax.jit
def crop_flip(images: Array, offset: Array, flip: Array) -> jax.Array:
    """Cuts a 227x227 window out of each image and mirrors some of them left to right.

    Args:
      images: [B, 256, 256], any type; the pixels are only moved.
      offset: [B, 2] i32, (y, x) of the window's upper left corner, 0..29.
      flip: [B] bool.

    Returns:
      [B, 227, 227], of the type of `images`.
    """

    def one(image: jax.Array, corner: jax.Array, mirrored: jax.Array) -> jax.Array:
        window = jax.lax.dynamic_slice(image, (corner[0], corner[1]), (CROP, CROP))
        return jnp.where(mirrored, window[:, ::-1], window)

    return jax.vmap(one)(jnp.asarray(images), jnp.asarray(offset), jnp.asarray(flip))


def normalise(images: Array, preprocessing: Preprocessing) -> jax.Array:
    """Pixels to the three channels that the weights expect.

    Args:
      images: [B, H, W], grey, or [B, H, W, 3], RGB; 0..255, u8 or float.
      preprocessing: mean and standard deviation, in the order of its channels.

    Returns:
      [B, H, W, 3] f32, (value / 255 * range - mean) / std. Grey is the same in RGB and BGR; mean and std are not.
    """
    scaled = jnp.asarray(images, jnp.float32) * (preprocessing.range / 255)
    if scaled.ndim == 3:
        scaled = scaled[..., None]
    elif preprocessing.channels == "BGR":
        scaled = scaled[..., ::-1]
    mean, std = (jnp.array(value, jnp.float32).reshape(1, 1, 1, 3) for value in (preprocessing.mean, preprocessing.std))
    return (scaled - mean) / std
