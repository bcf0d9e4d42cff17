"""A run in one JSON file, in notes beside its figures, and in one line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from cxrjax.analysis.tables import Analysis
from cxrjax.base import tasks
from cxrjax.base.codes import code
from cxrjax.base.config import ExperimentConfig
from cxrjax.base.tasks import Task
from cxrjax.data import cohort
from cxrjax.metrics import resampled_t
from cxrjax.storage.store import About, ImageStore, label_counts


def data(about: About, store: ImageStore, task: Task) -> dict[str, Any]:
    """Where the images come from, and how many there are of each class, listed and present."""
    return {
        "source": about.source,
        "listed": cohort.count(about.listed, task.counted),
        "present": cohort.count(label_counts(store.table), task.counted),
        "made": about.made,
        "bad_images": about.bad_images,
    }


def summary(config: ExperimentConfig, data: dict[str, Any], analysis: Analysis, minutes: float) -> dict[str, Any]:
    """What summary.json holds: shares 0..1, null if undefined; mean, sd, low, high (95 %) are over runs.

    Args:
      config: of the run.
      data: see `data`.
      analysis: of its tables.
      minutes: since its last start.
    """
    best = resampled_t.over_runs(
        analysis.seeds["best_epoch_accuracy"].to_numpy(float),
        analysis.seeds["n_train"].mean(),
        analysis.seeds["n_val"].mean(),
    )
    task = tasks.get(config.task)
    floors = analysis.floors[analysis.floors["floor"] != "network"]
    return {
        "experiment": config.name,
        "task": task.name,
        "runs": len(analysis.seeds),
        "minutes": round(minutes, 2),
        "data": data,
        "split_by": config.split_by,
        "control": config.control,
        "internal": _figures(analysis, "internal") | {"best_epoch_accuracy": _record(best._asdict())},
        # Here runs share all images, so only training differs: no interval for new images follows from it.
        "external": None if analysis.external_seeds is None else _figures(analysis, "external"),
        "floors": {row["floor"]: _record(row) for row in floors.to_dict("records")},
        "leakage": None
        if analysis.leakage is None
        else {row["metric"]: _record(row) for row in analysis.leakage.to_dict("records")},
        "poster_percent": dict(task.published.percent) if task.published else None,
        "notes": notes(config, data, analysis.seeds),
    }


def _figures(analysis: Analysis, data: str) -> dict[str, dict[str, Any]]:
    """Figures at the fixed threshold: name -> mean, sd, low, high, pooled, pooled_low, pooled_high."""
    chosen = analysis.metrics[(analysis.metrics["data"] == data) & (analysis.metrics["rule"] == "fixed")]
    return {row["metric"]: _record(row, ("data", "rule", "metric")) for row in chosen.to_dict("records")}


def _record(row: Mapping[Any, Any], without: tuple[str, ...] = ("floor", "metric")) -> dict[str, Any]:
    """A row of a table as JSON knows it."""
    return {
        str(name): None if pd.isna(value) else getattr(value, "item", lambda value=value: value)()
        for name, value in row.items()
        if name not in without
    }


def notes(config: ExperimentConfig, data: dict[str, Any], seeds: pd.DataFrame) -> list[str]:
    """What a reader must know beside the metrics, as codes with their values: see `cxrjax.base.codes`.

    Args:
      config: Configuration of the run.
      data: As `data` gives it.
      seeds: `Analysis.seeds`.
    """
    task, codes = tasks.get(config.task), []
    listed, present = data["listed"], data["present"]
    positive, others = (side.name for side in task.counted[:2])
    if config.control == "shuffled_labels":
        codes.append(code("shuffled_labels"))
    if config.data_dir is None:
        codes.append(code("phantom"))
    if listed[positive] + listed[others] > present[positive] + present[others]:
        counts = {"n": present[positive], "of": listed[positive], "positive": positive}
        other_counts = {"others_n": present[others], "others_of": listed[others], "others": others}
        codes.append(code("partly_present", **counts, **other_counts))
    negatives = int((seeds["n_train"] + seeds["n_val"] - seeds["positives_train"] - seeds["positives_val"]).iloc[0])
    if config.view == "all" and not config.train_patients and negatives == present[task.negative.name]:
        codes.append(code("all_negatives", n=negatives, negative=task.negative.name))
    if share := seeds["contaminated_share"].mean():
        codes.append(code("patients_on_both_sides", by=config.split_by, share=f"{share:.3g}"))
    if config.split_by == "official":
        codes.append(code("official_split"))
    return codes


def last_line(summary: dict[str, Any]) -> str:
    """The summary a person wants, e.g. `P vs NF: accuracy 83.1 ± 3.0 % (poster 83 ± 7), FP 7.4 %, ...`."""
    inside, poster = summary["internal"], summary["poster_percent"]

    def percent(name: str) -> str:
        mean, sd = inside[name]["mean"], inside[name]["sd"]
        return f"{100 * mean:.1f}" + ("" if sd is None else f" ± {100 * sd:.1f}") + " %"

    beside = f" (poster {poster['accuracy']} ± {poster['accuracy_sd']})" if poster else ""
    return (
        f"{tasks.get(summary['task']).title}: accuracy {percent('accuracy')}{beside}, "
        f"FP {100 * inside['fp_share']['mean']:.1f} %, FN {100 * inside['fn_share']['mean']:.1f} %, "
        f"AUROC {decimal(inside['auroc']['mean'])}{_floor(summary)}, {_elsewhere(summary)}"
        f"{summary['runs']} seed{'s' if summary['runs'] > 1 else ''}, {summary['minutes']:.0f} min"
    )


def _elsewhere(summary: dict[str, Any]) -> str:
    """The external set's figures beside the internal ones; empty if there is no such set."""
    outside = summary["external"]
    if outside is None:
        return ""
    return f"external: accuracy {100 * outside['accuracy']['mean']:.1f} %, AUROC {decimal(outside['auroc']['mean'])}, "


def _floor(summary: dict[str, Any]) -> str:
    """What view, age, sex and follow-up number alone reach; empty where they are not known."""
    floor = summary["floors"]["metadata"]
    return f" (metadata alone {decimal(floor['auroc'])})" if floor["available"] else ""


def decimal(value: float | None) -> str:
    """A figure with three digits."""
    return "undefined" if value is None else f"{value:.3f}"
