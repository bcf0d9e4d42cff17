"""Numbers that do not depend on how JAX is configured: settings while our functions run, and keys of either kind."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any, TypeVar, cast

import jax
import jax.numpy as jnp
import numpy as np

from cxrjax.base import Array

F = TypeVar("F", bound=Callable[..., Any])

# What would move draws or dtypes. Of `--jax_default_matmul_precision` and the like a user decides.
_SETTINGS = {
    "enable_x64": False,
    "threefry_partitionable": True,
    "default_prng_impl": "threefry2x32",
    "numpy_dtype_promotion": "standard",
}
_NAN_SETTINGS = {"debug_nans": False, "debug_infs": False}


@contextlib.contextmanager
def settings(x64: bool = False, nan: bool = False) -> Iterator[None]:
    """What runs inside gives the same draws and dtypes whatever the user's settings.

    It holds for this thread alone, and inside of a user's own `jax.jit` while that is traced.

    Args:
      x64: float64 and int64 exist inside: whatever is to be float32 or int32 must say so.
      nan: NaN and infinity are values inside, as of a metric that is undefined, and not what JAX_DEBUG_NANS looks for.
    """
    chosen = _SETTINGS | {"enable_x64": x64} | (_NAN_SETTINGS if nan else {})
    with contextlib.ExitStack() as stack:
        for name, value in chosen.items():
            # Only where it differs: a setting that is made is part of the key by which JAX keeps compiled programs.
            if getattr(jax.config, f"jax_{name}") != value:
                stack.enter_context(getattr(jax, name)(value))
        yield


def pinned(x64: bool = False, nan: bool = False) -> Callable[[F], F]:
    """Decorates a public function with `settings`; unless `x64`, it takes f64 and i64 of JAX's as f32 and i32.

    >>> with jax.enable_x64(True):
    ...     pinned()(jax.numpy.sqrt)(jax.numpy.ones(2)).dtype
    dtype('float32')
    """

    def decorate(function: F) -> F:
        @functools.wraps(function)
        def computed(*args: Any, **options: Any) -> Any:
            wide = jax.config.values["jax_enable_x64"] and not x64
            with settings(x64, nan):
                if wide:
                    args, options = jax.tree.map(_narrow, (args, options))
                return function(*args, **options)

        return cast(F, computed)

    return decorate


def _narrow(leaf: Any) -> Any:
    return leaf.astype(jax.dtypes.canonicalize_dtype(leaf.dtype)) if _is_wide(leaf) else leaf


def _is_wide(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array) and leaf.dtype in (np.float64, np.int64)


@pinned()
def new_key(seed: int | Array) -> jax.Array:
    """The root key of a seed, `jax.random.key` by threefry."""
    key: jax.Array = jax.random.key(seed, impl="threefry2x32")
    return key


def typed_key(key: jax.Array) -> jax.Array:
    """A PRNG key of the new style; of one of the old, [2] u32 (`jax.random.PRNGKey`), the typed key of the same draws.

    Raises:
      ValueError: it is neither, or several.
    """
    dtype = getattr(key, "dtype", None)
    if dtype == np.uint32 and key.shape == (2,):
        wrapped: jax.Array = jax.random.wrap_key_data(jnp.asarray(key), impl="threefry2x32")
        return wrapped
    if dtype is None or not jnp.issubdtype(dtype, jax.dtypes.prng_key) or key.shape:
        raise ValueError(f"key must be one PRNG key, as `jax.random.key(0)` is, got {key!r}")
    return key
