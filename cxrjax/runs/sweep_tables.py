"""Finished runs -> a table with a row each, and each row's difference from one of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from cxrjax.analysis import tables
from cxrjax.base import InputError
from cxrjax.base.tasks import Task
from cxrjax.metrics import registry, resampled_t
from cxrjax.report.language import DASH, ENGLISH, note, reasons
from cxrjax.report.pages import escape
from cxrjax.report.rows import CARD
from cxrjax.runs.sweep import DONE, FAILED, Outcome


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
    return Read(seeds, validated, [note(text, ENGLISH)["text"] for text in notes])


def read_all(outcomes: Sequence[Outcome]) -> tuple[list[Outcome], dict[str, Read]]:
    """What the runs hold, by row; a damaged one is a failed row."""
    runs, checked = {}, []
    for outcome in outcomes:
        try:
            if outcome.folder:
                runs[outcome.row.name] = read(outcome.folder)
            checked.append(outcome)
        except InputError as error:
            checked.append(Outcome(outcome.row, None, FAILED, str(error)))
    return checked, runs


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
    return table_of(*read_all(outcomes), base, pool)


def table_of(
    outcomes: Sequence[Outcome], runs: Mapping[str, Read], base: str, pool: float | None = None
) -> pd.DataFrame:
    """See `table`, of runs that are read, by row."""
    rows = []
    for outcome in outcomes:
        row, config = outcome.row, outcome.row.config
        cells: dict[str, Any] = {
            "row": row.name, "label": row.label, "status": outcome.status, "reason": outcome.reason, "note": row.note,
            "folder": str(outcome.folder or ""), "seeds": config.seeds, "epochs": config.epochs,
            "augment_bank": config.augment_bank, "caution": "",
        }  # fmt: skip
        if row.name in runs:
            cells |= _figures(runs[row.name].seeds, pool)
            if row.name != base:
                cells |= _difference(runs.get(base), runs[row.name], pool)
        rows.append(cells)
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
    cells: dict[str, Any] = {"seeds": len(seeds), "n_train": n_train, "n_val": n_val}
    for name in registry.shown_in(registry.MAIN):
        spread = resampled_t.over_runs(seeds[name].to_numpy(float), pool or n_train, n_val)
        cells |= {name: spread.mean, f"{name}_sd": spread.sd, f"{name}_low": spread.low, f"{name}_high": spread.high}
    return cells


def _difference(base: Read | None, run: Read, pool: float | None) -> dict[str, Any]:
    """Over the seeds that both have. Where these validated other images (another split, fewer views), the interval is
    too wide: simulated (`tests/experiments/test_sample_size.py`), it held the true difference 99 times of 100."""
    if base is None:
        return {"caution": "the base is missing"}
    shared = run.seeds.index.intersection(base.seeds.index)
    same = all(run.validated.get(seed) == base.validated.get(seed) for seed in shared)
    cells: dict[str, Any] = {"pairs": len(shared), "caution": "" if same else "the validation images differ"}
    here, there = run.seeds.loc[shared], base.seeds.loc[shared]
    n_train, n_val = (float((here[name] + there[name]).mean()) / 2 for name in ("n_train", "n_val"))
    for name in registry.shown_in(registry.FLOORS):
        comparison = resampled_t.compare_runs(
            there[name].to_numpy(float), here[name].to_numpy(float), pool or n_train, n_val
        )
        cells |= {
            f"{name}_difference": comparison.difference,
            f"{name}_difference_low": comparison.low,
            f"{name}_difference_high": comparison.high,
            f"{name}_difference_p": comparison.p,
        }
        cells["caution"] = cells["caution"] or reasons(comparison.reason, ENGLISH)
    return cells


def csv(rows: pd.DataFrame) -> str:
    """As a CSV file; what is undefined is empty."""
    return rows.to_csv(index=False, float_format="%.7g", lineterminator="\n")


class Column(NamedTuple):
    """A column of the table as people read it."""

    head: str
    cell: Callable[[pd.Series], str]  # of a row that is done
    undone: Callable[[pd.Series], str] = lambda row: DASH  # of one that is not


def markdown(columns: Sequence[Column], rows: pd.DataFrame) -> str:
    """A Markdown table, a line for each row; what the cells hold is escaped."""
    cells = [
        [column.cell(row) if row["status"] == DONE else column.undone(row) for column in columns]
        for _, row in rows.iterrows()
    ]
    lines = ["| " + " | ".join(map(escape, line)) + " |" for line in ([column.head for column in columns], *cells)]
    return "\n".join([lines[0], "|" + "---|" * len(columns), *lines[1:]])


def document(title: str, columns: Sequence[Column], rows: pd.DataFrame, lines: Sequence[str]) -> str:
    """The table under its title, with lines of what must be known below it."""
    below = "\n".join(f"- {escape(line)}" for line in lines)
    return f"### {title}\n\n{markdown(columns, rows)}\n\n{below}\n"


def measured(metric: str) -> list[Column]:
    """Mean ± SD of a metric, and its interval."""
    return [
        Column(_HEADS[metric], lambda row: mean_sd(row, metric)),
        Column("95 % interval", lambda row: interval(row, metric)),
    ]


def compared(metric: str, base: str) -> Column:
    """Difference of a metric from the row `base`."""
    return Column(f"{_HEADS[metric]} − {base}", lambda row: difference(row, metric))


RUNS = Column("runs × epochs", lambda row: f"{row['seeds']} × {row['epochs']}")
_HEADS = {"accuracy": "accuracy", "auroc": "AUROC"}


def with_published(rows: pd.DataFrame, task: Task) -> pd.DataFrame:
    """The table with the task's published numbers, if there are any, as its first row."""
    published = task.published
    if published is None:
        return rows
    first = {
        "row": published.name, "label": "as published", "status": DONE, "reason": "", "note": "", "folder": "",
        "seeds": published.runs, "epochs": published.epochs, "augment_bank": 0, "caution": "",
        **{name: value / 100 for name, value in published.percent.items()},
    }  # fmt: skip
    table = pd.DataFrame([first], columns=rows.columns).astype(rows.dtypes)
    return pd.concat([table, rows], ignore_index=True)


