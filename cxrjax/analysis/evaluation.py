"""Scores of any model -> metrics, intervals, subgroups, calibration and errors of one question."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from cxrjax.analysis import curves, scores, subgroups
from cxrjax.base.numerics import new_key
from cxrjax.base.tasks import Task
from cxrjax.metrics import bootstrap, registry
from cxrjax.metrics.cells import cells_for

_METRICS, _SUBGROUPS = 1, 2  # seeds of the bootstraps


class Evaluation(NamedTuple):
    """What is known of a model's scores for one question; shares are 0..1, NaN is undefined.

    Attributes:
      task: the question.
      predictions: seed (0), image, patient, label, score.
      metrics: A row for each registered metric at threshold 0.5: metric, value, low, high (95 %, by resampling
        patients), undefined (code of why one is NaN, or "").
      subgroups, operating, calibration, errors: as of `tables.Analysis`
    """

    task: Task
    predictions: pd.DataFrame
    metrics: pd.DataFrame
    subgroups: pd.DataFrame
    operating: pd.DataFrame
    calibration: pd.DataFrame
    errors: pd.DataFrame

    def value(self, metric: str, column: str = "value") -> float:
        """A metric, or an end of its interval."""
        return float(self.metrics.set_index("metric")[column].to_dict()[metric])


def evaluate(task: Task, predictions: pd.DataFrame, images: pd.DataFrame, prevalence: float) -> Evaluation:
    """Everything of one question; the draws of patients are the same for every question of the same images.

    Args:
      task: binary.
      predictions: as in `Evaluation`.
      images: of them, as `tables.RunTables.images`.
      prevalence: 0..1, for which PPV and NPV are given beside the images' own.
    """
    cells, scored = cells_for(len(predictions)), scores.images_of(predictions)
    (estimates,) = bootstrap.intervals(
        new_key(_METRICS), registry.Evaluation(prevalence=prevalence), [scored], cells=cells
    )
    missing = [name for name, estimate in estimates.items() if np.isnan(estimate.value)]
    reasons = registry.reasons(missing, scored.label, scored.score, np.ones(len(scored.label)))
    rows = [(name, *estimates[name][:3], reasons.get(name, estimates[name].reason)) for name in registry.METRICS]
    return Evaluation(
        task, predictions, pd.DataFrame(rows, columns=["metric", "value", "low", "high", "undefined"]),
        subgroups.table(new_key(_SUBGROUPS), predictions, images, cells), curves.operating("scored", predictions),
        curves.reliability("scored", predictions), curves.errors(predictions, images),
    )  # fmt: skip
