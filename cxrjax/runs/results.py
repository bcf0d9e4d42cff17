"""A run's results: its tables analysed and summed up, fresh from training or out of a finished run's folder.

summary.json has them in one file, `report.terminal.result` in a table.
"""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from PIL import Image

from cxrjax.analysis import analyse, comparison, curves, scores
from cxrjax.analysis import tables as run_files
from cxrjax.analysis.tables import Analysis, Results, RunTables
from cxrjax.base import InputError
from cxrjax.base.config import ExperimentConfig, arms, moved_to, question, result_path
from cxrjax.base.flags import thins_training
from cxrjax.data import classes
from cxrjax.metrics import registry, resampled_t
from cxrjax.runs import draws, notes, run_folder, setup
from cxrjax.runs.tables import pictures
from cxrjax.storage.store import About, ImageStore, hash_rows, label_counts, patient_ids

log = logging.getLogger(__name__)

_UNTOLD = {"patients_unknown": 0, "images": 0, "largest_patient": 0}  # of data, by runs of earlier versions


class Facts(NamedTuple):
    """What is known of a run beside its tables."""

    resolved: dict[str, Any]  # what resolved.json holds
    environment: dict[str, Any]  # see `tables.environment`
    data: dict[str, Any]  # see `count_data`
    minutes: float  # since its last start


def assemble(
    config: ExperimentConfig,
    facts: Facts,
    run_tables: RunTables,
    arm_tables: Mapping[str, RunTables],
    dream: np.ndarray,
    store: ImageStore | None,
) -> Results:
    """Analyses the tables of a run and sums them up.

    Args:
      config: of the run.
      facts: beside its tables.
      run_tables: the run's tables.
      arm_tables: those of its arms, see `config.arms`.
      dream: [H, W] u8.
      store: of its images, for pictures of its errors; None: none are shown.
    """
    log.info("%s: evaluating, with intervals and floors", question(config).title)
    analysis = analyse.analyse(config, run_tables, arm_tables)
    return Results(
        config,
        facts.environment,
        facts.resolved,
        summarise(config, facts.data, analysis, facts.minutes),
        run_tables,
        analysis,
        dream,
        pictures(store, curves.shown_errors(analysis.errors)) if store else {},
    )


def reopen(folder: Path, **changed: Any) -> Results:
    """A finished run's results, analysed anew: what `experiment.run` returned for it, but for what is `changed`.

    Args:
      folder: of a finished run.
      changed: fields of its configuration that concern evaluation alone: lang, wanted_sensitivity, prevalence.

    Raises:
      InputError: if the folder holds no finished run, a damaged one, or one of another version.
    """
    config, facts = read_facts(folder, **changed)
    placed = moved_to(config, folder.parents[1] if config.finding else folder)
    arm_tables = {name: run_files.read(result_path(arm)) for name, arm in arms(placed).items()}
    try:
        with Image.open(folder / "dream.png") as opened:
            dream = np.asarray(opened.convert("L"))
    except (OSError, ValueError) as error:
        raise InputError(f"{folder} holds a damaged run, or one of another version: {error}") from error
    tables = run_files.read(folder)
    store: ImageStore | None = None
    try:
        store = open_images(
            config, facts.resolved["data_sha256"], facts.environment["network"]["source"], tables.images
        )
    except InputError as error:
        log.warning("the report goes without pictures of errors: %s", error)
    results = assemble(config, facts, tables, arm_tables, dream, store)
    return results._replace(dreams=run_folder.read_dreams(folder), maps=run_folder.read_maps(folder))


def read_facts(folder: Path, **changed: Any) -> tuple[ExperimentConfig, Facts]:
    """The configuration of a finished run, with what is `changed`, and what is known of it beside tables.

    Raises:
      InputError: if the folder holds no finished run, a damaged one, or one of another version.
    """
    before, resolved = run_folder.read_finished(folder)
    try:
        summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
        environment = json.loads((folder / "environment.json").read_text(encoding="utf-8"))
        facts = Facts(dataclasses.asdict(resolved), environment, _UNTOLD | summary["data"], summary["minutes"])
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{folder} holds a damaged run, or one of another version: {error}") from error
    return dataclasses.replace(before, **changed), facts


