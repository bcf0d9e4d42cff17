"""Intervals of any figure of an evaluation, by resampling patients, not images: a patient's images are alike.

A draw of P patients with replacement becomes weights: an image counts as often as its patient was drawn. Scores are
therefore sorted once, not once a draw, and ten runs of 280 images with 2,000 draws take a fraction of a second.

How often the 95 % interval held the true value, in 1,000 simulated sets with 3 images a patient (scores of a patient
correlated by 0.5), P patients of whom a share is positive; slope: of calibration:

    AUROC    P   share  AUROC: percentile  BCa   logit    specificity: BCa  logit    slope: BCa  normal
    0.85     60  0.43          0.948      0.957  0.961                0.953 0.963          0.951 0.968
    0.95    100  0.43          0.936      0.950  0.956                0.952 0.972          0.945 0.965
    0.95     60  0.20          0.869      0.929  0.951                0.956 0.912          0.910 0.979

Hence `METHODS`: logit for AUROC, normal for slope and intercept of calibration, BCa for all else. Resampling images in
place of patients covers 0.85. ECE has no interval: chance raises it once more in every draw, and BCa covers 0.7 to 0.8.
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from scipy import special, stats

from cxrjax.base.types import Array
from cxrjax.metrics.resampled_t import Estimate

DRAWS = 2000
_LIMIT = 0.05  # share of draws beyond which no interval is given; AUROC 0.99: 0.6 coverage where 5 to 10 % are at 1
_LEAST = (256, 128)  # images and patients that any run is padded to
_ELEMENTS = (
    2**18
)  # draws x images worked on at once: 1 MB an array, which fits a cache; with 16 MB it takes twice as long

Figures: TypeAlias = "Callable[[Array, Array, Array], dict[str, jax.Array]]"  # (label, score, weight) -> name -> []


class Images(NamedTuple):
    """What one run evaluated."""

    label: np.ndarray  # [n], 1 is pneumonia
    score: np.ndarray  # [n], or [..., n] if the figures take several scores of the same images
    patient: np.ndarray  # [n], any names


class Draws(NamedTuple):
    """A figure of one run, with others' images."""

    value: float  # of the images as they are
    replicates: np.ndarray  # [D] of each draw of patients
    jackknife: np.ndarray  # [P] without each patient


Limits: TypeAlias = "tuple[float, float, str]"  # low, high, and why they are NaN
Method: TypeAlias = "Callable[[Draws, float], Limits]"  # draws, level -> limits


def multiplicities(rng: np.random.Generator, patients: int, draws: int) -> np.ndarray:
    """How often each patient is drawn, [draws, patients] i32, rows of sum `patients`; further draws change no former.

    By NumPy: a JAX program with random numbers inside compiles for almost a second more.
    """
    rows = np.arange(draws)[:, None] * patients
    drawn = rng.integers(0, patients, (draws, patients)) + rows
    return np.bincount(drawn.ravel(), minlength=draws * patients).reshape(draws, patients).astype(np.int32)


def replicates(
    figures: Figures, label: Array, score: Array, weight: Array, patient: Array, times: Array
) -> dict[str, jax.Array]:
    """The figures with every image counted as often as its patient: name -> [D].

    Args:
      figures: as `registry.compute`, pure JAX.
      label: [N].
      score: [N], or what `figures` takes.
      weight: [N], 0 where padded.
      patient: [N] i32, column of `times`.
      times: [D, P], see `multiplicities`.
    """

    def one(times: jax.Array) -> dict[str, jax.Array]:
        return figures(label, score, weight * times[patient])

    return _map(one, jnp.asarray(times), patient.size)


def jackknife(
    figures: Figures, label: Array, score: Array, weight: Array, patient: Array, slots: int
) -> dict[str, jax.Array]:
    """The figures without each of the patients 0..slots-1: name -> [slots]. Arguments as `replicates`."""

    def one(left_out: jax.Array) -> dict[str, jax.Array]:
        return figures(label, score, jnp.where(patient == left_out, 0.0, weight))

    return _map(one, jnp.arange(slots), patient.size)


