import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cxrjax import dream


def brightness(params, image):
    return params * image.mean()


def test_octave_sizes_follow_the_rule():
    assert dream.octave_sizes(227, 3, 1.4) == (227, 318, 445)
    assert dream.octave_sizes(100, 1, 2.0) == (100,)


def test_ascent_raises_the_objective_and_repeats_by_key():
    def objective(params, image):
        return -jnp.mean((image - params) ** 2)

    image, trace = dream.dream(jax.random.key(0), objective, 200.0, iterations=4, octaves=2)
    assert image.shape == (318, 318)
    assert trace.shape == (8,)
    assert (np.diff(trace[:4]) > 0).all()
    again, _ = dream.dream(jax.random.key(0), objective, 200.0, iterations=4, octaves=2)
    np.testing.assert_array_equal(image, again)


def test_pixels_stay_within_range():
    image, _ = dream.dream(jax.random.key(0), brightness, 1.0, iterations=15, octaves=1)
    assert float(image.max()) == 255
    assert float(image.min()) >= 0


def test_a_dead_gradient_is_said():
    with pytest.raises(ValueError, match="gradient of the objective is zero"):
        dream.dream(jax.random.key(0), brightness, 0.0)


def test_bands_get_equal_weight():
    """A faint coarse wave beside a strong fine one: in the result both are of one order."""
    y = jnp.arange(256.0)[:, None]
    coarse, fine = jnp.sin(2 * jnp.pi * y / 128), jnp.sin(2 * jnp.pi * y / 4)
    gradient = jnp.broadcast_to(0.01 * coarse + fine, (256, 256))
    out = dream.equalise_bands(gradient, 4)
    strength = [abs(float((out * wave).mean())) for wave in (coarse, fine)]
    assert 0.2 < strength[0] / strength[1] < 5
    assert float(jnp.sqrt(jnp.mean(out**2))) == pytest.approx(1, rel=1e-5)
