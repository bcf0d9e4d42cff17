"""What is drawn, split and held out for the runs of an experiment."""

import dataclasses

import numpy as np
import pytest

from cxrjax.base import InputError
from cxrjax.base.config import ExperimentConfig
from cxrjax.runs import draws, setup
from cxrjax.storage.store import ImageStore
from tests.data.test_matching import table

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
    with pytest.raises(InputError, match=r"--test=0.03 has \d positives, \d+ negatives .*--small_ok takes them"):
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
