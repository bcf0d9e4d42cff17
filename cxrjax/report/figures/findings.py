"""The findings of a run with many labels side by side: AUROCs, curves in small, and which findings come together."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from cxrjax.base.tasks import PublishedAurocs
from cxrjax.report import figures
from cxrjax.report.figures import Picture, curves, forest
from cxrjax.report.figures.forest import Mark, Row
from cxrjax.report.language import Language

_SHAPES = ((figures.VERMILION, "s"), (figures.GREEN, "D"), (figures.GREY, "^"))  # of published numbers, by source
_COLUMNS, _CELL = 3, 1.56  # of small plots; inches
_TICKS = (0, 0.5, 1)


def aurocs(
    rows: Mapping[str, Mapping[Any, Any]], published: Sequence[PublishedAurocs], split: str, t: Language
) -> Picture:
    """AUROC of each finding with its interval over runs; open marks are published ones.

    Args:
      rows: Name for people -> auroc, low, high and each published AUROC by its name; NaN where undefined.
      published: Their sources, three at most.
      split: Of this run, for people.
      t: Language of the texts.
    """
    looks = dict(zip((source.name for source in published), _SHAPES, strict=False))
    lines: list[Row] = []
    texts = []
    for name, row in rows.items():
        marks = [Mark(row["auroc"], row["low"], row["high"])]
        marks += [Mark(row[source], math.nan, math.nan, *look, is_open=True) for source, look in looks.items()]
        text = t("undefined") if math.isnan(row["auroc"]) else t.number(row["auroc"])
        lines.append(Row(name, tuple(marks), text, strong=not lines))
        beside = [f"{source} {t.number(row[source])}" for source in looks if not math.isnan(row[source])]
        texts.append(f"{name} {text}" + (f" ({', '.join(beside)})" if beside else ""))
    legend = 0.19 * (len(looks) + 1)
    height = 1.1 + len(lines) * forest.ROW + legend
    figure, axes = figures.plot(t("AUROC by finding"), "AUROC", height, left=1.5, right=0.75, bottom=0.55 + legend)
    forest.plot(axes, lines, [0.5])
    left, right = axes.get_xlim()
    axes.set_xlim(max(left, -0.02), min(right, 1.02))
    figures.write_ticks(t, axes, digits=1)
    own = t("this run, 95 %% interval (split: %(split)s)", split=split)
    axes.plot([], [], "o", color=figures.BLUE, markersize=4.5, label=own)
    for source, (colour, shape) in zip(published, _SHAPES, strict=False):
        label = t("%(name)s (split: %(split)s)", name=source.name, split=t(source.split))
        axes.plot([], [], shape, color=colour, markerfacecolor="#ffffff", markersize=4.5, label=label)
    figure.legend(
        loc="lower left", bbox_to_anchor=(0.01, 0), frameon=False, fontsize=figures.SMALL, labelspacing=0.3,
        borderaxespad=0.2,
    )  # fmt: skip
    return Picture(figure, t("AUROC of each finding: %(values)s.", values="; ".join(texts)))


def roc(findings: Mapping[str, tuple[pd.DataFrame, float, float]], t: Language) -> Picture:
    """A small ROC of each finding: mean over seeds and band of ± 1 SD.

    Args:
      findings: Name for people -> `RunTables.predictions`, AUROC (mean and SD over seeds).
      t: Language of the texts.
    """

    def draw(axes: figures.Axes, name: str) -> str:
        predictions, mean, sd = findings[name]
        runs = curves.over_seeds(predictions, curves.roc_at)
        text = t("undefined") if math.isnan(mean) else curves.plus_minus({"mean": mean, "sd": sd}, t)
        if len(runs):
            curves.spread(axes, runs, figures.BLUE, "-", "", thin=False)
        axes.annotate(text, (0.97, 0.04), xycoords="axes fraction", ha="right", fontsize=figures.SMALL - 1)
        return text

    return _small(list(findings), t("ROC of each finding"), (t("1 − specificity"), t("sensitivity")), draw, t)


def calibration(findings: Mapping[str, tuple[pd.DataFrame, float]], t: Language) -> Picture:
    """A small reliability diagram of each finding: share of positives against score, in bins.

    Args:
      findings: Name for people -> `Analysis.calibration`, expected calibration error.
      t: Language of the texts.
    """

    def draw(axes: figures.Axes, name: str) -> str:
        table, error = findings[name]
        bins = table[(table["data"] == "internal") & (table["images"] > 0)]
        bars = np.stack([bins["positives"] - bins["low"], bins["high"] - bins["positives"]]).clip(0)
        axes.errorbar(
            bins["score"], bins["positives"], yerr=bars, color=figures.BLUE, marker="o", markersize=2.5, linewidth=1,
            elinewidth=0.7,
        )  # fmt: skip
        text = t("ECE %(value)s", value=t.number(error))
        axes.annotate(text, (0.05, 0.97), xycoords="axes fraction", va="top", fontsize=figures.SMALL - 1)
        return text

    return _small(list(findings), t("Calibration of each finding"), (t("score"), t("share of positives")), draw, t)


def _small(
    names: list[str], title: str, of_axes: tuple[str, str], draw: Callable[[figures.Axes, str], str], t: Language
) -> Picture:
    """Small square plots of shares, three a row, each under its name; `draw` says in words what one shows."""
    rows = math.ceil(len(names) / _COLUMNS)
    height = rows * _CELL + 0.85
    figure = figures.canvas(height, left=0.62, right=0.1, bottom=0.5, top=0.6)
    figure.subplots_adjust(wspace=0.16, hspace=0.3)
    figure.suptitle(
        title, x=0.62 / figures.WIDTH, y=1 - 0.1 / height, ha="left", va="top", fontsize=figures.TEXT, fontweight="bold"
    )
    texts = []
    for place, name in enumerate(names):
        axes = figure.add_subplot(rows, _COLUMNS, place + 1)
        axes.spines[["top", "right"]].set_visible(False)
        axes.plot([0, 1], [0, 1], color=figures.GREY, linewidth=0.8, linestyle=":")
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xticks=_TICKS, yticks=_TICKS)
        axes.tick_params(labelsize=figures.SMALL - 1, color=figures.GREY)
        axes.set_title(name, fontsize=figures.SMALL, loc="left", fontweight="bold", parse_math=False, pad=3)
        texts.append(f"{name} {draw(axes, name)}")
        figures.write_ticks(t, axes, axes)
        if place % _COLUMNS:
            axes.tick_params(labelleft=False)
        if place + _COLUMNS < len(names):
            axes.tick_params(labelbottom=False)
    figure.supxlabel(of_axes[0], fontsize=figures.SMALL, y=0.1 / height, va="bottom")
    figure.supylabel(of_axes[1], fontsize=figures.SMALL, x=0.02)
    return Picture(figure, f"{title}: {'; '.join(texts)}.")


def together(counts: np.ndarray, names: Sequence[str], t: Language) -> Picture:
    """Of the images with a row's finding the percentage that carry a column's, too.

    Args:
      counts: [K, K], images with both; on the diagonal those with the finding.
      names: Of the findings, for people.
      t: Language of the texts.
    """
    from matplotlib.patches import Rectangle

    left, top = 1.65, 1.62
    side = figures.WIDTH - left - 0.1
    figure = figures.canvas(side + top + 0.1, left=left, right=0.1, bottom=0.1, top=top)
    axes, each, texts = figure.add_subplot(), range(len(names)), []
    for row in each:
        for column in each:
            share = counts[row, column] / counts[row, row] if counts[row, row] else 0.0
            is_count = row == column
            text = t.count(counts[row, row]) if is_count else t.number(100 * share, 0)
            if not is_count:
                axes.add_patch(Rectangle((column, row), 1, 1, facecolor=figures.BLUE, alpha=0.75 * share, linewidth=0))
            axes.text(
                column + 0.5, row + 0.5, text if counts[row, column] else "", ha="center", va="center",
                fontsize=6.5, fontweight="bold" if is_count else "normal",
            )  # fmt: skip
        others = [column for column in each if column != row and counts[row, column]]
        if others:
            most = max(others, key=lambda column: counts[row, column])
            share = t.share(counts[row, most] / counts[row, row])
            texts.append(
                t("of %(finding)s %(share)s with %(other)s", finding=names[row], share=share, other=names[most])
            )
    axes.set(xlim=(0, len(names)), ylim=(len(names), 0))
    axes.set_xticks([k + 0.5 for k in each], names, rotation=90, fontsize=figures.SMALL, parse_math=False)
    axes.set_yticks([k + 0.5 for k in each], names, fontsize=figures.SMALL, parse_math=False)
    axes.tick_params(length=0, labeltop=True, labelbottom=False)
    axes.spines[:].set(color=figures.GREY, linewidth=0.6)
    figure.suptitle(
        t("Findings that come together (%)"),
        x=0.02,
        y=0.99,
        ha="left",
        va="top",
        fontsize=figures.TEXT,
        fontweight="bold",
    )
    return Picture(figure, t("Findings that come together most: %(values)s.", values="; ".join(texts) or t("none")))
