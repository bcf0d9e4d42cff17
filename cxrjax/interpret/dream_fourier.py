"""Deep dreaming in frequency space: an image written as a spectrum, seen from a little elsewhere at every step.

Olah, Mordvintsev & Schubert 2017, "Feature Visualization", Distill, doi:10.23915/distill.00007, and their library
Lucid: Adam climbs on a spectrum divided by its frequency, as natural images fall off, so that no pixel pattern wins by
being fine; jitter, rotation and scale at random let only what survives them grow. Grey dreams have one channel.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from cxrjax.base import devices
from cxrjax.interpret.dream import Axes, Dreams, OnStep
from cxrjax.interpret.objectives import Objective

# Square root of the colours' covariance in ImageNet, as Lucid has it: columns are decorrelated colours.
_COLOURS = np.array([[0.26, 0.09, 0.02], [0.27, 0.00, -0.05], [0.27, -0.09, 0.03]], np.float32)
_DECORRELATED = _COLOURS / np.linalg.norm(_COLOURS, axis=0).max()
_START_SD = 0.01  # of a spectrum from noise
_GAIN = 0.25  # of a spectrum's image before the sigmoid; Lucid's
_LIMIT = 0.02  # a start is kept so far from black and white, where the sigmoid is flat


class Options(NamedTuple):
    """How to climb in frequency space."""

    iterations: int = 128
    rate: float = 0.05  # of Adam
    decay: float = 1.0  # power of the frequency by which the spectrum is divided; 0: white
    jitter: float = 8.0  # pixels by which the image is shifted, at most
    rotation: float = 10.0  # degrees, at most
    zoom: float = 0.1  # relative change of size, at most; all three 0: the image as it is


def noise(key: jax.Array, size: int = 227, colour: bool = False) -> jax.Array:
    """A spectrum to start from, [2, 1 or 3, size, size // 2 + 1] f32: real and imaginary parts."""
    return _START_SD * jax.random.normal(key, (2, 3 if colour else 1, size, size // 2 + 1))


def spectrum_of(image: jax.Array, decay: float = 1.0) -> jax.Array:
    """The spectrum of an image [H, H] or [H, H, 3], 0..255: `image_of` turns it back, but for black and white."""
    share = jnp.clip(jnp.asarray(image, jnp.float32) / 255, _LIMIT, 1 - _LIMIT)
    values = jnp.log(share) - jnp.log1p(-share)
    planes = values[None] if image.ndim == 2 else jnp.moveaxis(values @ jnp.linalg.inv(_DECORRELATED).T, -1, 0)
    complex_ = jnp.fft.rfft2(planes) / (_GAIN * _falloff(image.shape[0], decay)[None])
    return jnp.stack([complex_.real, complex_.imag])


def image_of(spectrum: jax.Array, decay: float = 1.0) -> jax.Array:
    """The image of a spectrum, [H, H] grey or [H, H, 3] colour, f32, 0..255."""
    size = spectrum.shape[2]
    scaled = (spectrum[0] + 1j * spectrum[1]) * _falloff(size, decay)[None]
    planes = _GAIN * jnp.fft.irfft2(scaled, s=(size, size))
    values = planes[0] if len(planes) == 1 else jnp.moveaxis(planes, 0, -1) @ _DECORRELATED.T
    return 255 * jax.nn.sigmoid(values)


def _falloff(size: int, decay: float) -> jax.Array:
    """size / max(frequency, 1 / size)^decay, [size, size // 2 + 1]; frequency in cycles a pixel."""
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None])
    return jnp.asarray(size / np.maximum(frequency, 1 / size) ** decay, jnp.float32)


def seen_from(image: jax.Array, shift: jax.Array, angle: jax.Array, zoom: jax.Array) -> jax.Array:
    """An image [H, H] or [H, H, 3] shifted, turned and enlarged about its centre; bilinear, mirrored at its border.

    Args:
      image: any values.
      shift: [2], pixels down and to the right.
      angle: [], radians, from the rows' axis to the columns'.
      zoom: [], 1 leaves the size.
    """
    size = image.shape[0]
    middle = (size - 1) / 2
    y, x = jnp.meshgrid(*[jnp.arange(size) - middle] * 2, indexing="ij")
    y, x = y - shift[0], x - shift[1]
    at = [(jnp.cos(angle) * y + jnp.sin(angle) * x) / zoom, (jnp.cos(angle) * x - jnp.sin(angle) * y) / zoom]
    sample = functools.partial(
        jax.scipy.ndimage.map_coordinates, coordinates=[a + middle for a in at], order=1, mode="mirror"
    )
    return sample(image) if image.ndim == 2 else jax.vmap(sample, -1, -1)(image)


def dream(
    key: jax.Array,
    objective: Objective,
    params: Any,
    start: jax.Array,
    options: Options = Options(),  # noqa: B008 - immutable
    axes: Any = None,
    on_step: OnStep | None = None,
) -> Dreams:
    """Ascends the objective from D spectra at once.

    Args:
      key: of the transformations, which are the same for all dreams.
      objective, params, axes: see `dream.dream`; the objective must take [H, H] or [H, H, 3].
      start: [D, 2, C, H, H // 2 + 1], see `noise` and `spectrum_of`.
      options: see `Options`.
      on_step: called with the images of each iteration.

    Returns:
      Dreams; their scores are of the images as transformed, the last one of the image as it is.

    Raises:
      ValueError: if `start` is no such spectra, or there is no iteration.
    """
    size = start.shape[3] if start.ndim == 5 else 0
    if start.ndim != 5 or start.shape[1] != 2 or start.shape[2] not in (1, 3) or start.shape[4] != size // 2 + 1:
        raise ValueError(f"start must be [D, 2, 1 or 3, H, H // 2 + 1], got {list(start.shape)}")
    if options.iterations < 1:
        raise ValueError(f"iterations must be 1 or more, got {options.iterations}")
    params = jax.device_put(params)
    climb, picture, value = _programs(objective, options, Axes.of(axes))
    spectrum, scores, alive = jnp.asarray(start, jnp.float32), [], jnp.ones(len(start), bool)
    state = jax.vmap(_adam(options).init)(spectrum)
    for step in range(options.iterations):
        spectrum, state, score, alive = climb(params, jax.random.fold_in(key, step), spectrum, state)
        scores.append(score)
        if on_step:
            on_step(step + 1, picture(spectrum))
    image = picture(spectrum)
    return Dreams(image, jnp.stack([*scores, value(params, image)], axis=1), ~alive)


def _adam(options: Options) -> optax.GradientTransformation:
    return optax.adam(options.rate)


@functools.lru_cache(maxsize=16)
def _programs(objective: Objective, options: Options, axes: Axes) -> tuple[Any, Any, Any]:
    """One iteration of all dreams, their images, and the objective of these, compiled."""
    one = functools.partial(ascend, objective, options)
    lifted = (jax.vmap(one, (axes.tree(), None, 0, 0)), jax.vmap(objective, (axes.tree(), 0)))
    climb, value = (jax.jit(f, compiler_options=devices.convolution_options()) for f in lifted)
    return climb, jax.jit(jax.vmap(functools.partial(image_of, decay=options.decay))), value


def ascend(
    objective: Objective, options: Options, params: Any, key: jax.Array, spectrum: jax.Array, state: Any
) -> tuple[jax.Array, Any, jax.Array, jax.Array]:
    """One iteration of Adam on a spectrum [2, C, H, H // 2 + 1].

    Returns:
      The spectrum, Adam's state, the objective before the iteration [], and whether any of its gradient is not zero.
    """

    def score(spectrum: jax.Array) -> jax.Array:
        return objective(params, _transformed(key, image_of(spectrum, options.decay), options))

    value, gradient = jax.value_and_grad(score)(spectrum)
    updates, state = _adam(options).update(-gradient, state)
    return optax.apply_updates(spectrum, updates), state, value, jnp.any(gradient != 0)


def _transformed(key: jax.Array, image: jax.Array, options: Options) -> jax.Array:
    if not (options.jitter or options.rotation or options.zoom):
        return image
    keys = jax.random.split(key, 3)
    shift = options.jitter * jax.random.uniform(keys[0], (2,), minval=-1)
    angle = jnp.deg2rad(options.rotation) * jax.random.uniform(keys[1], minval=-1)
    return seen_from(image, shift, angle, 1 + options.zoom * jax.random.uniform(keys[2], minval=-1))
