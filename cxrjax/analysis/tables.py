"""A run's tables as CSV files in its folder, and back."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from cxrjax.analysis.schema import Analysis, RunTables
from cxrjax.base import files
from cxrjax.base.types import InputError

_TABLES = {  # of RunTables -> file; `seeds` is in results.csv, with the figures of Analysis.seeds
    "history": "history",
    "predictions": "predictions",
    "training": "training_predictions",
    "images": "images",
    "flow": "flow",
    "external": "external_predictions",
}
_FIGURES = {  # of Analysis -> file
    "seeds": "results",
    "external_seeds": "external",
    "figures": "figures",
    "floors": "floors",
    "leakage": "leakage",
    "subgroups": "subgroups",
    "operating": "operating",
    "calibration": "calibration",
    "errors": "errors",
}
_SEEDS = [
    "seed", "n_train", "n_val", "positives_train", "positives_val", "loss", "train_accuracy", "best_epoch",
    "best_epoch_accuracy", "contaminated_share", "params_sha256",
]  # fmt: skip
_TEXT = {
    "image", "patient", "labels", "view", "sex", "split", "stage", "params_sha256",
    "data", "rule", "figure", "undefined", "floor", "note", "variable", "group", "kind", "reason",
}  # fmt: skip


def write(folder: Path, tables: RunTables, analysis: Analysis) -> None:
    """Writes every table as a CSV file, seven digits a number; one that is None has no file."""
    named = {file: getattr(tables, name) for name, file in _TABLES.items()}
    named |= {file: getattr(analysis, name) for name, file in _FIGURES.items()}
    for file, table in named.items():
        if table is not None:
            files.write_text(folder / f"{file}.csv", table.to_csv(index=False, float_format="%.7g"))


def read(folder: Path) -> RunTables:
    """The tables of a finished run, as `write` left them.

    Raises:
      InputError: a file or a column is missing, as in a run of another version, or a file is damaged.
    """
    found = {name: read_table(folder / f"{file}.csv") for name, file in _TABLES.items() if name != "external"}
    external = folder / f"{_TABLES['external']}.csv"
    seeds = read_table(folder / f"{_FIGURES['seeds']}.csv", _SEEDS)[_SEEDS]
    return RunTables(seeds=seeds, **found, external=read_table(external) if external.is_file() else None)


def read_table(path: Path, columns: list[str] | None = None) -> pd.DataFrame:
    """Any table of a run. Text stays as written ("00012", "", "NA"), an empty number is NaN.

    Args:
      path: of the CSV file.
      columns: that it must have.

    Raises:
      InputError: it is missing, damaged, or lacks a column.
    """
    try:
        names = pd.read_csv(path, nrows=0).columns
        numbers = [name for name in names if name not in _TEXT]
        table = pd.read_csv(
            path,
            dtype={name: str for name in names if name in _TEXT},
            keep_default_na=False,
            na_values={name: [""] for name in numbers},
        )
    except FileNotFoundError as error:
        raise InputError(f"{path} is missing: the run is not whole, or of another version") from error
    except (ValueError, OSError) as error:
        raise InputError(f"{path} cannot be read as a table of a run: {error}") from error
    if missing := [name for name in columns or [] if name not in names]:
        raise InputError(f"{path} lacks the column(s) {', '.join(missing)}")
    return table
