"""Pictures made of pictures, as arrays and bytes: tiles with names, contact sheets with captions, an animation, and a
map laid over a radiograph: where it is low the radiograph shows, where it is high a colour lies on it.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw, ImageFont

from cxrjax.base import Array, tasks

GAP = 6  # pixels between tiles
_PAPER, _INK = (255, 255, 255), (40, 40, 40)
_LETTER = 15  # pixels of a letter


def sheet(
    tiles: Sequence[Sequence[np.ndarray]], rows: Sequence[str], columns: Sequence[str], side: int = 200
) -> np.ndarray:
    """Tiles in a grid on white, [H, W, 3] u8.

    Args:
      tiles: of each row, its images [h, w] or [h, w, 3] u8, square, reduced or enlarged to `side`.
      rows: a name above each row; "" takes no room.
      columns: a name above each column of the first row.
      side: of a tile, pixels.

    Raises:
      ValueError: if there are not as many names as rows and columns.
    """
    if len(rows) != len(tiles) or any(len(row) != len(columns) for row in tiles):
        raise ValueError(f"tiles must have {len(rows)} rows of {len(columns)}, got {[len(row) for row in tiles]}")
    letters, line = font(_LETTER), _LETTER + 8
    heads = [line if name else 0 for name in rows]
    top = line if any(columns) else 0
    height = top + sum(heads) + len(rows) * (side + GAP) + GAP
    paper = Image.new("RGB", (len(columns) * (side + GAP) + GAP, height), _PAPER)
    pen, y = ImageDraw.Draw(paper), top
    for number, name in enumerate(columns):
        pen.text((GAP + number * (side + GAP), 4), name, _INK, letters)
    for row, name, head in zip(tiles, rows, heads, strict=True):
        pen.text((GAP, y + 4), name, _INK, letters)
        y += head
        for number, tile in enumerate(row):
            paper.paste(_scaled(tile, side), (GAP + number * (side + GAP), y))
        y += side + GAP
    return np.asarray(paper)


def _scaled(tile: np.ndarray, side: int) -> Image.Image:
    return Image.fromarray(np.asarray(tile, np.uint8)).convert("RGB").resize((side, side), Image.Resampling.LANCZOS)


def difference(before: np.ndarray, after: np.ndarray, reach: float = 60) -> np.ndarray:
    """What changed from one grey image [h, w] to the other: red brighter, blue darker, white not at all, [h, w, 3] u8.

    Args:
      before, after: grey values.
      reach: change, grey levels, of the full colour.
    """
    share = np.clip((np.asarray(after, float) - before) / reach, -1, 1)[..., None]
    red, blue = np.array([178, 24, 43.0]), np.array([33, 102, 172.0])  # both ends of RdBu, told apart by all eyes
    ends = np.where(share > 0, red, blue)
    return np.round(255 + np.abs(share) * (ends - 255)).astype(np.uint8)


def animation(frames: Sequence[np.ndarray], side: int = 256, frame_ms: int = 100) -> bytes:
    """A GIF of images of any size [h, w] or [h, w, 3] u8, which stays on the last one for two seconds, then again.

    Raises:
      ValueError: if there is no frame.
    """
    if not frames:
        raise ValueError("frames must hold an image, got none")
    # Noise hardly compresses: 64 shades make the file half as large, and are not told apart from 256.
    images = [_scaled(frame, side).convert("L" if frame.ndim == 2 else "RGB").quantize(64) for frame in frames]
    buffer = io.BytesIO()
    durations = [frame_ms] * (len(images) - 1) + [2000]
    images[0].save(buffer, "GIF", save_all=True, append_images=images[1:], duration=durations, loop=0, optimize=True)
    return buffer.getvalue()


TILE, MARGIN, COLUMNS, ROWS = 144, 12, 6, 4  # pixels, pixels, tiles, tiles of a contact sheet
LINE, LINES, SMALL_LETTER = 13, 5, 11  # pixels, lines, pixels of a caption
DARK, LIGHT = 16, 225  # grey values, readable on a light and on a dark page


def contact_rows(table: pd.DataFrame, member: np.ndarray, seed: int) -> np.ndarray:
    """Rows of a contact sheet's images, drawn at random and sorted by name: a function of seed and names alone.

    Args:
      table: Images of a store, with column image.
      member: [N] bool, which of them may be drawn.
      seed: Of the draw.
    """
    order = np.argsort(table["image"].to_numpy(str), kind="stable")
    order = order[member[order]]
    return order[np.sort(np.random.default_rng(seed).permutation(len(order))[: COLUMNS * ROWS])]


def contact_sheet(images: np.ndarray, table: pd.DataFrame, rows: np.ndarray, title: str) -> np.ndarray:
    """Images as small tiles above their captions, [height, width] u8.

    Args:
      images: [N, H, W] u8, of any size.
      table: [N] rows: image, view, age, sex, labels.
      rows: [n] int, which to show.
      title: Above all.
    """
    pitch, height = TILE + MARGIN, TILE + MARGIN + LINE * LINES
    top = MARGIN + 2 * LINE
    sheet = Image.new("L", (COLUMNS * pitch + MARGIN, top + -(-len(rows) // COLUMNS) * height), DARK)
    pen, letters = ImageDraw.Draw(sheet), font()
    pen.text((MARGIN, MARGIN), title, LIGHT, letters)
    for place, row in enumerate(rows):
        x, y = MARGIN + place % COLUMNS * pitch, top + place // COLUMNS * height
        tile = Image.fromarray(np.asarray(images[row]))
        sheet.paste(tile.resize((TILE, TILE), Image.Resampling.BILINEAR), (x, y))
        for number, text in enumerate(caption(table.iloc[row], letters)):
            pen.text((x, y + TILE + 2 + number * LINE), text, LIGHT, letters)
    return np.asarray(sheet)


def font(size: int = SMALL_LETTER) -> ImageFont.FreeTypeFont:
    """DejaVu, which matplotlib brings along: it has more letters than Pillow's own."""
    import matplotlib

    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf", size)


