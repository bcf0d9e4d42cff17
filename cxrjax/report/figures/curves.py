"""How scores rank and mean: ROC, precision and recall, calibration."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import precision_recall_curve, roc_curve

from cxrjax.report.figures import style
from cxrjax.report.figures.style import Picture
from cxrjax.report.language import Language

GRID = np.linspace(0, 1, 101)  # where curves of several seeds are averaged


def roc_at(label: np.ndarray, score: np.ndarray) -> np.ndarray:
    """Sensitivity at false positive rates `GRID` [101], by straight lines between a run's points."""
    false, true, _ = roc_curve(label, score)
    # At a rate where the curve rises steeply, its upper end holds.
    return np.maximum.accumulate(np.interp(GRID, false, true))


def precision_at(label: np.ndarray, score: np.ndarray) -> np.ndarray:
    """Precision at recalls `GRID` [101]: of the highest threshold whose recall is at least as high.

    Straight lines between points would be too high (Davis & Goadrich 2006, ICML); this is average precision's curve.
    """
    precision, recall, _ = precision_recall_curve(label, score)
    precision, recall = precision[::-1], recall[::-1]  # recall rises
    return precision[np.searchsorted(recall, GRID.clip(1e-9) - 1e-12)]  # recall 0 is not reached by calling nothing


def over_seeds(scores: pd.DataFrame, curve: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> np.ndarray:
    """A curve of each seed with both classes, [S, 101]; their mean is the vertical average (Fawcett 2006)."""
    runs = [
        curve(own["label"].to_numpy(), own["score"].to_numpy())
        for _, own in scores.groupby("seed")
        if own["label"].nunique() == 2
    ]
    return np.array(runs).reshape(-1, len(GRID))


def roc(
    internal: pd.DataFrame, external: pd.DataFrame | None, auroc: dict[Any, dict[Any, float]], t: Language
) -> Picture:
    """ROC: seeds thin, mean and band of ± 1 SD; the external set's mean beside it.

    Args:
      internal: `RunTables.predictions`.
      external: `RunTables.external`.
      auroc: of internal and external: mean and sd over seeds.
      t: of the texts.
    """
    figure = style.canvas(4.5)
    axes = style.axes(figure, title=t("ROC"))
    axes.plot([0, 1], [0, 1], color=style.GREY, linewidth=1, linestyle=":", label=t("chance"))
    told = []
    for data, scores, colour, dash, name in (
        ("internal", internal, style.INTERNAL, "-", t("validation")),
        ("external", external, style.EXTERNAL, "--", t("external")),
    ):
        runs = over_seeds(scores, roc_at) if scores is not None else np.empty((0, 1))
        if len(runs):
            value = plus_minus(auroc[data], t)
            told.append(f"{name}: AUROC {value}")
            axes.plot([0, 0], [0, runs[:, 0].mean()], color=colour, linewidth=1.9, linestyle=dash)  # up from the corner
            _spread(axes, runs, colour, dash, told[-1], thin=data == "internal")
    style.unit_square(axes, t)
    style.name_axes(axes, t("1 − specificity"), t("sensitivity"))
    style.legend(axes, "lower right")
    return Picture(figure, t("ROC curve, mean over the runs. %(told)s.", told="; ".join(told) or t("undefined")))


def precision_recall(internal: pd.DataFrame, auprc: dict[Any, dict[Any, float]], t: Language) -> Picture:
    """Precision against recall: seeds thin, mean and band of ± 1 SD; dotted is the share of positives.

    Args:
      internal: `RunTables.predictions`.
      auprc: of internal: mean and sd over seeds of the area, average precision.
      t: of the texts.
    """
    figure = style.canvas(4.5)
    axes = style.axes(figure, title=t("Precision and recall"))
    share = internal["label"].mean()
    axes.axhline(share, color=style.GREY, linewidth=1, linestyle=":", label=t("share of positives"))
    runs = over_seeds(internal, precision_at)
    told = t("AUPRC %(value)s", value=plus_minus(auprc["internal"], t))
    if len(runs):
        _spread(axes, runs, style.INTERNAL, "-", told, thin=True)
    style.unit_square(axes, t)
    style.name_axes(axes, t("recall (sensitivity)"), t("precision (PPV)"))
    style.legend(axes, "lower left")
    alt = t(
        "Precision against recall, mean over the runs: %(told)s; always calling pneumonia has a precision of "
        "%(share)s.",
        told=told, share=t.number(share, 2),
    )  # fmt: skip
    return Picture(figure, alt)


def plus_minus(figure: dict[Any, float], t: Language) -> str:
    """0.818 ± 0.030, without the SD where there is none."""
    return t.number(figure["mean"]) + ("" if math.isnan(figure["sd"]) else f" ± {t.number(figure['sd'])}")


def _spread(axes: style.Axes, runs: np.ndarray, colour: str, dash: str, label: str, thin: bool) -> None:
    """Mean and band of curves [S, 101] over `GRID`, and each of them if `thin`."""
    mean = runs.mean(axis=0)
    if thin:
        axes.plot(GRID, runs.T, color=colour, alpha=0.22, linewidth=0.6)
    if len(runs) > 1:
        sd = runs.std(axis=0, ddof=1)
        low, high = (mean - sd).clip(0), (mean + sd).clip(max=1)
        axes.fill_between(GRID, low, high, color=colour, alpha=0.15, linewidth=0)
    axes.plot(GRID, mean, color=colour, linewidth=1.9, linestyle=dash, label=label)


def calibration(table: pd.DataFrame, t: Language) -> Picture:
    """Share of positives against score, in bins, with Wilson's intervals; on the diagonal a score is a probability.

    Args:
      table: `Analysis.calibration`.
      t: of the texts.
    """
    figure = style.canvas(4.5)
    axes = style.axes(figure, title=t("Calibration"))
    axes.plot([0, 1], [0, 1], color=style.GREY, linewidth=1, linestyle=":", label=t("perfect"))
    told = []
    for data, colour, mark, dash, name in (
        ("internal", style.INTERNAL, "o", "-", t("validation")),
        ("external", style.EXTERNAL, "s", "--", t("external")),
    ):
        own = table[(table["data"] == data) & (table["images"] > 0)]
        if len(own):
            arms = np.stack([own["positives"] - own["low"], own["high"] - own["positives"]]).clip(0)
            axes.errorbar(
                own["score"], own["positives"], yerr=arms, color=colour, marker=mark, markersize=4.5, linewidth=1.3,
                linestyle=dash, elinewidth=1, label=name,
            )  # fmt: skip
            edges = own.iloc[[0, -1]].to_dict("records")
            ends = [f"{t.number(row['score'], 2)} → {t.number(row['positives'], 2)}" for row in edges]
            told.append(f"{name}: {', '.join(ends)}")
    style.unit_square(axes, t)
    style.name_axes(axes, t("score (mean of the bin)"), t("share with pneumonia"))
    style.legend(axes, "upper left")
    alt = t("Mean score and share with pneumonia in the lowest and the highest bin. %(told)s.", told="; ".join(told))
    return Picture(figure, alt)
