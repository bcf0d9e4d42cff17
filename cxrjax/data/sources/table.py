"""A table of images: a column with their paths, and their labels as text or as one column a finding."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Mapping
from pathlib import Path

import pandas as pd

from cxrjax.base import InputError
from cxrjax.data import labels, sources
from cxrjax.data.labels import Reading, Spelling
from cxrjax.data.phrases import Vocabulary
from cxrjax.data.sources import Bad, Source, delimited
from cxrjax.data.sources.folder import SPLITS
from cxrjax.data.sources.paths import find_files, tidy, told_unlisted
from cxrjax.data.vocabulary import fold
from cxrjax.storage.store import COLUMNS, label_counts, no_boxes

# Our name of a column -> the names that tables give it; case, blanks, signs, accents and plurals are free.
NAMES = {
    "path": ("path", "file", "filename", "filepath", "image", "imagepath", "imagefile", "imagename", "imageindex",
             "imagefilename", "imageid", "img", "imgpath", "relativepath", "dicompath", "dicomfile", "ruta", "archivo",
             "imagen"),
    "label": ("label", "finding", "findinglabel", "diagnosis", "diagnoses", "class", "classname", "target", "disease",
              "pathology", "dx", "condition", "category", "etiqueta", "diagnostico", "hallazgo"),
    "patient": ("patient", "patientid", "patientnumber", "patientno", "subject", "subjectid", "pid", "paciente"),
    "view": ("view", "viewposition", "projection", "position", "appa", "paap", "proyeccion"),
    "lateral": ("frontallateral",),  # where CheXpert says it, which leaves AP/PA blank then
    "age": ("age", "patientage", "ageyears", "ageinyears", "patientageyears", "edad"),
    "sex": ("sex", "gender", "patientsex", "patientgender", "sexo"),
    "followup": ("followup", "followupnumber", "followupno"),
    "split": ("split", "subset", "partition"),
}  # fmt: skip
KNOWN = tuple(NAMES)
_CONTRADICTS = "listed as"
_TOLD_ONCE = {name: name for name in ("patient", "view", "age", "sex", "split")} | {"labels": "label"}
_SETTLES = "(--columns={}=NAME says which)"


class AmbiguousColumns(InputError):
    """Two columns of a table may be meant."""


def find_columns(path: Path, header: list[str], columns: Mapping[str, str]) -> dict[str, str]:
    """Our name of each column that the table has -> the table's.

    Args:
      path: of the table, for messages.
      header: names of its columns.
      columns: our name -> the table's, as the user says; such a column is none of the others.

    Raises:
      AmbiguousColumns: if two columns may be meant.
      InputError: if one that the user names is missing.
    """
    by_name = {name.casefold(): name for name in header if name}
    lacking = sorted(theirs for theirs in columns.values() if theirs.casefold() not in by_name)
    if lacking:
        raise InputError(f"{path} lacks the column(s) {', '.join(lacking)}; it has {', '.join(filter(None, header))}")
    chosen = {ours: by_name[theirs.casefold()] for ours, theirs in columns.items()}
    for ours, known in NAMES.items():
        spellings = {fold(name) for name in known}
        candidates = [name for name in header if fold(name).replace(" ", "") in spellings]
        candidates = [name for name in candidates if name not in chosen.values()]
        if ours in chosen or not candidates:
            continue
        if len(candidates) > 1:
            names = " and ".join(map(repr, candidates))
            raise AmbiguousColumns(
                f"{path} has several columns that may be the {ours}: {names} {_SETTLES.format(ours)}"
            )
        chosen[ours] = candidates[0]
    return chosen


def label_columns(path: Path, table: pd.DataFrame, chosen: Mapping[str, str], vocabulary: Vocabulary) -> dict[str, str]:
    """0/1 columns and their findings ("" of alternatives), where the labels are in such; {} where they are text.

    Raises:
      InputError: if there are no labels.
    """
    if "label" in chosen:
        finding = vocabulary.finding(chosen["label"])
        rest = labels.unexplained(table[chosen["label"]], vocabulary)
        return {chosen["label"]: finding} if finding and (rest.empty or labels.is_binary(rest)) else {}
    binary = labels.binary_columns(table.drop(columns=list(chosen.values())), vocabulary, path.name)
    if not binary:
        raise InputError(f"{path} lacks the column(s) label; it has {', '.join(filter(None, table.columns))}; "
                         "--columns=label=NAME says which it is")  # fmt: skip
    return binary


def choose(
    folder: Path, columns: Mapping[str, str], vocabulary: Vocabulary, classes: list[str]
) -> tuple[Path | None, str, list[Bad]]:
    """The folder's table of images, None if its class folders or nothing tells labels; what is to be said of it, and of
    each table beside it.

    Args:
      folder: to look in.
      columns: see `find_columns`; where the user names columns, there must be a table.
      vocabulary: how labels are read.
      classes: names of its class folders.

    Raises:
      InputError: if several tables fit, or none of those that are there and no class folder: labels that are
        overlooked would not be missed; or one would fit but for a row of it.
    """
    files = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    tables = [path for path in files if delimited.is_table(path)]
    unread = [path.name for path in files if path.name.lower().endswith(delimited.OTHER_SUFFIXES)]
    problems = {path: _why_unfit(path, columns, vocabulary) for path in tables}
    fitting = [path for path, problem in problems.items() if not problem]
    others = f"class folders {', '.join(classes[:4])}{', ...' if len(classes) > 4 else ''}"
    problems |= {folder / name: "a table in a format that is not read: save it as CSV" for name in unread}
    if len(fitting) == 1:
        unfit = ((path, problem) for path, problem in problems.items() if problem)
        beside = [Bad(path.name, str(path), f"not used: {problem}", passed_over=True) for path, problem in unfit]
        unused = "; ".join([f"the {others}"] * bool(classes) + [f"{bad.image} ({bad.reason})" for bad in beside])
        return fitting[0], f"the table {fitting[0].name} is used, not {unused}" if unused else "", beside
    names = " and ".join(path.name for path in fitting or tables)
    if classes and not columns:
        unused = ", ".join(f"{path.name} ({why})" if why else path.name for path, why in problems.items())
        return None, f"the {others} are used, not {unused}" if unused else "", []
    if fitting:
        raise InputError(f"{folder} holds several tables of images: {names}; give one of them as the source")
    if tables:
        raise InputError(problems[tables[0]])
    if unread:
        raise InputError(f"{folder} holds {', '.join(unread)}, which is not read: save it as CSV, or move it elsewhere")
    return None, "", []


def _why_unfit(path: Path, columns: Mapping[str, str], vocabulary: Vocabulary) -> str:
    """Why a file is no table of images; "" if it is one, though two of its columns may be meant. Raises RaggedRow of
    one that fits but for a row."""
    try:
        raw = delimited.read(path)
        chosen = find_columns(path, list(raw.columns), columns)
        require_path(path, raw, chosen)
        label_columns(path, raw, chosen, vocabulary)
    except AmbiguousColumns:
        return ""
    except delimited.RaggedRow as error:
        fits = False
        with contextlib.suppress(InputError):
            fits = "path" in find_columns(path, error.header, columns)
        if fits:
            raise
        return str(error)
    except InputError as error:
        return str(error)
    return ""


def require_path(path: Path, raw: pd.DataFrame, chosen: Mapping[str, str]) -> None:
    """Refuses a table without a column of paths."""
    if "path" not in chosen:
        has = ", ".join(filter(None, raw.columns))
        raise InputError(f"{path} lacks the column(s) path; it has {has} {_SETTLES.format('path')}")


def scan(path: Path, vocabulary: Vocabulary, columns: Mapping[str, str]) -> Source:
    """Reads a table of images; paths are relative to its folder.

    Args:
      path: of the table.
      vocabulary: how labels are read.
      columns: our name -> the file's, where they differ.

    Raises:
      InputError: if it is no table, lacks a column, holds no row, or a label is not understood.
    """
    raw = delimited.read(path)
    chosen = find_columns(path, list(raw.columns), columns)
    require_path(path, raw, chosen)
    binary = label_columns(path, raw, chosen, vocabulary)
    has_path = ~raw[chosen["path"]].map(Vocabulary.is_missing)
    rows = raw[has_path].reset_index(drop=True)
    if not len(rows):
        raise InputError(f"{path} holds no row")
    reading = read_labels(path, rows, chosen, binary, vocabulary)
    names, places, moved = _find_images(path, rows[chosen["path"]])
    each = _table(reading, {ours: rows[theirs] for ours, theirs in chosen.items()} | {"path": names})
    table, problems = unite_rows(each, path)
    files = [sources.stat_file(name, places[name]) for name in table["image"]]
    present = {file.name for file in files if file.stamp != "missing"}
    pathless = f"{(~has_path).sum()} rows without a path passed over" if not has_path.all() else ""
    unlisted = told_unlisted([file.path for file in files])
    notes = (told_columns(path, raw, chosen, binary), pathless, moved, told_contradictions(problems), unlisted)
    return Source(
        path, "table", table, files, [], problems, label_counts(table), no_boxes(),
        count_spellings(reading, each, table, present), tuple(note for note in notes if note),
    )  # fmt: skip


def _find_images(path: Path, written: pd.Series) -> tuple[pd.Series, dict[str, Path], str]:
    """Each row's image, one name for one file; the file of each; and what `find_files` says."""
    tidied = written.map(tidy)
    spellings = list(dict.fromkeys(tidied))
    paths, moved = find_files(path.parent, spellings)
    first: dict[str, str] = {}
    files = [os.path.realpath(str(path).replace("\0", "\ufffd")) for path in paths]  # links may lead to one file
    names = {spelling: first.setdefault(file, spelling) for spelling, file in zip(spellings, files, strict=True)}
    of_spelling = dict(zip(spellings, paths, strict=True))
    return tidied.map(names), {name: of_spelling[name] for name in first.values()}, moved


