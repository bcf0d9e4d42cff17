"""What all figures share: colours, one size of paper, and the files that a figure becomes.

Colours are those of Okabe & Ito (2008, Color Universal Design), dark enough for lines on white; whatever a colour
tells, a marker, a dash or a hatch tells too. Margins are given, not found by a layout engine, which draws
all twice.
"""

from __future__ import annotations

import io
import re
import warnings
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from cxrjax.base import lazy_modules
from cxrjax.report.language import Language

lazy_modules(__name__)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

BLUE, GREEN, VERMILION, GREY = "#0072b2", "#009e73", "#d55e00", "#767676"
WIDTH, TEXT, SMALL = 4.8, 9.5, 8.5  # inches, points, points
_DPI = 200
# In a page an SVG takes the colours of its style sheet, which differ in the dark.
_PAGE_COLOURS = {
    BLUE: "var(--blue)",
    GREEN: "var(--green)",
    VERMILION: "var(--vermilion)",
    GREY: "var(--grey)",
    "#000000": "currentColor",
    "#ffffff": "none",
}


class Picture(NamedTuple):
    """A figure and the words that stand for it where it is not seen."""

    figure: Figure
    alt: str  # what it shows, with the numbers that matter


class Drawn(NamedTuple):
    """A picture as files."""

    png: bytes
    svg: str  # a file of its own, black on white
    inline: str  # the inside of a page: `<svg>` in the page's colours and letters
    alt: str


def canvas(height: float, left: float = 0.62, right: float = 0.12, bottom: float = 0.5, top: float = 0.34) -> Figure:
    """An empty figure of the common width; all in inches. The margins hold for `axes`."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, height))
    figure.subplots_adjust(left / WIDTH, bottom / height, 1 - right / WIDTH, 1 - top / height)
    return figure


def axes(figure: Figure, rows: int = 1, row: int = 1, title: str = "") -> Axes:
    """One of `rows` axes above each other, without needless lines."""
    axes = figure.add_subplot(rows, 1, row)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set(color=GREY, linewidth=0.8)
    axes.tick_params(labelsize=SMALL, color=GREY)
    axes.grid(color=GREY, alpha=0.25, linewidth=0.6)
    axes.set_axisbelow(True)
    if title:
        axes.set_title(title, fontsize=TEXT, loc="left", fontweight="bold")
    return axes


def plot(title: str, x: str, height: float, y: str = "", **margins: float) -> tuple[Figure, Axes]:
    """A figure of one plot with its title and the names of its axes; see `canvas`."""
    figure = canvas(height, **margins)
    plotted = axes(figure, title=title)
    name_axes(plotted, x, y)
    return figure, plotted


def name_axes(axes: Axes, x: str = "", y: str = "") -> None:
    """What the axes show."""
    axes.set_xlabel(x, fontsize=TEXT)
    axes.set_ylabel(y, fontsize=TEXT)


def write_ticks(t: Language, x: Axes | None = None, y: Axes | None = None, digits: int = 1) -> None:
    """Numbers along the x axis of `x` and the y axis of `y` as the language writes them."""
    from matplotlib.ticker import FuncFormatter

    for axis in [*([x.xaxis] if x else []), *([y.yaxis] if y else [])]:
        axis.set_major_formatter(FuncFormatter(lambda value, _: t.number(value, digits)))


def few_ticks(axis: Axis, most: int = 10, least: int = 2, integer: bool = False) -> None:
    """Ticks at round numbers, whole ones if `integer`."""
    from matplotlib.ticker import MaxNLocator

    axis.set_major_locator(MaxNLocator(most, integer=integer, steps=[1, 2, 5, 10], min_n_ticks=least))


def legend(axes: Axes, place: Literal["lower left", "lower right", "below"]) -> None:
    """Without a frame, in small letters; below: outside of the axes."""
    where = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.13), "ncols": 4} if place == "below" else {"loc": place}
    axes.legend(**where, frameon=False, fontsize=SMALL, handlelength=2.2, labelspacing=0.35, borderaxespad=0.3)


def save(name: str, picture: Picture) -> Drawn:
    """The files of a picture. Equal figures give equal bytes; `name` keeps one figure's parts from another's."""
    svg = _svg(picture)
    return Drawn(_file(picture, format="png", dpi=_DPI), svg, _inline(name, svg), picture.alt)


def inline(name: str, picture: Picture) -> str:
    """`Drawn.inline` of a picture alone, in half the time of `save`."""
    return _inline(name, _svg(picture))


def _svg(picture: Picture) -> str:
    return _file(picture, format="svg", metadata={"Date": None, "Creator": "cxrjax"}).decode()


def _file(picture: Picture, **settings: Any) -> bytes:
    import matplotlib

    buffer, of_svg = io.BytesIO(), {"svg.fonttype": "none", "svg.hashsalt": "cxrjax"}
    with matplotlib.rc_context(of_svg), warnings.catch_warnings():  # type: ignore[arg-type]
        # A group's name may hold letters that the font lacks: an empty box says enough.
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        picture.figure.savefig(buffer, **settings)
    return buffer.getvalue()


def _inline(name: str, svg: str) -> str:
    """An SVG file of matplotlib as an element of a page: smaller, and in the page's colours and letters."""
    size = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg)
    assert size, "matplotlib writes the size of its figures"
    body = svg[svg.index("<defs>") :]
    body = re.sub(r"<style.*?</style>", "", body, count=1)  # holds for every element: the page has its own
    body = re.sub(r"<(\w+)([^>]*)>", lambda tag: f"<{tag[1]}{_attributes(name, tag[2])}>", body)
    body = re.sub(r">\s+<", "><", body).strip()
    return f'<svg viewBox="0 0 {size[1]} {size[2]}" width="{float(size[1]) * 4 / 3:.0f}" aria-hidden="true">{body}'


def _attributes(name: str, text: str) -> str:
    """The attributes of one element: short coordinates, own names, the page's colours and letters."""
    text = re.sub(r' id="\w+_\d+"', "", text)  # of groups; none refers to them
    text = re.sub(r'(?<= id=")|(?<=href="#)|(?<=url\(#)', f"{name}-", text.replace("xlink:href", "href"))
    text = re.sub(r' (?:d|x|y|transform)="[^"]*"', _short, text)
    text = re.sub(r' transform="rotate\(-0 [^"]*"| ?font-family: [^;"]*;?', "", text)
    for colour, named in _PAGE_COLOURS.items():
        text = text.replace(f": {colour}", f": {named}")
    return text


def _short(attribute: re.Match[str]) -> str:
    """Coordinates to a tenth of a point, without line ends."""
    return " " + " ".join(re.sub(r"(\.\d)\d+", r"\1", attribute[0]).split())
