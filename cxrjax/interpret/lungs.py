"""Where the lungs are on a frontal radiograph: an estimate by a fitted outline, or a user's own masks.

Ten numbers describe the outline of both lungs; those are taken that make it darkest inside and brightest around, on a
64 x 64 image, and least unusual. An opacity cannot be cut out, as no outline has that form. Not for measuring lungs.

Against the phantom's truth (120 patients, seed 3, not used for tuning; 169 images), Dice:

                mean   5th percentile   area of the image, estimated and true
    PA (101)    0.887  0.843            17.6 %  18.8 %
    AP (68)     0.865  0.824            16.8 %  17.4 %
    P (35)      0.869  0.825            17.1 %  18.0 %
    NF (79)     0.883  0.847            17.8 %  18.7 %
    all         0.878  0.830            17.3 %  18.2 %

The area is 4.6 % too small for P and 4.7 % for NF. Dice is 0.014 lower for P (standard error 0.005), within the views
0.012 (PA) and 0.011 (AP); 85.0 % of P's true lung is found, 86.5 % of NF's. Large hearts (6) are fitted worst, 0.84.

On NIH's films there is no truth. Of 60 random ones (36 PA, 24 AP; 11 P), judged by eye and not by a radiologist, 2 were
grossly wrong (a turned child's arm; bases lost above a pacemaker), and 4 more lost about a fifth of a lung at the base
or reached beyond the chest. Bases seen through breasts and the apices are the least exact. Constants were settled
while looking at 32 random films, 2 of which are among the 60.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image
from scipy import ndimage

from cxrjax.base import InputError

MAX_PIXELS = 50_000_000  # of a mask
FORMATS = ("PNG", "JPEG", "BMP", "TIFF")
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
_GRID = 64  # on which an outline is fitted
# Outline: middle, tilt, top, base right, base left, flank right, flank left, mediastinum, heart, dome; right is the
# patient's. Shares of the image's side; tilt is their ratio. Means between the phantom's and those of adults' films.
_MEAN = np.array([0.50, 0.0, 0.14, 0.78, 0.78, 0.36, 0.36, 0.09, 0.10, 0.12], np.float32)
_SD = np.array([0.04, 0.04, 0.05, 0.09, 0.09, 0.05, 0.05, 0.02, 0.05, 0.03], np.float32)
_LOW = np.array([0.3, -0.15, 0.0, 0.5, 0.5, 0.2, 0.2, 0.04, 0.0, 0.03], np.float32)
_HIGH = np.array([0.7, 0.15, 0.4, 1.0, 1.0, 0.5, 0.5, 0.16, 0.25, 0.22], np.float32)
_SIDES = ((3, 4, 0.06), (5, 6, 0.04))  # pairs that are alike in one patient, and how much they differ
_BAND = 0.035  # width of the bands along the outline
_SHARP = 40.0  # weight of an outline is exp(_SHARP * score)
_PRIOR = 0.02  # score lost for one squared standard deviation from _MEAN
# Outlines tried first; rounds of so many around the best, narrower.
_FIRST, _ROUNDS, _MANY, _SHRINK = 1500, 4, 120, 0.55


class Brightness(NamedTuple):
    """What outlines are scored on; brightness is relative to the surroundings, -1.5..1.5, air outside set apart."""

    within: np.ndarray  # [4096] f32, as seen inside an outline: air outside is as bright as bone
    around: np.ndarray  # [4096] f32, as seen outside of it: air outside attracts no outline


def estimate(images: np.ndarray) -> np.ndarray:
    """Lung fields as in health, not hidden by heart or diaphragm: one smooth region a side, opacities included.

    An image's mask does not depend on the other images. About 0.15 s an image on one core.

    Args:
      images: [N, side, side] u8 frontal radiographs, 0 is black, the patient's right on the left; 256 is what the
        figures above are for.

    Returns:
      [N, side, side] bool.

    Raises:
      ValueError: if `images` has another shape or type.
    """
    if images.ndim != 3 or images.shape[1] != images.shape[2] or images.dtype != np.uint8:
        raise ValueError(f"images must be uint8 [N, side, side], got {images.dtype} {list(images.shape)}")
    masks = np.zeros(images.shape, bool)
    for row, image in enumerate(images):
        inside = _depth(_fit(_brightness(image))[None], len(image))[0] > 0
        masks[row] = ndimage.binary_opening(inside)  # the tips of the costophrenic angles fall apart into pixels
    return masks


def _depth(outlines: np.ndarray, size: int) -> np.ndarray:
    """Distance to the nearest edge, about, positive inside: outlines [K, 10] -> f32 [K, size, size], shares of a side.

    The curves' constants follow the phantom's mean outline (No Finding, seed 11).
    """
    middle, tilt, top, base_r, base_l, flank_r, flank_l, mediastinum, heart, dome = outlines.T[:, :, None, None]
    share = ((np.arange(size, dtype=np.float32) + 0.5) / size).astype(np.float32)
    y, x = share[:, None], share[None, :]

    def edges(base: np.ndarray, flank: np.ndarray, heart: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Distance of the outer and of the inner edge from the middle, at each height."""
        t = np.clip((y - top) / (base - top), 0, 1)
        apex = 0.28 * flank
        outer = apex + (flank - apex) * (1 - (1 - t) ** np.float32(2.4)) ** np.float32(0.6)
        inner = mediastinum + (apex - mediastinum) * (1 - np.clip(4 * t, 0, 1)) ** 2
        bulge = heart / (1 + np.exp((0.53 - t) / 0.06))
        # No heart cuts a lung in two.
        return outer, np.minimum(inner + bulge, np.maximum(inner, outer - np.float32(0.03)))

    across = x - middle - tilt * (y - np.float32(0.45))
    left, across = across > 0, np.abs(across)
    right_edges, left_edges = edges(base_r, flank_r, heart / 4), edges(base_l, flank_l, heart)
    outer, inner = (np.where(left, ours, theirs) for theirs, ours in zip(right_edges, left_edges, strict=True))
    slope = np.clip((1 - across / np.where(left, flank_l, flank_r)) / 0.45, 0, 1)  # the diaphragm falls off laterally
    floor = np.where(left, base_l, base_r) - dome * slope * (2 - slope)
    return np.minimum(np.minimum(across - inner, outer - across), np.minimum(y - top, floor - y))


