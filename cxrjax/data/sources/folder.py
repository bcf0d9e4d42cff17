"""A hospital's own images: class folders (`NORMAL/`, `PNEUMONIA/`), a CSV with columns path and label, or no labels."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pandas as pd

from cxrjax.base import InputError
from cxrjax.data import sources
from cxrjax.data.decode import SUFFIXES
from cxrjax.data.dicom import is_dicom
from cxrjax.data.sources import Bad, Source
from cxrjax.storage.store import COLUMNS, label_counts, no_boxes

NEEDED = ("path", "label")  # columns of a table of images
KNOWN = (*NEEDED, "patient", "view", "age", "sex", "followup", "split")
_NO_IMAGES = (".txt", ".csv", ".json", ".xml", ".html", ".md", ".pdf", ".xlsx", ".zip", ".gz", ".npy", ".db", ".ini")
CLASSES = {"NORMAL": "No Finding", "PNEUMONIA": "Pneumonia"}  # upper-case name of a class -> NIH label
SPLITS = {  # name of a folder, lower-case -> split
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}

# Kermany et al.: person123_bacteria_45.jpeg, IM-0620-0001-0001.jpeg, NORMAL2-IM-0620-0001.jpeg
_KERMANY = re.compile(r"^(person\d+)_|^((?:NORMAL2-)?IM-\d+)-")

log = logging.getLogger(__name__)


def class_folders(folder: Path, classes: dict[str, str]) -> list[tuple[Path, str, str]]:
    """Folders named after a class, below `folder` or one level of train, val and test: path, label, split."""
    labelled = list(_classes_in(folder, classes, ""))
    for sub in _folders(folder):
        if sub.name.lower() in SPLITS:
            labelled += _classes_in(sub, classes, SPLITS[sub.name.lower()])
    return labelled


def _classes_in(folder: Path, classes: dict[str, str], split: str) -> Iterator[tuple[Path, str, str]]:
    return ((sub, classes[sub.name.upper()], split) for sub in _folders(folder) if sub.name.upper() in classes)


def _folders(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.iterdir()) if path.is_dir() and not path.name.startswith(".")]


def images_under(folder: Path) -> tuple[list[Path], list[Bad]]:
    """Image files anywhere below, sorted, links followed: by suffix, else DICOM by content.

    Hidden ones and DICOMDIR are left out; folders that cannot be read come as faults.
    """
    paths: list[Path] = []
    faults: list[Bad] = []
    visited: set[str] = set()

    def refuse(error: OSError) -> None:
        place = str(error.filename)
        faults.append(Bad(place, place, f"folder cannot be read: {error.strerror}"))

    for root, folders, names in os.walk(folder, onerror=refuse, followlinks=True):
        visited.add(os.path.realpath(root))
        folders[:] = [name for name in folders if _is_new_folder(Path(root, name), visited)]
        paths += [Path(root, name) for name in names if not name.startswith(".") and _is_image(Path(root, name))]
    return sorted(paths), faults


def _is_new_folder(path: Path, visited: set[str]) -> bool:
    return not path.name.startswith((".", "__MACOSX")) and os.path.realpath(path) not in visited


def _is_image(path: Path) -> bool:
    if path.suffix.lower() in SUFFIXES:
        return True
    if path.suffix.lower() in _NO_IMAGES or path.name.upper() == "DICOMDIR" or not path.is_file():
        return False
    try:
        with path.open("rb") as file:  # a PACS names DICOM files by numbers and dots
            return is_dicom(file.read(132))
    except OSError:
        return False


def name_of(path: Path, root: Path) -> str:
    """An image's name in the table: its place below the source."""
    return sources.printable(path.relative_to(root).as_posix())


def patient_of(image: str, pattern: re.Pattern[str] | None = None) -> tuple[str, str]:
    """Patient of an image by its name: what the user's pattern tells (or ""), and what else the name tells.

    Args:
      image: its place below the source.
      pattern: searched in the file's name, then in the whole of `image`; its group `patient`, or else its first group,
        or else what it matches.

    The second is, with the folder before it since Kermany numbers the patients of each class from 1, `personN` or
    `IM-N`; for any other name the image is a patient of its own.

    >>> patient_of("NORMAL/person12_virus_46.jpeg"), patient_of("A/1.png")
    (('', 'NORMAL/person12'), ('', 'A/1'))
    >>> patient_of("A/p7/1.png", re.compile("p([0-9]+)/"))
    ('7', 'A/p7/1')
    """
    path = PurePosixPath(image)
    stem = image[: -len(path.suffix)] if path.suffix.lower() in SUFFIXES else image
    kermany = _KERMANY.search(path.name)
    by_name = f"{path.parent.name}/{kermany[1] or kermany[2]}" if kermany else stem
    match = pattern and (pattern.search(path.name) or pattern.search(image))
    if not match:
        return "", by_name
    if "patient" in match.re.groupindex:
        return match["patient"] or "", by_name
    return next((group for group in match.groups() if group), match.group()), by_name


def label_of(text: str, classes: dict[str, str]) -> str:
    """NIH label of a class name, whatever its case; a name that is no class stays as it is.

    >>> label_of("Normal", CLASSES), label_of("Effusion|Pneumonia", CLASSES)
    ('No Finding', 'Effusion|Pneumonia')
    """
    return classes.get(text.strip().upper(), text.strip())


