"""A run's tables -> every metric of its report. Nothing is trained here, and nothing is written."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from cxrjax.analysis import curves, floors, scores, subgroups
from cxrjax.analysis.tables import Analysis, RunTables
from cxrjax.base.config import ExperimentConfig
from cxrjax.base.numerics import new_key

_SEEDS, _POOLED, _SUBGROUPS = 0, 1, 2  # seeds of the bootstraps


def analyse(config: ExperimentConfig, tables: RunTables, arms: Mapping[str, RunTables]) -> Analysis:
    """All metrics, intervals and comparisons of a run. Deterministic; takes seconds.

    Labels are the images' own, also where `config.control` trained on others: a control's metrics are those of chance.

    Args:
      config: of the run; wanted_sensitivity and prevalence count.
      tables: of the run.
      arms: tables of the runs with the same seeds beside it: shuffled_labels, random_trunk, split_by_image; each may be
        absent.

    Raises:
      ValueError: the tables do not have the same seeds.
    """
    _check(tables)
    thresholds = scores.thresholds(tables.training, config.wanted_sensitivity)
    sets = {"internal": tables.predictions} | ({} if tables.external is None else {"external": tables.external})
    scored = [scores.score(predictions, thresholds, config.prevalence) for predictions in sets.values()]
    internal, external = scored[0], scored[1] if len(scored) > 1 else None
    intervals = scores.auroc_intervals(new_key(_SEEDS), scored)
    pooled = scores.pooled_intervals(new_key(_POOLED), scored, config.prevalence)
    sizes = (tables.seeds["n_train"].mean(), tables.seeds["n_val"].mean())
    by_image = arms.get("split_by_image")
    return Analysis(
        seeds=scores.of_seeds(tables.seeds, tables.training, internal, intervals[0]),
        external_seeds=None if external is None else scores.of_external_seeds(external, intervals[1]),
        metrics=scores.over_seeds(internal, external, pooled, *sizes),
        floors=floors.table(tables, arms, internal.fixed),
        leakage=None if by_image is None else floors.leakage(tables, by_image),
        subgroups=subgroups.table(new_key(_SUBGROUPS), tables.predictions, tables.images),
        operating=pd.concat([curves.operating(data, rows) for data, rows in sets.items()], ignore_index=True),
        calibration=pd.concat([curves.reliability(data, rows) for data, rows in sets.items()], ignore_index=True),
        errors=curves.errors(tables.predictions, tables.images),
    )


def _check(tables: RunTables) -> None:
    wanted = sorted(tables.seeds["seed"].tolist())
    for name in ("predictions", "training", "external"):
        table: pd.DataFrame | None = getattr(tables, name)
        if table is not None and (got := sorted(set(table["seed"].tolist()))) != wanted:
            raise ValueError(f"{name} must have the seeds {wanted} of the run, got {got}")
