"""Metrics of a run: of each seed at 0.5 and at the seed's own threshold, over seeds, and of all seeds together."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax
import numpy as np
import pandas as pd

from cxrjax.analysis.tables import TABLES
from cxrjax.base import Array, codes
from cxrjax.base.config import ExperimentConfig
from cxrjax.base.numerics import pinned
from cxrjax.metrics import bootstrap, delong, discrimination, registry, resampled_t
from cxrjax.metrics.bootstrap import Images
from cxrjax.metrics.resampled_t import Estimate

RULES = ("fixed", "chosen", "prior")  # threshold 0.5; each seed's own; the share of positives in its training
_WIDTH = 256  # images are padded to multiples of it, so that sets of like size share one compiled program
_INTERVALS = ("auroc_low", "auroc_high", "delong_low", "delong_high")


class Scored(NamedTuple):
    """One set of images as every seed scored it."""

    runs: dict[int, Images]  # seed -> its images
    further: dict[str, pd.Series]  # rule but the fixed one -> its thresholds by seed
    by_rule: dict[str, pd.DataFrame]  # of each rule, by seed: every registered metric

    @property
    def fixed(self) -> pd.DataFrame:
        """By seed: every registered metric at 0.5."""
        return self.by_rule["fixed"]


def by_seed(predictions: pd.DataFrame) -> dict[int, Images]:
    """Seed -> its images, from the columns seed, patient, label and score; seeds ascend."""
    return {int(str(seed)): images_of(rows) for seed, rows in predictions.groupby("seed")}


def images_of(predictions: pd.DataFrame) -> Images:
    """What `bootstrap` takes, from the columns patient, label and score."""
    return Images(
        predictions["label"].to_numpy(),
        predictions["score"].to_numpy(np.float32),
        predictions["patient"].to_numpy(str),
    )


def thresholds(training: pd.DataFrame, sensitivity: float) -> pd.Series:
    """Of each seed the threshold with that sensitivity on its training images, by seed.

    On the validation images it would flatter the result, see `resampled_t.threshold_for_sensitivity`.
    """
    chosen = {
        seed: resampled_t.threshold_for_sensitivity(images.label, images.score, sensitivity)
        for seed, images in by_seed(training).items()
    }
    return pd.Series(chosen, dtype=float)


def priors(config: ExperimentConfig, seeds: pd.DataFrame) -> tuple[pd.Series | None, str]:
    """Of each seed the share of positives among its training images, by seed; or None, and the code of why not.

    A score divided by the prior of its class in training (Buda, Maki & Mazurowski 2018, Neural Networks 106) is higher
    for the positive class where the score lies above that share. A network that was trained on classes made equal, or
    weighed so, has that share at 0.5 already.

    Args:
      config: of the run.
      seeds: `RunTables.seeds`.
    """
    if config.loss != "cross_entropy":
        return None, codes.code("prior_weighed", loss=config.loss)
    drawn_equal = config.sampling == "undersample" and config.negatives == "auto"
    equal = drawn_equal or config.sampling in ("oversample", "undersample_training") or bool(config.match)
    if not config.finding and equal:
        return None, codes.code("prior_balanced")
    return (seeds["positives_train"] / seeds["n_train"]).set_axis(seeds["seed"]), ""


def score(predictions: pd.DataFrame, thresholds: Mapping[str, pd.Series], prevalence: float) -> Scored:
    """All metrics of every seed.

    Args:
      predictions: seed, patient, label, score.
      thresholds: of each rule but the fixed one, by seed.
      prevalence: 0..1, for which PPV and NPV are given beside the images' own.
    """
    runs = by_seed(predictions)
    every = {"fixed": dict.fromkeys(runs, discrimination.THRESHOLD)}
    every |= {rule: {seed: float(of_rule[seed]) for seed in runs} for rule, of_rule in thresholds.items()}
    by_rule = {rule: _evaluate(runs, of_rule, prevalence) for rule, of_rule in every.items()}
    return Scored(runs, dict(thresholds), by_rule)


def at_half(predictions: pd.DataFrame) -> pd.DataFrame:
    """Every registered metric of every seed at threshold 0.5, PPV and NPV beside at NIH's prevalence; by seed."""
    runs = by_seed(predictions)
    return _evaluate(runs, dict.fromkeys(runs, discrimination.THRESHOLD), registry.NIH_PREVALENCE)


