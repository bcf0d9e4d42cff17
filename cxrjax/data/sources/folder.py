"""A hospital's own images in folders: named as classes (`NORMAL/`, `PNEUMONIA/`) at any level, or without labels."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
import pandas as pd

from cxrjax.base import InputError
from cxrjax.data import labels, sources
from cxrjax.data.phrases import Unread, Vocabulary
from cxrjax.data.sources import Bad, Source
from cxrjax.data.sources.image_files import SUFFIXES, count_passed_over, images_under
from cxrjax.data.sources.masks import find_masks
from cxrjax.data.vocabulary import fold
from cxrjax.storage.store import COLUMNS, label_counts, no_boxes

SPLITS = {  # folded name of a folder -> split
    **dict.fromkeys(("train", "training", "train set", "training set", "trainset"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "val set", "validation set", "dev"), "val"),
    **dict.fromkeys(("test", "testing", "test set", "testing set", "testset"), "test"),
}

# Kermany et al.: person123_bacteria_45.jpeg, IM-0620-0001-0001.jpeg, NORMAL2-IM-0620-0001.jpeg
_KERMANY = re.compile(r"^(person\d+)_|^((?:NORMAL2-)?IM-\d+)-")
_DEEPEST = 2  # levels above class folders: DATASET/train/NORMAL
_LOOSE = "lies beside the class folders, in none of them"


class Place(NamedTuple):
    """What an image's folders say."""

    folder: str  # the one that names its label as written; "" where none does
    split: str


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


def class_folders(folder: Path, vocabulary: Vocabulary) -> list[str]:
    """Names of folders, at most three levels below, that are labels."""
    names: list[str] = []
    for root, folders, _ in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        names += [name for name in folders if _read(name, vocabulary)]
        if len(Path(root).relative_to(folder).parts) >= _DEEPEST:
            folders.clear()
    return list(dict.fromkeys(names))


def scan_images(
    folder: Path, vocabulary: Vocabulary, pattern: re.Pattern[str] | None = None, keep_masks: bool = False
) -> Source:
    """Class folders where there are some, else every image below, unlabelled. View, age and sex come from DICOM.

    Args:
      folder: the source, or one image file.
      vocabulary: how names of folders are read.
      pattern: see `patient_of`.
      keep_masks: take what `masks.find_masks` names as images, too.

    Raises:
      InputError: if no image is there, or images lie in a folder beside class folders whose name is not understood.
    """
    root = folder if folder.is_dir() else folder.parent
    paths, problems = images_under(folder) if folder.is_dir() else ([folder], [])
    names = [sources.printable(path.relative_to(root).as_posix()) for path in paths]
    places = classify(names, vocabulary)
    written = pd.Series([place.folder for place in places], dtype=str)
    is_labelled = bool((written != "").any())
    reasons = {} if keep_masks else find_masks(paths, names, {place.folder for place in places} | _split_folders(names))
    masks_flag = "--masks=keep takes masks and copies as images" if reasons else ""
    if is_labelled:  # an image beside class folders has no label, and may be no radiograph: a logo, a contact sheet
        reasons |= dict.fromkeys(np.flatnonzero(written == ""), _LOOSE)
    problems += [Bad(names[row], str(paths[row]), reason, passed_over=True) for row, reason in reasons.items()]
    rows = [row for row in range(len(names)) if row not in reasons]
    if not rows:
        raise InputError(f"{folder} holds no image (PNG, JPEG, TIFF, BMP, DICOM)")
    reading = labels.read(written[rows].reset_index(drop=True), vocabulary, f"{folder}: folders")
    cells = [
        (names[row], patient_of(names[row], pattern)[0], label, "", None, "", 0, places[row].split)
        for row, label in zip(rows, reading.labels, strict=True)
    ]
    table = pd.DataFrame(cells, columns=list(COLUMNS))
    files = [sources.stat_file(names[row], paths[row]) for row in rows]
    patients = [patient_of(name)[1] for name in table["image"]]
    spellings = reading.spellings(np.ones(len(rows), bool)) if is_labelled else ()
    notes = (count_passed_over(problems), masks_flag, "" if is_labelled else _unlabelled(list(table["image"])))
    return Source(
        folder, "class folders" if is_labelled else "images without labels", table, patients, files, [], problems,
        label_counts(table), no_boxes(), spellings, tuple(note for note in notes if note),
    )  # fmt: skip


def _split_folders(names: list[str]) -> set[str]:
    """Folders called train, val or test, as written."""
    parts = {part for name in names for part in PurePosixPath(name).parts[:-1]}
    return {part for part in parts if fold(part) in SPLITS}


def classify(names: list[str], vocabulary: Vocabulary) -> list[Place]:
    """The class folder and the split of each image, by the folders that it lies in.

    An image's class folder is the outermost one whose name is a label. Where that is the same for all images and
    folders below it name several labels, it names the data set, and those below it count. Folders beside class
    folders that hold images name a label, too, which may not be understood; splits may lie above or below.

    Args:
      names: places of the images below the source, with slashes.
      vocabulary: how names of folders are read.
    """
    folders = [PurePosixPath(name).parts[:-1] for name in names]
    unsplit = [tuple(part for part in parts if fold(part) not in SPLITS) for parts in folders]
    splits = [next((SPLITS[fold(part)] for part in parts if fold(part) in SPLITS), "") for parts in folders]
    label_of = {part: _read(part, vocabulary) for parts in set(unsplit) for part in parts}
    levels = [[level for level, part in enumerate(parts) if label_of[part]] for parts in unsplit]
    outermost = {parts[levels[i][0]] for i, parts in enumerate(unsplit) if levels[i]}
    inner = {parts[level] for i, parts in enumerate(unsplit) for level in levels[i][1:]}
    skip = int(len(outermost) == 1 and len(inner) > 1 and all(len(level) > 1 for level in levels))
    chosen = [level[skip] if len(level) > skip else None for level in levels]
    parents = {parts[:level] for parts, level in zip(unsplit, chosen, strict=True) if level is not None}
    return [
        Place(_named(parts[level:], label_of) if level is not None else _beside(parts, parents), split)
        for parts, level, split in zip(unsplit, chosen, splits, strict=True)
    ]


def _read(name: str, vocabulary: Vocabulary) -> str:
    """Labels that the name of a folder is; "" if it is none."""
    try:
        return "" if Vocabulary.is_missing(name) else vocabulary.strict.read(name)
    except Unread:
        return ""


def _named(parts: tuple[str, ...], read: Mapping[str, str]) -> str:
    """The class folder, with those below it that name another label: `Effusion/Mass`."""
    names = {read[part]: part for part in reversed(parts) if read[part]}
    return "/".join(part for part in parts if part in names.values())


def _beside(parts: tuple[str, ...], parents: set[tuple[str, ...]]) -> str:
    """The folder that lies beside class folders, of an image that is in none; "" where there are no class folders."""
    if not parents or not parts:
        return ""
    level = max(
        (len(parent) for parent in parents if parts[: len(parent)] == parent and len(parts) > len(parent)), default=-1
    )
    if level < 0 and parts in parents:
        return ""
    return parts[max(level, 0)]


def _unlabelled(names: list[str]) -> str:
    """That no folder names a label, and which there are; "" of none."""
    folders = Counter(PurePosixPath(name).parts[0] for name in names if "/" in name)
    shown = ", ".join(f"{folder}/ ({images})" for folder, images in folders.most_common(4))
    more = f" and {len(folders) - 4} more" if len(folders) > 4 else ""
    return f"no folder is named as a known finding: {shown}{more}, which --classes may tell" if folders else ""
