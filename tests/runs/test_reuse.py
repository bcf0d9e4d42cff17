"""Which finished runs stand for others."""

import dataclasses

import pytest

from cxrjax.base import InputError
from cxrjax.base.config import ExperimentConfig, run_path
from cxrjax.runs import run_folder, sweep
from tests.runs.handmade import RESOLVED, claimed

CONFIG = ExperimentConfig("p_vs_nf", "p_vs_nf", data_dir="NIH", retrain_from="fc6", seeds=3, epochs=30, augment_bank=4)


def known(folder, config) -> sweep.KnownRun:
    return sweep.KnownRun(folder, config, RESOLVED.device, RESOLVED.weights_sha256, RESOLVED.data_sha256)


def run(**fields) -> sweep.KnownRun:
    return known(run_path(CONFIG), dataclasses.replace(CONFIG, **fields))


@pytest.mark.parametrize(
    "fields",
    [
        {"out": "elsewhere", "overwrite": True},
        {"data_dir": "copied", "weights": "copied", "max_bad": 0.5},
        {"input": "resident", "seed_batch": 1},
        {"external_dir": "kermany", "lang": "es", "prevalence": 0.5, "wanted_sensitivity": 0.8},
        {"floors": True},
        {"split_by": "both"},
    ],
)
def test_what_changes_no_number_does_not_part_runs(fields):
    assert sweep.differences(run(), run(**fields)) == []
    assert sweep.differences(run(**fields), run()) == []


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"epochs": 60}, "epochs (30, not 60)"),
        ({"seeds": 2}, "seeds (3, not 2)"),
        ({"first_seed": 1}, "first_seed (0, not 1)"),
        ({"task": "p_vs_np"}, "task (p_vs_nf, not p_vs_np)"),
        ({"split_by": "image"}, "split_by (patient, not image)"),
        ({"view": "PA"}, "view (all, not PA)"),
        ({"retrain_from": "fc8"}, "retrain_from (fc6, not fc8)"),
        ({"flip": False}, "flip (True, not False)"),
        ({"control": "shuffled_labels"}, "control (none, not shuffled_labels)"),
        ({"train_patients": 50}, "train_patients (0, not 50)"),
        ({"augment_bank": 0}, "augment_bank (4, not 0)"),
        ({"dtype": "bfloat16"}, "dtype (float32, not bfloat16)"),
        ({"learning_rate": 0.01, "momentum": 0.9}, "learning_rate (0.001, not 0.01)"),
    ],
)
def test_what_changes_numbers_does(fields, told):
    assert sweep.differences(run(), run(**fields))[0] == told


def test_every_field_is_either_free_or_compared():
    """A new field of the configuration parts runs unless it is named as free."""
    names = {field.name for field in dataclasses.fields(ExperimentConfig)}
    assert names >= sweep._FREE
    assert {"negatives", "val_fraction", "batch_size", "split_by"} <= names - sweep._FREE


def test_weights_and_data_are_compared_by_what_is_in_them():
    assert sweep.differences(run(), run()._replace(weights_sha256=None)) == ["weights"]
    assert sweep.differences(run(), run()._replace(data_sha256="other")) == ["data"]
    assert sweep.differences(run(), run()._replace(device="two")) == []


def test_the_first_run_of_the_same_numbers_is_taken(tmp_path):
    candidates = [
        known(tmp_path / name, dataclasses.replace(CONFIG, **fields))
        for name, fields in (("a", {"epochs": 60}), ("b", {"floors": True}), ("c", {}))
    ]
    assert sweep.find_same(run(), candidates) == tmp_path / "b"
    assert sweep.find_same(run(view="PA"), candidates) is None


def test_arms_of_a_run_are_found_and_those_under_way_are_not(tmp_path):
    whole = dataclasses.replace(CONFIG, split_by="both", out=str(tmp_path / "run"))
    claimed(whole)
    arms = tmp_path / "run" / "arms"
    claimed(dataclasses.replace(CONFIG, split_by="image", out=str(arms / "split_by_image")))
    with run_folder.claim(dataclasses.replace(CONFIG, weights="random", out=str(arms / "random_trunk")), RESOLVED):
        pass
    found = sweep.gather([tmp_path / "run"])
    assert [one.folder for one in found] == [tmp_path / "run", arms / "split_by_image"]
    assert sweep.find_same(run(split_by="image"), found) == arms / "split_by_image"
    assert sweep.find_same(run(), found) == tmp_path / "run"


def test_a_folder_to_reuse_must_hold_a_finished_run(tmp_path):
    with pytest.raises(InputError, match="must be the folder of a finished run, and there is no such folder"):
        sweep.gather([tmp_path / "nowhere"])
    with run_folder.claim(dataclasses.replace(CONFIG, out=str(tmp_path / "run")), RESOLVED):
        pass
    with pytest.raises(InputError, match="this one was interrupted"):
        sweep.gather([tmp_path / "run"])


def test_its_own_folder_is_kept_continued_or_refused(tmp_path):
    config = dataclasses.replace(CONFIG, out=str(tmp_path / "run"))
    mine = known(tmp_path / "run", config)
    assert sweep.finished_folder(mine) is None
    with run_folder.claim(config, RESOLVED):
        pass
    assert sweep.finished_folder(mine) is None
    with pytest.raises(InputError, match="an interrupted run of other flags, data, weights or device; give another"):
        sweep.finished_folder(mine._replace(data_sha256="other"))
    with pytest.raises(InputError, match="an interrupted run of other flags"):
        sweep.finished_folder(mine._replace(config=dataclasses.replace(config, epochs=3)))
    claimed(config)
    assert sweep.finished_folder(mine) == tmp_path / "run"
    with pytest.raises(InputError, match=r"another run, which differs in epochs \(30, not 3\); give another --out"):
        sweep.finished_folder(mine._replace(config=dataclasses.replace(config, epochs=3)))


def test_a_run_that_does_not_know_its_data_is_refused(tmp_path):
    """Of another version, or damaged: it says nothing of which images took part."""
    claimed(dataclasses.replace(CONFIG, out=str(tmp_path / "run")))
    (tmp_path / "run" / "resolved.json").write_text('{"weights_sha256": "w"}')
    with pytest.raises(InputError, match=r"resolved.json is damaged, or of another version"):
        sweep.gather([tmp_path / "run"])
