"""Scores of any model -> a folder with every figure of them: tables of each question, summary.json, report.html."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cxrjax.analysis import evaluation
from cxrjax.analysis.evaluation import Evaluation
from cxrjax.analysis.tables import TABLES
from cxrjax.base import files
from cxrjax.base.config import finding_path
from cxrjax.base.flags import ScoresFlags
from cxrjax.base.tasks import Task
from cxrjax.data import predictions
from cxrjax.report import evaluation_page
from cxrjax.runs import score_sets

_IMAGES = TABLES["images"].columns


def run(path: Path, flags: ScoresFlags, task: Task, prevalence: float) -> list[Evaluation]:
    """The evaluations of a table of scores against the labels that a source lists.

    Raises:
      InputError: see `score_sets.read`.
    """
    sets = score_sets.read(path, task, predictions.listed(str(flags.data_dir), flags, flags.labels), flags.logits)
    return [
        evaluation.evaluate(part, scored[TABLES["predictions"].columns], scored[_IMAGES], prevalence)
        for part in task.questions
        if (scored := sets.get(part.positive.finding)) is not None
    ]


def table(task: Task, evaluations: Sequence[Evaluation]) -> pd.DataFrame:
    """A row a question: finding, images, patients, positives, auroc with its interval, some metrics, and published
    AUROCs of it under their names."""
    names = ("auprc", "sensitivity", "specificity", "ece", "calibration_slope")
    rows = []
    for found in evaluations:
        finding, once = found.task.positive.finding, found.predictions
        row: dict[str, Any] = {
            "finding": finding,
            "images": len(once),
            "patients": once["patient"].nunique(),
            "positives": int(once["label"].sum()),
            "auroc": found.value("auroc"),
            "auroc_low": found.value("auroc", "low"),
            "auroc_high": found.value("auroc", "high"),
            **{name: found.value(name) for name in names},
        }
        rows.append(row | {source.name: source.auroc.get(finding, np.nan) for source in task.published_aurocs})
    return pd.DataFrame(rows)


def write(
    folder: Path, path: Path, flags: ScoresFlags, task: Task, evaluations: Sequence[Evaluation], prevalence: float
) -> dict[str, Any]:
    """Writes the folder; returns what summary.json holds.

    Args:
      folder: made if need be; files of an earlier evaluation are replaced.
      path: of the scores.
      flags: where the labels come from.
      task: that was asked.
      evaluations: see `run`.
      prevalence: for which they were made.
    """
    findings = table(task, evaluations)
    for found in evaluations:
        place = finding_path(folder, found.task.positive.finding)
        place.mkdir(parents=True, exist_ok=True)
        for name, rows in found._asdict().items():
            if name != "task":
                files.write_text(place / f"{name}.csv", rows.to_csv(index=False, float_format="%.7g"))
    files.write_text(folder / "findings.csv", findings.to_csv(index=False, float_format="%.7g"))
    summary = {
        "task": task.name,
        "scores": str(path),
        "scores_sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "data": flags.data_dir,
        "labels": flags.labels,
        "prevalence": prevalence,
        "mean_auroc": None if findings["auroc"].isna().all() else float(findings["auroc"].mean()),
        "findings": {
            row["finding"]: {name: None if pd.isna(value) else value for name, value in row.items()}
            for row in findings.to_dict("records")
        },
    }
    files.write_text(folder / "report.html", evaluation_page.html(task, summary, findings, evaluations))
    files.write_json(folder / "summary.json", summary)
    return summary
