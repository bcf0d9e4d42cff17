"""A finished run at another hospital: its scores of local images, what recalibration by some gains, and its file."""

from __future__ import annotations

import dataclasses
import json
import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cxrjax.analysis import recalibration
from cxrjax.analysis.recalibration import Recalibration
from cxrjax.analysis.tables import read_table
from cxrjax.base import InputError, files
from cxrjax.base.config import ExperimentConfig
from cxrjax.base.flags import LocalFlags
from cxrjax.data import classes
from cxrjax.data.decode import Reduction
from cxrjax.metrics import delong
from cxrjax.metrics.resampled_t import Estimate
from cxrjax.report import figures, pages
from cxrjax.report.figures import forest
from cxrjax.report.language import ENGLISH, reasons
from cxrjax.report.rows import Numbers
from cxrjax.runs import run_folder, setup
from cxrjax.runs.trained import TrainedRun
from cxrjax.storage.store import patient_ids

log = logging.getLogger(__name__)

FILE = "recalibration.json"
_AUROC = ("value", "low", "high")  # in it; null: undefined, as the ends where the classes do not overlap


def local_scores(run: TrainedRun, flags: LocalFlags) -> pd.DataFrame:
    """Scores of local images by a run, mean over its seeds: image, patient, label, score, sorted by image.

    Images of the run, by their name, and of its patients, by theirs, are left out, which is told.

    Args:
      run: of two classes.
      flags: where the images are, and their labels.

    Raises:
      InputError: see `setup.open_data`; they were reduced otherwise than the run's; or none is in a class of the task.
    """
    side = run.net.model.source
    place = flags.data_dir or flags.labels
    table = flags.labels if flags.data_dir else None
    shared = {field.name: getattr(flags, field.name) for field in dataclasses.fields(flags)}
    names = {field.name for field in dataclasses.fields(ExperimentConfig)}
    of_data = {name: value for name, value in shared.items() if name in names} | {"data_dir": place, "labels": table}
    config = ExperimentConfig(run.config.name, run.config.task, finding=run.config.finding, **of_data)
    store, about = setup.open_data(config, side)
    if (reduction := Reduction.recorded(about.made, side)._replace(borders=run.reduction.borders)) != run.reduction:
        raise InputError(f"{place} was reduced as {reduction}, and the run's images as {run.reduction}")
    label, belongs = classes.in_class(store.table["labels"], run.task)
    patients, known = patient_ids(store.table), read_table(run.folder / "images.csv", ["image", "patient"])
    seen = store.table["image"].isin(known["image"]).to_numpy() | np.isin(patients, known["patient"].to_numpy(str))
    rows = np.flatnonzero(belongs & ~seen)
    if (belongs & seen).any():
        log.warning(
            "%d local images have the name of an image or of a patient of the run, and are left out",
            (belongs & seen).sum(),
        )
    if not len(rows):
        raise InputError(f"{place} has no image that is in a class of {run.task.title} and not the run's own")
    of_rows = store.table.assign(patient=patients).iloc[rows][["image", "patient"]]
    scored = of_rows.assign(label=label[rows], score=run(store.images[rows]).mean(axis=1))
    scored = scored.sort_values("image", ignore_index=True)
    log.info(
        "%s: %d images of %d patients, %d of them %s", place, len(scored), scored["patient"].nunique(),
        scored["label"].sum(), run.task.positive.title,
    )  # fmt: skip
    return scored


def write(folder: Path, run: TrainedRun, place: str, scored: pd.DataFrame, sizes: Sequence[int], draws: int) -> Path:
    """Writes scores.csv, gains.csv, fits.csv, report.html and, last, recalibration.json of all images; its path.

    Args:
      folder: made if need be.
      run: that scored.
      place: of the local images.
      scored: see `local_scores`.
      sizes: numbers of local images whose gain is measured.
      draws: of each.
    """
    table, fits = recalibration.gains(scored, sizes, draws)
    whole = recalibration.fit(scored["label"].to_numpy(), scored["score"].to_numpy())
    record = {
        **dataclasses.asdict(whole),
        "task": run.task.name,
        "run": str(run.folder.resolve()),
        "params_sha256": run_folder.params_sha256(run.folder),
        "data": str(Path(place).resolve()),
        "n": len(scored),
        "patients": int(scored["patient"].nunique()),
        "positives": int(scored["label"].sum()),
        "auroc": {name: None if math.isnan(x) else x for name, x in zip(_AUROC, _auroc(scored)[:3], strict=True)},
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in (("scores", scored), ("gains", table), ("fits", fits)):
        files.write_text(folder / f"{name}.csv", rows.to_csv(index=False, float_format="%.7g"))
    files.write_text(folder / "report.html", html(run, record, table, fits))
    files.write_json(folder / FILE, record)
    return folder / FILE


def _auroc(scored: pd.DataFrame) -> Estimate:
    """What no recalibration moves."""
    label, score, patient = (scored[name].to_numpy() for name in ("label", "score", "patient"))
    return delong.interval(label, score, patient)


def read(path: Path, run: TrainedRun) -> Recalibration:
    """A recalibration that `write` left behind.

    Raises:
      InputError: if it is none, or another run's or question's.
    """
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        intercept, slope, threshold = (float(record[name]) for name in ("intercept", "slope", "threshold"))
        moved = Recalibration(intercept, slope, threshold, str(record["note"]))
        made_for = (record["task"], record["params_sha256"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"--recalibration={path} must be a {FILE} of experiments.recalibrate: {error}") from error
    if made_for != (run.task.name, run_folder.params_sha256(run.folder)):
        raise InputError(
            f"--recalibration={path} was made for other networks than those of {run.folder}: {record['run']}"
        )
    return moved


def html(run: TrainedRun, record: dict[str, Any], table: pd.DataFrame, fits: pd.DataFrame) -> str:
    """One English page: the gain of each number of local images, and what is written for `predict`."""
    numbers = Numbers(ENGLISH, units=True)
    rows = [
        {
            "n": row["n"],
            "rule": {"threshold": "threshold alone", "platt": "Platt scaling"}[row["rule"]],
            "metric": numbers.name(row["metric"]),
            "before": numbers.value(row["metric"], row["before"]),
            "after": numbers.value(row["metric"], row["after"]),
            "gain": numbers.difference_and_interval(row["metric"], row["difference"], row["low"], row["high"]),
        }
        for row in table.to_dict("records")
    ]
    undefined = table[table["reason"] != ""].to_dict("records")
    why = {f"{numbers.name(row['metric'])}: {reasons(row['reason'], ENGLISH)}." for row in undefined}
    held = fits[fits["note"] != ""].groupby(["n", "note"]).size().reset_index(name="count").to_dict("records")
    values = {
        "run": run,
        "record": record,
        "note": reasons(record["note"], ENGLISH),
        "rows": rows,
        "best": [row for row in rows if row["metric"] == numbers.name("accuracy") and row["n"] == table["n"].max()],
        "draws": int(fits["draw"].nunique()),
        "notes": [f"n = {row['n']}: in {row['count']} draws {reasons(row['note'], ENGLISH)}." for row in held]
        + sorted(why),
        "figure": figures.inline("gains", forest.gains(table, "accuracy", ENGLISH)),
    }
    return str(pages.html("recalibration.html.jinja", ENGLISH, values))
