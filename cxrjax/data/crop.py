"""Cutting an image to a region that matters, as the lungs; a function of the caller's finds it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from PIL import Image

SIDE = 256  # pixels of the image that a region is sought on
MARGIN = 0.05  # kept around the region, share of its longer side
NOT_FOUND = "no lungs are seen to crop it to, and the whole image is kept"
Box: TypeAlias = "tuple[float, float, float, float]"  # left, top, right, bottom, shares of the image's sides
Region: TypeAlias = "Callable[[np.ndarray], Box | None]"  # of a whole image stretched to [SIDE, SIDE] u8


def around(box: Box, width: int, height: int) -> tuple[int, int, int, int]:
    """The square around a region and its margin, in whole pixels: left, top, right, bottom.

    It is moved into the image; where the image is narrower than the square, it is as wide as the image.

    >>> around((0.2, 0.25, 0.6, 0.75), 100, 200)
    (0, 45, 100, 155)
    """
    spans = [(box[axis] * length, box[axis + 2] * length) for axis, length in enumerate((width, height))]
    side = (1 + 2 * MARGIN) * max(end - start for start, end in spans)
    firsts, lasts = [], []
    for (start, end), length in zip(spans, (width, height), strict=True):
        kept = min(round(side), length)
        first = round((start + end - kept) / 2)
        firsts.append(min(max(first, 0), length - kept))
        lasts.append(firsts[-1] + kept)
    return firsts[0], firsts[1], lasts[0], lasts[1]


def cut(image: Image.Image, whole: np.ndarray, find: Region) -> tuple[Image.Image, tuple[str, ...]]:
    """The part of `image` that `find` finds on it stretched, `whole`; and a note if it is all of it for want of one."""
    box = find(whole)
    return (image, (NOT_FOUND,)) if box is None else (image.crop(around(box, *image.size)), ())


def line(without: int, images: int) -> str:
    """A sentence for logs: of so many images, those without a region."""
    return f"crop: {images - without} of {images} images cut to the lungs, {without} kept whole as none were seen"
