"""What stands below Lakhani's table: the two networks together, DeLong's test, and what the hospital alone tells."""

from __future__ import annotations

from pathlib import Path, PurePath
from typing import NamedTuple

import numpy as np
import pandas as pd

from cxrjax.analysis.tables import TABLES, read_table
from cxrjax.data.conventions import CONVENTIONS
from cxrjax.metrics import delong
from cxrjax.metrics.resampled_t import Estimate
from cxrjax.runs import sweep_tables

from ._run_table import RunTable

_PUBLISHED = (
    "Lakhani & Sundaram (2017) report an AUROC of 0.99 for their best ensemble (abstract), on 150 held-out films of "
    "1,007 from four sets; other films, another split."
)
_WEIGHTS = np.linspace(0, 1, 11)  # of the first network, the second has the rest
_ENDS = ("pretrained_more", "pretrained", "untrained_more", "untrained")


class LakhaniTable(RunTable):
    """The usual table with the ensemble and the floor below."""

    def _below(self, rows: pd.DataFrame) -> list[str]:
        done = {row["row"]: Path(row["folder"]) for _, row in sweep_tables.done(rows).iterrows()}
        pair = next((pair for end in _ENDS if set(pair := (f"alexnet_{end}", f"googlenet_{end}")) <= done.keys()), ())
        told = _ensemble_line(*pair, ensemble(*(done[name] for name in pair))) if pair else _NO_PAIR
        floor = [hospital_floor(next(iter(done.values())))] if done else []
        return [*super()._below(rows), told, *floor, _PUBLISHED]


_NO_PAIR = "No ensemble yet: it takes a row of either network that start alike."


class Ensemble(NamedTuple):
    """Two networks and their weighted mean on images that neither was trained or validated on."""

    weight: float  # of the first, chosen on validation images
    images: int
    first: Estimate  # AUROC, by patient, as of all three
    second: Estimate
    together: Estimate
    second_minus_first: delong.Comparison
    gain: delong.Comparison  # of both over the better one


def ensemble(first: Path, second: Path) -> Ensemble:
    """The weighted mean of the probabilities of two runs of the same seeds, draws and held-out images.

    Raises:
      InputError: if a table is missing or damaged.
    """
    both = _joined(first, second, "predictions")
    by_weight = [_mean_auroc(both, weight) for weight in _WEIGHTS]
    best = np.flatnonzero(np.isclose(by_weight, max(by_weight)))
    weight = float(_WEIGHTS[best[np.abs(_WEIGHTS[best] - 0.5).argmin()]])  # of equal ones the most even
    test = (
        _joined(first, second, "test")
        .groupby("image")[["label", "patient", "a", "b"]]
        .agg({"label": "first", "patient": "first", "a": "mean", "b": "mean"})
    )
    label, patient = test["label"].to_numpy(), test["patient"].to_numpy(str)
    a, b = test["a"].to_numpy(), test["b"].to_numpy()
    mean = weight * a + (1 - weight) * b
    of_a, of_b, of_mean = (delong.interval(label, score, patient) for score in (a, b, mean))
    better = a if of_a.value >= of_b.value else b
    return Ensemble(
        weight, len(test), of_a, of_b, of_mean, delong.compare(label, a, b, patient),
        delong.compare(label, better, mean, patient),
    )  # fmt: skip


def _joined(first: Path, second: Path, table: str) -> pd.DataFrame:
    """Scores a and b of both runs, by seed and image."""
    keys = ["seed", "image", "patient", "label"]
    a, b = (_read(folder, table, [*keys, "score"]) for folder in (first, second))
    return a.rename(columns={"score": "a"}).merge(b.rename(columns={"score": "b"}), on=keys)


def _read(folder: Path, table: str, columns: list[str]) -> pd.DataFrame:
    return read_table(folder / f"{TABLES[table].file}.csv", columns)[columns]


def _mean_auroc(both: pd.DataFrame, weight: float) -> float:
    """Of the validation images, mean over seeds."""
    score = weight * both["a"] + (1 - weight) * both["b"]
    parts = [(part["label"].to_numpy(), score[part.index].to_numpy()) for _, part in both.groupby("seed")]
    return float(np.mean([delong.interval(*part).value for part in parts]))


def _ensemble_line(first: str, second: str, made: Ensemble) -> str:
    def interval(of: Estimate | delong.Comparison, value: float) -> str:
        return f"{value:.3f} ({of.low:.3f} to {of.high:.3f})"

    comparison, gain, weight = made.second_minus_first, made.gain, made.weight
    return (
        f"On {made.images} held-out images {first} has an AUROC of {interval(made.first, made.first.value)}, {second} "
        f"{interval(made.second, made.second.value)}; difference {interval(comparison, comparison.difference)}, "
        f"p = {comparison.p:.3g} (DeLong, by patient). Their weighted mean, {weight:.1f} and {1 - weight:.1f} as "
        f"validation images chose, {interval(made.together, made.together.value)}; "
        f"{interval(gain, gain.difference)} above the better one."
    )


def hospital(image: str) -> str:
    """The data set that an image's name is of; "others" if no convention fits."""
    fits = (c.name for c in CONVENTIONS if c.pattern.search(image if c.path else PurePath(image).name))
    return next(fits, "others")


def hospital_floor(folder: Path) -> str:
    """A line: the AUROC of validation images by the share of positives of their hospital in training, mean over seeds.

    Raises:
      InputError: if a table is missing or damaged.
    """
    columns = ["seed", "image", "label"]
    val, train = (
        read_table(folder / f"{TABLES[name].file}.csv", columns)[columns] for name in ("predictions", "training")
    )
    for table in (val, train):
        table["hospital"] = table["image"].map(hospital)
    names = pd.concat([val, train]).drop_duplicates("image")["hospital"].value_counts().sort_index()
    there = ", ".join(f"{name} {count}" for name, count in names.items())
    if len(names) == 1:
        return f"Which hospital is it: all images are of one by their names ({there}), so this floor is 0.5 here."
    values = []
    for seed, images in val.groupby("seed"):
        shares = train[train["seed"] == seed].groupby("hospital")["label"].mean()
        score = images["hospital"].map(shares).fillna(0.5).to_numpy()
        values.append(delong.interval(images["label"].to_numpy(), score).value)
    return f"Which hospital is it, alone ({there}): AUROC {np.mean(values):.3f} on the validation images."
