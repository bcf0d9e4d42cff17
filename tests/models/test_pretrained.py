"""Pretrained weights are matched with a network by name and shape, and say what they are."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from cxrjax.models import foreign_files, pretrained, registry
from cxrjax.models.pretrained import Weights, WeightsInfo
from tests.models.test_torch_files import message


def shaped(**kernels):
    return {"params": {k: {"kernel": np.zeros(shape), "bias": np.zeros(shape[-1])} for k, shape in kernels.items()}}


def test_match_takes_what_the_template_has():
    params = shaped(conv1=(3, 4), fc7=(5, 6), fc8=(6, 1000))
    got = pretrained.match(params, shaped(conv1=(3, 4), fc7=(5, 6)), others=("fc8",))
    assert list(got["params"]) == ["conv1", "fc7"]
    assert got["params"]["conv1"] is params["params"]["conv1"]


def test_match_leaves_out_what_may_be_missing_or_of_another_shape():
    params = shaped(fc7=(5, 6), fc8=(6, 1000))
    template = shaped(fc6=(4, 5), fc7=(5, 6), fc8=(6, 2))
    assert list(pretrained.match(params, template, optional=("fc6", "fc8"))["params"]) == ["fc7"]


def test_match_lists_everything():
    params = shaped(conv2=(1, 1), fc8=(6, 1000), fc9=(2, 2))
    params["params"]["conv3"] = {"kernel": np.zeros((2, 2))}
    template = shaped(conv1=(3, 4), conv2=(1, 2), conv3=(2, 2), fc8=(6, 2))
    text = message(pretrained.match, params, template, optional=("conv1",))
    assert "missing: conv3.bias;" in text
    assert "unknown: fc9" in text
    assert "conv2.kernel (1, 1), expected (1, 2); conv2.bias (1,), expected (2,)" in text
    assert "fc8.kernel (6, 1000), expected (6, 2)" in text
    assert "missing: conv1, conv4" in message(pretrained.match, {}, shaped(conv1=(1, 1), conv4=(1, 1)))


def test_sha256(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    # FIPS 180-2, appendix B.1
    want = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert foreign_files.sha256(tmp_path / "a") == want
    assert "cannot be read" in message(foreign_files.sha256, tmp_path)


def test_weights_of_before_trained_on_was_kept_are_imagenets(tmp_path):
    info = WeightsInfo("torchvision", "a", "0", "alexnet", ("fc8",), registry.TORCHVISION, ("NIH", "OpenI"))
    folder = tmp_path / "weights"
    pretrained.save_weights(folder, Weights({"fc8": {"bias": np.zeros(2, np.float32)}}, info))
    assert pretrained.load_weights(folder).info == info
    fields = json.loads((folder / "weights.json").read_text())
    del fields["trained_on"]
    (folder / "weights.json").write_text(json.dumps(fields))
    assert pretrained.load_weights(folder).info.trained_on == ("ImageNet",)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"trained_on": ["NHI"]}, "trained_on must be of ImageNet, NIH, .*, got NHI"),
        ({"trained_on": "NIH"}, "got N, I, H"),
        ({"trained_on": []}, "trained_on must name a data set"),
        ({"trained_on": None}, "must describe the weights beside it"),
        ({"preprocessing": {"channels": "RBG"}}, "channels must be RGB, BGR or L, got 'RBG'"),
        ({"preprocessing": {"std": [1.0]}}, "a number for each of RGB"),
        ({"preprocessing": {"std": [0.0, 1.0, 1.0]}}, "std and range above 0"),
        ({"preprocessing": {"mean": "abc"}}, "must describe the weights beside it"),
        ({"preprocessing": {"range": None}}, "must describe the weights beside it"),
    ],
)
def test_an_edited_description_is_refused(tmp_path, changes, told):
    info = WeightsInfo("torchvision", "a", "0", "alexnet", ("fc8",), registry.TORCHVISION)
    pretrained.save_weights(tmp_path / "weights", Weights({"fc8": {"bias": np.zeros(2, np.float32)}}, info))
    file = tmp_path / "weights" / "weights.json"
    fields = json.loads(file.read_text())
    pixels = fields["preprocessing"] | changes.get("preprocessing", {})
    file.write_text(json.dumps(fields | changes | {"preprocessing": pixels}))
    assert re.search(f"^{file}: .*{told}", message(pretrained.load_weights, tmp_path / "weights"))


def test_names_of_data_sets_in_another_case_are_the_same(tmp_path):
    info = WeightsInfo("torchvision", "a", "0", "alexnet", ("fc8",), registry.TORCHVISION, ("nih", "mimic"))
    pretrained.save_weights(tmp_path / "weights", Weights({"fc8": {"bias": np.zeros(2, np.float32)}}, info))
    assert pretrained.load_weights(tmp_path / "weights").info.has_seen("NIH")


def test_missing_weights_are_told_with_the_command_that_makes_them(tmp_path):
    for name, flags in (("vgg16-imagenet", " --model=vgg16"), ("mine", "")):
        text = message(pretrained.load_weights, tmp_path / name)
        assert text.endswith(f"weights.convert{flags} --out={tmp_path / name}` makes it")


def test_a_file_of_weights_in_place_of_a_folder_is_told_with_the_command_that_converts_it(tmp_path):
    (tmp_path / "mine.pth").write_bytes(b"x")  # --out would replace it
    assert f"weights.convert --file={tmp_path / 'mine.pth'}`" in message(pretrained.load_weights, tmp_path / "mine.pth")
