"""A run of a linear probe, and the probe as a floor of another run: from configuration to files and back."""

import jax
import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from cxrjax.analysis.tables import read
from cxrjax.base import InputError
from cxrjax.interpret import saliency
from cxrjax.models import registry, transfer
from cxrjax.report import cards, sections
from cxrjax.report.language import language
from cxrjax.runs import dreams, results
from cxrjax.runs.trained import load_run
from cxrjax.storage.store import open_store
from tests.runs.test_trained import CLOSE, worst


@pytest.fixture(scope="module")
def folder(run_small):
    return run_small(recipe="probe", head="linear", retrain_from="fc6", batch_size=64)


@pytest.fixture(scope="module")
def run(folder):
    return load_run(folder)


def test_scores_are_those_of_scikit_learn(folder, run, small_store):
    """On what the frozen stages give of centre crops, by the strength that the run chose."""
    store = open_store(small_store)
    assert worst(run, store.images, store.table) < CLOSE
    middle, row = run.net.model.middle, {name: i for i, name in enumerate(store.table["image"])}
    features = np.asarray(run.net.trunk(store.images[:, middle, middle])).reshape(len(store.images), -1)
    tables = read(folder)
    for seed, val in tables.predictions.groupby("seed"):
        training = tables.training[tables.training["seed"] == seed]
        x, x_val = (features[side["image"].map(row)] for side in (training, val))
        length = np.sqrt(np.mean(np.sum((x - x.mean(axis=0)) ** 2, axis=1)))
        expected = [
            LogisticRegression(C=strength, tol=1e-8, max_iter=10_000)
            .fit((x - x.mean(axis=0)) / length, training["label"])
            .predict_proba((x_val - x.mean(axis=0)) / length)[:, 1]
            for strength in (0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
        ]
        assert min(np.abs(val["score"] - scores).max() for scores in expected) < 1e-4


def test_it_is_its_own_floor_and_has_no_curve(folder):
    reopened = results.reopen(folder)
    floor = reopened.analysis.floors.set_index("floor").loc["probe"]
    assert not floor["available"] and floor["note"] == "is_probe"
    assert sections.draw("learning_curve", reopened, language("en")) is None
    assert "solved by L-BFGS as an L2 logistic regression" in cards.model_card(reopened)
    assert list(reopened.history["epoch"]) == [1, 1, 1, 1]


def test_dreams_and_maps_are_of_the_linear_layer(run, small_store):
    """The gradient of the log odds with respect to the last frozen stage is the layer itself."""
    images = open_store(small_store).images[:2, run.net.model.middle, run.net.model.middle]
    head = run.head(run.seeds[0])
    layers = transfer.layers(run.net, head)
    assert run.net.model.logits == "linear"
    features = run.net.trunk(images)
    direction = np.array([-1.0, 1.0], np.float32)
    slope = jax.grad(lambda x: (run.net.head(head, x)[0] @ direction).sum())
    kernel = head["params"]["linear"]["kernel"]
    np.testing.assert_allclose(slope(features[:1])[0], kernel[:, 1] - kernel[:, 0], atol=1e-6)
    for method in ("gradient", "grad_cam"):
        towards, away = (
            np.asarray(saliency.METHODS[method](jax.random.key(0), run.net, layers, images, sign * direction))
            for sign in (1, -1)
        )
        assert len(towards) == 2 and np.ptp(towards + away) > 0  # Grad-CAM shows what speaks for a class alone
    assert np.ptp(dreams.first_dream(run.net, head)) > 50


def test_another_run_has_it_among_its_floors(small_run):
    reopened = results.reopen(small_run)
    floor = reopened.analysis.floors.set_index("floor").loc["probe"]
    table = pd.read_csv(small_run / "probe_predictions.csv")
    by_seed = [roc_auc_score(rows["label"], rows["score"]) for _, rows in table.groupby("seed")]
    assert floor["auroc"] == pytest.approx(np.mean(by_seed), abs=1e-6)
    assert floor["note"].startswith("probe strengths=") and floor["available"]
    assert (table[["seed", "image"]] == pd.read_csv(small_run / "predictions.csv")[["seed", "image"]]).all(axis=None)


def test_where_nothing_is_frozen_there_is_none():
    with pytest.raises(InputError, match="a linear head needs a stage before it, and conv1 is the first of AlexNet"):
        registry.ALEXNET.with_linear_head("conv1")


@pytest.mark.parametrize(
    ("name", "start", "features"), [("resnet18", "fc", 512), ("resnet18", "layer4", 256), ("alexnet", "fc7", 4096)]
)
def test_it_reads_a_vector_or_the_mean_of_a_map(name, start, features):
    model = registry.get(name).with_linear_head(start)
    assert model.parameter_shapes("linear")["linear"]["kernel"].shape == (features, 1000)
    assert model.cam_stage in model.stages and set(model.dreamt) <= set(model.stages)
