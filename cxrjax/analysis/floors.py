"""What a network must beat on the same splits (the majority class, what is known beside the pixels, chance, a random
trunk), and how much a patient on both sides of the split flatters it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from cxrjax.analysis import scores
from cxrjax.analysis.subgroups import possible_age
from cxrjax.analysis.tables import TABLES, RunTables
from cxrjax.base import codes
from cxrjax.base.codes import code
from cxrjax.base.recipes import PROBED
from cxrjax.metrics import registry, resampled_t

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

TRAINED = ("shuffled_labels", "random_trunk")  # arms that --floors trains
_NAMED, _MEASURED = ("view", "sex"), ("age", "followup")
_METADATA = {"film": ("view", "sex", "age"), "metadata": ("view", "sex", "age", "followup")}  # what a film shows; all
_ENOUGH = 10  # runs, as the poster's; see `claim`
_TESTED = ("difference", "difference_low", "difference_high", "p")


def table(tables: RunTables, arms: Mapping[str, RunTables], network: pd.DataFrame, head: str = "own") -> pd.DataFrame:
    """`Analysis.floors`; columns of a floor that is not available are NaN, `beaten` None, and `note` says why.

    Differences are tested by `resampled_t.compare_runs`: network and floor had the same images in every seed.

    Args:
      tables: of the run.
      arms: `TRAINED` where they were trained.
      network: metrics of the run's seeds at 0.5, by seed, see `scores.Scored.fixed`.
      head: of the run's recipe.

    Raises:
      ValueError: an arm has other seeds than the run.
    """
    floors: dict[str, tuple[pd.DataFrame | None, str]] = {"majority": (majority(tables), code("majority_of_training"))}
    varying = informative(tables.images)
    for name, allowed in _METADATA.items():
        used = [column for column in varying if column in allowed]
        note = code("metadata", used=",".join(used)) if used else code(f"no_{name}")
        floors[name] = metadata(tables, used) if used else None, note
    floors["probe"] = tables.probe, no_probe(head, tables) if tables.probe is None else _strengths(tables.probe)
    for name in TRAINED:
        floors[name] = (arms[name].predictions, "") if name in arms else (None, code("not_trained"))
    sizes = (tables.seeds["n_train"].mean(), tables.seeds["n_val"].mean())
    of_network = {"floor": "network", "available": True, "note": "", "beaten": None, "claim": ""}
    rows: list[dict[str, object]] = [of_network | _spread(network)]
    for name, (predictions, note) in floors.items():
        row = {"floor": name, "available": predictions is not None, "note": note, "beaten": None, "claim": ""}
        row["undefined"] = ""
        if predictions is not None:
            row |= _beside(network, _of_seeds(predictions, name, network.index), *sizes)
        rows.append(row)
    names = registry.shown_in(registry.FLOORS)
    columns = [name + end for name in names for end in ("", "_sd")]
    columns += [f"{name}_{end}" for name in names for end in _TESTED]
    every = ["floor", "available", "note", *columns, "beaten", "claim", "undefined"]
    return pd.DataFrame(rows, columns=every).astype({"beaten": object})


def no_probe(head: str, tables: RunTables) -> str:
    """Code of why a run has no probe beside it."""
    if head == "linear":
        return code("is_probe")
    return code("many_images", most=PROBED) if tables.seeds["n_train"].max() > PROBED else code("no_probe")


def _strengths(probe: pd.DataFrame) -> str:
    """Code of the strengths C that a probe has, from the least to the greatest."""
    return code("probe", strengths=",".join(f"{c:g}" for c in np.unique(probe["strength"])))


def claim(test: resampled_t.Comparison, runs: int, n_train: float, n_val: float) -> str:
    """What the interval of network minus floor supports.

    Returns:
      better, worse; undecided: the interval holds 0; few_runs: so it does, but that of ten runs with the same spread
      and mean would not; "": there is no interval.
    """
    if np.isnan(test.low):
        return ""
    if test.low > 0 or test.high < 0:
        return "better" if test.low > 0 else "worse"
    now, then = (resampled_t.half_width(n, n_train, n_val) for n in (runs, max(runs, _ENOUGH)))
    return "few_runs" if abs(test.difference) > (test.high - test.low) / 2 * then / now else "undecided"


def _of_seeds(predictions: pd.DataFrame, name: str, seeds: pd.Index) -> pd.DataFrame:
    """Metrics of a floor, by seed."""
    metrics = scores.at_half(predictions)
    if list(metrics.index) != list(seeds):
        raise ValueError(f"arms[{name!r}] must have the run's seeds {list(seeds)}, got {list(metrics.index)}")
    return metrics


def _spread(seeds: pd.DataFrame) -> dict[str, object]:
    """Mean and SD of each metric, and codes of why one is NaN, or leaves seeds out, each with its metric."""
    row: dict[str, object] = {}
    why = []
    for name in registry.shown_in(registry.FLOORS):
        row |= {name: float(seeds[name].mean()), f"{name}_sd": float(seeds[name].std())}
        why.append(codes.tag(scores.why_no_spread(seeds[name].to_numpy()), metric=name))
    return row | {"undefined": codes.join(why)}


def _beside(network: pd.DataFrame, floor: pd.DataFrame, n_train: float, n_val: float) -> dict[str, object]:
    """A floor's row: its metrics, network minus floor, and what is to be said of that."""
    row = _spread(floor)
    why = [str(row["undefined"])]
    claims = {}
    for name in registry.shown_in(registry.FLOORS):
        test = resampled_t.compare_runs(floor[name].to_numpy(), network[name].to_numpy(), n_train, n_val)
        values = (test.difference, test.low, test.high, test.p)
        row |= {f"{name}_{end}": value for end, value in zip(_TESTED, values, strict=True)}
        why.append(codes.tag(test.reason, metric=f"{name}_difference"))
        runs = int((network[name] - floor[name]).notna().sum())
        claims[name] = claim(test, runs, n_train, n_val)
    supported = claims["accuracy" if floor["auroc"].isna().all() else "auroc"]
    beaten = supported == "better" if supported else None
    return row | {"beaten": beaten, "claim": supported, "undefined": codes.join(why)}


