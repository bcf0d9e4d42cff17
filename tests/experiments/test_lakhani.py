"""Lakhani's rows, the ensemble of two networks, and what the hospital alone tells."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from cxrjax.base.config import ExperimentConfig
from cxrjax.metrics import delong
from cxrjax.models import pretrained
from cxrjax.runs import cost, experiment, setup, sweep
from experiments import _lakhani, lakhani
from tests.experiments import commands
from tests.runs.handmade import fake_run


def test_the_rows(small_store, tmp_path):
    base = ExperimentConfig("train", "p_vs_nf", data_dir=str(small_store), test="0.2", small_ok=True, out=str(tmp_path))
    rows = {row.name: row.config for row in lakhani.table(lakhani.LakhaniConfig(), base, sweep.Source()).rows}
    assert list(rows) == [
        f"{name}_{start}{end}"
        for name in ("alexnet", "googlenet") for start in ("untrained", "pretrained") for end in ("", "_more")
    ]  # fmt: skip
    for name, config in rows.items():
        setup.check(config)
        assert (config.schedule, config.momentum, config.learning_rate, config.retrain_from) == (
            "step",
            0.9,
            0.001,
            "all",
        )
        assert (config.weights == "random") == ("untrained" in name)
        assert (config.clahe, config.rotation) == ((True, 180) if name.endswith("_more") else (False, 0))
        assert config.test == "0.2"


def scored(folder, rng, quality):
    """Validation and held-out scores of two seeds."""
    folder.mkdir()
    for file, count in (("predictions", 60), ("test_predictions", 80)):
        label, images = np.arange(count) % 2, [f"{file}{i}" for i in range(count)]
        parts = [
            pd.DataFrame({"seed": seed, "image": images, "patient": [f"p{i // 2}" for i in range(count)]}).assign(
                label=label, score=1 / (1 + np.exp(-quality * label - rng.standard_normal(count)))
            )
            for seed in (0, 1)
        ]
        pd.concat(parts).to_csv(folder / f"{file}.csv", index=False)
    return folder


def test_the_ensemble_is_the_mean_that_validation_chooses(tmp_path):
    rng = np.random.default_rng(0)
    a, b = scored(tmp_path / "a", rng, 1.0), scored(tmp_path / "b", rng, 1.5)
    made = _lakhani.ensemble(a, b)
    read = {
        (folder, name): pd.read_csv(folder / f"{name}.csv")
        for folder in (a, b)
        for name in ("predictions", "test_predictions")
    }
    val_a, val_b = read[a, "predictions"], read[b, "predictions"]
    by_weight = {
        w: np.mean([
            roc_auc_score(val_a["label"][of], (w * val_a["score"] + (1 - w) * val_b["score"])[of])
            for of in (val_a["seed"] == 0, val_a["seed"] == 1)
        ])
        for w in np.linspace(0, 1, 11)
    }  # fmt: skip
    assert by_weight[made.weight] == pytest.approx(max(by_weight.values()))
    of_test = (read[folder, "test_predictions"].groupby("image")[["label", "score"]] for folder in (a, b))
    test_a, test_b = (scores.mean() for scores in of_test)
    label, mean = test_a["label"], made.weight * test_a["score"] + (1 - made.weight) * test_b["score"]
    assert made.images == 80
    for of, score in ((made.first, test_a["score"]), (made.second, test_b["score"]), (made.together, mean)):
        assert of.value == pytest.approx(roc_auc_score(label, score))
    patient = read[a, "test_predictions"].drop_duplicates("image").set_index("image").loc[test_a.index, "patient"]
    expected = delong.compare(
        label.to_numpy(), test_a["score"].to_numpy(), test_b["score"].to_numpy(), patient.to_numpy(str)
    )
    assert made.second_minus_first == pytest.approx(expected)


def test_what_the_hospital_alone_tells(tmp_path):
    """In training 3 of 4 of Shenzhen and 1 of 4 of Montgomery; of 2 x 2 validation images 3 of 4 pairs, ties half."""
    china, county = ([f"{name}_000{i}_{i % 2}.png" for i in range(6)] for name in ("CHNCXR", "MCUCXR"))
    train = pd.DataFrame({"seed": 0, "image": china[:4] + county[:4], "label": [1, 1, 1, 0, 1, 0, 0, 0]})
    val = pd.DataFrame({"seed": 0, "image": china[4:] + county[4:], "label": [1, 1, 1, 0]})
    train.to_csv(tmp_path / "training_predictions.csv", index=False)
    val.to_csv(tmp_path / "predictions.csv", index=False)
    assert _lakhani.hospital_floor(tmp_path) == (
        "Which hospital is it, alone (Montgomery 6, Shenzhen 6): AUROC 0.833 on the validation images."
    )
    val[:2].to_csv(tmp_path / "predictions.csv", index=False)
    train[:4].to_csv(tmp_path / "training_predictions.csv", index=False)
    assert "all images are of one by their names (Shenzhen 6), so this floor is 0.5" in _lakhani.hospital_floor(
        tmp_path
    )


def test_from_the_command_line_without_weights(small_store, tmp_path, monkeypatch):
    monkeypatch.setattr(cost, "measure", lambda *_: cost.Speed(1e11, 1e11))

    def run(config):
        fake_run(config)
        folder = tmp_path / "out" / config.out.rpartition("/")[2]
        predictions = pd.read_csv(folder / "predictions.csv").assign(label=lambda x: np.arange(len(x)) % 2)
        for name in ("predictions", "test_predictions", "training_predictions"):
            predictions.to_csv(folder / f"{name}.csv", index=False)

    monkeypatch.setattr(experiment, "run", run)
    flags = (f"--data_dir={small_store}", "--task=p_vs_nf", "--seeds=2", "--small_ok", f"--out={tmp_path / 'out'}")
    assert commands.call("lakhani", *flags, f"--weights_dir={tmp_path}") == 0
    table = pd.read_csv(tmp_path / "out" / "lakhani.csv").set_index("row")
    assert (table["status"] == "done").sum() == 4 and (table["status"] == "not available").sum() == 4
    text = (tmp_path / "out" / "lakhani.md").read_text()
    assert "alexnet_untrained_more has an AUROC of 0.500" in text and "0.99 for their best ensemble" in text
    assert pretrained.NoWeights.__name__ not in text and "weights not available" in text
