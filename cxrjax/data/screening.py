"""May this be a chest radiograph?

Rules that no radiograph breaks and many other pictures do; they cannot tell a chest from a hand, nor a grey photograph
from a radiograph.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from cxrjax.base import InputError

# Measured on 1,328 images of NIH (256 and 1024 pixels, five RGBA)
# and Kermany et al. (224 pixels, RGB JPEG) and on five DICOM files: shorter sides of 224 pixels and more; channels that
# are equal in every pixel; reduced, 99 and more grey levels from the 1st to the 99th percentile.
MIN_SIDE = 128  # pixels of the shorter side; half of what the network is given
CHROMA = 32  # grey levels between a coloured pixel's largest and smallest channel; JPEG makes a few out of grey
COLOURED = 0.1  # share of coloured pixels; letters, arrows and logos in colour take less
MIN_CONTRAST = 16  # grey levels between the 1st and the 99th percentile
_GRID = 128  # pixels are looked at in so many rows and columns
_GREY = ("1", "L", "LA", "I", "I;16", "I;16B", "I;16L", "I;16N", "F")


def check_opened(image: Image.Image) -> None:
    """Refuses what is too small or in colour; for `decode`'s `check`.

    Args:
      image: decoded, of its own size, any mode; transparency is not looked at.

    Raises:
      InputError: naming the rule and the figure, not the file.
    """
    if min(image.size) < MIN_SIDE:
        raise InputError(f"has {image.width} x {image.height} pixels; each side must have at least {MIN_SIDE}")
    share = coloured(image)
    if share > COLOURED:
        raise InputError(f"is in colour: {100 * share:.0f} % of its pixels, and radiographs are grey")


def check_reduced(pixels: np.ndarray) -> None:
    """Refuses [size, size] u8 that shows nothing.

    Raises:
      InputError: naming the rule and the figure, not the file.
    """
    low, high = np.percentile(pixels, (1, 99))
    if high - low < MIN_CONTRAST:
        raise InputError(f"is blank: 98 % of its pixels lie within {high - low:.0f} of 255 grey levels")


def coloured(image: Image.Image) -> float:
    """Share of the pixels, 0..1, whose channels (RGB) differ by more than `CHROMA`; of a grid of pixels as they are."""
    if image.mode in _GREY:
        return 0.0
    # Nearest neighbours alone work on palettes, and do not weigh colours by transparency.
    grid = image.resize((_GRID, _GRID), Image.Resampling.NEAREST)
    channels = np.asarray(grid.convert("RGB")).astype(np.int16)
    return float((channels.max(-1) - channels.min(-1) > CHROMA).mean())
