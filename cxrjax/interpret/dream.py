"""Deep dreaming: gradient ascent on an image through growing octaves (Mordvintsev et al. 2015).

Options have the meaning and defaults of MATLAB's deepDreamImage. `dream_fourier` is the other way to write an image.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp

from cxrjax.base import devices
from cxrjax.interpret.objectives import Objective

OnStep: TypeAlias = Callable[[int, jax.Array], None]
"""(iterations behind it, images [D, H, W] or [D, H, W, 3]) -> None; of every iteration, for an animation."""

NOISE_SD = 16.0  # grey levels of a start from noise


class Options(NamedTuple):
    """How to climb; in brackets the name in MATLAB's deepDreamImage, whose start [InitialImage] is `dream`'s."""

    iterations: int = 10  # of each octave [NumIterations]
    octaves: int = 3  # image sizes [PyramidLevels]
    scale: float = 1.4  # from one size to the next [PyramidScale]
    step: float = 12.0  # grey levels, root mean square, that an iteration moves the image
    bands: int = 4  # of the gradient's Laplacian pyramid, each given the same weight; 0: the gradient as it is


class Dreams(NamedTuple):
    """What was climbed to, D dreams."""

    image: jax.Array  # [D, H, W] or [D, H, W, 3] f32, 0..255
    scores: jax.Array  # [D, T + 1] f32, the objective before each of T iterations, and at the end
    dead: jax.Array  # [D] bool, the gradient was zero everywhere in the last iteration: nothing was climbed any more


def octave_sizes(size: int, octaves: int, scale: float) -> tuple[int, ...]:
    """Sides in pixels, smallest first: round(size * scale^i); the start is the smallest.

    MATLAB's formula is not published; this rule is ours.

    >>> octave_sizes(227, 3, 1.4)
    (227, 318, 445)

    Raises:
      ValueError: if there is no octave, or they do not grow.
    """
    if octaves < 1 or scale < 1:
        raise ValueError(f"octaves and scale must be 1 or more, got {octaves} and {scale:g}")
    return tuple(round(size * scale**i) for i in range(octaves))


def noise(key: jax.Array, size: int = 227, colour: bool = False) -> jax.Array:
    """Grey [size, size] or colour [size, size, 3] noise to start from, f32: 127.5 ± `NOISE_SD` grey levels."""
    return 127.5 + NOISE_SD * jax.random.normal(key, (size, size, 3) if colour else (size, size))


def dream(
    objective: Objective,
    params: Any,
    start: jax.Array,
    options: Options = Options(),  # noqa: B008 - immutable
    axes: Any = None,
    on_step: OnStep | None = None,
) -> Dreams:
    """Ascends the objective from D images at once, each growing through the octaves.

    Args:
      objective: see `Objective`; must take every size of `octave_sizes`.
      params: its first argument, kept apart so that weights are no constants of the compiled program.
      start: [D, H, H] grey or [D, H, H, 3] colour, 0..255; the trunk takes 63 pixels or more.
      options: see `Options`.
      axes: where the leaves of `params` have an axis D, as `jax.vmap`'s in_axes: seeds (`transfer.seed_axes`),
        channels or classes (the direction's axis 0); None: all dreams share the params.
      on_step: called with the images of each iteration.

    Raises:
      ValueError: if `start` is none of these, or an option is out of range.
    """
    check(start, options)
    params = jax.device_put(params)  # once, not at each of the calls that follow
    climb, value = _programs(objective, options, Axes.of(axes))
    image, scores = jnp.asarray(start, jnp.float32), []
    alive = jnp.ones(len(image), bool)
    for side in octave_sizes(image.shape[1], options.octaves, options.scale):
        image = jax.image.resize(image, (len(image), side, side, *image.shape[3:]), "bilinear")
        for _ in range(options.iterations):
            image, score, alive = climb(params, image)
            scores.append(score)
            if on_step:
                on_step(len(scores), image)
    return Dreams(image, jnp.stack([*scores, value(params, image)], axis=1), ~alive)


def check(start: jax.Array, options: Options) -> None:
    """Refuses what cannot be climbed from."""
    square = start.ndim in (3, 4) and start.shape[1] == start.shape[2] and start.shape[3:] in ((), (3,))
    if not square:
        raise ValueError(f"start must be [D, H, H] or [D, H, H, 3], got {list(start.shape)}")
    for name, value, least in (("iterations", options.iterations, 1), ("bands", options.bands, 0)):
        if value < least:
            raise ValueError(f"{name} must be {least} or more, got {value}")


class Axes(NamedTuple):
    """in_axes of `jax.vmap` as a key of a cache of programs."""

    leaves: tuple[int | None, ...]
    structure: Any

    @classmethod
    def of(cls, axes: Any) -> Axes:
        """The key; None counts as a leaf."""
        leaves, structure = jax.tree.flatten(axes, is_leaf=lambda x: x is None)
        return cls(tuple(leaves), structure)

    def tree(self) -> Any:
        """What it was made of."""
        return jax.tree.unflatten(self.structure, self.leaves)


@functools.lru_cache(maxsize=16)
def _programs(objective: Objective, options: Options, axes: Axes) -> tuple[Any, Any]:
    """One iteration of all dreams, and their objective, compiled: dreaming once more compiles nothing."""
    one = functools.partial(ascend, objective, step=options.step, bands=options.bands)
    lifted = (jax.vmap(one, (axes.tree(), 0)), jax.vmap(objective, (axes.tree(), 0)))
    climb, value = (jax.jit(f, compiler_options=devices.convolution_options()) for f in lifted)
    return climb, value


def ascend(
    objective: Objective, params: Any, image: jax.Array, step: float = Options().step, bands: int = Options().bands
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """One iteration: an image [H, W] or [H, W, 3] moved by `step` along its banded gradient and kept within 0..255.

    Returns:
      The image, the objective before the iteration [], and whether any of its gradient is not zero [].
    """
    value, gradient = jax.value_and_grad(objective, argnums=1)(params, image)
    direction = equalise_bands(gradient, bands)
    return jnp.clip(image + step * direction, 0, 255), value, jnp.any(gradient != 0)


def equalise_bands(gradient: jax.Array, levels: int) -> jax.Array:
    """Gives each band of a Laplacian pyramid of [H, W, ...] a root mean square of 1, and so the sum.

    Without it the finest band, noise to the eye, outweighs all others (Mordvintsev et al. 2015, "Laplacian pyramid
    gradient normalization"). A band below 1e-4 of the gradient is rounding, and is not raised.
    """
    total, rest, channels = jnp.zeros_like(gradient), gradient, gradient.shape[2:]
    least = 1e-4 * jnp.sqrt(jnp.mean(gradient**2))
    for _ in range(levels):
        smaller = (*(max(1, side // 2) for side in rest.shape[:2]), *channels)
        low = jax.image.resize(rest, smaller, "linear")  # anti-aliased
        band = rest - jax.image.resize(low, rest.shape, "linear")
        total += jax.image.resize(_unit(band, least), gradient.shape, "linear")
        rest = low
    return _unit(total + jax.image.resize(_unit(rest, least), gradient.shape, "linear"))


def _unit(x: jax.Array, least: jax.Array | float = 0.0) -> jax.Array:
    return x / jnp.maximum(jnp.sqrt(jnp.mean(x**2)), least + 1e-12)


def stretched(image: jax.Array) -> jax.Array:
    """An image [H, W, ...] as u8 from its darkest to its brightest pixel, MATLAB's OutputScaling "linear"."""
    low, high = image.min(), image.max()
    return jnp.round(255 * (image - low) / jnp.maximum(high - low, 1e-6)).astype(jnp.uint8)
