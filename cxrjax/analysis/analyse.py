"""A run's tables -> every figure of its report. Nothing is trained here, and nothing is written."""

from __future__ import annotations

from collections.abc import Mapping

import jax
import pandas as pd

from cxrjax.analysis import errors, floors, leakage, operating, reliability, run_figures, seed_figures, subgroups
from cxrjax.analysis.schema import Analysis, RunTables
from cxrjax.base.config import ExperimentConfig

_SEEDS, _POOLED, _SUBGROUPS = 0, 1, 2  # seeds of the bootstraps


def analyse(config: ExperimentConfig, tables: RunTables, arms: Mapping[str, RunTables]) -> Analysis:
    """All figures, intervals and comparisons of a run. Deterministic; takes seconds.

    Labels are the images' own, also where `config.control` taught others: a control's figures are then those of chance.

    Args:
      config: of the run; wanted_sensitivity and prevalence count.
      tables: of the run.
      arms: tables of the runs with the same seeds beside it: shuffled_labels, random_trunk, split_by_image; each may be
        absent.

    Raises:
      ValueError: the tables do not have the same seeds.
    """
    _check(tables)
    thresholds = seed_figures.thresholds(tables.training, config.wanted_sensitivity)
    sets = {"internal": tables.predictions} | ({} if tables.external is None else {"external": tables.external})
    scored = [seed_figures.scored(one, thresholds, config.prevalence) for one in sets.values()]
    internal, external = scored[0], scored[1] if len(scored) > 1 else None
    ends = seed_figures.auroc_intervals(jax.random.key(_SEEDS), scored)
    pooled = run_figures.intervals(jax.random.key(_POOLED), scored, config.prevalence)
    sizes = (tables.seeds["n_train"].mean(), tables.seeds["n_val"].mean())
    by_image = arms.get("split_by_image")
    return Analysis(
        seeds=seed_figures.internal(tables.seeds, tables.training, internal, ends[0]),
        external_seeds=None if external is None else seed_figures.external(external, ends[1]),
        figures=run_figures.table(internal, external, pooled, *sizes),
        floors=floors.table(tables, arms, internal.fixed),
        leakage=None if by_image is None else leakage.table(tables, by_image),
        subgroups=subgroups.table(jax.random.key(_SUBGROUPS), tables.predictions, tables.images),
        operating=pd.concat([operating.table(name, one) for name, one in sets.items()], ignore_index=True),
        calibration=pd.concat([reliability.table(name, one) for name, one in sets.items()], ignore_index=True),
        errors=errors.table(tables.predictions, tables.images),
    )


def _check(tables: RunTables) -> None:
    wanted = sorted(tables.seeds["seed"].tolist())
    for name in ("predictions", "training", "external"):
        table: pd.DataFrame | None = getattr(tables, name)
        if table is not None and (got := sorted(set(table["seed"].tolist()))) != wanted:
            raise ValueError(f"{name} must have the seeds {wanted} of the run, got {got}")
