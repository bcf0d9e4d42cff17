"""What a run decides at every threshold, whether its scores are right as probabilities, and which images it errs on."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import special

from cxrjax.analysis.tables import TABLES
from cxrjax.metrics import calibration, discrimination

STEPS = 200  # thresholds are 0, 1/200, ..., 1
SHOWN = 6  # errors of each kind, as pictures in the report


def operating(data: str, predictions: pd.DataFrame) -> pd.DataFrame:
    """`Analysis.operating` of one set: a row for each seed and threshold.

    Args:
      data: internal or external.
      predictions: seed, label, score (compared as float32, as in all metrics).
    """
    threshold = np.linspace(0, 1, STEPS + 1)
    parts = []
    for seed, rows in predictions.groupby("seed"):
        score = rows["score"].to_numpy(np.float32)
        positive, negative = np.sort(score[rows["label"] == 1]), np.sort(score[rows["label"] == 0])
        true_pos, false_pos = _above(positive, threshold), _above(negative, threshold)
        columns = (data, seed, threshold, true_pos, false_pos, len(positive) - true_pos, len(negative) - false_pos)
        parts.append(pd.DataFrame(dict(zip(TABLES["operating"].columns, columns, strict=True))))
    return pd.concat(parts, ignore_index=True)


def _above(rising: np.ndarray, threshold: np.ndarray) -> np.ndarray:
    """How many of the sorted scores lie above each threshold."""
    return len(rising) - np.searchsorted(rising, threshold.astype(np.float32), side="right")


def reliability(data: str, predictions: pd.DataFrame) -> pd.DataFrame:
    """`Analysis.calibration` of one set, the rows of all seeds together, a row for each bin of `calibration.BINS`.

    Bins are those of `calibration.expected_calibration_error`. Score and share are means over rows, so that an image
    that several seeds scored counts as often. The interval is for as many images as there are distinct patients: rows
    of one image, and images of one patient, are alike, and Wilson's interval is for independent ones.

    Args:
      data: internal or external.
      predictions: image, patient, label, score.
    """
    edges = np.linspace(0, 1, calibration.BINS + 1)
    score = predictions["score"].to_numpy(np.float32)
    member = np.searchsorted(edges[1:-1].astype(np.float32), score, side="left")
    rows = []
    for k in range(calibration.BINS):
        binned = predictions[member == k]
        share, patients = binned["label"].mean(), binned["patient"].nunique()
        sizes, ends = (binned["image"].nunique(), patients), wilson(share, patients)
        rows.append((data, edges[k], edges[k + 1], *sizes, binned["score"].mean(), share, *ends))
    return pd.DataFrame(rows, columns=TABLES["calibration"].columns)


def wilson(share: float, n: int, level: float = 0.95) -> tuple[float, float]:
    """Interval of a share (0..1) of n independent images (Wilson 1927, JASA 22); NaN of none.

    >>> [round(end, 4) for end in wilson(0.0, 10)]
    [0.0, 0.2775]
    """
    if not n:
        return np.nan, np.nan
    z = float(special.ndtri((1 + level) / 2))
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2)) / (1 + z**2 / n)
    # Without rounding, none and all reach the end.
    return float(centre - half) if share > 0 else 0.0, float(centre + half) if share < 1 else 1.0


def errors(predictions: pd.DataFrame, images: pd.DataFrame) -> pd.DataFrame:
    """`Analysis.errors`: images whose mean score lies on the wrong side of 0.5, the most wrong first.

    Args:
      predictions: `RunTables.predictions`.
      images: `RunTables.images`.
    """
    means = predictions.groupby("image", as_index=False).agg(
        label=("label", "first"), score=("score", "mean"), seeds=("seed", "size")
    )
    wrong = means[(means["score"] > discrimination.THRESHOLD) != (means["label"] == 1)]
    kind = np.where(wrong["label"] == 1, "false negative", "false positive")
    described = wrong.assign(kind=kind, off=(wrong["score"] - wrong["label"]).abs()).merge(
        images, on="image", validate="one_to_one"
    )
    worst_first = described.sort_values(["off", "image"], ascending=[False, True], ignore_index=True)
    return worst_first[TABLES["errors"].columns]


def shown_errors(errors: pd.DataFrame) -> list[str]:
    """Names of the images that a report shows: the most wrong of each kind."""
    return list(errors.groupby("kind", sort=True).head(SHOWN)["image"])
