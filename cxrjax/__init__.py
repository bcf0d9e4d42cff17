"""cxrjax: transfer learning on chest radiographs as pure JAX functions.

`from cxrjax import alexnet, augment, dream, ...` or `cxrjax.alexnet`: modules are imported when first used, so
`import cxrjax` takes no time and works without TensorFlow.
"""

from __future__ import annotations

import importlib
from types import ModuleType

__version__ = "0.1.0"

_MODULES = (
    "alexnet",
    "augment",
    "bank",
    "bootstrap",
    "calibration",
    "checkpoint",
    "cohort",
    "convert",
    "datasets",
    "delong",
    "describe",
    "discrimination",
    "dream",
    "evaluate",
    "metrics",
    "network",
    "performance",
    "pipeline",
    "plan",
    "report",
    "roofline",
    "runner",
    "statistics",
    "store",
    "train",
    "trainer",
    "types",
)


def __getattr__(name: str) -> ModuleType:
    if name in _MODULES:
        return importlib.import_module(f"cxrjax.{name}")
    raise AttributeError(f"module 'cxrjax' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *_MODULES]
