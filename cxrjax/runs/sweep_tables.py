"""Finished runs -> a table with a row each, and each row's difference from one of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from cxrjax.analysis import tables
from cxrjax.base.types import InputError
from cxrjax.metrics import registry, resampled_t
from cxrjax.report import words
from cxrjax.report.language import ENGLISH
from cxrjax.report.pages import escape
from cxrjax.report.rows import CARD
from cxrjax.runs.sweep import FAILED, Outcome


class Read(NamedTuple):
    """What a table needs of a finished run."""

    seeds: pd.DataFrame  # results.csv, by seed
    validated: dict[int, frozenset[str]]  # seed -> its validation images
    notes: list[str]  # what a reader must know, from summary.json


def read(folder: Path) -> Read:
    """Reads a finished run.

    Raises:
      InputError: if a file is missing or damaged.
    """
    seeds = tables.read_table(
        folder / "results.csv", ["seed", "n_train", "n_val", *registry.shown_in(registry.MAIN)]
    ).set_index("seed")
    images = tables.read_table(folder / "predictions.csv", ["seed", "image"])
    try:
        notes = json.loads((folder / "summary.json").read_text(encoding="utf-8"))["notes"]
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{folder / 'summary.json'} is damaged or missing: {error}") from error
    validated = {seed: frozenset(images.loc[images["seed"] == seed, "image"]) for seed in images["seed"].unique()}
    return Read(seeds, validated, list(notes))


def read_all(outcomes: Sequence[Outcome]) -> tuple[list[Outcome], dict[str, Read]]:
    """What the runs hold, by row; a damaged one is a failed row."""
    known, checked = {}, []
    for outcome in outcomes:
        try:
            if outcome.folder:
                known[outcome.row.name] = read(outcome.folder)
            checked.append(outcome)
        except InputError as error:
            checked.append(Outcome(outcome.row, None, FAILED, str(error)))
    return checked, known


def table(outcomes: Sequence[Outcome], base: str, pool: float | None = None) -> pd.DataFrame:
    """A row for each outcome.

    Columns: row, label, status, reason, note, folder, seeds, epochs, augment_bank, n_train and n_val (means over
    seeds); of each of `registry.MAIN` its mean, _sd, _low, _high (`resampled_t.over_runs`); of each of
    `registry.FLOORS` _difference, _difference_low, _difference_high and _difference_p (row minus base,
    `resampled_t.compare_runs`); pairs, how many seeds these rest on, and caution, what is to be said of them, or "".
    NaN is undefined.

    Args:
      outcomes: of the rows.
      base: name of the row that the others are compared with.
      pool: images from which each run's training images could come, a mean over runs, for the intervals; None: those
        that it was trained on.
    """
    outcomes, known = read_all(outcomes)
    rows = []
    for outcome in outcomes:
        row, config = outcome.row, outcome.row.config
        told: dict[str, Any] = {
            "row": row.name, "label": row.label, "status": outcome.status, "reason": outcome.reason, "note": row.note,
            "folder": str(outcome.folder or ""), "seeds": config.seeds, "epochs": config.epochs,
            "augment_bank": config.augment_bank, "caution": "",
        }  # fmt: skip
        if row.name in known:
            told |= _figures(known[row.name].seeds, pool)
            if row.name != base:
                told |= _difference(known.get(base), known[row.name], pool)
        rows.append(told)
    return pd.DataFrame(rows, columns=_columns())


def _columns() -> list[str]:
    spread = [f"{name}{end}" for name in registry.shown_in(registry.MAIN) for end in ("", "_sd", "_low", "_high")]
    differences = [
        f"{name}_difference{end}" for name in registry.shown_in(registry.FLOORS) for end in ("", "_low", "_high", "_p")
    ]
    return ["row", "label", "status", "reason", "note", "folder", "seeds", "epochs", "augment_bank", "n_train", "n_val",
            *spread, *differences, "pairs", "caution"]  # fmt: skip


def _figures(seeds: pd.DataFrame, pool: float | None) -> dict[str, Any]:
    n_train, n_val = float(seeds["n_train"].mean()), float(seeds["n_val"].mean())
    told: dict[str, Any] = {"seeds": len(seeds), "n_train": n_train, "n_val": n_val}
    for name in registry.shown_in(registry.MAIN):
        found = resampled_t.over_runs(seeds[name].to_numpy(float), pool or n_train, n_val)
        told |= {name: found.mean, f"{name}_sd": found.sd, f"{name}_low": found.low, f"{name}_high": found.high}
    return told


def _difference(base: Read | None, own: Read, pool: float | None) -> dict[str, Any]:
    """Over the seeds that both have. Where these validated other images (another split, fewer views), the interval is
    too wide: simulated (`tests/test_sample_size.py`), it held the true difference 99 times of 100."""
    if base is None:
        return {"caution": "the base is missing"}
    shared = own.seeds.index.intersection(base.seeds.index)
    same = all(own.validated.get(seed) == base.validated.get(seed) for seed in shared)
    told: dict[str, Any] = {"pairs": len(shared), "caution": "" if same else "the validation images differ"}
    here, there = own.seeds.loc[shared], base.seeds.loc[shared]
    n_train, n_val = (float((here[name] + there[name]).mean()) / 2 for name in ("n_train", "n_val"))
    for name in registry.shown_in(registry.FLOORS):
        found = resampled_t.compare_runs(
            there[name].to_numpy(float), here[name].to_numpy(float), pool or n_train, n_val
        )
        told |= {f"{name}_difference{end}": value for end, value in
                 (("", found.difference), ("_low", found.low), ("_high", found.high), ("_p", found.p))}  # fmt: skip
        told["caution"] = told["caution"] or words.reasons(found.reason, ENGLISH)
    return told


def csv(made: pd.DataFrame) -> str:
    """As a CSV file; what is undefined is empty."""
    return made.to_csv(index=False, float_format="%.7g", lineterminator="\n")


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; what the cells hold is escaped.

    >>> print(markdown(["a", "b"], [["1", "x|y"]]))
    | a | b |
    |---|---|
    | 1 | x\\|y |
    """
    told = ["| " + " | ".join(map(escape, line)) + " |" for line in (head, *rows)]
    return "\n".join([told[0], "|" + "---|" * len(head), *told[1:]])


def mean_sd(row: pd.Series, name: str) -> str:
    """`73.2 ± 3.2 %`; a dash where undefined."""
    return CARD.mean_sd(name, row[name], row[f"{name}_sd"])


def interval(row: pd.Series, name: str) -> str:
    """`70.1 to 76.3 %`; a dash where undefined."""
    return CARD.interval(name, row[f"{name}_low"], row[f"{name}_high"])


def difference(row: pd.Series, name: str) -> str:
    """`+1.3 points (-0.4 to +3.0)`; a dash where undefined."""
    return CARD.difference_and_interval(name, *(row[f"{name}_difference{end}"] for end in ("", "_low", "_high")))


def cautions(made: pd.DataFrame, name: str) -> list[str]:
    """`image, pa: the validation images differ`: a line for each caution; `name` is the column that names the rows."""
    rows = made[made["caution"] != ""]
    return [f"{', '.join(own[name])}: {caution}" for caution, own in rows.groupby("caution", sort=False)]
