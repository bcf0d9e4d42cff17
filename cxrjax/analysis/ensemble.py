"""Several networks as one, on images that all of them score: mean log odds, and what that gains over fewer of them.

`table` is of the networks of one run, `compare` of those of several runs.
"""

from __future__ import annotations

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
from cxrjax.metrics.cells import cells_for
from cxrjax.metrics.resampled_t import Estimate

SINGLE, ENSEMBLE = "single", "ensemble"  # the mean of single networks' metrics; all networks as one
_NONE = Estimate(math.nan, math.nan, math.nan, "")


@pinned_rank
def mean_log_odds(scores: Array) -> jax.Array:
    """The score [n] of an ensemble whose S networks score [S, n], 0..1: expit of the mean of their log odds.

    Scores are kept `calibration.CLIP` away from 0 and 1, so that no network alone decides.
    """
    return jax.nn.sigmoid(calibration.logit(scores).mean(axis=0))


def together(images: Images) -> Images:
    """Images with scores [S, n] as their ensemble scores them, [n]."""
    return images._replace(score=np.asarray(mean_log_odds(images.score)))


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
    rows = [(data, *row) for data, images in runs.items() for row in _rows(key, images, seeds[data], prevalence)]
    return pd.DataFrame(rows, columns=TABLES["ensemble"].columns)


def _rows(key: jax.Array, images: Images, seeds: pd.DataFrame, prevalence: float) -> Iterator[tuple[object, ...]]:
    whole, evaluate = together(images), registry.Evaluation(prevalence=prevalence)
    (estimates,) = bootstrap.intervals(key, evaluate, [whole], cells=cells_for(len(images.label)))
    gains, reasons = _gains(key, images, whole, registry.FLOORS), _reasons(whole, estimates)
    for name, estimate in ((name, estimates[name]) for name in registry.METRICS):
        single, gain = seeds[name], gains.get(name, _NONE)
        lost = int(single.isna().sum())
        seeds_lost = codes.code("undefined_in_seeds", n=lost, of=len(single)) if lost else ""
        undefined = _join(seeds_lost, *((reasons[name],) if name in reasons else (estimate.reason, gain.reason)))
        yield name, single.mean(), *estimate[:3], *gain[:3], undefined


def compare(key: jax.Array, images: Images, runs: Mapping[str, int]) -> pd.DataFrame:
    """All networks of several runs as one, beside each run's networks as one and the mean of single networks.

    Args:
      key: PRNG key of the draws of patients.
      images: that all networks score, [S, n], run by run.
      runs: name -> how many networks it has.

    Returns:
      A row for each run, `SINGLE` and `ENSEMBLE` (scored_by; networks: how many) and each metric of `registry.MAIN` at
      0.5: value, low, high (NaN of `SINGLE`); gain (of the ensemble over it), gain_low, gain_high (all 95 %, by
      resampling patients); undefined (codes of why a figure or an end is NaN, or "").
    """
    whole, evaluate = together(images), registry.Evaluation(_metrics(registry.MAIN))
    ends = np.cumsum(list(runs.values()))[:-1]
    parts = [together(images._replace(score=scores)) for scores in np.split(images.score, ends)]
    of_whole, *of_parts = bootstrap.intervals(key, evaluate, [whole, *parts], cells=cells_for(len(images.label)))
    gains = [_gains(key, part._replace(score=part.score[None]), whole, registry.MAIN) for part in parts]
    over_single = _gains(key, images, whole, registry.MAIN)
    single = {name: _NONE._replace(value=of_whole[name].value - gain.value) for name, gain in over_single.items()}
    reasons, none = _reasons(whole, of_whole), dict.fromkeys(single, _NONE)
    rows = []
    for (scored_by, networks), of, gain in zip(
        [*runs.items(), (SINGLE, len(images.score)), (ENSEMBLE, len(images.score))],
        [*of_parts, single, of_whole], [*gains, over_single, none], strict=True,
    ):  # fmt: skip
        for name in registry.shown_in(registry.MAIN):
            undefined = reasons.get(name) or _join(of[name].reason, gain[name].reason)
            rows.append((scored_by, networks, name, *of[name][:3], *gain[name][:3], undefined))
    columns = ["scored_by", "networks", "metric", "value", "low", "high", "gain", "gain_low", "gain_high", "undefined"]
    return pd.DataFrame(rows, columns=columns)


def _metrics(shown_in: str) -> tuple[registry.Metric, ...]:
    return tuple(registry.METRICS[name] for name in registry.shown_in(shown_in))


def _gains(key: jax.Array, images: Images, whole: Images, shown_in: str) -> dict[str, Estimate]:
    """What the ensemble gains over the mean of scores [S, n], of the metrics of a table."""
    pairs = [(images._replace(score=score), whole) for score in images.score]
    evaluate = registry.Evaluation(_metrics(shown_in))
    cells = cells_for(len(images.label))
    differences = bootstrap.differences(key, evaluate, pairs, cells=cells, method="normal")
    return {name: Estimate(*difference[2:]) for name, difference in differences.items()}


def _reasons(whole: Images, estimates: Mapping[str, Estimate]) -> dict[str, str]:
    """Why metrics of the ensemble are NaN."""
    missing = [name for name, estimate in estimates.items() if np.isnan(estimate.value)]
    return registry.reasons(missing, whole.label, whole.score, np.ones(len(whole.label)))


def _join(*reasons: str) -> str:
    return codes.join(list(dict.fromkeys(reasons)))
