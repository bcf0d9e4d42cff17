"""Augmentation: translation, horizontal flip and reduction to the crop; equalisation; rotation, scale, brightness; then
what the weights expect of a pixel."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

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


class Augmentation(NamedTuple):
    """What one amount does to an image: where its pixels come from, or which values they have. At 0 it does nothing."""

    matrix: Callable[[jax.Array], tuple[tuple[Any, Any], tuple[Any, Any]]] | None = None
    """amount [] -> the matrix from a place in the new image, (y, x) in pixels from the centre, to one in the old."""
    values: Callable[[jax.Array, jax.Array], jax.Array] | None = None
    """(image [H, W] f32, 0..255, amount []) -> image."""


def _turn(degrees: jax.Array) -> tuple[tuple[Any, Any], tuple[Any, Any]]:
    cos, sin = jnp.cos(jnp.deg2rad(degrees)), jnp.sin(jnp.deg2rad(degrees))
    return (cos, sin), (-sin, cos)


AUGMENTATIONS: dict[str, Augmentation] = {
    "rotation": Augmentation(matrix=_turn),  # degrees, counter-clockwise
    "scale": Augmentation(matrix=lambda share: ((1 / (1 + share), 0.0), (0.0, 1 / (1 + share)))),
    "brightness": Augmentation(values=lambda image, share: image * (1 + share)),
}
"""By the name of the flag that limits the amount. To add one, add it here, and the flag to `base.recipes.Recipe`."""


@jax.jit
def vary(images: Array, amounts: dict[str, Array]) -> jax.Array:
    """Images varied by given amounts: first where pixels come from, by all matrices at once, then their values.

    Between pixels bilinear; beyond the image the value of its nearest pixel, since black corners would tell the angle.

    Args:
      images: [B, H, W] u8.
      amounts: each [B] f32, by the names of `AUGMENTATIONS`.

    Returns:
      [B, H, W] u8, rounded.
    """

    def one(image: jax.Array, amounts: dict[str, Any]) -> jax.Array:
        chosen = [(augmentation, amounts[name]) for name, augmentation in AUGMENTATIONS.items() if name in amounts]
        centre = [(side - 1) / 2 for side in image.shape]
        place = [at - middle for at, middle in zip(jnp.indices(image.shape, jnp.float32), centre, strict=True)]
        for augmentation, amount in chosen:
            if augmentation.matrix:
                place = [row[0] * place[0] + row[1] * place[1] for row in augmentation.matrix(amount)]
        varied = image.astype(jnp.float32)
        if any(augmentation.matrix for augmentation, _ in chosen):
            place = [at + middle for at, middle in zip(place, centre, strict=True)]
            varied = jax.scipy.ndimage.map_coordinates(varied, place, order=1, mode="nearest")
        for augmentation, amount in chosen:
            varied = augmentation.values(varied, amount) if augmentation.values else varied
        return jnp.clip(jnp.round(varied), 0, 255).astype(jnp.uint8)

    return jax.vmap(one)(jnp.asarray(images), amounts)


_TILES, _CLIP, _GREYS = 8, 2.0, 256  # the size of tiles and the limit of OpenCV's examples, which most users take


@jax.jit
def clahe(images: Array) -> jax.Array:
    """Contrast-limited adaptive histogram equalisation (Zuiderveld 1994, Graphics Gems IV), as OpenCV's
    `createCLAHE(2.0, (8, 8))`.

    The image is cut into 8 x 8 tiles. The histogram of each is cut off at twice its mean, what is cut off is spread
    over all greys, and its cumulative sum is the tile's map of greys. A pixel's grey is mapped by the maps of the four
    nearest tiles, bilinear between their centres.

    Args:
      images: [B, H, W] u8.

    Returns:
      [B, H, W] u8.
    """
    return jax.vmap(_clahe)(jnp.asarray(images))


def _clahe(image: jax.Array) -> jax.Array:
    sides = image.shape
    # Where one side does not divide OpenCV pads both, at the end.
    padding = [0, 0] if not any(side % _TILES for side in sides) else [_TILES - side % _TILES for side in sides]
    height, width = ((side + pad) // _TILES for side, pad in zip(sides, padding, strict=True))
    padded = jnp.pad(image, [(0, pad) for pad in padding], mode="reflect")
    tiles = padded.reshape(_TILES, height, _TILES, width).swapaxes(1, 2).reshape(-1, height * width)
    maps = jax.vmap(_map_of_tile)(tiles).reshape(_TILES, _TILES, _GREYS)

    def neighbours(pixels: int, tile: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of each pixel of a row the tile before it and the one after it, and the share [n] f32 of the latter."""
        place = np.arange(pixels, dtype=np.float32) * np.float32(1 / tile) - np.float32(0.5)
        before = np.floor(place).astype(np.int32)
        return np.maximum(before, 0), np.minimum(before + 1, _TILES - 1), place - before

    up, down, below = neighbours(sides[0], height)
    left, right, beside = neighbours(sides[1], width)
    grey, below, beside = image.astype(jnp.int32), below[:, None], beside[None, :]
    rows = [
        maps[y[:, None], left[None, :], grey] * (1 - beside) + maps[y[:, None], right[None, :], grey] * beside
        for y in (up, down)
    ]
    return jnp.clip(jnp.round(rows[0] * (1 - below) + rows[1] * below), 0, 255).astype(jnp.uint8)


def _map_of_tile(pixels: jax.Array) -> jax.Array:
    """What becomes of each grey [256] f32, of a tile's pixels [n] u8."""
    greys = jnp.arange(_GREYS)
    histogram = jnp.zeros(_GREYS, jnp.int32).at[pixels].add(1)
    limit = max(int(_CLIP * len(pixels) / _GREYS), 1)
    excess = jnp.sum(jnp.maximum(histogram - limit, 0))
    rest = excess % _GREYS  # one more for so many greys, evenly spaced
    spacing = jnp.maximum(_GREYS // jnp.maximum(rest, 1), 1)
    one_more = (greys % spacing == 0) & (greys // spacing < rest)
    spread = jnp.minimum(histogram, limit) + excess // _GREYS + one_more
    return jnp.clip(jnp.round(jnp.cumsum(spread) * np.float32((_GREYS - 1) / len(pixels))), 0, _GREYS - 1)
