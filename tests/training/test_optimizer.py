"""Recipes and what they make: the poster's step by hand, momentum, mistakes."""

import subprocess
import sys
from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest

from cxrjax.base import InputError
from cxrjax.training.optimizer import RECIPES, make_optimizer
from tests.conftest import ROOT

GRADIENT = jnp.array([1.0, -2.0])


def updates(recipe, total_steps, steps):
    """[steps, 2], of the same gradient at every step."""
    optimizer = make_optimizer(recipe, total_steps)
    state, rows = optimizer.init(GRADIENT), []
    for _ in range(steps):
        update, state = optimizer.update(GRADIENT, state, GRADIENT)
        rows.append(np.asarray(update))
    return np.stack(rows)


def test_poster_is_plain_gradient_descent_at_a_constant_rate():
    recipe = RECIPES["poster"]
    assert (recipe.epochs, recipe.batch_size, recipe.momentum) == (120, 64, 0.0)
    np.testing.assert_allclose(updates(recipe, 3, 3), [[-0.001, 0.002]] * 3, rtol=1e-6)  # float32


def test_momentum_by_hand():
    got = updates(replace(RECIPES["poster"], momentum=0.5), 3, 3)[:, 0]
    np.testing.assert_allclose(got, [-0.001, -0.0015, -0.00175], rtol=1e-6)


def test_an_unknown_optimiser_is_refused():
    with pytest.raises(InputError, match=r"optimizer must be .* got 'newton'"):
        make_optimizer(replace(RECIPES["poster"], optimizer="newton"), 1)


def test_recipes_are_readable_without_jax():
    code = "import sys; from cxrjax.training import optimizer; assert optimizer.RECIPES and 'jax' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
