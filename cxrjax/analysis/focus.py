"""Does a network's map lie on a region more than chance, habit and untrained networks would have it?

An image's value is the mean over the seeds that validated it; the figure is the mean over images, its interval from
resampling patients (`patient_means`): it speaks of other patients for these trained networks, not of other trainings.
What is compared is paired: same seed and image beside a control, same image beside a baseline.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from cxrjax.analysis import patient_means
from cxrjax.analysis.looks import BASELINES, COLUMNS, FIGURES, TRAINED, expected

_TABLE = (
    "target", "figure", "method", "network", "images", "patients", "value", "low", "high", "difference",
    "difference_low", "difference_high", "beaten", "small", "zero_maps", "note",
)  # fmt: skip
NAMES = {
    "area": "a map that is the same everywhere",
    "centre": "a map of the image's centre",
    "mean_box": "the mean box of other patients",
    "random_head": "a head of random weights",
    "shuffled_labels": "a network trained on shuffled labels",
    "random_trunk": "a trunk of random weights",
}
_WHAT = {"energy": "share of the map inside the {}", "pointing": "share of maps with their maximum inside the {}"}


class Focus(NamedTuple):
    """What `table` found."""

    table: pd.DataFrame
    """A row for each target, figure (energy, pointing), method and network, the trained one first, then controls and
    baselines on the images they share with it: images, patients, value with low and high (95 %); of trained minus this
    one difference, difference_low, difference_high, beaten (bool: that interval lies above 0; None for the trained
    one); small (bool: fewer than `patient_means.SMALL` patients), zero_maps (maps of zeros, which count as uniform),
    note (images left out, pairs missing, how an interval was made or why there is none; or "")."""
    notes: list[str]  # what is absent, and why


class Verdict(NamedTuple):
    """One figure of one method in words; names are those of `Focus.table`'s networks."""

    target: str
    figure: str
    method: str
    everything: bool  # every control and baseline was there and is beaten
    beats: tuple[str, ...]
    not_beaten: tuple[str, ...]  # all others it was compared with
    below: tuple[str, ...]  # those of `not_beaten` that are better than the network: the interval lies below 0
    undecided: tuple[str, ...]  # those of `not_beaten` without an interval
    missing: tuple[str, ...]  # what it was not compared with
    small: bool  # some comparison has few patients
    text: str


def table(rows: pd.DataFrame) -> Focus:
    """`Focus` of all maps of a run.

    Args:
      rows: `looks.figures` of every network, method, seed and target, and `looks.baselines` of every target, together.

    Raises:
      ValueError: a column is missing, or a map has two rows.
    """
    _check(rows)
    found, notes = [], []
    baseline = rows["network"].isin(BASELINES)
    for (target, method), own in rows[~baseline].groupby(["target", "method"], sort=False):
        parts = {str(name): part for name, part in own.groupby("network", sort=False)}
        parts |= {str(name): part for name, part in rows[baseline & (rows["target"] == target)].groupby("network")}
        trained = parts.pop(TRAINED, None)
        if trained is None:
            notes.append(f"{method}, {target}: there are no maps of the trained network, so nothing is compared.")
            continue
        order = [name for name in expected(str(target)) if name in parts]
        order += [name for name in parts if name not in order]
        if absent := [name for name in expected(str(target)) if name not in parts]:
            notes.append(f"{method}, {target}: not compared with {', '.join(absent)}, of which there are no maps.")
        for figure in FIGURES:
            made = [_beside(trained, trained, figure, TRAINED), *(
                _beside(trained, parts[name], figure, name) for name in order)]  # fmt: skip
            notes += [f"{method}, {target}, {figure}: {row['network']} has no figure of an image that the trained "
                      "network has one of." for row in made if not row["images"]]  # fmt: skip
            found += [{"target": target, "figure": figure, "method": method, **row} for row in made if row["images"]]
    return Focus(pd.DataFrame(found, columns=list(_TABLE)), notes)


