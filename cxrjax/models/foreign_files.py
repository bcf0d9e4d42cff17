"""Files of foreign weights -> flat dicts of NumPy arrays by the file's own names; no code of a file is run.

Pickles are read only when their SHA-256 matched, and then by an unpickler that can build nothing but plain
containers and numeric arrays. PyTorch and safetensors are imported when a file needs them.
"""

from __future__ import annotations

import hashlib
import io
import math
import pickle
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np

from cxrjax.base import InputError

Layout: TypeAlias = Literal["HWIO", "OIHW"]
"""Of convolutions; dense kernels are [in, out] and [out, in]."""


def sha256(file: str | Path) -> str:
    """SHA-256 of a file, hexadecimal.

    Raises:
      InputError: if the file cannot be read.
    """
    return hashlib.sha256(read_bytes(file)).hexdigest()


def _unreadable(file: str | Path, error: Exception) -> InputError:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return InputError(f"{file}: cannot be read: {' '.join(reason.split()) or type(error).__name__}")


def read_bytes(file: str | Path) -> bytes:
    """A whole file.

    Raises:
      InputError: if the file cannot be read.
    """
    try:
        return Path(file).read_bytes()
    except OSError as error:
        raise _unreadable(file, error) from None


def require_hash(file: str | Path, digest: str, expected: str) -> None:
    """Refuses a file by its SHA-256, hexadecimal.

    Raises:
      InputError: if the two differ.
    """
    if digest != expected.lower():
        raise InputError(f"{file}: SHA-256 must be {expected}, got {digest}; this is another or a damaged file")


def load_torch(file: str | Path) -> dict[str, np.ndarray]:
    """A PyTorch state dict (.pth), through PyTorch's own restricted unpickler.

    Raises:
      InputError: without PyTorch, or if the file is not a state dict of tensors.
    """
    data = io.BytesIO(read_bytes(file))  # a missing file is reported as such even without PyTorch
    try:
        import torch
    except ImportError:
        raise InputError(
            f"{file}: a .pth file needs PyTorch; run `pip install torch`, or give the weights as .safetensors"
        ) from None
    try:
        state = torch.load(data, map_location="cpu", weights_only=True)
        # bfloat16 has no NumPy dtype
        return {name: (t.float() if t.is_floating_point() else t).detach().numpy() for name, t in state.items()}
    except Exception as error:  # pickle, zip, tar and attribute errors; PyTorch's text recommends weights_only=False
        raise InputError(
            f"{file}: must be a state dict of tensors, as torch.save(model.state_dict(), ...) writes it; "
            f"reading it ended in {type(error).__name__}"
        ) from None


def load_safetensors(file: str | Path) -> dict[str, np.ndarray]:
    """A `.safetensors` file.

    Raises:
      InputError: without the package safetensors, or if the file cannot be read.
    """
    data = read_bytes(file)
    try:
        import safetensors.numpy
    except ImportError:
        raise InputError(f"{file}: needs the package safetensors; run `pip install safetensors`") from None
    try:
        arrays: dict[str, np.ndarray] = safetensors.numpy.load(data)
        return arrays
    except Exception as error:  # SafetensorError derives from Exception alone
        raise _unreadable(file, error) from None


def load_npz(file: str | Path) -> dict[str, np.ndarray]:
    """A NumPy archive without pickles.

    Raises:
      InputError: if the file cannot be read.
    """
    try:
        with Path(file).open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except Exception as error:  # zip, zlib, header errors of many types
        raise _unreadable(file, error) from None


def load_npy(file: str | Path, expected: str | None) -> dict[str, np.ndarray]:
    """The pickled dict that caffe-tensorflow saves, flattened to conv1_weights, conv1_biases, ...

    Args:
      file: layer -> [weights, biases] or layer -> {"weights", "biases"}.
      expected: the file's SHA-256, from whoever the user trusts.

    Raises:
      InputError: if the hash is another or not given, or the file holds something else.
    """
    data = read_bytes(file)
    digest = hashlib.sha256(data).hexdigest()
    if not expected:
        raise InputError(f"{file}: is a pickle, so its SHA-256 must be given (sha256); this file's is {digest}")
    require_hash(file, digest, expected)
    stream = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(stream)
        header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        shape, _, dtype = header[version](stream)
    except (ValueError, KeyError) as error:
        raise _unreadable(file, error) from None
    if shape != () or not dtype.hasobject:
        raise InputError(f"{file}: must hold one pickled dict of layers, got an array {dtype} {shape}")
    content = unpickle(file, stream)
    arrays: dict[str, np.ndarray] = {}
    try:
        for layer, pair in content[0].items():
            weights, biases = (pair["weights"], pair["biases"]) if isinstance(pair, dict) else pair
            arrays |= {f"{layer}_weights": np.asarray(weights), f"{layer}_biases": np.asarray(biases)}
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{file}: must hold a dict layer -> [weights, biases]: {error!r}") from None
    return arrays


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


def file_shape(shape: tuple[int, ...], layout: Layout) -> tuple[int, ...]:
    """Our kernel's shape as it stands in a file of that layout."""
    if layout == "HWIO" or len(shape) == 1:
        return shape
    return tuple(shape[axis] for axis in ((3, 2, 0, 1) if len(shape) == 4 else (1, 0)))


def to_ours(kernel: np.ndarray, layout: Layout, channels: int = 1) -> np.ndarray:
    """A kernel of a file as HWIO or [in, out], float32.

    Args:
      kernel: as the file has it.
      layout: of the file.
      channels: of the map whose flattened pixels a dense kernel reads: channels first in OIHW, last in ours.
    """
    if layout == "OIHW" and kernel.ndim == 4:
        kernel = kernel.transpose(2, 3, 1, 0)
    elif layout == "OIHW" and kernel.ndim == 2:
        side = math.isqrt(kernel.shape[1] // channels)
        kernel = kernel.reshape(len(kernel), channels, side, side).transpose(2, 3, 1, 0) if channels > 1 else kernel.T
        kernel = kernel.reshape(-1, kernel.shape[-1])
    return np.array(kernel, np.float32, order="C")


def refuse_misfits(
    subject: str, given: Mapping[str, Any], expected: Mapping[str, Any], others: Collection[str] = ()
) -> None:
    """One line of all names that do not fit.

    Args:
      subject: for the message.
      given: name -> shape.
      expected: the same.
      others: further names that may be given.

    Raises:
      InputError: if any name is missing, unknown or mis-shaped.
    """
    missing = [name for name in expected if name not in given]
    unknown = [name for name in given if name not in expected and name not in others]
    shapes = {name: (given[name], shape) for name, shape in expected.items() if name in given}
    misshaped = [f"{name} {shape}, expected {wanted}" for name, (shape, wanted) in shapes.items() if shape != wanted]
    lists = (("missing", missing, ", "), ("unknown", unknown, ", "), ("mis-shaped", misshaped, "; "))
    problems = [f"{word}: {mark.join(names)}" for word, names, mark in lists if names]
    if problems:
        raise InputError(f"{subject}: {'; '.join(problems)}")
