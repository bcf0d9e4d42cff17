"""The table of networks: one row a network at hand, with weights of its own."""

import pandas as pd
import pytest

from cxrjax.models import pretrained, registry
from cxrjax.models.pretrained import NoWeights, Weights, WeightsInfo
from cxrjax.runs import cost, experiment
from tests.experiments import commands
from tests.runs.handmade import fake_run


@pytest.fixture
def call(small_store, tmp_path, monkeypatch):
    """With weights of AlexNet and EfficientNet-Lite0 of which nothing is read but the name."""

    def load(place):
        name = str(place).partition("/")[2].removesuffix("-imagenet")
        if not str(place).startswith("mine/") or name not in ("alexnet", "efficientnet-lite0"):
            raise NoWeights(f"{place}: no such folder of weights; `convert` makes it")
        info = WeightsInfo("s", "f", "hash", name, (), registry.get(name).preprocessing)
        return Weights({name: {}}, info)

    monkeypatch.setattr(pretrained, "load_weights", load)
    monkeypatch.setattr("cxrjax.runs.setup.weights_digest", lambda weights: weights and weights.info.model)
    monkeypatch.setattr("cxrjax.runs.setup.pretrained.load_weights", load)
    monkeypatch.setattr(cost, "measure", lambda *_: cost.Speed(1e11, 1e11))
    trained = {}

    def run(config):
        trained[config.out.rpartition("/")[2]] = config
        fake_run(config, 0.7 if config.model == "alexnet" else 0.75)

    monkeypatch.setattr(experiment, "run", run)
    usual = (f"--data_dir={small_store}", "--weights_dir=mine", "--seeds=2", "--small_ok", f"--out={tmp_path / 'out'}")
    return lambda *flags: (commands.call("networks", *usual, *flags), trained)


def test_every_network_at_hand_is_a_row_and_the_others_say_what_is_missing(call, tmp_path, capsys):
    status, trained = call()
    assert status == 0 and list(trained) == ["alexnet", "efficientnet-lite0"]
    table = pd.read_csv(tmp_path / "out" / "networks.csv").set_index("row")
    assert list(table.index) == ["poster", *registry.names()]
    lite0 = table.loc["efficientnet-lite0"]
    assert lite0["accuracy_difference"] == pytest.approx(0.05) and lite0["pairs"] == 2
    assert table.loc["vgg16", "status"] == "not available"
    text = (tmp_path / "out" / "networks.md").read_text()
    assert "accuracy − alexnet" in text and "| weights not available |" in text
    assert "vgg16: weights not available: mine/vgg16-imagenet: no such folder of weights" in text
    different = {
        field: [getattr(config, field) for config in trained.values()]
        for field in vars(trained["alexnet"])
        if len({getattr(config, field) for config in trained.values()}) > 1
    }
    assert set(different) == {"model", "weights", "retrain_from", "out"}
    assert different["retrain_from"] == ["fc6", "classifier"]


def test_the_same_head_for_all(call, tmp_path):
    _, trained = call("--head=linear")
    assert "Augmentations an image: none, heads are solved." in (tmp_path / "out" / "networks.md").read_text()
    assert {(config.head, config.epochs, config.augment_bank, config.momentum) for config in trained.values()} == {
        ("linear", 1, 0, 0.0)
    }


def test_larger_images_are_not_made_of_smaller_ones(call, tmp_path):
    status, trained = call("--sizes=448")
    assert status == 0 and list(trained) == ["alexnet", "efficientnet-lite0"]
    table = pd.read_csv(tmp_path / "out" / "networks.csv").set_index("row")
    assert table.loc["alexnet_448", "status"] == "not available"
    assert table.loc["alexnet_448", "reason"].startswith("images too small: ")
