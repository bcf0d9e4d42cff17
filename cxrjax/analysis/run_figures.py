"""All figures of a run at both thresholds: over its seeds, and pooled over all seeds' scores."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import jax
import numpy as np
import pandas as pd

from cxrjax.analysis.seed_figures import Scored
from cxrjax.base.types import Array
from cxrjax.metrics import bootstrap, discrimination, registry, resampled_t
from cxrjax.metrics.bootstrap import Figures, Images
from cxrjax.metrics.resampled_t import Estimate

RULES = ("fixed", "chosen")  # threshold 0.5; each seed's own
_CHOSEN = "chosen "  # before the names of decisions at the chosen thresholds, in one program with the others


def table(
    internal: Scored,
    external: Scored | None,
    pooled: Sequence[dict[str, Estimate]],
    n_train: float,
    n_val: float,
) -> pd.DataFrame:
    """`Analysis.figures`.

    Seeds of the internal set split the same images anew, hence the interval of Nadeau & Bengio. Those of the external
    set share all images and differ in training alone: no interval for new images follows from them.

    Args:
      internal: validation images.
      external: the external set.
      pooled: of the internal and, if there is one, the external set; see `intervals`.
      n_train: training images of a run (mean over seeds).
      n_val: validation images of a run (mean over seeds).
    """
    rows = []
    sets = {"internal": internal} | ({} if external is None else {"external": external})
    for (data, scored), estimates in zip(sets.items(), pooled, strict=True):
        for rule, seeds in zip(RULES, (scored.fixed, scored.chosen), strict=True):
            reasons = _reasons(scored, rule, estimates)
            for name, metric in registry.METRICS.items():
                values = seeds[name].to_numpy()
                summary = resampled_t.over_runs(values, n_train, n_val, metric.range)
                estimate = estimates[_key(rule, name)]
                rows.append(
                    {
                        "data": data,
                        "rule": rule,
                        "figure": name,
                        "mean": summary.mean,
                        "sd": summary.sd,
                        "low": summary.low if data == "internal" else np.nan,
                        "high": summary.high if data == "internal" else np.nan,
                        "pooled": estimate.value,
                        "pooled_low": estimate.low,
                        "pooled_high": estimate.high,
                        "undefined": "; ".join(filter(None, [reasons.get(name, estimate.reason), _left_out(values)])),
                    }
                )
    return pd.DataFrame(rows)


def _left_out(values: np.ndarray) -> str:
    number = int(np.isnan(values).sum())
    return f"undefined in {number} of {len(values)} seeds, which mean and SD leave out" if number else ""


def intervals(key: jax.Array, sets: Sequence[Scored], prevalence: float) -> list[dict[str, Estimate]]:
    """Of each set the figures of all seeds' scores together, with 95 % intervals by resampling patients.

    A patient's images come as often as the patient is drawn, whichever seeds scored them: rows of one image are not
    taken for several images. `_key` names the estimates.
    """
    return bootstrap.intervals(key, _both_rules(prevalence), [_pooled(one) for one in sets])


def _pooled(scored: Scored) -> Images:
    """Every seed's images in a row; `score` [2, n] holds the score and the chosen threshold of its seed."""
    label, score, patient = (np.concatenate(part) for part in zip(*scored.runs.values(), strict=True))
    chosen = [np.full(len(own.label), scored.thresholds[seed], np.float32) for seed, own in scored.runs.items()]
    return Images(label, np.stack([score, np.concatenate(chosen)]), patient)


@functools.cache
def _both_rules(prevalence: float) -> Figures:
    """The figures of `intervals`; the same object for the same prevalence, so that it is compiled once."""

    def figures(label: Array, score: Array, weight: Array) -> dict[str, jax.Array]:
        given = (label, score[0], weight)
        decisions = [metric for metric in registry.METRICS.values() if metric.is_decision]
        chosen = registry.compute(*given, score[1], prevalence, decisions)
        return registry.compute(*given, discrimination.THRESHOLD, prevalence) | {
            _CHOSEN + name: value for name, value in chosen.items()
        }

    return figures


def _key(rule: str, name: str) -> str:
    return _CHOSEN + name if rule == "chosen" and registry.METRICS[name].is_decision else name


def _reasons(scored: Scored, rule: str, estimates: dict[str, Estimate]) -> dict[str, str]:
    """Why pooled figures are undefined."""
    images = _pooled(scored)
    threshold = discrimination.THRESHOLD if rule == "fixed" else images.score[1]
    names = [name for name in registry.METRICS if np.isnan(estimates[_key(rule, name)].value)]
    return registry.reasons(names, images.label, images.score[0], np.ones(len(images.label)), threshold)
