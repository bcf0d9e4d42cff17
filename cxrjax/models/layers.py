"""Layers that Flax lacks, or whose gradients are slow on CPU: pooling, strided convolution, normalisation.

Gradients of pooling and of the strided convolution are written out. Milliseconds on 2 cores, 10 images of 445 pixels:
gradient of pooling conv1's 64 maps 193, this 27; gradient of conv1 with respect to the image, beside other work, 410,
this 142. The values are XLA's but for the order of float32 sums.
"""

from __future__ import annotations

import itertools
from typing import Any

import jax
import jax.numpy as jnp


def max_pool(x: jax.Array, ceil: bool = False, size: int = 3, stride: int = 2, padding: int = 0) -> jax.Array:
    """Maxima of size x size windows of [B, H, W, C], padded by -inf; `ceil` also pools the last, incomplete window, as
    Caffe does."""
    sides = ((padding, padding + ((size - n - 2 * padding) % stride if ceil else 0)) for n in x.shape[1:3])
    padded = jnp.pad(x, [(0, 0), *sides, (0, 0)], constant_values=-jnp.inf)
    if (size, stride) == (3, 2):
        return _pool_whole(padded)
    steps = (1, stride, stride, 1)
    pooled: jax.Array = jax.lax.reduce_window(padded, -jnp.inf, jax.lax.max, (1, size, size, 1), steps, "VALID")
    return pooled


@jax.custom_vjp
def _pool_whole(x: jax.Array) -> jax.Array:
    """3x3 with stride 2, whole windows only."""
    pooled: jax.Array = jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, 3, 3, 1), (1, 2, 2, 1), "VALID")
    return pooled


