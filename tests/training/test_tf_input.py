"""Without TensorFlow: what --input=auto takes and what --input=tfdata says. Pixels are tested in test_augment."""

import logging

import pytest

from cxrjax.base import InputError
from cxrjax.training import tf_input


def test_auto_without_tensorflow_is_resident_and_says_so(monkeypatch, caplog):
    monkeypatch.setattr(tf_input, "available", lambda: False)
    with caplog.at_level(logging.INFO, "cxrjax"):
        assert tf_input.default() == "resident"
    assert "cxrjax[tf]" in caplog.text
    monkeypatch.setattr(tf_input, "available", lambda: True)
    assert tf_input.default() == "tfdata"


def test_tfdata_without_tensorflow_names_the_extra(monkeypatch):
    monkeypatch.setattr(tf_input, "available", lambda: False)
    with pytest.raises(InputError, match=r"cxrjax\[tf\]"):
        tf_input.require()
