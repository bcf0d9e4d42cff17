"""Metrics with their intervals, row by row: floors, subgroups, leakage; readings of a protocol, and sample sizes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from cxrjax.base.tasks import Published, Task
from cxrjax.metrics import registry
from cxrjax.report import figures
from cxrjax.report.figures import Picture
from cxrjax.report.language import Language

ROW = 0.235  # inches, a line of a forest plot
_DOTS = "#777777"
_PANELS = (("accuracy", "accuracy (%)", 100), ("auroc", "AUROC", 1))  # of tables of runs: metric, its axis, scale


class Mark(NamedTuple):
    """A metric with its interval."""

    value: float
    low: float
    high: float
    colour: str = figures.BLUE
    shape: str = "o"
    is_open: bool = False


class Row(NamedTuple):
    """A line of a forest plot; one without marks is a heading."""

    label: str
    marks: tuple[Mark, ...] = ()
    text: str = ""  # at the right edge
    strong: bool = False
    weak: bool = False  # grey and open


def plot(axes: figures.Axes, rows: Sequence[Row], references: Sequence[float]) -> None:
    """Rows from the top; a reference for each of a row's marks is a dashed line."""
    for place, row in enumerate(rows):
        last = len(row.marks) - 1
        for number, mark in enumerate(row.marks):
            at = place + 0.17 * (2 * number - last) / max(last, 1)
            colour = figures.GREY if row.weak else mark.colour
            axes.hlines(at, mark.low, mark.high, color=colour, linewidth=1.3)
            inside = "#ffffff" if row.weak or mark.is_open else colour
            axes.plot(mark.value, at, color=colour, marker=mark.shape, markersize=4.5, markerfacecolor=inside)
        axes.annotate(
            row.text, (1.03, place), xycoords=("axes fraction", "data"), va="center", fontsize=figures.SMALL,
            color=figures.GREY if row.weak else "#000000",
        )  # fmt: skip
    for reference, dash in zip(references, ("--", ":"), strict=False):
        axes.axvline(reference, color=figures.GREY, linewidth=1, linestyle=dash, zorder=0.5)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_yticks(range(len(rows)), [row.label for row in rows], fontsize=figures.SMALL, parse_math=False)
    for row, text in zip(rows, axes.get_yticklabels(), strict=True):
        text.set_fontweight("bold" if row.strong else "normal")
        text.set_color(figures.GREY if row.weak else "#000000")
    axes.tick_params(axis="y", length=0)
    figures.few_ticks(axes.xaxis, most=5, least=3)
    axes.grid(visible=False, axis="y")


def floors(table: pd.DataFrame, network: dict[Any, dict[Any, float]], t: Language) -> Picture:
    """The network and what it must beat. A floor's bar is the interval of its difference to the network, drawn around
    the floor: where it does not reach the network's dashed line from the left, the floor is beaten.

    Args:
      table: `Analysis.floors`.
      network: Of accuracy and auroc: mean, low, high over seeds.
      t: Language of the texts.
    """
    table = table[table["available"].astype(bool)]
    height = len(table) * ROW
    figure = figures.canvas(2 * height + 1.46, left=1.45, right=0.85)
    figure.subplots_adjust(hspace=0.62 / height)
    texts = []
    for place, (name, title) in enumerate((("auroc", "AUROC"), ("accuracy", t("Accuracy (%)"))), 1):
        factor, digits = (100, 1) if name == "accuracy" else (1, 3)
        axes = figures.axes(figure, 2, place, title)
        shown = [_floor(row, name, network[name], factor, digits, t) for row in table.to_dict("records")]
        plot(axes, shown, [network[name]["mean"] * factor])
        left, right = axes.get_xlim()
        axes.set_xlim(max(left, -0.03 * factor), min(right, 1.03 * factor))  # of two runs an interval may reach further
        figures.write_ticks(t, axes, digits=0 if factor == 100 else 2)
        texts.append(f"{title}: " + ", ".join(f"{row.label} {row.text}" for row in shown))
    figures.name_axes(axes, t("bar of a floor: 95 % interval of its difference"))
    return Picture(figure, t("The network and its floors. %(values)s.", values="; ".join(texts)))


def _floor(row: dict[Any, Any], name: str, network: dict[Any, float], factor: float, digits: int, t: Language) -> Row:
    label, value = t.word("floor", row["floor"]), row[name] * factor
    text = t("undefined") if math.isnan(value) else t.number(value, digits)
    if row["floor"] == "network":
        return Row(label, (Mark(value, network["low"] * factor, network["high"] * factor),), text, strong=True)
    low, high = ((network["mean"] - row[f"{name}_difference_{end}"]) * factor for end in ("high", "low"))
    return Row(label, (Mark(value, low, high, figures.VERMILION, "s"),), text)


def subgroups(table: pd.DataFrame, overall: dict[Any, float], title: str, t: Language) -> Picture:
    """One or two metrics of each subgroup with 95 % intervals; small groups are grey and open.

    Args:
      table: `Analysis.subgroups`.
      overall: Metric -> its value for all images; the first has circles, the second squares.
      title: Of the picture.
      t: Language of the texts.
    """
    rows = []
    for variable, groups in table.groupby("variable", sort=False):
        rows.append(Row(t.word("variable", variable), strong=True))
        rows.extend(_subgroup(group, list(overall), t) for group in groups.to_dict("records"))
    name = t("95 % interval; grey: small group; line: all images")
    right = 0.45 + 0.35 * len(overall)
    figure, axes = figures.plot(title, name, 0.95 + len(rows) * ROW, left=1.72, right=right)
    plot(axes, rows, list(overall.values()))
    figures.write_ticks(t, axes, digits=2)
    texts = "; ".join(f"{row.label} {row.text}".strip() for row in rows)
    return Picture(figure, f"{title}. {texts}.")


