"""One image file to 8-bit grey, 256x256."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from cxrjax.store import SIZE
from cxrjax.types import InputError

_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA")  # 8 bits a channel or fewer
_CHUNK = 256  # images in flight, 16 MB when reduced


def read_image(path: Path) -> np.ndarray:
    """Reads and reduces an image, whole and without keeping its aspect, as the poster does.

    Colour becomes grey by ITU-R 601 luma, which leaves equal channels as they are; transparency is dropped.
    The filter is Pillow's anti-aliased bilinear.

    Returns:
      [256, 256] u8.

    Raises:
      InputError: naming the file, if it is missing, no image, truncated, or has more than 8 bits a channel.
    """
    try:
        with Image.open(path) as image:
            if image.mode not in _MODES:
                raise InputError(f"{path}: images must have 8 bits a channel, this one has mode {image.mode}")
            grey = image.convert("L") if image.mode != "L" else image
            if grey.size != (SIZE, SIZE):
                grey = grey.resize((SIZE, SIZE), Image.Resampling.BILINEAR)
            return np.asarray(grey, np.uint8)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} cannot be read as an image: {error}") from error


def read_images(paths: list[Path]) -> Iterator[np.ndarray | InputError]:
    """Reads images in order on all cores (Pillow decodes without the GIL); a bad one yields its error."""

    def attempt(path: Path) -> np.ndarray | InputError:
        try:
            return read_image(path)
        except InputError as error:
            return error

    with ThreadPoolExecutor() as pool:
        for start in range(0, len(paths), _CHUNK):
            yield from pool.map(attempt, paths[start : start + _CHUNK])
