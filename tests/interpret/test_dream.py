"""The ascent on objectives whose result is known, many dreams as one after the other, octaves, and a dead gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cxrjax.interpret import dream
from cxrjax.interpret.dream import Options

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
    made = dream.dream(linear, WEIGHTS, start, Options(iterations=5, octaves=1, step=2.0, bands=0))
    unit = WEIGHTS / np.sqrt((WEIGHTS**2).mean())
    expected = np.clip(np.asarray(start[0]) + 5 * 2.0 * unit, 0, 255)
    np.testing.assert_allclose(made.image[0], expected, rtol=1e-5)  # float32, five additions
    # Each iteration gains step times the weights' root mean square times the pixels, before any pixel is clipped.
    gain = 2.0 * np.sqrt((WEIGHTS**2).mean()) * WEIGHTS.size
    np.testing.assert_allclose(np.diff(made.scores[0])[:3], gain, rtol=1e-3)
    assert not made.dead[0]


def test_bands_change_the_direction_and_not_the_step():
    start = noise()
    made = dream.dream(linear, WEIGHTS, start, Options(iterations=1, octaves=1, step=3.0, bands=3))
    moved = np.asarray(made.image[0] - start[0])
    np.testing.assert_allclose(moved, 3 * np.asarray(dream.equalise_bands(jnp.asarray(WEIGHTS), 3)), atol=1e-3)
    assert np.sqrt((moved**2).mean()) == pytest.approx(3, rel=1e-3)


def test_each_octave_goes_on_from_the_one_before():
    seen = []
    options = Options(iterations=2, octaves=3, scale=1.5)
    made = dream.dream(brightness, 1.0, noise(2, 20), options, on_step=lambda i, x: seen.append((i, x.shape)))
    assert seen == [(i + 1, (2, side, side)) for i, side in enumerate((20, 20, 30, 30, 45, 45))]
    assert made.image.shape == (2, 45, 45)
    assert made.scores.shape == (2, 7)
    assert (np.diff(made.scores) > 0).all()


def test_many_dreams_are_those_made_one_by_one():
    weights = jnp.stack([WEIGHTS, -WEIGHTS, WEIGHTS.T])
    options = Options(iterations=3, octaves=2, scale=1.25)

    def objective(params, image):
        own, factor = params
        return factor * (jax.image.resize(own, image.shape, "linear") * jnp.sin(image / 40)).sum()

    start = noise(3)
    made = dream.dream(objective, (weights, 2.0), start, options, axes=(0, None))
    for i in range(3):
        alone = dream.dream(objective, (weights[i], 2.0), start[i : i + 1], options)
        np.testing.assert_allclose(made.image[i], alone.image[0], atol=1e-2)  # of 255, float32 after six iterations
        np.testing.assert_allclose(made.scores[i], alone.scores[0], rtol=1e-4, atol=1e-2)


def test_axes_that_say_the_same_share_a_program():
    dream.Axes.of(None)
    one, same = (dream.Axes.of(({"a": 0, "b": None}, None)) for _ in range(2))
    assert one == same
    assert hash(one) == hash(same)
    assert one != dream.Axes.of(({"a": None, "b": 0}, None))
    assert one.tree() == ({"a": 0, "b": None}, None)


def test_colour_dreams_in_three_channels():
    tint = jnp.array([1.0, 0.0, -1.0])
    start = dream.noise(jax.random.key(0), 16, colour=True)[None]
    options = Options(iterations=2, octaves=1)
    made = dream.dream(lambda tint, image: (image.mean((0, 1)) * tint).sum(), tint, start, options)
    change = np.asarray((made.image - start)[0]).mean((0, 1))
    assert change[0] > 5
    assert abs(change[1]) < 1e-3
    assert change[2] < -5


def test_a_dead_gradient_is_told():
    made = dream.dream(brightness, jnp.array([1.0, 0.0]), noise(2), Options(2, 1), axes=0)
    np.testing.assert_array_equal(made.dead, [False, True])
    np.testing.assert_array_equal(made.image[1], noise(2)[1])


def test_a_gradient_that_dies_on_the_way_is_told():
    made = dream.dream(lambda level, image: jnp.minimum(image.mean(), level), 140.0, noise(), Options(3, 1))
    assert made.dead[0]
    assert made.scores[0, -1] == 140


@pytest.mark.parametrize(
    ("start", "options", "message"),
    [
        (np.zeros((24, 24)), Options(), r"start must be \[D, H, H\] or \[D, H, H, 3\], got \[24, 24\]"),
        (np.zeros((1, 24, 25)), Options(), r"got \[1, 24, 25\]"),
        (np.zeros((1, 24, 24, 2)), Options(), r"got \[1, 24, 24, 2\]"),
        (np.zeros((1, 24, 24)), Options(iterations=0), "iterations must be 1 or more, got 0"),
        (np.zeros((1, 24, 24)), Options(bands=-1), "bands must be 0 or more, got -1"),
    ],
)
def test_what_cannot_be_climbed_is_refused(start, options, message):
    with pytest.raises(ValueError, match=message):
        dream.dream(brightness, 1.0, start, options)


def test_equalised_bands_raise_the_coarse_against_the_fine():
    rng = np.random.default_rng(0)
    coarse = np.kron(rng.normal(size=(4, 4)), np.ones((16, 16)))
    gradient = jnp.asarray(rng.normal(size=(64, 64)) + 0.2 * coarse, jnp.float32)
    out = dream.equalise_bands(gradient, 4)
    assert float(jnp.sqrt((out**2).mean())) == pytest.approx(1, rel=1e-3)
    corr = [np.corrcoef(np.ravel(x), coarse.ravel())[0, 1] for x in (gradient, out)]
    assert corr[1] > 2 * corr[0]


def test_stretched_reaches_from_black_to_white():
    image = jnp.array([[100.0, 110.0], [105.0, 120.0]])
    np.testing.assert_array_equal(dream.stretched(image), [[0, 128], [64, 255]])
