"""Layers that Flax lacks, or whose gradients are slow on CPU: pooling, normalisation; convolution is in `convolutions`.

The gradient of pooling is written out: of conv1's 64 maps of 10 images of 445 pixels XLA's takes 193 ms on 2 cores,
this 27. The values are XLA's.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp


def by_platform(*args: Any, cpu: Callable[..., Any], others: Callable[..., Any]) -> Any:
    """Of two forms of the same the one for the platform that the program is compiled for, wherever that is done."""
    return jax.lax.platform_dependent(*args, cpu=cpu, default=others)


def max_pool(x: jax.Array, ceil: bool = False, size: int = 3, stride: int = 2, padding: int = 0) -> jax.Array:
    """Maxima of size x size windows of [B, H, W, C], padded by -inf; `ceil` also pools the last, incomplete window, as
    Caffe does. The stride is at most the size."""
    sides = ((padding, padding + ((size - n - 2 * padding) % stride if ceil else 0)) for n in x.shape[1:3])
    return _pool_whole(jnp.pad(x, [(0, 0), *sides, (0, 0)], constant_values=-jnp.inf), size, stride)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def _pool_whole(x: jax.Array, size: int, stride: int) -> jax.Array:
    """Whole windows only."""
    windows, strides = (1, size, size, 1), (1, stride, stride, 1)
    pooled: jax.Array = jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, windows, strides, "VALID")
    return pooled


def _pool_forward(x: jax.Array, size: int, stride: int) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    out = _pool_whole(x, size, stride)
    return out, (x, out)


def _pool_backward(size: int, stride: int, kept: tuple[jax.Array, jax.Array], gradient: jax.Array) -> tuple[jax.Array]:
    """Each window's gradient goes to the first of its maxima, row by row.

    Pixels are taken apart by their place in blocks of stride x stride: of 3x3 windows with stride 2, window i covers
    the even rows i and i + 1 and the odd row i.
    """
    x, out = kept
    batch, rows, columns, channels = out.shape
    more = (size - 1) // stride  # blocks that a window reaches beyond its first
    lengths = ((rows + more) * stride, (columns + more) * stride)
    cut = x[:, : lengths[0], : lengths[1]]  # what no window reaches
    pads = [(0, length - have) for length, have in zip(lengths, cut.shape[1:3], strict=True)]
    parts = jnp.pad(cut, [(0, 0), *pads, (0, 0)])
    parts = parts.reshape(batch, rows + more, stride, columns + more, stride, channels)
    taken = jnp.zeros(out.shape, bool)
    sums: dict[tuple[int, int], jax.Array] = {}
    for row, column in itertools.product(range(size), range(size)):
        down, right = row // stride, column // stride
        place = (row % stride, column % stride)
        values = parts[:, down : down + rows, place[0], right : right + columns, place[1]]
        hit = (values == out) & ~taken
        taken |= hit
        around = [(0, 0), (down, more - down), (right, more - right), (0, 0)]
        share = jnp.pad(jnp.where(hit, gradient, 0), around)
        sums[place] = sums[place] + share if place in sums else share
    places = range(stride)
    by_row = [jnp.stack([sums[row, column] for column in places], axis=3) for row in places]
    whole = jnp.stack(by_row, axis=2).reshape(batch, *lengths, channels)
    rest = [(0, max(0, have - length)) for length, have in zip(lengths, x.shape[1:3], strict=True)]
    return (jnp.pad(whole[:, : x.shape[1], : x.shape[2]], [(0, 0), *rest, (0, 0)]),)


_pool_whole.defvjp(_pool_forward, _pool_backward)


@jax.custom_vjp
def channel_sums(x: jax.Array) -> jax.Array:
    """[B, N, C] -> [C] f32, of float64 f64, over images and pixels.

    On CPU each image's sums are a product with ones: 4 images of 14x14x480 on one core take 0.1 ms in place of 0.5, and
    what computes x is not computed once more inside of a sum, of which EfficientNet-Lite0's step took most of its time.
    """
    values = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    total: jax.Array = by_platform(values, cpu=_sums_by_products, others=lambda values: values.sum((0, 1)))
    return total


def _sums_by_products(values: jax.Array) -> jax.Array:
    return jax.lax.batch_matmul(jnp.ones((len(values), 1, values.shape[1]), values.dtype), values).sum((0, 1))


channel_sums.defvjp(
    lambda x: (channel_sums(x), x),
    lambda x, gradient: (jnp.broadcast_to(gradient, x.shape).astype(x.dtype),),
)


@jax.custom_vjp
def scale_and_shift(x: jax.Array, factor: jax.Array, shift: jax.Array) -> jax.Array:
    """x * factor + shift of [B, H, W, C] and two [C] f32, in x's type."""
    factor, shift = (a.astype(x.dtype).reshape(1, 1, 1, -1) for a in (factor, shift))
    return x * factor + shift


