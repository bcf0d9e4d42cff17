"""A run's tables -> every metric of its report. Nothing is trained here, and nothing is written."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from cxrjax.analysis import curves, ensemble, floors, scores, subgroups
from cxrjax.analysis.tables import SCORED_BY_ALL, Analysis, RunTables
from cxrjax.base.config import ExperimentConfig
from cxrjax.base.numerics import new_key
from cxrjax.metrics.cells import cells_for

_SEEDS, _POOLED, _SUBGROUPS, _ENSEMBLE = range(4)  # seeds of the bootstraps


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
    thresholds = {"chosen": scores.thresholds(tables.training, config.wanted_sensitivity)}
    prior, _ = scores.priors(config, tables.seeds)
    thresholds |= {} if prior is None else {"prior": prior}
    sets = {"internal": tables.predictions} | tables.scored_by_all
    scored = {name: scores.score(rows, thresholds, config.prevalence) for name, rows in sets.items()}
    every, cells = list(scored.values()), cells_for(max(map(len, sets.values())))
    intervals = dict(zip(sets, scores.auroc_intervals(new_key(_SEEDS), every, cells), strict=True))
    pooled = scores.pooled_intervals(new_key(_POOLED), every, config.prevalence, cells)
    internal = scored["internal"]
    others = {name: scores.of_all(scored[name], intervals[name]) for name in tables.scored_by_all}
    sizes = (tables.seeds["n_train"].mean(), tables.seeds["n_val"].mean())
    by_image = arms.get("split_by_image")
    return Analysis(
        seeds=scores.of_seeds(tables.seeds, tables.training, internal, intervals["internal"]),
        external_seeds=others.get("external"),
        test_seeds=others.get("test"),
        ensemble=ensemble.table(new_key(_ENSEMBLE), tables.scored_by_all, others, config.prevalence),
        metrics=scores.over_seeds(scored, pooled, *sizes),
        floors=floors.table(tables, arms, internal.fixed, config.head),
        leakage=None if by_image is None else floors.leakage(tables, by_image),
        subgroups=subgroups.table(new_key(_SUBGROUPS), tables.predictions, tables.images, cells),
        operating=pd.concat([curves.operating(data, rows) for data, rows in sets.items()], ignore_index=True),
        calibration=pd.concat([curves.reliability(data, rows) for data, rows in sets.items()], ignore_index=True),
        errors=curves.errors(tables.predictions, tables.images),
    )


def _check(tables: RunTables) -> None:
    wanted = sorted(tables.seeds["seed"].tolist())
    for name in ("predictions", "training", *SCORED_BY_ALL):
        table: pd.DataFrame | None = getattr(tables, name)
        if table is not None and (got := sorted(set(table["seed"].tolist()))) != wanted:
            raise ValueError(f"{name} must have the seeds {wanted} of the run, got {got}")
