"""Metrics with their intervals, row by row: floors, subgroups, leakage."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import pandas as pd

from cxrjax.metrics import registry
from cxrjax.report import figures
from cxrjax.report.figures import Picture
from cxrjax.report.language import Language

_ROW = 0.235  # inches


class Mark(NamedTuple):
    """A metric with its interval."""

    value: float
    low: float
    high: float
    colour: str = figures.BLUE
    shape: str = "o"


class Row(NamedTuple):
    """A line of a forest plot; one without marks is a heading."""

    label: str
    marks: tuple[Mark, ...] = ()
    text: str = ""  # at the right edge
    strong: bool = False
    weak: bool = False  # grey and open


def _plot(axes: figures.Axes, rows: Sequence[Row], references: Sequence[float]) -> None:
    """Rows from the top; a reference for each of a row's marks is a dashed line."""
    for place, row in enumerate(rows):
        for number, mark in enumerate(row.marks):
            at = place + (0.17 * (2 * number - 1) if len(row.marks) > 1 else 0)
            colour = figures.GREY if row.weak else mark.colour
            axes.hlines(at, mark.low, mark.high, color=colour, linewidth=1.3)
            inside = "#ffffff" if row.weak else colour
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
    height = len(table) * _ROW
    figure = figures.canvas(2 * height + 1.46, left=1.2, right=0.85)
    figure.subplots_adjust(hspace=0.62 / height)
    texts = []
    for place, (name, title) in enumerate((("auroc", "AUROC"), ("accuracy", t("Accuracy (%)"))), 1):
        factor, digits = (100, 1) if name == "accuracy" else (1, 3)
        axes = figures.axes(figure, 2, place, title)
        shown = [_floor(row, name, network[name], factor, digits, t) for row in table.to_dict("records")]
        _plot(axes, shown, [network[name]["mean"] * factor])
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
    figure = figures.canvas(0.95 + len(rows) * _ROW, left=1.72, right=0.45 + 0.35 * len(overall))
    axes = figures.axes(figure, title=title)
    _plot(axes, rows, list(overall.values()))
    figures.write_ticks(t, axes, digits=2)
    figures.name_axes(axes, t("95 % interval; grey: small group; line: all images"))
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
    figure = figures.canvas(0.95 + len(rows) * _ROW, left=1.2, right=0.72)
    axes = figures.axes(figure, title=t("Split by image minus split by patient"))
    _plot(axes, rows, [0])
    figures.write_ticks(t, axes, digits=0)
    figures.name_axes(axes, t("percentage points (AUROC × 100), 95 % interval"))
    alt = t(
        "Split by image minus split by patient, in percentage points: %(values)s.",
        values=", ".join(f"{row.label} {row.text}" for row in rows),
    )
    return Picture(figure, alt)
