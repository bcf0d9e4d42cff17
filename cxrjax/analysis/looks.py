"""Maps of where networks look, as they arrive: a small row for each, and its ranks; maps need not be kept.

A run has the network as trained and controls, maps of which look like something, too (Adebayo et al. 2018): the same
trunk with a head of random weights, a head trained on shuffled labels, a trunk of random weights. Baselines need no
network. `focus.table` and `agreement.table` say what the rows mean.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from cxrjax.analysis import localisation, similarity

TRAINED = "trained"
CONTROLS = ("random_head", "shuffled_labels", "random_trunk")
BASELINES = ("area", "centre", "mean_box")
BOX, LUNGS = "box", "lungs"  # targets
FIGURES = ("energy", "pointing")
COLUMNS = ("target", "method", "network", "seed", "image", "patient", "area", *FIGURES, "zero")
_NO_SEED = -1  # of a baseline


class Maps(NamedTuple):
    """Where one network looks by one method; [n] maps of any seeds and images."""

    network: str  # `TRAINED` or a control
    method: str  # gradient, grad_cam, ...
    seed: np.ndarray  # [n] int
    image: np.ndarray  # [n] names
    patient: np.ndarray  # [n] any names
    maps: np.ndarray  # [n, 227, 227] nonnegative f32, of the centre crop


class Regions(NamedTuple):
    """Where one target lies in those images that have it."""

    target: str  # `BOX` or `LUNGS`
    image: np.ndarray  # [m] names, each once
    patient: np.ndarray  # [m] as in `Maps`
    masks: np.ndarray  # [m, 227, 227] bool, of the centre crop


class Reduced(NamedTuple):
    """What similarities need of `Maps`: 6 KB a map in place of 200."""

    network: str
    method: str
    seed: np.ndarray  # [n] int
    image: np.ndarray  # [n] names
    patient: np.ndarray  # [n]
    ranks: np.ndarray  # [n, 57 * 57] u16, see `similarity.ranks`


def expected(target: str) -> tuple[str, ...]:
    """What a trained network is compared with: controls, then baselines; `mean_box` is one of boxes only."""
    return (*CONTROLS, *(name for name in BASELINES if name != "mean_box" or target == BOX))


def figures(maps: Maps, regions: Regions, tolerance: float = 0) -> pd.DataFrame:
    """A row for each map whose image has the target, with `COLUMNS`; other maps are passed over.

    `area` is the mask's share of the crop, `energy` and `pointing` are `localisation`'s figures, NaN where the mask is
    empty; `zero` marks a map of zeros, which counts as uniform.

    Args:
      maps: any part of a run, e.g. one seed.
      regions: of the run.
      tolerance: of the pointing game, pixels.

    Raises:
      ValueError: lengths or shapes do not fit, an image of `regions` stands twice or is another patient's in `maps`, or
        a map is negative or not finite.
    """
    _check_maps(maps)
    place = _places(regions)
    rows = np.array([i for i, name in enumerate(maps.image) if name in place], int)
    at = np.array([place[name] for name in maps.image[rows]], int)
    if len(differing := np.flatnonzero(maps.patient[rows] != regions.patient[at])):
        raise ValueError(f"maps and regions must name the same patient of {maps.image[rows][differing[0]]}")
    own = maps._replace(**{name: getattr(maps, name)[rows] for name in ("seed", "image", "patient", "maps")})
    return _rows(own, regions.target, regions.masks[at], tolerance)


def baselines(regions: Regions, tolerance: float = 0) -> pd.DataFrame:
    """Rows as `figures` of maps that no network made, named by `network`: `BASELINES`.

    area: the same everywhere; centre: `localisation.centre_prior`; mean_box, of boxes and where there are two patients
    or more: `localisation.mean_positions`, which knows boxes that no network has seen.
    """
    _places(regions)
    masks = regions.masks
    uniform = np.ones(masks.shape[1:], np.float32)
    everywhere = np.arange(len(masks))
    given = [("area", everywhere, uniform), ("centre", everywhere, localisation.centre_prior(masks.shape[1]))]
    if regions.target == BOX and len(np.unique(regions.patient)) > 1:
        given += [("mean_box", rows, one) for rows, one in localisation.mean_positions(masks, regions.patient)]
    parts = []
    for name, rows, one in given:
        repeated = np.broadcast_to(one, (len(rows), *one.shape))
        no_seed = np.full(len(rows), _NO_SEED)
        own = Maps(name, "", no_seed, regions.image[rows], regions.patient[rows], repeated)
        parts.append(_rows(own, regions.target, masks[rows], tolerance))
    return pd.concat(parts, ignore_index=True)


def reduce(maps: Maps) -> Reduced:
    """The maps' ranks.

    Raises:
      ValueError: lengths or shapes do not fit.
    """
    _check_maps(maps)
    return Reduced(*maps[:5], similarity.ranks(similarity.reduce_maps(maps.maps)))


def _rows(maps: Maps, target: str, masks: np.ndarray, tolerance: float) -> pd.DataFrame:
    columns = {
        "target": target,
        "method": maps.method,
        "network": maps.network,
        "seed": maps.seed,
        "image": maps.image,
        "patient": maps.patient,
        "area": localisation.area_share(masks),
        "energy": localisation.energy_share(maps.maps, masks),
        "pointing": localisation.pointing_game(maps.maps, masks, tolerance),
        "zero": localisation.is_zero(maps.maps),
    }
    return pd.DataFrame(columns, columns=list(COLUMNS))


def _places(regions: Regions) -> dict[str, int]:
    """Image -> its row."""
    place = {name: row for row, name in enumerate(regions.image)}
    if not len(place) == len(regions.image) == len(regions.patient) == len(regions.masks):
        raise ValueError(
            f"regions must have a patient and a mask for each image, and it once, got {len(regions.image)} images, "
            f"{len(place)} of them different, {len(regions.patient)} patients and {len(regions.masks)} masks"
        )
    return place


def _check_maps(maps: Maps) -> None:
    lengths = {len(part) for part in maps[2:]}
    if len(lengths) != 1:
        raise ValueError(
            f"maps must have a seed, an image and a patient for each map, got {[len(x) for x in maps[2:]]}"
        )
    if maps.network in BASELINES:
        raise ValueError(f"maps must be of a network, whose name is none of {BASELINES}, got {maps.network}")
