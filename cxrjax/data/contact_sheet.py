"""A sheet of small images beside a store, on which a user sees in seconds whether all is well: doubtful ones first."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import PurePosixPath
from typing import NamedTuple

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw, ImageFont

_SIDE, _GAP, _LINE = 144, 10, 18  # pixels of an image, between two, and of a line of text
_COLUMNS, _DOUBTFUL_ROWS, _SAMPLE_ROWS = 10, 3, 6
_PAPER, _INK, _ALARM = (255, 255, 255), (0, 0, 0), (204, 0, 0)
_NAME = 20  # letters below an image
_FONT = ImageFont.load_default(13)  # comes with Pillow


class _Group(NamedTuple):
    heading: str
    captions: dict[str, str]  # image -> what stands below it
    colour: tuple[int, int, int]


def draw(
    table: pd.DataFrame,
    doubts: Mapping[str, str],
    bad: int,
    pixels: Callable[[Iterable[str]], Iterator[np.ndarray]],
) -> bytes:
    """Doubtful images with their codes, then a sample of the most frequent labels, evenly over the table's order.

    Args:
      table: the store's: a row an image, columns image and labels.
      doubts: image -> code (`screening.CODES`), of those that are doubtful.
      bad: number of images that were left out.
      pixels: of images by their names, [size, size] u8 each.

    Returns:
      A PNG file, 1,550 pixels wide and below 2 MB; the same bytes for the same store and version of Pillow.
    """
    groups = [*_doubtful(table, doubts), *_samples(table[~table["image"].isin(list(doubts))])]
    height = _GAP + _LINE + sum(_height(group) for group in groups) + _GAP
    sheet = Image.new("RGB", (_COLUMNS * (_SIDE + _GAP) + _GAP, height), _PAPER)
    pen = ImageDraw.Draw(sheet)
    labels = table["labels"][table["labels"] != ""].nunique()
    counts = f"{len(table)} images, {labels} labels, {bad} bad, {len(doubts)} doubtful"
    title = f"{counts}. All should be upright chests with dark lungs and light bones."
    pen.text((_GAP, _GAP), title, _INK, _FONT)
    top = _GAP + _LINE
    for group in groups:
        _paste(sheet, pen, top, group, pixels(group.captions))
        top += _height(group)
    return _png(sheet)


def _doubtful(table: pd.DataFrame, doubts: Mapping[str, str]) -> Iterator[_Group]:
    images = [image for image in table["image"] if image in doubts]
    if images:
        shown = images[: _DOUBTFUL_ROWS * _COLUMNS]
        counts = pd.Series([doubts[image] for image in images]).value_counts()
        more = f", and {len(images) - len(shown)} more" if len(images) > len(shown) else ""
        codes = ", ".join(f"{count} {code}" for code, count in sorted(counts.items()))
        captions = {image: f"{doubts[image]}: {_short(image, _NAME - len(doubts[image]))}" for image in shown}
        yield _Group(f"Doubtful: {codes}{more} (see bad_images.csv)", captions, _ALARM)


def _samples(table: pd.DataFrame) -> Iterator[_Group]:
    counts = table["labels"].value_counts()
    ordered = sorted(counts.index, key=lambda label: (-counts[label], label))
    rows = max(1, _SAMPLE_ROWS // max(1, len(ordered)))
    for label in ordered[:_SAMPLE_ROWS]:
        images = table["image"][table["labels"] == label].to_numpy()
        places = np.unique(np.linspace(0, len(images) - 1, rows * _COLUMNS).round().astype(int))
        heading = f"{label or 'no label'}: {len(places)} of {len(images)}"
        yield _Group(heading, {image: _short(image) for image in images[places]}, _INK)
    if len(ordered) > _SAMPLE_ROWS:
        others = ordered[_SAMPLE_ROWS:]
        yield _Group(f"and {len(others)} other labels of {int(counts[others].sum())} images", {}, _INK)


def _short(image: str, length: int = _NAME) -> str:
    """The end of a name, which differs more than its start."""
    name = PurePosixPath(image).stem
    return name if len(name) <= length else "…" + name[1 - length :]


def _height(group: _Group) -> int:
    return _GAP + _LINE + -(-len(group.captions) // _COLUMNS) * (_SIDE + _LINE + _GAP)


def _paste(sheet: Image.Image, pen: ImageDraw.ImageDraw, top: int, group: _Group, images: Iterable[np.ndarray]) -> None:
    """One group, its heading at `top`."""
    pen.text((_GAP, top + _GAP), group.heading, group.colour, _FONT)
    for place, (caption, pixels) in enumerate(zip(group.captions.values(), images, strict=True)):
        row, column = divmod(place, _COLUMNS)
        left, upper = _GAP + column * (_SIDE + _GAP), top + _GAP + _LINE + row * (_SIDE + _LINE + _GAP) + _GAP // 2
        if group.colour == _ALARM:
            pen.rectangle((left - 4, upper - 4, left + _SIDE + 3, upper + _SIDE + 3), _ALARM)
        sheet.paste(Image.fromarray(pixels).resize((_SIDE, _SIDE), Image.Resampling.BOX), (left, upper))
        pen.text((left, upper + _SIDE + 3), caption, group.colour, _FONT)


def _png(sheet: Image.Image) -> bytes:
    """In 64 greys and one red, a third of the bytes of full colour."""
    palette = Image.new("P", (1, 1))
    palette.putpalette([value * 255 // 63 for value in range(64) for _ in range(3)] + [*_ALARM])
    content = io.BytesIO()
    sheet.quantize(palette=palette, dither=Image.Dither.NONE).save(content, "PNG", optimize=True)
    return content.getvalue()
