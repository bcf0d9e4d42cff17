"""Two finished runs, or two sets of scores, side by side: do their metrics differ by more than chance?"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from cxrjax.analysis import scores
from cxrjax.analysis.tables import COMPARISON
from cxrjax.base import InputError, tasks
from cxrjax.base.codes import code
from cxrjax.base.config import ExperimentConfig
from cxrjax.base.numerics import new_key
from cxrjax.metrics import bootstrap, delong, registry, resampled_t
from cxrjax.metrics.cells import cells_for

DELONG = "auroc_delong"  # row of AUROC by DeLong's test in every seed
IRRELEVANT = {"out", "overwrite", "seed_batch", "input", "lang", "max_bad"}  # fields that change no metric


class Run(NamedTuple):
    """What is compared of a run."""

    config: ExperimentConfig
    data: str | None  # SHA-256 of its images, their labels and patients
    seeds: pd.DataFrame  # by seed: metrics of `registry.MAIN`, n_train, n_val
    predictions: pd.DataFrame  # seed, image, patient, label, score


class Comparison(NamedTuple):
    """Tests of two runs, or of two sets of scores.

    Attributes:
      metrics: A row for each of `registry.MAIN`, of scores for each registered metric: metric, a, b (means over
        seeds), difference (b - a), low, high, statistic (t), p, seeds (pairs), reason (code of why one of them is NaN).
        Behind them `DELONG` (statistic z), if there is a row in `delong`.
      delong: A row for each seed that validated the same images in both runs: seed, a, b (AUROC), difference, low,
        high, statistic (z), p, reason.
      notes: codes of what a reader must know: how the runs differ, and what follows for the tests
    """

    metrics: pd.DataFrame
    delong: pd.DataFrame
    notes: list[str]


def compare(a: Run, b: Run) -> Comparison:
    """Paired tests between the seeds that both runs have.

    Metrics by the corrected resampled t of `resampled_t.compare_runs`, which speaks of other draws, splits and
    trainings. AUROC besides by DeLong's paired test in each seed, by patient, which speaks of other patients for these
    trained networks, where both validated the same images.

    Raises:
      InputError: the runs answer different questions (negative class), have no image in common or say different things
        of one, or share no seed.
    """
    _refuse(a, b)
    seeds = a.seeds.index.intersection(b.seeds.index).sort_values()
    sides = a.seeds.loc[seeds], b.seeds.loc[seeds]
    n_train, n_val = (float(pd.concat([side[name] for side in sides]).mean()) for name in ("n_train", "n_val"))
    rows = []
    for name in registry.shown_in(registry.MAIN):
        x, y = (side[name].to_numpy(float) for side in sides)
        test = resampled_t.compare_runs(x, y, n_train, n_val)
        both = ~np.isnan(x + y)
        means = (x[both].mean(), y[both].mean()) if both.any() else (np.nan, np.nan)
        rows.append({"metric": name, "a": means[0], "b": means[1], **test._asdict(), "seeds": int(both.sum())})
    pairs = {seed: _aligned(*(run.predictions[run.predictions["seed"] == seed] for run in (a, b))) for seed in seeds}
    counts = [run.predictions["seed"].value_counts() for run in (a, b)]
    paired = _paired({s: pair for s, pair in pairs.items() if len(pair[0]) == counts[0][s] == counts[1][s]})
    if len(paired):
        rows.append(_together(paired))
    return Comparison(pd.DataFrame(rows)[COMPARISON.columns], paired, _notes(a, b, seeds, paired))


def compare_scores(a: pd.DataFrame, b: pd.DataFrame) -> Comparison:
    """Two sets of scores of any models, on the images that both have.

    AUROC by DeLong's paired test, by patient; every registered metric by resampling patients, which are the same in
    both sets in each draw. Where there are several seeds, a and b are means over them.

    Args:
      a: seed, image, patient, label, score; a set of one seed stands beside each seed of the other.
      b: likewise.

    Raises:
      InputError: they have no seed or no image in common, or say different things of one.
    """
    _refuse_differing(a, b)
    x, y = (sorted(map(int, side["seed"].unique())) for side in (a, b))
    common = y if len(x) == 1 else x if len(y) == 1 else sorted(set(x) & set(y))
    pairs = {
        seed: _aligned(
            a if len(x) == 1 else a[a["seed"] == seed],
            b if len(y) == 1 else b[b["seed"] == seed],
        )
        for seed in common
    }
    if not pairs or not all(len(pair[0]) for pair in pairs.values()):
        raise InputError("the two sets of scores must have seeds and, in each, images in common")
    images = [(scores.images_of(first), scores.images_of(second)) for first, second in pairs.values()]
    cells = cells_for(max(len(first) for first, _ in pairs.values()))
    differences = bootstrap.differences(new_key(_SCORES), registry.Evaluation(), images, cells=cells)
    rows: list[dict[str, Any]] = [
        {"metric": name, "a": of.a, "b": of.b, "difference": of.value, "low": of.low, "high": of.high}
        | {"seeds": len(pairs), "reason": of.reason}
        for name, of in ((name, differences[name]) for name in registry.METRICS)
    ]
    paired = _paired(pairs)
    rows.append(_together(paired) if len(paired) > 1 else {"metric": DELONG, "seeds": 1, **paired.iloc[0].drop("seed")})
    every = pd.concat(first for first, _ in pairs.values()).drop_duplicates("image")
    counts = {"n": len(every), "positives": int(every["label"].sum()), "patients": every["patient"].nunique()}
    table = pd.DataFrame(rows).reindex(columns=COMPARISON.columns)
    return Comparison(table, paired, [code("common_images", **counts)])


_SCORES = 0  # seed of the bootstrap
_TEST = ("difference", "low", "high", "statistic", "p")


def _refuse(a: Run, b: Run) -> None:
    if a.config.task != b.config.task:
        classes = " and ".join(tasks.get(run.config.task).title for run in (a, b))
        raise InputError(f"the runs answer different questions, {classes}, and cannot be compared")
    if not len(a.seeds.index.intersection(b.seeds.index)):
        raise InputError(
            f"the runs must have seeds in common, got {_range(a.seeds.index)} and {_range(b.seeds.index)} "
            "(--first_seed, --seeds)"
        )
    common = _refuse_differing(a.predictions, b.predictions)
    if not common and a.data != b.data:
        raise InputError("the runs validated no image in common: they are of different data and cannot be compared")


def _refuse_differing(a: pd.DataFrame, b: pd.DataFrame) -> int:
    """How many images are in both, of which both must say the same."""
    images = [side.drop_duplicates("image").set_index("image")[["patient", "label"]] for side in (a, b)]
    common = images[0].index.intersection(images[1].index)
    differing = (images[0].loc[common] != images[1].loc[common]).any(axis=1)
    if differing.any():
        raise InputError(
            f"the runs are of different data: of {differing.sum()} images, {common[differing][0]} among them, label "
            "or patient differ"
        )
    return len(common)


def _aligned(a: pd.DataFrame, b: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows of the images that both have, in one order."""
    names = a["image"][a["image"].isin(b["image"])]
    x, y = (side.set_index("image").loc[names].reset_index() for side in (a, b))
    return x, y


