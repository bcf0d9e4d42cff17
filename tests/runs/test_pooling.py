"""A run with log-sum-exp pooling: trained, opened, predicted with, mapped to boxes, and told from its like."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from cxrjax import load_run
from cxrjax.analysis import localisation
from cxrjax.base import InputError
from cxrjax.report import cards
from cxrjax.runs import explained, maps, predict, results, run_folder, starts
from cxrjax.storage.store import BOX_COLUMNS, open_store
from tests.models import narrow
from tests.runs.test_trained import CLOSE, worst


@pytest.fixture(scope="module")
def folders(run_small):
    """By log-sum-exp pooling and by the mean."""
    fields = {"model": narrow.RESNET.name, "retrain_from": "fc", "augment_bank": 1, "seeds": 1}
    return [run_small(**fields, lse_r=r) for r in (10.0, 0.0)]


@pytest.fixture(scope="module")
def run(folders):
    return load_run(folders[0])


def test_scores_are_those_of_the_run(run, folders, small_store):
    store = open_store(small_store)
    assert run.net.model.lse_r == run.config.lse_r == 10
    assert worst(run, store.images, store.table) < CLOSE
    scores = [pd.read_csv(folder / "predictions.csv")["score"] for folder in folders]
    assert np.abs(scores[0] - scores[1]).max() > 50 * CLOSE
    assert "log-sum-exp pooling of the last map, r = 10" in cards.model_card(results.reopen(folders[0]))
    assert "log-sum-exp" not in json.dumps(results.reopen(folders[1]).environment)


def test_a_file_is_predicted_by_the_pooling_of_the_run(run, small_phantom, tmp_path):
    Image.fromarray(small_phantom.images[0]).save(tmp_path / "a.png")
    table = predict.predict([run], [tmp_path / "a.png"])
    np.testing.assert_allclose(table["score"], run(small_phantom.images[:1])[:, 0], atol=CLOSE)


def test_it_is_continued_with_its_own_pooling_alone(run, folders, tmp_path):
    config = dataclasses.replace(run.config, out=str(tmp_path / "run"))
    with run_folder.claim(config, run.resolved):
        pass
    assert run_folder.recall(config) == run.resolved
    with (
        pytest.raises(InputError, match=r"another configuration: lse_r \(was 10.0, now 20.0\)"),
        run_folder.claim(dataclasses.replace(config, lse_r=20.0), run.resolved),
    ):
        pass
    assert starts._cut(run.net) != starts._cut(load_run(folders[1]).net)


def test_its_maps_are_cut_into_boxes(run):
    seen = explained.select_images(run, run.seeds, 3, 0, None)
    rows = [(name, "Pneumonia", 0.25, 0.25, 0.5, 0.5) for name in seen.image]
    table = pd.DataFrame(rows, columns=list(BOX_COLUMNS))
    masks = localisation.box_masks(table, list(seen.image), seen.side, seen.pixels.shape[1]).masks
    boxed = seen._replace(boxes=localisation.Regions("box", seen.image, seen.patient, masks), box_table=table)
    known, _ = maps.candidates(run, None)
    boxes = maps.compute_maps(known[:1], run.seeds, boxed, ("grad_cam",), dreams=False).boxes
    trained = boxes[(boxes["network"] == "trained") & (boxes["criterion"] == "iobb")]
    assert (trained["boxes"] == len(seen.image)).all() and np.isfinite(trained["accuracy"]).all()
