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
import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from scipy import special, stats

from cxrjax.base import Array
from cxrjax.base.codes import code
from cxrjax.base.numerics import pinned, typed_key
from cxrjax.metrics import arguments, registry
from cxrjax.metrics.cells import condense, left_out_and_drawn, multiplicities
from cxrjax.metrics.resampled_t import Estimate

DRAWS = 2000
_LIMIT = 0.05  # share of draws beyond which no interval is given; AUROC 0.99: 0.6 coverage where 5 to 10 % are at 1
_LEAST = (256, 128)  # images and patients that any run is padded to
# Draws x images worked on at once: 1 MB an array, which fits a cache; with 16 MB it takes twice as long.
_ELEMENTS = 2**18

Evaluate: TypeAlias = "Callable[[Array, Array, Array], dict[str, jax.Array]]"  # (label, score, weight) -> name -> []


class Images(NamedTuple):
    """What one run evaluated."""

    label: np.ndarray  # [n], 0 or 1, 1 is positive
    score: np.ndarray  # [n], or [..., n] if the metrics take several scores of the same images; finite
    patient: np.ndarray  # [n], any names


class Draws(NamedTuple):
    """A metric of one run, with others' images."""

    value: float  # of the images as they are
    replicates: np.ndarray  # [D] of each draw of patients
    jackknife: np.ndarray  # [P] without each patient


Limits: TypeAlias = "tuple[float, float, str]"  # low, high, and the code of why they are NaN


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


def logit_normal(draws: Draws, level: float) -> Limits:
    """expit(logit(value) ± z sd(logit(replicates))), for shares that hardly reach 0 or 1."""
    if not 0 < draws.value < 1:
        return math.nan, math.nan, code("end_of_range", value=f"{draws.value:g}")
    inside = draws.replicates[(draws.replicates > 0) & (draws.replicates < 1)]
    if reason := _obstacle(draws.replicates, inside, "extreme_in_draws"):
        return math.nan, math.nan, reason
    half = float(stats.norm.ppf((1 + level) / 2)) * special.logit(inside).std(ddof=1)
    low, high = special.expit(special.logit(draws.value) + np.array([-half, half]))
    return float(low), float(high), ""


def normal(draws: Draws, level: float) -> Limits:
    """value ± z sd(replicates), for metrics without bounds."""
    defined = draws.replicates[np.isfinite(draws.replicates)]
    if reason := _obstacle(draws.replicates, defined, "undefined_in_draws"):
        return math.nan, math.nan, reason
    half = float(stats.norm.ppf((1 + level) / 2) * defined.std(ddof=1))
    return draws.value - half, draws.value + half, ""


def bca(draws: Draws, level: float) -> Limits:
    """Bias-corrected and accelerated quantiles of the replicates (Efron 1987, JASA 82), whatever the metric's range.

    Half of the replicates equal to the value count as below it. Student's t for the few patients, as in the expanded
    percentile interval (Hesterberg 2015, American Statistician 69).
    """
    defined = np.sort(draws.replicates[np.isfinite(draws.replicates)])
    if reason := _obstacle(draws.replicates, defined, "undefined_in_draws"):
        return math.nan, math.nan, reason
    influence = draws.jackknife.mean() - draws.jackknife
    if not np.isfinite(influence).all():
        return math.nan, math.nan, code("undefined_without_a_patient")
    spread = float(np.sum(influence**2))
    if spread <= 1e-12:  # float32's rounding, squared
        return math.nan, math.nan, code("same_without_any_patient")
    acceleration = float(np.sum(influence**3)) / (6 * spread**1.5)
    below = float((defined < draws.value).mean() + (defined <= draws.value).mean()) / 2
    skewed = code("too_skewed", share=f"{1 - below:.4g}")
    if below in (0.0, 1.0):
        return math.nan, math.nan, skewed
    patients = len(influence)
    z = math.sqrt(patients / (patients - 1)) * float(stats.t.ppf((1 + level) / 2, patients - 1))
    shifted = float(stats.norm.ppf(below)) + np.array([-z, z])
    at = stats.norm.cdf(stats.norm.ppf(below) + shifted / (1 - acceleration * shifted))
    # An end beyond the draws is not known from them; the pole of the correction lies further out still.
    if not (1 / len(defined) <= at[0] < at[1] <= 1 - 1 / len(defined)):
        return math.nan, math.nan, skewed
    low, high = np.quantile(defined, at)
    return float(low), float(high), ""


def no_interval(draws: Draws, level: float) -> Limits:
    """No interval: resampling itself moves the metric."""
    return math.nan, math.nan, code("raised_by_resampling")