def read_labels(
    path: Path, raw: pd.DataFrame, chosen: Mapping[str, str], binary: Mapping[str, str], vocabulary: Vocabulary
) -> Reading:
    """Labels of the rows, from 0/1 columns or text."""
    alternatives = None if any(binary.values()) else labels.one_hot(raw[list(binary)], ())
    if alternatives is not None:
        return labels.read(alternatives, vocabulary, path.name)
    if binary:
        return labels.read_columns({name: raw[name] for name in binary}, binary, vocabulary, path.name)
    return labels.read(raw[chosen["label"]], vocabulary, path.name)


def _table(reading: Reading, cells: Mapping[str, pd.Series]) -> pd.DataFrame:
    """The rows of `store.COLUMNS` from the cells of each known column that is there."""
    nothing = pd.Series("", cells["path"].index, dtype=str)
    view = cells.get("view", nothing)
    table = pd.DataFrame(
        {
            "image": cells["path"],
            "patient": cells.get("patient", nothing),
            "labels": reading.labels,
            "view": view.where(view != "", cells.get("lateral", nothing)),
            "age": cells.get("age", nothing),
            "sex": cells.get("sex", nothing),
            "followup": sources.numbers(cells.get("followup", nothing)),
            "split": cells.get("split", nothing).map(lambda text: SPLITS.get(fold(text), text.lower())),
        }
    )
    return table[list(COLUMNS)]


