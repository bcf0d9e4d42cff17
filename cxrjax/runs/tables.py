"""Trained networks' scores -> the tables that an evaluation starts from, `RunTables`."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import os
import platform
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from cxrjax.base import __version__, devices
from cxrjax.base.config import ExperimentConfig, question
from cxrjax.base.tasks import Task
from cxrjax.data import classes, cohort
from cxrjax.models import transfer
from cxrjax.models.model import Model
from cxrjax.models.pretrained import Weights
from cxrjax.runs.draws import Cohorts
from cxrjax.storage.store import About, ImageStore, patient_ids
from cxrjax.training.loop import History

EXCLUDED = (
    "not_present", "unreadable", "unlabelled", "other_view", "other_class", "held_out", "unmatched", "not_drawn",
    "train_excluded",
)  # fmt: skip
_COUNTS = ("images", "positives", "negatives")
_PACKAGES = (
    "jax",
    "jaxlib",
    "flax",
    "optax",
    "orbax-checkpoint",
    "numpy",
    "scipy",
    "scikit-learn",
    "tensorflow",
    "tensorflow-cpu",
)


def predictions(
    store: ImageStore, cohorts: Cohorts, places: list[np.ndarray], scores: list[np.ndarray]
) -> pd.DataFrame:
    """Scores of one side of the splits, a row for each seed and image: seed, image, patient, label, score (0..1).

    Args:
      store: of the images.
      cohorts: of all runs.
      places: of each run [n], positions within its cohort.
      scores: of each run [n], probability of the positive class.
    """
    names = store.table["image"].to_numpy(str)
    parts = []
    for seed, c, place, score in zip(cohorts.seeds, cohorts.cohorts, places, scores, strict=True):
        images = {"seed": seed, "image": names[c.index[place]], "patient": c.patient[place]}
        parts.append(pd.DataFrame(images | {"label": c.label[place], "score": score}))
    return pd.concat(parts, ignore_index=True)


def seeds(cohorts: Cohorts, history: History, hashes: list[str]) -> pd.DataFrame:
    """`RunTables.seeds`. The loss is the last epoch's, as in the poster; the best epoch stands apart, as information
    only: choosing it by validation accuracy would flatter the result."""
    pairs = list(zip(cohorts.cohorts, cohorts.splits, strict=True))
    return pd.DataFrame(
        {
            "seed": cohorts.seeds,
            "n_train": [len(s.train) for _, s in pairs],
            "n_val": [len(s.val) for _, s in pairs],
            "positives_train": [int(c.label[s.train].sum()) for c, s in pairs],
            "positives_val": [int(c.label[s.val].sum()) for c, s in pairs],
            "loss": history.val_loss[:, -1].astype(float),
            "train_accuracy": history.train_accuracy[:, -1].astype(float),
            "best_epoch": history.val_accuracy.argmax(axis=1) + 1,
            "best_epoch_accuracy": history.val_accuracy.max(axis=1).astype(float),
            "contaminated_share": [cohort.contaminated_share(c, s) for c, s in pairs],
            "params_sha256": hashes,
        }
    )


def images(store: ImageStore, *scored: pd.DataFrame) -> pd.DataFrame:
    """`RunTables.images`: what is known of every image of the tables `scored`."""
    taking_part = pd.concat([table["image"] for table in scored]).unique()
    table = store.table[["image", "patient", "labels", "view", "age", "sex", "followup"]]
    table = table.assign(patient=patient_ids(table))
    return table[table["image"].isin(taking_part)].sort_values("image", ignore_index=True)


def pictures(store: ImageStore, images: Iterable[str]) -> dict[str, np.ndarray]:
    """Image -> its pixels [256, 256] u8."""
    rows = pd.Series(np.arange(len(store.table)), index=store.table["image"])
    return {image: np.asarray(store.images[rows[image]]) for image in images}


def scored_by_all(
    table: pd.DataFrame, task: Task, seeds: Sequence[int], scores: np.ndarray, flag_name: str
) -> pd.DataFrame:
    """As `predictions` of a set that every seed scores whole: all its positives and all its negatives of the class.

    Args:
      table: of the set, as an ImageStore's.
      task: of the runs.
      seeds: of the runs.
      scores: [S, N], probability of the positive class.
      flag_name: that named the set.

    Raises:
      InputError: if the set has neither.
    """
    positive, negative = (classes.members(table["labels"], c) for c in (task.positive, task.negative))
    used = positive | negative
    classes.refuse_absent(table["labels"], task, flag_name)
    images = table.loc[used, ["image"]].assign(patient=patient_ids(table)[used], label=positive[used].astype(int))
    parts = [images.assign(seed=seed, score=score[used]) for seed, score in zip(seeds, scores, strict=True)]
    return pd.concat(parts, ignore_index=True)[["seed", "image", "patient", "label", "score"]]


def history(curves: History, first_seed: int) -> pd.DataFrame:
    """Learning curves, a row for each seed, epoch (from 1) and split: loss in nats, accuracy 0..1."""
    runs, epochs = curves.val_loss.shape
    seed = np.repeat(np.arange(first_seed, first_seed + runs), epochs)
    epoch = np.tile(np.arange(1, epochs + 1), runs)
    parts = []
    for split, loss, accuracy in (
        ("train", curves.train_loss, curves.train_accuracy),
        ("val", curves.val_loss, curves.val_accuracy),
    ):
        part = pd.DataFrame({"seed": seed, "epoch": epoch, "split": split})
        parts.append(part.assign(loss=loss.ravel(), accuracy=accuracy.ravel()))
    return pd.concat(parts).sort_values(["seed", "epoch", "split"], ignore_index=True)


def environment(weights: Weights | None, model: Model, retrain_from: str, device: str) -> dict[str, Any]:
    """What the figures were computed with."""
    versions = {"cxrjax": __version__}  # also where it is not installed
    for name in _PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "python": platform.python_version(),
        "system": platform.platform(),
        "device": device,
        "float32_products": devices.float32_products(),
        "cpu_cores": os.cpu_count(),
        "packages": versions,
        "weights": None if weights is None else {**dataclasses.asdict(weights.info), "licence": weights.info.licence},
        "network": transfer.facts(model, weights, retrain_from),
    }


def flow(config: ExperimentConfig, about: About, table: pd.DataFrame, cohorts: Cohorts) -> pd.DataFrame:
    """`RunTables.flow`: how a source's images become those of the runs; CLAIM's and STARD's flow of participants.

    Stages in order, those of `EXCLUDED` indented: listed (in the source's own table), not_present (of those, never
    downloaded), unreadable, unlabelled, other_view (than --view), other_class (neither positive nor negative in the
    task: NP with findings where the negatives are NF), eligible, held_out (of the patients of --test), unmatched (left
    over by --match), not_drawn (negatives left over by the draw), drawn, train_excluded (of patients whom
    --train_patients leaves out, or that --labels put in no class), train, val. From unmatched on means over runs.

    Images, positives and negatives of a stage are those of the stage before less the excluded between them; train and
    val are drawn less train_excluded. Patients do not add up: one may be in several. NaN is what a source does not say:
    patients of images that are not there or of whom some are unknown, and the classes of those where some are missing
    and others unreadable.

    Args:
      config: task and view count.
      about: of the store.
      table: of the store.
      cohorts: of all runs.
    """
    task = question(config)
    positive, negative = (classes.members(table["labels"], c) for c in (task.positive, task.negative))
    labelled = (table["labels"] != "").to_numpy(bool)
    in_view = np.ones(len(table), bool) if config.view == "all" else (table["view"] == config.view).to_numpy(bool)

    def patients(part: np.ndarray) -> float:
        return np.nan if (table["patient"][part] == "").any() else table["patient"][part].nunique()

    def row(stage: str, parts: list[np.ndarray]) -> tuple[object, ...]:
        """Means over runs, whose images are given as [N] bool."""
        counts = [(p.sum(), (p & positive).sum(), (p & negative).sum(), patients(p)) for p in parts]
        return stage, stage in EXCLUDED, *np.mean(counts, axis=0)

    eligible = (positive | negative) & in_view
    every = np.arange(len(table))
    held_out = np.isin(every, cohorts.test) & (positive | negative)  # of many labels, of this one
    of_runs = ([c.index for c in cohorts.cohorts], cohorts.train, cohorts.val)
    drawn, train, val = ([np.isin(every, rows) for rows in of_each] for of_each in of_runs)
    rows = [
        *_stages_before(about, task, row("present", [np.ones(len(table), bool)])[2:5]),
        row("unlabelled", [~labelled]),
        row("other_view", [labelled & ~in_view]),
        row("other_class", [labelled & in_view & ~eligible]),
        row("eligible", [eligible]),
        row("held_out", [held_out]),
        *(
            row(stage, [eligible & ~held_out & ~d & is_used for d in drawn])
            for stage, is_used in (("unmatched", bool(config.match)), ("not_drawn", not config.match))
        ),
        row("drawn", drawn),
        row("train_excluded", [d & ~t & ~v for d, t, v in zip(drawn, train, val, strict=True)]),
        row("train", train),
        row("val", val),
    ]
    return pd.DataFrame(rows, columns=["stage", "excluded", *_COUNTS, "patients"])


def _stages_before(about: About, task: Task, present: Sequence[object]) -> list[tuple[object, ...]]:
    """listed, not_present and unreadable; `present` are the `_COUNTS` of the store."""
    there = np.array(present, float)
    bad = len(about.bad_images)
    of_classes = classes.count(about.listed, (task.positive, task.negative))
    if about.listed:
        listed = np.array([sum(about.listed.values()), *of_classes.values()], float)
    else:  # a source without a table of its own lists what it has
        listed = there + np.array([bad, *[np.nan if bad else 0] * 2])
    lost = listed - there
    unreadable = min(bad, lost[0])
    missing, broken = (
        lost if part == lost[0] else np.array([part, *[np.nan if part else 0.0] * 2])
        for part in (lost[0] - unreadable, unreadable)
    )
    stages = (("listed", listed), ("not_present", missing), ("unreadable", broken))
    return [(name, name in EXCLUDED, *counts, np.nan if counts[0] else 0.0) for name, counts in stages]
