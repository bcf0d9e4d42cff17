"""The ground: what everything else may import; no jax but in `devices` and `numerics`.

Public: `InputError` (whose messages end with `did_you_mean`), `Array`, `Params`, `Variables`, `config`
(`ExperimentConfig`), `flags`, `recipes`, `tasks`, `codes` (reasons, with values), `threads`, `files`, `progress` (of
long work), `faults` (of the machine), `devices`, `numerics` (JAX's settings and keys).
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    import jax
    import numpy as np

__version__ = "0.1.0"  # of cxrjax; here, where every package may read it, installed or not

Array: TypeAlias = "jax.Array | np.ndarray"
Params: TypeAlias = "dict[str, Any]"  # stage -> {"kernel", "bias"}, or a tree of such
Variables: TypeAlias = "dict[str, Params]"  # Flax collections: "params", and "batch_stats" where there is BatchNorm


class InputError(ValueError):
    """A mistake in what the user gave (a flag, a file, a folder): one clear line, exit status 2."""


def did_you_mean(word: str, names: Iterable[str], before: str = "") -> str:
    """The end of a message about an unknown name: the nearest that there is, `before` it, or "" if none is near.

    >>> did_you_mean("resnet81", ["alexnet", "resnet18"]), did_you_mean("lenet5", ["vgg16"])
    ('; did you mean resnet18?', '')
    """
    import difflib

    near = difflib.get_close_matches(word.lower(), list(names), 1)
    return f"; did you mean {before}{near[0]}?" if near else ""


def lazy_modules(package: str) -> None:
    """Makes the modules of a package its attributes, imported when first used; called by the package itself."""

    def module(name: str) -> Any:
        if name.startswith("_") or importlib.util.find_spec(f"{package}.{name}") is None:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return importlib.import_module(f"{package}.{name}")

    vars(sys.modules[package])["__getattr__"] = module


lazy_modules(__name__)