def scan_images(folder: Path, classes: dict[str, str], pattern: re.Pattern[str] | None = None) -> Source:
    """Class folders where there are some, else every image below, unlabelled. View, age and sex come from DICOM.

    Args:
      folder: the source, or one image file.
      classes: upper-case folder name -> NIH label.
      pattern: see `patient_of`.

    Raises:
      InputError: if no image is there.
    """
    root = folder if folder.is_dir() else folder.parent
    labelled = class_folders(folder, classes) if folder.is_dir() else []
    rows, files, patients, problems = [], [], [], []
    for sub, label, split in labelled or [(folder, "", "")]:
        paths, faults = images_under(sub) if sub.is_dir() else ([sub], [])
        problems += faults
        for path in paths:
            name = name_of(path, root)
            by_pattern, by_name = patient_of(name, pattern)  # the user's pattern is above a DICOM header
            rows.append((name, by_pattern, label, "", None, "", 0, split))
            files.append(sources.stat_file(name, path))
            patients.append(by_name)
    _log_ignored(labelled)
    if not rows:
        where = " or ".join(sub.name for sub, _, _ in labelled)
        raise InputError(f"{folder} holds no image (PNG, JPEG, TIFF, BMP, DICOM){f' in {where}' if where else ''}")
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    kind = "class folders" if labelled else "images without labels"
    return Source(folder, kind, table, patients, files, [], problems, label_counts(table), no_boxes())


def _log_ignored(labelled: list[tuple[Path, str, str]]) -> None:
    """Logs folders beside the class folders whose names are no class."""
    classes = {sub for sub, _, _ in labelled}
    for parent in {sub.parent for sub in classes}:
        others = [p.name for p in _folders(parent) if p not in classes and p.name.lower() not in SPLITS]
        if others:
            log.warning("%s: folders that are no class are not read: %s", parent, ", ".join(others))


def find_table(folder: Path, columns: dict[str, str], required: bool) -> Path | None:
    """The folder's CSV file with the needed columns; None if it holds no CSV.

    Args:
      folder: to look in.
      columns: see `scan_table`.
      required: refuse CSV files of which none or several have them, as labels that are overlooked are not missed.

    Raises:
      InputError: see `required`.
    """
    paths = sorted(folder.glob("*.csv"))
    if not required:
        fitting = [path for path in paths if _fits(path, columns)]
        return fitting[0] if len(fitting) == 1 else None
    fitting = [path for path in paths if not _missing(sources.read_csv(path, 0), columns)]
    if len(fitting) > 1:
        raise InputError(f"{folder} holds {', '.join(path.name for path in fitting)}; give one of them as the source")
    if paths and not fitting:
        problem = _lacks(paths[0], sources.read_csv(paths[0], 0), columns)
        raise InputError(f"{problem} (prepare's --columns tells other names)")
    return fitting[0] if fitting else None


def _fits(path: Path, columns: dict[str, str]) -> bool:
    try:
        return not _missing(sources.read_csv(path, 0), columns)
    except InputError:
        return False


def _spelled(table: pd.DataFrame, columns: dict[str, str]) -> dict[str, str]:
    """Our name -> the table's, which may differ in case."""
    present = {str(name).strip().lower(): str(name) for name in table.columns}
    wanted = {name: columns.get(name, name).strip().lower() for name in KNOWN}
    return {name: present[spelling] for name, spelling in wanted.items() if spelling in present}


def _missing(table: pd.DataFrame, columns: dict[str, str]) -> list[str]:
    spelled = _spelled(table, columns)
    return [columns.get(name, name) for name in (*NEEDED, *columns) if name not in spelled]


def _lacks(path: Path, table: pd.DataFrame, columns: dict[str, str]) -> str:
    missing = ", ".join(_missing(table, columns))
    return f"{path} lacks the column(s) {missing}; it has {', '.join(map(str, table.columns))}"


def scan_table(
    path: Path, classes: dict[str, str], columns: dict[str, str], pattern: re.Pattern[str] | None = None
) -> Source:
    """Reads a table of images; paths are relative to its folder.

    Args:
      path: of the CSV file.
      classes: upper-case label -> NIH label; others are kept as written (`Effusion|Pneumonia`).
      columns: our name -> the file's, where they differ.
      pattern: see `patient_of`, for rows without a patient.

    Raises:
      InputError: if it is no table, lacks a column or holds no row.
    """
    raw = sources.read_csv(path)
    if _missing(raw, columns):
        raise InputError(_lacks(path, raw, columns))
    if not len(raw):
        raise InputError(f"{path} holds no row")
    cells = {ours: raw[theirs].str.strip() for ours, theirs in _spelled(raw, columns).items()}
    by_pattern = cells["path"].map(lambda name: patient_of(name, pattern)[0])
    table, problems = sources.drop_duplicate_rows(_table(cells, classes, by_pattern), path)
    files = [sources.stat_file(name, path.parent / name) for name in table["image"]]
    patients = [patient_of(name)[1] for name in table["image"]]
    return Source(path, "table", table, patients, files, [], problems, label_counts(table), no_boxes())


def _table(cells: dict[str, pd.Series], classes: dict[str, str], by_pattern: pd.Series) -> pd.DataFrame:
    """The rows of `store.COLUMNS` from the cells of each known column that is there."""
    nothing = pd.Series("", cells["path"].index)
    patient = cells.get("patient", nothing)
    table = pd.DataFrame(
        {
            "image": cells["path"],
            "patient": patient.where(patient != "", by_pattern),
            "labels": cells["label"].map(lambda text: label_of(text, classes)),
            "view": cells.get("view", nothing).str.upper(),
            "age": sources.years(cells.get("age", nothing)),
            "sex": cells.get("sex", nothing).str.upper().str[:1],
            "followup": sources.numbers(cells.get("followup", nothing)),
            "split": cells.get("split", nothing).str.lower(),
        }
    )
    return table[list(COLUMNS)]
