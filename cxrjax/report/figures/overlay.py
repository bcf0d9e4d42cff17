"""A map over a radiograph: where it is low the radiograph shows, where it is high a colour lies on it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from cxrjax.base.types import Array

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
