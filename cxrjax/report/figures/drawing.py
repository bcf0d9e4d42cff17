"""All figures of a run: which there are, and from what they are drawn."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from cxrjax.analysis.schema import Results
from cxrjax.base import tasks
from cxrjax.report.figures import curves, flow, forest, runs, scores
from cxrjax.report.figures.style import Picture
from cxrjax.report.language import Language


def draw(results: Results, t: Language) -> dict[str, Picture]:
    """Name of each figure that the results allow -> picture, in the order of the report."""
    found, given = results.analysis, results.tables
    task = tasks.get(results.config.task)
    classes = (t(task.negative.title), t(task.positive.title))
    drawn = {
        "flow": flow.flow(given.flow, t),
        "learning_curve": runs.learning_curve(given.history, task.title, t),
        "roc": curves.roc(given.predictions, given.external, over_runs(found.figures, "auroc"), t),
        "precision_recall": curves.precision_recall(given.predictions, over_runs(found.figures, "auprc"), t),
        "calibration": curves.calibration(found.calibration, t),
        "floors": forest.floors(found.floors, at_half(found.figures), t),
        "per_seed": runs.per_seed(found.seeds, t),
    }
    sets = {"": (given.predictions, found.seeds)}
    if given.external is not None and found.external_seeds is not None:
        sets["_external"] = (given.external, found.external_seeds)
    for end, (predictions, seeds) in sets.items():
        thresholds = seeds.set_index("seed")["threshold"]
        drawn["scores" + end] = scores.histogram(predictions, _marks(thresholds, t), classes, t)
        drawn["confusion" + end] = scores.confusion(
            {
                t("At %(threshold)s", threshold=t.number(0.5, 1)): scores.confusion_at(predictions, 0.5),
                t("At the chosen thresholds"): scores.confusion_at(predictions, thresholds),
            },
            classes,
            t,
        )
    if found.leakage is not None:
        drawn["leakage"] = forest.leakage(found.leakage, t)
    if len(found.subgroups):
        overall = {name: row["pooled"] for name, row in at_half(found.figures).items()}
        for name, shown, title in (
            ("subgroups", ("auroc",), t("AUROC by subgroup")),
            ("subgroups_decisions", ("sensitivity", "specificity"), t("Sensitivity (●), specificity (■)")),
        ):
            lines = {figure: overall[figure] for figure in shown}
            drawn[name] = forest.subgroups(found.subgroups, lines, title, t)
    return drawn


def at_half(figures: pd.DataFrame) -> dict[Any, dict[Any, Any]]:
    """Rows of `Analysis.figures` of the validation images at threshold 0.5, by figure."""
    return figures[(figures["data"] == "internal") & (figures["rule"] == "fixed")].set_index("figure").to_dict("index")


def over_runs(figures: pd.DataFrame, name: str) -> dict[Any, dict[Any, Any]]:
    """Rows of one figure at threshold 0.5, by data set."""
    return figures[(figures["figure"] == name) & (figures["rule"] == "fixed")].set_index("data").to_dict("index")


def _marks(thresholds: pd.Series, t: Language) -> dict[str, float]:
    """What to write at the two thresholds."""
    mean = float(thresholds.clip(0, 1).mean())  # below 0: whatever the score
    chosen = {} if math.isnan(mean) else {t("chosen %(threshold)s", threshold=t.number(mean, 2)): mean}
    return {t.number(0.5, 1): 0.5} | chosen
