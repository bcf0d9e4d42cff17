"""What metrics take: lists, arrays of NumPy or JAX, and pandas Series whatever their index; else one clear error."""

from __future__ import annotations

import functools
import logging
import numbers
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from cxrjax.base.numerics import pinned, settings

log = logging.getLogger(__name__)

P = ParamSpec("P")
R = TypeVar("R")

pinned_metric = pinned(nan=True)
"""Decorates a metric in f32: its value does not depend on JAX's configuration."""
_MISSING = ("nan", "None", "<NA>", "NaT")  # as text: what pandas makes of an empty field, or of one that says NA


def pinned_rank(function: Callable[P, R]) -> Callable[P, R]:
    """Decorates a metric in f64, which is given as f32 unless the caller has x64 on: elsewhere f64 is no type of JAX's.

    A sum of ranks over 100,000 images is wrong in the sixth digit in f32, and close scores are ties.
    """

    @functools.wraps(function)
    def computed(*args: P.args, **options: P.kwargs) -> R:
        dtype = np.float64 if jax.config.values["jax_enable_x64"] else np.float32
        if jax.config.values["jax_disable_jit"]:
            # Without jit `jax.vmap` hands on NumPy's float64 under the name of float32; a copy is what it says.
            args = jax.tree.map(lambda x: jnp.array(x) if is_traced(x) else x, args)
        with settings(x64=True, nan=True):
            value = function(*args, **options)
            return jax.tree.map(lambda x: x.astype(dtype) if x.dtype == np.float64 else x, value)

    return computed


def checked(label: Any, score: Any, weight: Any, probabilities: bool = True) -> tuple[Any, Any, Any]:
    """The three [N] as arrays, the score in the precision that it has; what is traced passes as it is.

    Raises:
      ValueError: their shapes differ, a weight is negative or not finite, or of an image that counts the label is
        neither 0 nor 1, or the score not finite or, of `probabilities`, outside 0..1.
    """
    shapes = [np.shape(array) for array in (label, score, weight)]
    if len(set(shapes)) > 1:
        raise ValueError("label, score and weight must be of one shape, got {}, {} and {}".format(*shapes))
    if is_traced(weight):
        return label, score, weight  # which images count is not known
    weight = weights(weight)
    counts = weight > 0
    label = label if is_traced(label) else labels(label, counts)
    return label, score if is_traced(score) else scores(score, counts, probabilities), weight


def is_traced(array: Any) -> bool:
    """Whether it stands for an array, as inside `jax.jit`, and has no values yet."""
    return isinstance(array, jax.core.Tracer)


def labels(label: Any, counts: Any = True) -> np.ndarray:
    """[n] i32, 0 or 1; bool and 0.0 or 1.0 are fine.

    Args:
      label: as given.
      counts: [n] bool, False: padding, whose label is not looked at.

    Raises:
      ValueError: one that counts is something else, with how many are.
    """
    values = _numbers("label", "be 0 or 1", label)
    wrong = ~np.isin(values, (0, 1)) & counts
    if wrong.any():
        told = ", ".join(f"{value:g}" for value in np.unique(values[wrong])[:3])
        raise ValueError(f"label must be 0 or 1, got {told} in {wrong.sum()} of {wrong.size} images")
    return np.where(counts, values, 0).astype(np.int32)


def scores(score: Any, counts: Any = True, probabilities: bool = True) -> np.ndarray:
    """[..., n] f32 or, if they are given in more digits, f64.

    Args:
      score: as given.
      counts: [n] bool, False: padding, whose score is not looked at.
      probabilities: they must lie in 0..1; False: only their order counts.

    Raises:
      ValueError: one that counts does not.
    """
    values = _numbers("score", "be a number", score)
    rule = "lie in 0..1" if probabilities else "be finite"
    fitting = (values >= 0) & (values <= 1) if probabilities else np.isfinite(values)
    wrong = ~fitting & counts
    if wrong.any():
        raise ValueError(f"score must {rule}, got {values[wrong][0]} in {wrong.sum()} of {wrong.size} images")
    return values.astype(np.float32 if values.dtype in (np.float32, np.float16) else np.float64)


def weights(weight: Any) -> np.ndarray:
    """[n] f32, finite and not negative.

    Raises:
      ValueError: one is not.
    """
    values = _numbers("weight", "be a number", weight)
    wrong = ~(np.isfinite(values) & (values >= 0))
    if wrong.any():
        raise ValueError(f"weight must be finite and not negative, got {values[wrong][0]}")
    return values.astype(np.float32)


def number(name: str, value: Any) -> Any:
    """[] or [N] f32, of a threshold or prevalence; what is traced passes as it is.

    Raises:
      ValueError: it is NaN, or no number.
    """
    if is_traced(value):
        return value
    values = np.asarray(_numbers(name, "be a number", value), np.float32)
    if np.isnan(values).any():
        raise ValueError(f"{name} must be a number, got nan")
    return values


def patients(patient: Any) -> np.ndarray:
    """[n] i64, equal for equal patients, from any names: numbers, text, or both, where 12 and "12" are one.

    Missing ones are one patient, which is logged: `pandas.read_csv` takes a patient called NA for missing unless it is
    told `keep_default_na=False`.
    """
    names = np.asarray(patient)
    if names.dtype.kind == "U" and not isinstance(patient, np.ndarray):
        names = np.array([*patient], object)  # NumPy has made text of numbers and missing ones
    if names.dtype.kind == "f":
        missing = int(np.isnan(names).sum())
    elif names.dtype.kind in "biuSU":
        missing = 0
    else:
        values = names.tolist()
        missing = sum(not isinstance(value, str) and str(value) in _MISSING for value in values)
        # Beside a missing one pandas makes floats of whole numbers.
        names = np.array([f"{value:.0f}" if _is_whole(value) else str(value) for value in values])
    if missing:
        log.warning(
            "patient is missing in %d of %d images, which are taken as one patient's; a patient called NA is kept by "
            "pandas.read_csv(..., keep_default_na=False)",
            missing,
            names.size,
        )
    return np.unique(names, return_inverse=True)[1]


def _is_whole(value: Any) -> bool:
    return isinstance(value, float) and value.is_integer()


def quantile(level: float) -> float:
    """Where a two-sided interval of that level ends, (1 + level) / 2.

    Raises:
      ValueError: it is no share between 0 and 1.
    """
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, got {level}")
    return (1 + level) / 2


def same_length(**lengths: int) -> None:
    """Raises a ValueError if these, by the argument's name, differ."""
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise ValueError(f"all arguments must have one entry for each image, got {told}")


def _numbers(name: str, rule: str, given: Any) -> np.ndarray:
    """As an array of numbers or bool; `rule` is what an entry must do."""
    values = np.asarray(given)
    if values.dtype.kind in "biuf":
        return values
    wrong = [value for value in values.ravel().tolist() if not isinstance(value, (numbers.Real, np.bool_))]
    if wrong:
        raise ValueError(f"{name} must {rule}, got {wrong[0]!r}")
    return values.astype(float)  # bfloat16, and columns that can be missing