def _paired(pairs: Mapping[int, tuple[pd.DataFrame, pd.DataFrame]]) -> pd.DataFrame:
    """`Comparison.delong` of each seed's scores of the same images."""
    rows = []
    for seed, (a, b) in pairs.items():
        label, patient = a["label"].to_numpy(), a["patient"].to_numpy(str)
        x, y = (side["score"].to_numpy(float) for side in (a, b))
        areas = {name: delong.interval(label, score, patient).value for name, score in (("a", x), ("b", y))}
        rows.append({"seed": seed, **areas, **delong.compare(label, x, y, patient)._asdict()})
    return pd.DataFrame(rows, columns=["seed", "a", "b", *_TEST, "reason"])


def _together(paired: pd.DataFrame) -> dict[str, Any]:
    """DeLong's tests of all seeds as one row.

    p is twice the median of the seeds', at most 1: valid however these depend on each other, as seeds that share images
    do (Meinshausen, Meier & Bühlmann 2009, JASA 104, eq. 2.2 at gamma 1/2).
    """
    defined = paired["p"].dropna()
    return {
        "metric": DELONG,
        **{name: paired[name].mean() for name in ("a", "b", "difference")},
        "p": min(2 * float(defined.median()), 1.0) if len(defined) else np.nan,
        "seeds": len(defined),
        "reason": code("p_of_seeds") if len(defined) else paired["reason"].iloc[0],
    }


def _notes(a: Run, b: Run, seeds: pd.Index, paired: pd.DataFrame) -> list[str]:
    of_a, of_b = ({k: v for k, v in dataclasses.asdict(run.config).items() if k not in IRRELEVANT} for run in (a, b))
    names = [name for name in of_a if of_a[name] != of_b[name]]
    values = [",".join(str(fields[name]) for name in names) for fields in (of_a, of_b)]
    notes = [
        code("settings_differ", names=",".join(names), a=values[0], b=values[1]) if names else code("same_settings")
    ]
    if not len(a.seeds) == len(b.seeds) == len(seeds):
        notes.append(code("only_common_seeds", n=len(seeds), a=_range(a.seeds.index), b=_range(b.seeds.index)))
    elif a.data != b.data:
        notes.append(code("other_images"))
    if apart := len(seeds) - len(paired):
        notes.append(code("seeds_validate_other_images", n=apart, of=len(seeds)))
    if len(paired):
        notes.append(code("delong_significant", n=int((paired["p"] < 0.05).sum()), of=len(paired)))
    return notes


def _range(seeds: pd.Index) -> str:
    return str(seeds[0]) if len(seeds) == 1 else f"{seeds.min()} to {seeds.max()}"