def _brightness(image: np.ndarray) -> Brightness:
    """Compares each pixel with its surroundings, which removes exposure and the trend of soft tissue."""
    small = _reduced(image)
    air = _outside(small)
    body = 1 - air.astype(np.float32)

    def smooth(values: np.ndarray) -> np.ndarray:
        return ndimage.gaussian_filter(values * body, 10) / (ndimage.gaussian_filter(body, 10) + 1e-3)

    off = (small - smooth(small)) * body
    spread = np.sqrt(smooth(off**2)) + 0.1 * np.sqrt((off**2).sum() / body.sum()) + 1e-3
    relative = np.clip(off / spread, -1.5, 1.5)
    return Brightness(np.where(air, 1, relative).ravel(), np.where(air, -0.5, relative).ravel())


def _reduced(image: np.ndarray) -> np.ndarray:
    """[64, 64] f32, means of the pixels of [side, side]."""
    times, rest = divmod(len(image), _GRID)
    if rest:
        return np.asarray(Image.fromarray(image.astype(np.float32)).resize((_GRID, _GRID), Image.Resampling.BOX))
    return np.asarray(image.astype(np.float32).reshape(_GRID, times, _GRID, times).mean((1, 3)))


def _outside(small: np.ndarray) -> np.ndarray:
    """Air around the body and the collimator's edges, as bool: what is dark and joined to top, left or right."""
    lungs = _depth(_MEAN[None], _GRID)[0] > 0
    frame = np.ones_like(lungs)
    frame[1:, 1:-1] = False
    for share in (0.6, 0.45, 0.3, 0.15):  # of the median; less where the lungs would be taken for air
        dark = small <= max(share * np.median(small), 6)
        dark = ndimage.binary_opening(np.pad(dark, 2, mode="edge"))[2:-2, 2:-2]
        air = ndimage.binary_propagation(frame & dark, mask=dark)
        if air[lungs].mean() < 0.15:
            return air
    return np.zeros_like(lungs)


def _fit(brightness: Brightness) -> np.ndarray:
    """Mean outline [10] f32 of the best, weighted by their scores; the draws are the same for every image."""
    outlines, bands, steps = _draws()
    score = _score(outlines, bands, brightness)
    spread = _SD * _SHRINK
    for step in steps:
        weight = np.exp(_SHARP * (score - score.max()))
        best = (weight / weight.sum()) @ outlines
        outlines = np.clip(best + spread * step, _LOW, _HIGH)
        score = _score(outlines, _bands(outlines), brightness)
        spread = spread * _SHRINK
    weight = np.exp(_SHARP * (score - score.max()))
    return (weight / weight.sum()) @ outlines


