"""What every package speaks of: arrays, trees of parameters, and mistakes of the user's."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import jax
    import numpy as np

Array: TypeAlias = "jax.Array | np.ndarray"
Params: TypeAlias = "dict[str, dict[str, Array]]"  # layer -> {"kernel", "bias"}


class InputError(ValueError):
    """A mistake in what the user gave (a flag, a file, a folder): one clear line, exit status 2."""
