"""The ascent on objectives whose result is known, many dreams as one after the other, octaves, and a dead gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cxrjax.interpret import dream
from cxrjax.interpret.dream import Ascent
from cxrjax.interpret.dream_parts import Adam, BandedSteps, Spectrum, View, equalise_bands

WEIGHTS = np.random.default_rng(1).normal(size=(24, 24)).astype(np.float32)


def linear(weights, image):
    return (weights * image).sum()


def brightness(params, image):
    return params * image.mean()


def noise(count=1, side=24):
    return jnp.stack([dream.noise(jax.random.key(i), side) for i in range(count)])


def test_octave_sizes_follow_the_rule():
    assert dream.octave_sizes(227, 3, 1.4) == (227, 318, 445)
    assert dream.octave_sizes(100, 1, 2.0) == (100,)
    for octaves, scale in ((0, 1.4), (3, 0.9)):
        with pytest.raises(ValueError, match="octaves and scale must be 1 or more"):
            dream.octave_sizes(227, octaves, scale)


def test_ascent_of_a_linear_objective_equals_its_closed_form():
    start = noise()
    made = dream.dream(linear, WEIGHTS, start, Ascent(iterations=5, octaves=1, optimiser=BandedSteps(2.0, 0)))
    unit = WEIGHTS / np.sqrt((WEIGHTS**2).mean())
    expected = np.clip(np.asarray(start[0]) + 5 * 2.0 * unit, 0, 255)
    np.testing.assert_allclose(made.image[0], expected, rtol=1e-5)  # float32, five additions
    # Each iteration gains step times the weights' root mean square times the pixels, before any pixel is clipped.
    gain = 2.0 * np.sqrt((WEIGHTS**2).mean()) * WEIGHTS.size
    np.testing.assert_allclose(np.diff(made.scores[0])[:3], gain, rtol=1e-3)
    assert not made.dead[0]


def test_bands_change_the_direction_and_not_the_step():
    start = noise()
    made = dream.dream(linear, WEIGHTS, start, Ascent(iterations=1, octaves=1, optimiser=BandedSteps(3.0, 3)))
    moved = np.asarray(made.image[0] - start[0])
    np.testing.assert_allclose(moved, 3 * np.asarray(equalise_bands(jnp.asarray(WEIGHTS), 3)), atol=1e-3)
    assert np.sqrt((moved**2).mean()) == pytest.approx(3, rel=1e-3)


def test_each_octave_goes_on_from_the_one_before():
    seen = []
    ascent = Ascent(iterations=2, octaves=2, scale=1.5)
    made = dream.dream(brightness, 1.0, noise(2, 20), ascent, on_step=lambda i, x: seen.append((i, x.shape)))
    assert seen == [(i + 1, (2, side, side)) for i, side in enumerate((20, 20, 30, 30))]
    assert made.image.shape == (2, 30, 30)
    assert made.scores.shape == (2, 5)
    assert (np.diff(made.scores) > 0).all()


def test_many_dreams_are_those_made_one_by_one():
    weights = jnp.stack([WEIGHTS, -WEIGHTS, WEIGHTS.T])
    ascent = Ascent(iterations=3, octaves=1)

    def objective(params, image):
        own, factor = params
        return factor * (jax.image.resize(own, image.shape, "linear") * jnp.sin(image / 40)).sum()

    start = noise(3)
    made = dream.dream(objective, (weights, 2.0), start, ascent, axes=(0, None))
    for i in range(3):
        alone = dream.dream(objective, (weights[i], 2.0), start[i : i + 1], ascent)
        np.testing.assert_allclose(made.image[i], alone.image[0], atol=1e-2)  # of 255, float32 after three iterations
        np.testing.assert_allclose(made.scores[i], alone.scores[0], rtol=1e-4, atol=1e-2)


def test_what_is_equal_shares_a_program():
    traced = []

    def objective(level, image):
        traced.append(level)
        return brightness(level, image)

    def ascend(level, axes):
        dream.dream(objective, level, noise(2), Ascent(iterations=1, octaves=1), axes)
        return len(traced)

    programs = ascend(jnp.ones(2), 0)
    assert ascend(jnp.zeros(2), 0) == programs
    assert ascend(1.0, None) > programs


def test_colour_dreams_in_three_channels():
    tint = jnp.array([1.0, 0.0, -1.0])
    start = dream.noise(jax.random.key(0), 16, colour=True)[None]
    ascent = Ascent(iterations=2, octaves=1)
    made = dream.dream(lambda tint, image: (image.mean((0, 1)) * tint).sum(), tint, start, ascent)
    change = np.asarray((made.image - start)[0]).mean((0, 1))
    assert change[0] > 5
    assert abs(change[1]) < 1e-3
    assert change[2] < -5


def test_a_dead_gradient_is_told():
    made = dream.dream(brightness, jnp.array([1.0, 0.0]), noise(2), Ascent(iterations=2, octaves=1), axes=0)
    np.testing.assert_array_equal(made.dead, [False, True])
    np.testing.assert_array_equal(made.image[1], noise(2)[1])


def test_a_gradient_that_dies_on_the_way_is_told():
    made = dream.dream(
        lambda level, image: jnp.minimum(image.mean(), level), 140.0, noise(), Ascent(iterations=3, octaves=1)
    )
    assert made.dead[0]
    assert made.scores[0, -1] == 140


@pytest.mark.parametrize(
    ("start", "message"),
    [
        (np.zeros((24, 24)), r"start must be \[D, H, H\] or \[D, H, H, 3\], got \[24, 24\]"),
        (np.zeros((1, 24, 25)), r"got \[1, 24, 25\]"),
        (np.zeros((1, 24, 24, 2)), r"got \[1, 24, 24, 2\]"),
    ],
)
def test_what_is_no_image_is_refused(start, message):
    with pytest.raises(ValueError, match=message):
        dream.dream(brightness, 1.0, start)


def test_options_out_of_range_are_refused():
    with pytest.raises(ValueError, match="iterations must be 1 or more, got 0"):
        Ascent(iterations=0)
    with pytest.raises(ValueError, match="octaves and scale must be 1 or more, got 0"):
        Ascent(octaves=0)
    with pytest.raises(ValueError, match="bands must be 0 or more, got -1"):
        BandedSteps(bands=-1)
    with pytest.raises(ValueError, match="key must be given"):
        dream.dream(brightness, 1.0, noise(), Ascent(transform=View()))


@pytest.mark.parametrize(
    "ascent",
    [
        Ascent(transform=View(2.0, 5.0, 0.05), optimiser=Adam(2.0), iterations=20, octaves=2, scale=1.5),
        Ascent(Spectrum(), None, Adam(), iterations=20, octaves=2, scale=1.5),
    ],
)
def test_parts_are_combined_freely(ascent):
    """Octaves with Adam and jitter; a spectrum that grows."""
    start = ascent.parametrisation.noise(jax.random.key(0), 24)[None]
    dreams = dream.dream(brightness, 1.0, start, ascent, key=jax.random.key(1))
    assert dreams.image.shape == (1, 36, 36)
    assert dreams.scores.shape == (1, 41)
    assert dreams.scores[0, -1] > dreams.scores[0, 0] + 5


def test_equalised_bands_raise_the_coarse_against_the_fine():
    rng = np.random.default_rng(0)
    coarse = np.kron(rng.normal(size=(4, 4)), np.ones((16, 16)))
    gradient = jnp.asarray(rng.normal(size=(64, 64)) + 0.2 * coarse, jnp.float32)
    out = equalise_bands(gradient, 4)
    assert float(jnp.sqrt((out**2).mean())) == pytest.approx(1, rel=1e-3)
    corr = [np.corrcoef(np.ravel(x), coarse.ravel())[0, 1] for x in (gradient, out)]
    assert corr[1] > 2 * corr[0]
