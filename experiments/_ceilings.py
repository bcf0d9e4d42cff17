"""What the device reaches on a large matrix product and a large copy, and what a program takes at least.

The roofline (Williams, Waterman & Patterson 2009): no program can be faster than its FLOPs at the speed of a large
matrix product, nor than its bytes at the speed of a large copy.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ._timing import Work, clock

_BEST_OF = 5


class Ceiling(NamedTuple):
    """What the device was measured to reach."""

    flops_per_s: float
    bytes_per_s: float


class Count(NamedTuple):
    """What a program needs."""

    flops: float
    bytes: float

    def plus(self, other: Count) -> Count:
        """Both, one after the other."""
        return Count(self.flops + other.flops, self.bytes + other.bytes)

    def times(self, repetitions: int) -> Count:
        """The same several times."""
        return Count(self.flops * repetitions, self.bytes * repetitions)

    def floor(self, ceiling: Ceiling) -> float:
        """Seconds that it takes at least: the slower of its arithmetic and its traffic."""
        return max(self.flops / ceiling.flops_per_s, self.bytes / ceiling.bytes_per_s)


def measure(side: int, copy_mib: int) -> dict[str, float]:
    """Best of some repeats, since a ceiling is what can be reached.

    Args:
      side: of the square matrices.
      copy_mib: size of the array that is copied.

    Returns:
      FLOP/s of products: `float32` and `bfloat16` at JAX's default precision (TF32 on NVIDIA GPUs since Ampere),
      `float32_highest` without TF32; and `copy`, bytes read and written a second.
    """
    found = {
        "float32": _product(side, jnp.float32, jax.lax.Precision.DEFAULT),
        "bfloat16": _product(side, jnp.bfloat16, jax.lax.Precision.DEFAULT),
    }
    if jax.default_backend() == "gpu":
        found["float32_highest"] = _product(side, jnp.float32, jax.lax.Precision.HIGHEST)
    return {**found, "copy": _copy(copy_mib)}


def _product(side: int, dtype: Any, precision: jax.lax.Precision) -> float:
    keys = jax.random.split(jax.random.key(0))
    a, b = (jax.random.normal(key, (side, side), dtype) for key in keys)
    product = jax.jit(lambda a, b: jnp.matmul(a, b, precision=precision))
    return 2 * side**3 / _best(lambda: product(a, b))


def _copy(mib: int) -> float:
    """An array read and written where it lies.

    A fresh array for the copy would time the operating system on CPU: its pages came at 1 GB/s where this gives 28.
    """
    array = jnp.zeros(mib * 2**18, jnp.float32)
    increment = jax.jit(lambda x: x + 1, donate_argnums=0)

    def run() -> jax.Array:
        nonlocal array
        array = increment(array)
        return array

    return 2 * 4 * array.size / _best(run)


def _best(run: Any) -> float:
    work = Work(run, jax.block_until_ready, 1)
    clock(work)
    return min(clock(work) for _ in range(_BEST_OF))
