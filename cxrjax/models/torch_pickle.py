"""The pickle inside a file of PyTorch, without PyTorch and without an unpickler.

Its operations are followed by a machine that knows containers, plain values and tensors, and has no way to call
anything. Its memory is bounded by the pickle's size and it does not recurse, which `pickle.Unpickler` cannot promise
whatever its `find_class` refuses (large memo numbers, keys that nest).

Source: `torch/_weights_only_unpickler.py` and `torch/_utils.py` of PyTorch 2.13.
"""

from __future__ import annotations

import dataclasses
import io
import pickletools
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

from cxrjax.base import InputError

ADVICE = 'torch.save(model.state_dict(), "weights.pth") writes one'
_DTYPES: dict[str, np.dtype[Any]] = {
    f"torch.{kind}Storage": np.dtype(dtype)
    for kind, dtype in (
        *(("Double", "<f8"), ("Float", "<f4"), ("Half", "<f2"), ("BFloat16", ml_dtypes.bfloat16)),
        *(("Long", "<i8"), ("Int", "<i4"), ("Short", "<i2"), ("Char", "i1"), ("Byte", "u1"), ("Bool", "?")),
    )
}


class Storage(NamedTuple):
    """Numbers in a row, which tensors share."""

    key: str  # of its bytes in the container
    dtype: np.dtype[Any]
    size: int  # how many there are

    @property
    def nbytes(self) -> int:
        """Its size in bytes."""
        return self.size * self.dtype.itemsize


class Tensor(NamedTuple):
    """A view of a storage, as the pickle has it: nothing is checked."""

    storage: Storage
    offset: int  # in numbers, as the strides
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class _Global(NamedTuple):
    name: str  # package.module.name, never looked up


@dataclasses.dataclass(eq=False)
class _Parameter:
    """A parameter as before PyTorch 0.4, which is filled after it is made."""

    tensor: Any = None


class Machine:
    """Follows one pickle; `storages` are those that it refers to, by key."""

    def __init__(self) -> None:
        """Nothing has been read."""
        self.storages: dict[str, Storage] = {}
        self._stacks: list[list[Any]] = [[]]  # one more for each open mark
        self._memo: dict[int, Any] = {}

    def run(self, stream: io.BytesIO) -> Any:
        """The value of the next pickle of `stream`, which is left behind it.

        Raises:
          InputError: if it asks for what no state dict needs, which is named.
          Exception: of nearly any kind if it is damaged.
        """
        for operation, argument, _ in pickletools.genops(stream):
            name = operation.name
            if name == "MARK":
                self._stacks.append([])
            elif name in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
                self._memo[len(self._memo) if argument is None else argument] = self._stacks[-1][-1]
            elif name not in ("PROTO", "FRAME", "STOP"):
                is_plain = argument is not None and pickletools.anyobject not in operation.stack_after
                value = argument if is_plain else self._value(name, argument)
                self._stacks[-1].append(value)
        return self._stacks[-1].pop()

    def _value(self, name: str, argument: Any) -> Any:
        """What an operation leaves on the stack."""
        pop = self._stacks[-1].pop
        match name:
            case "GET" | "BINGET" | "LONG_BINGET":
                return self._memo[argument]
            case "NONE" | "NEWTRUE" | "NEWFALSE":
                return {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}[name]
            case "EMPTY_LIST" | "EMPTY_DICT" | "EMPTY_TUPLE":
                return {"EMPTY_LIST": list, "EMPTY_DICT": dict, "EMPTY_TUPLE": tuple}[name]()
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                return tuple([pop() for _ in range(int(name[-1]))][::-1])
            case "TUPLE":
                return tuple(self._stacks.pop())
            case "APPEND" | "SETITEM":
                items = [pop() for _ in range(1 if name == "APPEND" else 2)][::-1]
                return _fill(pop(), items)
            case "APPENDS" | "SETITEMS":
                items = self._stacks.pop()
                return _fill(self._stacks[-1].pop(), items)
            case "GLOBAL":
                return _Global(argument.replace(" ", "."))
            case "STACK_GLOBAL":
                attribute, module = pop(), pop()
                return _Global(f"{module}.{attribute}")
            case "BINPERSID":
                return self._refer(*pop())
            case "REDUCE" | "NEWOBJ":
                arguments, function = pop(), pop()
                return (_call if name == "REDUCE" else _new)(function.name, *arguments)
            case "BUILD":
                state, target = pop(), pop()
                return _build(target, state)
        raise InputError(f"asks for {name} {argument or ''}, which no state dict needs; {ADVICE}")

    def _refer(self, kind: str, place: _Global, key: str = "", _: Any = None, size: int = 0, view: Any = None) -> Any:
        """A storage as a tensor, all of it or the part that `view` (name, offset, size) says; or a model's class."""
        if kind == "module":
            return place
        if place.name not in _DTYPES:
            raise InputError(f"holds a {place.name}; read are {', '.join(_DTYPES)}")
        storage = Storage(key, _DTYPES[place.name], size)
        if type(key) is not str or self.storages.setdefault(key, storage) != storage:
            raise InputError(f"describes storage {key} in two ways")
        return Tensor(storage, view[1] if view else 0, (size,), (1,))


def _fill(target: Any, items: list[Any]) -> Any:
    """Adds items to a list, or names and values in turn to a dict."""
    if isinstance(target, list):
        target.extend(items)
    elif isinstance(target, dict) and all(isinstance(key, str | int) for key in items[::2]):
        target.update(zip(items[::2], items[1::2], strict=True))
    else:
        raise ValueError(f"items for a {type(target).__name__}")
    return target


def _call(name: str, *arguments: Any) -> Any:
    """What the functions that state dicts need return."""
    match name, arguments:
        case "collections.OrderedDict", [*pairs] if len(pairs) < 2:
            return _fill({}, [item for pair in (*pairs, ())[0] for item in pair])
        case "torch._utils._rebuild_tensor" | "torch._utils._rebuild_tensor_v2", [Tensor(), _, _, _, *further]:
            if any(further[2:]):  # behind gradient and hooks
                raise InputError(f"must hold tensors of plain numbers, got {further[2:]}")  # conjugate, negative
            whole, offset, shape, strides = arguments[:4]
            return Tensor(whole.storage, whole.offset + offset, tuple(shape), tuple(strides))
        case "torch._utils._rebuild_parameter", [Tensor(), *_]:
            return arguments[0]
    raise InputError(f"asks for {name}, which no state dict needs, and is not run; {ADVICE}")


def _new(name: str, *arguments: Any) -> _Parameter:
    """The one kind of object that state dicts (of before PyTorch 0.4) need."""
    if name == "torch.nn.parameter.Parameter":
        return _Parameter(*arguments)
    raise InputError(
        f"holds a whole object of class {name}, which needs its code; a state dict is read. If you trust "
        'it: import torch; model = torch.load(FILE, weights_only=False); torch.save(model.state_dict(), "new.pth")'
    )


def _build(target: Any, state: Any) -> Any:
    """Gives a parameter its tensor; the state of an OrderedDict says nothing of tensors."""
    if isinstance(target, _Parameter):
        target.tensor = state[0]
    elif not isinstance(target, dict):
        raise ValueError(f"a state for a {type(target).__name__}")
    return target


def tensors(value: Any) -> dict[str, Tensor]:
    """The tensors of a dict by name; none where it holds anything else."""
    items = value.items() if isinstance(value, dict) else ()
    values = {name: item.tensor if isinstance(item, _Parameter) else item for name, item in items}
    return values if all(isinstance(k, str) and isinstance(v, Tensor) for k, v in values.items()) else {}
