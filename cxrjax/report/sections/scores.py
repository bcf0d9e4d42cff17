"""What the scores are worth: curves, decisions at one threshold and at any, and all metrics."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from cxrjax.analysis.schema import Results
from cxrjax.base import tasks
from cxrjax.metrics import registry
from cxrjax.report import rows
from cxrjax.report.figures import Picture, curves, scores
from cxrjax.report.language import DASH, Language
from cxrjax.report.pages import Section
from cxrjax.report.rows import Numbers


def _roc(results: Results, t: Language) -> Picture:
    return curves.roc(results.tables.predictions, results.tables.external, over_runs(results, "auroc"), t)


def _precision_recall(results: Results, t: Language) -> Picture:
    positive = t(tasks.get(results.config.task).positive.title)
    return curves.precision_recall(results.tables.predictions, over_runs(results, "auprc")["internal"], positive, t)


def _calibration(results: Results, t: Language) -> Picture:
    return curves.calibration(results.analysis.calibration, t(tasks.get(results.config.task).positive.title), t)


def over_runs(results: Results, metric: str) -> dict[Any, dict[Any, Any]]:
    """Rows of one metric at threshold 0.5 in `Analysis.metrics`, by data set."""
    table = results.analysis.figures
    return table[(table["figure"] == metric) & (table["rule"] == "fixed")].set_index("data").to_dict("index")


def histogram(results: Results, data: str, t: Language) -> Picture | None:
    """Scores by class of the internal or the external set; None where there is none."""
    predictions, seeds = scored(results, data)
    if predictions is None or seeds is None:
        return None
    mean = float(seeds["threshold"].clip(0, 1).mean())  # below 0: whatever the score
    chosen = {} if math.isnan(mean) else {t("chosen %(threshold)s", threshold=t.number(mean, 2)): mean}
    return scores.histogram(predictions, {t.number(0.5, 1): 0.5} | chosen, _classes(results, t), t)


def confusion(results: Results, data: str, t: Language) -> Picture | None:
    """Confusion matrices of the internal or the external set at both thresholds; None where there is none."""
    predictions, seeds = scored(results, data)
    if predictions is None or seeds is None:
        return None
    matrices = {
        t("At %(threshold)s", threshold=t.number(0.5, 1)): scores.confusion_at(predictions, 0.5),
        t("At the chosen thresholds"): scores.confusion_at(predictions, seeds.set_index("seed")["threshold"]),
    }
    return scores.confusion(matrices, _classes(results, t), t)


def scored(results: Results, data: str) -> tuple[pd.DataFrame | None, pd.DataFrame | None]:
    """Predictions of a set, and its metrics by seed."""
    if data == "internal":
        return results.tables.predictions, results.analysis.seeds
    return results.tables.external, results.analysis.external_seeds


def _classes(results: Results, t: Language) -> tuple[str, str]:
    task = tasks.get(results.config.task)
    return t(task.negative.title), t(task.positive.title)


def explore(results: Results, t: Language) -> dict[str, Any]:
    """What the slider begins with, and what the page's script needs to give all decisions at any threshold."""
    table = results.analysis.figures
    fixed = table[table["rule"] == "fixed"].set_index(["figure", "data"])["mean"]
    sets = {"internal": t("validation images"), "external": t("external images")}
    sets = {data: name for data, name in sets.items() if data in set(table["data"])}
    return {
        "sets": sets,
        "rows": [
            (metric.name, Numbers(t).label(metric, "p"), {data: fixed[metric.name, data] for data in sets})
            for metric in registry.METRICS.values()
            if metric.is_decision and metric.is_share
        ],
        "operating": operating(results, t),
        "chosen": chosen(results),
    }


def operating(results: Results, t: Language) -> dict[str, Any]:
    """What the page's script needs to give all decisions at any threshold: see `threshold.js`."""
    table = results.analysis.operating
    sets = {}
    for data, part in table.groupby("data"):
        counts = {
            name: part.pivot(index="seed", columns="threshold", values=name)
            for name in ("true_pos", "false_pos", "false_neg", "true_neg")
        }
        sets[str(data)] = {
            "positives": (counts["true_pos"] + counts["false_neg"]).iloc[:, 0].tolist(),
            "negatives": (counts["false_pos"] + counts["true_neg"]).iloc[:, 0].tolist(),
            "true_pos": counts["true_pos"].to_numpy().tolist(),
            "false_pos": counts["false_pos"].to_numpy().tolist(),
        }
    texts = {
        "summary": t(
            "Threshold %(threshold)s: sensitivity %(sensitivity)s, specificity %(specificity)s of validation images."
        ),
        "natural": t(
            "Of 1000 such images, %(positives)s with %(positive)s: %(found)s are found, %(missed)s are missed; "
            "%(alarms)s of the %(negatives)s others are called %(positive)s, too."
        ),
        "wrong": t("The prevalence must be a number from 0 to 100."),
        "some": t("(%(n)s of %(all)s runs)"),
    }
    positive = t(tasks.get(results.config.task).positive.title)
    steps = table["threshold"].nunique() - 1
    return {"steps": steps, "decimal": t.decimal, "dash": DASH, "sets": sets, "texts": texts, "positive": positive}


def chosen(results: Results) -> float:
    """The mean of the runs' chosen thresholds, as a step of `Analysis.operating`; NaN if there is none."""
    mean = float(results.analysis.seeds["threshold"].clip(0, 1).mean())  # below 0: whatever the score
    steps = results.analysis.operating["threshold"].nunique() - 1
    return math.nan if math.isnan(mean) else round(mean * steps) / steps


def all_metrics(results: Results, data: str, t: Language) -> dict[str, Any]:
    """Every metric of the internal or the external set, at both thresholds, and why some are undefined."""
    numbers = Numbers(t)
    return {
        "fixed": rows.metrics(results, data, "fixed", numbers),
        "at_chosen": rows.metrics(results, data, "chosen", numbers),
        "undefined": rows.undefined(results, data, numbers),
    }


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
ALL_METRICS = Section(
    "figures", "All figures", lambda results, t: all_metrics(results, "internal", t), template="metrics.html.jinja"
)
