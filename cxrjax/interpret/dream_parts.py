"""What an ascent is put together of: parametrisations, transforms and optimisers, frozen and hashable; see `dream`."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
import optax

from cxrjax.base.numerics import pinned, typed_key

NOISE_SD = 16.0  # grey levels of a start from noise
# Square root of the colours' covariance in ImageNet, as Lucid has it: columns are decorrelated colours.
_COLOURS = np.array([[0.26, 0.09, 0.02], [0.27, 0.00, -0.05], [0.27, -0.09, 0.03]], np.float32)
_DECORRELATED = _COLOURS / np.linalg.norm(_COLOURS, axis=0).max()
_SPECTRUM_SD = 0.01  # of a spectrum from noise
_GAIN = 0.25  # of a spectrum's image before the sigmoid; Lucid's
_LIMIT = 0.02  # an image is kept so far from black and white, where the sigmoid is flat


@dataclasses.dataclass(frozen=True)
class Pixels:
    """The image itself, grey levels."""

    @pinned()
    def noise(self, key: jax.Array, size: int = 227, colour: bool = False) -> jax.Array:
        """Grey [size, size] or colour [size, size, 3] f32: 127.5 ± `NOISE_SD` grey levels."""
        return 127.5 + NOISE_SD * jax.random.normal(typed_key(key), (size, size, 3) if colour else (size, size))

    def write(self, image: jax.Array) -> jax.Array:
        """The image."""
        return image

    def image(self, written: jax.Array) -> jax.Array:
        """The image."""
        return written

    def size(self, start: jax.Array) -> int:
        """H of [D, H, H] or [D, H, H, 3]."""
        square = start.ndim in (3, 4) and start.shape[1] == start.shape[2] and start.shape[3:] in ((), (3,))
        if not square:
            raise ValueError(f"start must be [D, H, H] or [D, H, H, 3], got {list(start.shape)}")
        return int(start.shape[1])


@dataclasses.dataclass(frozen=True)
class Spectrum:
    """Real and imaginary parts [2, C, H, H // 2 + 1] f32 of decorrelated colours, or of grey (C = 1)."""

    decay: float = 1.0  # power of the frequency by which the spectrum is divided; 0: white

    @pinned()
    def noise(self, key: jax.Array, size: int = 227, colour: bool = False) -> jax.Array:
        """Normal numbers, whose image falls off with frequency."""
        return _SPECTRUM_SD * jax.random.normal(typed_key(key), (2, 3 if colour else 1, size, size // 2 + 1))

    @pinned()
    def write(self, image: jax.Array) -> jax.Array:
        """The spectrum of an image: `image` turns it back, but for black and white."""
        share = jnp.clip(jnp.asarray(image, jnp.float32) / 255, _LIMIT, 1 - _LIMIT)
        values = jnp.log(share) - jnp.log1p(-share)
        planes = values[None] if image.ndim == 2 else jnp.moveaxis(values @ jnp.linalg.inv(_DECORRELATED).T, -1, 0)
        complex_ = jnp.fft.rfft2(planes) / (_GAIN * self._falloff(image.shape[0])[None])
        return jnp.stack([complex_.real, complex_.imag])

    @pinned()
    def image(self, written: jax.Array) -> jax.Array:
        """The image of a spectrum, f32, 0..255."""
        size = written.shape[2]
        scaled = (written[0] + 1j * written[1]) * self._falloff(size)[None]
        planes = _GAIN * jnp.fft.irfft2(scaled, s=(size, size))
        values = planes[0] if len(planes) == 1 else jnp.moveaxis(planes, 0, -1) @ _DECORRELATED.T
        return 255 * jax.nn.sigmoid(values)

    def size(self, start: jax.Array) -> int:
        """H of [D, 2, C, H, H // 2 + 1]."""
        size = int(start.shape[3]) if start.ndim == 5 else 0
        if start.ndim != 5 or start.shape[1] != 2 or start.shape[2] not in (1, 3) or start.shape[4] != size // 2 + 1:
            raise ValueError(f"start must be [D, 2, 1 or 3, H, H // 2 + 1], got {list(start.shape)}")
        return size

    def _falloff(self, size: int) -> jax.Array:
        """size / max(frequency, 1 / size)^decay, [size, size // 2 + 1]; frequency in cycles a pixel."""
        frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None])
        return jnp.asarray(size / np.maximum(frequency, 1 / size) ** self.decay, jnp.float32)


Parametrisation: TypeAlias = Pixels | Spectrum
"""How an image [H, H] or [H, H, 3], 0..255, is written; hashable. Another one has the same four methods."""


@dataclasses.dataclass(frozen=True)
class View:
    """The image from a little elsewhere, at random; all three 0: the image as it is."""

    jitter: float = 8.0  # pixels by which the image is shifted, at most
    rotation: float = 10.0  # degrees, at most
    zoom: float = 0.1  # relative change of size, at most

    @pinned()
    def __call__(self, key: jax.Array, image: jax.Array) -> jax.Array:
        """An image [H, H] or [H, H, 3] as seen at a step."""
        if not (self.jitter or self.rotation or self.zoom):
            return image
        keys = jax.random.split(typed_key(key), 3)
        shift = self.jitter * jax.random.uniform(keys[0], (2,), minval=-1)
        angle = jnp.deg2rad(self.rotation) * jax.random.uniform(keys[1], minval=-1)
        return seen_from(image, shift, angle, 1 + self.zoom * jax.random.uniform(keys[2], minval=-1))


@pinned()
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


@dataclasses.dataclass(frozen=True)
class BandedSteps:
    """Steps of one size along the gradient with equal bands, within 0..255: for pixels."""

    step: float = 12.0  # grey levels, root mean square, that an iteration moves the image
    bands: int = 4  # of the gradient's Laplacian pyramid, each given the same weight; 0: the gradient as it is

    def __post_init__(self) -> None:
        """Refuses a negative number of bands."""
        if self.bands < 0:
            raise ValueError(f"bands must be 0 or more, got {self.bands}")

    def init(self, written: jax.Array) -> tuple[()]:
        """Its state before the first step: none."""
        return ()

    def update(self, gradient: jax.Array, state: tuple[()], written: jax.Array) -> tuple[jax.Array, tuple[()]]:
        """What is written after a step, and the state."""
        return jnp.clip(written + self.step * equalise_bands(gradient, self.bands), 0, 255), state


@dataclasses.dataclass(frozen=True)
class Adam:
    """Kingma & Ba 2015, arXiv:1412.6980."""

    rate: float = 0.05

    def init(self, written: jax.Array) -> Any:
        """Its state before the first step: the moments."""
        return optax.adam(self.rate).init(written)

    def update(self, gradient: jax.Array, state: Any, written: jax.Array) -> tuple[jax.Array, Any]:
        """What is written after a step, and the state."""
        updates, state = optax.adam(self.rate).update(-gradient, state)
        return jnp.asarray(optax.apply_updates(written, updates)), state


Optimiser: TypeAlias = BandedSteps | Adam
"""How a gradient moves what is written; hashable. Another one has the same two methods."""


@pinned()
def equalise_bands(gradient: jax.Array, levels: int) -> jax.Array:
    """Gives each band of a Laplacian pyramid of [H, W, ...] a root mean square of 1, and so the sum.

    Without it the finest band, noise to the eye, outweighs all others (Mordvintsev et al. 2015, "Laplacian pyramid
    gradient normalization"). A band below 1e-4 of the gradient is rounding, and is not raised.
    """
    total, rest, channels = jnp.zeros_like(gradient), gradient, gradient.shape[2:]
    rounding = 1e-4 * jnp.sqrt(jnp.mean(gradient**2))
    for _ in range(levels):
        smaller = (*(max(1, side // 2) for side in rest.shape[:2]), *channels)
        low = jax.image.resize(rest, smaller, "linear")  # anti-aliased
        band = rest - jax.image.resize(low, rest.shape, "linear")
        total += jax.image.resize(_unit(band, rounding), gradient.shape, "linear")
        rest = low
    return _unit(total + jax.image.resize(_unit(rest, rounding), gradient.shape, "linear"))


def _unit(x: jax.Array, smallest: jax.Array | float = 0.0) -> jax.Array:
    return x / jnp.maximum(jnp.sqrt(jnp.mean(x**2)), smallest + 1e-12)