def caption(row: pd.Series, font: ImageFont.FreeTypeFont) -> list[str]:
    """At most `LINES` lines below a tile and as wide as it: name; view, age and sex; labels."""
    age = "age ?" if pd.isna(row["age"]) else f"{row['age']:.0f}"
    name = _wrapped(re.findall(r"[^-_.]+[-_.]*|[-_.]+", row["image"].rsplit("/", 1)[-1]), 2, font)
    about = f"{row['view'] or 'view ?'}, {age}, {row['sex'] or 'sex ?'}"
    labels = (", |".join(tasks.present(row["labels"])) or "no label").split("|")
    lines = [*name, *_wrapped([about], 1, font)]
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


CAP = 99.0  # percentile at which colours end


def overlay(image: Array, map: Array, boxes: Iterable[Sequence[float]] = (), opacity: float = 0.6) -> np.ndarray:
    """Lays a map over an image.

    Strength = map / its 99th percentile, at most 1, so that a few extreme pixels leave the others visible (Smilkov et
    al. 2017, arXiv:1706.03825); map / its largest value where that percentile is 0. Strength gives both the colour, of
    matplotlib's viridis, perceptually uniform and made for readers with a colour vision deficiency, and its share,
    opacity * strength. Two overlays are thus not on one scale.

    Args:
      image: [H, W] u8.
      map: [H, W], >= 0; all 0: the image as it is.
      boxes: (x, y, width, height) in pixels, x and y of the upper left corner, drawn as white lines edged with black;
        what lies outside of the image is left out.
      opacity: 0..1, the colour's share where the map is highest.

    Returns:
      [H, W, 3] u8, RGB.

    Raises:
      ValueError: if the shapes differ, the map is negative or not finite, or the opacity is out of range.
    """
    import matplotlib

    grey, values = np.asarray(image), np.asarray(map, np.float64)
    if grey.ndim != 2 or grey.dtype != np.uint8 or grey.shape != values.shape:
        raise ValueError(
            f"image must be [H, W] u8 and map of its shape, got {grey.shape} {grey.dtype} and {values.shape}"
        )
    if not np.isfinite(values).all() or values.min() < 0:
        raise ValueError(f"map must be finite and 0 or more, got {values.min():g} .. {values.max():g}")
    if not 0 <= opacity <= 1:
        raise ValueError(f"opacity must be 0..1, got {opacity:g}")
    strength = np.clip(values / (np.percentile(values, CAP) or values.max() or 1), 0, 1)
    colour = matplotlib.colormaps["viridis"](strength)[..., :3] * 255
    share = (opacity * strength)[..., None]
    out = np.round((1 - share) * grey[..., None] + share * colour).astype(np.uint8)
    for box in boxes:
        _outline(out, box)
    return out


def _outline(picture: np.ndarray, box: Sequence[float]) -> None:
    """One white line between two black ones: seen on bright and on dark."""
    x, y, width, height = box
    edges = (round(y), round(x), round(y + height) - 1, round(x + width) - 1)
    for grown, value in ((1, 0), (-1, 0), (0, 255)):
        top, left, bottom, right = (edge + sign * grown for edge, sign in zip(edges, (-1, -1, 1, 1), strict=True))
        rows, columns = _within(top, bottom, picture.shape[0]), _within(left, right, picture.shape[1])
        for row in (top, bottom):
            if 0 <= row < picture.shape[0]:
                picture[row, columns] = value
        for column in (left, right):
            if 0 <= column < picture.shape[1]:
                picture[rows, column] = value


def _within(first: int, last: int, size: int) -> slice:
    return slice(max(first, 0), max(min(last + 1, size), 0))
