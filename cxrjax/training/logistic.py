"""L2 logistic regression, its strength chosen by folds of patients: the solver of the linear probe (`probe`).

Features are centred and divided by one number, so that a training image's squared length is 1 on average; the strength
C then means the same for every trunk. Minimised is scikit-learn's C * sum of losses + |w|^2 / 2, the intercept free. A
label is a problem of its own, images that do not know it left out. Of n images and d features the solution lies in the
span of min(n, d) principal axes, where the Hessian at the start is diagonal: in these coordinates, scaled by it, L-BFGS
takes 3 to 20 iterations.
"""

from __future__ import annotations

import logging
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from cxrjax.base import Array
from cxrjax.base.numerics import pinned

log = logging.getLogger(__name__)

STRENGTHS = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0)  # C among which the folds choose
UNCHOSEN = 1.0  # where there are too few patients for folds
FOLDS = 5
_FOLDS = 100  # purpose of `default_rng([seed, purpose])`; those of cohorts and splits begin at 0
_ROWS = 64  # images are filled up to a multiple of it, so that seeds share a program
_FLAT = 1e-6  # axes with less than this share of the largest one's variance are rounding
_TOLERANCE, _ROUGH, _ITERATIONS = 1e-6, 1e-4, 200  # of the gradient's norm, nats: wanted, and told of if above


class Probe(NamedTuple):
    """A linear layer."""

    kernel: np.ndarray  # [d, K] f32
    bias: np.ndarray  # [K] f32
    strength: np.ndarray  # [K] f32, C

    def logits(self, features: np.ndarray) -> np.ndarray:
        """[n, d] -> log odds [n, K]."""
        return np.asarray(features @ self.kernel + self.bias, np.float32)


