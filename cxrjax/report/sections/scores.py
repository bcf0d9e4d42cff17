"""What the scores are worth: curves, decisions at one threshold and at any, and all metrics."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from cxrjax.analysis.scores import priors
from cxrjax.analysis.tables import SCORED_BY_ALL, Results
from cxrjax.metrics import registry
from cxrjax.report import rows
from cxrjax.report.figures import Picture, curves, scores
from cxrjax.report.language import DASH, Language, reasons
from cxrjax.report.pages import Section


def _roc(results: Results, t: Language) -> Picture:
    auroc = {data: values["auroc"] for data, values in _by_set(results).items()}
    return curves.roc({"internal": results.tables.predictions} | results.tables.scored_by_all, auroc, t)


def _precision_recall(results: Results, t: Language) -> Picture:
    positive = t(results.task.positive.title)
    return curves.precision_recall(results.tables.predictions, rows.estimates(results)["auprc"], positive, t)


def _by_set(results: Results) -> dict[str, dict[str, dict[Any, Any]]]:
    """Estimates at threshold 0.5 of the internal set and of those that every seed scored whole."""
    return {data: values for data in ("internal", *SCORED_BY_ALL) if (values := rows.estimates(results, data))}


def _calibration(results: Results, t: Language) -> Picture:
    return curves.calibration(results.analysis.calibration, t(results.task.positive.title), t)


def histogram(results: Results, data: str, t: Language) -> Picture | None:
    """Scores by class of a set (internal, external, test); None where there is none."""
    if (scored := scored_by(results, data)) is None:
        return None
    predictions, thresholds = scored
    mean = float(thresholds.clip(0, 1).mean())  # below 0: whatever the score
    chosen = {} if math.isnan(mean) else {t("chosen %(threshold)s", threshold=t.number(mean, 2)): mean}
    return scores.histogram(predictions, {t.number(0.5, 1): 0.5} | chosen, _classes(results, t), t)


def confusion(results: Results, data: str, t: Language) -> Picture | None:
    """Confusion matrices of a set (internal, external, test) at both thresholds; None where there is none."""
    if (scored := scored_by(results, data)) is None:
        return None
    matrices = {
        t("At %(threshold)s", threshold=t.number(0.5, 1)): scores.confusion_at(scored[0], 0.5),
        t("At the chosen thresholds"): scores.confusion_at(*scored),
    }
    return scores.confusion(matrices, _classes(results, t), t)


def scored_by(results: Results, data: str) -> tuple[pd.DataFrame, pd.Series] | None:
    """Predictions of a set, and the chosen threshold of each seed; None where there is no such set."""
    predictions = ({"internal": results.tables.predictions} | results.tables.scored_by_all).get(data)
    thresholds = results.analysis.seeds.set_index("seed")["threshold"]
    return None if predictions is None else (predictions, thresholds)


def _classes(results: Results, t: Language) -> tuple[str, str]:
    return t(results.task.negative.title), t(results.task.positive.title)


def explore(results: Results, t: Language) -> dict[str, Any]:
    """What the slider begins with, and what the page's script needs to give all decisions at any threshold."""
    return {
        "sets": _by_set(results),
        "decisions": [metric for metric in registry.METRICS.values() if metric.is_decision and metric.is_share],
        "operating": operating(results, t),
        "chosen": chosen(results),
    }


def operating(results: Results, t: Language) -> dict[str, Any]:
    """What the page's script needs to give all decisions at any threshold: see `threshold.js`."""
    table = results.analysis.operating
    return {
        "steps": table["threshold"].nunique() - 1,
        "decimal": t.decimal,
        "dash": DASH,
        "sets": {data: _counts(part) for data, part in table.groupby("data")},
        "positive": t(results.task.positive.title),
        "texts": {key: t.word("explore", key) for key in ("summary", "natural", "wrong", "some")},
    }


def _counts(part: pd.DataFrame) -> dict[str, list[Any]]:
    """Of each run positives and negatives, and true and false positives at every threshold."""
    first = part[part["threshold"] == 0]
    at_all = {
        name: part.pivot(index="seed", columns="threshold", values=name).to_numpy().tolist()
        for name in ("true_pos", "false_pos")
    }
    positives, negatives = first["true_pos"] + first["false_neg"], first["false_pos"] + first["true_neg"]
    return {"positives": positives.tolist(), "negatives": negatives.tolist(), **at_all}


def chosen(results: Results) -> float:
    """The mean of the runs' chosen thresholds, as a step of `Analysis.operating`; NaN if there is none."""
    mean = float(results.analysis.seeds["threshold"].clip(0, 1).mean())  # below 0: whatever the score
    steps = results.analysis.operating["threshold"].nunique() - 1
    return math.nan if math.isnan(mean) else round(mean * steps) / steps


def _priors(results: Results, t: Language) -> dict[str, Any]:
    """The mean of the thresholds by priors, or why there are none."""
    prior, why = priors(results.config, results.tables.seeds)
    return {"prior": None if prior is None else t.number(prior.mean(), 3), "why_no_prior": reasons(why, t)}


DISCRIMINATION = Section(
    "discrimination",
    "ROC, precision and recall",
    figures={"roc": _roc, "precision_recall": _precision_recall},
)
CALIBRATION = Section(
    "calibration",
    "Calibration and scores",
    figures={"calibration": _calibration, "scores": lambda results, t: histogram(results, "internal", t)},
)
DECISIONS = Section(
    "decisions",
    "Confusion matrices",
    figures={"confusion": lambda results, t: confusion(results, "internal", t)},
)
EXPLORE = Section("explore", "Decisions at any threshold", explore)
ALL_METRICS: Section[Results] = Section("metrics", "All metrics", _priors)
