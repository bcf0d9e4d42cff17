"""What scores do to images: their histogram by class, and confusion matrices."""

from __future__ import annotations

import numpy as np
import pandas as pd

from cxrjax.report.figures import style
from cxrjax.report.figures.style import Picture
from cxrjax.report.language import Language

_BINS = np.linspace(0, 1, 21)


def histogram(scores: pd.DataFrame, thresholds: dict[str, float], classes: tuple[str, str], t: Language) -> Picture:
    """Scores of both classes, all seeds together, as shares of the class.

    Args:
      scores: seed, image, patient, label, score.
      thresholds: what to write at a vertical line -> where it stands.
      classes: names of negatives and positives.
      t: of the texts.
    """
    figure = style.canvas(3.65, bottom=0.8)
    axes = style.axes(figure, title=t("Scores by class"))
    told = []
    for label, (name, colour, hatch, alpha) in enumerate(
        zip(classes, (style.NEGATIVE, style.POSITIVE), ("", "////"), (0.35, 0.12), strict=True)
    ):
        own = scores["score"][scores["label"] == label]
        if len(own):
            share = np.histogram(own.clip(0, 1), _BINS)[0] / len(own) * 100
            axes.stairs(share, _BINS, fill=True, facecolor=colour, alpha=alpha, edgecolor="none")
            axes.stairs(
                share, _BINS, fill=bool(hatch), hatch=hatch, facecolor="none", edgecolor=colour, linewidth=1.4,
                label=name,
            )  # fmt: skip
            told.append(f"{name}: {t.number(own.median(), 2)}")
    _mark(axes, thresholds)
    style.name_axes(axes, t("score (probability of pneumonia)"), t("images of the class (%)"))
    style.write_ticks(t, axes, digits=1)
    style.write_ticks(t, y=axes, digits=0)
    axes.legend(frameon=False, fontsize=style.SMALL, loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2)
    return Picture(figure, t("Histogram of the scores by class. Medians: %(told)s.", told="; ".join(told)))


def _mark(axes: style.Axes, thresholds: dict[str, float]) -> None:
    """A line at each of at most two thresholds; the texts stand on the outer sides."""
    top = axes.get_ylim()[1]
    axes.set(xlim=(0, 1), ylim=(0, top * 1.12))
    rising = sorted(thresholds.items(), key=lambda one: one[1])
    for place, (name, threshold) in enumerate(rising):
        left = place < len(rising) - 1 or (threshold > 0.75 and len(rising) == 1)
        axes.axvline(threshold, color="#000000", linewidth=1, linestyle="-" if threshold == 0.5 else "--")
        axes.annotate(
            name, (threshold, top * 1.1), (-4 if left else 4, 0), textcoords="offset points",
            ha="right" if left else "left", va="top", fontsize=style.SMALL,
        )  # fmt: skip


def confusion(matrices: dict[str, np.ndarray], classes: tuple[str, str], t: Language) -> Picture:
    """Images by what they are and what they were called, mean over the runs.

    Args:
      matrices: title -> [2, 2] images, [is, called], negative first.
      classes: names of negatives and positives.
      t: of the texts.
    """
    figure = style.canvas(2.75, left=0.6, bottom=0.55, top=0.62)
    figure.subplots_adjust(wspace=0.12)
    digits = 0 if all((matrix == matrix.round()).all() for matrix in matrices.values()) else 1
    for column, (title, matrix) in enumerate(matrices.items()):
        axes = figure.add_subplot(1, len(matrices), column + 1)
        for row, called in np.ndindex(2, 2):
            number = float(matrix[row, called])
            _cell(axes, row, called, number / matrix.sum(), t.number(number, digits), t)
        axes.set(xlim=(0, 2), ylim=(0, 2))
        axes.set_xticks([0.5, 1.5], classes, fontsize=style.SMALL)
        rows = classes if not column else ["", ""]
        axes.set_yticks([1.5, 0.5], rows, fontsize=style.SMALL, rotation=90, va="center")
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        axes.set_title(title, fontsize=style.SMALL, loc="left", fontweight="bold")
        style.name_axes(axes, t("called"), "" if column else t("label"))
    return Picture(figure, " ".join(_told(title, matrix, t) for title, matrix in matrices.items()))


def _cell(axes: style.Axes, row: int, called: int, share: float, number: str, t: Language) -> None:
    """A cell with its number and its share of all images: green where the decision is right, deeper for more."""
    from matplotlib.patches import Rectangle

    colour = style.GREEN if row == called else style.VERMILION
    corner, middle = (called, 1 - row), (called + 0.5, 1.5 - row)
    axes.add_patch(Rectangle(corner, 1, 1, facecolor=colour, alpha=0.06 + 0.5 * share, edgecolor=style.GREY))
    for text, up, size, weight in ((number, True, 12, "bold"), (t.share(share), False, style.SMALL, "normal")):
        axes.annotate(
            text, middle, (0, 2 if up else -2), textcoords="offset points", ha="center", fontsize=size,
            va="bottom" if up else "top", fontweight=weight,
        )  # fmt: skip


def _told(title: str, matrix: np.ndarray, t: Language) -> str:
    (tn, fp), (fn, tp) = matrix
    return t(
        "%(title)s, images a run: %(tp)s true positives, %(fp)s false positives, %(fn)s false negatives, "
        "%(tn)s true negatives.",
        title=title, tp=t.number(tp, 1), fp=t.number(fp, 1), fn=t.number(fn, 1), tn=t.number(tn, 1),
    )  # fmt: skip


def confusion_at(scores: pd.DataFrame, threshold: pd.Series | float) -> np.ndarray:
    """Mean over seeds of images [2, 2], [is, called], negative first.

    Args:
      scores: seed, label, score.
      threshold: one for all, or each seed's; scores above it are called positive.
    """
    limit = threshold if isinstance(threshold, float) else scores["seed"].map(threshold).to_numpy(np.float32)
    called = scores["score"].to_numpy(np.float32) > np.asarray(limit, np.float32)
    counts = np.zeros((2, 2))
    np.add.at(counts, (scores["label"].to_numpy(), called.astype(int)), 1)
    return counts / scores["seed"].nunique()
