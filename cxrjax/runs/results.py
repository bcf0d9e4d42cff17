"""A run's results: its tables analysed and summed up, fresh from training or out of a finished run's folder."""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from cxrjax.analysis import analyse, curves
from cxrjax.analysis import tables as run_files
from cxrjax.analysis.tables import Results, RunTables
from cxrjax.base.config import ExperimentConfig
from cxrjax.base.types import InputError
from cxrjax.data.load import load
from cxrjax.runs import arms, record, run_folder, summary, tables
from cxrjax.storage.store import ImageStore

log = logging.getLogger(__name__)


def assemble(
    config: ExperimentConfig,
    facts: Mapping[str, Any],
    made: RunTables,
    compared: Mapping[str, RunTables],
    dream: np.ndarray,
    store: ImageStore | None,
) -> Results:
    """Analyses the tables of a run and sums them up.

    Args:
      config: of the run.
      facts: settled and environment as in `Results`, data as `summary.data` gives it, and minutes.
      made: the run's tables.
      compared: those of its arms, see `arms.of`.
      dream: [H, W] u8.
      store: of its images, for pictures of its errors; None: none are shown.
    """
    found = analyse.analyse(config, made, compared)
    return Results(
        config,
        facts["environment"],
        facts["settled"],
        summary.summary(config, facts["data"], found, facts["minutes"]),
        made,
        found,
        dream,
        tables.pictures(store, curves.shown_errors(found.errors)) if store else {},
    )


def reopen(folder: Path, **changed: Any) -> Results:
    """A finished run's results, analysed anew: what `experiment.run` returned for it, but for what is `changed`.

    Args:
      folder: of a finished run.
      changed: fields of its configuration that concern evaluation alone: lang, wanted_sensitivity, prevalence.

    Raises:
      InputError: if the folder holds no finished run, a damaged one, or one of another version.
    """
    before, settled = run_folder.read_finished(folder)
    config = dataclasses.replace(before, **changed)
    placed = dataclasses.replace(config, out=str(folder))  # it may have been moved
    compared = {name: run_files.read(arms.folder(placed, name)) for name in arms.of(placed)}
    try:
        known = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
        facts = {
            "settled": settled,
            "environment": json.loads((folder / "environment.json").read_text(encoding="utf-8")),
            "data": known["data"],
            "minutes": known["minutes"],
        }
        with Image.open(folder / "dream.png") as opened:
            dream = np.asarray(opened.convert("L"))
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{folder} holds a damaged run, or one of another version: {error}") from error
    found = assemble(config, facts, run_files.read(folder), compared, dream, _store(config, facts))
    return found._replace(dreams=record.read_dreams(folder), maps=record.read_maps(folder))


def _store(config: ExperimentConfig, facts: dict[str, Any]) -> ImageStore | None:
    """The run's images; none if they are no longer where they were."""
    try:
        return load(config.data_dir, config.max_bad, facts["environment"]["network"]["source"])[0]
    except InputError as error:
        log.warning("the report goes without pictures of errors: %s", error)
        return None
