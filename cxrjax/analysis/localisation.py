"""Whether a map of where a network looks lies on a region: energy inside, pointing game, and maps without a network.

A map is nonnegative [h, w], a pixel of the centre crop 227x227 that validation sees; a mask is bool of the same shape.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import ndimage

CENTRE_SD = 0.25  # of `centre_prior`, share of the side; 68 % of its energy lies in a disc of 0.38 sides' radius


class BoxMasks(NamedTuple):
    """Boxes as pixels of the centre crop."""

    masks: np.ndarray  # [n, crop, crop] bool, union of an image's boxes
    kept: np.ndarray  # [n] share of the boxes' pixels that the crop keeps; 0: all lie outside, and the mask is empty


def crop_masks(masks: np.ndarray, crop: int) -> np.ndarray:
    """Centre crop [n, crop, crop] of masks [n, side, side]; those of the crop's size stay as they are.

    Raises:
      ValueError: the masks are not square, or smaller than the crop.
    """
    if masks.ndim != 3 or masks.shape[1] != masks.shape[2] or masks.shape[1] < crop:
        raise ValueError(f"masks must be [n, side, side] of a side of at least {crop}, got {masks.shape}")
    corner = (masks.shape[1] - crop) // 2
    return masks[:, corner : corner + crop, corner : corner + crop]


def box_masks(boxes: pd.DataFrame, images: Sequence[str], side: int, crop: int) -> BoxMasks:
    """The pixels of each image's centre crop whose centre lies in one of its boxes.

    A box holds its upper and left edge, not its lower and right one, so that boxes side by side share no pixel.

    Args:
      boxes: `store.BOX_COLUMNS`; x, y, width and height are shares of the whole image. Choose the finding before.
      images: names [n], a mask each, in this order.
      side: of the whole image, pixels.
      crop: side of the centre crop, pixels.

    Raises:
      ValueError: an image has no box, or a number of its boxes is not finite.
    """
    own = {str(name): rows[["x", "y", "width", "height"]].to_numpy(float) for name, rows in boxes.groupby("image")}
    if missing := [name for name in images if name not in own]:
        raise ValueError(f"boxes must hold a row for each image, got none for {len(missing)}, {missing[0]} among them")
    centres = (np.arange(side) + 0.5) / side
    masks, kept = np.zeros((len(images), crop, crop), bool), np.zeros(len(images))
    for row, name in enumerate(images):
        if not np.isfinite(own[name]).all():
            raise ValueError(f"boxes must be finite, got {own[name].tolist()} of {name}")
        whole = np.zeros((side, side), bool)
        for x, y, width, height in own[name]:
            rows, columns = (centres >= y) & (centres < y + height), (centres >= x) & (centres < x + width)
            whole |= rows[:, None] & columns
        masks[row] = crop_masks(whole[None], crop)[0]
        kept[row] = masks[row].sum() / max(whole.sum(), 1)
    return BoxMasks(masks, kept)


def area_share(masks: np.ndarray) -> np.ndarray:
    """Share of the image that each mask covers, [n], 0..1: the energy share of a uniform map."""
    return np.asarray(masks, bool).mean(axis=(1, 2))


def is_zero(maps: np.ndarray) -> np.ndarray:
    """Which maps are zero everywhere, [n] bool; the figures take such a map as uniform."""
    return np.logical_not(np.asarray(maps).any(axis=(1, 2)))


def energy_share(maps: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Share of each map's sum that lies inside the mask, [n], 0..1: the energy-based pointing game.

    sum(map * mask) / sum(map), Wang et al. 2020 (Score-CAM, CVPR workshops). A map of zeros counts as
    uniform. NaN where the mask is empty.

    Args:
      maps: [n, h, w], nonnegative; their scale does not matter.
      masks: [n, h, w] bool.

    Raises:
      ValueError: shapes differ, or a map is negative or not finite.
    """
    _check(maps, masks)
    shares = np.full(len(maps), np.nan)
    for row, (one, mask) in enumerate(zip(maps, masks, strict=True)):
        inside, outside = (one[part].sum(dtype=float) for part in (mask, ~mask))
        if mask.any():
            shares[row] = inside / (inside + outside) if inside + outside else mask.mean()
    return shares


def pointing_game(maps: np.ndarray, masks: np.ndarray, tolerance: float = 0) -> np.ndarray:
    """Whether the maximum of each map lies inside the mask, [n], 0..1 (Zhang et al. 2016, ECCV).

    Of several maximal pixels the share that lies inside: the expected hits, were one of them drawn. Hence a uniform
    map, and one of zeros, has the mask's area share. NaN where the mask is empty.

    Args:
      maps: [n, h, w], nonnegative.
      masks: [n, h, w] bool.
      tolerance: pixels; a maximum no further than this from a pixel of the mask is inside.
        Zhang et al. take 15 for photographs.

    Raises:
      ValueError: shapes differ, a map is negative or not finite, or tolerance is negative.
    """
    _check(maps, masks)
    if not tolerance >= 0:
        raise ValueError(f"tolerance must be 0 or more pixels, got {tolerance}")
    hits = np.full(len(maps), np.nan)
    for row, (one, mask) in enumerate(zip(maps, masks, strict=True)):
        if mask.any():
            near = ndimage.distance_transform_edt(~mask) <= tolerance if tolerance else mask
            hits[row] = near[one == one.max()].mean()
    return hits


def centre_prior(crop: int, sd: float = CENTRE_SD) -> np.ndarray:
    """A map [crop, crop] f32 that knows nothing but that things stand in the middle: an isotropic Gaussian, maximum 1.

    Args:
      crop: side, pixels. An even one has four maximal pixels.
      sd: share of the side.
    """
    distance = (np.arange(crop) - (crop - 1) / 2) / (sd * crop)
    return np.exp(-0.5 * (distance[:, None] ** 2 + distance**2)).astype(np.float32)


def mean_positions(masks: np.ndarray, patient: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Where the region lies in other patients: of each patient the rows [r] of its images, and a map for them.

    The map is the mean [h, w] f32 of the masks of all images of all other patients. It knows where such regions
    usually are, without having seen this radiograph: what a network that "looks" must add to.

    Args:
      masks: [n, h, w] bool.
      patient: [n].

    Raises:
      ValueError: there is no other patient.
    """
    names = np.unique(patient)
    if len(names) < 2:
        raise ValueError(f"patient must name two patients or more, got {len(names)}")
    total = masks.sum(axis=0, dtype=np.int32)
    for name in names:
        rows = np.flatnonzero(patient == name)
        others = total - masks[rows].sum(axis=0, dtype=np.int32)
        yield rows, (others / (len(masks) - len(rows))).astype(np.float32)


def _check(maps: np.ndarray, masks: np.ndarray) -> None:
    if maps.ndim != 3 or maps.shape != masks.shape:
        raise ValueError(f"maps and masks must be [n, h, w] alike, got {maps.shape} and {masks.shape}")
    if masks.dtype != bool:
        raise ValueError(f"masks must be bool, got {masks.dtype}")
    if maps.size and not (np.isfinite(low := maps.min()) and low >= 0 and np.isfinite(maps.max())):
        raise ValueError(f"maps must be nonnegative and finite, got {low} to {maps.max()}")
