"""Figures of each seed's scores of one set of images, at 0.5 and at the seed's own threshold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax
import numpy as np
import pandas as pd

from cxrjax.base.types import Array
from cxrjax.metrics import bootstrap, delong, discrimination, registry, resampled_t
from cxrjax.metrics.bootstrap import Images
from cxrjax.metrics.resampled_t import Estimate

_WIDTH = 256  # images are padded to multiples of it, so that sets of like size share one compiled program
_evaluate = jax.jit(registry.compute, static_argnames="metrics")


class Scored(NamedTuple):
    """One set of images as every seed scored it."""

    runs: dict[int, Images]  # seed -> its images
    thresholds: pd.Series  # by seed
    fixed: pd.DataFrame  # by seed: `registry.METRICS` at 0.5
    chosen: pd.DataFrame  # the same at the seed's threshold


def by_seed(predictions: pd.DataFrame) -> dict[int, Images]:
    """Seed -> its images, from the columns seed, patient, label and score; seeds ascend."""
    return {
        int(str(seed)): Images(
            own["label"].to_numpy(np.int32), own["score"].to_numpy(np.float32), own["patient"].to_numpy(str)
        )
        for seed, own in predictions.groupby("seed")
    }


def thresholds(training: pd.DataFrame, sensitivity: float) -> pd.Series:
    """Of each seed the threshold with that sensitivity on its training images, by seed.

    On the validation images it would flatter the result, see `resampled_t.threshold_for_sensitivity`.
    """
    return pd.Series(
        {
            seed: resampled_t.threshold_for_sensitivity(own.label, own.score, sensitivity)
            for seed, own in by_seed(training).items()
        },
        dtype=float,
    )


def scored(predictions: pd.DataFrame, thresholds: pd.Series, prevalence: float) -> Scored:
    """All figures of every seed.

    Args:
      predictions: seed, patient, label, score.
      thresholds: by seed, see `thresholds`.
      prevalence: 0..1, for which PPV and NPV are given beside the images' own.
    """
    runs = by_seed(predictions)
    return Scored(
        runs,
        thresholds,
        figures(runs, dict.fromkeys(runs, discrimination.THRESHOLD), prevalence),
        figures(runs, {seed: float(thresholds[seed]) for seed in runs}, prevalence),
    )


def at_half(predictions: pd.DataFrame) -> pd.DataFrame:
    """`registry.METRICS` of every seed at threshold 0.5, PPV and NPV beside at NIH's prevalence; by seed."""
    runs = by_seed(predictions)
    return figures(runs, dict.fromkeys(runs, discrimination.THRESHOLD), registry.NIH_PREVALENCE)


def figures(runs: Mapping[int, Images], thresholds: Mapping[int, float], prevalence: float) -> pd.DataFrame:
    """`registry.METRICS` of every run, by seed.

    One run after the other through one program: padded to a common width they need neither another one for another
    number of runs nor one for the runs of an arm.
    """
    found = {}
    for seed, images in runs.items():
        n = len(images.label)
        tail = (0, -n % _WIDTH)
        weight = np.pad(np.ones(n, np.float32), tail)
        found[seed] = _evaluate(
            np.pad(images.label, tail),
            np.pad(images.score, tail),
            weight,
            np.float32(thresholds[seed]),
            np.float32(prevalence),
            metrics=tuple(registry.METRICS.values()),
        )
    return pd.DataFrame.from_dict(jax.device_get(found), orient="index", dtype=float)[list(registry.METRICS)]


def auroc_intervals(key: jax.Array, sets: Sequence[Scored]) -> list[pd.DataFrame]:
    """Of each set, by seed: auroc_low and auroc_high by resampling patients, delong_low and delong_high, all 95 %.

    Args:
      key: typed PRNG key.
      sets: all in one call, since one program serves them.
    """
    runs = [images for one in sets for images in one.runs.values()]
    drawn = iter(bootstrap.intervals(key, _auroc, runs))
    return [
        pd.DataFrame.from_dict(
            {
                seed: _ends("auroc", next(drawn)["auroc"])
                | _ends("delong", delong.interval(images.label, images.score, images.patient))
                for seed, images in one.runs.items()
            },
            orient="index",
        )
        for one in sets
    ]


def _ends(name: str, estimate: Estimate) -> dict[str, float]:
    return {f"{name}_low": estimate.low, f"{name}_high": estimate.high}


def _auroc(label: Array, score: Array, weight: Array) -> dict[str, jax.Array]:
    return {"auroc": discrimination.auroc(label, score, weight)}


def internal(seeds: pd.DataFrame, training: pd.DataFrame, scored: Scored, intervals: pd.DataFrame) -> pd.DataFrame:
    """`Analysis.seeds`.

    Args:
      seeds: `RunTables.seeds`.
      training: `RunTables.training`.
      scored: the validation images.
      intervals: of them, see `auroc_intervals`.
    """
    reached = {
        seed: float((own.score > np.float32(scored.thresholds[seed]))[own.label == 1].mean())
        for seed, own in by_seed(training).items()
    }
    figures = _table(scored, intervals).assign(train_sensitivity_chosen=pd.Series(reached, dtype=float))
    return seeds.merge(figures, left_on="seed", right_index=True, validate="one_to_one")


def external(scored: Scored, intervals: pd.DataFrame) -> pd.DataFrame:
    """`Analysis.external_seeds`."""
    n = pd.Series({seed: len(images.label) for seed, images in scored.runs.items()}, name="n")
    figures = pd.concat([n, _table(scored, intervals)], axis=1)
    return figures.rename_axis("seed").reset_index()


def _table(scored: Scored, intervals: pd.DataFrame) -> pd.DataFrame:
    chosen = scored.chosen[["sensitivity", "specificity"]].add_suffix("_chosen")
    return pd.concat([scored.fixed, intervals, scored.thresholds.rename("threshold"), chosen], axis=1)
