"""A folder of class folders: `NORMAL/` and `PNEUMONIA/`, one patient an image unless the name tells."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

from cxrjax.store import label_counts
from cxrjax.types import InputError

CLASSES = {"NORMAL": "No Finding", "PNEUMONIA": "Pneumonia"}  # upper-case folder name -> NIH label
_SUFFIXES = (".png", ".jpg", ".jpeg")
_KERMANY = re.compile(r"^(person\d+)_")  # person123_bacteria_45.jpeg: several images a patient


def class_folders(folder: Path) -> dict[Path, str]:
    """Sub-folders that are named after a class, and the label of each."""
    return {path: CLASSES[path.name.upper()] for path in sorted(folder.iterdir()) if path.name.upper() in CLASSES}


def patient_of(name: str) -> str:
    """Patient of an image: Kermany's `personN`, else the file name itself.

    >>> patient_of("person12_virus_46.jpeg"), patient_of("IM-0001-0001.jpeg")
    ('person12', 'IM-0001-0001')
    """
    match = _KERMANY.match(name)
    return match.group(1) if match else Path(name).stem


def scan(folder: Path) -> tuple[pd.DataFrame, list[Path], dict[str, int]]:
    """As `nih.scan`; view, age, sex and follow-up number are not known here.

    Raises:
      InputError: if there is no class folder, or no image in any.
    """
    rows, paths = [], []
    for sub, label in class_folders(folder).items():
        for path in sorted(p for p in sub.iterdir() if p.suffix.lower() in _SUFFIXES):
            # The class is part of the patient: Kermany numbers the patients of each class from 1.
            patient = f"{sub.name}/{patient_of(path.name)}"
            rows.append((f"{sub.name}/{path.name}", patient, label, "", None, "", 0))
            paths.append(path)
    if not rows:
        raise InputError(f"{folder} holds no PNG or JPEG image in folders named {' or '.join(CLASSES)}")
    table = pd.DataFrame(rows, columns=["image", "patient", "labels", "view", "age", "sex", "followup"])
    return table, paths, label_counts(table)
