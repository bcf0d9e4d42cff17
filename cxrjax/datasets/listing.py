"""A table of images: a CSV with columns path and label and, where known, patient, view, age, sex."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

from cxrjax.datasets.folder import patient_of
from cxrjax.datasets.source import Bad, Source, label_of, look, no_boxes, years
from cxrjax.store import COLUMNS, label_counts
from cxrjax.types import InputError

NEEDED = ("path", "label")
KNOWN = (*NEEDED, "patient", "view", "age", "sex", "followup", "split")


def find_table(folder: Path, columns: dict[str, str]) -> Path | None:
    """The folder's CSV file with the needed columns; None if there is none or more than one."""
    found = [path for path in sorted(folder.glob("*.csv")) if _has_columns(path, columns)]
    return found[0] if len(found) == 1 else None


def _has_columns(path: Path, columns: dict[str, str]) -> bool:
    try:
        header = pd.read_csv(path, dtype=str, nrows=0)
    except (ValueError, OSError):
        return False
    return not _missing(header, columns)


def _spelled(table: pd.DataFrame, columns: dict[str, str]) -> dict[str, str]:
    """Our name -> the table's, which may differ in case."""
    present = {str(name).strip().lower(): str(name) for name in table.columns}
    wanted = {name: columns.get(name, name).strip().lower() for name in KNOWN}
    return {name: present[spelling] for name, spelling in wanted.items() if spelling in present}


def _missing(table: pd.DataFrame, columns: dict[str, str]) -> list[str]:
    spelled = _spelled(table, columns)
    return [columns.get(name, name) for name in (*NEEDED, *columns) if name not in spelled]


def scan(
    path: Path, classes: dict[str, str], columns: dict[str, str], pattern: re.Pattern[str] | None = None
) -> Source:
    """Reads the table; paths are relative to its folder.

    Args:
      path: of the CSV file.
      classes: upper-case label -> NIH label; others are kept as written (`Effusion|Pneumonia`).
      columns: our name -> the file's, where they differ.
      pattern: see `folder.patient_of`, for rows without a patient.

    Raises:
      InputError: if it is no table, lacks a column or holds no row.
    """
    try:
        raw = pd.read_csv(path, dtype=str, keep_default_na=False, index_col=False)
    except (ValueError, OSError) as error:
        raise InputError(f"{path} cannot be read as a table: {error}") from error
    missing = _missing(raw, columns)
    if missing:
        raise InputError(f"{path} lacks the column(s) {', '.join(missing)}; it has {', '.join(map(str, raw.columns))}")
    raw = raw.rename(columns={theirs: ours for ours, theirs in _spelled(raw, columns).items()})
    given = {name: raw[name].str.strip() for name in KNOWN if name in raw.columns}
    if not len(raw):
        raise InputError(f"{path} holds no row")
    table = _table(given, classes)
    problems = [
        Bad(name, str(path), "duplicate name: the table's first row of it is used", False)
        for name in table["image"][table["image"].duplicated()]
    ]
    table = table.drop_duplicates("image").reset_index(drop=True)
    files = [look(name, path.parent / name) for name in table["image"]]
    patients = [patient_of(Path(name).name, pattern) for name in table["image"]]
    return Source(path, "table", table, patients, files, [], problems, label_counts(table), no_boxes())


def _table(given: dict[str, pd.Series], classes: dict[str, str]) -> pd.DataFrame:
    nothing = pd.Series("", given["path"].index)
    table = pd.DataFrame(
        {
            "image": given["path"],
            "patient": given.get("patient", nothing),
            "labels": given["label"].map(lambda text: label_of(text, classes)),
            "view": given.get("view", nothing).str.upper(),
            "age": years(given.get("age", nothing)),
            "sex": given.get("sex", nothing).str.upper().str[:1],
            "followup": pd.to_numeric(given.get("followup", nothing), errors="coerce").fillna(0).astype(int),
            "split": given.get("split", nothing).str.lower(),
        }
    )
    return table[list(COLUMNS)]
