"""A hospital's folder: class folders (`NORMAL/`, `PNEUMONIA/`), or images without any label; PNG, JPEG, DICOM, ..."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from cxrjax.base.types import InputError
from cxrjax.data.sources.base import Source, images_under, look, name_of, patient_of
from cxrjax.storage.store import COLUMNS, label_counts, no_boxes

SPLITS = {
    "train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test",
    "testing": "test",
}  # fmt: skip

log = logging.getLogger(__name__)


def class_folders(folder: Path, classes: dict[str, str]) -> list[tuple[Path, str, str]]:
    """Folders named after a class, below `folder` or one level of train, val and test: path, label, split."""
    found = list(_classes_in(folder, classes, ""))
    for sub in _folders(folder):
        if sub.name.lower() in SPLITS:
            found += _classes_in(sub, classes, SPLITS[sub.name.lower()])
    return found


def _classes_in(folder: Path, classes: dict[str, str], split: str) -> Iterator[tuple[Path, str, str]]:
    return ((sub, classes[sub.name.upper()], split) for sub in _folders(folder) if sub.name.upper() in classes)


def _folders(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.iterdir()) if path.is_dir() and not path.name.startswith(".")]


def scan(folder: Path, classes: dict[str, str], pattern: re.Pattern[str] | None = None) -> Source:
    """Class folders where there are some, else every image below, unlabelled. View, age and sex come from DICOM.

    Args:
      folder: the source, or one image file.
      classes: upper-case folder name -> NIH label.
      pattern: see `base.patient_of`.

    Raises:
      InputError: if no image is there.
    """
    root = folder if folder.is_dir() else folder.parent
    labelled = class_folders(folder, classes) if folder.is_dir() else []
    rows, paths, patients, problems = [], [], [], []
    for sub, label, split in labelled or [(folder, "", "")]:
        found, faults = images_under(sub) if sub.is_dir() else ([sub], [])
        problems += faults
        for path in found:
            name = name_of(path, root)
            told, own = patient_of(name, pattern)  # what the user's pattern tells is above a DICOM header
            rows.append((name, told, label, "", None, "", 0, split))
            paths.append(path)
            patients.append(own)
    _tell_ignored(labelled)
    if not rows:
        where = " or ".join(sub.name for sub, _, _ in labelled)
        raise InputError(f"{folder} holds no image (PNG, JPEG, TIFF, BMP, DICOM){f' in {where}' if where else ''}")
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    files = [look(name, path) for name, path in zip(table["image"], paths, strict=True)]
    kind = "class folders" if labelled else "images without labels"
    return Source(folder, kind, table, patients, files, [], problems, label_counts(table), no_boxes())


def _tell_ignored(labelled: list[tuple[Path, str, str]]) -> None:
    """Logs folders beside the class folders whose names are no class."""
    classes = {sub for sub, _, _ in labelled}
    for place in {sub.parent for sub in classes}:
        others = [p.name for p in _folders(place) if p not in classes and p.name.lower() not in SPLITS]
        if others:
            log.warning("%s: folders that are no class are not read: %s", place, ", ".join(others))
