"""Convolutions whose XLA forms are slow on CPU: depthwise ones, and gradients of some others, by products and sums.

The values are XLA's but for the order of float32 sums.
"""

from __future__ import annotations

import functools
import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cxrjax.models.layers import by_platform


def convolution(x: jax.Array, kernel: jax.Array, strides: Any, padding: Any, **options: Any) -> jax.Array:
    """`jax.lax.conv_general_dilated` for `nn.Conv`, by the form that is fast for the geometry.

    CPU milliseconds on one core, YNNPACK off, 4 images of 224 pixels: EfficientNet-Lite0's trunk with XLA's depthwise
    convolutions 1842, with these 150 (PyTorch 192). Of the image's gradient, XLA's form is the faster one up to stride
    2: 56x56x128, 3x3, stride 2, 30 against 48 of the written one; 445x445x3, 11x11, stride 4, 139 against 81. XLA's
    other convolutions are as fast as PyTorch's, and neither products of matrices for 1x1 ones nor unfolded windows are
    faster; but the gradient of a 1x1 kernel is, as a product.

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
    if groups == 1 and not dilated and stride == 1 and kernel.shape[:2] == (1, 1) and not np.any(padding):
        return _pointwise(x, kernel)
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
        of_image = by_platform(
            gradient,
            cpu=lambda gradient: _of_image(gradient, kernel, x.shape, stride, starts),
            others=lambda gradient: jax.vjp(lambda x: plain(x, kernel), x)[1](gradient)[0],
        )
        return of_image, of_kernel

    strided.defvjp(forward, backward)
    return strided(x, kernel)


@jax.custom_vjp
def _pointwise(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """A 1x1 convolution."""
    return _plain_pointwise(x, kernel)


def _plain_pointwise(x: jax.Array, kernel: jax.Array) -> jax.Array:
    return jax.lax.conv_general_dilated(x, kernel, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC"))


def _pointwise_forward(x: jax.Array, kernel: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return _pointwise(x, kernel), (x, kernel)


def _pointwise_backward(kept: tuple[jax.Array, jax.Array], gradient: jax.Array) -> tuple[jax.Array, jax.Array]:
    """On CPU of the kernel as a product of two maps: XLA's own is a convolution over turned copies of both."""
    x, kernel = kept
    of_x = jax.vjp(lambda x: _plain_pointwise(x, kernel), x)[1](gradient)[0]
    of_kernel = by_platform(
        x,
        gradient,
        cpu=lambda x, gradient: jnp.einsum("bhwc,bhwo->co", x, gradient).reshape(kernel.shape),
        others=lambda x, gradient: jax.vjp(lambda kernel: _plain_pointwise(x, kernel), kernel)[1](gradient)[0],
    )
    return of_x, of_kernel


_pointwise.defvjp(_pointwise_forward, _pointwise_backward)


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
    convolved: jax.Array = by_platform(x, kernel, cpu=of_cpu, others=of_others)
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
    gradients: tuple[jax.Array, jax.Array] = by_platform(
        *kept, gradient, cpu=of_cpu, others=lambda x, kernel, gradient: jax.vjp(plain, x, kernel)[1](gradient)
    )
    return gradients


def _depthwise_gradients(
    stride: int, padding: tuple[tuple[int, int], ...], x: jax.Array, kernel: jax.Array, gradient: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Of x: the gradient, spread by the stride, through the kernel turned round, image by image: what leaves a loop is
    not computed once more by all that reads it.

    CPU milliseconds alone, 8 images, 56x56x144, 3x3, for x: XLA's 500, derived from the sum of products 29, this 9.
    """
    around = []
    for side, n, k, (low, _) in zip(x.shape[1:3], gradient.shape[1:3], kernel.shape[:2], padding, strict=True):
        around.append((k - 1 - low, side + low - (n - 1) * stride - 1, stride - 1))
    zero = jnp.zeros((), gradient.dtype)
    spread = jax.lax.pad(gradient, zero, [(0, 0, 0), *around, (0, 0, 0)])
    of_x = jax.lax.map(lambda x: _depthwise_by_sums(1, ((0, 0), (0, 0)), x[None], kernel[::-1, ::-1])[0], spread)
    return of_x, _depthwise_kernel(stride, jnp.pad(x, [(0, 0), *padding, (0, 0)]), kernel, gradient)


def _depthwise_kernel(stride: int, x: jax.Array, kernel: jax.Array, gradient: jax.Array) -> jax.Array:
    """Gradient of the kernel of x padded: each row of the map is added to the sums of all places in a window.

    A loop computes what enters it once. Without it, the normalisation before and after was computed again for each
    place: over 4 images of 56x56x144 that took 89 ms in EfficientNet-Lite0's step, this 14. One chain of float32 sums
    over all pixels would lose 10 times as much.
    """
    batch, height, width, channels = gradient.shape
    side, dtype = len(kernel), jnp.promote_types(x.dtype, jnp.float32)
    starts = [slice(j, j + (width - 1) * stride + 1, stride) for j in range(side)]

    def add_row(i: jax.Array, sums: list[jax.Array]) -> list[jax.Array]:
        image, row = i // height, i % height
        window = jax.lax.dynamic_slice(x, (image, row * stride, 0, 0), (1, side, *x.shape[2:]))[0].astype(dtype)
        along = jax.lax.dynamic_slice(gradient, (image, row, 0, 0), (1, 1, width, channels))[0].astype(dtype)
        return [total + window[:, start] * along for total, start in zip(sums, starts, strict=True)]

    sums = jax.lax.fori_loop(0, batch * height, add_row, [jnp.zeros((side, width, channels), dtype)] * side)
    return jnp.stack([total.sum(1) for total in sums], 1).reshape(kernel.shape).astype(kernel.dtype)


_depthwise.defvjp(_depthwise_forward, _depthwise_backward)