def _map(one: Callable[[jax.Array], dict[str, jax.Array]], over: jax.Array, images: int) -> dict[str, jax.Array]:
    """`one` of each entry, as many at once as memory should hold.

    All pieces are of one size, the last one filled with repetitions: `lax.map` with `batch_size` would compile `one`
    once more for what is left over.
    """
    pieces = -(-len(over) // max(1, min(len(over), _ELEMENTS // images)))
    size = -(-len(over) // pieces)
    at = jnp.minimum(jnp.arange(pieces * size), len(over) - 1).reshape(pieces, size)
    found = jax.lax.map(lambda rows: jax.vmap(one)(over[rows]), at)
    return {name: values.reshape(-1)[: len(over)] for name, values in found.items()}


@functools.partial(jax.jit, static_argnums=0)
def _resample(
    figures: Figures, images: Images, weight: Array, times: Array
) -> tuple[dict[str, jax.Array], dict[str, jax.Array], dict[str, jax.Array]]:
    """The figures of the images as they are [], `replicates` [D] and `jackknife` [P].

    One program for the three, since the figures take seconds to compile.
    """
    draws, slots = times.shape

    def one(number: jax.Array) -> dict[str, jax.Array]:
        others = jnp.where(jnp.arange(slots) == number - draws, 0, 1)  # behind the last patient: all
        return figures(
            images.label,
            images.score,
            weight * jnp.where(number < draws, times[jnp.minimum(number, draws - 1)], others)[images.patient],
        )

    found = _map(one, jnp.arange(draws + slots + 1), images.patient.size)
    parts = (operator.itemgetter(-1), operator.itemgetter(slice(draws)), operator.itemgetter(slice(draws, -1)))
    value, drawn, without = (jax.tree.map(part, found) for part in parts)
    return value, drawn, without


def logit_normal(draws: Draws, level: float) -> Limits:
    """expit(logit(value) ± z sd(logit(replicates))), for shares that hardly reach 0 or 1."""
    if not 0 < draws.value < 1:
        return math.nan, math.nan, f"the figure is {draws.value:g}, at the end of its range"
    inside = draws.replicates[(draws.replicates > 0) & (draws.replicates < 1)]
    if reason := _obstacle(draws.replicates, inside, "0, 1 or undefined"):
        return math.nan, math.nan, reason
    half = float(stats.norm.ppf((1 + level) / 2)) * special.logit(inside).std(ddof=1)
    low, high = special.expit(special.logit(draws.value) + np.array([-half, half]))
    return float(low), float(high), ""


def normal(draws: Draws, level: float) -> Limits:
    """value ± z sd(replicates), for figures without bounds."""
    defined = draws.replicates[np.isfinite(draws.replicates)]
    if reason := _obstacle(draws.replicates, defined, "undefined"):
        return math.nan, math.nan, reason
    half = float(stats.norm.ppf((1 + level) / 2) * defined.std(ddof=1))
    return draws.value - half, draws.value + half, ""


def bca(draws: Draws, level: float) -> Limits:
    """Bias-corrected and accelerated quantiles of the replicates (Efron 1987, JASA 82), whatever the figure's range.

    Half of the replicates equal to the value count as below it. Student's t for the few patients, as in the expanded
    percentile interval (Hesterberg 2015, American Statistician 69).
    """
    defined = np.sort(draws.replicates[np.isfinite(draws.replicates)])
    if reason := _obstacle(draws.replicates, defined, "undefined"):
        return math.nan, math.nan, reason
    influence = draws.jackknife.mean() - draws.jackknife
    if not np.isfinite(influence).all():
        return math.nan, math.nan, "the figure is undefined without one of the patients"
    spread = float(np.sum(influence**2))
    if spread <= 1e-12:  # float32's rounding, squared
        return math.nan, math.nan, "the figure is the same without any of the patients"
    acceleration = float(np.sum(influence**3)) / (6 * spread**1.5)
    below = float((defined < draws.value).mean() + (defined <= draws.value).mean()) / 2
    skewed = f"{100 * (1 - below):.0f} % of the draws exceed the figure: too skewed for BCa"
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


def none(draws: Draws, level: float) -> Limits:
    """No interval: resampling itself moves the figure."""
    return math.nan, math.nan, "resampling raises the figure itself, so its draws bound nothing"


def _obstacle(replicates: np.ndarray, used: np.ndarray, otherwise: str) -> str:
    share = 1 - len(used) / len(replicates)
    if share > _LIMIT:
        return f"the figure is {otherwise} in {100 * share:.0f} % of the draws"
    return "the figure is the same in every draw" if np.ptp(used) <= 1e-6 else ""  # float32's rounding


METHODS: Mapping[str, Method] = {
    "auroc": logit_normal,
    "calibration_slope": normal,
    "calibration_intercept": normal,
    "ece": none,
}


def intervals(
    key: jax.Array,
    figures: Figures,
    runs: Sequence[Images],
    draws: int = DRAWS,
    level: float = 0.95,
    methods: Mapping[str, Method] = METHODS,
) -> list[dict[str, Estimate]]:
    """Each run's figures with intervals for other patients like these: name -> `Estimate`, one dict a run.

    They say what other images would give this trained network; what other training would give, `resampled_t.over_runs`.
    A figure over seeds that share a set, or a difference of two networks, is a figure of scores [S, N], e.g.
    `lambda label, score, weight: {"mean": jax.vmap(auroc, (None, 0, None))(label, score, weight).mean()}`.

    Args:
      key: typed PRNG key; run i draws by it and i, and the same however many runs there are.
      figures: e.g. `registry.compute`; pure JAX, compiled once for all runs.
      runs: padded to the longest in turn.
      draws: of patients.
      level: share of such intervals that are to hold the true value.
      methods: of the named figures; `bca` for all others.

    Raises:
      ValueError: a run has no image, or its patients or scores are not one for each label.
    """
    for images in runs:
        _check(images)
    seed = np.asarray(jax.random.key_data(key)).tolist()
    found = []
    for i, (images, (width, slots)) in enumerate(zip(runs, _rooms(runs), strict=True)):
        padded, weight, patients = _pad(images, width)
        times = np.zeros((draws, slots), np.int32)
        times[:, :patients] = multiplicities(np.random.default_rng([*seed, i]), patients, draws)
        value, drawn, without = jax.device_get(_resample(figures, padded, weight, times))
        found.append({
            name: _estimate(
                Draws(float(value[name]), np.asarray(drawn[name], float), np.asarray(without[name], float)[:patients]),
                methods.get(name, bca),
                level,
            )
            for name in value
        })  # fmt: skip
    return found


def _rooms(runs: Sequence[Images]) -> list[tuple[int, int]]:
    """Images and patients that each run is padded to: as the largest needs, or an eighth of it, or a 64th, ...

    A shape costs seconds to compile, padding time to compute; so small runs beside a large one get a program of their
    own only where it is much the smaller.
    """
    sizes = [(len(images.label), len(np.unique(images.patient))) for images in runs]
    width, slots = (_room(max(size), least) for size, least in zip(zip(*sizes, strict=True), _LEAST, strict=True))
    found = []
    for n, patients in sizes:
        part = 1
        while width // (8 * part) >= max(n, _LEAST[0]) and max(slots // (8 * part), _LEAST[1]) >= patients:
            part *= 8
        found.append((width // part, max(slots // part, _LEAST[1])))
    return found


def _room(count: int, least: int) -> int:
    """`count` or up to a quarter more, at least `least`: sets of like size, hence shape, share one compiled program."""
    if count <= least:
        return least
    step = 2 ** ((count - 1).bit_length() - 3)
    return -(-count // step) * step


def _estimate(draws: Draws, method: Method, level: float) -> Estimate:
    if math.isnan(draws.value):
        return Estimate(math.nan, math.nan, math.nan, "the figure is undefined")
    if len(draws.jackknife) < 2:
        return Estimate(draws.value, math.nan, math.nan, "all images are of one patient")
    return Estimate(draws.value, *method(draws, level))


def _pad(images: Images, width: int) -> tuple[Images, np.ndarray, int]:
    """Images of `width`, their weights and how many patients they are of."""
    n = len(images.label)
    names, code = np.unique(images.patient, return_inverse=True)
    score = np.asarray(images.score, np.float32)
    tail = (0, width - n)
    padded = Images(
        np.pad(np.asarray(images.label, np.int32), tail),
        np.pad(score, [(0, 0)] * (score.ndim - 1) + [tail]),
        np.pad(code.astype(np.int32), tail),
    )
    return padded, (np.arange(width) < n).astype(np.float32), len(names)


def _check(images: Images) -> None:
    n = len(images.label)
    if not n:
        raise ValueError("label must hold an image, got none")
    if np.shape(images.patient) != (n,) or np.shape(images.score)[-1:] != (n,):
        raise ValueError(
            f"patient and score must have one entry for each of {n} labels, got shapes {np.shape(images.patient)} and "
            f"{np.shape(images.score)}"
        )