def _beside(trained: pd.DataFrame, other: pd.DataFrame, figure: str, name: str) -> dict[str, Any]:
    """A network's row, on the maps that it has in common with the trained one."""
    keys = ["image"] if name in BASELINES else ["seed", "image"]
    both = trained.merge(other[[*keys, figure, "zero"]], on=keys, suffixes=("", "_other"), validate="many_to_one")
    known = both.dropna(subset=[figure, f"{figure}_other"])
    row: dict[str, Any] = {"network": name, "images": known["image"].nunique(), "patients": known["patient"].nunique()}
    if known.empty:
        return row
    means = known.groupby("image").agg(
        patient=("patient", "first"), own=(figure, "mean"), other=(f"{figure}_other", "mean")
    )
    patient = means["patient"].to_numpy(str)
    alone = patient_means.interval(means["other"].to_numpy(), patient)
    row |= {"value": alone.value, "low": alone.low, "high": alone.high}
    row |= {"small": row["patients"] < patient_means.SMALL, "beaten": None}
    row["zero_maps"] = int(known.drop_duplicates(keys)["zero_other"].sum())
    notes = _left_out(trained, both, known) + ([f"value: {alone.reason}"] if alone.reason else [])
    if name != TRAINED:
        paired = patient_means.interval((means["own"] - means["other"]).to_numpy(), patient, ends=(-1.0, 1.0))
        row |= {"difference": paired.value, "difference_low": paired.low, "difference_high": paired.high}
        row["beaten"] = bool(paired.low > 0)
        notes += [f"difference: {paired.reason}"] if paired.reason else []
    return row | {"note": "; ".join(notes)}


def _left_out(trained: pd.DataFrame, both: pd.DataFrame, known: pd.DataFrame) -> list[str]:
    found = []
    if empty := both["image"].nunique() - known["image"].nunique():
        found.append(f"{empty} images left out, whose region lies outside the crop")
    if len(both) < len(trained):
        found.append(f"only {len(both)} of the trained network's {len(trained)} maps have one beside them")
    return found


def _check(rows: pd.DataFrame) -> None:
    if missing := [name for name in COLUMNS if name not in rows.columns]:
        raise ValueError(f"rows must have the columns of looks.COLUMNS, got none of {', '.join(missing)}")
    keys = ["target", "method", "network", "seed", "image"]
    if (twice := rows.duplicated(keys).to_numpy()).any():
        one = rows[keys].iloc[int(twice.argmax())]
        raise ValueError(f"rows must hold each map once, got two of {', '.join(map(str, one))}")


def verdicts(table: pd.DataFrame) -> list[Verdict]:
    """What `Focus.table` says of each method, target and figure, in its order.

    A map that does not beat its controls shows the image or the architecture, not what was learned. Each verdict of
    "everything" needs every interval above 0, so several comparisons make it no easier; several methods do.
    """
    found = []
    for (target, figure, method), own in table.groupby(["target", "figure", "method"], sort=False):
        trained, others = own[own["network"] == TRAINED].iloc[0], own[own["network"] != TRAINED]
        beaten = others["beaten"].astype(bool)
        rest = others[~beaten]
        missing = tuple(name for name in expected(str(target)) if name not in set(others["network"]))
        bare = Verdict(
            str(target),
            str(figure),
            str(method),
            everything=bool(len(others)) and bool(beaten.all()) and not missing,
            beats=tuple(others["network"][beaten]),
            not_beaten=tuple(rest["network"]),
            below=tuple(rest["network"][rest["difference_high"] < 0]),
            undecided=tuple(rest["network"][rest["difference_low"].isna()]),
            missing=missing,
            small=bool(own["small"].any()),
            text="",
        )
        found.append(bare._replace(text=_text(bare, trained, int(own["patients"].min()))))
    return found


def _text(verdict: Verdict, trained: pd.Series, patients: int) -> str:
    what = _WHAT[verdict.figure].format(verdict.target)
    ends = "" if np.isnan(trained["low"]) else f" ({trained['low']:.2f} to {trained['high']:.2f})"
    said = [f"{verdict.method}: {what} {trained['value']:.2f}{ends}."]
    if verdict.everything:
        said.append(f"It beats all of: {_listed(verdict.beats)}.")
    elif verdict.beats:
        said.append(f"It beats {_listed(verdict.beats)}.")
    if open_ := [n for n in verdict.not_beaten if n not in (*verdict.below, *verdict.undecided)]:
        said.append(f"It does not beat {_listed(open_)}.")
    if verdict.below:
        said.append(f"It does not beat, but lies below {_listed(verdict.below)}.")
    if verdict.undecided:
        said.append(f"It is not shown to beat {_listed(verdict.undecided)}: there is no interval.")
    if verdict.missing:
        said.append(f"It was not compared with {_listed(verdict.missing)}.")
    if verdict.small:
        said.append(f"These are few patients ({patients}).")
    return " ".join(said)


def _listed(names: tuple[str, ...] | list[str]) -> str:
    return "; ".join(NAMES.get(name, name) for name in names)
