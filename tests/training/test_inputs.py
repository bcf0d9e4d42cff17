"""Without TensorFlow: what --input=auto takes and what --input=tfdata says. Pixels are tested in test_augment."""

import logging

import pytest

from cxrjax.base import InputError
from cxrjax.training import inputs, tf_input


def test_auto_without_tensorflow_is_resident_and_says_so(monkeypatch, caplog):
    monkeypatch.setattr(inputs.importlib.util, "find_spec", lambda name: None)
    with caplog.at_level(logging.INFO, "cxrjax"):
        assert inputs.default_pipeline(0) == "resident"
    assert '`pip install -e ".[tf]"`' in caplog.text
    monkeypatch.setattr(inputs.importlib.util, "find_spec", lambda name: "there")
    assert inputs.default_pipeline(0) == "tfdata"


def test_auto_keeps_images_on_an_accelerator_that_has_room(monkeypatch):
    monkeypatch.setattr(inputs.importlib.util, "find_spec", lambda name: "there")
    monkeypatch.setattr(inputs.jax, "default_backend", lambda: "gpu")
    monkeypatch.setattr(inputs.devices, "memory", lambda: 300)
    assert [inputs.default_pipeline(size) for size in (100, 101)] == ["resident", "tfdata"]


def test_tfdata_without_tensorflow_names_the_extra(monkeypatch):
    monkeypatch.setattr(inputs.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r'pip install -e "\.\[tf\]"'):
        tf_input.require_tensorflow()
