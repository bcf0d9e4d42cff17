"""A hospital's folder: class folders (`NORMAL/`, `PNEUMONIA/`), or images without any label; PNG, JPEG, DICOM, ..."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from cxrjax.datasets.source import Source, images_under, look, name_of, no_boxes
from cxrjax.store import COLUMNS, label_counts
from cxrjax.types import InputError

SPLITS = {
    "train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test",
    "testing": "test",
}  # fmt: skip
# Kermany et al.: person123_bacteria_45.jpeg, IM-0620-0001-0001.jpeg, NORMAL2-IM-0620-0001.jpeg
_KERMANY = re.compile(r"^(person\d+)_|^((?:NORMAL2-)?IM-\d+)-")


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
    return [path for path in sorted(folder.iterdir()) if path.is_dir()]


def patient_of(name: str, pattern: re.Pattern[str] | None = None) -> str:
    """Patient of an image by its file name.

    Args:
      name: of the file, without folders.
      pattern: its group `patient`, or else its first group, or else what it matches, is the patient; None: Kermany's
        `personN_` and `IM-N-`. Where nothing matches, an image is a patient of its own.

    >>> patient_of("person12_virus_46.jpeg"), patient_of("IM-0620-0001-0002.jpeg"), patient_of("chest.png")
    ('person12', 'IM-0620', 'chest')
    """
    match = (pattern or _KERMANY).search(name)
    if match is None:
        return Path(name).stem
    if pattern is not None and "patient" in pattern.groupindex:
        return match["patient"] or Path(name).stem
    return next((group for group in match.groups() if group), match.group())


def scan(folder: Path, classes: dict[str, str], pattern: re.Pattern[str] | None = None) -> Source:
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
    rows, paths, patients = [], [], []
    for sub, label, split in labelled or [(folder, "", "")]:
        for path in images_under(sub) if sub.is_dir() else [sub]:
            told = patient_of(path.name, pattern) if pattern else ""  # what the user states is above a DICOM header
            rows.append((name_of(path, root), told, label, "", None, "", 0, split))
            paths.append(path)
            # The class is part of it: Kermany numbers the patients of each class from 1.
            patients.append("/".join([*([sub.name] if labelled else []), patient_of(path.name, pattern)]))
    if not rows:
        where = " or ".join(sub.name for sub, _, _ in labelled)
        raise InputError(f"{folder} holds no image (PNG, JPEG, TIFF, BMP, DICOM){f' in {where}' if where else ''}")
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    files = [look(name, path) for name, path in zip(table["image"], paths, strict=True)]
    kind = "class folders" if labelled else "images without labels"
    return Source(folder, kind, table, patients, files, [], [], label_counts(table), no_boxes())