def majority(tables: RunTables) -> pd.DataFrame:
    """Predictions of the more frequent class of each seed's training images for all its validation images.

    The score is 1 or 0, so that AUROC is 0.5; negative if both classes are as frequent.
    """
    share = tables.training.groupby("seed")["label"].mean()
    return tables.predictions.assign(score=(tables.predictions["seed"].map(share) > 0.5).astype(float))


def informative(images: pd.DataFrame) -> list[str]:
    """Which of view, sex, age and followup take more than one value, unknown being one."""
    possible = images.assign(age=possible_age(images["age"]))
    return [name for name in (*_NAMED, *_MEASURED) if possible[name].nunique(dropna=False) > 1]


def metadata(tables: RunTables, used: list[str]) -> pd.DataFrame:
    """Predictions of a logistic regression on what is known beside the pixels, fitted to each seed's training images.

    Args:
      tables: of the run.
      used: of view, sex, age and followup; see `informative`.
    """
    images = tables.images.set_index("image")
    number = np.log1p(images["followup"].clip(lower=0))  # of NIH's up to 183, half are 0 or 1
    images = images.assign(age=possible_age(images["age"]), followup=number)[used]
    parts = []
    for seed, rows in tables.predictions.groupby("seed"):
        training = tables.training[tables.training["seed"] == seed]
        model = _classifier(used).fit(images.loc[training["image"]], training["label"])
        parts.append(rows.assign(score=model.predict_proba(images.loc[rows["image"]])[:, 1]))
    return pd.concat(parts, ignore_index=True)


def _classifier(used: list[str]) -> Pipeline:
    """Indicators of each view and sex ("" is one, a value not seen in training is none); age and log(1 + follow-up)
    of mean 0 and SD 1, the median where unknown, with an indicator of that; then a logistic regression."""
    # Here, since scikit-learn takes two seconds to import, which training and predictions need not wait for.
    from sklearn.compose import make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    named = OneHotEncoder(handle_unknown="ignore")
    measured = make_pipeline(
        SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True), StandardScaler()
    )
    columns = make_column_transformer(
        (named, [name for name in used if name in _NAMED]), (measured, [name for name in used if name in _MEASURED])
    )
    return make_pipeline(columns, LogisticRegression(max_iter=1000))


def leakage(by_patient: RunTables, by_image: RunTables) -> pd.DataFrame:
    """`Analysis.leakage`: the run's seeds split by patient, and the same seeds split by image.

    A seed draws the same negatives and initial weights in both, so the pairs share those; the images it validates
    differ, and what they add to the variance of a difference is in the differences' own spread. The corrected
    resampled t (`resampled_t.compare_runs`) is then rather too careful: its n_val/n_train stands for what runs share,
    part of which cancels out between the two splits. The contaminated share follows from the splits themselves: it has
    a difference, and nothing to test.

    Raises:
      ValueError: the seeds are not the same.
    """
    patient, image = _splits_seeds(by_patient), _splits_seeds(by_image)
    if list(patient.index) != list(image.index):
        raise ValueError(f"the split by image must have the run's seeds {list(patient.index)}, got {list(image.index)}")
    n_train, n_val = (float(np.mean([patient[name].mean(), image[name].mean()])) for name in ("n_train", "n_val"))
    rows = []
    for name in ("contaminated_share", *registry.shown_in(registry.MAIN)):
        test = resampled_t.compare_runs(patient[name].to_numpy(float), image[name].to_numpy(float), n_train, n_val)
        low, high, p = (np.nan,) * 3 if name == "contaminated_share" else (test.low, test.high, test.p)
        why = _why_untested(patient[name], image[name], test.reason)
        rows.append((name, patient[name].mean(), image[name].mean(), test.difference, low, high, p, why))
    return pd.DataFrame(rows, columns=TABLES["leakage"].columns)


def _why_untested(patient: pd.Series, image: pd.Series, of_test: str) -> str:
    """Codes of why a row of `Analysis.leakage` has a NaN; `of_test` are the test's."""
    if patient.name == "contaminated_share":
        unknown = patient.isna().any() or image.isna().any()
        return codes.join([code("unknown_patients") if unknown else "", code("follows_from_splits")])
    left_out = [
        code("undefined_in_seeds", n=missing, of=len(values))
        for values in (patient, image)
        if (missing := int(values.isna().sum()))
    ]
    return codes.join([*left_out, of_test])


def _splits_seeds(tables: RunTables) -> pd.DataFrame:
    """Every metric, contaminated_share, n_train and n_val of each seed, by seed."""
    seeds = tables.seeds.set_index("seed")[["contaminated_share", "n_train", "n_val"]]
    return seeds.join(scores.at_half(tables.predictions), how="outer").sort_index()
