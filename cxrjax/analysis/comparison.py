"""Two finished runs side by side: do their metrics differ by more than chance?"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from cxrjax.analysis.tables import COMPARISON
from cxrjax.base import InputError, tasks
from cxrjax.base.codes import code
from cxrjax.base.config import ExperimentConfig
from cxrjax.metrics import delong, registry, resampled_t

DELONG = "auroc_delong"  # row of AUROC by DeLong's test in every seed
_IRRELEVANT = {"out", "overwrite", "seed_batch", "input", "lang", "max_bad"}  # fields that change no metric


class Run(NamedTuple):
    """What is compared of a run."""

    config: ExperimentConfig
    data: str | None  # SHA-256 of its images, their labels and patients
    seeds: pd.DataFrame  # by seed: metrics of `registry.MAIN`, n_train, n_val
    predictions: pd.DataFrame  # seed, image, patient, label, score


class Comparison(NamedTuple):
    """Tests of two runs.

    Attributes:
      metrics: A row for each of `registry.MAIN`: metric, a, b (means over seeds), difference (b - a), low, high,
        statistic (t), p, seeds (pairs), reason (code of why one of them is NaN). Behind them `DELONG`, if there is a
        row in `delong`.
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
    paired = _paired(a, b, seeds)
    if len(paired):
        rows.append(_together(paired))
    return Comparison(pd.DataFrame(rows)[COMPARISON.columns], paired, _notes(a, b, seeds, paired))


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
    images = [run.predictions.drop_duplicates("image").set_index("image")[["patient", "label"]] for run in (a, b)]
    common = images[0].index.intersection(images[1].index)
    if not len(common) and a.data != b.data:
        raise InputError("the runs validated no image in common: they are of different data and cannot be compared")
    differing = (images[0].loc[common] != images[1].loc[common]).any(axis=1)
    if differing.any():
        raise InputError(
            f"the runs are of different data: of {differing.sum()} images, {common[differing][0]} among them, they say "
            "another label or patient"
        )


def _paired(a: Run, b: Run, seeds: pd.Index) -> pd.DataFrame:
    """DeLong's test in each seed whose validation images are the same in both."""
    rows = []
    for seed in seeds:
        sides = [run.predictions[run.predictions["seed"] == seed].set_index("image") for run in (a, b)]
        if set(sides[0].index) != set(sides[1].index):
            continue
        label, patient = sides[0]["label"].to_numpy(), sides[0]["patient"].to_numpy(str)
        x, y = (side.loc[sides[0].index, "score"].to_numpy(float) for side in sides)
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
    of_a, of_b = ({k: v for k, v in dataclasses.asdict(run.config).items() if k not in _IRRELEVANT} for run in (a, b))
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