def open_images(config: ExperimentConfig, data_sha256: str, side: int, images: pd.DataFrame) -> ImageStore:
    """The images of a finished run, opened again: those that it was trained on, or none.

    Args:
      config: of the run.
      data_sha256: as the run resolved it.
      side: width and height of the images in pixels.
      images: `RunTables.images`.

    Raises:
      InputError: if they are no longer there, or images, labels or patients have changed since.
    """
    store, about = setup.open_data(config, side)
    row = pd.Series(np.arange(len(store.table)), index=store.table["image"])
    if missing := sorted(set(images["image"]) - set(row.index)):
        raise InputError(
            f"{len(missing)} images of the run, {missing[0]} among them, are not in {about.source} any more"
        )
    rows, test = np.sort(row[images["image"]].to_numpy()), np.zeros(0, int)
    if thins_training(config) or config.test or config.finding:  # not all that take part are in the tables
        cohorts = draws.draw(config, store)
        rows, test = cohorts.rows, cohorts.test
    if setup.data_digest(hash_rows(store.images, rows), store.table, test) != data_sha256:
        raise InputError(f"images, labels or patients in {about.source} are not those that the run was trained on")
    return store


def read_compared(folder: Path) -> comparison.Run:
    """What `comparison.compare` needs of a finished run.

    Raises:
      InputError: the folder holds none, or a file or a column is missing.
    """
    config, resolved = run_folder.read_binary(folder)
    seeds = run_files.read_table(
        folder / "results.csv", ["seed", "n_train", "n_val", *registry.shown_in(registry.MAIN)]
    )
    columns = ["seed", "image", "patient", "label", "score"]
    predictions = run_files.read_table(folder / "predictions.csv", columns)
    return comparison.Run(config, resolved.data_sha256, seeds.set_index("seed"), predictions)


def count_data(about: About, store: ImageStore, config: ExperimentConfig) -> dict[str, Any]:
    """Where the images come from, and how many there are of each class of the question, listed and present."""
    task = question(config)
    return {
        "source": about.source,
        "listed": classes.count(about.listed, task.counted),
        "present": classes.count(label_counts(store.table), task.counted),
        "made": about.made,
        "enlarged": about.enlarged,
        "relabelled": about.relabelled,
        "bad_images": about.bad_images,
        "patients_unknown": int((store.table["patient"] == "").sum()),
        "images": len(store.table),
        "largest_patient": int(np.unique(patient_ids(store.table), return_counts=True)[1].max()),
    }


def summarise(config: ExperimentConfig, data: dict[str, Any], analysis: Analysis, minutes: float) -> dict[str, Any]:
    """What summary.json holds: shares 0..1, null if undefined; mean, sd, low, high (95 %) are over runs.

    Args:
      config: of the run.
      data: see `count_data`.
      analysis: of its tables.
      minutes: since its last start.
    """
    values, sizes = analysis.seeds["best_epoch_accuracy"].to_numpy(float), analysis.seeds[["n_train", "n_val"]].mean()
    best = resampled_t.over_runs(values, *sizes)._asdict() | {"undefined": scores.why_no_spread(values)}
    task = question(config)
    floors = analysis.floors[analysis.floors["floor"] != "network"]
    return {
        "experiment": config.name,
        "task": task.name,
        "runs": len(analysis.seeds),
        "minutes": round(minutes, 2),
        "data": data,
        "split_by": draws.split_name(config, data["patients_unknown"], data["images"]),
        "control": config.control,
        "internal": _figures(analysis, "internal") | {"best_epoch_accuracy": _record(best)},
        # Here runs share all images, so only training differs: no interval for new images follows from it.
        "external": None if analysis.external_seeds is None else _figures(analysis, "external"),
        "test": None if analysis.test_seeds is None else _figures(analysis, "test"),
        "ensemble": None if analysis.ensemble is None else _ensembles(analysis.ensemble),
        "floors": {row["floor"]: _record(row) for row in floors.to_dict("records")},
        "leakage": None
        if analysis.leakage is None
        else {row["metric"]: _record(row) for row in analysis.leakage.to_dict("records")},
        "poster_percent": dict(task.published.percent) if task.published else None,
        "notes": notes.of_run(config, data, analysis.seeds),
    }


def _figures(analysis: Analysis, data: str) -> dict[str, dict[str, Any]]:
    """Figures at the fixed threshold: name -> mean, sd, low, high, pooled, pooled_low, pooled_high."""
    chosen = analysis.metrics[(analysis.metrics["data"] == data) & (analysis.metrics["rule"] == "fixed")]
    return {row["metric"]: _record(row, ("data", "rule", "metric")) for row in chosen.to_dict("records")}


def _ensembles(table: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """`Analysis.ensemble` by set and metric."""
    return {
        str(data): {row["metric"]: _record(row, ("data", "metric")) for row in rows.to_dict("records")}
        for data, rows in table.groupby("data", sort=False)
    }


def _record(row: Mapping[Any, Any], without: tuple[str, ...] = ("floor", "metric")) -> dict[str, Any]:
    """A row of a table as JSON knows it."""
    return {
        str(name): None if pd.isna(value) else getattr(value, "item", lambda value=value: value)()
        for name, value in row.items()
        if name not in without
    }
