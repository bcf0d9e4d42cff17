"""How many seeds are trained side by side, and what becomes of them."""

from dataclasses import replace
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from cxrjax.base import devices
from cxrjax.models import transfer
from cxrjax.models.registry import ALEXNET
from cxrjax.models.transfer import Network
from cxrjax.training import loop, seed_batches, step
from cxrjax.training.loop import Fitted, History
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


@pytest.fixture
def group(monkeypatch):
    """Three seeds that are trained in no time: workload, runs, seeds side by side."""
    rng = np.random.default_rng(0)
    variables = {"params": {"fc8": {"kernel": rng.random((3, 4, 2), np.float32)}}}
    logits = [rng.random((n, 2), np.float32) for n in (5, 6, 7)]
    fitted = Fitted(variables, History(*rng.random((4, 3, 2), np.float32)), logits)
    monkeypatch.setattr(loop, "fit", lambda *args: fitted)
    return SimpleNamespace(recipe=RECIPE), [SimpleNamespace(seed=seed) for seed in (4, 5, 6)], 3


def test_seeds_are_those_that_are_saved(group, tmp_path, monkeypatch):
    trained = list(seed_batches.train(*group, tmp_path))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["seed_004", "seed_005", "seed_006"]
    monkeypatch.delattr(loop, "fit")
    loaded = list(seed_batches.train(*group, tmp_path))
    assert [len(seed.val_logits[0]) for seed in trained] == [5, 6, 7]
    jax.tree.map(np.testing.assert_array_equal, trained, loaded)


def test_what_is_kept_and_where_training_goes_on_is_told(group, tmp_path, monkeypatch, caplog):
    """Stopped after two of three epochs, each of which was saved."""
    _, runs, together = group
    workload, resumed_from, fit = SimpleNamespace(recipe=replace(RECIPE, epochs=3)), [], loop.fit

    def stop(workload, group, resume, on_epoch, bar):
        resumed_from.append(resume)
        for epochs in (1, 2):
            history = History(*np.ones((4, 3, epochs), np.float32))
            on_epoch(loop.Progress(epochs, step.TrainState(np.ones(3), {}, {}, jax.random.key(0), {}), history))
        raise KeyboardInterrupt

    def train():
        caplog.clear()
        list(seed_batches.train(workload, runs, together, tmp_path))

    caplog.set_level("INFO", "cxrjax.training")
    monkeypatch.setattr(seed_batches, "SAVE_SECONDS", -1)
    monkeypatch.setattr(loop, "fit", stop)
    with pytest.raises(KeyboardInterrupt):
        train()
    assert resumed_from == [None] and caplog.messages == ["seeds 4 to 6: kept up to epoch 2 of 3"]
    monkeypatch.setattr(loop, "fit", fit)
    train()
    assert caplog.messages == ["seeds 4 to 6: resumed after epoch 2 of 3"]
    train()
    assert caplog.messages == ["seeds 4 to 6: trained before"]


def test_seeds_that_cannot_be_saved_stop_the_run(group, tmp_path, monkeypatch):
    def save(place, fitted):
        if place.name == "seed_005":
            raise OSError("disk full")

    monkeypatch.setattr(seed_batches, "save", save)
    with pytest.raises(OSError, match="disk full"):
        list(seed_batches.train(*group, tmp_path))
    assert (tmp_path / "partial_004-006").is_dir()


@pytest.mark.parametrize(
    ("each", "seeds", "expected"), [(1, 10, 10), (11, 10, 5), (26, 10, 3), (60, 10, 1), (999, 10, 1)]
)
def test_of_an_accelerators_memory_what_the_compiler_says_is_taken(each, seeds, expected):
    """100 bytes; 5 bytes a program beside those of its seeds."""
    asked = []
    count = seed_batches.largest_that_fits(seeds, lambda n: asked.append(n) or 5 + each * n, 100)
    assert count == expected and len(asked) <= 3


def test_a_compiled_peak_grows_by_a_seeds_arrays():
    def head(variables, x, key, mask):
        return x @ variables["params"]["fc8"]["kernel"], {}

    def initial(key):
        return {"params": {"fc8": {"kernel": jnp.zeros((1024, 2))}}}

    small = net()._replace(head=head, initial=initial)
    recipe = replace(RECIPE, batch_size=2)
    one, three = (seed_batches.compiled_peak(small, recipe, n) for n in (1, 3))
    assert three - one >= 2 * 2 * 16 * 2 * 1024 * 4  # activations of two seeds, those of the next segment, too
