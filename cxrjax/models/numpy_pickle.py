"""Pickles of NumPy arrays, of Python 2 or 3, read so that nothing but containers and numeric arrays can be built."""

from __future__ import annotations

import io
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np

from cxrjax.base import InputError


def unpickle(file: str | Path, stream: io.BytesIO) -> Any:
    """What a pickle of containers, numbers, text and numeric arrays holds; tuples become lists.

    Args:
      file: for messages.
      stream: of Python 2 or 3, any protocol.

    Raises:
      InputError: if it is malformed or asks for anything else.
    """
    try:
        # Python 2 strings, and the bytes of its arrays, arrive as latin1 text.
        return _plain(_ArrayUnpickler(stream, encoding="latin1").load())
    except Exception as error:  # a malformed pickle raises nearly anything
        raise InputError(f"{file}: must be a pickle of NumPy arrays: {error}") from None


def _plain(value: Any) -> Any:
    """Replaces the stand-ins of `_ArrayUnpickler` by arrays, and bytes keys by text."""
    if isinstance(value, _PickledArray):
        return _plain(value.value)
    if isinstance(value, dict):
        return {k.decode() if isinstance(k, bytes) else k: _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return value


class _PickledDtype:
    """Stands for numpy.dtype while unpickling; keeps the code and the byte order, nothing else."""

    def __init__(self, code: str, *_: object) -> None:
        if not re.fullmatch(r"[|<>=]?([fiub][1248]|O8?)", code):
            raise ValueError(f"dtype {code!r} is not numeric")
        self.code = code

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        if state[1] in ("<", ">"):
            self.code = state[1] + self.code


class _PickledArray:
    """Stands for numpy.ndarray while unpickling, so that no state reaches NumPy's C code unchecked."""

    def __init__(self, *_: object) -> None:
        self.value: Any = None

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, fortran, data = state
        if dtype.code.endswith(("O", "O8")):
            self.value = list(data)
            return
        data = data.encode("latin1") if isinstance(data, str) else data
        self.value = np.frombuffer(data, dtype.code).reshape(shape, order="F" if fortran else "C")

    @classmethod
    def from_buffer(cls, data: bytes, dtype: _PickledDtype, shape: Any, order: str, axes: Any = None) -> _PickledArray:
        """What protocol 5 calls in place of the constructor and its state; order K also turns the axes (NumPy 2.3)."""
        array = cls()
        array.__setstate__((1, shape, dtype, order == "F", data))
        if order == "K":
            array.value = array.value.transpose(tuple(axes))
        return array


class _ArrayUnpickler(pickle.Unpickler):
    """Builds nothing but containers, numbers, text and numeric arrays, whatever the pickle asks for."""

    def find_class(self, module: str, name: str) -> Any:
        place = f"{module.replace('numpy._core', 'numpy.core')}.{name}"  # renamed in NumPy 2
        if place not in _STAND_INS:
            raise pickle.UnpicklingError(f"it asks for {place}")
        return _STAND_INS[place]


def _latin1(text: str, encoding: str = "latin1") -> bytes:
    """The one call of `_codecs.encode` that pickles of bytes make."""
    if encoding != "latin1":
        raise ValueError(f"encoding {encoding!r} is not latin1")
    return text.encode("latin1")


_STAND_INS = {
    "numpy.core.multiarray._reconstruct": _PickledArray,
    "numpy.ndarray": None,  # an argument of _reconstruct
    "numpy.dtype": _PickledDtype,
    "numpy.core.numeric._frombuffer": _PickledArray.from_buffer,
    "_codecs.encode": _latin1,  # bytes in the protocols before 3
}
