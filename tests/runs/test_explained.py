"""Which images a seed explains, and where their lungs and boxes are."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from cxrjax.base import InputError
from cxrjax.data import phantom
from cxrjax.runs import explained
from cxrjax.runs.trained import load_run


@pytest.fixture(scope="module")
def run(small_run):
    """Of the first images of `small_phantom`."""
    return load_run(small_run)


@pytest.fixture
def on_phantom(run, small_phantom, monkeypatch):
    """The same run as one of the embedded phantom, whose lungs and boxes are known."""
    monkeypatch.setattr(phantom, "embedded", lambda: small_phantom)
    return run._replace(config=dataclasses.replace(run.config, data_dir=None))


def known(run, name):
    return pd.read_csv(run.folder / name, dtype={"image": str, "patient": str})


def test_each_seed_explains_pneumonias_of_patients_it_was_not_trained_on(run):
    seen = explained.select_images(run, run.seeds, 100, 100, None)
    val, train = known(run, "predictions.csv"), known(run, "training_predictions.csv")
    for seed in run.seeds:
        own = val[(val["seed"] == seed) & (val["label"] == 1)]
        assert set(seen.image[seen.of_seed[seed]]) == set(own["image"])
        assert not set(seen.patient[seen.of_seed[seed]]) & set(train["patient"][train["seed"] == seed])
    assert len(set(seen.image)) == len(seen.image)
    assert seen.boxes is None
    assert seen.notes == ["lungs_estimated", "no_box"]


def test_at_most_so_many_images(run):
    seen = explained.select_images(run, run.seeds, 1, 0, None)
    assert [len(places) for places in seen.of_seed.values()] == [1, 1]


def test_the_phantom_knows_lungs_and_boxes(on_phantom, small_phantom):
    seen = explained.select_images(on_phantom, on_phantom.seeds, 3, 100, None)
    rows = {name: i for i, name in enumerate(small_phantom.table["image"])}
    for i, name in enumerate(seen.image):
        np.testing.assert_array_equal(seen.pixels[i], small_phantom.images[rows[name], 14:241, 14:241])
        np.testing.assert_array_equal(seen.lungs.masks[i], small_phantom.lungs[rows[name], 14:241, 14:241])
    for name, mask in zip(seen.boxes.image, seen.boxes.masks, strict=True):
        expected = np.zeros((256, 256), bool)
        for x, y, width, height in small_phantom.boxes[rows[name]]:
            expected[y : y + height, x : x + width] = True
        np.testing.assert_array_equal(mask, expected[14:241, 14:241])
    np.testing.assert_array_equal(seen.mean_lungs, seen.lungs.masks.mean(0) >= 0.5)


def test_patients_held_out_are_explained_by_every_seed(on_phantom, small_phantom):
    """All boxed images of patients who were in no training at all, also outside of a seed's validation."""
    seen = explained.select_images(on_phantom, on_phantom.seeds, 3, 100, None)
    train = known(on_phantom, "training_predictions.csv")
    boxed = {n for n, own in zip(small_phantom.table["image"], small_phantom.boxes, strict=True) if own}
    patient = dict(zip(small_phantom.table["image"], small_phantom.table["patient"], strict=True))
    for seed in on_phantom.seeds:
        trained = set(train["patient"][train["seed"] == seed])
        expected = {name for name in boxed if patient[name] not in trained}
        assert expected <= set(seen.image[seen.of_seed[seed]])


def test_masks_of_a_folder_and_images_without_one(run, tmp_path):
    names = sorted(explained.select_images(run, run.seeds, 100, 0, None).image)
    for name in names[:-1]:
        mask = np.zeros((256, 256), np.uint8)
        mask[:, :100] = 255
        Image.fromarray(mask).save(tmp_path / name)
    seen = explained.select_images(run, run.seeds, 100, 0, str(tmp_path))
    assert sorted(seen.image) == names[:-1]
    assert seen.lungs.masks[:, :, :86].all()
    assert not seen.lungs.masks[:, :, 86:].any()
    assert seen.notes[:2] == [f"lungs_of_masks folder={tmp_path}", "no_lung_mask n=1"]
    with pytest.raises(InputError):
        explained.select_images(run, run.seeds, 100, 0, str(tmp_path / "nowhere"))