def _pool_forward(x: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    out = _pool_whole(x)
    return out, (x, out)


def _pool_backward(kept: tuple[jax.Array, jax.Array], gradient: jax.Array) -> tuple[jax.Array]:
    """Each window's gradient goes to the first of its maxima, row by row.

    Pixels are taken apart by the parity of row and column: window i covers the even rows i and i + 1 and the odd row i.
    """
    x, out = kept
    batch, rows, columns, channels = out.shape
    pads = [(0, 2 * (n + 1) - size) for n, size in zip((rows, columns), x.shape[1:3], strict=True)]
    parts = jnp.pad(x, [(0, 0), *pads, (0, 0)]).reshape(batch, rows + 1, 2, columns + 1, 2, channels)
    taken = jnp.zeros(out.shape, bool)
    sums: dict[tuple[int, int], jax.Array] = {}
    for row, column in itertools.product(range(3), range(3)):
        down, right = row // 2, column // 2
        values = parts[:, down : down + rows, row % 2, right : right + columns, column % 2]
        hit = (values == out) & ~taken
        taken |= hit
        share = jnp.pad(jnp.where(hit, gradient, 0), [(0, 0), (down, 1 - down), (right, 1 - right), (0, 0)])
        place = (row % 2, column % 2)
        sums[place] = sums[place] + share if place in sums else share
    halves = [jnp.stack([sums[parity, 0], sums[parity, 1]], axis=3) for parity in (0, 1)]
    whole = jnp.stack(halves, axis=2).reshape(batch, 2 * (rows + 1), 2 * (columns + 1), channels)
    return (whole[:, : x.shape[1], : x.shape[2]],)


_pool_whole.defvjp(_pool_forward, _pool_backward)


def convolution(x: jax.Array, kernel: jax.Array, strides: Any, padding: Any, **options: Any) -> jax.Array:
    """`jax.lax.conv_general_dilated` for `nn.Conv`, with another gradient of `x` where the stride is above 1.

    Args:
      x: [B, H, W, C].
      kernel: [k, k, C, O].
      strides: two equal numbers.
      padding: two pairs of equal numbers, pixels.
      options: of conv_general_dilated; dilations and groups leave the gradient to XLA.
    """

    def plain(x: jax.Array, kernel: jax.Array) -> jax.Array:
        return jax.lax.conv_general_dilated(x, kernel, strides, padding, **options)

    stride = strides[0]
    dilations = [*(options.get("lhs_dilation") or ()), *(options.get("rhs_dilation") or ())]
    if stride == 1 or options.get("feature_group_count", 1) > 1 or max(dilations, default=1) > 1:
        return plain(x, kernel)

    @jax.custom_vjp
    def strided(x: jax.Array, kernel: jax.Array) -> jax.Array:
        return plain(x, kernel)

    def forward(x: jax.Array, kernel: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
        return plain(x, kernel), (x, kernel)

    def backward(kept: tuple[jax.Array, jax.Array], gradient: jax.Array) -> tuple[jax.Array, jax.Array]:
        x, kernel = kept
        of_kernel = jax.vjp(lambda k: plain(x, k), kernel)[1](gradient)[0]
        return _of_image(gradient, kernel, x.shape, stride, padding[0][0]), of_kernel

    strided.defvjp(forward, backward)
    return strided(x, kernel)


def _of_image(gradient: jax.Array, kernel: jax.Array, shape: tuple[int, ...], stride: int, padding: int) -> jax.Array:
    """Gradient with respect to the image: the image as blocks of stride x stride pixels is convolved with stride 1.

    Shi et al. 2016 (arXiv:1609.05158) call the way back sub-pixel convolution.
    """
    side, channels, outputs = kernel.shape[0], kernel.shape[2], kernel.shape[3]
    blocks = -(-side // stride)
    whole = jnp.pad(kernel, [(0, blocks * stride - side)] * 2 + [(0, 0)] * 2)
    split = whole.reshape(blocks, stride, blocks, stride, channels, outputs).transpose(0, 2, 5, 1, 3, 4)
    turned = split[::-1, ::-1].reshape(blocks, blocks, outputs, stride * stride * channels)
    pads = [(blocks - 1, blocks - 1)] * 2
    by_block = jax.lax.conv_general_dilated(gradient, turned, (1, 1), pads, dimension_numbers=("NHWC", "HWIO", "NHWC"))
    batch, rows, columns = by_block.shape[:3]
    pixels = by_block.reshape(batch, rows, columns, stride, stride, channels).transpose(0, 1, 3, 2, 4, 5)
    pixels = pixels.reshape(batch, rows * stride, columns * stride, channels)
    # What no window reaches, at the lower and right edge, has no gradient.
    lacking = [max(0, padding + size - have) for size, have in zip(shape[1:3], pixels.shape[1:3], strict=True)]
    pixels = jnp.pad(pixels, [(0, 0), *((0, n) for n in lacking), (0, 0)])
    return pixels[:, padding : padding + shape[1], padding : padding + shape[2]]


def local_response_norm(
    x: jax.Array, size: int = 5, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> jax.Array:
    """x / (k + alpha/size * sum of squares over `size` neighbouring channels)^beta.

    Krizhevsky et al. 2012, section 3.3, with alpha divided by the size as Caffe and PyTorch do.
    """
    half = size // 2
    squares: jax.Array = jax.lax.reduce_window(
        x * x, 0.0, jax.lax.add, (1, 1, 1, size), (1, 1, 1, 1), ((0, 0), (0, 0), (0, 0), (half, half))
    )
    return x / (k + alpha / size * squares) ** beta


def adaptive_average_pool(x: jax.Array, size: int) -> jax.Array:
    """Means of [B, H, W, C] over size x size bins, floor(i n / size) to ceil((i+1) n / size), as PyTorch bins.

    The identity where H = W = size, which holds for inputs of 224 and 227 pixels.

    Raises:
      ValueError: if nothing is left of the map, because the image was too small; the sums would be 0.
    """
    if 0 in x.shape[1:3]:
        raise ValueError(f"the image must leave 1 pixel or more of the map, got {x.shape[1:3]}")
    if x.shape[1:3] == (size, size):
        return x
    rows, columns = (_bins(length, size) for length in x.shape[1:3])
    return jnp.einsum("yh,xw,bhwc->byxc", rows, columns, x)


def _bins(length: int, size: int) -> jax.Array:
    """Averaging matrix [size, length]: row i is 1/width inside bin i and 0 outside."""
    i = jnp.arange(size)[:, None]
    position = jnp.arange(length)[None, :]
    start, stop = i * length // size, -(-(i + 1) * length // size)
    inside = (position >= start) & (position < stop)
    return inside / (stop - start)
