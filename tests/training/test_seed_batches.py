"""How many seeds are trained side by side."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from cxrjax.base import devices
from cxrjax.models import transfer
from cxrjax.models.registry import ALEXNET
from cxrjax.models.transfer import Network
from cxrjax.training import seed_batches
from cxrjax.training.optimizer import Recipe

RECIPE = Recipe(epochs=1, batch_size=64, learning_rate=0.1, momentum=0.0)


def net(dense=True):
    """10 MB of parameters; activations of 16 steps of 64 images take 4 KB * 1024 = 4 MB."""

    def initial(key):
        return {"params": {"fc8": {"kernel": jnp.zeros((2500, 1000))}}}

    trunk = transfer.Trunk(ALEXNET, lambda p, x: x, {}, (1024,), np.dtype(np.float32), "none")
    return Network(ALEXNET, trunk, lambda p, x, k, m: (x, {}), initial, ("fc8",), dense)


def test_an_optimiser_with_two_moments_takes_two_copies_more(monkeypatch):
    monkeypatch.setattr(seed_batches, "make_optimizer", lambda recipe: optax.scale_by_adam())
    step_count = 4  # bytes
    assert seed_batches.bytes_per_seed(net(), RECIPE) == 5 * 10_000_000 + step_count + 2 * 16 * 64 * 1024 * 4


def test_bytes_of_a_seed_by_hand():
    assert seed_batches.bytes_per_seed(net(), RECIPE) == 3 * 10_000_000 + 2 * 16 * 64 * 1024 * 4
    assert seed_batches.bytes_per_seed(net(), replace(RECIPE, momentum=0.9)) == 4 * 10_000_000 + 2 * 16 * 64 * 1024 * 4


def test_running_statistics_take_their_place():
    statistics = {"batch_stats": {"fc8": {"mean": jnp.zeros(1000), "var": jnp.ones(1000)}}}
    first = net().initial
    with_statistics = net()._replace(initial=lambda key: first(key) | statistics)
    more = seed_batches.bytes_per_seed(with_statistics, RECIPE) - seed_batches.bytes_per_seed(net(), RECIPE)
    assert more == 3 * 2 * 1000 * 4


@pytest.mark.parametrize(
    ("fit", "seeds", "expected"), [(10, 10, 10), (9, 10, 5), (3, 10, 3), (4, 10, 4), (0, 10, 1), (6, 2, 2)]
)
def test_groups_fit_and_are_of_like_size(monkeypatch, fit, seeds, expected):
    room = fit * seed_batches.bytes_per_seed(net(), RECIPE) + 1
    monkeypatch.setattr(devices, "memory", lambda: 4 * (room + seed_batches.BASE_BYTES))
    assert jax.default_backend() == "cpu"
    assert seed_batches.default_seed_batch(net(), RECIPE, seeds) == expected


def test_convolutions_are_trained_one_seed_at_a_time(monkeypatch):
    monkeypatch.setattr(devices, "memory", lambda: 10**15)
    assert seed_batches.default_seed_batch(net(dense=False), RECIPE, 10) == 1
