"""Several networks as one, on images that all of them score: mean log odds, and what that gains over fewer of them.

`table` is of the networks of one run, `compare` of those of several runs.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping

import jax
import numpy as np
import pandas as pd

from cxrjax.analysis.tables import TABLES
from cxrjax.base import Array, codes
from cxrjax.metrics import bootstrap, calibration, registry
from cxrjax.metrics.arguments import pinned_rank
from cxrjax.metrics.bootstrap import Images
from cxrjax.metrics.resampled_t import Estimate

SINGLE, ENSEMBLE = "single", "ensemble"  # the mean of single networks' metrics; all networks as one
_GAIN = "gain over "  # before the names of the ensemble's gains, in one program with its metrics
_NO_GAIN = Estimate(math.nan, math.nan, math.nan, "")


@pinned_rank
def mean_log_odds(scores: Array) -> jax.Array:
    """The score [n] of an ensemble whose S networks score [S, n], 0..1: expit of the mean of their log odds.

    Scores are kept `calibration.CLIP` away from 0 and 1, so that no network alone decides.
    """
    return jax.nn.sigmoid(calibration.logit(scores).mean(axis=0))


def images_of(predictions: pd.DataFrame) -> Images:
    """Images that every seed scores, once each, with scores [S, n]; seeds ascend.

    Args:
      predictions: a table of `RunTables.scored_by_all`.

    Raises:
      ValueError: a seed has an image twice.
    """
    scores = predictions.pivot(index="image", columns="seed", values="score")
    once = predictions.drop_duplicates("image").set_index("image").loc[scores.index]
    return Images(once["label"].to_numpy(), scores.to_numpy(np.float32).T, once["patient"].to_numpy(str))


def table(
    key: jax.Array, sets: Mapping[str, pd.DataFrame], seeds: Mapping[str, pd.DataFrame], prevalence: float
) -> pd.DataFrame | None:
    """`Analysis.ensemble`; None if there is no such set, or one seed, which is no ensemble.

    Args:
      key: PRNG key of the draws of patients.
      sets: `RunTables.scored_by_all`.
      seeds: of each, every registered metric of every seed, see `scores.of_all`.
      prevalence: 0..1, for which PPV and NPV are given beside the images' own.
    """
    runs = {data: images_of(rows) for data, rows in sets.items()}
    if not runs or any(len(images.score) < 2 for images in runs.values()):
        return None
    compared = tuple(registry.METRICS[name] for name in registry.shown_in(registry.FLOORS))
    evaluate = _Ensemble(registry.Evaluation(prevalence=prevalence), compared)
    drawn = bootstrap.intervals(key, evaluate, list(runs.values()), methods=evaluate.methods)
    rows = [
        (data, *row)
        for (data, images), estimates in zip(runs.items(), drawn, strict=True)
        for row in _rows(images, seeds[data], estimates)
    ]
    return pd.DataFrame(rows, columns=TABLES["ensemble"].columns)


def compare(key: jax.Array, images: Images, runs: Mapping[str, int]) -> pd.DataFrame:
    """All networks of several runs as one, beside each run's networks as one and the mean of single networks.

    Args:
      key: PRNG key of the draws of patients.
      images: that all networks score, [S, n], run by run.
      runs: name -> how many networks it has.

    Returns:
      A row for each run, `SINGLE` and `ENSEMBLE` (scored_by; networks: how many) and each metric of `registry.MAIN` at
      0.5: value, low, high; gain (of the ensemble over it), gain_low, gain_high (all 95 %, by resampling patients);
      undefined (codes of why a figure or an end is NaN, or "").
    """
    compared = tuple(registry.METRICS[name] for name in registry.shown_in(registry.MAIN))
    evaluate = _Ensemble(registry.Evaluation(compared), compared, tuple(runs.values()))
    (estimates,) = bootstrap.intervals(key, evaluate, [images], methods=evaluate.methods)
    names = [metric.name for metric in compared]
    reasons = _reasons(images, [name for name in names if np.isnan(estimates[name].value)])
    numbers = {str(number): run for number, run in enumerate(runs)} | {SINGLE: SINGLE, "": ENSEMBLE}
    rows = []
    for part, scored_by in numbers.items():
        for name in names:
            estimate, gain = estimates[_name(part, name)], estimates.get(_GAIN + _name(part, name), _NO_GAIN)
            texts = (reasons[name],) if name in reasons else (estimate.reason, gain.reason)
            undefined = codes.join(list(dict.fromkeys(texts)))
            networks = runs.get(scored_by, len(images.score))
            rows.append((scored_by, networks, name, *estimate[:3], *gain[:3], undefined))
    columns = ["scored_by", "networks", "metric", "value", "low", "high", "gain", "gain_low", "gain_high", "undefined"]
    return pd.DataFrame(rows, columns=columns)


def _name(part: str, metric: str) -> str:
    return f"{part} {metric}" if part else metric


def _reasons(images: Images, missing: list[str]) -> dict[str, str]:
    """Why these metrics of the ensemble are NaN."""
    weight = np.ones(len(images.label))
    return registry.reasons(missing, images.label, np.asarray(mean_log_odds(images.score)), weight)


def _rows(images: Images, seeds: pd.DataFrame, estimates: Mapping[str, Estimate]) -> Iterator[tuple[object, ...]]:
    reasons = _reasons(images, [name for name in registry.METRICS if np.isnan(estimates[name].value)])
    for name in registry.METRICS:
        single, estimate = seeds[name], estimates[name]
        gain = estimates.get(_GAIN + _name(SINGLE, name), _NO_GAIN)
        lost = int(single.isna().sum())
        texts = [
            codes.code("undefined_in_seeds", n=lost, of=len(single)) if lost else "",
            *((reasons[name],) if name in reasons else (estimate.reason, gain.reason)),
        ]
        yield name, single.mean(), *estimate[:3], *gain[:3], codes.join(list(dict.fromkeys(texts)))


@dataclasses.dataclass(frozen=True)
class _Ensemble:
    """Metrics of all networks as one; of the mean of single networks and of each run's as one, and the gain over them.

    Attributes:
      metrics: of the ensemble.
      compared: those of the others, too.
      runs: how many networks each run has, in turn; (): there is one run.
    """

    metrics: registry.Evaluation
    compared: tuple[registry.Metric, ...]
    runs: tuple[int, ...] = ()

    def __call__(self, label: Array, scores: Array, weight: Array) -> dict[str, jax.Array]:
        """`scores` [S, n]."""
        evaluate = dataclasses.replace(self.metrics, metrics=self.compared)
        whole = self.metrics(label, mean_log_odds(scores), weight)
        singles = jax.vmap(evaluate, (None, 0, None))(label, scores, weight)
        parts = {_name(SINGLE, name): (name, value.mean()) for name, value in singles.items()}
        for number, networks in enumerate(self.runs):
            first = sum(self.runs[:number])
            together = evaluate(label, mean_log_odds(scores[first : first + networks]), weight)
            parts |= {_name(str(number), name): (name, value) for name, value in together.items()}
        gains = {_GAIN + part: whole[name] - value for part, (name, value) in parts.items()}
        return whole | {part: value for part, (_, value) in parts.items()} | gains

    @property
    def methods(self) -> Mapping[str, str]:
        """How `bootstrap` makes the interval of each."""
        parts = [SINGLE, *map(str, range(len(self.runs)))]
        of_parts = {_name(part, metric.name): metric.interval for part in parts for metric in self.compared}
        own = {metric.name: metric.interval for metric in self.metrics.metrics}
        return own | of_parts | {_GAIN + name: "normal" for name in of_parts}
