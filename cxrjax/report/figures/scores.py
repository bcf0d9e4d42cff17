"""Images and what becomes of them: the flow to the runs, scores by class, confusion matrices."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from cxrjax.report import figures
from cxrjax.report.figures import Picture
from cxrjax.report.language import Language

_BINS = np.linspace(0, 1, 21)
SIDES = ("train", "val")  # stages of `RunTables.flow` that part from one another
_LINE, _GAP, _PAD = 0.165, 0.2, 0.14  # inches
_LEFT, _KEPT, _ASIDE = 0.06, 2.3, 2.15  # margin, width of the boxes, inches


def histogram(
    predictions: pd.DataFrame, thresholds: Mapping[str, float], classes: tuple[str, str], t: Language
) -> Picture:
    """Scores of both classes, all seeds together, as shares of the class.

    Args:
      predictions: As `RunTables.predictions`.
      thresholds: What to write at a vertical line -> where it stands, 0..1; at most two.
      classes: Negatives and positives, for people.
      t: Language of the texts.
    """
    name = t("score (probability of %(positive)s)", positive=classes[1])
    figure, axes = figures.plot(t("Scores by class"), name, 3.65, t("images of the class (%)"), bottom=0.8)
    medians = []
    looks = ((figures.BLUE, "", 0.35), (figures.VERMILION, "////", 0.12))
    for label, (name, (colour, hatch, alpha)) in enumerate(zip(classes, looks, strict=True)):
        scores = predictions["score"][predictions["label"] == label]
        if len(scores):
            share = np.histogram(scores.clip(0, 1), _BINS)[0] / len(scores) * 100
            axes.stairs(share, _BINS, fill=True, facecolor=colour, alpha=alpha, edgecolor="none")
            axes.stairs(
                share, _BINS, fill=bool(hatch), hatch=hatch, facecolor="none", edgecolor=colour, linewidth=1.4,
                label=name,
            )  # fmt: skip
            medians.append(f"{name}: {t.number(scores.median(), 2)}")
    _mark(axes, thresholds)
    figures.write_ticks(t, axes, digits=1)
    figures.write_ticks(t, y=axes, digits=0)
    axes.legend(frameon=False, fontsize=figures.SMALL, loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2)
    return Picture(figure, t("Histogram of the scores by class. Medians: %(values)s.", values="; ".join(medians)))


def _mark(axes: figures.Axes, thresholds: Mapping[str, float]) -> None:
    """A line at each of at most two thresholds; the texts stand on the outer sides."""
    top = axes.get_ylim()[1]
    axes.set(xlim=(0, 1), ylim=(0, top * 1.12))
    rising = sorted(thresholds.items(), key=lambda pair: pair[1])
    for place, (name, threshold) in enumerate(rising):
        left = place < len(rising) - 1 or (threshold > 0.75 and len(rising) == 1)
        axes.axvline(threshold, color="#000000", linewidth=1, linestyle="-" if threshold == 0.5 else "--")
        axes.annotate(
            name, (threshold, top * 1.1), (-4 if left else 4, 0), textcoords="offset points",
            ha="right" if left else "left", va="top", fontsize=figures.SMALL,
        )  # fmt: skip


def confusion(matrices: Mapping[str, np.ndarray], classes: tuple[str, str], t: Language) -> Picture:
    """Images by what they are and what they were called, and their share of all, means over the runs.

    Args:
      matrices: Title -> [S, 2, 2] images of each run, [is, called], negative first.
      classes: Negatives and positives, for people.
      t: Language of the texts.
    """
    figure = figures.canvas(2.75, left=0.6, bottom=0.55, top=0.62)
    figure.subplots_adjust(wspace=0.12)
    means = {title: of_runs.mean(axis=0) for title, of_runs in matrices.items()}
    digits = 0 if all((mean == mean.round()).all() for mean in means.values()) else 1
    for column, (title, of_runs) in enumerate(matrices.items()):
        share = (of_runs / of_runs.sum(axis=(1, 2), keepdims=True)).mean(axis=0)  # as the table's FP and FN
        axes = figure.add_subplot(1, len(matrices), column + 1)
        for row, called in np.ndindex(2, 2):
            number = float(means[title][row, called])
            _cell(axes, row, called, float(share[row, called]), t.number(number, digits), t)
        axes.set(xlim=(0, 2), ylim=(0, 2))
        axes.set_xticks([0.5, 1.5], classes, fontsize=figures.SMALL)
        rows = classes if not column else ["", ""]
        axes.set_yticks([1.5, 0.5], rows, fontsize=figures.SMALL, rotation=90, va="center")
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        axes.set_title(title, fontsize=figures.SMALL, loc="left", fontweight="bold")
        figures.name_axes(axes, t("called"), "" if column else t("label"))
    return Picture(figure, " ".join(_in_words(title, mean, t) for title, mean in means.items()))


def _cell(axes: figures.Axes, row: int, called: int, share: float, number: str, t: Language) -> None:
    """A cell with its number and its share of all images: green where the decision is right, deeper for more."""
    from matplotlib.patches import Rectangle

    colour = figures.GREEN if row == called else figures.VERMILION
    corner, middle = (called, 1 - row), (called + 0.5, 1.5 - row)
    axes.add_patch(Rectangle(corner, 1, 1, facecolor=colour, alpha=0.06 + 0.5 * share, edgecolor=figures.GREY))
    for text, up, size, weight in ((number, True, 12, "bold"), (t.share(share), False, figures.SMALL, "normal")):
        axes.annotate(
            text, middle, (0, 2 if up else -2), textcoords="offset points", ha="center", fontsize=size,
            va="bottom" if up else "top", fontweight=weight,
        )  # fmt: skip


def _in_words(title: str, matrix: np.ndarray, t: Language) -> str:
    counts = {name: t.number(count, 1) for name, count in zip(("tn", "fp", "fn", "tp"), matrix.flat, strict=True)}
    return t(
        "%(title)s, images a run: %(tp)s true positives, %(fp)s false positives, %(fn)s false negatives, "
        "%(tn)s true negatives.",
        title=title, **counts,
    )  # fmt: skip


def confusion_at(predictions: pd.DataFrame, threshold: pd.Series | float) -> np.ndarray:
    """Images of each seed [S, 2, 2], [is, called], negative first.

    Args:
      predictions: Columns seed, label, score.
      threshold: One for all, or each seed's, by seed; scores above it are called positive.
    """
    limit = threshold if isinstance(threshold, float) else predictions["seed"].map(threshold).to_numpy(np.float32)
    called = predictions["score"].to_numpy(np.float32) > np.asarray(limit, np.float32)
    seeds, run = np.unique(predictions["seed"], return_inverse=True)
    counts = np.zeros((len(seeds), 2, 2))
    np.add.at(counts, (run, predictions["label"].to_numpy(), called.astype(int)), 1)
    return counts


def counts(row: Mapping[Any, Any], positive: str, t: Language) -> list[str]:
    """Lines of a box below its name: images and patients, then positives and negatives; unknown ones are left out.

    Args:
      row: One of `RunTables.flow`.
      positive: Short name of the positive class.
      t: Language of the words.
    """
    first = t.plural("%(n)s image", "%(n)s images", row["images"])
    if not pd.isna(row["patients"]):
        first += ", " + t.plural("%(n)s patient", "%(n)s patients", row["patients"])
    sides = [(positive, row["positives"]), (t("negative"), row["negatives"])]
    second = ", ".join(f"{t.count(n)} {name}" for name, n in sides if not pd.isna(n))
    return [first, second] if second and any(n for _, n in sides) else [first]  # else of other classes


class _Box(NamedTuple):
    name: list[str]  # lines
    counts: list[str]
    aside: bool  # excluded

    @property
    def height(self) -> float:
        return (len(self.name) + len(self.counts)) * _LINE + _PAD

    def __str__(self) -> str:
        """The box in words."""
        return f"{' '.join(self.name)}: {', '.join(self.counts)}"


def stages_shown(table: pd.DataFrame) -> pd.DataFrame:
    """`RunTables.flow` without the exclusions that excluded nothing."""
    return table[~table["excluded"].astype(bool) | (table["images"] != 0)]


def flow(table: pd.DataFrame, positive: str, t: Language) -> Picture:
    """Boxes from the top; what goes no further stands aside, dashed, beside the arrow that it leaves; training and
    validation part at the end.

    Args:
      table: `RunTables.flow`.
      positive: Short name of the positive class.
      t: Language of the texts.
    """
    rows = stages_shown(table).to_dict("records")
    boxes = [_box(row, positive, t) for row in rows if row["stage"] not in SIDES]
    sides = [_box(row, positive, t) for row in rows if row["stage"] in SIDES]
    last = max((box.height + 2 * _GAP for box in sides), default=0)
    height = sum(box.height + _GAP for box in boxes) + last
    figure = figures.canvas(height, 0, 0, 0, 0)
    axes = figure.add_subplot()
    axes.set(xlim=(0, figures.WIDTH), ylim=(height, 0))
    axes.axis("off")
    top, before = _GAP / 2, math.nan  # before: lower end of the kept box above
    for box in boxes:
        if box.aside:
            _draw(axes, figures.WIDTH - _LEFT - _ASIDE, top, _ASIDE, box)
            middle = top + box.height / 2
            _arrow(axes, (_LEFT + _KEPT / 2, middle), (figures.WIDTH - _LEFT - _ASIDE, middle))
        else:
            _draw(axes, _LEFT, top, _KEPT, box)
            _arrow(axes, (_LEFT + _KEPT / 2, before), (_LEFT + _KEPT / 2, top))
            before = top + box.height
        top += box.height + _GAP
    width = (figures.WIDTH - 2 * _LEFT - _GAP) / 2
    for place, box in enumerate(sides):
        left = _LEFT + place * (width + _GAP)
        _draw(axes, left, top + _GAP, width, box)
        _arrow(axes, (_LEFT + _KEPT / 2, before), (left + width / 2, top + _GAP))
    texts = [t("excluded, %(box)s", box=box) if box.aside else str(box) for box in (*boxes, *sides)]
    return Picture(figure, t("Flow of the images: %(values)s.", values="; ".join(texts)))


def _box(row: Mapping[Any, Any], positive: str, t: Language) -> _Box:
    aside = bool(row["excluded"])
    return _Box(textwrap.wrap(t.word("stage", row["stage"]), 28 if aside else 31), counts(row, positive, t), aside)


def _draw(axes: figures.Axes, left: float, top: float, width: float, box: _Box) -> None:
    from matplotlib.patches import Rectangle

    line = "--" if box.aside else "-"
    axes.add_patch(Rectangle((left, top), width, box.height, fill=False, edgecolor=figures.GREY, linestyle=line))
    for place, text in enumerate((*box.name, *box.counts)):
        axes.text(
            left + 0.09, top + _PAD / 2 + (place + 0.5) * _LINE, text, va="center", fontsize=figures.SMALL,
            fontweight="bold" if place < len(box.name) else "normal", parse_math=False,
        )  # fmt: skip


def _arrow(axes: figures.Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    arrow = {"arrowstyle": "-|>", "color": figures.GREY, "linewidth": 1, "shrinkA": 0, "shrinkB": 0}
    axes.annotate("", end, start, arrowprops=arrow)
