"""The probe of some seeds on a narrow trunk: one seed as many, again after a stop, of many labels as of one."""

import shutil

import numpy as np
import pytest
from scipy.special import expit
from sklearn.metrics import log_loss

from cxrjax.base import devices
from cxrjax.base.recipes import Recipe
from cxrjax.models import transfer
from cxrjax.storage import checkpoint
from cxrjax.training import inputs, probe, seed_batches
from cxrjax.training.plan import SeedData, Workload
from tests.models import narrow

RECIPE = Recipe(recipe="probe", head="linear", epochs=1)


@pytest.fixture(scope="module")
def workload(small_phantom):
    images = small_phantom.images[:45]
    net = transfer.build_transfer_model(None, "fc6", model=narrow.ALEXNET, linear=True)
    labels = small_phantom.table["labels"][:45].str.contains("Pneumonia").to_numpy(np.int32)
    return Workload(net, inputs.Resident(images, net.model.crop), labels, RECIPE)


def seed_data(seed, patients):
    """Of a seed 30 images to train on and 15 to validate with; two neighbours are one patient's."""
    order = np.random.default_rng(seed).permutation(45).astype(np.int32)
    return SeedData(seed, order[:30], order[30:], patients=patients[order[:30]])


@pytest.fixture(scope="module")
def runs():
    patients = np.array([f"{i // 2}" for i in range(45)])
    return [seed_data(seed, patients) for seed in (3, 4)]


@pytest.fixture(scope="module")
def folder(workload, runs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoints")
    assert len(list(probe.train(workload, runs, folder))) == 2
    return folder


def digest(folder, seed):
    return checkpoint.digest(checkpoint.load_tree(seed_batches.place_of(folder, seed)))


def test_a_seed_alone_and_after_a_stop_is_the_same_to_the_bit(workload, runs, folder, tmp_path):
    stopped = shutil.copytree(folder, tmp_path / "stopped")
    shutil.rmtree(seed_batches.place_of(stopped, 4))
    list(probe.train(workload, runs, stopped))
    list(probe.train(workload, runs[1:], tmp_path / "alone"))
    assert digest(folder, 4) == digest(stopped, 4) == digest(tmp_path / "alone", 4) != digest(folder, 3)


def test_a_slower_process_waits_where_the_first_has_just_saved(workload, runs, folder, tmp_path, monkeypatch):
    """Else the first would wait for it without end."""
    later, waited = shutil.copytree(folder, tmp_path / "later"), []
    monkeypatch.setattr(devices, "is_first", lambda: False)
    monkeypatch.setattr(devices, "broadcast_flag", lambda _: False)  # the first asked before it had saved
    monkeypatch.setattr(devices, "wait_for_all", waited.append)
    list(probe.train(workload, runs, later))
    assert waited == ["seed_003", "seed_004"]


def test_its_one_epoch_has_the_loss_of_its_logits(workload, runs, folder):
    for run in runs:
        fitted = seed_batches.load(seed_batches.place_of(folder, run.seed))
        label, logits = workload.labels[run.val], fitted.val_logits[0]
        scores = np.asarray(workload.loss.score(logits))
        assert fitted.history.val_loss.shape == (1, 1)
        assert fitted.history.val_loss[0, 0] == pytest.approx(log_loss(label, scores), rel=1e-5)
        assert fitted.history.val_accuracy[0, 0] == pytest.approx(np.mean((scores > 0.5) == label))


def test_the_floor_is_the_probe_itself(workload, runs, folder):
    for run, floor in zip(runs, probe.validate(workload, runs), strict=True):
        fitted = seed_batches.load(seed_batches.place_of(folder, run.seed))
        np.testing.assert_array_equal(floor.val, expit(np.diff(fitted.val_logits[0])[:, 0]))


def test_of_many_labels_each_is_as_alone(workload, runs):
    """Logits -z/2 and z/2 of two classes are z of a sigmoid."""
    unknown = np.where(np.arange(45) % 4 == 0, np.nan, workload.labels[::-1])
    labels = np.stack([workload.labels, unknown], axis=1).astype(np.float32)
    both = probe.validate(workload._replace(labels=labels), runs[:1])[0]
    (single,) = probe.validate(workload, runs[:1])
    assert both.val.shape == (15, 2) and both.strength.shape == (2,)
    np.testing.assert_allclose(both.val[:, 0], single.val, atol=1e-6)  # float32 sums in another order


def test_patients_must_be_given(workload, runs):
    with pytest.raises(ValueError, match="patients of seed 3 must be given"):
        probe.validate(workload, [runs[0]._replace(patients=None)])