def _subgroup(group: dict[Any, Any], names: list[str], t: Language) -> Row:
    name = _shortened(t.word("name", group["group"]))
    marks = [
        Mark(group[name], group[f"{name}_low"], group[f"{name}_high"], colour, shape)
        for name, colour, shape in zip(names, (figures.BLUE, figures.VERMILION), "os", strict=False)
    ]
    text = " / ".join(t.number(mark.value, 2) for mark in marks)
    return Row(f"{name} ({t.count(group['images'])})", tuple(marks), text, weak=bool(group["small"]))


def _shortened(text: str, most: int = 14) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def leakage(table: pd.DataFrame, t: Language) -> Picture:
    """What a split by image adds to a split by patient, in percentage points, with intervals.

    Args:
      table: `Analysis.leakage`.
      t: Language of the texts.
    """
    by_name = table.set_index("metric").to_dict("index")
    rows = []
    for name in registry.shown_in(registry.MAIN):
        mark = Mark(*(100 * by_name[name][column] for column in ("difference", "low", "high")))
        rows.append(Row(t(registry.METRICS[name].short), (mark,), t.signed(mark.value, 1)))
    title, name = t("Split by image minus split by patient"), t("percentage points (AUROC × 100), 95 % interval")
    figure, axes = figures.plot(title, name, 0.95 + len(rows) * ROW, left=1.2, right=0.72)
    plot(axes, rows, [0])
    figures.write_ticks(t, axes, digits=0)
    alt = t(
        "Split by image minus split by patient, in percentage points: %(values)s.",
        values=", ".join(f"{row.label} {row.text}" for row in rows),
    )
    return Picture(figure, alt)


def gains(table: pd.DataFrame, metric: str, t: Language) -> Picture:
    """What recalibration by n local images adds to a share, in percentage points, with intervals; two marks a row.

    Args:
      table: see `recalibration.gains`.
      metric: a share that both rules have.
      t: Language of the texts.
    """
    styles = {"threshold": (figures.VERMILION, "s"), "platt": (figures.BLUE, "o")}
    rows = []
    for n, of_n in table[table["metric"] == metric].groupby("n"):
        marks = [
            Mark(100 * row["difference"], 100 * row["low"], 100 * row["high"], *styles[row["rule"]])
            for row in of_n.to_dict("records")
        ]
        text = " / ".join(t.signed(mark.value, 1) for mark in marks)
        rows.append(Row(t("%(n)s images", n=t.count(float(str(n)))), tuple(marks), text))
    title = t("%(metric)s gained: ■ threshold, ● Platt scaling", metric=registry.METRICS[metric].label)
    name = t("percentage points, 95 % interval")
    figure, axes = figures.plot(title, name, 0.95 + len(rows) * 1.6 * ROW, left=1.2, right=1.0)
    plot(axes, rows, [0])
    figures.write_ticks(t, axes, digits=0)
    return Picture(figure, f"{title}: " + ", ".join(f"{row.label} {row.text}" for row in rows))


def rows_of_runs(
    rows: Sequence[pd.Series], runs: Sequence[pd.DataFrame], published: Published | None, title: str
) -> figures.Figure:
    """Forest plot: mean and 95 % interval of accuracy and AUROC of each row, single runs as dots, the published band.

    Args:
      rows: One or more of `sweep_tables.table` that are done, from top to bottom.
      runs: Of each row, accuracy and auroc by seed, 0..1.
      published: Numbers that are drawn beside, if there are any.
      title: Of the figure.
    """
    figure, panels = _canvas(1.4 + 0.45 * max(2, len(rows)), sharey=True)
    left = panels[0]
    if published:
        mean, sd = published.percent["accuracy"], published.percent["accuracy_sd"]
        label = f"{published.name}, mean ± SD of its runs"
        left.axvspan(mean - sd, mean + sd, color=figures.VERMILION, alpha=0.15, linewidth=0, label=label)
        left.axvline(mean, color=figures.VERMILION, linewidth=1.2)
    for axes, (name, axis, scale) in zip(panels, _PANELS, strict=True):
        rng = np.random.default_rng(0)
        for place, (row, seeds) in enumerate(zip(rows, runs, strict=True)):
            dots, line = (
                ("one run", "mean and 95 % interval") if place == 0 else (None, None)
            )  # or they fill the legend
            values = seeds[name].astype(float) * scale
            heights = place + rng.uniform(-0.14, 0.14, len(values))
            axes.plot(values, heights, ".", color=_DOTS, alpha=0.6, markersize=4, label=dots)
            ends = [row[f"{name}_low"] * scale, row[f"{name}_high"] * scale]
            axes.plot(ends, [place] * 2, "-", color=figures.BLUE, linewidth=2)
            axes.plot(row[name] * scale, place, "s", color=figures.BLUE, markersize=6, label=line)
        axes.grid(axis="x", alpha=0.25)
        axes.set(xlabel=axis)
    left.set_yticks(range(len(rows)), [f"{row['label']}{' †' * bool(row['note'])}" for row in rows])
    left.set_ylim(len(rows) - 0.5, -0.5)
    figure.suptitle(title, fontsize=11)
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
            axes.plot([patients] * len(values), values, ".", color=_DOTS, alpha=0.5, markersize=5)
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
