"""A table of images: a CSV with columns path and label and, where known, patient, view, age, sex."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

from cxrjax.base.types import InputError
from cxrjax.data.sources.base import Bad, Source, label_of, look, numbers, patient_of, years
from cxrjax.storage.store import COLUMNS, label_counts, no_boxes

NEEDED = ("path", "label")
KNOWN = (*NEEDED, "patient", "view", "age", "sex", "followup", "split")


def find_table(folder: Path, columns: dict[str, str], required: bool) -> Path | None:
    """The folder's CSV file with the needed columns; None if it holds no CSV.

    Args:
      folder: to look in.
      columns: see `scan`.
      required: refuse CSV files of which none or several have them, as labels that are overlooked are not missed.

    Raises:
      InputError: see `required`.
    """
    found = sorted(folder.glob("*.csv"))
    if not required:
        fitting = [path for path in found if _fits(path, columns)]
        return fitting[0] if len(fitting) == 1 else None
    fitting = [path for path in found if not _missing(_read(path, 0), columns)]
    if len(fitting) > 1:
        raise InputError(f"{folder} holds {', '.join(path.name for path in fitting)}; give one of them as the source")
    if found and not fitting:
        table = _read(found[0], 0)
        raise InputError(
            f"{found[0]} lacks the column(s) {', '.join(_missing(table, columns))}; it has "
            f"{', '.join(map(str, table.columns))} (prepare's --columns tells other names)"
        )
    return fitting[0] if fitting else None


def _fits(path: Path, columns: dict[str, str]) -> bool:
    try:
        return not _missing(_read(path, 0), columns)
    except InputError:
        return False


def _read(path: Path, rows: int | None = None) -> pd.DataFrame:
    try:
        return pd.read_csv(path, dtype=str, keep_default_na=False, index_col=False, nrows=rows, encoding="utf-8-sig")
    except (ValueError, OSError) as error:
        raise InputError(f"{path} cannot be read as a table: {error}") from error


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
      pattern: see `base.patient_of`, for rows without a patient.

    Raises:
      InputError: if it is no table, lacks a column or holds no row.
    """
    raw = _read(path)
    missing = _missing(raw, columns)
    if missing:
        raise InputError(f"{path} lacks the column(s) {', '.join(missing)}; it has {', '.join(map(str, raw.columns))}")
    given = {ours: raw[theirs].str.strip() for ours, theirs in _spelled(raw, columns).items()}
    if not len(raw):
        raise InputError(f"{path} holds no row")
    patients = [patient_of(name, pattern) for name in given["path"]]
    table = _table(given, classes, pd.Series([told for told, _ in patients], given["path"].index, dtype=str))
    problems = [
        Bad(name, str(path), "duplicate name: the table's first row of it is used", False)
        for name in table["image"][table["image"].duplicated()]
    ]
    table = table.drop_duplicates("image").reset_index(drop=True)
    files = [look(name, path.parent / name) for name in table["image"]]
    own = [patient_of(name)[1] for name in table["image"]]
    return Source(path, "table", table, own, files, [], problems, label_counts(table), no_boxes())


def _table(given: dict[str, pd.Series], classes: dict[str, str], by_pattern: pd.Series) -> pd.DataFrame:
    nothing = pd.Series("", given["path"].index)
    patient = given.get("patient", nothing)
    table = pd.DataFrame(
        {
            "image": given["path"],
            "patient": patient.where(patient != "", by_pattern),
            "labels": given["label"].map(lambda text: label_of(text, classes)),
            "view": given.get("view", nothing).str.upper(),
            "age": years(given.get("age", nothing)),
            "sex": given.get("sex", nothing).str.upper().str[:1],
            "followup": numbers(given.get("followup", nothing)),
            "split": given.get("split", nothing).str.lower(),
        }
    )
    return table[list(COLUMNS)]
