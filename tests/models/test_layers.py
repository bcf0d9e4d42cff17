"""Gradients written out equal XLA's."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cxrjax.models import layers

POOLS = [(3, 2, 0, False), (3, 2, 0, True), (3, 2, 1, False), (2, 2, 0, False), (2, 2, 0, True), (3, 1, 1, False)]


@pytest.mark.parametrize(("size", "stride", "padding", "ceil"), POOLS)
@pytest.mark.parametrize("side", [8, 13])
def test_gradient_of_pooling_is_that_of_flax(side, size, stride, padding, ceil):
    """With ties: few values, and each window's gradient goes to its first maximum."""
    x = jnp.asarray(np.random.default_rng(side).integers(0, 4, (2, side, side + 1, 3)), jnp.float32)
    more = [-(length + 2 * padding - size) % stride if ceil else 0 for length in x.shape[1:3]]
    pads = [(padding, padding + n) for n in more]

    def total(pool):
        return lambda x: (pool(x) * jnp.arange(pool(x).size).reshape(pool(x).shape)).sum()

    own = jax.jit(jax.grad(total(lambda x: layers.max_pool(x, ceil, size, stride, padding))))(x)
    flax = jax.jit(jax.grad(total(lambda x: nn.max_pool(x, (size, size), (stride, stride), pads))))(x)
    np.testing.assert_array_equal(own, flax)


def lowered(function, platform, *arrays):
    """The program as it goes to the compiler of a platform, which need not be there."""
    return jax.jit(function).trace(*arrays).lower(lowering_platforms=(platform,)).as_text()


def test_products_for_averages_and_sums_are_of_programs_for_cpus_alone():
    x = jnp.ones((1, 23, 23, 3))
    pooled = functools.partial(layers.adaptive_average_pool, size=6)
    for function in (pooled, lambda x: layers.channel_sums(layers.by_pixel(x))):
        assert "dot_general" not in lowered(function, "cuda", x)
        assert "dot_general" in lowered(function, "cpu", x)


@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (7, 6), (8, 12), (31, 17)])
def test_averages_by_slices_are_those_by_products(shape):
    x = jnp.asarray(np.random.default_rng(0).standard_normal((2, *shape, 3), np.float32))
    expected = layers._averaged_by_products(6, x)
    small = x.astype(jnp.bfloat16)
    assert jax.jit(functools.partial(layers.adaptive_average_pool, size=6))(small).dtype == expected.dtype
    averages = layers._averaged_by_slices(6, x)
    np.testing.assert_allclose(averages, expected, atol=1e-6)  # values near 1, sums of at most 30


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_scale_and_shift_and_its_gradients_are_those_in_float64(dtype):
    """Also of several seeds at once."""
    rng = np.random.default_rng(0)
    x, gradient = (jnp.asarray(rng.standard_normal((3, 2, 5, 7, 4)), dtype) for _ in range(2))
    factor, shift = (jnp.asarray(rng.standard_normal((3, 4)), jnp.float32) for _ in range(2))

    def run(x, factor, shift, gradient):
        out, back = jax.vjp(layers.scale_and_shift, x, factor, shift)
        return out, *back(gradient)

    out, of_x, of_factor, of_shift = jax.jit(jax.vmap(run))(x, factor, shift, gradient)
    assert (out.dtype, of_x.dtype, of_factor.dtype) == (x.dtype, x.dtype, jnp.float32)
    x, gradient = (np.asarray(a, np.float64) for a in (x, gradient))
    wide_factor, wide_shift = (np.asarray(a, np.float64)[:, None, None, None] for a in (factor, shift))
    expected = (
        (out, x * wide_factor + wide_shift),
        (of_x, gradient * wide_factor),
        (of_factor, (gradient * x).sum((1, 2, 3))),
        (of_shift, gradient.sum((1, 2, 3))),
    )
    tolerance = 1e-5 if dtype == "float32" else 0.05  # products rounded to 8 bits, sums of 70 of them
    for got, want in expected:
        np.testing.assert_allclose(np.asarray(got, np.float64), want, rtol=tolerance, atol=tolerance)


def test_gradient_of_sums_over_pixels_is_everywhere_the_same():
    x = jnp.asarray(np.random.default_rng(0).standard_normal((2, 35, 4)), jnp.float32)
    np.testing.assert_allclose(layers.channel_sums(x), np.asarray(x, np.float64).sum((0, 1)), atol=1e-5)
    of_x = jax.grad(lambda x: (layers.channel_sums(x) * jnp.arange(4)).sum())(x)
    np.testing.assert_array_equal(of_x, np.broadcast_to(np.arange(4), x.shape))
