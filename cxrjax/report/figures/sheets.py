"""Images side by side with names of rows and columns, and an animation, as arrays and bytes for files."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from cxrjax.report.figures.contact_sheet import font

GAP = 6  # pixels between tiles
_PAPER, _INK = (255, 255, 255), (40, 40, 40)
_SIZE = 15  # pixels of a letter


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
    letters, line = font(_SIZE), _SIZE + 8
    heads = [line if name else 0 for name in rows]
    top = line if any(columns) else 0
    height = top + sum(heads) + len(rows) * (side + GAP) + GAP
    paper = Image.new("RGB", (len(columns) * (side + GAP) + GAP, height), _PAPER)
    pen, y = ImageDraw.Draw(paper), top
    for number, name in enumerate(columns):
        _write(pen, (GAP + number * (side + GAP), 4), name, letters)
    for row, name, head in zip(tiles, rows, heads, strict=True):
        _write(pen, (GAP, y + 4), name, letters)
        y += head
        for number, tile in enumerate(row):
            paper.paste(_scaled(tile, side), (GAP + number * (side + GAP), y))
        y += side + GAP
    return np.asarray(paper)


def _write(pen: ImageDraw.ImageDraw, at: tuple[int, int], text: str, letters: ImageFont.FreeTypeFont) -> None:
    pen.text(at, text, _INK, letters)


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
