"""What is drawn, split and held out for the runs of an experiment."""

import dataclasses
import json
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from cxrjax.base import InputError
from cxrjax.base.config import ExperimentConfig
from cxrjax.base.recipes import AUTO, RECIPES
from cxrjax.runs import draws, run_folder, setup
from cxrjax.storage.store import ImageStore
from cxrjax.training import bank
from tests.data.test_matching import table
from tests.runs.handmade import RESOLVED

CONFIG = ExperimentConfig("p_vs_nf", "p_vs_nf", seeds=3)


@pytest.fixture(scope="module")
def store():
    t = table(600).assign(split="")
    t.loc[t["patient"].astype(int) < 40, "split"] = "test"
    return ImageStore(np.zeros((len(t), 1, 1), np.uint8), t)


def draw(store, **fields):
    return draws.draw(dataclasses.replace(CONFIG, **fields), store)


@pytest.mark.parametrize("fields", [{"test": "official"}, {"test": "0.2"}, {"test": "0.2", "match": "view"}])
def test_no_image_of_a_held_out_patient_is_in_a_run(store, fields):
    runs, patient = draw(store, **fields), store.table["patient"].to_numpy(str)
    held_out = set(patient[runs.test])
    for rows in (*runs.train, *runs.val):
        assert len(rows) and not held_out & set(patient[rows])
    every = {row for row, name in enumerate(patient) if name in held_out}  # all are P or NF
    assert set(runs.test) == every and set(runs.rows) >= every


@pytest.mark.parametrize("fields", [{}, {"test": "0.2"}, {"match": "view,followup"}, {"task": "chestxray14"}])
def test_a_seed_of_several_is_the_seed_alone(store, fields):
    if fields.get("task"):
        names = np.array(["Pneumonia", "No Finding", *_others()])
        store = store._replace(table=store.table.assign(labels=names[np.arange(600) % len(names)]))
    several, alone = draw(store, **fields), draw(store, **fields, first_seed=2, seeds=1)
    np.testing.assert_array_equal(several.train[2], alone.train[0])
    np.testing.assert_array_equal(several.val[2], alone.val[0])
    np.testing.assert_array_equal(several.test, alone.test)


def _others():
    from cxrjax.base.tasks import CHESTXRAY14

    return [finding for finding in CHESTXRAY14 if finding != "Pneumonia"]


def test_few_images_of_a_class_are_refused_unless_asked_for(store):
    few = store._replace(table=store.table[:130].reset_index(drop=True))
    with pytest.raises(InputError, match=r"validation of seed 0 has \d+ positives, \d+ negatives \(P vs NF\), fewer"):
        draw(few)
    assert len(draw(few, small_ok=True).val[0])
    with pytest.raises(InputError, match=r"--test=0.03 has \d positives, \d+ negatives .*--small_ok allows that"):
        draw(store, test="0.03")
    assert len(draw(store, train_patients=5).train[0])  # asked for, too


def test_a_held_out_part_without_an_image_of_the_task_is_refused(store):
    nobody = store.table["labels"].where(store.table["split"] == "", "Mass")
    with pytest.raises(InputError, match="none of the images of its 40 patients is of a class of the task"):
        draw(store._replace(table=store.table.assign(labels=nobody)), test="official")


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({"match": "view", "negatives": "30"}, "--negatives=30: p_vs_nf --match=view draws as many as positives"),
        ({"match": "view", "task": "chestxray14"}, "--match=view: chestxray14 takes all labelled images"),
        ({"match": "weight"}, "--match must be of view,sex,age,followup"),
        ({"test": "1.5"}, "--test must be a share above 0 and below 1, got 1.5"),
    ],
)
def test_flags_that_contradict_each_other(fields, line):
    with pytest.raises(InputError, match=line):
        setup.check(dataclasses.replace(CONFIG, **fields))


TRAINED = SimpleNamespace(train=[np.array([3, 5]), np.array([5, 8])])


@pytest.fixture
def with_bank(monkeypatch, tmp_path):
    """--augment_bank of a configuration and the code of its reason; each image takes 10 bytes, of 120 that are free."""
    asked = []

    def demand(trunk, rows, slots, cache):
        asked.append((rows.tolist(), slots.number))
        return 10 * len(rows), 120

    monkeypatch.setattr(bank, "demand", demand)

    def call(identity="frozen", **fields):
        config = dataclasses.replace(CONFIG, out=str(tmp_path / "run"), **fields)
        net = SimpleNamespace(trunk=SimpleNamespace(identity=identity))
        config, why = setup.with_bank(config, net, TRAINED, None)
        return config.augment_bank, why

    call.asked = asked
    return call


def test_auto_is_a_bank_of_16_where_it_pays(with_bank):
    assert CONFIG.augment_bank == AUTO
    assert with_bank(epochs=17) == (16, "bank slots=16")
    assert with_bank.asked == [([3, 5, 8], 16)]  # each image once, whatever the seeds


def test_a_number_always_wins(with_bank, monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert [with_bank(augment_bank=k, epochs=1) for k in (0, 4)] == [(0, ""), (4, "")]


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"epochs": 16}, "no_bank_epochs slots=16 epochs=16"),
        ({"identity": "", "retrain_from": "conv1"}, "no_bank_frozen"),
        (RECIPES["probe"], "no_bank_linear"),
    ],
)
def test_auto_is_0_where_a_bank_serves_nothing(with_bank, fields, why):
    assert with_bank(**fields) == (0, why) and not with_bank.asked


def test_auto_is_0_on_an_accelerator(with_bank, monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert with_bank() == (0, "no_bank_device")


def test_auto_takes_at_most_a_quarter_of_the_free_disk(with_bank, monkeypatch):
    assert with_bank()[0] == 16  # 30 of 120 bytes
    monkeypatch.setattr(bank, "demand", lambda *_: (66.1e9, 264.3e9))
    assert with_bank() == (0, "no_bank_room slots=16 needed=66.1 free=264.3")


@pytest.mark.parametrize("began_with", [0, 4, 16])
def test_an_interrupted_run_keeps_the_bank_that_it_began_with(with_bank, tmp_path, began_with):
    """Also one of an earlier version, whose resolved.json says nothing of it."""
    config = dataclasses.replace(CONFIG, augment_bank=began_with, out=str(tmp_path / "run"))
    with run_folder.claim(config, RESOLVED) as folder:
        resolved = json.loads((folder / "resolved.json").read_text())
    del resolved["augmentation"]
    (folder / "resolved.json").write_text(json.dumps(resolved))
    assert with_bank() == (began_with, "") and not with_bank.asked
    resolved = setup.resolve(config, None, "w", "d", "bank slots=16")
    assert resolved.augmentation == ""
    with run_folder.claim(config, RESOLVED):
        pass
    assert with_bank(batch_size=32)[0] == 16  # another run
