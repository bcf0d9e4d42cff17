"""Intervals of any metric of an evaluation, by resampling patients, not images: a patient's images are alike.

A draw of P patients with replacement becomes weights: an image counts as often as its patient was drawn. Scores are
therefore sorted once, not once a draw, and ten runs of 280 images with 2,000 draws take a fraction of a second.

How often the 95 % interval held the true value, in 1,000 simulated sets with 3 images a patient (scores of a patient
correlated by 0.5), P patients of whom a share is positive; slope: of calibration:

    AUROC    P   share  AUROC: percentile  BCa   logit    specificity: BCa  logit    slope: BCa  normal
    0.85     60  0.43          0.948      0.957  0.961                0.953 0.963          0.951 0.968
    0.95    100  0.43          0.936      0.950  0.956                0.952 0.972          0.945 0.965
    0.95     60  0.20          0.869      0.929  0.951                0.956 0.912          0.910 0.979

Hence `Metric.interval`: logit for AUROC, normal for slope and intercept of calibration, BCa for all else. Resampling
images in place of patients covers 0.85. ECE has no interval: chance raises it once more in every draw, and BCa covers
0.7 to 0.8.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from cxrjax.base import Array, threads
from cxrjax.base.numerics import pinned, typed_key
from cxrjax.metrics import arguments, limits, registry
from cxrjax.metrics.cells import GROUPS, condense, left_out_and_drawn, multiplicities
from cxrjax.metrics.limits import Draws
from cxrjax.metrics.resampled_t import Estimate

DRAWS = 2000
_LEAST = (256, 128)  # images and patients that any run is padded to
# Draws x images worked on at once: 1 MB an array, which fits a cache; with 16 MB it takes twice as long.
_ELEMENTS = 2**18

Evaluate: TypeAlias = "Callable[[Array, Array, Array], dict[str, jax.Array]]"  # (label, score, weight) -> name -> []


class Images(NamedTuple):
    """What one run evaluated."""

    label: np.ndarray  # [n], 0 or 1, 1 is positive
    score: np.ndarray  # [n], or [..., n] if the metrics take several scores of the same images; finite
    patient: np.ndarray  # [n], any names


class Difference(NamedTuple):
    """A metric of two scores of the same images, b - a, with its interval; NaN with the code of why."""

    a: float
    b: float
    value: float
    low: float
    high: float
    reason: str


@functools.partial(jax.jit, static_argnums=(0, 4))
def _resample(
    evaluate: Evaluate, images: Images, weight: Array, times: Array, jackknife: bool = True
) -> dict[str, jax.Array]:
    """Each metric [D + P + 1]: of D draws, without each of P patients (`jackknife`), and of the images as they are.

    One program for the three, since the metrics take seconds to compile. As many at once as memory should hold, in
    pieces of one size, the last one filled with repetitions: `lax.map` with `batch_size` would compile once more for
    what is left over.

    Args:
      evaluate: as `registry.compute`, pure JAX.
      images: patient is [N] i32, column of `times`.
      weight: [N], 0 where padded.
      times: [D, P], see `multiplicities`.
      jackknife: False: [D + 1], nobody is left out.
    """
    draws, slots = times.shape
    first = draws if jackknife else draws - slots

    def at(number: jax.Array) -> dict[str, jax.Array]:
        others = jnp.where(jnp.arange(slots) == number - first, 0, 1)  # behind the last patient: all
        counted = jnp.where(number < draws, times[jnp.minimum(number, draws - 1)], others)
        return evaluate(images.label, images.score, weight * counted[images.patient])

    count = first + slots + 1
    pieces = -(-count // max(1, min(count, _ELEMENTS // images.patient.size)))
    size = -(-count // pieces)
    numbers = jnp.minimum(jnp.arange(pieces * size), count - 1).reshape(pieces, size)
    values = jax.lax.map(jax.vmap(at), numbers)
    return {name: value.reshape(-1)[:count] for name, value in values.items()}


@pinned(x64=True, nan=True)
def intervals(
    key: jax.Array,
    evaluate: Evaluate,
    runs: Sequence[Images],
    draws: int = DRAWS,
    level: float = 0.95,
    methods: Mapping[str, str] | None = None,
    cells: int | None = None,
) -> list[dict[str, Estimate]]:
    """Each run's metrics with intervals for other patients like these: name -> `Estimate`, one dict a run.

    They say what other images would give this trained network; what other training would give, `resampled_t.over_runs`.
    A metric over seeds that share a set, or a difference of two networks, is a metric of scores [S, N], e.g.
    `lambda label, score, weight: {"mean": jax.vmap(auroc, (None, 0, None))(label, score, weight).mean()}`.

    Args:
      key: PRNG key; run i draws by it and i, and the same however many runs there are.
      evaluate: e.g. `registry.Evaluation()`; pure JAX, hashable, compiled once for all runs.
      runs: padded to the longest in turn.
      draws: of patients.
      level: share of such intervals that are to hold the true value.
      methods: metric -> one of `limits.METHODS`, bca for all others; None: those of the registered metrics.
      cells: for large sets: draws are of rows of `cells.condense`, and what that moves a metric itself is taken back.
        None: of the images as they are.

    Raises:
      ValueError: a run has no image, a label that is neither 0 nor 1, a score that is not finite, or its patients or
        scores are not one for each label; level is no share.
    """
    arguments.quantile(level)
    runs = [_checked(images) for images in runs]
    if methods is None:
        methods = {name: metric.interval for name, metric in registry.METRICS.items()}
    seed = np.asarray(jax.random.key_data(typed_key(key))).tolist()
    patients = [int(images.patient.max()) + 1 for images in runs]
    rooms = _rooms([len(images.label) for images in runs], patients)
    every = threads.ahead(
        lambda i: _draw(evaluate, runs[i], patients[i], rooms[i], (*seed, i), draws, cells), range(len(runs))
    )
    return [
        {name: limits.estimate(of, methods.get(name, "bca"), level) for name, of in drawn.items()} for drawn in every
    ]


@pinned(x64=True, nan=True)
def differences(
    key: jax.Array,
    evaluate: Evaluate,
    pairs: Sequence[tuple[Images, Images]],
    draws: int = DRAWS,
    level: float = 0.95,
    cells: int | None = None,
    method: str = "bca",
) -> dict[str, Difference]:
    """Each metric of b minus that of a, mean over pairs (a, b), with intervals for other patients like these.

    A draw is of the patients of all pairs, and the same for both sides of each; else as `intervals`. A metric that
    resampling itself moves has no interval.

    Args:
      key, evaluate, draws, level, cells: see `intervals`.
      pairs: two scores of the same images each, such as one a seed.
      method: one of `limits.METHODS`; where few images differ, which leaves BCa without ends, normal.

    Raises:
      ValueError: see `intervals`.
    """
    arguments.quantile(level)
    sides = [_checked(images) for pair in pairs for images in pair]
    names = arguments.patients(np.concatenate([images.patient for pair in pairs for images in pair]))
    numbers = np.split(names, np.cumsum([len(images.label) for images in sides])[:-1])
    patients, seed = int(names.max()) + 1, np.asarray(jax.random.key_data(typed_key(key))).tolist()
    rooms = _rooms([len(images.label) for images in sides], [patients] * len(sides))
    drawn, done = [], dict[int, dict[str, Draws]]()  # what stands beside several others is drawn once
    given = [images for pair in pairs for images in pair]
    for same, images, number, room in zip(map(id, given), sides, numbers, rooms, strict=True):
        if same not in done:
            done[same] = _draw(evaluate, images._replace(patient=number), patients, room, (*seed, 0), draws, cells)
        drawn.append(done[same])
    return {
        name: _difference(name, [of[name] for of in drawn[::2]], [of[name] for of in drawn[1::2]], level, method)
        for name in drawn[0]
    }


def _difference(name: str, first: Sequence[Draws], second: Sequence[Draws], level: float, method: str) -> Difference:
    """Of the means over pairs."""
    a, b = (Draws(*(np.mean(part, axis=0) for part in zip(*side, strict=True))) for side in (first, second))
    both = Draws(b.value - a.value, b.replicates - a.replicates, b.jackknife - a.jackknife)
    moved = name in registry.METRICS and registry.METRICS[name].interval == "none"
    return Difference(float(a.value), float(b.value), *limits.estimate(both, "none" if moved else method, level))


@pinned(x64=True, nan=True)
def _draw(
    evaluate: Evaluate,
    images: Images,
    patients: int,
    room: tuple[int, int],
    seed: tuple[int, ...],
    draws: int,
    cells: int | None,
) -> dict[str, Draws]:
    """Every metric of one run and of its draws; of many images by cells."""
    drawn = _of_images(evaluate, images, patients, room, seed, 0 if cells else draws)
    return _of_cells(evaluate, images, patients, cells, seed, draws, drawn) if cells else drawn


def _of_images(
    evaluate: Evaluate, images: Images, patients: int, room: tuple[int, int], seed: tuple[int, ...], draws: int
) -> dict[str, Draws]:
    """Every metric, in draws of patients and without each of them; of no draws the metric alone."""
    if not draws:  # nobody is told apart, so that the number of patients asks for no program of its own
        patients, room, images = 1, (room[0], 1), images._replace(patient=np.zeros(len(images.label), int))
    padded, weight = _pad(images, room[0])
    times = np.zeros((max(draws, 1), room[1]), np.int32)
    times[:, :patients] = multiplicities(np.random.default_rng(seed), patients, draws) if draws else 1
    values = jax.device_get(_resample(evaluate, padded, weight, times, bool(draws)))
    return {
        name: Draws(float(value[-1]), *np.split(np.asarray(value[: draws + patients], float), [draws]))
        for name, value in values.items()
    }


def _of_cells(
    evaluate: Evaluate,
    images: Images,
    patients: int,
    cells: int,
    seed: tuple[int, ...],
    draws: int,
    whole: dict[str, Draws],
) -> dict[str, Draws]:
    """The same of a large set; `whole` has the metrics of the images themselves."""
    rows = condense(images.label, images.score, images.patient, cells, patients)
    times = (rows.images @ left_out_and_drawn(seed, rows.images.shape[1], draws)).T
    width = _room(2 * cells, _LEAST[0]) if len(rows.label) <= 2 * cells else _room(len(rows.label), _LEAST[0])
    columns = len(rows.label)
    padded, weight = _pad(Images(rows.label, rows.score, np.arange(columns)), width)
    # As many rows for few patients, the last one repeated: another number would be another program.
    room = np.pad(times, [(0, draws + GROUPS + 1 - len(times)), (0, 0)], "edge")
    drawn = jax.device_get(_resample(evaluate, padded, weight, np.pad(room, [(0, 0), (0, width - columns)]), False))
    values = {name: np.asarray(value[: len(times)], float) for name, value in drawn.items()}
    shifted = {name: value + (whole[name].value - value[-1]) for name, value in values.items()}
    return {name: Draws(whole[name].value, value[:draws], value[draws:-1]) for name, value in shifted.items()}


def _rooms(images: Sequence[int], patients: Sequence[int]) -> list[tuple[int, int]]:
    """Images and patients that each run of so many is padded to: as the largest needs, an eighth of it, a 64th, ...

    A shape costs seconds to compile, padding time to compute; so small runs beside a large one get a program of their
    own only where it is much the smaller.
    """
    width, slots = _room(max(images), _LEAST[0]), _room(max(patients), _LEAST[1])
    rooms = []
    for n, number in zip(images, patients, strict=True):
        part = 1
        while width // (8 * part) >= max(n, _LEAST[0]) and max(slots // (8 * part), _LEAST[1]) >= number:
            part *= 8
        rooms.append((width // part, max(slots // part, _LEAST[1])))
    return rooms


def _room(count: int, least: int) -> int:
    """`count` or up to a quarter more, at least `least`: sets of like size, hence shape, share one compiled program."""
    if count <= least:
        return least
    step = 1 << ((count - 1).bit_length() - 3)
    return -(-count // step) * step


def _pad(images: Images, width: int) -> tuple[Images, np.ndarray]:
    """Images of `width`, and their weights."""
    n = len(images.label)
    tail = (0, width - n)
    padded = Images(
        np.pad(images.label, tail),
        np.pad(images.score, [(0, 0)] * (images.score.ndim - 1) + [tail]),
        np.pad(images.patient.astype(np.int32), tail),
    )
    return padded, (np.arange(width) < n).astype(np.float32)


def _checked(images: Images) -> Images:
    """As arrays, and a number for each patient."""
    n = len(images.label)
    if not n:
        raise ValueError("label must hold an image, got none")
    if np.shape(images.patient) != (n,) or np.shape(images.score)[-1:] != (n,):
        raise ValueError(
            f"patient and score must have one entry for each of {n} labels, got shapes {np.shape(images.patient)} and "
            f"{np.shape(images.score)}"
        )
    score = arguments.scores(images.score, probabilities=False)
    return Images(arguments.labels(images.label), score, arguments.patients(images.patient))
