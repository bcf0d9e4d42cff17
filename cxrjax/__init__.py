"""cxrjax: transfer learning on chest radiographs as pure JAX functions.

`from cxrjax import alexnet, augment, dream, ...` or `cxrjax.alexnet`: modules are imported when first used, so
`import cxrjax` takes no time and works without TensorFlow. `from cxrjax import load_run` is `trained.load_run`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cxrjax.trained import load_run as load_run

__version__ = "0.1.0"

_MODULES = (
    "alexnet",
    "analysis",
    "arms",
    "augment",
    "bank",
    "bootstrap",
    "calibration",
    "cam",
    "checkpoint",
    "cohort",
    "convert",
    "datasets",
    "delong",
    "describe",
    "discrimination",
    "dream",
    "dream_fourier",
    "evaluate",
    "inspection",
    "metrics",
    "network",
    "objectives",
    "performance",
    "pipeline",
    "plan",
    "predict",
    "reporting",
    "roofline",
    "runner",
    "saliency",
    "statistics",
    "store",
    "summary",
    "sweeps",
    "train",
    "trained",
    "trainer",
    "types",
)
_FUNCTIONS = {"load_run": "trained"}  # function -> its module


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"cxrjax.{name}")
    if name in _FUNCTIONS:
        return getattr(importlib.import_module(f"cxrjax.{_FUNCTIONS[name]}"), name)
    raise AttributeError(f"module 'cxrjax' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *_MODULES, *_FUNCTIONS]