@pinned()
def fit(features: np.ndarray, labels: np.ndarray, patients: np.ndarray, seed: int) -> Probe:
    """Fits each label by the strength whose log loss over held-out folds is the least.

    Args:
      features: [n, d].
      labels: [n, K], 1, 0 or NaN: unknown.
      patients: [n] str; one patient's images are in one fold.
      seed: of the folds.
    """
    features = np.asarray(features, np.float32)
    centre = features.mean(axis=0)
    centred = features - centre
    length = float(np.sqrt(np.mean(np.sum(centred**2, axis=1)))) or 1.0
    filled = np.zeros((-(-len(features) // _ROWS) * _ROWS, features.shape[1]), np.float32)
    filled[: len(features)] = centred / length
    axes = _principal(filled)
    columns = [_fit_label(axes, label, patients, seed) for label in np.asarray(labels, np.float32).T]
    weights, bias, strength = (np.array(x, np.float32) for x in zip(*columns, strict=True))
    kernel = filled.T @ (np.asarray(axes.coordinates) @ weights.T) / length
    return Probe(kernel, bias - centre @ kernel, strength)


class Axes(NamedTuple):
    """Images [n, d] along their r = min(n, d) principal axes."""

    coordinates: Array  # [n, r]
    variance: Array  # [r], sum of squares along each; 0 of those that are rounding


@jax.jit
def _principal(centred: Array) -> Axes:
    """Principal axes of centred images [n, d], by the smaller of their two Gram matrices."""
    with jax.default_matmul_precision("float32"):
        if centred.shape[0] <= centred.shape[1]:
            variance, vectors = jnp.linalg.eigh(centred @ centred.T)
            coordinates = vectors * jnp.sqrt(jnp.maximum(variance, 0))[None]
        else:
            variance, vectors = jnp.linalg.eigh(centred.T @ centred)
            coordinates = centred @ vectors
        return Axes(coordinates, jnp.where(variance > _FLAT * variance[-1], variance, 0))


def _fit_label(axes: Axes, label: np.ndarray, patients: np.ndarray, seed: int) -> tuple[np.ndarray, float, float]:
    """(weights [r] over images' coordinates: the kernel is their sum of images, bias, strength) of one label [n]."""
    known = ~np.isnan(label)
    counts = [(label == 0).sum(), (label == 1).sum()]
    if 0 in counts:
        return np.zeros(len(axes.variance)), float(np.log((counts[1] + 0.5) / (counts[0] + 0.5))), UNCHOSEN
    fold = np.full(len(axes.coordinates), -1)
    fold[: len(label)][known] = folds(label[known], patients[known], seed)
    filled = np.zeros(len(fold), np.float32)
    filled[: len(label)] = np.nan_to_num(label)
    number = fold.max() + 1
    used = np.stack([(fold >= 0) & (fold != held_out) for held_out in range(FOLDS)] + [fold >= 0])
    weights, bias, logits, norm = map(np.asarray, _solve_all(axes, filled, used.astype(np.float32)))
    if not norm.max() < _ROUGH:
        log.warning("a logistic regression did not converge: gradient of norm %g", norm.max())
    chosen = STRENGTHS.index(UNCHOSEN)
    if number > 1:
        losses = np.logaddexp(0, np.where(filled > 0, -1, 1) * logits[:FOLDS])  # [F, C, n]
        held_out = np.arange(FOLDS)[:, None] == fold
        chosen = int(np.argmin(np.sum(losses, axis=(0, 2), where=held_out[:, None])))
    variance = np.asarray(axes.variance)
    over_images = np.divide(weights[-1, chosen], variance, where=variance > 0, out=np.zeros_like(variance))
    return over_images, float(bias[-1, chosen]), STRENGTHS[chosen]


def folds(label: np.ndarray, patients: np.ndarray, seed: int) -> np.ndarray:
    """Fold of each image, [n] int, so that no patient is in two and the classes are as even as patients allow.

    Patients in random order, those of most images first, go where their classes are rarest yet. There are `FOLDS`, or
    as many as patients of the rarer class; all are in fold 0 if that is one.

    Args:
      label: [n], 0 or 1.
      patients: [n] str.
      seed: of the run.
    """
    names, place = np.unique(patients, return_inverse=True)
    images = np.stack([np.bincount(place, label == c, len(names)) for c in (0, 1)], axis=1)
    number = min(FOLDS, *(images > 0).sum(axis=0))
    if number < 2:
        return np.zeros(len(label), int)
    share = images / images.sum(axis=0)
    order = np.random.default_rng([seed, _FOLDS]).permutation(len(names))
    order = order[np.argsort(-share[order].sum(axis=1), kind="stable")]
    load, fold = np.zeros((number, 2)), np.zeros(len(names), int)
    for patient in order:
        fold[patient] = np.argmin(load @ share[patient])
        load[fold[patient]] += share[patient]
    return fold[place]


@jax.jit
def _solve_all(axes: Axes, label: Array, used: Array) -> tuple[Array, ...]:
    """For each subset of images `used` [F, n] and strength C: see `_solve`, with axes [F, C]."""
    with jax.default_matmul_precision("float32"):
        over_strengths = jax.vmap(_solve, (None, None, None, 0))
        return jax.vmap(over_strengths, (None, None, 0, None))(axes, label, used, jnp.array(STRENGTHS))


def _solve(axes: Axes, label: Array, used: Array, strength: Array) -> tuple[Array, ...]:
    """Weights [r], bias [] and logits [n] of the regression on the images of weight `used` [n]; the gradient's norm."""
    count, variance = jnp.maximum(used.sum(), 1), axes.variance
    # 1 / sqrt of the Hessian's diagonal at p = 1/2; no step along axes that are rounding.
    curvature = variance / (4 * len(label)) + 1 / (strength * count)
    scale = jnp.where(variance > 0, jax.lax.rsqrt(curvature), 0)
    sign = 1 - 2 * label

    def unscaled(scaled: Any) -> tuple[Array, Array]:
        return scale * scaled[0], 2 * scaled[1]

    def objective(scaled: Any) -> Array:
        weights, bias = unscaled(scaled)
        losses = jax.nn.softplus(sign * (axes.coordinates @ weights + bias))
        return (used @ losses + weights @ weights / (2 * strength)) / count

    share = jnp.clip(used @ label / count, 1e-3, 1 - 1e-3)
    start = (jnp.zeros_like(variance), jnp.log(share / (1 - share)) / 2)
    scaled, norm = _minimise(jax.grad(objective), start)
    weights, bias = unscaled(scaled)
    return weights, bias, axes.coordinates @ weights + bias, norm


def _minimise(gradient: Any, start: Any) -> Any:
    """Where a smooth convex function is least, by L-BFGS (Liu & Nocedal 1989); the gradient's norm there.

    Steps are whole: a search along the line would compare values that float32 no longer tells apart.
    """
    optimizer = optax.lbfgs(1.0, linesearch=None)

    def going_on(carry: Any) -> Array:
        _, _, norm, iteration = carry
        return (norm > _TOLERANCE) & (iteration < _ITERATIONS)

    def step(carry: Any) -> Any:
        at, state, _, iteration = carry
        slope = gradient(at)
        updates, state = optimizer.update(slope, state, at)
        return optax.apply_updates(at, updates), state, optax.tree.norm(slope), iteration + 1

    first = (start, optimizer.init(start), jnp.inf, 0)
    at, _, norm, _ = jax.lax.while_loop(going_on, step, first)
    return at, norm
