"""Whether scores are right as probabilities, bin by bin."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import stats

from cxrjax.metrics import calibration


def table(data: str, predictions: pd.DataFrame) -> pd.DataFrame:
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
        own = predictions[member == k]
        share, patients = own["label"].mean(), own["patient"].nunique()
        rows.append(
            {
                "data": data,
                "bin_low": edges[k],
                "bin_high": edges[k + 1],
                "images": own["image"].nunique(),
                "patients": patients,
                "score": own["score"].mean(),
                "positives": share,
                **dict(zip(("low", "high"), wilson(share, patients), strict=True)),
            }
        )
    return pd.DataFrame(rows)


def wilson(share: float, n: int, level: float = 0.95) -> tuple[float, float]:
    """Interval of a share (0..1) of n independent images (Wilson 1927, JASA 22); NaN of none.

    >>> [round(end, 4) for end in wilson(0.0, 10)]
    [0.0, 0.2775]
    """
    if not n:
        return np.nan, np.nan
    z = float(stats.norm.ppf((1 + level) / 2))
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2)) / (1 + z**2 / n)
    # Without rounding, none and all reach the end.
    return float(centre - half) if share > 0 else 0.0, float(centre + half) if share < 1 else 1.0
