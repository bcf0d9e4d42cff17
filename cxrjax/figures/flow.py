"""The way of the images from the source's list to the runs, as STARD and CLAIM ask for it."""

from __future__ import annotations

import textwrap
from typing import Any, NamedTuple

import pandas as pd

from cxrjax.figures import style
from cxrjax.figures.style import Picture
from cxrjax.language import Language, printable

_LINE, _GAP, _PAD = 0.165, 0.2, 0.14  # inches
_LEFT, _KEPT, _ASIDE = 0.06, 2.3, 2.15  # margin, width of the boxes, inches


def counts(row: dict[str, Any], t: Language) -> list[str]:
    """What a box tells below its name: images and patients, then positives and negatives; unknown ones are not told."""
    images, patients = row["images"], row["patients"]
    first = t("%(n)s images", n=t.count(images))
    if not pd.isna(patients):
        first = t("%(images)s, %(n)s patients", images=first, n=t.count(patients))
    known = [("P", row["positives"]), (t("negative"), row["negatives"])]
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


def flow(table: pd.DataFrame, t: Language) -> Picture:
    """Boxes from the top; what goes no further stands aside, dashed, beside the arrow that it leaves.

    Args:
      table: `RunTables.flow`.
      t: of the texts.
    """
    boxes = [_box(row, t) for row in table.to_dict("records")]
    height = sum(box.height + _GAP for box in boxes)
    figure = style.canvas(height, 0, 0, 0, 0)
    axes = figure.add_subplot()
    axes.set(xlim=(0, style.WIDTH), ylim=(height, 0))
    axes.axis("off")
    top, before = _GAP / 2, None  # before: lower end of the kept box above
    for box in boxes:
        _draw(axes, top, box)
        if box.aside:
            middle = top + box.height / 2
            _arrow(axes, (_LEFT + _KEPT / 2, middle), (style.WIDTH - _LEFT - _ASIDE, middle))
        else:
            if before is not None:
                _arrow(axes, (_LEFT + _KEPT / 2, before), (_LEFT + _KEPT / 2, top))
            before = top + box.height
        top += box.height + _GAP
    told = "; ".join(t("excluded, %(box)s", box=box.told) if box.aside else box.told for box in boxes)
    return Picture(figure, t("Flow of the images: %(told)s.", told=told))


def _box(row: dict[str, Any], t: Language) -> _Box:
    aside = bool(row["excluded"])
    return _Box(textwrap.wrap(t(printable(row["stage"])), 28 if aside else 31), counts(row, t), aside)


def _draw(axes: style.Axes, top: float, box: _Box) -> None:
    from matplotlib.patches import Rectangle

    left, width = (style.WIDTH - _LEFT - _ASIDE, _ASIDE) if box.aside else (_LEFT, _KEPT)
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
