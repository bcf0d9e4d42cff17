"""Metrics of tables of runs against a number, a line a group."""

from __future__ import annotations

import pandas as pd

from cxrjax.base.tasks import Task
from cxrjax.report import figures

_MARKS = "osD^v<>P*X"


def against(rows: pd.DataFrame, x: str, by: str, xlabel: str, task: Task) -> figures.Figure:
    """AUROC and accuracy against a column, a panel each, a line for each group with 95 % intervals.

    Args:
      rows: One or more of `sweep_tables.table` that are done.
      x: Column of numbers.
      by: Column of groups.
      xlabel: Of the axis.
      task: What was asked.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import NullLocator

    figure = Figure(figsize=(9.6, 4.6), dpi=150, layout="constrained")
    groups = list(dict.fromkeys(rows[by]))
    for axes, (name, title, scale) in zip(
        figure.subplots(1, 2), (("auroc", "AUROC", 1), ("accuracy", "accuracy (%)", 100)), strict=True
    ):
        for number, group in enumerate(groups):
            part = rows[rows[by] == group].sort_values(x)
            # A hundredth apart, or intervals of one place would hide each other.
            places = part[x] * 1.01 ** (number - len(groups) / 2)
            bars = [scale * (part[name] - part[f"{name}_low"]), scale * (part[f"{name}_high"] - part[name])]
            axes.errorbar(
                places, scale * part[name], bars, marker=_MARKS[number % len(_MARKS)], markersize=5, linewidth=1.4,
                elinewidth=0.7, color=f"C{number}", label=str(group),
            )  # fmt: skip
        axes.set_xscale("log")
        ticks = sorted(set(rows[x]))
        axes.set_xticks(ticks, [f"{tick:.3g}" for tick in ticks])
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set(xlabel=xlabel, ylabel=title)
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False, fontsize=8)
    figure.suptitle(f"{task.title}: mean and 95 % interval (Nadeau & Bengio)", fontsize=11)
    return figure
