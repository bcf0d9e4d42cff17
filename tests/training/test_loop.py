"""The loop on a small network over real pixels: exactness of seeds, pipelines, banks and resumption."""

import functools
import types
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cxrjax.base import InputError, devices
from cxrjax.models import transfer
from cxrjax.models.registry import ALEXNET
from cxrjax.storage import checkpoint, store
from cxrjax.training import bank, inputs, loop, step, tf_input
from cxrjax.training.optimizer import Recipe
from cxrjax.training.plan import SeedData, Workload

RECIPE = Recipe(epochs=3, batch_size=8, learning_rate=0.1, momentum=0.9)


@jax.jit
def _blocks(_, images):
    """Block means of 227 pixels: sensitive to the offset, and to the flip."""
    x = jnp.asarray(images, jnp.float32)[:, :224, :224] / 255 - 0.5
    return x.reshape(-1, 14, 16, 14, 16).mean(axis=(2, 4)).reshape(-1, 196)


def _head(variables, x, key, mask):
    if key is not None:
        x = jnp.where(jax.random.bernoulli(key, 0.5, x.shape), 2 * x, 0)
    layer = variables["params"]["fc8"]
    return x @ layer["kernel"] + layer["bias"].reshape(1, 2), {}


def _initial(key):
    return {"params": {"fc8": {"kernel": 0.1 * jax.random.normal(key, (196, 2)), "bias": jnp.zeros(2)}}}


TRUNK = transfer.Trunk(ALEXNET, _blocks, {}, (196,), np.dtype(np.float32), "blocks")
NET = transfer.Network(ALEXNET, TRUNK, _head, _initial, ("fc8",), True)


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
        SeedData(s, rows[:n], rows[52 : 52 + v])
        for s, rows, n, v in zip((5, 6, 7), shuffled, (50, 46, 37), (14, 11, 9), strict=True)
    ]


@pytest.fixture(scope="module")
def resident(images):
    return inputs.Resident(jnp.asarray(images), 227)


@pytest.fixture(scope="module")
def whole(resident, labels, runs):
    """All runs side by side, by (dense, slots of the bank); each is trained once for all tests."""

    @functools.cache
    def fitted(dense=True, bank=0):
        return loop.fit(Workload(NET._replace(dense=dense), resident, labels, replace(RECIPE, augment_bank=bank)), runs)

    return fitted


