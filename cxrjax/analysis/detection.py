"""Maps -> boxes, and how often these meet the boxes that radiologists drew (Wang et al. 2017, arXiv:1705.02315).

A map is scaled so that its maximum is 255; around every connected region (pixels that share an edge) at or above each
of `THRESHOLDS` stands a box. Two measures of overlap: IoU, intersection over union, and IoBB, intersection over the
area of the *detected* box, which forgives a detection that is small. A drawn box is found if some detected box overlaps
it by more than T, and a detected box that overlaps no drawn one by more than T is a false positive.

A map of zeros has no box. The box of the whole image and those of other baselines are made by the same rule.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import ndimage

from cxrjax.analysis.localisation import Maps, Regions, baseline_maps
from cxrjax.analysis.map_tests import mean_row

THRESHOLDS = (60, 180)  # of 255
OVERLAPS = (0.1, 0.25, 0.5, 0.75, 0.9)  # T
CRITERIA = ("iobb", "iou")
COLUMNS = (
    "method", "network", "criterion", "overlap", "boxes", "images", "patients", "accuracy", "low", "high",
    "false_positives", "note",
)  # fmt: skip
_DRAWN, _DETECTED = "drawn", "detected"
_SCORED = ["method", "network", "seed", "image", "patient", "side", "box", *CRITERIA]


class Overlaps(NamedTuple):
    """Of every detected box with every drawn one."""

    iobb: np.ndarray  # [d, t] f64, 0..1
    iou: np.ndarray  # [d, t] f64, 0..1


def boxes_of(heat: np.ndarray, thresholds: Sequence[float] = THRESHOLDS) -> np.ndarray:
    """Boxes [d, 4] around the hot regions of a map, x0, y0, x1, y1 in pixels, upper ends outside; each once.

    >>> boxes_of(np.array([[0, 0, 0], [0, 9.0, 0], [3, 0, 0]]))
    array([[0., 2., 1., 3.],
           [1., 1., 2., 2.]])

    Args:
      heat: [h, w], nonnegative; its scale does not matter.
      thresholds: of 255, to which the maximum is scaled.
    """
    top = float(heat.max(initial=0.0))
    corners = [
        (columns.start, rows.start, columns.stop, rows.stop)
        for threshold in thresholds
        if top > 0
        for rows, columns in ndimage.find_objects(ndimage.label(heat * (255 / top) >= threshold)[0])
    ]
    return np.unique(np.array(corners, float).reshape(-1, 4), axis=0)


def overlaps(detected: np.ndarray, drawn: np.ndarray) -> Overlaps:
    """Both measures of boxes [d, 4] with boxes [t, 4], x0, y0, x1, y1.

    >>> overlaps(np.array([[0, 0, 2, 2]]), np.array([[1, 0, 5, 2]]))
    Overlaps(iobb=array([[0.5]]), iou=array([[0.2]]))
    """
    low = np.maximum(detected[:, None, :2], drawn[None, :, :2])
    high = np.minimum(detected[:, None, 2:], drawn[None, :, 2:])
    inside = np.prod(np.clip(high - low, 0, None), axis=-1)
    of_detected, of_drawn = (np.prod(boxes[:, 2:] - boxes[:, :2], axis=-1) for boxes in (detected, drawn))
    return Overlaps(inside / of_detected[:, None], inside / (of_detected[:, None] + of_drawn - inside))


def drawn_boxes(boxes: pd.DataFrame, side: int, crop: int) -> dict[str, np.ndarray]:
    """Image -> its boxes [t, 4] in pixels of the centre crop, cut at its edges; what lies outside is left out.

    Args:
      boxes: `store.BOX_COLUMNS`; x, y, width and height are shares of the whole image. Choose the finding before.
      side: of the whole image, pixels.
      crop: side of the centre crop, pixels.
    """
    corner, inside = (side - crop) // 2, {}
    for name, rows in boxes.groupby("image"):
        shares = rows[["x", "y", "width", "height"]].to_numpy(float)
        corners = np.concatenate([shares[:, :2], shares[:, :2] + shares[:, 2:]], 1) * side - corner
        cut = np.clip(corners, 0, crop)
        kept = cut[(cut[:, 2:] > cut[:, :2]).all(1)]
        if len(kept):
            inside[str(name)] = kept
    return inside


def score_maps(maps: Maps, drawn: dict[str, np.ndarray]) -> pd.DataFrame:
    """Best overlap of every drawn box with a detected one, and of every detected box with a drawn one, by measure.

    Columns: method, network, seed, image, patient, side (drawn or detected), box (its number), iobb, iou.

    Args:
      maps: any; those of images without a drawn box are passed over.
      drawn: see `drawn_boxes`.
    """
    rows = []
    for seed, image, patient, heat in zip(maps.seed, maps.image, maps.patient, maps.maps, strict=True):
        if (of_image := drawn.get(str(image))) is None:
            continue
        measured = overlaps(boxes_of(heat), of_image)
        about = (maps.method, maps.network, int(seed), str(image), str(patient))
        for side, axis in ((_DRAWN, 0), (_DETECTED, 1)):
            best = [overlap.max(axis, initial=0.0) for overlap in measured]
            rows += [(*about, side, number, *values) for number, values in enumerate(zip(*best, strict=True))]
    return pd.DataFrame(rows, columns=_SCORED)


def baselines(regions: Regions, drawn: dict[str, np.ndarray]) -> pd.DataFrame:
    """`score_maps` of maps that no network made, see `localisation.baseline_maps`."""
    return pd.concat([score_maps(maps, drawn) for maps in baseline_maps(regions)], ignore_index=True)


def table(parts: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """A row for each method, network, measure and T, with `COLUMNS`.

    accuracy: share of drawn boxes that are found, each one's mean over seeds, low and high (95 %) by resampling
    patients; false_positives: a map, mean over maps. `note` has codes of how the interval was made, or why there is
    none.

    Args:
      parts: `score_maps` of every network, and `baselines`; of none the table is empty.
    """
    rows, scored = [], pd.concat(parts) if parts else pd.DataFrame(columns=_SCORED)
    for (method, network), part in scored.groupby(["method", "network"], sort=False):
        drawn, detected = (part[part["side"] == side] for side in (_DRAWN, _DETECTED))
        maps = len(drawn.drop_duplicates(["seed", "image"]))
        patient = drawn.groupby(["image", "box"])["patient"].first()
        images = patient.index.get_level_values("image").nunique()
        for criterion in CRITERIA:
            for least in OVERLAPS:
                shares = (drawn[criterion] > least).groupby([drawn["image"], drawn["box"]]).mean()
                mean, note = mean_row(shares.to_numpy(), patient.to_numpy(str))
                rows.append(
                    (
                        method, network, criterion, least, mean["images"], images, mean["patients"],
                        mean["value"], mean["low"], mean["high"], (detected[criterion] <= least).sum() / maps, note,
                    )
                )  # fmt: skip
    return pd.DataFrame(rows, columns=list(COLUMNS))
