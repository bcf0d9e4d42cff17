"""Some radiographs of a data set as small tiles with captions, for the eye."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw, ImageFont

TILE, GAP, COLUMNS, ROWS = 144, 12, 6, 4  # pixels, pixels, tiles, tiles of a contact sheet
LINE, LINES, FONT_SIZE = 13, 5, 11  # pixels, lines, pixels of a caption
_DARK, _TEXT = 16, 225  # grey values, readable on a light and on a dark page


def drawn_rows(table: pd.DataFrame, member: np.ndarray, seed: int) -> np.ndarray:
    """Rows of a sheet's images, drawn at random and sorted by name: a function of seed and names alone."""
    order = np.argsort(table["image"].to_numpy(str), kind="stable")
    order = order[member[order]]
    return order[np.sort(np.random.default_rng(seed).permutation(len(order))[: COLUMNS * ROWS])]


def draw(images: np.ndarray, table: pd.DataFrame, rows: np.ndarray, title: str) -> np.ndarray:
    """Images of any size as small tiles above their captions, u8 [height, width]."""
    pitch, height = TILE + GAP, TILE + GAP + LINE * LINES
    top = GAP + 2 * LINE
    sheet = Image.new("L", (COLUMNS * pitch + GAP, top + -(-len(rows) // COLUMNS) * height), _DARK)
    pen, letters = ImageDraw.Draw(sheet), font()
    pen.text((GAP, GAP), title, _TEXT, letters)
    for place, row in enumerate(rows):
        x, y = GAP + place % COLUMNS * pitch, top + place // COLUMNS * height
        tile = Image.fromarray(np.asarray(images[row]))
        sheet.paste(tile.resize((TILE, TILE), Image.Resampling.BILINEAR), (x, y))
        for number, text in enumerate(caption(table.iloc[row], letters)):
            pen.text((x, y + TILE + 2 + number * LINE), text, _TEXT, letters)
    return np.asarray(sheet)


def font(size: int = FONT_SIZE) -> ImageFont.FreeTypeFont:
    """DejaVu, which matplotlib brings along: it has more letters than Pillow's own."""
    import matplotlib

    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf", size)


def caption(row: pd.Series, font: ImageFont.FreeTypeFont) -> list[str]:
    """At most `LINES` lines below a tile and as wide as it: name; view, age and sex; labels."""
    age = "age ?" if pd.isna(row["age"]) else f"{row['age']:.0f}"
    name = _wrapped(re.findall(r"[^-_.]+[-_.]*|[-_.]+", row["image"].rsplit("/", 1)[-1]), 2, font)
    known = f"{row['view'] or 'view ?'}, {age}, {row['sex'] or 'sex ?'}"
    labels = (row["labels"] or "no label").replace("|", ", |").split("|")
    lines = [*name, *_wrapped([known], 1, font)]
    return [*lines, *_wrapped(labels, LINES - len(lines), font)]


def _wrapped(pieces: Iterable[str], most: int, font: ImageFont.FreeTypeFont) -> list[str]:
    """Fills lines as wide as a tile with pieces of text; one that is wider is broken; what is left over is cut."""
    lines = [""]
    for piece in pieces:
        shown = "".join(letter if letter.isprintable() else "?" for letter in piece)
        for part in shown if font.getlength(shown.rstrip()) > TILE else [shown]:
            if lines[-1] and font.getlength((lines[-1] + part).rstrip()) > TILE:
                lines.append("")
            lines[-1] += part
    return lines if len(lines) <= most else [*lines[: most - 1], f"{lines[most - 1][:-2]}…"]
