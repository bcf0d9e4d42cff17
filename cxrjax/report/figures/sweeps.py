"""Tables of runs as plots: readings of a protocol beside each other, and metrics against the number of patients."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from cxrjax.base.tasks import Task
from cxrjax.report import figures

_GREY = "#777777"
_PANELS = (("accuracy", "accuracy (%)", 100), ("auroc", "AUROC", 1))  # metric, its axis, scale


def readings(rows: Sequence[pd.Series], runs: Sequence[pd.DataFrame], task: Task) -> figures.Figure:
    """Forest plot: mean and 95 % interval of accuracy and AUROC of each row, single runs as dots, the published band.

    Args:
      rows: One or more of `sweep_tables.table` that are done, from top to bottom.
      runs: Of each row, accuracy and auroc by seed, 0..1.
      task: Whose published numbers are drawn, if there are any.
    """
    figure, panels = _canvas(1.4 + 0.45 * max(2, len(rows)), sharey=True)
    left = panels[0]
    if task.published:
        mean, sd = task.published.percent["accuracy"], task.published.percent["accuracy_sd"]
        label = f"{task.published.name}, mean ± SD of its runs"
        left.axvspan(mean - sd, mean + sd, color=figures.VERMILION, alpha=0.15, linewidth=0, label=label)
        left.axvline(mean, color=figures.VERMILION, linewidth=1.2)
    for axes, (name, title, scale) in zip(panels, _PANELS, strict=True):
        rng = np.random.default_rng(0)
        for place, (row, seeds) in enumerate(zip(rows, runs, strict=True)):
            dots, line = (
                ("one run", "mean and 95 % interval") if place == 0 else (None, None)
            )  # or they fill the legend
            values = seeds[name].astype(float) * scale
            heights = place + rng.uniform(-0.14, 0.14, len(values))
            axes.plot(values, heights, ".", color=_GREY, alpha=0.6, markersize=4, label=dots)
            ends = [row[f"{name}_low"] * scale, row[f"{name}_high"] * scale]
            axes.plot(ends, [place] * 2, "-", color=figures.BLUE, linewidth=2)
            axes.plot(row[name] * scale, place, "s", color=figures.BLUE, markersize=6, label=line)
        axes.grid(axis="x", alpha=0.25)
        axes.set(xlabel=title)
    left.set_yticks(range(len(rows)), [f"{row['label']}{' †' * bool(row['note'])}" for row in rows])
    left.set_ylim(len(rows) - 0.5, -0.5)
    figure.suptitle(f"{task.title}: what the poster leaves open", fontsize=11)
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False, fontsize=8)
    return figure


def sample_size(rows: pd.DataFrame, runs: Sequence[pd.DataFrame], task: Task) -> figures.Figure:
    """Accuracy and AUROC against training patients, a panel each: mean and 95 % interval, single runs as dots.

    Args:
      rows: One or more of `sweep_tables.table` that are done, with patients, by which they are sorted.
      runs: Of each row, accuracy and auroc by seed, 0..1.
      task: What was asked.
    """
    from matplotlib.ticker import NullLocator

    figure, panels = _canvas(4.2, sharey=False)
    for axes, (name, title, scale) in zip(panels, _PANELS, strict=True):
        for patients, seeds in zip(rows["patients"], runs, strict=True):
            values = seeds[name].astype(float) * scale
            axes.plot([patients] * len(values), values, ".", color=_GREY, alpha=0.5, markersize=5)
        means = rows[[name, f"{name}_low", f"{name}_high"]].to_numpy(float) * scale
        bars = np.abs(means[:, 1:] - means[:, :1]).T
        axes.errorbar(rows["patients"], means[:, 0], bars, color=figures.BLUE, marker="o", capsize=3, linewidth=1.8)
        axes.set_xscale("log", base=2)
        axes.set_xticks(rows["patients"], [f"{n:.0f}" for n in rows["patients"]])
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set(xlabel="training patients (log scale)", ylabel=title)
        axes.grid(alpha=0.25)
    figure.suptitle(f"{task.title}: mean and 95 % interval (Nadeau & Bengio), single runs as dots", fontsize=11)
    return figure


def _canvas(height: float, sharey: bool) -> tuple[figures.Figure, Sequence[figures.Axes]]:
    """A figure of two panels side by side; its height in inches."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.6, height), dpi=150, layout="constrained")
    panels = figure.subplots(1, 2, sharey=sharey)
    for axes in panels:
        axes.spines[["top", "right"]].set_visible(False)
    return figure, panels
