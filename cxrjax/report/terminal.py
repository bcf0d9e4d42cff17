"""What programs say on the terminal: of a finished run, and of several as one."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from cxrjax.analysis.tables import SCORED_BY_ALL, FindingsResults, Results
from cxrjax.base import progress, tasks
from cxrjax.base.config import ExperimentConfig, finding_path, program, run_path
from cxrjax.base.tasks import Task
from cxrjax.metrics import registry
from cxrjax.report.language import DASH, ENGLISH, reasons
from cxrjax.report.rows import CARD
from cxrjax.report.sections import verdict

_SHOWN = {"accuracy": (100, 1), "fp_share": (100, 1), "fn_share": (100, 1), "auroc": (1, 3)}  # factor, digits
_COLUMNS = ("validation", "accuracy %", "FP %", "FN %", "AUROC", "network minus it")


class Table(NamedTuple):
    """Result of a run for a terminal."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()  # lines below it


def result(summary: dict[str, Any]) -> Table:
    """What a person wants of `summary.json`: the network beside what was published and what it must beat.

    Means over runs, ± their SD; FP and FN as shares of all images; the last column is the difference of AUROCs with
    its 95 % interval.
    """
    task = tasks.get(summary["task"])
    seeds, minutes = summary["runs"], summary["minutes"]
    title = f"{task.title}, {seeds} seed{'s' if seeds > 1 else ''}, {progress.duration(60 * minutes)}"
    if task.is_multilabel:
        return Table(title, ("", "mean AUROC", "split"), _mean_auroc(summary, task))
    rows = [("this network", *_cells(summary["internal"]), "")]
    if task.published:
        percent = {name: str(value) for name, value in task.published.percent.items()}
        percent["accuracy"] = f"{percent['accuracy']} ± {percent['accuracy_sd']}"
        rows.append((task.published.name, *(percent.get(name, DASH) for name in _SHOWN), ""))
    for name, floor in summary["floors"].items():
        if floor["available"]:
            spread = {metric: {"mean": floor.get(metric), "sd": floor.get(f"{metric}_sd")} for metric in _SHOWN}
            ahead = _signed(*(floor[f"auroc_difference{end}"] for end in ("", "_low", "_high")))
            rows.append((ENGLISH.word("floor", name), *_cells(spread), ahead))
    rows += [(f"{name} set", *_cells(summary[name]), "") for name in SCORED_BY_ALL if summary.get(name)]
    return Table(
        title, _COLUMNS, tuple(rows), tuple(_ensemble(data, summary) for data in summary.get("ensemble") or ())
    )


def _cells(values: Mapping[str, Mapping[str, float | None]]) -> list[str]:
    """Means and SDs of `_SHOWN`, shares in per cent; a dash where there is none."""
    cells = []
    for name, (factor, digits) in _SHOWN.items():
        mean, sd = (values.get(name, {}).get(part) for part in ("mean", "sd"))
        spread = "" if sd is None or name in ("fp_share", "fn_share") else f" ± {ENGLISH.number(factor * sd, digits)}"
        cells.append(DASH if mean is None else f"{ENGLISH.number(factor * mean, digits)}{spread}")
    return cells


def _signed(difference: float | None, low: float | None, high: float | None) -> str:
    """A difference of AUROCs and its interval, with signs."""
    if difference is None:
        return DASH
    return f"{difference:+.2f}" + ("" if low is None or high is None else f" ({low:+.2f} to {high:+.2f})")


def answer(results: Results | FindingsResults) -> str:
    """The report's answer, and the first sentence of what it rests on; of many findings there is none."""
    if isinstance(results, FindingsResults):
        return ""
    return f"{verdict.answer(results, ENGLISH)}\n{verdict.verdict(results, ENGLISH).partition('. ')[0].rstrip('.')}."


def last_words(config: ExperimentConfig) -> str:
    """What to open, and what to try next: after a run on the phantom on real images, else with what was trained."""
    run = run_path(config)
    if config.data_dir is None:
        title = "next, on real images (NIH ChestX-ray14, a folder for each class, or a table of images):"
        commands = [
            f"{program('describe')} --data_dir=FOLDER",
            f"{program(config.name)} --data_dir=FOLDER --seeds=2 --epochs=10 --momentum=0.9 --augment_bank=2",
        ]
    else:
        title = "next, with these networks (where they look in an image, scores of other images):"
        of_one = finding_path(run, "FINDING" if tasks.get(config.task).is_multilabel else "")
        commands = [
            f"{program('where_it_looks')} --run={shlex.quote(str(of_one))}",
            f"{program('predict')} --run={shlex.quote(str(run))} IMAGES",
        ]
    return "\n".join([f"report: {run / 'report.html'}", "", title, *(f"  {command}" for command in commands)])


def _ensemble(data: str, summary: dict[str, Any]) -> str:
    """AUROC of the ensemble on a set, and its gain over single networks, with intervals."""
    auroc = summary["ensemble"][data]["auroc"]
    ends = {name: _interval(auroc[f"{name}_low"], auroc[f"{name}_high"]) for name in ("ensemble", "gain")}
    return (
        f"{data}, ensemble of {summary['runs']}: AUROC {decimal(auroc['ensemble'])}{ends['ensemble']}; "
        f"gain over single networks {decimal(auroc['gain'])}{ends['gain']}"
    )


def _mean_auroc(summary: dict[str, Any], task: Task) -> tuple[tuple[str, ...], ...]:
    """AUROC averaged over findings, ours and as published."""
    mean = summary["mean_auroc"]
    sd = "" if mean["sd"] is None else f" ± {mean['sd']:.3f}"
    names, sources = mean["findings"], task.published_aurocs
    ours = f"this network, {len(names)} of {len(task.parts)} findings"
    published = [(p.name, f"{np.mean([p.auroc[name] for name in names]):.3f}", p.split) for p in sources if names]
    return ((ours, f"{decimal(mean['mean'])}{sd}", f"by {summary['split_by']}"), *published)


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