def is_published(row: pd.Series) -> bool:
    """True of a row by `with_published`: no run of ours."""
    return bool(row["status"] == DONE and not row["folder"])


def done(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows that were run."""
    return rows[(rows["status"] == DONE) & (rows["folder"] != "")]


def runs_of(rows: pd.DataFrame) -> list[pd.DataFrame]:
    """results.csv, by seed, of each of some rows that are done."""
    return [read(Path(folder)).seeds for folder in rows["folder"]]


def notes_of(outcomes: Sequence[Outcome], row: str) -> list[str]:
    """What a reader must know of the data: the notes of a row's summary."""
    run = read_all(outcomes)[1].get(row)
    return run.notes if run else []


def mean_sd(row: pd.Series, name: str) -> str:
    """`73.2 ± 3.2 %`; a dash where undefined."""
    return CARD.mean_sd(name, row[name], row[f"{name}_sd"])


def interval(row: pd.Series, name: str) -> str:
    """`70.1 to 76.3 %`; a dash where undefined."""
    return CARD.interval(name, row[f"{name}_low"], row[f"{name}_high"])


def difference(row: pd.Series, name: str) -> str:
    """`+1.3 points (-0.4 to +3.0)`; a dash where undefined."""
    return CARD.difference_and_interval(name, *(row[f"{name}_difference{end}"] for end in ("", "_low", "_high")))


def cautions(table: pd.DataFrame, name: str) -> list[str]:
    """`image, pa: the validation images differ`: a line for each caution; `name` is the column that names the rows."""
    rows = table[table["caution"] != ""]
    return [f"{', '.join(group[name])}: {caution}" for caution, group in rows.groupby("caution", sort=False)]
