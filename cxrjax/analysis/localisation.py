"""Whether maps of where networks look lie on a region: energy inside, pointing game, and maps without a network.

A map is nonnegative [h, w], a pixel of the centre crop that validation sees; a mask is bool of the same shape. Maps are
scored as they arrive, a small row each, and need not be kept. A run has the network as trained and controls, maps of
which look like something, too (Adebayo et al. 2018): the same trunk with a head of random weights, a head trained on
shuffled labels, a trunk of random weights. Baselines need no network. `map_tests.table` and `agreement.table` say what
the rows mean.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import ndimage

CENTRE_SD = 0.25  # of `centre_prior`, share of the side; 68 % of its energy lies in a disc of 0.38 sides' radius
TRAINED = "trained"
CONTROLS = ("random_head", "shuffled_labels", "random_trunk")
BASELINES = ("area", "centre", "mean_box")
BOX, LUNGS = "box", "lungs"  # targets
METRICS = ("energy", "pointing")
COLUMNS = ("target", "method", "network", "seed", "image", "patient", "area", *METRICS, "zero")
_NO_SEED = -1  # of a baseline


class BoxMasks(NamedTuple):
    """Boxes as pixels of the centre crop."""

    masks: np.ndarray  # [n, crop, crop] bool, union of an image's boxes
    kept: np.ndarray  # [n] share of the boxes' pixels that the crop keeps; 0: all lie outside, and the mask is empty


class Maps(NamedTuple):
    """Where one network looks by one method; [n] maps of any seeds and images."""

    network: str  # `TRAINED` or a control
    method: str  # gradient, grad_cam, ...
    seed: np.ndarray  # [n] int
    image: np.ndarray  # [n] names
    patient: np.ndarray  # [n] any names
    maps: np.ndarray  # [n, crop, crop] nonnegative f32, of the centre crop


class Regions(NamedTuple):
    """Where one target lies in those images that have it."""

    target: str  # `BOX` or `LUNGS`
    image: np.ndarray  # [m] names, each once
    patient: np.ndarray  # [m] as in `Maps`
    masks: np.ndarray  # [m, crop, crop] bool, of the centre crop


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
    corners = {str(name): rows[["x", "y", "width", "height"]].to_numpy(float) for name, rows in boxes.groupby("image")}
    if missing := [name for name in images if name not in corners]:
        raise ValueError(f"boxes must hold a row for each image, got none for {len(missing)}, {missing[0]} among them")
    centres = (np.arange(side) + 0.5) / side
    masks, kept = np.zeros((len(images), crop, crop), bool), np.zeros(len(images))
    for row, name in enumerate(images):
        if not np.isfinite(corners[name]).all():
            raise ValueError(f"boxes must be finite, got {corners[name].tolist()} of {name}")
        whole = np.zeros((side, side), bool)
        for x, y, width, height in corners[name]:
            rows, columns = (centres >= y) & (centres < y + height), (centres >= x) & (centres < x + width)
            whole |= rows[:, None] & columns
        masks[row] = crop_masks(whole[None], crop)[0]
        kept[row] = masks[row].sum() / max(whole.sum(), 1)
    return BoxMasks(masks, kept)


def area_share(masks: np.ndarray) -> np.ndarray:
    """Share of the image that each mask covers, [n], 0..1: the energy share of a uniform map."""
    return np.asarray(masks, bool).mean(axis=(1, 2))


def is_zero(maps: np.ndarray) -> np.ndarray:
    """Which maps are zero everywhere, [n] bool; the metrics take such a map as uniform."""
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
    for row, (pixels, mask) in enumerate(zip(maps, masks, strict=True)):
        inside, outside = (pixels[part].sum(dtype=float) for part in (mask, ~mask))
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
    for row, (pixels, mask) in enumerate(zip(maps, masks, strict=True)):
        if mask.any():
            near = ndimage.distance_transform_edt(~mask) <= tolerance if tolerance else mask
            hits[row] = near[pixels == pixels.max()].mean()
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


def expected(target: str) -> tuple[str, ...]:
    """What a trained network is compared with: controls, then baselines; `mean_box` is one of boxes only."""
    return (*CONTROLS, *(name for name in BASELINES if name != "mean_box" or target == BOX))


def score_maps(maps: Maps, regions: Regions, tolerance: float = 0) -> pd.DataFrame:
    """A row for each map whose image has the target, with `COLUMNS`; other maps are passed over.

    `area` is the mask's share of the crop, `energy` and `pointing` are `energy_share` and `pointing_game`, NaN where
    the mask is empty; `zero` marks a map of zeros, which counts as uniform.

    Args:
      maps: any part of a run, e.g. one seed.
      regions: of the run.
      tolerance: of the pointing game, pixels.

    Raises:
      ValueError: lengths or shapes do not fit, an image of `regions` stands twice or is another patient's in `maps`, or
        a map is negative or not finite.
    """
    check_maps(maps)
    place = _places(regions)
    rows = np.array([i for i, name in enumerate(maps.image) if name in place], int)
    at = np.array([place[name] for name in maps.image[rows]], int)
    if len(differing := np.flatnonzero(maps.patient[rows] != regions.patient[at])):
        raise ValueError(f"maps and regions must name the same patient of {maps.image[rows][differing[0]]}")
    inside = maps._replace(**{name: getattr(maps, name)[rows] for name in ("seed", "image", "patient", "maps")})
    return _rows(inside, regions.target, regions.masks[at], tolerance)


def baseline_maps(regions: Regions) -> Iterator[Maps]:
    """Maps that no network made, named by `network`: `BASELINES`.

    area: the same everywhere; centre: `centre_prior`; mean_box, of boxes and where there are two patients
    or more: `mean_positions`, which knows boxes that no network has seen.
    """
    _places(regions)
    masks = regions.masks
    uniform = np.ones(masks.shape[1:], np.float32)
    everywhere = np.arange(len(masks))
    given = [("area", everywhere, uniform), ("centre", everywhere, centre_prior(masks.shape[1]))]
    if regions.target == BOX and len(np.unique(regions.patient)) > 1:
        given += [("mean_box", rows, mean) for rows, mean in mean_positions(masks, regions.patient)]
    for name, rows, pixels in given:
        repeated = np.broadcast_to(pixels, (len(rows), *pixels.shape))
        yield Maps(name, "", np.full(len(rows), _NO_SEED), regions.image[rows], regions.patient[rows], repeated)


def baselines(regions: Regions, tolerance: float = 0) -> pd.DataFrame:
    """Rows as `score_maps` of `baseline_maps`."""
    place = _places(regions)
    parts = [
        _rows(maps, regions.target, regions.masks[[place[name] for name in maps.image]], tolerance)
        for maps in baseline_maps(regions)
    ]
    return pd.concat(parts, ignore_index=True)


def _rows(maps: Maps, target: str, masks: np.ndarray, tolerance: float) -> pd.DataFrame:
    scores = energy_share(maps.maps, masks), pointing_game(maps.maps, masks, tolerance), is_zero(maps.maps)
    columns = (target, maps.method, maps.network, maps.seed, maps.image, maps.patient, area_share(masks), *scores)
    return pd.DataFrame(dict(zip(COLUMNS, columns, strict=True)))


def _places(regions: Regions) -> dict[str, int]:
    """Image -> its row."""
    place = {name: row for row, name in enumerate(regions.image)}
    if not len(place) == len(regions.image) == len(regions.patient) == len(regions.masks):
        raise ValueError(
            f"regions must have a patient and a mask for each image, and it once, got {len(regions.image)} images, "
            f"{len(place)} of them different, {len(regions.patient)} patients and {len(regions.masks)} masks"
        )
    return place


def check_maps(maps: Maps) -> None:
    """Raises a ValueError if seeds, images, patients and maps differ in number, or the network is a baseline."""
    lengths = {len(part) for part in maps[2:]}
    if len(lengths) != 1:
        raise ValueError(
            f"maps must have a seed, an image and a patient for each map, got {[len(x) for x in maps[2:]]}"
        )
    if maps.network in BASELINES:
        raise ValueError(f"maps must be of a network, whose name is none of {BASELINES}, got {maps.network}")


def check_once(rows: pd.DataFrame, keys: list[str]) -> None:
    """Raises a ValueError if two rows are of one map, that is, alike in `keys`."""
    if (twice := rows.duplicated(keys).to_numpy()).any():
        repeated = rows[keys].iloc[int(twice.argmax())]
        raise ValueError(f"rows must hold each map once, got two of {', '.join(map(str, repeated))}")


def _check(maps: np.ndarray, masks: np.ndarray) -> None:
    if maps.ndim != 3 or maps.shape != masks.shape:
        raise ValueError(f"maps and masks must be [n, h, w] alike, got {maps.shape} and {masks.shape}")
    if masks.dtype != bool:
        raise ValueError(f"masks must be bool, got {masks.dtype}")
    if maps.size and not (np.isfinite(low := maps.min()) and low >= 0 and np.isfinite(maps.max())):
        raise ValueError(f"maps must be nonnegative and finite, got {low} to {maps.max()}")
