"""PyTorch's files of weights (`.pth`, `.pt`) without PyTorch: state dicts as NumPy arrays.

Source: `torch/serialization.py` of PyTorch 2.13.
"""

from __future__ import annotations

import io
import math
import re
import struct
import zipfile
from pathlib import Path
from typing import Any, BinaryIO

import ml_dtypes
import numpy as np

from cxrjax.base import InputError
from cxrjax.models import foreign_files
from cxrjax.models.torch_pickle import ADVICE, Machine, Storage, Tensor, tensors

PICKLE_BYTES = 2 << 20  # largest pickle that is read, 12 s at worst; a tensor takes some 200 bytes there
_MAGIC = 0x1950A86A20F9469CFC6C  # first value of a file of before PyTorch 1.6


def load_torch(file: str | Path) -> dict[str, np.ndarray]:
    """The tensors of a state dict by name; bfloat16 becomes float32, all else stays as it is.

    Where a dict holds one state dict beside other things, that is taken; "module." before all names, which
    DataParallel puts there, is left out. Arrays are read-only and may share memory.

    Args:
      file: either container of `torch.save`: the zip archive, or that of before PyTorch 1.6.

    Raises:
      InputError: if the file is too large or damaged, or holds anything else, which is named.
    """
    size = foreign_files.size(file)
    try:
        with Path(file).open("rb") as stream:
            container = (_Archive if stream.read(4) == b"PK\x03\x04" else _Legacy)(stream, size)
            arrays: dict[Storage, np.ndarray] = {}
            return {name: _array(name, tensor, container, arrays) for name, tensor in _state_dict(container).items()}
    except InputError as error:
        raise InputError(f"{file}: {foreign_files.one_line(error)}") from None
    except Exception as error:  # what is damaged raises nearly anything
        kind, reason = type(error).__name__, foreign_files.one_line(error)
        raise InputError(f"{file}: is cut off, damaged or no state dict of PyTorch ({kind}: {reason})") from None


class _Archive:
    """A zip archive of NAME/data.pkl, NAME/data/KEY and NAME/byteorder, not compressed."""

    def __init__(self, stream: BinaryIO, size: int) -> None:
        self._zip = zipfile.ZipFile(stream)
        self._root = next(iter(self._zip.namelist()), "").partition("/")[0]
        names = re.compile(re.escape(self._root) + r"/(data\.pkl|byteorder|data/.*)")  # no other is read
        rows = [member for member in self._zip.infolist() if names.fullmatch(member.filename)]
        members = {member.filename.partition("/")[2]: member for member in rows}
        if "data.pkl" not in members:
            raise InputError(f"must be an archive as torch.save writes it, with FOLDER/data.pkl; {ADVICE}")
        if any(member.compress_type or member.compress_size != member.file_size for member in rows):
            raise InputError("must be an archive as torch.save writes it, not compressed")
        # Members that share bytes may be many times what the file is.
        if len(members) != len(rows) or sum(member.file_size for member in rows) > size:
            raise InputError("must be an archive without two members of one name or place")
        if members["data.pkl"].file_size > PICKLE_BYTES:
            raise InputError(f"must have a data.pkl of at most {PICKLE_BYTES >> 20} MiB")
        _check_byte_order("byteorder" not in members or self._read("byteorder") == b"little")
        self.content = Machine().run(io.BytesIO(self._read("data.pkl")))

    def _read(self, name: str) -> bytes:
        return self._zip.read(f"{self._root}/{name}")

    def data(self, storage: Storage) -> bytes:
        """The bytes of a storage."""
        return self._read(f"data/{storage.key}")


