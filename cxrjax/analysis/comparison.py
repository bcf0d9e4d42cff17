"""Two finished runs side by side: do their figures differ by more than chance?"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from cxrjax.base import tasks
from cxrjax.base.config import ExperimentConfig
from cxrjax.base.types import InputError
from cxrjax.metrics import delong, resampled_t

FIGURES = ("accuracy", "fp_share", "fn_share", "sensitivity", "specificity", "auroc")
DELONG = "auroc_delong"  # row of AUROC by DeLong's test in every seed
_IRRELEVANT = {"out", "overwrite", "seed_batch", "input", "lang", "max_bad"}  # fields that change no figure


class Run(NamedTuple):
    """What is compared of a run."""

    config: ExperimentConfig
    data: str | None  # SHA-256 of its images, their labels and patients
    seeds: pd.DataFrame  # by seed: `FIGURES`, n_train, n_val
    predictions: pd.DataFrame  # seed, image, patient, label, score


class Comparison(NamedTuple):
    """What `compare` found."""

    figures: pd.DataFrame
    """A row for each of `FIGURES`: figure, a, b (means over seeds), difference (b - a), low, high, statistic (t), p,
    seeds (pairs), reason (why one of them is NaN). Behind them `DELONG`, if there is a row in `delong`."""
    delong: pd.DataFrame
    """A row for each seed that validated the same images in both runs: seed, a, b (AUROC), difference, low, high,
    statistic (z), p, reason."""
    notes: list[str]  # what a reader must know: how the runs differ, and what follows for the tests


def compare(a: Run, b: Run) -> Comparison:
    """Paired tests between the seeds that both runs have.

    Figures by the corrected resampled t of `resampled_t.compare_runs`, which speaks of other draws, splits and
    trainings. AUROC besides by DeLong's paired test in each seed, by patient, which speaks of other patients for these
    trained networks, where both validated the same images.

    Raises:
      InputError: the runs answer different questions (negative class), have no image in common or say different things
        of one, or share no seed.
    """
    _refuse(a, b)
    seeds = a.seeds.index.intersection(b.seeds.index).sort_values()
    one, other = a.seeds.loc[seeds], b.seeds.loc[seeds]
    n_train, n_val = (float(pd.concat([one[name], other[name]]).mean()) for name in ("n_train", "n_val"))
    rows = []
    for name in FIGURES:
        x, y = one[name].to_numpy(float), other[name].to_numpy(float)
        test = resampled_t.compare_runs(x, y, n_train, n_val)
        both = ~np.isnan(x + y)
        means = (x[both].mean(), y[both].mean()) if both.any() else (np.nan, np.nan)
        rows.append({"figure": name, "a": means[0], "b": means[1], **test._asdict(), "seeds": int(both.sum())})
    paired = _paired(a, b, seeds)
    if len(paired):
        rows.append(_together(paired))
    columns = ["figure", "a", "b", *_TEST, "seeds", "reason"]
    return Comparison(pd.DataFrame(rows)[columns], paired, _notes(a, b, seeds, paired))


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
    known = [run.predictions.drop_duplicates("image").set_index("image")[["patient", "label"]] for run in (a, b)]
    common = known[0].index.intersection(known[1].index)
    if not len(common) and a.data != b.data:
        raise InputError("the runs validated no image in common: they are of different data and cannot be compared")
    differing = (known[0].loc[common] != known[1].loc[common]).any(axis=1)
    if differing.any():
        raise InputError(
            f"the runs are of different data: of {differing.sum()} images, {common[differing][0]} among them, they say "
            "another label or patient"
        )


def _paired(a: Run, b: Run, seeds: pd.Index) -> pd.DataFrame:
    """DeLong's test in each seed whose validation images are the same in both."""
    rows = []
    for seed in seeds:
        one, other = (run.predictions[run.predictions["seed"] == seed].set_index("image") for run in (a, b))
        if set(one.index) != set(other.index):
            continue
        label, patient = one["label"].to_numpy(), one["patient"].to_numpy(str)
        x, y = (run.loc[one.index, "score"].to_numpy(float) for run in (one, other))
        areas = {name: delong.interval(label, score, patient).value for name, score in (("a", x), ("b", y))}
        rows.append({"seed": seed, **areas, **delong.compare(label, x, y, patient)._asdict()})
    return pd.DataFrame(rows, columns=["seed", "a", "b", *_TEST, "reason"])


