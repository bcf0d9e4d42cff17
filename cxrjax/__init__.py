"""cxrjax: transfer learning on chest radiographs as pure JAX functions.

`__all__` is the public API: ten packages, whose docstrings say what is public in them, and what is used most. All is
imported when first used, modules of packages too: after `import cxrjax`, `cxrjax.metrics.bootstrap` is there as it is
by `from cxrjax.metrics import bootstrap`. So `import cxrjax` takes no time and needs no TensorFlow.
"""

from __future__ import annotations

import importlib
import importlib.util
from typing import TYPE_CHECKING, Any

from cxrjax.base import __version__ as __version__

if TYPE_CHECKING:
    from cxrjax.base import InputError as InputError
    from cxrjax.runs.trained import load_run as load_run

_PACKAGES = ("analysis", "base", "data", "interpret", "metrics", "models", "report", "runs", "storage", "training")
_FROM = {"InputError": "base", "load_run": "runs.trained"}  # name -> its module
__all__ = [*_PACKAGES, *_FROM]


def __getattr__(name: str) -> Any:
    if name in _PACKAGES:
        return importlib.import_module(f"cxrjax.{name}")
    if name in _FROM:
        return getattr(importlib.import_module(f"cxrjax.{_FROM[name]}"), name)
    raise AttributeError(f"module 'cxrjax' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *__all__]


def _command() -> None:
    """The command `cxrjax`. The programs are `cxrjax.experiments`; in an editable installation, `experiments`."""
    package = "cxrjax.experiments" if importlib.util.find_spec("cxrjax.experiments") else "experiments"
    importlib.import_module(f"{package}.__main__").main()