def _scale_and_shift_backward(
    kept: tuple[jax.Array, jax.Array], gradient: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    x, factor = kept
    # By pixel, as `channel_sums` reads it: of the same shape the gradient is computed once for all three.
    flat = by_pixel(gradient)
    of_x = (flat * factor.astype(x.dtype).reshape(1, 1, -1)).reshape(x.shape)
    of_factor, of_shift = channel_sums(flat * by_pixel(x)), channel_sums(flat)
    return of_x, of_factor.astype(factor.dtype), of_shift.astype(factor.dtype)


scale_and_shift.defvjp(
    lambda x, factor, shift: (scale_and_shift(x, factor, shift), (x, factor)), _scale_and_shift_backward
)


def by_pixel(x: jax.Array) -> jax.Array:
    """[B, H, W, C] -> [B, H * W, C]."""
    return x.reshape(x.shape[0], -1, x.shape[-1])


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

    The identity where H = W = size, which holds for AlexNet and VGG16 at their usual sizes.

    Raises:
      ValueError: if nothing is left of the map, because the image was too small; the sums would be 0.
    """
    if 0 in x.shape[1:3]:
        raise ValueError(f"the image must leave 1 pixel or more of the map, got {x.shape[1:3]}")
    if size == 1:
        return x.mean((1, 2), keepdims=True)
    if x.shape[1:3] == (size, size):
        return x
    averaged: jax.Array = by_platform(
        x, cpu=functools.partial(_averaged_by_products, size), others=functools.partial(_averaged_by_slices, size)
    )
    return averaged


def lse_pool(x: jax.Array, r: float) -> jax.Array:
    """Log-sum-exp pooling of maps, 1/r log(mean over pixels of exp(r x)): [B, H, W, C] -> [B, C] of x's type.

    Between the mean, to which it goes for r -> 0, and the maximum, for r -> inf (Pinheiro & Collobert 2015,
    arXiv:1411.6228; Wang et al. 2017, arXiv:1705.02315, who take r = 10). Computed in float32, as
    m + 1/r log1p(mean(expm1(r (x - m)))): no exponent is above 0, and a small r loses no digits. m is the maximum;
    Wang et al. subtract max |x|, which is the same after ReLU, but where a map lies far below 0 every term would
    underflow and the logarithm be -inf.

    >>> round(float(lse_pool(jnp.array([[[[0.0], [1.0]]]]), 10.0)[0, 0]), 4)  # 1 + log((1 + exp(-10)) / 2) / 10
    0.9307

    Raises:
      ValueError: if nothing is left of the map, because the image was too small.
    """
    values = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    top = jax.lax.stop_gradient(values.max((1, 2), keepdims=True))
    pooled = top[:, 0, 0] + jnp.log1p(jnp.expm1(r * (values - top)).mean((1, 2))) / r
    return pooled.astype(x.dtype)


def _averaged_by_products(size: int, x: jax.Array) -> jax.Array:
    rows, columns = (_bins(length, size) for length in x.shape[1:3])
    return jnp.einsum("yh,xw,bhwc->byxc", rows, columns, x)


def _averaged_by_slices(size: int, x: jax.Array) -> jax.Array:
    """Rows, then columns. For a GPU XLA of jaxlib 0.10.2 does not compile the products in dreams of 318 and 445 pixels,
    maps of 8 and 12 rows ("Couldn't find output tile sizes that satisfy hlo")."""
    x = x.astype(jnp.promote_types(x.dtype, jnp.float32))  # as of the products, whose factors are float32
    for axis in (1, 2):
        length = x.shape[axis]
        bounds = [(i * length // size, -(-(i + 1) * length // size)) for i in range(size)]
        x = jnp.stack([jax.lax.slice_in_dim(x, *ends, axis=axis).mean(axis) for ends in bounds], axis)
    return x


def _bins(length: int, size: int) -> jax.Array:
    """Averaging matrix [size, length]: row i is 1/width inside bin i and 0 outside."""
    i = jnp.arange(size)[:, None]
    position = jnp.arange(length)[None, :]
    start, stop = i * length // size, -(-(i + 1) * length // size)
    inside = (position >= start) & (position < stop)
    return inside / (stop - start)