def _obstacle(replicates: np.ndarray, used: np.ndarray, otherwise: str) -> str:
    share = 1 - len(used) / len(replicates)
    if share > _LIMIT:
        return code(otherwise, share=f"{share:.4g}")
    return code("same_in_every_draw") if np.ptp(used) <= 1e-6 else ""  # float32's rounding


METHODS: Mapping[str, Callable[[Draws, float], Limits]] = {  # of `Metric.interval`
    "bca": bca,
    "logit": logit_normal,
    "normal": normal,
    "none": no_interval,
}


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
      methods: metric -> one of `METHODS`, bca for all others; None: those of the registered metrics.
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
    estimates = []
    for i, (values, (width, slots)) in enumerate(zip(runs, _rooms(runs), strict=True)):
        drawn = _of_images(evaluate, values, (width, slots), (*seed, i), 0 if cells else draws)
        if cells:
            drawn = _of_cells(evaluate, values, cells, (*seed, i), draws, drawn)
        estimates.append({name: _estimate(of, methods.get(name, "bca"), level) for name, of in drawn.items()})
    return estimates


def _of_images(
    evaluate: Evaluate, images: Images, room: tuple[int, int], seed: tuple[int, ...], draws: int
) -> dict[str, Draws]:
    """Every metric, in draws of patients and without each of them; of no draws the metric alone."""
    padded, weight, patients = _pad(images, room[0])
    times = np.zeros((max(draws, 1), room[1]), np.int32)
    times[:, :patients] = multiplicities(np.random.default_rng(seed), patients, draws) if draws else 1
    values = jax.device_get(_resample(evaluate, padded, weight, times, bool(draws)))
    return {
        name: Draws(float(value[-1]), *np.split(np.asarray(value[: draws + patients], float), [draws]))
        for name, value in values.items()
    }


def _of_cells(
    evaluate: Evaluate, images: Images, cells: int, seed: tuple[int, ...], draws: int, whole: dict[str, Draws]
) -> dict[str, Draws]:
    """The same of a large set; `whole` has the metrics of the images themselves."""
    rows = condense(images.label, images.score, images.patient, cells)
    times = (rows.images @ left_out_and_drawn(seed, rows.images.shape[1], draws)).T
    width = _room(2 * cells, _LEAST[0]) if len(rows.label) <= 2 * cells else _room(len(rows.label), _LEAST[0])
    padded, weight, columns = _pad(Images(rows.label, rows.score, np.arange(len(rows.label))), width)
    values = jax.device_get(_resample(evaluate, padded, weight, np.pad(times, [(0, 0), (0, width - columns)]), False))
    shifted = {name: np.asarray(value[:-1], float) + (whole[name].value - value[-2]) for name, value in values.items()}
    return {name: Draws(whole[name].value, value[:draws], value[draws:-1]) for name, value in shifted.items()}


def _rooms(runs: Sequence[Images]) -> list[tuple[int, int]]:
    """Images and patients that each run is padded to: as the largest needs, or an eighth of it, or a 64th, ...

    A shape costs seconds to compile, padding time to compute; so small runs beside a large one get a program of their
    own only where it is much the smaller.
    """
    sizes = [(len(images.label), len(np.unique(images.patient))) for images in runs]
    width, slots = (_room(max(size), least) for size, least in zip(zip(*sizes, strict=True), _LEAST, strict=True))
    rooms = []
    for n, patients in sizes:
        part = 1
        while width // (8 * part) >= max(n, _LEAST[0]) and max(slots // (8 * part), _LEAST[1]) >= patients:
            part *= 8
        rooms.append((width // part, max(slots // part, _LEAST[1])))
    return rooms


def _room(count: int, least: int) -> int:
    """`count` or up to a quarter more, at least `least`: sets of like size, hence shape, share one compiled program."""
    if count <= least:
        return least
    step = 1 << ((count - 1).bit_length() - 3)
    return -(-count // step) * step


def _estimate(draws: Draws, method: str, level: float) -> Estimate:
    if math.isnan(draws.value):
        return Estimate(math.nan, math.nan, math.nan, code("undefined"))
    if len(draws.jackknife) < 2:
        return Estimate(draws.value, math.nan, math.nan, code("one_patient"))
    return Estimate(draws.value, *METHODS[method](draws, level))


def _pad(images: Images, width: int) -> tuple[Images, np.ndarray, int]:
    """Images of `width`, their weights and how many patients they are of."""
    n = len(images.label)
    tail = (0, width - n)
    padded = Images(
        np.pad(images.label, tail),
        np.pad(images.score, [(0, 0)] * (images.score.ndim - 1) + [tail]),
        np.pad(images.patient.astype(np.int32), tail),
    )
    return padded, (np.arange(width) < n).astype(np.float32), int(images.patient.max()) + 1


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