@pinned(x64=True, nan=True)
def _evaluate(runs: Mapping[int, Images], thresholds: Mapping[int, float], prevalence: float) -> pd.DataFrame:
    """Every registered metric of every run, by seed.

    One run after the other through one program: padded to a common width they need neither another one for another
    number of runs nor one for the runs of an arm. AUROC is that of DeLong's intervals to the last digit, hence x64.
    """
    values = {}
    for seed, images in runs.items():
        n = len(images.label)
        tail = (0, -n % _WIDTH)
        values[seed] = registry.compute(
            np.pad(images.label, tail),
            np.pad(images.score, tail),
            np.pad(np.ones(n, np.float32), tail),
            thresholds[seed],
            prevalence,
        )
    return pd.DataFrame.from_dict(jax.device_get(values), orient="index", dtype=float)[list(registry.METRICS)]


def auroc_intervals(key: jax.Array, sets: Sequence[Scored], cells: int | None = None) -> list[pd.DataFrame]:
    """Of each set, by seed: auroc_low and auroc_high by resampling patients, delong_low and delong_high, all 95 %, and
    undefined (codes of why they are NaN).

    Args:
      key: typed PRNG key.
      sets: all in one call, since one program serves them.
      cells: see `bootstrap.intervals`.
    """
    runs = [images for scored in sets for images in scored.runs.values()]
    auroc = registry.Evaluation((registry.METRICS["auroc"],))
    drawn = iter(bootstrap.intervals(key, auroc, runs, cells=cells))
    tables = []
    for scored in sets:
        rows = {}
        for seed, images in scored.runs.items():
            ends, others = next(drawn)["auroc"], delong.interval(images.label, images.score, images.patient)
            reason = codes.join(
                [codes.tag(ends.reason, metric="auroc_low"), codes.tag(others.reason, metric="delong_low")]
            )
            rows[seed] = (ends.low, ends.high, others.low, others.high, reason)
        tables.append(pd.DataFrame.from_dict(rows, orient="index", columns=[*_INTERVALS, "undefined"]))
    return tables


def of_seeds(seeds: pd.DataFrame, training: pd.DataFrame, scored: Scored, intervals: pd.DataFrame) -> pd.DataFrame:
    """`Analysis.seeds`.

    Args:
      seeds: `RunTables.seeds`.
      training: `RunTables.training`.
      scored: the validation images.
      intervals: of them, see `auroc_intervals`.
    """
    reached = {
        seed: float((images.score > np.float32(scored.further["chosen"][seed]))[images.label == 1].mean())
        for seed, images in by_seed(training).items()
    }
    metrics = _beside(scored, intervals).assign(train_sensitivity_chosen=pd.Series(reached, dtype=float))
    table = seeds.merge(metrics, left_on="seed", right_index=True, validate="one_to_one")
    unknown = codes.tag(codes.code("unknown_patients"), metric="contaminated_share")
    shares = zip(table["undefined"], table["contaminated_share"], strict=True)
    return table.assign(undefined=[codes.join([why, unknown if np.isnan(share) else ""]) for why, share in shares])


def of_all(scored: Scored, intervals: pd.DataFrame) -> pd.DataFrame:
    """`Analysis.external_seeds` and `test_seeds`, of a set that every seed scored whole."""
    n = pd.Series({seed: len(images.label) for seed, images in scored.runs.items()}, name="n")
    return pd.concat([n, _beside(scored, intervals)], axis=1).rename_axis("seed").reset_index()


def _beside(scored: Scored, intervals: pd.DataFrame) -> pd.DataFrame:
    chosen = scored.by_rule["chosen"][["sensitivity", "specificity"]].add_suffix("_chosen")
    every = pd.concat([scored.fixed, intervals, scored.further["chosen"].rename("threshold"), chosen], axis=1)
    of_intervals = every.pop("undefined")
    return every.assign(undefined=[_why(scored, seed, str(of_intervals[seed])) for seed in scored.runs])


def _why(scored: Scored, seed: int, of_intervals: str) -> str:
    """Codes of why metrics of a seed are NaN, each with its column."""
    images, texts = scored.runs[seed], []
    for table, threshold, end in (
        (scored.fixed, discrimination.THRESHOLD, ""),
        (scored.by_rule["chosen"][["sensitivity", "specificity"]], float(scored.further["chosen"][seed]), "_chosen"),
    ):
        names = [str(name) for name, is_nan in table.loc[seed].isna().items() if is_nan]
        reasons = registry.reasons(names, images.label, images.score, np.ones(len(images.label)), threshold)
        texts += [codes.tag(reason, metric=name + end) for name, reason in reasons.items()]
    return codes.join([*texts, of_intervals])


