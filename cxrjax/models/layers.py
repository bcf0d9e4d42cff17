"""Layers that Flax lacks, or whose gradients are slow on CPU: pooling, convolution, normalisation.

Gradients of pooling, of depthwise convolutions and of those with a stride above 2 are written out. Milliseconds on 2
cores, 10 images of 445 pixels: gradient of pooling conv1's 64 maps 193, this 27; gradient of conv1 with respect to the
image, beside other work, 410, this 142. The values are XLA's but for the order of float32 sums.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def _by_platform(*args: Any, cpu: Callable[..., Any], others: Callable[..., Any]) -> Any:
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


def convolution(x: jax.Array, kernel: jax.Array, strides: Any, padding: Any, **options: Any) -> jax.Array:
    """`jax.lax.conv_general_dilated` for `nn.Conv`, by the form that is fast for the geometry.

    CPU milliseconds on one core, YNNPACK off, 4 images of 224 pixels: EfficientNet-Lite0's trunk with XLA's depthwise
    convolutions 1842, with these 150 (PyTorch 192). Of the image's gradient, XLA's form is the faster one up to stride
    2: 56x56x128, 3x3, stride 2, 30 against 48 of the written one; 445x445x3, 11x11, stride 4, 139 against 81. XLA's
    other convolutions are as fast as PyTorch's, and neither products of matrices for 1x1 ones nor unfolded windows are
    faster.

    Args:
      x: [B, H, W, C].
      kernel: [k, k, C / groups, O].
      strides: two equal numbers.
      padding: two pairs, pixels before and after rows and columns, or "SAME", TensorFlow's.
      options: of conv_general_dilated; dilations and groups of several channels are XLA's.
    """
    if isinstance(padding, str):
        padding = jax.lax.padtype_to_pads(x.shape[1:3], kernel.shape[:2], strides, padding)

    def plain(x: jax.Array, kernel: jax.Array) -> jax.Array:
        return jax.lax.conv_general_dilated(x, kernel, strides, padding, **options)

    stride, groups = strides[0], options.get("feature_group_count", 1)
    dilated = any(n > 1 for name in ("lhs_dilation", "rhs_dilation") for n in options.get(name) or ())
    if groups == x.shape[-1] == kernel.shape[-1] > 1 and not dilated:
        return _depthwise(x, kernel, stride, tuple(map(tuple, padding)))
    if stride <= 2 or groups > 1 or dilated:
        return plain(x, kernel)

    @jax.custom_vjp
    def strided(x: jax.Array, kernel: jax.Array) -> jax.Array:
        return plain(x, kernel)

    def forward(x: jax.Array, kernel: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
        return plain(x, kernel), (x, kernel)

    def backward(kept: tuple[jax.Array, jax.Array], gradient: jax.Array) -> tuple[jax.Array, jax.Array]:
        x, kernel = kept
        of_kernel = jax.vjp(lambda k: plain(x, k), kernel)[1](gradient)[0]
        starts = (padding[0][0], padding[1][0])
        of_image = _by_platform(
            gradient,
            cpu=lambda gradient: _of_image(gradient, kernel, x.shape, stride, starts),
            others=lambda gradient: jax.vjp(lambda x: plain(x, kernel), x)[1](gradient)[0],
        )
        return of_image, of_kernel

    strided.defvjp(forward, backward)
    return strided(x, kernel)


def _of_image(
    gradient: jax.Array, kernel: jax.Array, shape: tuple[int, ...], stride: int, starts: tuple[int, int]
) -> jax.Array:
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
    ends = [start + size for start, size in zip(starts, shape[1:3], strict=True)]
    lacking = [max(0, end - have) for end, have in zip(ends, pixels.shape[1:3], strict=True)]
    pixels = jnp.pad(pixels, [(0, 0), *((0, n) for n in lacking), (0, 0)])
    return pixels[:, starts[0] : ends[0], starts[1] : ends[1]]


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _depthwise(x: jax.Array, kernel: jax.Array, stride: int, padding: tuple[tuple[int, int], ...]) -> jax.Array:
    """Each of C channels by its own kernel [k, k, 1, C]."""
    of_cpu, of_others = (functools.partial(form, stride, padding) for form in (_depthwise_by_sums, _depthwise_plain))
    convolved: jax.Array = _by_platform(x, kernel, cpu=of_cpu, others=of_others)
    return convolved


def _depthwise_plain(stride: int, padding: Any, x: jax.Array, kernel: jax.Array) -> jax.Array:
    dimensions, groups = ("NHWC", "HWIO", "NHWC"), x.shape[-1]
    return jax.lax.conv_general_dilated(
        x, kernel, (stride, stride), padding, dimension_numbers=dimensions, feature_group_count=groups
    )


def _depthwise_by_sums(stride: int, padding: Any, x: jax.Array, kernel: jax.Array) -> jax.Array:
    """The sum of k x k shifted maps times one number a channel."""
    shifted = _shifted(jnp.pad(x, [(0, 0), *padding, (0, 0)]), kernel, stride)
    weights = kernel.astype(shifted[0].dtype).reshape(-1, 1, 1, 1, kernel.shape[-1])
    products = (values * weight for values, weight in zip(shifted, weights, strict=True))
    return functools.reduce(jnp.add, products).astype(x.dtype)


def _shifted(x: jax.Array, kernel: jax.Array, stride: int) -> list[jax.Array]:
    """For each place in a window, row by row, the pixels there of all windows: [B, h, w, C], float32 at least."""
    x = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    rows, columns = ((n - k) // stride * stride + 1 for n, k in zip(x.shape[1:3], kernel.shape[:2], strict=True))
    places = itertools.product(*map(range, kernel.shape[:2]))
    return [x[:, i : i + rows : stride, j : j + columns : stride] for i, j in places]


def _depthwise_forward(
    x: jax.Array, kernel: jax.Array, stride: int, padding: tuple[tuple[int, int], ...]
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return _depthwise(x, kernel, stride, padding), (x, kernel)


def _depthwise_backward(
    stride: int, padding: tuple[tuple[int, int], ...], kept: tuple[jax.Array, jax.Array], gradient: jax.Array
) -> tuple[jax.Array, jax.Array]:
    of_cpu = functools.partial(_depthwise_gradients, stride, padding)
    plain = functools.partial(_depthwise_plain, stride, padding)
    gradients: tuple[jax.Array, jax.Array] = _by_platform(
        *kept, gradient, cpu=of_cpu, others=lambda x, kernel, gradient: jax.vjp(plain, x, kernel)[1](gradient)
    )
    return gradients


def _depthwise_gradients(
    stride: int, padding: tuple[tuple[int, int], ...], x: jax.Array, kernel: jax.Array, gradient: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Of x: the gradient, spread by the stride, through the kernel turned round. Of the kernel: sums in one pass.

    CPU milliseconds, 8 images, 56x56x144, 3x3, for x and for the kernel: XLA's 500 and 268, derived from the sum of
    products 29 and 139, these 9 and 24.
    """
    around = []
    for side, n, k, (low, _) in zip(x.shape[1:3], gradient.shape[1:3], kernel.shape[:2], padding, strict=True):
        around.append((k - 1 - low, side + low - (n - 1) * stride - 1, stride - 1))
    zero = jnp.zeros((), gradient.dtype)
    spread = jax.lax.pad(gradient, zero, [(0, 0, 0), *around, (0, 0, 0)])
    of_x = _depthwise_by_sums(1, ((0, 0), (0, 0)), spread, kernel[::-1, ::-1])
    shifted = _shifted(jnp.pad(x, [(0, 0), *padding, (0, 0)]), kernel, stride)
    products = tuple(values * gradient for values in shifted)
    # Over rows and images first: one chain of float32 sums over all pixels loses 10 times as much.
    sums = jax.lax.reduce(products, (np.zeros((), products[0].dtype),) * len(products), _add_each, (0, 1))
    return of_x, jnp.stack(sums).sum(1).reshape(kernel.shape).astype(kernel.dtype)


def _add_each(a: tuple[jax.Array, ...], b: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
    return tuple(map(jnp.add, a, b))


_depthwise.defvjp(_depthwise_forward, _depthwise_backward)


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
    averaged: jax.Array = _by_platform(
        x, cpu=functools.partial(_averaged_by_products, size), others=functools.partial(_averaged_by_slices, size)
    )
    return averaged


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
