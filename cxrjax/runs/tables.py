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

from cxrjax.base.tasks import Task
from cxrjax.base.types import InputError
from cxrjax.data import cohort
from cxrjax.data.cohort import Cohort, Split
from cxrjax.models import transfer
from cxrjax.models.pretrained import Weights
from cxrjax.models.registry import Model
from cxrjax.storage.store import ImageStore
from cxrjax.training.loop import History

_PACKAGES = (
    "cxrjax",
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
    store: ImageStore, seeds: Sequence[int], cohorts: list[Cohort], places: list[np.ndarray], scores: list[np.ndarray]
) -> pd.DataFrame:
    """Scores of one side of the splits, a row for each seed and image: seed, image, patient, label, score (0..1).

    Args:
      store: of the images.
      seeds: of the runs.
      cohorts: of each run.
      places: of each run [n], positions within its cohort.
      scores: of each run [n], probability of the positive class.
    """
    names = store.table["image"].to_numpy(str)
    parts = [
        pd.DataFrame(
            {
                "seed": seed,
                "image": names[c.index[own]],
                "patient": c.patient[own],
                "label": c.label[own],
                "score": score,
            }
        )
        for seed, c, own, score in zip(seeds, cohorts, places, scores, strict=True)
    ]
    return pd.concat(parts, ignore_index=True)


def seeds(
    seeds: Sequence[int], history: History, cohorts: list[Cohort], splits: list[Split], hashes: list[str]
) -> pd.DataFrame:
    """`RunTables.seeds`. The loss is the last epoch's, as in the poster; the best epoch stands apart, as information
    only: choosing it by validation accuracy would flatter the result."""
    rows = []
    for i, (seed, c, s) in enumerate(zip(seeds, cohorts, splits, strict=True)):
        best = int(np.argmax(history.val_accuracy[i]))
        rows.append(
            {
                "seed": seed,
                "n_train": len(s.train),
                "n_val": len(s.val),
                "positives_train": int(c.label[s.train].sum()),
                "positives_val": int(c.label[s.val].sum()),
                "loss": float(history.val_loss[i, -1]),
                "train_accuracy": float(history.train_accuracy[i, -1]),
                "best_epoch": best + 1,
                "best_epoch_accuracy": float(history.val_accuracy[i, best]),
                "contaminated_share": cohort.contaminated_share(c, s),
                "params_sha256": hashes[i],
            }
        )
    return pd.DataFrame(rows)


def images(store: ImageStore, *scored: pd.DataFrame) -> pd.DataFrame:
    """`RunTables.images`: what is known of every image of the tables `scored`."""
    taking_part = pd.concat([table["image"] for table in scored]).unique()
    known = store.table[["image", "patient", "labels", "view", "age", "sex", "followup"]]
    return known[known["image"].isin(taking_part)].sort_values("image", ignore_index=True)


def pictures(store: ImageStore, images: Iterable[str]) -> dict[str, np.ndarray]:
    """Image -> its pixels [256, 256] u8."""
    rows = pd.Series(np.arange(len(store.table)), index=store.table["image"])
    return {image: np.asarray(store.images[rows[image]]) for image in images}


def external(store: ImageStore, task: Task, seeds: Sequence[int], scores: np.ndarray) -> pd.DataFrame:
    """As `predictions` for another data set: all its positives and all its negatives of the class, for every seed.

    Args:
      store: of the set.
      task: of the runs.
      seeds: of the runs.
      scores: [S, N], probability of the positive class.

    Raises:
      InputError: if the set has neither.
    """
    positive, negative = (cohort.members(store.table["labels"], c) for c in (task.positive, task.negative))
    used = positive | negative
    if not used.any():
        raise InputError(
            f"--external_dir holds no {task.positive.name} and no {task.negative.name} image among its {len(used)}"
        )
    known = store.table.loc[used, ["image", "patient"]].assign(label=positive[used].astype(int))
    parts = [known.assign(score=score[used]) for score in scores]
    for seed, part in zip(seeds, parts, strict=True):
        part.insert(0, "seed", seed)
    return pd.concat(parts, ignore_index=True)


def history(curves: History, first_seed: int) -> pd.DataFrame:
    """Learning curves, a row for each seed, epoch (from 1) and split: loss in nats, accuracy 0..1."""
    runs, epochs = curves.val_loss.shape
    seed, epoch = np.meshgrid(np.arange(first_seed, first_seed + runs), np.arange(1, epochs + 1), indexing="ij")
    parts = [
        pd.DataFrame(
            {
                "seed": seed.ravel(),
                "epoch": epoch.ravel(),
                "split": name,
                "loss": loss.ravel(),
                "accuracy": acc.ravel(),
            }
        )
        for name, loss, acc in (
            ("train", curves.train_loss, curves.train_accuracy),
            ("val", curves.val_loss, curves.val_accuracy),
        )
    ]
    return pd.concat(parts).sort_values(["seed", "epoch", "split"], ignore_index=True)


def environment(weights: Weights | None, model: Model, retrain_from: str, device: str) -> dict[str, Any]:
    """What the figures were computed with."""
    versions = {}
    for name in _PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "python": platform.python_version(),
        "system": platform.platform(),
        "device": device,
        "cpu_cores": os.cpu_count(),
        "packages": versions,
        "weights": None if weights is None else dataclasses.asdict(weights.info),
        "network": transfer.facts(weights, retrain_from, model),
    }
