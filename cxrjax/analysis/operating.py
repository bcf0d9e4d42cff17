"""What each seed of a run decides at every threshold."""

from __future__ import annotations

import numpy as np
import pandas as pd

STEPS = 200  # thresholds are 0, 1/200, ..., 1


def table(data: str, predictions: pd.DataFrame) -> pd.DataFrame:
    """`Analysis.operating` of one set: a row for each seed and threshold.

    Args:
      data: internal or external.
      predictions: seed, label, score (compared as float32, as in all figures).
    """
    threshold = np.linspace(0, 1, STEPS + 1)
    parts = []
    for seed, own in predictions.groupby("seed"):
        score = own["score"].to_numpy(np.float32)
        positive, negative = np.sort(score[own["label"] == 1]), np.sort(score[own["label"] == 0])
        true_pos, false_pos = _above(positive, threshold), _above(negative, threshold)
        parts.append(
            pd.DataFrame(
                {
                    "data": data,
                    "seed": seed,
                    "threshold": threshold,
                    "true_pos": true_pos,
                    "false_pos": false_pos,
                    "false_neg": len(positive) - true_pos,
                    "true_neg": len(negative) - false_pos,
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def _above(rising: np.ndarray, threshold: np.ndarray) -> np.ndarray:
    """How many of the sorted scores lie above each threshold."""
    return len(rising) - np.searchsorted(rising, threshold.astype(np.float32), side="right")
