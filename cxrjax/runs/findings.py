"""A run with many labels: the results of its findings side by side, one table and one summary."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cxrjax.analysis import tables as run_files
from cxrjax.analysis.tables import FindingsResults, Results
from cxrjax.base import tasks
from cxrjax.base.config import ExperimentConfig, finding_path
from cxrjax.base.tasks import Task
from cxrjax.metrics import resampled_t
from cxrjax.runs import draws, notes, results
from cxrjax.runs.results import Facts


def assemble(config: ExperimentConfig, facts: Facts, findings: list[Results], flow: pd.DataFrame) -> FindingsResults:
    """Sums up the results of all findings.

    Args:
      config: of the run.
      facts: of the run; `data` of the whole task.
      findings: in the order of the task's parts.
      flow: of the whole task.
    """
    task = tasks.get(config.task)
    return FindingsResults(
        config, facts.environment, facts.resolved, _summary(config, facts, findings), findings, flow,
        table(task, findings),
    )  # fmt: skip


def table(task: Task, findings: Sequence[Results]) -> pd.DataFrame:
    """A row a finding.

    Returns:
      finding, images and positives (in validation, mean over runs), auroc, auroc_sd, auroc_low, auroc_high (95 %, over
      runs), auprc, of the floors `film`, `metadata` and `probe` the AUROC, and each published AUROC under its name; NaN
      where undefined.
    """
    rows = []
    for part, of_finding in zip(task.parts, findings, strict=True):
        finding, seeds = part.positive.finding, of_finding.analysis.seeds
        inside, floors = of_finding.summary["internal"], of_finding.summary["floors"]
        row: dict[str, Any] = {
            "finding": finding,
            "images": seeds["n_val"].mean(),
            "positives": seeds["positives_val"].mean(),
            "auroc": inside["auroc"]["mean"],
            **{f"auroc_{name}": inside["auroc"][name] for name in ("sd", "low", "high")},
            "auprc": inside["auprc"]["mean"],
            **{name: floors[name].get("auroc") for name in ("film", "metadata", "probe")},
        }
        rows.append(row | {source.name: source.auroc.get(finding) for source in task.published_aurocs})
    frame = pd.DataFrame(rows)
    return frame.astype({name: float for name in frame if name != "finding"})


def mean_auroc(findings: Sequence[Results]) -> dict[str, Any]:
    """AUROC averaged over the findings of which every seed has one (`findings`), over runs: mean, sd, low, high."""
    of_each = {of_finding.config.finding: of_finding.analysis.seeds["auroc"].to_numpy() for of_finding in findings}
    defined = {finding: values for finding, values in of_each.items() if not np.isnan(values).any()}
    if not defined:
        return {"mean": None, "sd": None, "low": None, "high": None, "findings": []}
    sizes = findings[0].analysis.seeds[["n_train", "n_val"]].mean()
    over_runs = resampled_t.over_runs(np.mean(list(defined.values()), axis=0), *sizes)._asdict()
    record = {name: None if math.isnan(value) else value for name, value in over_runs.items()}
    return record | {"findings": list(defined)}


def _summary(config: ExperimentConfig, facts: Facts, findings: Sequence[Results]) -> dict[str, Any]:
    first, data = findings[0].summary, facts.data
    shared = ("experiment", "runs", "control", "split_by")
    return {
        **{name: first[name] for name in shared},
        "task": config.task,
        "minutes": round(facts.minutes, 2),
        "data": data,
        "split_by": draws.split_name(config, data["patients_unknown"], data["images"]),
        "mean_auroc": mean_auroc(findings),
        "findings": {
            of_finding.config.finding: {
                name: of_finding.summary[name] for name in ("internal", "external", "test", "ensemble", "floors")
            }
            for of_finding in findings
        },
        "notes": notes.of_run(config, data, findings[0].analysis.seeds),
    }


def reopen_any(folder: Path, **changed: Any) -> Results | FindingsResults:
    """A finished run of any task, analysed anew; as `results.reopen`, whose arguments it takes.

    Raises:
      InputError: if the folder holds no finished run, a damaged one, or one of another version.
    """
    config, facts = results.read_facts(folder, **changed)
    if config.finding or not tasks.get(config.task).is_multilabel:
        return results.reopen(folder, **changed)
    names = [part.positive.finding for part in tasks.get(config.task).parts]
    findings = [results.reopen(finding_path(folder, name), **changed) for name in names]
    return assemble(config, facts, findings, run_files.read_table(folder / "flow.csv"))
