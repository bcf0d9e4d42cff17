"""Gradients written out equal XLA's."""

import functools
import itertools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from scipy.special import logsumexp, softmax

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


RS = (1e-3, 0.1, 10.0, 1e3)


def some_maps(scale=1.0, shift=0.0):
    """[2, 3, 5, 4] f32."""
    return np.float32(scale * np.random.default_rng(0).standard_normal((2, 3, 5, 4)) + shift)


def pooled_by_scipy(x, r):
    """In float64."""
    return logsumexp(r * x.astype(np.float64), axis=(1, 2), b=1 / np.prod(x.shape[1:3])) / r


@pytest.mark.parametrize("r", RS)
@pytest.mark.parametrize(("scale", "shift"), [(1, 0), (1, -500), (1e3, 0), (0, 2)])
def test_lse_pooling_is_that_of_scipy(scale, shift, r):
    """Also of maps that lie far below 0, of large values and of one value; float32 keeps 6e-8 of the largest."""
    x = some_maps(scale, shift)
    for pool in (layers.lse_pool, jax.jit(layers.lse_pool, static_argnums=1)):
        got = pool(jnp.asarray(x), r)
        np.testing.assert_allclose(got, pooled_by_scipy(x, r), rtol=0, atol=3e-7 * np.abs(x).max())


def test_lse_pooling_goes_from_the_mean_to_the_maximum():
    x = some_maps()
    means = [np.asarray(layers.lse_pool(jnp.asarray(x), r)) for r in RS]
    assert all((low < high).all() for low, high in itertools.pairwise([x.mean((1, 2)), *means, x.max((1, 2))]))
    np.testing.assert_allclose(means[0], x.mean((1, 2)), atol=RS[0] * x.var((1, 2)).max())  # mean + r / 2 var
    assert (x.max((1, 2)) - means[-1] <= np.log(15) / RS[-1] + 1e-6).all()


@pytest.mark.parametrize("r", RS)
def test_the_gradient_of_lse_pooling_is_a_softmax(r):
    for x in (some_maps(), some_maps(1e3, -500), np.zeros((2, 3, 5, 4), np.float32)):
        gradient = jax.grad(lambda x: layers.lse_pool(x, r).sum())(jnp.asarray(x))
        np.testing.assert_allclose(gradient, softmax(r * x.astype(np.float64), axis=(1, 2)), atol=1e-5)
    with jax.enable_x64(True):  # finite differences, whose steps must be short beside 1 / r
        x = jnp.asarray(some_maps(1 / r), jnp.float64)
        check_grads(lambda x: layers.lse_pool(x, r), (x,), 1, modes="rev", eps=1e-4 / r)


def test_lse_pooling_of_bfloat16_rounds_once():
    x = jnp.asarray(some_maps(), jnp.bfloat16)
    got = layers.lse_pool(x, 10.0)
    assert got.dtype == jnp.bfloat16
    np.testing.assert_array_equal(got, layers.lse_pool(x.astype(jnp.float32), 10.0).astype(jnp.bfloat16))