class _Legacy:
    """Five pickles (magic number, version, system, content, keys), then the storages in the order of the keys."""

    def __init__(self, stream: BinaryIO, size: int) -> None:
        stream.seek(0)
        self._stream = stream
        pickles = io.BytesIO(stream.read(PICKLE_BYTES))
        if pickles.getvalue()[257:262] == b"ustar":
            raise InputError(f"is a tar archive, as the first versions of PyTorch wrote, which is not read; {ADVICE}")
        if Machine().run(pickles) != _MAGIC or Machine().run(pickles) != 1001:
            raise InputError(f"must be a state dict as torch.save writes it, not another pickle; {ADVICE}")
        _check_byte_order(Machine().run(pickles)["little_endian"])
        machine = Machine()
        self.content = machine.run(pickles)
        keys = Machine().run(pickles)
        self._places: dict[str, int] = {}
        place = pickles.tell()
        for key in keys:
            storage = machine.storages[key]
            self._places[key] = place + 8  # behind the count
            if self._read(place, 8) != struct.pack("<q", storage.size):
                raise InputError(f"is cut off or damaged: storage {key} does not begin with its count, {storage.size}")
            place += 8 + storage.nbytes
        if place != size:
            raise InputError(f"is cut off or damaged: it must have {place} bytes, got {size}")

    def _read(self, place: int, count: int) -> bytes:
        self._stream.seek(place)
        return self._stream.read(count)

    def data(self, storage: Storage) -> bytes:
        """The bytes of a storage."""
        return self._read(self._places[storage.key], storage.nbytes)


def _check_byte_order(is_little: bool) -> None:
    if not is_little:
        raise InputError("must be little-endian; what a big-endian machine wrote is not read")


def _state_dict(container: _Archive | _Legacy) -> dict[str, Tensor]:
    """The one state dict that a file's content is or has among its values."""
    content = container.content
    if not isinstance(content, dict):
        raise InputError(f"must be a state dict of tensors, got a {type(content).__name__}; {ADVICE}")
    inner = {str(name): found for name, value in content.items() if (found := tensors(value))}
    state = tensors(content) or (next(iter(inner.values())) if len(inner) == 1 else {})
    if not state:
        names = ", ".join([f"{name} ({type(value).__name__})" for name, value in content.items()][:5])
        what = f"several: {', '.join(inner)}" if inner else names or "an empty one"
        raise InputError(f"must be or hold one state dict of tensors, got {what}; {ADVICE}")
    prefix = "module." if all(name.startswith("module.") for name in state) else ""
    return {name.removeprefix(prefix): tensor for name, tensor in state.items()}


def _array(name: str, tensor: Tensor, container: _Archive | _Legacy, arrays: dict[Storage, np.ndarray]) -> np.ndarray:
    """A tensor's numbers; `arrays` are the storages that have been read, and gets the tensor's."""
    storage, offset, shape, strides = tensor
    place = f"offset {offset}, shape {shape}, strides {strides}"
    numbers = (offset, *shape, *strides)
    if not len(shape) == len(strides) <= 64 or not all(type(n) is int and n >= 0 for n in numbers):
        raise InputError(f"{name} must be placed by whole numbers, 0 or more, for at most 64 axes, got {place}")
    if math.prod(shape) * storage.dtype.itemsize > foreign_files.LIMIT:
        raise InputError(f"{name} must have at most {foreign_files.LIMIT >> 30} GiB, got {place}")
    is_empty = 0 in shape
    if not is_empty and offset + sum((n - 1) * step for n, step in zip(shape, strides, strict=True)) >= storage.size:
        raise InputError(f"{name} must lie within the {storage.size} numbers of its storage, got {place}")
    if storage not in arrays:
        data = container.data(storage)
        if len(data) != storage.nbytes:
            raise InputError(f"storage {storage.key} must have {storage.nbytes} bytes, got {len(data)}")
        arrays[storage] = _values(data, storage.dtype)
    values = arrays[storage]
    steps = tuple(step * values.itemsize for step in strides)
    view = np.ndarray(shape, values.dtype, values, 0 if is_empty else offset * values.itemsize, steps)
    view.flags.writeable = False
    return view


def _values(data: bytes, dtype: np.dtype[Any]) -> np.ndarray:
    if dtype.kind == "b":
        return np.frombuffer(data, np.uint8) != 0
    values = np.frombuffer(data, dtype)
    return values.astype(np.float32) if dtype == ml_dtypes.bfloat16 else values
