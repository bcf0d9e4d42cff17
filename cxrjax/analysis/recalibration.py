"""A run's scores at another hospital: Platt scaling and a threshold from some of its images, the gain on its others."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import special

from cxrjax.analysis import scores
from cxrjax.base import InputError
from cxrjax.base.codes import code
from cxrjax.base.numerics import new_key
from cxrjax.metrics import bootstrap, calibration, registry
from cxrjax.metrics.cells import cells_for

DRAWS = 20
_SAMPLE, _INTERVALS = 0, 0  # purpose of the draws of local images, seed of the bootstraps
_LEAST = 20  # other images
_DECISIONS = ("accuracy", "sensitivity", "specificity")
_RULES: dict[str, tuple[str, ...]] = {"threshold": _DECISIONS, "platt": (*_DECISIONS, "brier", "ece")}


@dataclasses.dataclass(frozen=True)
class Recalibration:
    """P(positive) = expit(intercept + slope logit(score)) (Platt 1999), and a threshold of it."""

    intercept: float
    slope: float  # above 0, so that no image changes places with another
    threshold: float  # of the recalibrated score; above it an image is called positive
    note: str = ""  # code of why the slope is 1, or all is as it was

    def __call__(self, score: np.ndarray) -> np.ndarray:
        """Recalibrated scores of scores, both 0..1."""
        return np.asarray(special.expit(self.intercept + self.slope * _logit(score)))


def _logit(score: np.ndarray) -> np.ndarray:
    return np.asarray(special.logit(np.clip(np.asarray(score, float), calibration.CLIP, 1 - calibration.CLIP)))


def fit(label: np.ndarray, score: np.ndarray) -> Recalibration:
    """The likeliest slope and intercept, and the threshold with the highest sum of sensitivity and specificity.

    Where no slope above 0 is the likeliest, as of two classes whose scores do not overlap, the slope stays 1 and the
    intercept alone is fitted; with one class nothing is.

    Args:
      label: [n], 0 or 1.
      score: [n], 0..1.
    """
    if len(np.unique(label)) < 2:
        return Recalibration(0.0, 1.0, 0.5, code("not_recalibrated"))
    weight = np.ones(len(label), np.float32)
    intercept, slope = map(float, calibration.recalibration(label, score, weight))
    note = "" if slope > 0 else code("slope_held")
    if note:
        intercept, slope = float(calibration.calibration_in_the_large(label, score, weight)), 1.0
    moved = Recalibration(intercept, slope, 0.5, note)
    return dataclasses.replace(moved, threshold=_threshold(np.asarray(label), moved(score)))


def _threshold(label: np.ndarray, score: np.ndarray) -> float:
    """Midway between two scores, where sensitivity + specificity is highest (Youden 1950); of equal ones the lowest."""
    rising = np.unique(score)
    if len(rising) < 2:
        return 0.5
    cuts = (rising[1:] + rising[:-1]) / 2
    sums = [(score[label == 1] > cut).mean() + (score[label == 0] <= cut).mean() for cut in cuts]
    return float(cuts[int(np.argmax(sums))])


def sample(patient: np.ndarray, n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Rows of n images, patient by patient in random order, and of all images of other patients.

    Args:
      patient: [N], names.
      n: 1..N; of the last patient not all images may be used.
      rng: random numbers; of one seed fewer images are among more.
    """
    names, number = np.unique(patient, return_inverse=True)
    place = rng.permutation(len(names))[number]
    rows = np.argsort(place, kind="stable")
    return rows[:n], np.sort(rows[place[rows] > place[rows[n - 1]]])


def gains(images: pd.DataFrame, sizes: Sequence[int], draws: int = DRAWS) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What recalibration by n local images gives on the images of other patients, on average over draws of the n.

    Args:
      images: image, patient, label, score; the run's own scores, called positive above 0.5.
      sizes: numbers of local images.
      draws: of each; draw i is by `default_rng([i, purpose])` over the sorted names of images.

    Returns:
      A row for each n, rule (threshold: only that is moved; platt: recalibrated scores at 0.5) and metric: n, rule,
      metric, before, after, difference (means over draws), low, high (95 %, by resampling the other images' patients),
      reason. And a row for each n and draw: n, draw, intercept, slope, threshold, note, images and positives left.

    Raises:
      InputError: if n leaves fewer than 20 other images, or none of a class, in a draw.
    """
    images = images.sort_values("image", ignore_index=True)
    tables, fits = [], []
    for n in sizes:
        before, after = [], {rule: list[pd.DataFrame]() for rule in _RULES}
        for draw in range(draws):
            others, fitted = _one_draw(images, n, draw)
            moved = fitted(others["score"].to_numpy())
            before.append(others)
            after["platt"].append(others.assign(score=moved))
            at_half = special.expit(_logit(moved) - _logit(np.asarray(fitted.threshold)))
            after["threshold"].append(others.assign(score=at_half))
            counts = {"images": len(others), "positives": int(others["label"].sum())}
            fits.append({"n": n, "draw": draw, **dataclasses.asdict(fitted), **counts})
        tables += [_gain(before, of_rule, rule).assign(n=n) for rule, of_rule in after.items()]
    columns = ["n", "rule", "metric", "before", "after", "difference", "low", "high", "reason"]
    return pd.concat(tables, ignore_index=True)[columns], pd.DataFrame(fits)


def _one_draw(images: pd.DataFrame, n: int, draw: int) -> tuple[pd.DataFrame, Recalibration]:
    """The images of other patients, and what n local images give."""
    rng = np.random.default_rng([draw, _SAMPLE])
    rows, rest = sample(images["patient"].to_numpy(str), min(n, len(images)), rng)
    others = images.iloc[rest].assign(seed=draw)
    if len(others) < _LEAST or others["label"].nunique() < 2:
        raise InputError(
            f"--n={n} of {len(images)} local images must leave {_LEAST} of other patients, of both classes, as a test; "
            f"it leaves {len(others)}"
        )
    local = images.iloc[rows]
    return others, fit(local["label"].to_numpy(), local["score"].to_numpy())


def _gain(before: list[pd.DataFrame], after: list[pd.DataFrame], rule: str) -> pd.DataFrame:
    metrics = tuple(registry.METRICS[name] for name in _RULES[rule])
    pairs = [(scores.images_of(x), scores.images_of(y)) for x, y in zip(before, after, strict=True)]
    cells = cells_for(max(map(len, before)))
    differences = bootstrap.differences(new_key(_INTERVALS), registry.Evaluation(metrics), pairs, cells=cells)
    columns = ["before", "after", "difference", "low", "high", "reason"]
    table = pd.DataFrame([differences[name] for name in _RULES[rule]]).set_axis(columns, axis=1)
    return table.assign(rule=rule, metric=_RULES[rule])
