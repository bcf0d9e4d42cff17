"""Trained networks' scores -> tables and summary of an experiment."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import math
import os
import platform
from typing import Any

import numpy as np
import pandas as pd

from cxrjax import cohort, statistics
from cxrjax.trainer import History
from cxrjax.types import About, Cohort, ExperimentConfig, ImageStore, Split, Weights

# The poster's results in percent: mean and SD of accuracy, means of FP and FN shares.
POSTER = {
    "p_vs_np": {"accuracy": 65, "accuracy_sd": 5, "fp_share": 13, "fn_share": 22},
    "p_vs_nf": {"accuracy": 83, "accuracy_sd": 7, "fp_share": 7, "fn_share": 9},
}
FIGURES = ("accuracy", "fp_share", "fn_share", "sensitivity", "specificity", "auroc")
THRESHOLD = 0.5  # as in the poster
_PACKAGES = (
    "cxrjax",
    "jax",
    "jaxlib",
    "flax",
    "optax",
    "orbax-checkpoint",
    "numpy",
    "tensorflow",
    "tensorflow-cpu",
)


def predictions(
    store: ImageStore, first_seed: int, cohorts: list[Cohort], splits: list[Split], scores: list[np.ndarray]
) -> pd.DataFrame:
    """Validation scores, a row for each seed and image: seed, image, patient, label, score (0..1).

    Args:
      store: of the images.
      first_seed: seed of the first run.
      cohorts: of each run.
      splits: of each run.
      scores: of each run [v], probability of pneumonia.
    """
    parts = []
    for i, (c, s, score) in enumerate(zip(cohorts, splits, scores, strict=True)):
        image = store.table["image"].to_numpy(str)[c.index[s.val]]
        parts.append(
            pd.DataFrame(
                {
                    "seed": first_seed + i,
                    "image": image,
                    "patient": c.patient[s.val],
                    "label": c.label[s.val],
                    "score": score,
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def seeds(
    predictions: pd.DataFrame, history: History, cohorts: list[Cohort], splits: list[Split], hashes: list[str]
) -> pd.DataFrame:
    """A row a seed. The figures are the last epoch's, as in the poster; the best epoch stands apart, as information
    only: choosing it by validation accuracy would flatter the result."""
    rows = []
    for i, (seed, own) in enumerate(predictions.groupby("seed")):
        c, s = cohorts[i], splits[i]
        best = int(np.argmax(history.val_accuracy[i]))
        rows.append(
            {
                "seed": seed,
                "n_train": len(s.train),
                "n_val": len(s.val),
                "positives_train": int(c.label[s.train].sum()),
                "positives_val": int(c.label[s.val].sum()),
                **figures(own["label"].to_numpy(), own["score"].to_numpy()),
                "loss": float(history.val_loss[i, -1]),
                "train_accuracy": float(history.train_accuracy[i, -1]),
                "best_epoch": best + 1,
                "best_epoch_accuracy": float(history.val_accuracy[i, best]),
                "contaminated_share": cohort.contaminated_share(c, s),
                "params_sha256": hashes[i],
            }
        )
    return pd.DataFrame(rows)


def figures(label: np.ndarray, score: np.ndarray) -> dict[str, float]:
    """`FIGURES` of one run; see `statistics.operating_point` and `statistics.auroc`."""
    decision = (score > THRESHOLD).astype(int)
    return {**statistics.operating_point(label, decision), "auroc": statistics.auroc(label, score)}


def external(store: ImageStore, negative_class: str, first_seed: int, scores: np.ndarray) -> pd.DataFrame:
    """A row a seed with `FIGURES` on another data set: all its positives and all its negatives of the class.

    Args:
      store: of the set.
      negative_class: NP or NF.
      first_seed: seed of the first run.
      scores: [S, N], probability of pneumonia.
    """
    member = cohort.classes(store.table["labels"])
    used = member["P"] | member[negative_class]
    label = member["P"][used].astype(int)
    return pd.DataFrame(
        [{"seed": first_seed + i, "n": len(label), **figures(label, score[used])} for i, score in enumerate(scores)]
    )


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


def summary(
    config: ExperimentConfig,
    about: About,
    present: dict[str, int],
    seeds: pd.DataFrame,
    external: pd.DataFrame | None,
    minutes: float,
) -> dict[str, Any]:
    """What summary.json holds; figures over runs as mean, sd, low, high (95 %), shares 0..1, null if undefined."""
    return {
        "experiment": config.name,
        "runs": len(seeds),
        "minutes": round(minutes, 2),
        "data": {"source": about.source, "listed": cohort.count(about.listed), "present": present},
        "bad_images": about.bad_images,
        "split_by": config.split_by,
        "internal": _over_runs(seeds, (*FIGURES, "best_epoch_accuracy")),
        # Here runs share all images, so only training differs: no interval for new images follows from it.
        "external": None if external is None else {
            name: {"mean": _number(external[name].mean()), "sd": _number(external[name].std())} for name in FIGURES
        },
        "poster_percent": POSTER.get(config.name),
        "notes": notes(config, about, present, seeds),
    }  # fmt: skip


def _over_runs(seeds: pd.DataFrame, names: tuple[str, ...]) -> dict[str, dict[str, float | None]]:
    n_train, n_val = seeds["n_train"].mean(), seeds["n_val"].mean()
    summaries = {name: statistics.over_runs(seeds[name].to_numpy(float), n_train, n_val) for name in names}
    return {name: {k: _number(v) for k, v in one._asdict().items()} for name, one in summaries.items()}


def _number(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def notes(config: ExperimentConfig, about: About, present: dict[str, int], seeds: pd.DataFrame) -> list[str]:
    """What a reader must know beside the figures."""
    found = []
    if config.data_dir is None:
        found.append("The images are a procedural phantom, no patient's: the figures say nothing about radiology.")
    listed = cohort.count(about.listed)
    if listed["P"] + listed["NP"] > present["P"] + present["NP"]:
        found.append(
            f"{present['P']} of the {listed['P']} listed P images and {present['NP']} of {listed['NP']} NP images are "
            "present. Unless they were drawn at random, view, age and sex may differ between the classes more than "
            "in the whole set, and part of the result may rest on that."
        )
    negatives = int((seeds["n_train"] + seeds["n_val"] - seeds["positives_train"] - seeds["positives_val"]).iloc[0])
    if config.view == "all" and negatives == present[config.negative_class]:
        found.append(
            f"All {negatives} {config.negative_class} images enter every run: the SD covers split, initial weights "
            "and augmentation, not the draw of negatives."
        )
    share = 100 * seeds["contaminated_share"].mean()
    if share:
        found.append(
            f"Split by {config.split_by}: {share:.0f} % of validation images are of patients who were also trained on."
        )
    if config.split_by == "official":
        found.append("The official split is the same in every run, but for the negatives that are drawn.")
    return found


def title(name: str) -> str:
    """An experiment's name as people read it.

    >>> title("p_vs_nf")
    'P vs NF'
    """
    return name.replace("_", " ").upper().replace(" VS ", " vs ")


def last_line(summary: dict[str, Any]) -> str:
    """The summary a person wants, e.g. `P vs NF: accuracy 83.1 ± 3.0 % (poster 83 ± 7), FP 7.4 %, ...`."""
    inside, poster = summary["internal"], summary["poster_percent"]

    def percent(name: str) -> str:
        mean, sd = inside[name]["mean"], inside[name]["sd"]
        return f"{100 * mean:.1f}" + ("" if sd is None else f" ± {100 * sd:.1f}") + " %"

    return (
        f"{title(summary['experiment'])}: accuracy {percent('accuracy')} "
        f"(poster {poster['accuracy']} ± {poster['accuracy_sd']}), "
        f"FP {100 * inside['fp_share']['mean']:.1f} %, FN {100 * inside['fn_share']['mean']:.1f} %, "
        f"AUROC {inside['auroc']['mean']:.3f}, {_elsewhere(summary)}"
        f"{summary['runs']} seed{'s' if summary['runs'] > 1 else ''}, {summary['minutes']:.0f} min"
    )


def _elsewhere(summary: dict[str, Any]) -> str:
    """The external set's figures beside the internal ones; empty if there is no such set."""
    outside = summary["external"]
    if outside is None:
        return ""
    auroc = outside["auroc"]["mean"]
    told = "undefined" if auroc is None else f"{auroc:.3f}"
    return f"external: accuracy {100 * outside['accuracy']['mean']:.1f} %, AUROC {told}, "


def environment(weights: Weights | None, device: str) -> dict[str, Any]:
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
    }