def same(a, b, seed_of_a=slice(None), tolerance=1e-5):
    for x, y in zip(a.history, b.history, strict=True):
        np.testing.assert_allclose(x[seed_of_a], y, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(("dense", "platform"), [(True, "cpu"), (False, "cpu"), (False, "cuda")])
def test_steps_gather_from_a_bank_on_the_device_an_epoch_a_call(whole, resident, labels, runs, dense, platform):
    """As on an accelerator, where heads with convolutions are scanned, too."""
    workload = Workload(NET._replace(dense=dense), resident, labels, replace(RECIPE, augment_bank=2))
    trainer, sizes = loop.Trainer(workload, runs), []
    filled = trainer.head_input.bank
    trainer.head_input = trainer.head_input._replace(bank=bank.on_device(filled, 10**9, trainer.mesh))
    advance = loop.compile_steps(workload.net, trainer.optimizer, workload.loss, platform)
    trainer.advance = lambda states, batch, features: (
        sizes.append(batch.inputs.shape),
        advance(states, batch, features),
    )[1]
    progress = trainer.init()
    for _ in range(RECIPE.epochs):
        progress = trainer.run_epoch(progress)
    assert sizes == [(3, 7, 8, 2)] * RECIPE.epochs  # places, not activations
    same(progress, whole(dense, 2))


@pytest.mark.parametrize(("dense", "bank", "i"), [(True, 0, 2), (True, 2, 2), (False, 0, 0)])
def test_seed_i_of_s_equals_seed_i_alone(whole, resident, labels, runs, dense, bank, i):
    """The last seed has a step fewer than the others."""
    together = whole(dense, bank)
    alone = loop.fit(
        Workload(NET._replace(dense=dense), resident, labels, replace(RECIPE, augment_bank=bank)), [runs[i]]
    )
    same(together, alone, slice(i, i + 1))
    assert len(together.val_logits[i]) == len(runs[i].val)
    # Float32 sums in another order, over 21 steps with momentum.
    np.testing.assert_allclose(together.val_logits[i], alone.val_logits[0], atol=1e-4)


def test_pipelines_train_to_the_same_numbers(whole, images, labels, runs):
    streamed = loop.fit(Workload(NET, tf_input.TfData(images, 227), labels, RECIPE), runs)
    same(streamed, whole(), tolerance=0)
    np.testing.assert_array_equal(
        streamed.variables["params"]["fc8"]["kernel"], whole().variables["params"]["fc8"]["kernel"]
    )


def test_scanned_steps_equal_single_ones(whole):
    same(whole(), whole(dense=False))


@pytest.mark.parametrize("bank", [0, 2])
def test_segments_change_nothing(whole, resident, labels, runs, monkeypatch, bank):
    monkeypatch.setattr(inputs, "SEGMENT", 3)
    same(loop.fit(Workload(NET, resident, labels, replace(RECIPE, augment_bank=bank)), runs), whole(True, bank))


def test_resumed_equals_uninterrupted(whole, resident, labels, runs, tmp_path):
    def stop_after_one(progress):
        if progress.epochs == 1:
            checkpoint.save_tree(tmp_path / "partial", progress.pack())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        loop.fit(Workload(NET, resident, labels, RECIPE), runs, on_epoch=stop_after_one)
    seen = []
    saved = checkpoint.load_tree(tmp_path / "partial")
    resumed = loop.fit(Workload(NET, resident, labels, RECIPE), runs, saved, lambda p: seen.append(p.epochs))
    assert seen == [2, 3]
    same(resumed, whole(), tolerance=0)
    np.testing.assert_array_equal(
        resumed.variables["params"]["fc8"]["kernel"], whole().variables["params"]["fc8"]["kernel"]
    )


def test_padding_weighs_nothing(whole, runs):
    """Every example counts once: the history's accuracy is a whole number of images."""
    history = whole().history
    for i, run in enumerate(runs):
        for curve, n in ((history.train_accuracy, len(run.train)), (history.val_accuracy, len(run.val))):
            np.testing.assert_allclose(curve[i] * n, np.round(curve[i] * n), atol=1e-4)


def test_divergence_names_seed_and_epoch(resident, labels, runs):
    with pytest.raises(InputError, match=r"seed 5, 6, 7: .* not finite in epoch \d"):
        loop.fit(Workload(NET, resident, labels, replace(RECIPE, learning_rate=1e38, epochs=9)), runs)


def test_divergence_in_the_last_step_is_told_as_any_other(resident, labels, runs):
    """One step: its training loss is that of the initial weights."""
    few = [runs[0], runs[1]._replace(train=runs[1].train[:4])]
    recipe = replace(RECIPE, learning_rate=1e38, epochs=1, batch_size=64)
    with pytest.raises(loop.Diverged, match=r"seed 5, 6: the validation loss is not finite in epoch 1; ") as raised:
        loop.fit(Workload(NET, resident, labels, recipe), few)
    history = raised.value.progress.history
    assert np.isfinite(history.train_loss).all() and not np.isfinite(history.val_loss).any()


def test_a_large_validation_set_is_read_in_pieces(resident, labels, runs, whole, tmp_path, images, monkeypatch):
    """From a bank on disk, some images at a time, never held: the same logits and curves."""
    monkeypatch.setattr(step, "HELD_BYTES", 0)
    monkeypatch.setattr(step, "CHUNK", 4)
    cache = bank.Cache(tmp_path, store.hash_rows(images, np.arange(len(images))))
    fitted = loop.fit(Workload(NET, resident, labels, RECIPE, cache), runs)
    same(whole(), fitted)
    for one, other in zip(whole().val_logits, fitted.val_logits, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_waiting_counts_only_while_there_is_no_work(monkeypatch):
    """A clock by hand: the images take 3, 4 and 5 s; during the second the device was busy. 12 s go by in all."""
    clock = [0.0]
    monkeypatch.setattr(inputs.time, "monotonic", lambda: clock[0])

    def slow():
        for seconds in (3, 4, 5):
            clock[0] += seconds
            yield np.zeros(1)

    busy = iter((False, True, False))
    timer = inputs.InputTimer()
    assert len(list(timer.wrap(slow(), lambda: next(busy)))) == 3
    assert timer.share() == pytest.approx(8 / 12)


def test_train_labels_are_learned_and_true_ones_are_validated(resident, labels, runs):
    """The second seed is trained with the opposite; its validation is of the true labels still."""
    run = runs[0]._replace(val=runs[0].train)
    opposite = run._replace(train_labels=1 - labels[run.train])
    recipe = replace(RECIPE, epochs=25, learning_rate=0.02, augment_bank=2)
    fitted = loop.fit(Workload(NET, resident, labels, recipe), [run, opposite])
    assert (fitted.history.train_loss[:, -1] < 0.7 * fitted.history.train_loss[:, 0]).all()
    right, wrong = fitted.history.val_accuracy[:, -1]
    assert right > 0.7
    assert wrong < 0.3
    of_true = [np.mean(x.argmax(-1) == labels[run.train]) for x in fitted.val_logits]
    np.testing.assert_allclose([right, wrong], of_true, rtol=1e-6)  # float32


def test_over_a_thousand_arrays_come_back_in_their_order(monkeypatch):
    params = {f"{i:04d}": np.full((1, 1), i, np.float32) for i in range(1001)}  # as many as momentum of 250 layers
    key = jax.random.split(jax.random.key(0), 1)
    states = step.TrainState(np.zeros(1, np.int32), params, (), key, {})
    history = loop.History(*(np.zeros((1, 1)) for _ in loop.History._fields))
    monkeypatch.setattr(loop, "initial_states", lambda *_: states)
    trainer = types.SimpleNamespace(
        net=None, optimizer=None, planner=types.SimpleNamespace(seeds=np.arange(1)), runs=[None],
        mesh=devices.mesh(1, 8), _with_constants=lambda states: states,
    )  # fmt: skip
    back = loop.Trainer.restore(trainer, loop.Progress(1, states, history).pack())
    assert [int(x[0, 0]) for x in back.states.params.values()] == list(range(1001))


@pytest.mark.parametrize("bank", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_varied_and_repeated_images_train_alike_alone_and_by_either_pipeline(
    whole, resident, images, labels, runs, bank
):
    """Seed i of S is seed i alone, tf.data is resident; amounts and repetitions are seen by training."""
    recipe = replace(RECIPE, epochs=2, augment_bank=bank, rotation=10.0, brightness=0.2)
    repeated = [run._replace(train=np.concatenate([run.train, run.train[: 5 * i]])) for i, run in enumerate(runs)]
    together = loop.fit(Workload(NET, resident, labels, recipe), repeated)
    alone = loop.fit(Workload(NET, resident, labels, recipe), repeated[2:])
    same(together, alone, slice(2, 3))
    streamed = loop.fit(Workload(NET, tf_input.TfData(images, 227), labels, recipe), repeated)
    same(streamed, together, tolerance=0)
    varied = loop.fit(Workload(NET, resident, labels, recipe), runs[2:]).history.train_loss
    for other in (alone.history.train_loss, whole(True, bank).history.train_loss[2:, :2]):
        assert np.abs(varied - other).max() > 1e-4


FINETUNE = replace(RECIPE, optimizer="adamw", momentum=0.0, learning_rate=0.01, schedule="cosine", warmup_epochs=1)


@pytest.fixture(scope="module")
def many(labels):
    """Three labels of each image: with the first the second is absent, the third mostly unknown."""
    third = np.where(np.arange(len(labels)) % 3, np.nan, labels)
    return np.stack([labels, 1 - labels, third], axis=1).astype(np.float32)


def _many_initial(key):
    return {"params": {"fc8": {"kernel": 0.1 * jax.random.normal(key, (196, 3)), "bias": jnp.zeros(3)}}}


def _many_head(variables, x, key, mask):
    layer = variables["params"]["fc8"]
    return x @ layer["kernel"] + layer["bias"].reshape(1, 3), {}


MANY_NET = NET._replace(head=_many_head, initial=_many_initial)


def test_seed_i_equals_seed_i_alone_on_a_schedule_with_many_labels(resident, many, runs):
    """The last seed has 15 steps, the others 21 and 18: each goes through its whole schedule."""
    recipe = replace(FINETUNE, loss="class_weights")
    workload = Workload(MANY_NET, resident, many, recipe)
    together, alone = loop.fit(workload, runs), loop.fit(workload, runs[2:])
    same(together, alone, slice(2, 3))
    np.testing.assert_allclose(together.val_logits[2], alone.val_logits[0], atol=1e-4)
    assert together.val_logits[0].shape == (len(runs[0].val), 3)
    assert (together.history.train_loss[:, -1] < together.history.train_loss[:, 0]).all()
    known = ~np.isnan(many[runs[0].val])
    right = (together.val_logits[0] > 0) == (many[runs[0].val] == 1)
    assert together.history.val_accuracy[0, -1] == pytest.approx(right[known].mean())


def test_resumed_schedule_equals_uninterrupted(resident, labels, runs):
    workload, packed = Workload(NET, resident, labels, replace(FINETUNE, loss="class_weights")), []
    whole = loop.fit(workload, runs, on_epoch=lambda progress: packed.append(progress.pack()))
    resumed = loop.fit(workload, runs, packed[0])
    same(resumed, whole, tolerance=0)
    for a, b in zip(jax.tree.leaves(resumed.variables), jax.tree.leaves(whole.variables), strict=True):
        np.testing.assert_array_equal(a, b)