def unite_rows(table: pd.DataFrame, path: Path) -> tuple[pd.DataFrame, list[Bad]]:
    """The first row of each image of the table read from `path`, and what is to be said of the others.

    What another row of an image tells and the first does not is taken; what the rows of an image tell differently is
    unknown: its label, patient, view, age, sex or split.
    """
    duplicated = table["image"].duplicated()
    if not duplicated.any():
        return table.reset_index(drop=True), []
    problems = []
    first = table[~duplicated].set_index("image", drop=False)
    repeated = table[table["image"].isin(table["image"][duplicated])]
    for name, rows in repeated.groupby("image", sort=False):
        reasons = []
        for column, what in ((name, what) for name, what in _TOLD_ONCE.items() if name in table):
            different = [value for value in rows[column].unique() if value != "" and pd.notna(value)]
            if rows[column].nunique(dropna=False) > 1:
                first.loc[name, column] = different[0] if len(different) == 1 else ""
            if len(different) > 1:
                reasons.append(f"{_CONTRADICTS} {' and as '.join(map(repr, different))}: its {what} is unknown")
        reason = "; ".join(reasons) or "duplicate name: the table's first row of it is used"
        problems.append(Bad(str(name), str(path), reason, left_out=False))
    return first.reset_index(drop=True), problems


def told_contradictions(problems: list[Bad]) -> str:
    """How many images are listed with several labels, patients and so on; "" of none."""
    counts = {
        what: sum(f"its {what} is unknown" in problem.reason for problem in problems) for what in _TOLD_ONCE.values()
    }
    told = ", ".join(f"{images} images are listed with several {what}s" for what, images in counts.items() if images)
    return f"{told}, which are unknown (bad_images.csv)" if told else ""


def count_spellings(
    reading: Reading, rows: pd.DataFrame, table: pd.DataFrame, present: Collection[str]
) -> tuple[Spelling, ...]:
    """What the labels of images that are there were read as, each image once.

    Args:
      reading: of the rows.
      rows: of the table as it was read.
      table: of `unite_rows`.
      present: names of images that are there.
    """
    labels_of = dict(zip(table["image"].tolist(), table["labels"].tolist(), strict=True))
    is_used = rows["image"].isin(present) & (rows["labels"] == rows["image"].map(labels_of))
    return reading.spellings((is_used & ~rows["image"].where(is_used).duplicated()).to_numpy(bool))


def told_columns(path: Path, raw: pd.DataFrame, chosen: Mapping[str, str], binary: Mapping[str, str]) -> str:
    """Which columns were read as what, and which were not."""
    read = [f"{ours} from {theirs!r}" for ours, theirs in chosen.items() if theirs not in binary]
    which = "labels from the 0/1 column(s)" if any(binary.values()) else "labels: which is 1:"
    read += [f"{which} {', '.join(map(repr, binary))}"] if binary else []
    others = [name for name in raw.columns if name and name not in {*chosen.values(), *binary}]
    return f"{path.name}: {', '.join(read)}" + (f"; not read: {', '.join(others)}" if others else "")
