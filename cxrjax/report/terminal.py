"""What programs say on the terminal: of a finished run, and of several as one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from cxrjax.analysis.tables import SCORED_BY_ALL
from cxrjax.base import tasks
from cxrjax.base.tasks import Task
from cxrjax.metrics import registry
from cxrjax.report.language import DASH, ENGLISH, reasons
from cxrjax.report.rows import CARD


def last_lines(summary: dict[str, Any]) -> str:
    """The summary a person wants, e.g. `P vs NF: accuracy 83.1 ± 3.0 % (poster 83 ± 7), FP 7.4 %, ...`, and a line for
    the ensemble of each set that it scored."""
    task = tasks.get(summary["task"])
    runs = f"{summary['runs']} seed{'s' if summary['runs'] > 1 else ''}, {summary['minutes']:.0f} min"
    if task.is_multilabel:
        return f"{task.title}: {_mean_auroc(summary['mean_auroc'], task)}, {runs}"
    inside = summary["internal"]

    def percent(name: str) -> str:
        mean, sd = inside[name]["mean"], inside[name]["sd"]
        return f"{100 * mean:.1f}" + ("" if sd is None else f" ± {100 * sd:.1f}") + " %"

    beside = ""
    if task.published:
        percents = task.published.percent
        beside = f" ({task.published.name} {percents['accuracy']} ± {percents['accuracy_sd']})"
    return (
        f"{task.title}: accuracy {percent('accuracy')}{beside}, "
        f"FP {100 * inside['fp_share']['mean']:.1f} %, FN {100 * inside['fn_share']['mean']:.1f} %, "
        f"AUROC {decimal(inside['auroc']['mean'])}{_floor(summary)}, {_elsewhere(summary)}"
        f"{runs}{''.join(_ensemble(data, summary) for data in summary.get('ensemble') or {})}"
    )


def _ensemble(data: str, summary: dict[str, Any]) -> str:
    """AUROC of the ensemble on a set, and its gain over single networks, with intervals."""
    auroc = summary["ensemble"][data]["auroc"]
    ends = {name: _interval(auroc[f"{name}_low"], auroc[f"{name}_high"]) for name in ("ensemble", "gain")}
    return (
        f"\n{data}, ensemble of {summary['runs']}: AUROC {decimal(auroc['ensemble'])}{ends['ensemble']}; "
        f"gain over single networks {decimal(auroc['gain'])}{ends['gain']}"
    )


def _mean_auroc(mean: dict[str, Any], task: Task) -> str:
    """AUROC averaged over findings, ours and as published."""
    sd = "" if mean["sd"] is None else f" ± {mean['sd']:.3f}"
    names, sources = mean["findings"], task.published_aurocs
    published = [f"{p.name} {np.mean([p.auroc[name] for name in names]):.3f}, {p.split}" for p in sources if names]
    beside = f" ({'; '.join(published)})" if published else ""
    return f"mean AUROC of {len(names)} of {len(task.parts)} findings {decimal(mean['mean'])}{sd}{beside}"


def _elsewhere(summary: dict[str, Any]) -> str:
    """Figures of the external and the held-out set beside the internal ones; empty if there is no such set."""
    sets = {name: summary[name] for name in SCORED_BY_ALL if summary.get(name)}
    return "".join(
        f"{name}: accuracy {100 * outside['accuracy']['mean']:.1f} %, AUROC {decimal(outside['auroc']['mean'])}, "
        for name, outside in sets.items()
    )


def _floor(summary: dict[str, Any]) -> str:
    """What view, sex and age alone reach, and with the follow-up number; empty where they are not known."""
    names = {"film": "view, sex, age alone", "metadata": "all metadata"}
    floors = {title: summary["floors"].get(name, {}) for name, title in names.items()}
    reached = [f"{title} {decimal(floor['auroc'])}" for title, floor in floors.items() if floor.get("available")]
    return f" ({', '.join(reached)})" if reached else ""


def decimal(value: float | None) -> str:
    """A figure with three digits."""
    return "undefined" if value is None else f"{value:.3f}"


def _interval(low: float | None, high: float | None) -> str:
    """Two ends in brackets, with three digits; empty without them."""
    return "" if low is None or high is None else f" ({low:.3f} to {high:.3f})"


def ensemble(table: pd.DataFrame) -> str:
    """Several runs as one: a block a finding, in it a row for each run, for single networks and for the ensemble.

    Args:
      table: finding, and the columns of `analysis.ensemble.compare`.
    """
    blocks = []
    for finding, of_finding in table.groupby("finding", sort=False):
        lines, undefined = [], []
        for scored_by, rows in of_finding.groupby("scored_by", sort=False):
            line = {finding: scored_by, "networks": rows["networks"].iloc[0]}
            for name in registry.shown_in(registry.FLOORS):
                row = rows.set_index("metric").to_dict("index")[name]
                interval = CARD.interval(name, row["low"], row["high"])
                line[CARD.name(name)] = CARD.value(name, row["value"]) + ("" if interval == DASH else f" ({interval})")
                line[f"gain over it, {registry.METRICS[name].short}"] = (
                    DASH
                    if np.isnan(row["gain"])
                    else CARD.difference_and_interval(name, row["gain"], row["gain_low"], row["gain_high"])
                )
                if row["undefined"]:
                    undefined.append(f"{scored_by}, {CARD.name(name)}: {reasons(row['undefined'], ENGLISH)}")
            lines.append(line)
        blocks.append("\n".join([pd.DataFrame(lines).to_string(index=False), *undefined]))
    return "\n\n".join(blocks)
