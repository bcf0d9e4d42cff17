"""Writes clahe.npz beside this file: what OpenCV's `createCLAHE(2.0, (8, 8))` makes of two made images.

    python -m tests.golden.make_clahe     # from the project's root; needs OpenCV, a second

Written with OpenCV 5.0. One image's sides divide by the 8 tiles, those of the other, of 70 x 59, do not.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np


def image(height: int, width: int) -> np.ndarray:
    """A slope with a bright disc, some noise, and a black border, [height, width] u8."""
    y, x = np.mgrid[:height, :width]
    noise = np.random.default_rng(0).normal(0, 6, (height, width))
    grey = 40 + 1.2 * x + 90 * ((y - height / 2) ** 2 + (x - width / 2) ** 2 < (width / 4) ** 2) + noise
    grey[:6] = 0
    return np.clip(grey, 0, 255).astype(np.uint8)


def main() -> None:
    """Runs OpenCV."""
    golden = {}
    for name, sides in (("even", (64, 64)), ("odd", (70, 59))):
        golden[name] = image(*sides)
        golden[f"{name}_equalised"] = cv2.createCLAHE(2.0, (8, 8)).apply(golden[name])
    np.savez_compressed(Path(__file__).with_name("clahe.npz"), **golden)


if __name__ == "__main__":
    main()
