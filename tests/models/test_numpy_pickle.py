"""Pickles of NumPy arrays: nothing else is built."""

from __future__ import annotations

import io
import pickle
import types

import numpy as np
import pytest

from cxrjax.models import numpy_pickle
from tests.models.test_torch_files import Reduced, message


@pytest.mark.parametrize(
    "content",
    [
        Reduced(eval, "1"),
        Reduced(getattr, 1, "real"),
        Reduced(np.fromfile, "/etc/hostname"),
        Reduced(np.ndarray, (1,), "O", b"\0" * 8),
        Reduced(np.dtype, "V8"),
        Reduced(np.dtype, [("a", "f4")]),
        np.array(["text"]),
        np.datetime64("2018-01-01"),
        types.SimpleNamespace(a=1),
    ],
)
def test_unpickler_admits_numeric_arrays_only(content):
    data = pickle.dumps({"a": content})
    assert "must be a pickle of NumPy arrays" in message(numpy_pickle.unpickle, "a.ckpt", io.BytesIO(data))


@pytest.mark.parametrize("data", [b"", b"\x80\x04", b"garbage", b"cnumpy\nndarray\n)R.", b"(lp0\ng0\na"])
def test_malformed_pickles(data):
    message(numpy_pickle.unpickle, "a.ckpt", io.BytesIO(data))


def test_array_with_fewer_bytes_than_its_shape():
    data = pickle.dumps(np.arange(4, dtype=np.float32), 4).replace(b"K\x04", b"K\x05", 1)
    message(numpy_pickle.unpickle, "a.ckpt", io.BytesIO(data))