@functools.cache
def _draws() -> tuple[np.ndarray, list[np.ndarray], np.ndarray]:
    """First outlines [_FIRST, 10], their bands (100 MB) and standard normal steps [_ROUNDS, _MANY, 10]."""
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((_FIRST, 10), dtype=np.float32)
    outlines = _MEAN + 1.2 * _SD * noise
    for right, left, sd in _SIDES:
        outlines[:, left] = outlines[:, right] + sd * noise[:, left]
    outlines = np.clip(outlines, _LOW, _HIGH)
    steps = rng.standard_normal((_ROUNDS, _MANY, 10), dtype=np.float32)
    steps[:, 0] = 0
    return outlines, _bands(outlines), steps


def _bands(outlines: np.ndarray) -> list[np.ndarray]:
    """f32 [K, 4096] each: the outline shrunk by a band, as it is, grown by one, grown by two."""
    depth = _depth(outlines, _GRID).reshape(len(outlines), -1)
    return [(depth > edge).astype(np.float32) for edge in (_BAND, 0, -_BAND, -2 * _BAND)]


def _score(outlines: np.ndarray, bands: list[np.ndarray], brightness: Brightness) -> np.ndarray:
    """[K] f32: how much darker it is inside than just outside, over all and along the edge, less what is unusual.

    The first term grows with the area to the power of 0.75, as the sharpest contrast is that of a part of a lung.
    """
    seen = np.stack([*brightness, np.ones_like(brightness.within)], axis=1)
    core, field, near, wide = (band @ seen for band in bands)

    def mean(sums: np.ndarray, column: int) -> np.ndarray:
        return sums[:, column] / np.maximum(sums[:, 2], 1)

    region = (mean(wide - field, 1) - mean(field, 0)) * (field[:, 2] / 900) ** np.float32(0.75)
    edge = mean(near - field, 1) - mean(field - core, 0)
    unusual = (((outlines - _MEAN) / _SD) ** 2).sum(1)
    for right, left, sd in _SIDES:
        unusual += ((outlines[:, right] - outlines[:, left]) / sd) ** 2
    return region + edge - _PRIOR * unusual


def read_masks(folder: Path, names: Sequence[str], size: int = 256) -> tuple[np.ndarray, np.ndarray]:
    """A user's own masks of lung fields: of NAME.png the file NAME_mask or else NAME, PNG, JPEG, BMP or TIFF.

    What is not 0 in any channel is lung (JPEG: at least half of the file's largest value); transparency is ignored.
    Masks of any size are brought to `size` by their nearest pixels, the whole image without keeping its aspect.

    Args:
      folder: of the masks.
      names: of the radiographs; those without a mask are passed over.
      size: side of the masks that are returned, pixels.

    Returns:
      [M, size, size] bool and [M] i32, the position in `names` of each.

    Raises:
      InputError: if `folder` is missing or has no mask for any of `names`, two files for one of them, a file that is no
        image, or an empty mask.
    """
    if not folder.is_dir():
        raise InputError(f"folder of lung masks must be a folder, got {folder}")
    files: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in SUFFIXES:
            files.setdefault(path.stem, []).append(path)
    stems = [Path(name).stem for name in names]
    candidates = [files.get(f"{stem}_mask") or files.get(stem, []) for stem in stems]
    for paths in candidates:
        if len(paths) > 1:
            raise InputError(
                f"{folder} must hold one mask for each radiograph, got {' and '.join(p.name for p in paths)}"
            )
    positions = np.array([i for i, paths in enumerate(candidates) if paths], np.int32)
    if not len(positions):
        first = f"{stems[0]}_mask.png or {stems[0]}.png" if stems else "no names"
        raise InputError(
            f"{folder} must hold a mask for one of {len(stems)} radiographs, got none (looked for {first}, ...)"
        )
    return np.stack([_read_mask(candidates[i][0], size) for i in positions]), positions


def _read_mask(path: Path, size: int) -> np.ndarray:
    """[size, size] bool."""
    try:
        with Image.open(path, formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise InputError(f"{path} must have at most {MAX_PIXELS} pixels, got {image.width} x {image.height}")
            lossy = image.format == "JPEG"
            values = np.asarray(image.convert("RGB") if image.mode not in ("1", "L", "I", "I;16", "F") else image)
    except InputError:
        raise
    except Exception as error:  # decoders raise whatever they like at damaged data
        raise InputError(f"{path} must be a PNG, JPEG, BMP or TIFF image, got {type(error).__name__}") from error
    values = values.astype(np.float32)
    values = values.max(2) if values.ndim == 3 else values
    rows, columns = (((np.arange(size) + 0.5) * n / size).astype(int) for n in values.shape)
    mask = (values >= max(values.max() / 2, 1) if lossy else values != 0)[np.ix_(rows, columns)]
    if not mask.any():
        raise InputError(f"{path} must mark some lung, got a mask that is empty at {size} x {size} pixels")
    return mask
