"""One English page of a model's scores: a table of findings, and of each its curves, metrics and subgroups."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from cxrjax.analysis.evaluation import Evaluation
from cxrjax.base.tasks import Task
from cxrjax.metrics import registry
from cxrjax.report import figures, pages
from cxrjax.report.figures import curves
from cxrjax.report.language import ENGLISH, reasons
from cxrjax.report.rows import Numbers

_NUMBERS = Numbers(ENGLISH, units=True)


def html(task: Task, summary: Mapping[str, Any], findings: pd.DataFrame, evaluations: Sequence[Evaluation]) -> str:
    """The page; it fetches nothing.

    Args:
      task: that was asked.
      summary: what summary.json holds.
      findings: see `runs.evaluate.table`.
      evaluations: in the same order.
    """
    values = {
        "task": task,
        "summary": summary,
        "rows": findings.to_dict("records"),
        "lead": _lead(task, findings),
        "parts": [_part(found, summary["prevalence"]) for found in evaluations],
    }
    return str(pages.html("evaluation.html.jinja", ENGLISH, values))


def _lead(task: Task, findings: pd.DataFrame) -> str:
    """The first sentence: the mean AUROC, or the one with its interval, and published ones with their split."""
    if len(findings) == 1:
        row = findings.iloc[0]
        ends = ENGLISH.interval(ENGLISH.number(row["auroc_low"]), ENGLISH.number(row["auroc_high"]))
        return f"AUROC {ENGLISH.number(row['auroc'])} (95 % interval {ends}) for {row['finding']}."
    published = [
        f"{source.name} {ENGLISH.number(float(pd.Series(source.auroc)[findings['finding']].mean()))} "
        f"(split: {source.split})"
        for source in task.published_aurocs
        if set(findings["finding"]) <= set(source.auroc)
    ]
    mean = ENGLISH.number(float(findings["auroc"].mean()))
    beside = f"; published for the same findings, on other images: {', '.join(published)}" if published else ""
    return f"Mean AUROC {mean} over {findings['auroc'].notna().sum()} findings{beside}."


def _part(found: Evaluation, prevalence: float) -> dict[str, Any]:
    finding, auroc = found.task.positive.finding, found.value("auroc")
    drawn = {}
    if not math.isnan(auroc):
        drawn["roc"] = curves.roc({"scored": found.predictions}, {"scored": {"mean": auroc, "sd": math.nan}}, ENGLISH)
    drawn["calibration"] = curves.calibration(found.calibration, found.task.positive.title, ENGLISH)
    return {
        "finding": finding,
        "title": found.task.title,
        "pictures": [figures.inline(f"{name}_{finding}", picture) for name, picture in drawn.items()],
        "metrics": [
            {
                "name": _NUMBERS.name(row["metric"], prevalence),
                "value": _NUMBERS.value(row["metric"], row["value"]),
                "interval": _NUMBERS.interval(row["metric"], row["low"], row["high"]),
                "why": reasons(row["undefined"], ENGLISH),
            }
            for row in found.metrics.to_dict("records")
        ],
        "names": [_NUMBERS.short(name) for name in registry.shown_in(registry.SUBGROUPS)],
        "groups": [
            row
            | {"variable": ENGLISH.word("variable", row["variable"]), "group": ENGLISH.word("name", row["group"])}
            | {"cells": [_NUMBERS.value(name, row[name]) for name in registry.shown_in(registry.SUBGROUPS)]}
            | {"auroc_interval": _NUMBERS.interval("auroc", row["auroc_low"], row["auroc_high"])}
            for row in found.subgroups.to_dict("records")
        ],
    }
