"""The networks of a run as one, on images that all of them score: mean log odds, and what that gains over one alone."""

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

_GAIN = "gain "  # before the names of the ensemble's gains, in one program with its metrics
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
    methods = {name: metric.interval for name, metric in registry.METRICS.items()}
    methods |= {_GAIN + name: "normal" for name in registry.shown_in(registry.FLOORS)}
    evaluate = _Ensemble(registry.Evaluation(prevalence=prevalence))
    drawn = bootstrap.intervals(key, evaluate, list(runs.values()), methods=methods)
    rows = [
        (data, *row)
        for (data, images), estimates in zip(runs.items(), drawn, strict=True)
        for row in _rows(images, seeds[data], estimates)
    ]
    return pd.DataFrame(rows, columns=TABLES["ensemble"].columns)


def _rows(images: Images, seeds: pd.DataFrame, estimates: Mapping[str, Estimate]) -> Iterator[tuple[object, ...]]:
    missing = [name for name in registry.METRICS if np.isnan(estimates[name].value)]
    weight = np.ones(len(images.label))
    reasons = registry.reasons(missing, images.label, np.asarray(mean_log_odds(images.score)), weight)
    for name in registry.METRICS:
        single, estimate, gain = seeds[name], estimates[name], estimates.get(_GAIN + name, _NO_GAIN)
        lost = int(single.isna().sum())
        texts = [
            codes.code("undefined_in_seeds", n=lost, of=len(single)) if lost else "",
            *((reasons[name],) if name in reasons else (estimate.reason, gain.reason)),
        ]
        yield name, single.mean(), *estimate[:3], *gain[:3], codes.join(list(dict.fromkeys(texts)))


@dataclasses.dataclass(frozen=True)
class _Ensemble:
    """Metrics of the ensemble, and of those of `registry.FLOORS` what it gains over the mean of single networks."""

    metrics: registry.Evaluation

    def __call__(self, label: Array, scores: Array, weight: Array) -> dict[str, jax.Array]:
        """`scores` [S, n]."""
        gains = tuple(registry.METRICS[name] for name in registry.shown_in(registry.FLOORS))
        of_one = dataclasses.replace(self.metrics, metrics=gains)
        singles = jax.vmap(of_one, (None, 0, None))(label, scores, weight)
        whole = self.metrics(label, mean_log_odds(scores), weight)
        return whole | {_GAIN + name: whole[name] - value.mean() for name, value in singles.items()}