def over_seeds(
    sets: Mapping[str, Scored], pooled: Sequence[dict[str, Estimate]], n_train: float, n_val: float
) -> pd.DataFrame:
    """`Analysis.metrics`.

    Seeds of the internal set split the same images anew, hence the interval of Nadeau & Bengio. Those of another
    set share all images and differ in training alone: no interval for new images follows from them.

    Args:
      sets: validation images, `internal`, and those of `tables.SCORED_BY_ALL` that there are.
      pooled: of each set, see `pooled_intervals`.
      n_train: training images of a run (mean over seeds).
      n_val: validation images of a run (mean over seeds).
    """
    rows = []
    for (data, scored), estimates in zip(sets.items(), pooled, strict=True):
        for rule, seeds in scored.by_rule.items():
            reasons = _reasons(scored, rule, estimates)
            for metric in registry.METRICS.values():
                values = seeds[metric.name].to_numpy()
                summary = resampled_t.over_runs(values, n_train, n_val, metric.range)
                estimate = estimates[_key(rule, metric)]
                shared = codes.code("seeds_share_images") if data != "internal" else ""
                undefined = codes.join([reasons.get(metric.name, estimate.reason), why_no_spread(values), shared])
                ends = (summary.low, summary.high) if data == "internal" else (np.nan, np.nan)
                rows.append((data, rule, metric.name, summary.mean, summary.sd, *ends, *estimate[:3], undefined))
    return pd.DataFrame(rows, columns=TABLES["metrics"].columns)


def why_no_spread(values: np.ndarray) -> str:
    """Codes of why the mean or the SD of these values of seeds is NaN, or leaves seeds out; "" where neither."""
    missing = int(np.isnan(values).sum())
    left_out = codes.code("undefined_in_seeds", n=missing, of=len(values)) if missing else ""
    return codes.join([left_out, codes.code("one_seed") if len(values) - missing == 1 else ""])


def pooled_intervals(
    key: jax.Array, sets: Sequence[Scored], prevalence: float, cells: int | None = None
) -> list[dict[str, Estimate]]:
    """Of each set the metrics of all seeds' scores together, with 95 % intervals by resampling patients.

    A patient's images come as often as the patient is drawn, whichever seeds scored them: rows of one image are not
    taken for several images. `_key` names the estimates.
    """
    every = _EveryRule(registry.Evaluation(prevalence=prevalence), tuple(sets[0].further))
    return bootstrap.intervals(key, every, [_pooled(scored) for scored in sets], cells=cells)


def _pooled(scored: Scored) -> Images:
    """Every seed's images in a row; `score` [1 + R, n] holds the score and, of each rule, the threshold of its seed."""
    label, score, patient = (np.concatenate(part) for part in zip(*scored.runs.values(), strict=True))
    thresholds = [
        np.concatenate([np.full(len(run.label), of_rule[seed], np.float32) for seed, run in scored.runs.items()])
        for of_rule in scored.further.values()
    ]
    return Images(label, np.stack([score, *thresholds]), patient)


@dataclasses.dataclass(frozen=True)
class _EveryRule:
    """The metrics of `pooled_intervals`."""

    evaluation: registry.Evaluation
    rules: tuple[str, ...]  # but the fixed one

    def __call__(self, label: Array, score: Array, weight: Array) -> dict[str, jax.Array]:
        """`score` as of `_pooled`."""
        decisions = tuple(metric for metric in self.evaluation.metrics if metric.is_decision)
        of_decisions = dataclasses.replace(self.evaluation, metrics=decisions)
        values: dict[str, jax.Array] = {}
        for rule, thresholds in zip(self.rules, score[1:], strict=True):
            at = of_decisions(label, score[0], weight, thresholds)
            values |= {f"{rule} {name}": value for name, value in at.items()}
        return self.evaluation(label, score[0], weight) | values


def _key(rule: str, metric: registry.Metric) -> str:
    return f"{rule} {metric.name}" if rule != "fixed" and metric.is_decision else metric.name


def _reasons(scored: Scored, rule: str, estimates: dict[str, Estimate]) -> dict[str, str]:
    """Why pooled metrics are undefined: name -> code."""
    images = _pooled(scored)
    rows = dict(zip(scored.further, images.score[1:], strict=True))
    threshold = rows.get(rule, discrimination.THRESHOLD)
    names = [name for name, metric in registry.METRICS.items() if np.isnan(estimates[_key(rule, metric)].value)]
    return registry.reasons(names, images.label, images.score[0], np.ones(len(images.label)), threshold)
