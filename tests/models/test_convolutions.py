"""Convolutions written out, and their gradients, equal XLA's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cxrjax.models import convolutions

LAYOUT = {"dimension_numbers": ("NHWC", "HWIO", "NHWC")}


PADS = [((0, 0), (0, 0)), ((2, 2), (2, 2)), ((0, 1), (2, 3)), "SAME"]


@pytest.mark.parametrize(("side", "pads"), [*zip((64, 65, 66, 67), PADS, strict=True), (67, PADS[0]), (65, "SAME")])
def test_gradients_of_a_strided_convolution_are_xlas(side, pads):
    x = jax.random.normal(jax.random.key(side), (2, side, side + 3, 3))
    kernel = jax.random.normal(jax.random.key(1), (11, 11, 3, 8))

    def total(convolution):
        return lambda x, kernel: (convolution(x, kernel, (4, 4), pads, **LAYOUT) ** 2).sum()

    own = jax.jit(jax.grad(total(convolutions.convolution), (0, 1)))(x, kernel)
    expected = jax.jit(jax.grad(total(jax.lax.conv_general_dilated), (0, 1)))(x, kernel)
    for a, b in zip(own, expected, strict=True):
        assert float(jnp.abs(a - b).max()) < 1e-5 * float(jnp.abs(b).max())  # float32 sums in another order


def test_other_convolutions_are_xlas():
    x = jax.random.normal(jax.random.key(0), (1, 9, 9, 4))
    kernel = jax.random.normal(jax.random.key(1), (3, 3, 2, 6))
    given = (x, kernel, (2, 2), ((1, 1), (1, 1)))
    out = convolutions.convolution(*given, **LAYOUT, feature_group_count=2)
    np.testing.assert_array_equal(out, jax.lax.conv_general_dilated(*given, **LAYOUT, feature_group_count=2))


def test_gradient_of_a_dilated_convolution_is_xlas():
    x = jax.random.normal(jax.random.key(0), (1, 17, 17, 3))
    kernel = jax.random.normal(jax.random.key(1), (3, 3, 3, 4))
    given = ((2, 2), ((0, 0), (0, 0)))
    options = {**LAYOUT, "rhs_dilation": (2, 2)}
    own = jax.grad(lambda x: (convolutions.convolution(x, kernel, *given, **options) ** 2).sum())(x)
    expected = jax.grad(lambda x: (jax.lax.conv_general_dilated(x, kernel, *given, **options) ** 2).sum())(x)
    np.testing.assert_array_equal(own, expected)


DEPTHWISE = [
    ("SAME", 1, 3), (((1, 1), (1, 1)), 2, 3), (((0, 3), (5, 1)), 3, 3),
    (((0, 3), (5, 1)), 1, 5), ("SAME", 2, 5), (((1, 1), (1, 1)), 3, 5),
]  # fmt: skip


@pytest.mark.parametrize(("padding", "stride", "side"), DEPTHWISE)
def test_depthwise_convolution_and_its_gradients_are_xlas(padding, stride, side):
    """Also with the kernels and images of several seeds as an axis more."""
    x = jax.random.normal(jax.random.key(0), (2, 3, 9, 12, 4))
    kernel = jax.random.normal(jax.random.key(1), (2, side, side, 1, 4))
    given = ((stride, stride), padding)

    def both(convolution):
        def of_one(x, kernel):
            out, back = jax.vjp(lambda x, k: convolution(x, k, *given, **LAYOUT, feature_group_count=4), x, kernel)
            return out, *back(jnp.cos(jnp.arange(out.size)).reshape(out.shape))

        return of_one

    expected = [jnp.stack(a) for a in zip(*map(jax.jit(both(jax.lax.conv_general_dilated)), x, kernel), strict=True)]
    for a, b in zip(jax.jit(jax.vmap(both(convolutions.convolution)))(x, kernel), expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5 * float(jnp.abs(b).max()))


def test_depthwise_convolution_keeps_the_type_and_sums_in_float32():
    x = jax.random.normal(jax.random.key(0), (1, 8, 8, 4), jnp.bfloat16)
    kernel = jax.random.normal(jax.random.key(1), (3, 3, 1, 4), jnp.bfloat16)
    options = {**LAYOUT, "feature_group_count": 4}
    out = convolutions.convolution(x, kernel, (1, 1), "SAME", **options)
    exact = jax.lax.conv_general_dilated(x.astype("float32"), kernel.astype("float32"), (1, 1), "SAME", **options)
    assert out.dtype == jnp.bfloat16
    np.testing.assert_array_equal(out, exact.astype(jnp.bfloat16))


def lowered(function, platform, *arrays):
    """The program as it goes to the compiler of a platform, which need not be there."""
    return jax.jit(function).trace(*arrays).lower(lowering_platforms=(platform,)).as_text()


def test_forms_for_cpus_are_of_programs_for_cpus_alone():
    x, kernel = jnp.ones((1, 23, 23, 3)), jnp.ones((11, 11, 3, 2))
    strided = jax.grad(lambda x: convolutions.convolution(x, kernel, (4, 4), [(2, 2)] * 2, **LAYOUT).sum())
    each = jnp.ones((3, 3, 1, 3))
    depthwise = jax.grad(
        lambda x: convolutions.convolution(x, each, (1, 1), [(1, 1)] * 2, **LAYOUT, feature_group_count=3).sum()
    )
    for function, xlas in ((strided, "lhs_dilate = [4, 4]"), (depthwise, "feature_group_count = 3")):
        assert xlas in lowered(function, "cuda", x)
        assert xlas not in lowered(function, "cpu", x)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_gradients_of_a_1x1_convolution_are_xlas(dtype):
    """Also with the kernels and images of several seeds as an axis more."""
    x = jax.random.normal(jax.random.key(0), (3, 2, 5, 7, 4), dtype)
    kernel = jax.random.normal(jax.random.key(1), (3, 1, 1, 4, 6), dtype)

    def gradients(convolution):
        def of_seed(x, kernel):
            out, back = jax.vjp(lambda x, k: convolution(x, k, (1, 1), ((0, 0), (0, 0)), **LAYOUT), x, kernel)
            return back(jnp.cos(jnp.arange(out.size)).reshape(out.shape).astype(dtype))

        return of_seed

    expected = [jnp.stack(a) for a in zip(*map(gradients(jax.lax.conv_general_dilated), x, kernel), strict=True)]
    tolerance = 1e-5 if dtype == "float32" else 1e-2  # sums in another order; rounding to 8 bits
    for a, b in zip(jax.jit(jax.vmap(gradients(convolutions.convolution)))(x, kernel), expected, strict=True):
        assert a.dtype == b.dtype
        a, b = a.astype("float32"), b.astype("float32")
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * float(jnp.abs(b).max()))


def test_the_kernels_gradient_is_a_product_on_cpus_alone():
    x, kernel = jnp.ones((1, 5, 5, 3)), jnp.ones((1, 1, 3, 2))

    def gradient(kernel):
        return jax.grad(lambda k: convolutions.convolution(x, k, (1, 1), [(0, 0)] * 2, **LAYOUT).sum())(kernel)

    assert "dot_general" in lowered(gradient, "cpu", kernel)
    assert "dot_general" not in lowered(gradient, "cuda", kernel)
