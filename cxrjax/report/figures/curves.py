"""Curves: ROC, precision and recall, calibration, learning; and each seed beside the others."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from cxrjax.report import figures
from cxrjax.report.figures import Picture
from cxrjax.report.language import Language

GRID = np.linspace(0, 1, 101)  # where curves of several seeds are averaged
_STYLES = {  # colour, marker and dash of a set of images
    "internal": (figures.BLUE, "o", "-"),
    "external": (figures.VERMILION, "s", "--"),
    "test": (figures.GREEN, "^", "-."),
    "scored": (figures.BLUE, "o", "-"),  # of another model, whose training is not known
}


def roc_at(label: np.ndarray, score: np.ndarray) -> np.ndarray:
    """Sensitivity at false positive rates `GRID` [101], by straight lines between a run's points."""
    from sklearn.metrics import roc_curve  # takes two seconds to import, as in `analysis.floors`

    false, true, _ = roc_curve(label, score)
    # At a rate where the curve rises steeply, its upper end holds.
    return np.maximum.accumulate(np.interp(GRID, false, true))


def precision_at(label: np.ndarray, score: np.ndarray) -> np.ndarray:
    """Precision at recalls `GRID` [101]: of the highest threshold whose recall is at least as high.

    Straight lines between points would be too high (Davis & Goadrich 2006, ICML); this is average precision's curve.
    """
    from sklearn.metrics import precision_recall_curve

    precision, recall, _ = precision_recall_curve(label, score)
    precision, recall = precision[::-1], recall[::-1]  # recall rises
    return precision[np.searchsorted(recall, GRID.clip(1e-9) - 1e-12)]  # recall 0 is not reached by calling nothing


