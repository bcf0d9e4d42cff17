"""Records of networks: plain data, their stages and shapes, and mistakes that are named."""

import dataclasses
import subprocess
import sys

import pytest

from cxrjax.base import InputError
from cxrjax.models import registry
from tests.models import narrow

MODELS = tuple(name for name in registry.names() if registry.get(name).module.startswith("cxrjax."))


def test_records_are_read_before_jax():
    code = (
        "import sys; from cxrjax.models import registry; registry.get('alexnet'); hash(registry.ALEXNET)\n"
        "assert not {'jax', 'flax', 'numpy'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", MODELS)
def test_every_record_names_stages_that_there_are(name):
    model = registry.get(name)
    assert model.name == name in registry.names()
    assert {*model.dense, *model.dropped, model.cam_stage, model.retrain_from} <= set(model.stages)
    assert tuple(model.parameter_shapes()) == model.stages
    assert model.input_shape() == (1, model.crop, model.crop, model.channels)
    assert model.logits == model.stages[-1] == model.dense[-1]


def test_an_unknown_network_is_refused_with_those_that_there_are():
    with pytest.raises(InputError, match=r"model must be one of alexnet, alexnet-caffe, .*got 'vgg'"):
        registry.get("vgg")


def test_a_record_is_registered_under_its_name(monkeypatch):
    monkeypatch.setattr(registry, "_MODELS", dict(registry._MODELS))
    other = registry.register(dataclasses.replace(registry.ALEXNET, name="other", crop=99))
    assert registry.get("other") is other
    assert hash(other) != hash(registry.ALEXNET)


def test_widths_are_the_models():
    assert [narrow.ALEXNET.width(stage) for stage in narrow.ALEXNET.stages] == [4, 12, 24, 16, 16, 64, 64, 1000]
    assert narrow.ALEXNET.parameter_shapes("fc6")["fc6"]["kernel"].shape == (16 * 36, 64)
    assert set(narrow.ALEXNET.parameter_shapes("fc6", "fc7")) == {"fc6", "fc7"}


@pytest.mark.parametrize("name", MODELS)
def test_width_is_that_of_the_kernel(name):
    model = dataclasses.replace(registry.get(name), num_classes=7)
    shapes = model.parameter_shapes()
    for stage in model.stages:
        if "kernel" in shapes[stage]:  # else the stage holds several convolutions
            assert model.width(stage) == shapes[stage]["kernel"].shape[-1]
    with pytest.raises(ValueError, match=r"stage must be one of .*, got 'fc9'"):
        model.width("fc9")


@pytest.mark.parametrize(
    ("start", "stop", "message"),
    [
        ("conv0", "fc8", "start must be one of conv1, conv2.*got 'conv0'"),
        ("conv1", "fc9", "stop must be one of conv1, conv2.*got 'fc9'"),
        ("fc7", "conv2", "start must not come after stop, got start='fc7' and stop='conv2'"),
    ],
)
def test_stages_between_refuses(start, stop, message):
    with pytest.raises(ValueError, match=message):
        registry.ALEXNET.between(start, stop)


def test_the_stage_before():
    assert registry.ALEXNET.before("conv1") is None
    assert registry.ALEXNET.before("fc6") == "conv5"