def _together(paired: pd.DataFrame) -> dict[str, Any]:
    """DeLong's tests of all seeds as one row.

    p is twice the median of the seeds', at most 1: valid however these depend on each other, as seeds that share images
    do (Meinshausen, Meier & Bühlmann 2009, JASA 104, eq. 2.2 at gamma 1/2).
    """
    known = paired["p"].dropna()
    return {
        "figure": DELONG,
        "a": paired["a"].mean(),
        "b": paired["b"].mean(),
        "difference": paired["difference"].mean(),
        "p": min(2 * float(known.median()), 1.0) if len(known) else np.nan,
        "seeds": len(known),
        "reason": "p is twice the median of the seeds', which share images; no t nor interval follows from them"
        if len(known)
        else paired["reason"].iloc[0],
    }


def _notes(a: Run, b: Run, seeds: pd.Index, paired: pd.DataFrame) -> list[str]:
    one, other = ({k: v for k, v in dataclasses.asdict(run.config).items() if k not in _IRRELEVANT} for run in (a, b))
    differing = [f"{name} ({one[name]}, {other[name]})" for name in one if one[name] != other[name]]
    found = [f"The runs differ in {', '.join(differing)}." if differing else "The runs have the same settings."]
    if not len(a.seeds) == len(b.seeds) == len(seeds):
        found.append(
            f"Only the {len(seeds)} seeds that both have are compared: a has {_range(a.seeds.index)}, b "
            f"{_range(b.seeds.index)}."
        )
    elif a.data != b.data:
        found.append("Not the same images take part: other draws, views or prepared data.")
    if apart := len(seeds) - len(paired):
        found.append(
            f"In {apart} of {len(seeds)} seeds the validated images differ: such a pair shares its seed, not its "
            "images, which widens the intervals, and DeLong's test says nothing of it."
        )
    if len(paired):
        below = int((paired["p"] < 0.05).sum())
        found.append(f"DeLong's test by patient has p < 0.05 in {below} of {len(paired)} seeds.")
    return found


def _range(seeds: pd.Index) -> str:
    return str(seeds[0]) if len(seeds) == 1 else f"{seeds.min()} to {seeds.max()}"


def text(made: Comparison, a: str, b: str) -> str:
    """The comparison for a terminal; `a` and `b` name the runs. Shares in percent, AUROC 0..1."""

    def number(value: float, figure: str, sign: str = "") -> str:
        if np.isnan(value):
            return "-"
        return f"{value:{sign}.3f}" if figure.startswith("auroc") else f"{100 * value:{sign}.1f} %"

    rows = []
    for row in made.figures.to_dict("records"):
        name = row["figure"]
        ends = [number(row[end], name, "+") for end in ("low", "high")]
        rows.append(
            {
                "": name,
                "a": number(row["a"], name),
                "b": number(row["b"], name),
                "b - a": number(row["difference"], name, "+"),
                "95 % interval": "-" if ends == ["-", "-"] else " to ".join(ends),
                "t": "-" if np.isnan(row["statistic"]) else f"{row['statistic']:.2f}",
                "p": "-" if np.isnan(row["p"]) else f"{row['p']:.2g}",
                "seeds": row["seeds"],
            }
        )
    told = made.figures[made.figures["reason"] != ""]
    reasons = [f"{name}: {reason}" for name, reason in zip(told["figure"], told["reason"], strict=True)]
    table = pd.DataFrame(rows).to_string(index=False)
    return "\n".join([f"a: {a}", f"b: {b}", "", table, "", *reasons, *made.notes])
