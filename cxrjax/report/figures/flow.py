"""The way of the images from the source's list to the runs, as STARD and CLAIM ask for it."""

from __future__ import annotations

import math
import textwrap
from typing import Any, NamedTuple

import pandas as pd

from cxrjax.report.figures import style
from cxrjax.report.figures.style import Picture
from cxrjax.report.language import Language, message

# Stages of `RunTables.flow`; those of `SIDES` part from one another.
STAGES = {
    "listed": message("listed by the source"),
    "not_present": message("not present (never downloaded)"),
    "unreadable": message("unreadable"),
    "unlabelled": message("without a label"),
    "other_view": message("of another view"),
    "other_class": message("of neither class"),
    "eligible": message("eligible"),
    "not_drawn": message("negatives not drawn"),
    "drawn": message("in a run"),
    "train_excluded": message("not used for training"),
    "train": message("training"),
    "val": message("validation"),
}
SIDES = ("train", "val")

_LINE, _GAP, _PAD = 0.165, 0.2, 0.14  # inches
_LEFT, _KEPT, _ASIDE = 0.06, 2.3, 2.15  # margin, width of the boxes, inches


def counts(row: dict[Any, Any], t: Language) -> list[str]:
    """What a box tells below its name: images and patients, then positives and negatives; unknown ones are not told."""
    first = t.plural("%(n)s image", "%(n)s images", row["images"])
    if not pd.isna(row["patients"]):
        first += ", " + t.plural("%(n)s patient", "%(n)s patients", row["patients"])
    known = [("P", row["positives"]), (t("negative"), row["negatives"])]
    known = [] if not any(n for _, n in known) else known  # of other classes
    second = ", ".join(f"{t.count(n)} {name}" for name, n in known if not pd.isna(n))
    return [first, second] if second else [first]


class _Box(NamedTuple):
    name: list[str]  # lines
    counts: list[str]
    aside: bool  # excluded

    @property
    def height(self) -> float:
        return (len(self.name) + len(self.counts)) * _LINE + _PAD

    @property
    def told(self) -> str:
        return f"{' '.join(self.name)}: {', '.join(self.counts)}"


def shown(table: pd.DataFrame) -> pd.DataFrame:
    """`RunTables.flow` without the exclusions that excluded nothing."""
    return table[~table["excluded"].astype(bool) | (table["images"] != 0)]


def flow(table: pd.DataFrame, t: Language) -> Picture:
    """Boxes from the top; what goes no further stands aside, dashed, beside the arrow that it leaves; training and
    validation part at the end.

    Args:
      table: `RunTables.flow`.
      t: of the texts.
    """
    rows = shown(table).to_dict("records")
    boxes = [_box(row, t) for row in rows if row["stage"] not in SIDES]
    sides = [_box(row, t) for row in rows if row["stage"] in SIDES]
    last = max((box.height + 2 * _GAP for box in sides), default=0)
    height = sum(box.height + _GAP for box in boxes) + last
    figure = style.canvas(height, 0, 0, 0, 0)
    axes = figure.add_subplot()
    axes.set(xlim=(0, style.WIDTH), ylim=(height, 0))
    axes.axis("off")
    top, before = _GAP / 2, math.nan  # before: lower end of the kept box above
    for box in boxes:
        if box.aside:
            _draw(axes, style.WIDTH - _LEFT - _ASIDE, top, _ASIDE, box)
            middle = top + box.height / 2
            _arrow(axes, (_LEFT + _KEPT / 2, middle), (style.WIDTH - _LEFT - _ASIDE, middle))
        else:
            _draw(axes, _LEFT, top, _KEPT, box)
            _arrow(axes, (_LEFT + _KEPT / 2, before), (_LEFT + _KEPT / 2, top))
            before = top + box.height
        top += box.height + _GAP
    width = (style.WIDTH - 2 * _LEFT - _GAP) / 2
    for place, box in enumerate(sides):
        left = _LEFT + place * (width + _GAP)
        _draw(axes, left, top + _GAP, width, box)
        _arrow(axes, (_LEFT + _KEPT / 2, before), (left + width / 2, top + _GAP))
    told = "; ".join(t("excluded, %(box)s", box=box.told) if box.aside else box.told for box in (*boxes, *sides))
    return Picture(figure, t("Flow of the images: %(told)s.", told=told))


def _box(row: dict[Any, Any], t: Language) -> _Box:
    aside = bool(row["excluded"])
    return _Box(textwrap.wrap(t(STAGES[row["stage"]]), 28 if aside else 31), counts(row, t), aside)


def _draw(axes: style.Axes, left: float, top: float, width: float, box: _Box) -> None:
    from matplotlib.patches import Rectangle

    line = "--" if box.aside else "-"
    axes.add_patch(Rectangle((left, top), width, box.height, fill=False, edgecolor=style.GREY, linestyle=line))
    for place, text in enumerate((*box.name, *box.counts)):
        axes.text(
            left + 0.09, top + _PAD / 2 + (place + 0.5) * _LINE, text, va="center", fontsize=style.SMALL,
            fontweight="bold" if place < len(box.name) else "normal", parse_math=False,
        )  # fmt: skip


def _arrow(axes: style.Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    arrow = {"arrowstyle": "-|>", "color": style.GREY, "linewidth": 1, "shrinkA": 0, "shrinkB": 0}
    axes.annotate("", end, start, arrowprops=arrow)
