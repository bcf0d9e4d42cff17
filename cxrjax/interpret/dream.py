"""Deep dreaming: gradient ascent on an image, put together of parts (as lucent's and Lucid's `render`).

  objective        what is raised, see `objectives`
  parametrisation  what is changed: the image's `Pixels`, or its `Spectrum`
  transform        how the objective sees the image at a step: `View` shifts, turns and enlarges it a little
  optimiser        how a gradient becomes a step: `BandedSteps` or `Adam`

`OCTAVES` is MATLAB's deepDreamImage, with its options' meaning and defaults (Mordvintsev et al. 2015): pixels, growing
through octaves. `FOURIER` is Olah, Mordvintsev & Schubert 2017, "Feature Visualization", Distill,
doi:10.23915/distill.00007: Adam on a spectrum divided by its frequency, as natural images fall off, so that no pixel
pattern wins by being fine; jitter, rotation and scale at random let only what survives them grow.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp

from cxrjax.base import devices
from cxrjax.base.numerics import pinned, typed_key
from cxrjax.interpret.dream_parts import Adam, BandedSteps, Optimiser, Parametrisation, Pixels, Spectrum, View
from cxrjax.interpret.objectives import Objective

OnStep: TypeAlias = Callable[[int, jax.Array], None]
"""(iterations behind it, images [D, H, W] or [D, H, W, 3]) -> None; of every iteration, for an animation."""

PIXELS, BANDED_STEPS = Pixels(), BandedSteps()
noise = PIXELS.noise


@dataclasses.dataclass(frozen=True)
class Ascent:
    """How to ascend; in brackets the name in MATLAB's deepDreamImage, whose start [InitialImage] is `dream`'s."""

    parametrisation: Parametrisation = PIXELS
    transform: View | None = None
    optimiser: Optimiser = BANDED_STEPS
    iterations: int = 10  # of each octave [NumIterations]
    octaves: int = 3  # image sizes [PyramidLevels]
    scale: float = 1.4  # from one size to the next [PyramidScale]

    def __post_init__(self) -> None:
        """Refuses an ascent without a step."""
        if self.iterations < 1:
            raise ValueError(f"iterations must be 1 or more, got {self.iterations}")
        octave_sizes(1, self.octaves, self.scale)


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


OCTAVES = Ascent()
FOURIER = Ascent(Spectrum(), View(), Adam(), iterations=128, octaves=1)


class Dreams(NamedTuple):
    """Where D dreams came to."""

    image: jax.Array  # [D, H, W] or [D, H, W, 3] f32, 0..255
    scores: jax.Array  # [D, T + 1] f32, the objective before each of T iterations, as transformed; then of the image
    dead: jax.Array  # [D] bool, the gradient was zero everywhere in the last iteration: nothing rose any more


@pinned()
def dream(
    objective: Objective,
    params: Any,
    start: jax.Array,
    ascent: Ascent = OCTAVES,
    axes: Any = None,
    on_step: OnStep | None = None,
    key: jax.Array | None = None,
) -> Dreams:
    """Ascends the objective from D images at once.

    Args:
      objective: see `Objective`; must take every size of `octave_sizes`.
      params: its first argument, kept apart so that weights are no constants of the compiled program.
      start: D images as the parametrisation writes them: pixels [D, H, H] grey or [D, H, H, 3] colour, 0..255; spectra
        [D, 2, C, H, H // 2 + 1]. A network takes `Model.smallest` pixels or more a side.
      ascent: see `Ascent`; `OCTAVES`, `FOURIER`, or another combination.
      axes: where the leaves of `params` have an axis D, as `jax.vmap`'s in_axes: seeds (`transfer.seed_axes`),
        channels or classes (the direction's axis 0); None: all dreams share the params.
      on_step: called with the images of each iteration.
      key: of the transform, which is the same for all dreams.

    Raises:
      ValueError: if `start` is none of these, or there is a transform and no key.
    """
    size = ascent.parametrisation.size(start)
    if ascent.transform and key is None:
        raise ValueError("key must be given where the ascent has a transform, got None")
    key = None if key is None else typed_key(key)
    params = jax.device_put(params)  # once, not at each of the calls that follow
    parts, lifted = (ascent.parametrisation, ascent.transform, ascent.optimiser), hashable(axes)
    written, scores = jnp.asarray(start, jnp.float32), list[jax.Array]()
    rising = jnp.ones(len(written), bool)
    for side in octave_sizes(size, ascent.octaves, ascent.scale):
        if side != ascent.parametrisation.size(written):
            written = _grown(ascent.parametrisation, written, side)
        state = jax.vmap(ascent.optimiser.init)(written)
        for _ in range(ascent.iterations):
            step_key = None if key is None else jax.random.fold_in(key, len(scores))
            written, state, score, rising = iterate(objective, parts, lifted, params, step_key, written, state)
            scores.append(score)
            if on_step:
                on_step(len(scores), _picture(ascent.parametrisation, written))
    image = _picture(ascent.parametrisation, written)
    return Dreams(image, jnp.stack([*scores, _value(objective, lifted, params, image)], axis=1), ~rising)


def hashable(axes: Any) -> tuple[tuple[Any, ...], Any]:
    """`axes` of `dream` as `iterate` takes them."""
    leaves, structure = jax.tree.flatten(axes, is_leaf=lambda x: x is None)
    return tuple(leaves), structure


def _grown(parametrisation: Parametrisation, written: jax.Array, side: int) -> jax.Array:
    images = jax.vmap(parametrisation.image)(written)
    return jax.vmap(parametrisation.write)(
        jax.image.resize(images, (len(images), side, side, *images.shape[3:]), "bilinear")
    )


@devices.jit_convolutions(0, 1, 2)
def iterate(
    objective: Objective, parts: Any, axes: Any, params: Any, key: Any, written: jax.Array, state: Any
) -> tuple[jax.Array, Any, jax.Array, jax.Array]:
    """`ascend` of D dreams in one program; `axes` of `params` as leaves and structure, which are hashable."""
    one = functools.partial(ascend, objective, parts)
    return jax.vmap(one, (jax.tree.unflatten(axes[1], axes[0]), None, 0, 0))(params, key, written, state)


@functools.partial(jax.jit, static_argnums=0)
def _picture(parametrisation: Parametrisation, written: jax.Array) -> jax.Array:
    return jax.vmap(parametrisation.image)(written)


@devices.jit_convolutions(0, 1)
def _value(objective: Objective, axes: Any, params: Any, images: jax.Array) -> jax.Array:
    return jax.vmap(objective, (jax.tree.unflatten(axes[1], axes[0]), 0))(params, images)


@pinned()
def ascend(
    objective: Objective,
    parts: tuple[Parametrisation, View | None, Optimiser],
    params: Any,
    key: jax.Array | None,
    written: jax.Array,
    state: Any,
) -> tuple[jax.Array, Any, jax.Array, jax.Array]:
    """One iteration of one dream.

    Returns:
      What is written after it, the optimiser's state, the objective before it [], and whether any of its gradient is
      not zero [].
    """
    parametrisation, transform, optimiser = parts

    def score(written: jax.Array) -> jax.Array:
        image = parametrisation.image(written)
        return objective(params, image if transform is None or key is None else transform(key, image))

    value, gradient = jax.value_and_grad(score)(written)
    written, state = optimiser.update(gradient, state, written)
    return written, state, value, jnp.any(gradient != 0)
