"""Finished runs as one ensemble: on the images that all of them held out, and, written as a folder, for other images.

An image counts only where every run held it out, and none was trained on its patient.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from cxrjax.analysis import ensemble
from cxrjax.analysis import tables as run_files
from cxrjax.base import InputError, files
from cxrjax.base.codes import code
from cxrjax.base.config import ExperimentConfig, question, question_paths
from cxrjax.base.numerics import new_key
from cxrjax.base.tasks import Task
from cxrjax.metrics.bootstrap import Images
from cxrjax.report.language import ENGLISH, reasons
from cxrjax.runs import run_folder
from cxrjax.runs.trained import TrainedRun, load_run

log = logging.getLogger(__name__)

_RECORD = "ensemble.json"


class Member(NamedTuple):
    """One of the runs."""

    folder: Path
    config: ExperimentConfig
    record: dict[str, Any]  # what ensemble.json says of it
    tests: dict[str, pd.DataFrame]  # `RunTables.test` by finding
    trained_on: frozenset[str]  # images and patients


class Common(NamedTuple):
    """Images that all runs held out, for one question."""

    names: list[str]  # [n]
    images: Images  # scores [S, n] of all networks, run by run
    trained_on: int  # images that a run held out and another run was trained on, or on their patient: left out
    others: int  # images that a run held out and another run does not know, or validated: left out


class Ensemble(NamedTuple):
    """Several runs as one."""

    task: Task
    members: list[Member]
    table: pd.DataFrame  # finding, and the columns of `analysis.ensemble.compare`
    common: dict[str, Common]  # by finding


def evaluate(folders: Sequence[Path]) -> Ensemble:
    """All networks of finished runs as one, on the images that every run held out by --test.

    Raises:
      InputError: fewer than two runs, one twice, one that is not finished or held out nothing, runs of different
        tasks, no image that all held out, or runs that say different things of one.
    """
    if len(folders) < 2:
        raise InputError(f"--runs must name two finished runs or more, parted by commas, got {len(folders)}")
    members = [_read(folder) for folder in folders]
    _refuse_twice(members)
    task = question(members[0].config)
    for member in members[1:]:
        if (other := question(member.config)) != task:
            raise InputError(f"{folders[0]} asks {task.title}, {member.folder} {other.title}: no ensemble of both")
    common = {finding: _common(members, finding) for finding in members[0].tests}
    networks = {str(member.folder): len(member.record["params_sha256"]) for member in members}
    parts = []
    for number, (finding, shared) in enumerate(common.items()):
        log.info(
            "%s: %d images of %d patients, %d positive, were held out by all runs; left out: %d of patients that a run "
            "was trained on, %d that a run did not hold out",
            finding, len(shared.names), len(set(shared.images.patient)), shared.images.label.sum(), shared.trained_on,
            shared.others,
        )  # fmt: skip
        table = ensemble.compare(new_key(number), shared.images, networks)
        table.insert(0, "finding", finding)
        parts.append(table)
    return Ensemble(task, members, pd.concat(parts, ignore_index=True), common)


def _read(folder: Path) -> Member:
    config, record = _record(folder)
    if not config.test:
        raise InputError(f"{folder} held no images out: train it with --test=official, boxes, a share or a file")
    if seen := record["weights_have_seen"]:
        log.warning("%s: %s", folder, reasons(code("weights_have_seen", **seen), ENGLISH))
    tests, trained_on = {}, set[str]()
    for of_question, place in question_paths(folder, config).items():
        test, training = (
            run_files.read_table(place / f"{run_files.TABLES[name].file}.csv", run_files.TABLES[name].columns)
            for name in ("test", "training")
        )
        tests[question(of_question).positive.finding] = test
        trained_on |= {*training["image"], *training["patient"]}
    return Member(folder, config, record, tests, frozenset(trained_on))


def _record(folder: Path) -> tuple[ExperimentConfig, dict[str, Any]]:
    """Configuration of a finished run, and what ensemble.json says of it."""
    config, resolved = run_folder.read_finished(folder)
    try:
        data = json.loads((folder / "summary.json").read_text(encoding="utf-8"))["data"]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{folder / 'summary.json'} is damaged, or of another version: {error}") from error
    place = next(iter(question_paths(folder, config).values()))
    return config, {
        "folder": str(folder.resolve()),
        "model": config.model,
        "weights_sha256": resolved.weights_sha256,
        "weights_have_seen": data.get("seen_by_weights"),
        "data_sha256": resolved.data_sha256,
        "params_sha256": run_folder.params_sha256(place),
    }


def _refuse_twice(members: Sequence[Member]) -> None:
    """Refuses networks that are there twice."""
    places: dict[str, tuple[Path, str]] = {}
    for member in members:
        for seed, sha256 in member.record["params_sha256"].items():
            if sha256 in places:
                before, other = places[sha256]
                raise InputError(f"seed {other} of {before} and seed {seed} of {member.folder} are the same network")
            places[sha256] = member.folder, seed


def _common(members: Sequence[Member], finding: str) -> Common:
    """The images that all runs held out, without those whose patient a run was trained on."""
    tests = [member.tests[finding] for member in members]
    trained_on = frozenset[str]().union(*(member.trained_on for member in members))
    once = [test.drop_duplicates("image").set_index("image")[["patient", "label"]] for test in tests]
    every = pd.concat(once)
    differing = every.groupby(level=0).nunique().max(axis=1) > 1
    if differing.any():
        name = differing.index[differing][0]
        raise InputError(
            f"the runs say another label or patient of {differing.sum()} held-out images, {name} among them"
        )
    every = every[~every.index.duplicated()].sort_index()
    seen = every.index.isin(trained_on) | every["patient"].isin(trained_on).to_numpy()
    everywhere = np.all([every.index.isin(images.index) for images in once], axis=0)
    chosen = every[everywhere & ~seen]
    if chosen.empty:
        raise InputError(
            f"no image was held out by all of {', '.join(str(member.folder) for member in members)}: "
            f"{int(seen.sum())} of {len(every)} held-out images were of patients that another run was trained on"
        )
    scores = [test.pivot(index="image", columns="seed", values="score").loc[chosen.index] for test in tests]
    images = Images(
        chosen["label"].to_numpy(), pd.concat(scores, axis=1).to_numpy(np.float32).T, chosen["patient"].to_numpy(str)
    )
    return Common(list(chosen.index), images, int(seen.sum()), int((~everywhere & ~seen).sum()))


def write(folder: Path, made: Ensemble) -> None:
    """Writes ensemble.csv, predictions.csv (what `experiments.evaluate` reads) and ensemble.json."""
    folder.mkdir(parents=True, exist_ok=True)
    files.write_text(folder / "ensemble.csv", made.table.to_csv(index=False, float_format="%.7g"))
    files.write_text(folder / "predictions.csv", predictions(made).to_csv(index=False, float_format="%.7g"))
    record = {
        "task": made.task.name,
        "runs": [member.record for member in made.members],
        "findings": {
            finding: {
                "images": len(common.names),
                "left_out_trained_on": common.trained_on,
                "left_out_others": common.others,
            }
            for finding, common in made.common.items()
        },
    }
    files.write_json(folder / _RECORD, record)


def predictions(made: Ensemble) -> pd.DataFrame:
    """A row an image: image, patient, and of two classes label and score, of many labels the score of each finding."""
    parts = []
    for finding, common in made.common.items():
        index = pd.MultiIndex.from_arrays([common.names, common.images.patient], names=["image", "patient"])
        score = ensemble.together(common.images).score
        columns = {finding: score} if made.task.is_multilabel else {"label": common.images.label, "score": score}
        parts.append(pd.DataFrame(columns, index=index))
    return pd.concat(parts, axis=1).reset_index()


def load(folder: Path) -> list[TrainedRun]:
    """The runs of an ensemble, as they were when it was made.

    Raises:
      InputError: the folder holds no ensemble, or one of its runs is gone or has been trained anew.
    """
    if not (folder / _RECORD).is_file():
        raise InputError(f"{folder} must be a folder that experiments.ensemble wrote, and it holds no {_RECORD}")
    try:
        records = json.loads((folder / _RECORD).read_text(encoding="utf-8"))["runs"]
        places = [(Path(record["folder"]), record["params_sha256"]) for record in records]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{folder / _RECORD} is damaged, or of another version: {error}") from error
    for place, hashes in places:
        if _record(place)[1]["params_sha256"] != hashes:
            raise InputError(f"{place} is no longer the run of {folder}: its networks have other parameters")
    return [load_run(place) for place, _ in places]
