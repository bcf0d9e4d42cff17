"""What a network must beat on the same splits: the majority class, what is known beside the pixels, chance, a random
trunk."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from cxrjax.analysis import groups, seed_figures
from cxrjax.analysis.schema import RunTables
from cxrjax.metrics import resampled_t

TRAINED = ("shuffled_labels", "random_trunk")  # arms that --floors trains
_FIGURES = ("accuracy", "auroc")
_NAMED, _MEASURED = ("view", "sex"), ("age", "followup")


def table(tables: RunTables, arms: Mapping[str, RunTables], network: pd.DataFrame) -> pd.DataFrame:
    """`Analysis.floors`; columns of a floor that is not available are NaN, `beaten` None.

    Differences are tested by `resampled_t.compare_runs`: network and floor had the same images in every seed.

    Args:
      tables: of the run.
      arms: `TRAINED` where they were trained.
      network: figures of the run's seeds at 0.5, by seed, see `seed_figures.figures`.

    Raises:
      ValueError: an arm has other seeds than the run.
    """
    found: dict[str, tuple[pd.DataFrame | None, str]] = {}
    found["majority"] = (majority(tables), "the more frequent class of each seed's training images")
    used = informative(tables.images)
    told = "the source tells no view, age, sex or follow-up number that varies"
    found["metadata"] = (metadata(tables, used), ", ".join(used)) if used else (None, told)
    for name in TRAINED:
        found[name] = (arms[name].predictions, "") if name in arms else (None, "not trained; --floors trains it")
    sizes = (tables.seeds["n_train"].mean(), tables.seeds["n_val"].mean())
    rows: list[dict[str, object]] = [
        {"floor": "network", "available": True, "note": "", **_spread(network), "beaten": None}
    ]
    for name, (predictions, note) in found.items():
        row = {"floor": name, "available": predictions is not None, "note": note, "beaten": None}
        if predictions is not None:
            row |= _beside(network, _figures(predictions, name, network.index), *sizes)
        rows.append(row)
    return pd.DataFrame(rows, columns=_COLUMNS).astype({"beaten": object})


_TESTED = ("difference", "difference_low", "difference_high", "p")
_COLUMNS = [
    "floor", "available", "note", *(name + end for name in _FIGURES for end in ("", "_sd")),
    *(f"{name}_{end}" for name in _FIGURES for end in _TESTED), "beaten",
]  # fmt: skip


def _figures(predictions: pd.DataFrame, name: str, seeds: pd.Index) -> pd.DataFrame:
    """Figures of a floor, by seed."""
    found = seed_figures.at_half(predictions)
    if list(found.index) != list(seeds):
        raise ValueError(f"arms[{name!r}] must have the run's seeds {list(seeds)}, got {list(found.index)}")
    return found


def _spread(seeds: pd.DataFrame) -> dict[str, float]:
    return {f"{name}{end}": value for name in _FIGURES for end, value in (
        ("", float(seeds[name].mean())), ("_sd", float(seeds[name].std())))}  # fmt: skip


def _beside(network: pd.DataFrame, floor: pd.DataFrame, n_train: float, n_val: float) -> dict[str, object]:
    """A floor's row: its figures, network minus floor, and whether the network is above it beyond chance."""
    row: dict[str, object] = dict(_spread(floor))
    above: dict[str, bool | None] = {}
    for name in _FIGURES:
        test = resampled_t.compare_runs(floor[name].to_numpy(), network[name].to_numpy(), n_train, n_val)
        values = (test.difference, test.low, test.high, test.p)
        row |= {f"{name}_{end}": value for end, value in zip(_TESTED, values, strict=True)}
        above[name] = None if np.isnan(test.low) else test.low > 0
    return row | {"beaten": above["accuracy"] if floor["auroc"].isna().all() else above["auroc"]}


def majority(tables: RunTables) -> pd.DataFrame:
    """Predictions of the more frequent class of each seed's training images for all its validation images.

    The score is 1 or 0, so that AUROC is 0.5; negative if both classes are as frequent.
    """
    share = tables.training.groupby("seed")["label"].mean()
    return tables.predictions.assign(score=(tables.predictions["seed"].map(share) > 0.5).astype(float))


def informative(images: pd.DataFrame) -> list[str]:
    """Which of view, sex, age and followup take more than one value, unknown being one."""
    known = images.assign(age=groups.possible_age(images["age"]))
    return [name for name in (*_NAMED, *_MEASURED) if known[name].nunique(dropna=False) > 1]


def metadata(tables: RunTables, used: list[str]) -> pd.DataFrame:
    """Predictions of a logistic regression on what is known beside the pixels, fitted to each seed's training images.

    Args:
      tables: of the run.
      used: of view, sex, age and followup; see `informative`.
    """
    images = tables.images.set_index("image")
    number = np.log1p(images["followup"].clip(lower=0))  # of NIH's up to 183, half are 0 or 1
    images = images.assign(age=groups.possible_age(images["age"]), followup=number)[used]
    parts = []
    for seed, own in tables.predictions.groupby("seed"):
        training = tables.training[tables.training["seed"] == seed]
        model = _classifier(used).fit(images.loc[training["image"]], training["label"])
        parts.append(own.assign(score=model.predict_proba(images.loc[own["image"]])[:, 1]))
    return pd.concat(parts, ignore_index=True)


def _classifier(used: list[str]) -> Pipeline:
    """Indicators of each view and sex ("" is one, a value not seen in training is none); age and log(1 + follow-up)
    of mean 0 and SD 1, the median where unknown, with an indicator of that; then a logistic regression."""
    named = OneHotEncoder(handle_unknown="ignore")
    measured = make_pipeline(
        SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True), StandardScaler()
    )
    columns = make_column_transformer(
        (named, [name for name in used if name in _NAMED]), (measured, [name for name in used if name in _MEASURED])
    )
    return make_pipeline(columns, LogisticRegression(max_iter=1000))
