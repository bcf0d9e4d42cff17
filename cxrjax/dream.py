"""Deep dreaming: gradient ascent on an image, from noise, through octaves (Mordvintsev et al. 2015).

Options have the meaning and defaults of MATLAB's deepDreamImage: 10 iterations an octave, 3 octaves, scale 1.4.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp

from cxrjax import devices
from cxrjax.augment import CROP

Objective: TypeAlias = Callable[[Any, jax.Array], jax.Array]
"""(params, grey image [H, W], 0..255) -> the number to raise, []."""

NOISE_SD = 16.0  # grey levels of the initial image
STEP = 12.0  # grey levels, root mean square, that an iteration moves the image
LEVELS = 4  # bands of the gradient that are given the same weight


def octave_sizes(size: int, octaves: int, scale: float) -> tuple[int, ...]:
    """Sides in pixels, smallest first: round(size * scale^i).

    MATLAB's formula is not published; this rule is ours.

    >>> octave_sizes(227, 3, 1.4)
    (227, 318, 445)
    """
    return tuple(round(size * scale**i) for i in range(octaves))


def dream(
    key: jax.Array, objective: Objective, params: Any, iterations: int = 10, octaves: int = 3, scale: float = 1.4
) -> tuple[jax.Array, jax.Array]:
    """Ascends the objective from grey noise, on a growing image.

    Args:
      key: of the noise.
      objective: see `Objective`; must take every size of `octave_sizes`.
      params: its first argument, kept apart so that weights are no constants of the compiled program.
      iterations: of each octave.
      octaves: number of image sizes.
      scale: from one size to the next.

    Returns:
      The image [H, W] f32, 0..255, and the objective before each iteration, [octaves * iterations].

    Raises:
      ValueError: if the gradient is zero everywhere at the start, so that no ascent is possible.
    """
    params = jax.device_put(params)  # once, not at each of the calls that follow
    climb = jax.jit(functools.partial(ascend, objective), compiler_options=devices.convolution_options())
    image = 127.5 + NOISE_SD * jax.random.normal(key, (CROP, CROP))
    trace: list[jax.Array] = []
    for side in octave_sizes(CROP, octaves, scale):
        image = jax.image.resize(image, (side, side), "bilinear")
        for _ in range(iterations):
            image, value, alive = climb(params, image)
            if not trace and not alive:
                raise ValueError("the gradient of the objective is zero at the initial image")
            trace.append(value)
    return image, jnp.stack(trace)


def ascend(objective: Objective, params: Any, image: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """One iteration: the image [H, W] moved by `STEP` along its banded gradient and kept within 0..255.

    Returns:
      The image, the objective before the iteration [], and whether any of its gradient is not zero [].
    """
    value, gradient = jax.value_and_grad(objective, argnums=1)(params, image)
    direction = equalise_bands(gradient, LEVELS)
    return jnp.clip(image + STEP * direction, 0, 255), value, jnp.any(gradient != 0)


def equalise_bands(gradient: jax.Array, levels: int) -> jax.Array:
    """Gives each band of a Laplacian pyramid of [H, W] a root mean square of 1, and so the sum.

    Without it the finest band, noise to the eye, outweighs all others (Mordvintsev et al. 2015, "Laplacian pyramid
    gradient normalization").
    """
    total, rest = jnp.zeros_like(gradient), gradient
    for _ in range(levels):
        smaller = tuple(max(1, side // 2) for side in rest.shape)
        low = jax.image.resize(rest, smaller, "linear")  # anti-aliased
        band = rest - jax.image.resize(low, rest.shape, "linear")
        total += jax.image.resize(_unit(band), gradient.shape, "linear")
        rest = low
    return _unit(total + jax.image.resize(_unit(rest), gradient.shape, "linear"))


def _unit(x: jax.Array) -> jax.Array:
    return x / (jnp.sqrt(jnp.mean(x**2)) + 1e-12)
