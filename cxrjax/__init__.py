"""cxrjax: transfer learning on chest radiographs as pure JAX functions.

Packages are imported when first used, so `import cxrjax` takes no time and works without TensorFlow.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cxrjax.runs.trained import load_run as load_run

__version__ = "0.1.0"

_PACKAGES = ("analysis", "base", "data", "interpret", "metrics", "models", "report", "runs", "storage", "training")
_FUNCTIONS = {"load_run": "runs.trained"}  # function -> its module
__all__ = [*_PACKAGES, *_FUNCTIONS]


def __getattr__(name: str) -> Any:
    if name in _PACKAGES:
        return importlib.import_module(f"cxrjax.{name}")
    if name in _FUNCTIONS:
        return getattr(importlib.import_module(f"cxrjax.{_FUNCTIONS[name]}"), name)
    raise AttributeError(f"module 'cxrjax' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *__all__]
