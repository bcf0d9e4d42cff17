"""Files of foreign weights -> flat dicts of NumPy arrays by the file's own names; no code of a file is run.

Pickles are read only when their SHA-256 matched, and then by `numpy_pickle`. Files of PyTorch: `torch_files`.
safetensors is imported when a file needs it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import math
import re
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias

import ml_dtypes  # lets safetensors name bfloat16, too
import numpy as np
from flax import traverse_util

from cxrjax.base import InputError, Variables
from cxrjax.models import numpy_pickle
from cxrjax.models.model import Model

Layout: TypeAlias = Literal["HWIO", "OIHW"]
"""Of convolutions; dense kernels are [in, out] and [out, in]."""


LIMIT = 4 << 30  # bytes of a file; the largest network here has 0.6e9
NAMED = 4  # of names that do not fit


def size(file: str | Path) -> int:
    """Bytes of a file of weights, which is not opened for it.

    Raises:
      InputError: if there is none, it is no regular file, or it is larger than `LIMIT`.
    """
    try:
        status = Path(file).stat()
    except OSError as error:
        raise _unreadable(file, error) from None
    if not stat.S_ISREG(status.st_mode):
        raise InputError(f"{file}: cannot be read: it is no regular file")
    if status.st_size > LIMIT:
        raise InputError(
            f"{file}: must have at most {LIMIT >> 30} GiB, got {status.st_size / 2**30:.1f}; it is not opened"
        )
    return status.st_size


def sha256(file: str | Path) -> str:
    """SHA-256 of a file, hexadecimal.

    Raises:
      InputError: if the file cannot be read.
    """
    size(file)
    try:
        with Path(file).open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise _unreadable(file, error) from None


def one_line(error: Exception) -> str:
    """What an error says, without line breaks; its type where it says nothing."""
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(reason.split()) or type(error).__name__


def _unreadable(file: str | Path, error: Exception) -> InputError:
    return InputError(f"{file}: cannot be read: {one_line(error)}")


def read_bytes(file: str | Path) -> bytes:
    """A whole file.

    Raises:
      InputError: if the file cannot be read.
    """
    size(file)
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


def load_safetensors(file: str | Path) -> dict[str, np.ndarray]:
    """A `.safetensors` file; bfloat16 becomes float32.

    Raises:
      InputError: without the package safetensors, or if the file cannot be read.
    """
    size(file)
    try:
        import safetensors
    except ImportError:
        raise InputError(f"{file}: needs the package safetensors; run `pip install safetensors`") from None
    try:
        with safetensors.safe_open(file, framework="numpy") as tensors:
            arrays = {name: tensors.get_tensor(name) for name in tensors.keys()}  # noqa: SIM118 - it is no dict
    except Exception as error:  # SafetensorError derives from Exception alone
        raise _unreadable(file, error) from None
    return {n: a.astype(np.float32) if a.dtype == ml_dtypes.bfloat16 else a for n, a in arrays.items()}


def load_npz(file: str | Path) -> dict[str, np.ndarray]:
    """A NumPy archive without pickles.

    Raises:
      InputError: if the file cannot be read.
    """
    size(file)
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
    content = numpy_pickle.unpickle(file, stream)
    arrays: dict[str, np.ndarray] = {}
    try:
        for layer, pair in content[0].items():
            weights, biases = (pair["weights"], pair["biases"]) if isinstance(pair, dict) else pair
            arrays |= {f"{layer}_weights": np.asarray(weights), f"{layer}_biases": np.asarray(biases)}
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{file}: must hold a dict layer -> [weights, biases]: {error!r}") from None
    return arrays


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


def convert(
    file: str | Path, arrays: Mapping[str, np.ndarray], names: Mapping[Any, str], model: Model, layout: Layout
) -> Variables:
    """Checks `arrays` by name and shape against a network and brings them into our layout.

    Args:
      file: for messages.
      arrays: the file's arrays by the file's names.
      names: (collection, stage, ..., leaf) -> the file's name.
      model: whose stages they are; the last one may have any number of classes.
      layout: of the file.

    Raises:
      InputError: if any name is missing, unknown or mis-shaped, or a number is none.
    """
    refuse_misfits(f"{file}", *_shapes(arrays, names, model, layout))
    bad = [name for path, name in names.items() if not _are_weights(arrays[name], path[-1])]
    if bad:
        raise InputError(
            f"{file}: weights must be finite floating-point numbers, variances 0 or more, not so in {_some(bad, ', ')}"
        )
    flattened = model.width(model.before(model.dense[0]) or model.dense[0])  # channels of the map that is flattened
    return traverse_util.unflatten_dict(
        {
            path: to_ours(arrays[name], layout, flattened if path[1] == model.dense[0] else 1)
            for path, name in names.items()
        }
    )


def _are_weights(array: np.ndarray, leaf: str) -> bool:
    is_finite = array.dtype.kind == "f" and bool(np.isfinite(array).all())
    return is_finite and (leaf != "var" or bool((array >= 0).all()))


def fits(arrays: Mapping[str, np.ndarray], names: Mapping[Any, str], model: Model) -> bool:
    """Whether a state dict has the names and shapes of a network, see `convert`."""
    given, expected = _shapes(arrays, names, model, "OIHW")
    return given == expected


def _shapes(
    arrays: Mapping[str, np.ndarray], names: Mapping[Any, str], model: Model, layout: Layout
) -> tuple[dict[str, tuple[int, ...]], dict[str, tuple[int, ...]]]:
    """Shapes in a file, without what is passed over, and those that a network needs; see `convert`."""
    last = arrays.get(names.get(("params", model.logits, "kernel"), ""))
    if last is not None and last.ndim:
        model = dataclasses.replace(model, num_classes=last.shape[0 if layout == "OIHW" else -1])
    shapes = traverse_util.flatten_dict(model.variable_shapes())
    passed_over = re.compile("|".join((r".*\.num_batches_tracked", *model.passed_over)))
    given = {name: array.shape for name, array in arrays.items() if not passed_over.fullmatch(name)}
    return given, {name: file_shape(shapes[path].shape, layout) for path, name in names.items()}


def refuse_misfits(subject: str, given: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    """One line of the first names that do not fit, and how many there are.

    Args:
      subject: for the message.
      given: name -> shape.
      expected: the same.

    Raises:
      InputError: if any name is missing, unknown or mis-shaped.
    """
    missing = [name for name in expected if name not in given]
    unknown = [name for name in given if name not in expected]
    shapes = {name: (given[name], shape) for name, shape in expected.items() if name in given}
    misshaped = [f"{name} {shape}, expected {wanted}" for name, (shape, wanted) in shapes.items() if shape != wanted]
    lists = (("missing", missing, ", "), ("unknown", unknown, ", "), ("mis-shaped", misshaped, "; "))
    problems = [f"{word}: {_some(names, mark)}" for word, names, mark in lists if names]
    if problems:
        raise InputError(f"{subject}: {'; '.join(problems)}")


def _some(names: Sequence[str], mark: str) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return mark.join(names[:NAMED]) + more
