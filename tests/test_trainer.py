"""The loop on a small network over real pixels: exactness of seeds, pipelines, banks and resumption."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cxrjax import augment, checkpoint, network, pipeline, trainer
from cxrjax.types import InputError

SCHEDULE = trainer.Schedule(epochs=3, batch_size=8, learning_rate=0.1, momentum=0.9, augment_bank=0)


@jax.jit
def _trunk(images):
    """Block means of 227 pixels: sensitive to the offset, and to the flip."""
    x = jnp.asarray(images, jnp.float32)[:, :224, :224] / 255 - 0.5
    return x.reshape(-1, 14, 16, 14, 16).mean(axis=(2, 4)).reshape(-1, 196)


def _head(params, x, key):
    if key is not None:
        x = jnp.where(jax.random.bernoulli(key, 0.5, x.shape), 2 * x, 0)
    return x @ params["fc8"]["kernel"] + params["fc8"]["bias"].reshape(1, 2)


def _initial(key):
    return {"fc8": {"kernel": 0.1 * jax.random.normal(key, (196, 2)), "bias": jnp.zeros(2)}}


NET = network.Network(_trunk, _head, _initial, ("fc8",), dense=True)


@pytest.fixture(scope="module")
def images(small_phantom):
    return small_phantom.images


@pytest.fixture(scope="module")
def labels(small_phantom):
    return small_phantom.table["labels"].str.contains("Pneumonia").to_numpy(np.int32)


@pytest.fixture(scope="module")
def runs(labels):
    """Of unlike sizes, so that steps and validation are padded; the last has one step fewer."""
    rng = np.random.default_rng(0)
    shuffled = [rng.permutation(len(labels)).astype(np.int32)[:66] for _ in range(3)]
    return [
        trainer.SeedData(s, rows[:n], rows[52 : 52 + v])
        for s, rows, n, v in zip((5, 6, 7), shuffled, (50, 46, 37), (14, 11, 9), strict=True)
    ]


@pytest.fixture(scope="module")
def resident(images):
    return functools.partial(augment.batches, jnp.asarray(images))


def same(a, b, seed_of_a=slice(None), tolerance=1e-5):
    for x, y in zip(a.history, b.history, strict=True):
        np.testing.assert_allclose(x[seed_of_a], y, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("bank", [0, 4])
@pytest.mark.parametrize("dense", [True, False])
def test_seed_i_of_s_equals_seed_i_alone(resident, labels, runs, bank, dense):
    net, schedule = NET._replace(dense=dense), SCHEDULE._replace(augment_bank=bank)
    together = trainer.fit(net, resident, labels, runs, schedule)
    for i, run in enumerate(runs):
        alone = trainer.fit(net, resident, labels, [run], schedule)
        same(together, alone, slice(i, i + 1))
        assert len(together.val_logits[i]) == len(run.val)
        # Float32 sums in another order, over 21 steps with momentum.
        np.testing.assert_allclose(together.val_logits[i], alone.val_logits[0], atol=1e-4)


def test_pipelines_train_to_the_same_numbers(resident, images, labels, runs):
    streamed = trainer.fit(NET, functools.partial(pipeline.batches, images), labels, runs, SCHEDULE)
    held = trainer.fit(NET, resident, labels, runs, SCHEDULE)
    same(streamed, held, tolerance=0)
    np.testing.assert_array_equal(streamed.params["fc8"]["kernel"], held.params["fc8"]["kernel"])


def test_scanned_steps_equal_single_ones(resident, labels, runs):
    same(
        trainer.fit(NET, resident, labels, runs, SCHEDULE),
        trainer.fit(NET._replace(dense=False), resident, labels, runs, SCHEDULE),
    )


def test_segments_change_nothing(resident, labels, runs, monkeypatch):
    whole = trainer.fit(NET, resident, labels, runs, SCHEDULE)
    monkeypatch.setattr(trainer, "SEGMENT", 3)
    same(trainer.fit(NET, resident, labels, runs, SCHEDULE), whole)
    banked = SCHEDULE._replace(augment_bank=2)
    cut = trainer.fit(NET, resident, labels, runs, banked)
    monkeypatch.undo()
    same(cut, trainer.fit(NET, resident, labels, runs, banked))


def test_resumed_equals_uninterrupted(resident, labels, runs, tmp_path):
    def stop_after_one(progress):
        if progress.epochs == 1:
            checkpoint.save_tree(tmp_path / "partial", trainer.pack(progress))
            raise KeyboardInterrupt

    whole = trainer.fit(NET, resident, labels, runs, SCHEDULE)
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(NET, resident, labels, runs, SCHEDULE, on_epoch=stop_after_one)
    seen = []
    resumed = trainer.fit(
        NET,
        resident,
        labels,
        runs,
        SCHEDULE,
        checkpoint.load_tree(tmp_path / "partial"),
        lambda p: seen.append(p.epochs),
    )
    assert seen == [2, 3]
    same(resumed, whole, tolerance=0)
    np.testing.assert_array_equal(resumed.params["fc8"]["kernel"], whole.params["fc8"]["kernel"])


def test_padding_weighs_nothing(resident, labels, runs):
    """Every example counts once: the history's accuracy is a whole number of images."""
    fitted = trainer.fit(NET, resident, labels, runs, SCHEDULE)
    for i, run in enumerate(runs):
        for curve, n in ((fitted.history.train_accuracy, len(run.train)), (fitted.history.val_accuracy, len(run.val))):
            np.testing.assert_allclose(curve[i] * n, np.round(curve[i] * n), atol=1e-4)


def test_it_learns(resident, labels, runs):
    fitted = trainer.fit(NET, resident, labels, runs, SCHEDULE._replace(epochs=25, learning_rate=0.02))
    assert fitted.history.train_loss[:, -1].mean() < 0.7 * fitted.history.train_loss[:, 0].mean()


def test_divergence_names_seed_and_epoch(resident, labels, runs):
    with pytest.raises(InputError, match=r"seed 5: .* not finite in epoch \d"):
        trainer.fit(NET, resident, labels, runs, SCHEDULE._replace(learning_rate=1e38, epochs=9))