def over_seeds(scores: pd.DataFrame, curve: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> np.ndarray:
    """A curve of each seed with both classes, [S, 101]; their mean is the vertical average (Fawcett 2006)."""
    seeds = [part for _, part in scores.groupby("seed") if part["label"].nunique() == 2]
    runs = [curve(part["label"].to_numpy(), part["score"].to_numpy()) for part in seeds]
    return np.array(runs).reshape(-1, len(GRID))


def roc(sets: Mapping[str, pd.DataFrame], auroc: Mapping[Any, Mapping[Any, float]], t: Language) -> Picture:
    """ROC: seeds thin, mean and band of ± 1 SD; the mean of sets that every seed scored whole beside it.

    Args:
      sets: By name, internal (`RunTables.predictions`) and those of `RunTables.scored_by_all`.
      auroc: Of each: mean and sd over seeds.
      t: Language of the texts.
    """
    figure, axes = _square(t("ROC"), t("1 − specificity"), t("sensitivity"), t)
    axes.plot([0, 1], [0, 1], color=figures.GREY, linewidth=1, linestyle=":", label=t("chance"))
    labels = []
    for data, scores in sets.items():
        (colour, _, dash), runs = _STYLES[data], over_seeds(scores, roc_at)
        if len(runs):
            labels.append(f"{t.word('set', data)}: AUROC {plus_minus(auroc[data], t)}")
            axes.plot([0, 0], [0, runs[:, 0].mean()], color=colour, linewidth=1.9, linestyle=dash)  # up from the corner
            spread(axes, runs, colour, dash, labels[-1], thin=data == "internal")
    figures.legend(axes, "lower right")
    return Picture(figure, t("ROC curve, mean over the runs. %(values)s.", values="; ".join(labels) or t("undefined")))


def precision_recall(internal: pd.DataFrame, auprc: Mapping[Any, float], positive: str, t: Language) -> Picture:
    """Precision against recall: seeds thin, mean and band of ± 1 SD; dotted is the share of positives.

    Args:
      internal: `RunTables.predictions`.
      auprc: Mean and sd over seeds of the area, average precision.
      positive: The positive class, for people.
      t: Language of the texts.
    """
    figure, axes = _square(t("Precision and recall"), t("recall (sensitivity)"), t("precision (PPV)"), t)
    share = internal["label"].mean()
    axes.axhline(share, color=figures.GREY, linewidth=1, linestyle=":", label=t("share of positives"))
    runs, label = over_seeds(internal, precision_at), t("AUPRC %(value)s", value=plus_minus(auprc, t))
    if len(runs):
        spread(axes, runs, figures.BLUE, "-", label, thin=True)
    figures.legend(axes, "lower left")
    alt = t(
        "Precision against recall, mean over the runs: %(values)s; always calling %(positive)s has a precision of "
        "%(share)s.",
        values=label, positive=positive, share=t.number(share, 2),
    )  # fmt: skip
    return Picture(figure, alt)


def _square(title: str, x: str, y: str, t: Language, below: float = 0) -> tuple[figures.Figure, figures.Axes]:
    """A figure whose axes are both shares, 0 to 1; `below`: inches that are left free below them."""
    figure, axes = figures.plot(title, x, 4.5 + below, y, bottom=0.5 + below)
    ticks = [0, 0.2, 0.4, 0.6, 0.8, 1]
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal", xticks=ticks, yticks=ticks)
    figures.write_ticks(t, axes, axes)
    return figure, axes


def plus_minus(row: Mapping[Any, float], t: Language) -> str:
    """0.818 ± 0.030 of mean and sd, without the SD where there is none."""
    return t.number(row["mean"]) + ("" if math.isnan(row["sd"]) else f" ± {t.number(row['sd'])}")


def spread(axes: figures.Axes, runs: np.ndarray, colour: str, dash: str, label: str, thin: bool) -> None:
    """Mean and band of curves [S, 101] over `GRID`, and each of them if `thin`."""
    mean = runs.mean(axis=0)
    if thin:
        axes.plot(GRID, runs.T, color=colour, alpha=0.22, linewidth=0.6)
    if len(runs) > 1:
        sd = runs.std(axis=0, ddof=1)
        low, high = (mean - sd).clip(0), (mean + sd).clip(max=1)
        axes.fill_between(GRID, low, high, color=colour, alpha=0.15, linewidth=0)
    axes.plot(GRID, mean, color=colour, linewidth=1.9, linestyle=dash, label=label)


def calibration(table: pd.DataFrame, positive: str, t: Language) -> Picture:
    """Share of positives against score, in bins, with Wilson's intervals; on the diagonal a score is a probability.

    Args:
      table: `Analysis.calibration`.
      positive: The positive class, for people.
      t: Language of the texts.
    """
    share = t("share with %(positive)s", positive=positive)
    figure, axes = _square(t("Calibration"), t("score (mean of the bin)"), share, t, below=0.3)
    axes.plot([0, 1], [0, 1], color=figures.GREY, linewidth=1, linestyle=":", label=t("perfect"))
    texts = []
    for data, (colour, mark, dash) in _STYLES.items():
        bins = table[(table["data"] == data) & (table["images"] > 0)]
        if len(bins):
            bars = np.stack([bins["positives"] - bins["low"], bins["high"] - bins["positives"]]).clip(0)
            axes.errorbar(
                bins["score"], bins["positives"], yerr=bars, color=colour, marker=mark, markersize=4.5, linewidth=1.3,
                linestyle=dash, elinewidth=1, label=t.word("set", data),
            )  # fmt: skip
            ends = [
                f"{t.number(row['score'], 2)} → {t.number(row['positives'], 2)}"
                for row in bins.iloc[[0, -1]].to_dict("records")
            ]
            texts.append(f"{t.word('set', data)}: {', '.join(ends)}")
    figures.legend(axes, "below")
    alt = t(
        "Mean score and share with %(positive)s in the lowest and the highest bin. %(values)s.",
        positive=positive, values="; ".join(texts),
    )  # fmt: skip
    return Picture(figure, alt)


def learning_curve(history: pd.DataFrame, name: str, t: Language, of_loss: bool = False) -> Picture:
    """Accuracy against epoch, training blue and validation green as in the poster: mean over seeds, band of ± 1 SD,
    single seeds thin.

    Args:
      history: `RunTables.history`.
      name: The experiment, as people read it.
      t: Language of the texts.
      of_loss: Loss in place of accuracy.
    """
    of_y = t("loss (nats)") if of_loss else t("accuracy (%)")
    figure, axes = figures.plot(t("%(name)s: learning curve", name=name), t("epoch"), 3.4, of_y)
    last = {}
    for split, colour, dash, label in (
        ("train", figures.BLUE, "--", t("training")),
        ("val", figures.GREEN, "-", t("validation")),
    ):
        runs = history[history["split"] == split].pivot(
            index="epoch", columns="seed", values="loss" if of_loss else "accuracy"
        )
        runs = runs if of_loss else 100 * runs
        mean, sd = runs.mean(axis=1), runs.std(axis=1).fillna(0)
        alone = "." if len(runs) == 1 else ""  # a line needs two epochs
        axes.plot(runs.index, runs, color=colour, alpha=0.2, linewidth=0.6)
        axes.fill_between(runs.index, mean - sd, mean + sd, color=colour, alpha=0.18, linewidth=0)
        axes.plot(runs.index, mean, color=colour, linewidth=1.8, linestyle=dash, marker=alone, label=label)
        last[split] = t.number(mean.iloc[-1]) if of_loss else t.share(mean.iloc[-1] / 100)
    figures.few_ticks(axes.xaxis, integer=True)
    figures.few_ticks(axes.yaxis, most=6)
    figures.write_ticks(t, y=axes, digits=2 if of_loss else 0)
    figures.legend(axes, "lower left" if of_loss else "lower right")
    alt = t(
        "%(values)s against epoch, mean over the runs: after the last of %(epochs)s epochs %(train)s in training and "
        "%(val)s in validation.",
        values=of_y[:1].upper() + of_y[1:], epochs=t.count(history["epoch"].max()), **last,
    )  # fmt: skip
    return Picture(figure, alt)


def per_seed(seeds: pd.DataFrame, t: Language) -> Picture:
    """Accuracy and AUROC of each seed, with their mean, and the interval of its AUROC.

    Args:
      seeds: `Analysis.seeds`.
      t: Language of the texts.
    """
    figure = figures.canvas(3.9)
    figure.subplots_adjust(hspace=0.42)
    for row, (name, title, factor, digits) in enumerate(
        (("accuracy", t("Accuracy of each run (%)"), 100, 0), ("auroc", t("AUROC of each run, 95 % interval"), 1, 2)), 1
    ):
        axes = figures.axes(figure, 2, row, title)
        value = seeds[name] * factor
        axes.axhline(value.mean(), color=figures.GREY, linewidth=1, linestyle="--")
        if name == "auroc":
            axes.vlines(seeds["seed"], seeds["auroc_low"], seeds["auroc_high"], color=figures.BLUE, linewidth=1.2)
        axes.plot(seeds["seed"], value, color=figures.BLUE, linestyle="", marker="o", markersize=4.5)
        figures.few_ticks(axes.xaxis, integer=True)
        axes.margins(x=0.06, y=0.12)
        figures.write_ticks(t, y=axes, digits=digits)
    figures.name_axes(axes, t("seed; dashed: mean over the runs"))
    alt = t(
        "Each run's accuracy, from %(low)s to %(high)s, and AUROC, from %(worst)s to %(best)s.",
        low=t.share(seeds["accuracy"].min()), high=t.share(seeds["accuracy"].max()),
        worst=t.number(seeds["auroc"].min()), best=t.number(seeds["auroc"].max()),
    )  # fmt: skip
    return Picture(figure, alt)
