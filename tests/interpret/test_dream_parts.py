"""Spectra and images, transformations against SciPy, and dreams that climb."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from cxrjax.interpret import dream, dream_parts
from cxrjax.interpret.dream_parts import Adam, Spectrum, View

STILL = View(0, 0, 0)


def ascend(key, objective, params, start, iterations, transform=View(), axes=None):  # noqa: B008 - immutable
    ascent = dream.Ascent(Spectrum(), transform, Adam(), iterations, octaves=1)
    return dream.dream(objective, params, start, ascent, axes, key=key)


@pytest.fixture
def image():
    smooth = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=(33, 33)), 3, mode="wrap")
    return (127 + 90 * smooth / np.abs(smooth).max()).astype(np.float32)


@pytest.mark.parametrize("decay", [0.0, 1.0, 1.5])
def test_an_image_comes_back_from_its_spectrum(image, decay):
    np.testing.assert_allclose(Spectrum(decay).image(Spectrum(decay).write(image)), image, atol=0.05)


def test_a_colour_image_comes_back_from_its_spectrum(image):
    colour = np.stack([image, 255 - image, image[::-1]], axis=-1)
    np.testing.assert_allclose(Spectrum().image(Spectrum().write(colour)), colour, atol=0.2)


def test_black_and_white_come_back_almost():
    back = Spectrum().image(Spectrum().write(np.array([[0.0, 255.0], [255.0, 0.0]])))
    np.testing.assert_allclose(back, [[5.1, 249.9], [249.9, 5.1]], atol=0.01)  # 2 % of 255


def test_noise_falls_off_with_frequency():
    made = Spectrum().image(Spectrum().noise(jax.random.key(0), 128))
    assert made.shape == (128, 128)
    power = np.abs(np.fft.rfft2(np.asarray(made) - np.asarray(made).mean())) ** 2
    frequency = np.hypot(np.fft.fftfreq(128)[:, None], np.fft.rfftfreq(128)[None])
    bands = [power[(frequency > low) & (frequency <= 2 * low)].mean() for low in (0.03, 0.06, 0.12, 0.24)]
    ratios = np.array(bands[:-1]) / np.array(bands[1:])
    assert ((ratios > 2.5) & (ratios < 6)).all()  # 1 / f in amplitude: 4 an octave in power


@pytest.mark.parametrize(("shift", "angle", "zoom"), [((0, 0), 0, 1), ((2.5, -1), 0, 1), ((0, 3), 0.3, 1.1)])
def test_the_view_equals_scipys(image, shift, angle, zoom):
    out = dream_parts.seen_from(
        jnp.asarray(image), jnp.array(shift, jnp.float32), jnp.float32(angle), jnp.float32(zoom)
    )
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]) / zoom
    middle = np.full(2, 16.0)
    want = ndimage.affine_transform(image, turn, middle - turn @ (middle + shift), order=1, mode="mirror")
    np.testing.assert_allclose(out, want, atol=0.01)  # of 255; float32 coordinates
    if not any((*shift, angle)) and zoom == 1:
        np.testing.assert_allclose(out, image, atol=1e-4)


def test_the_view_of_colour_is_that_of_its_channels(image):
    given = (jnp.array([1.0, 2.0]), jnp.float32(0.2), jnp.float32(0.9))
    colour = jnp.stack([image, 2 * image, -image], axis=-1)
    out = dream_parts.seen_from(colour, *given)
    for channel in range(3):
        np.testing.assert_allclose(out[..., channel], dream_parts.seen_from(colour[..., channel], *given), atol=1e-3)


def blob(level, image):
    return -((image[8:24, 8:24].mean() - level) ** 2)


def test_a_dream_reaches_its_aim_and_repeats_by_key():
    start = Spectrum().noise(jax.random.key(0), 33)[None]
    made = ascend(jax.random.key(1), blob, 200.0, start, 60, STILL)
    assert made.image.shape == (1, 33, 33)
    assert made.scores.shape == (1, 61)
    assert -made.scores[0, 0] > 50**2
    assert -made.scores[0, -1] < 5**2
    again = ascend(jax.random.key(1), blob, 200.0, start, 60, STILL)
    np.testing.assert_array_equal(made.image, again.image)


def test_one_iteration_is_adams():
    start = Spectrum().noise(jax.random.key(0), 33)
    made = ascend(jax.random.key(1), blob, 200.0, start[None], 1, STILL)
    gradient = jax.grad(lambda s: blob(200.0, Spectrum().image(s)))(start)
    # Adam's first step is the rate times the gradient's sign, where it is not lost in epsilon.
    clear = np.abs(gradient) > 1e-5
    expected = start + Adam().rate * jnp.sign(gradient)
    stepped = Spectrum().image(jnp.where(clear, expected, start))
    np.testing.assert_allclose(made.image[0], stepped, atol=0.5)


def test_many_dreams_are_those_made_one_by_one():
    start = jnp.stack([Spectrum().noise(jax.random.key(i), 33) for i in range(2)])
    levels = jnp.array([200.0, 60.0])
    made = ascend(jax.random.key(1), blob, levels, start, 5, axes=0)
    for i in range(2):
        alone = ascend(jax.random.key(1), blob, levels[i], start[i : i + 1], 5)
        np.testing.assert_allclose(made.image[i], alone.image[0], atol=0.05)


def test_dead_gradients_and_colour():
    start = jnp.stack([Spectrum().noise(jax.random.key(0), 17, colour=True)] * 2)
    made = ascend(
        jax.random.key(1), lambda factor, image: factor * image[..., 0].mean(), jnp.array([1.0, 0.0]), start,
        3, axes=0,
    )  # fmt: skip
    assert made.image.shape == (2, 17, 17, 3)
    np.testing.assert_array_equal(made.dead, [False, True])
    assert made.image[0, ..., 0].mean() > made.image[1, ..., 0].mean() + 1


@pytest.mark.parametrize("shape", [(2, 1, 33, 17), (1, 2, 2, 33, 17), (1, 2, 1, 33, 33), (1, 1, 1, 33, 17)])
def test_what_is_no_spectrum_is_refused(shape):
    with pytest.raises(ValueError, match=r"start must be \[D, 2, 1 or 3, H, H // 2 \+ 1\]"):
        ascend(jax.random.key(0), blob, 1.0, jnp.zeros(shape), 1)
