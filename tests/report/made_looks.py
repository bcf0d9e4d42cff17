"""Dreams and maps of a run that was never trained: small tables written by hand, pictures of noise."""

import numpy as np
import pandas as pd

from cxrjax.analysis import detection
from cxrjax.analysis.tables import DreamRecord, MapRecord
from tests.report.report_case import ATTACK

SIZES = {"poster": (549, 532), "seeds": (745, 1566), "layers": (1465, 1254), "starts": (1330, 1186)}  # ten seeds
NOTES = (
    "not_compared method=grad_cam target=lungs networks=shuffled_labels",
    f"one that no page knows, {ATTACK}",
)


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height).integers(0, 256, (height, width, 3), np.uint8)


def dreams(seeds: int = 10, sizes: dict[str, tuple[int, int]] = SIZES) -> DreamRecord:
    """Octaves are understood by their own networks alone; of the Fourier ones the figures are unknown (one seed)."""
    rows = [
        (way, aim, by, seen, 1.0, by == seen)
        for way in ("octaves", "fourier")
        for aim in ("P", "NF")
        for by in range(seeds)
        for seen in range(seeds)
    ]
    columns = ["parametrisation", "aim", "dreamt_by", "seen_by", "score", "right"]
    numbers = {
        "settings": {"key": 0},
        "octaves": {"own_accuracy": 1.0, "transfer_accuracy": 0.625, "dead": 1, "stability": 0.1234},
        "fourier": {"own_accuracy": 0.95, "transfer_accuracy": None, "dead": 0, "stability": float("nan")},
    }
    pictures = {kind: noise(*size) for kind, size in sizes.items()} | {"unheard of": noise(8, 8)}
    return DreamRecord(pictures, pd.DataFrame(rows, columns=columns), numbers)


def maps(size: tuple[int, int] = (1400, 1600)) -> MapRecord:
    """The gradient beats the lung's baselines, not its control; Grad-CAM lies below the centre; one control attacks."""
    focus = pd.DataFrame(
        [
            ("box", "energy", "gradient", "trained", 40, 30, 0.134, 0.101, 0.168, *NONE, None, False, 0, ""),
            ("box", "energy", "gradient", "random_head", 40, 30, 0.133, 0.1, 0.17, 0.001, -0.02, 0.022, False, False, 0,
             ""),
            ("box", "energy", "gradient", "area", 40, 30, 0.08, 0.07, 0.09, 0.054, 0.021, 0.087, True, False, 0, ""),
            ("box", "energy", "grad_cam", "trained", 40, 30, 0.2, 0.15, 0.25, *NONE, None, False, 3, ""),
            ("box", "energy", "grad_cam", "centre", 40, 30, 0.3, 0.25, 0.35, -0.1, -0.15, -0.05, False, False, 0, ""),
            ("lungs", "pointing", "gradient", "trained", 5, 4, 0.75, np.nan, np.nan, *NONE, None, True, 0,
             "same_in_every_patient column=value"),
            ("lungs", "pointing", "gradient", ATTACK, 5, 4, 0.5, 0.3, 0.7, 0.25, np.nan, np.nan, False, True, 0,
             "one_patient column=difference"),
        ],
        columns=[
            "target", "metric", "method", "network", "images", "patients", "value", "low", "high", "difference",
            "difference_low", "difference_high", "beaten", "small", "zero_maps", "note",
        ],
    )  # fmt: skip
    agreement = pd.DataFrame(
        [
            ("gradient", "trained", "seeds", 40, 30, 0.31, 0.28, 0.34, False, 0, ""),
            ("gradient", "random_head", "seeds", 40, 30, 0.05, -0.01, 0.11, False, 0, np.nan),
            ("gradient", "trained", "random_head", 40, 30, 0.42, 0.4, 0.44, False, 1, "constant_left_out n=2"),
            ("grad_cam", "trained", "seeds", 4, 4, 0.8, np.nan, np.nan, True, 0, "one_patient"),
            ("grad_cam", "trained", "random_trunk", 40, 30, 0.12, 0.1, 0.14, False, 0, ""),
        ],
        columns=[
            "method", "network", "against", "images", "patients", "value", "low", "high", "small", "constant_maps",
            "note",
        ],
    )  # fmt: skip
    numbers = {"notes": list(NOTES), "settings": {}}
    boxes = pd.DataFrame(
        [
            (method, network, criterion, least, 42, 40, 30, 0.5 - least / 2, 0.4 - least / 2, 0.6, 1.25 + least, "")
            for method, network in (("grad_cam", "trained"), ("grad_cam", ATTACK), (np.nan, "area"))
            for criterion in detection.CRITERIA
            for least in (0.1, 0.75)
        ],
        columns=list(detection.COLUMNS),
    )
    return MapRecord({"overlays": noise(*size)}, focus, agreement, numbers, boxes)


NONE = (np.nan, np.nan, np.nan)  # the trained network has no difference to itself
