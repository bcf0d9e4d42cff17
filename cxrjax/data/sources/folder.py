"""A hospital's own images in folders: named as classes (`NORMAL/`, `PNEUMONIA/`) at any level, or without labels."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
import pandas as pd

from cxrjax.base import InputError
from cxrjax.data import labels, sources
from cxrjax.data.phrases import Unread, Vocabulary
from cxrjax.data.sources import Bad, Source
from cxrjax.data.sources.image_files import count_passed_over, images_under
from cxrjax.data.sources.masks import find_masks
from cxrjax.data.vocabulary import ENDINGS, NO_FINDING, fold, says_state
from cxrjax.storage.store import COLUMNS, is_store, label_counts, no_boxes

SPLITS = {  # folded name of a folder -> split
    **dict.fromkeys(("train", "training", "train set", "training set", "trainset"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "val set", "validation set", "dev"), "val"),
    **dict.fromkeys(("test", "testing", "test set", "testing set", "testset"), "test"),
}

_YES_OR_NO = frozenset(("0", "1", "-1", "y", "n"))  # names of all folders at a place that say so
_DEEPEST = 2  # levels above class folders: DATASET/train/NORMAL
_LOOSE = "lies outside the class folders"


class Place(NamedTuple):
    """What an image's folders say."""

    folder: str  # the one that names its label as written; "" where none does
    split: str


def class_folders(folder: Path, vocabulary: Vocabulary) -> list[str]:
    """Names of folders, at most three levels below, that are labels."""
    names: list[str] = []
    for root, folders, _ in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith(".") and not is_store(Path(root, name)))
        names += [name for name in folders if _read(name, vocabulary)]
        if len(Path(root).relative_to(folder).parts) >= _DEEPEST:
            folders.clear()
    return list(dict.fromkeys(names))


def scan_images(folder: Path, vocabulary: Vocabulary, keep_masks: bool = False) -> Source:
    """Class folders where there are some, else every image below, unlabelled. View, age and sex come from DICOM.

    Args:
      folder: the source, or one image file.
      vocabulary: how names of folders are read.
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
    classes = {part for place in places for part in place.folder.split("/") if part and _read(part, vocabulary)}
    reasons = {} if keep_masks else find_masks(paths, names, classes | _split_folders(names))
    masks_flag = "--masks=keep takes masks and copies as images" if reasons else ""
    if is_labelled:  # an image beside class folders has no label, and may be no radiograph: a logo, a contact sheet
        reasons |= dict.fromkeys(np.flatnonzero(written == ""), _LOOSE)
    problems += [Bad(names[row], str(paths[row]), reason, passed_over=True) for row, reason in reasons.items()]
    rows = [row for row in range(len(names)) if row not in reasons]
    if not rows:
        raise InputError(f"{folder} holds no image (PNG, JPEG, TIFF, BMP, DICOM)")
    reading = labels.read(written[rows].reset_index(drop=True), vocabulary, f"{folder}: folders")
    cells = [
        (names[row], "", label, "", None, "", 0, places[row].split)
        for row, label in zip(rows, reading.labels, strict=True)
    ]
    table = pd.DataFrame(cells, columns=list(COLUMNS))
    files = [sources.stat_file(names[row], paths[row]) for row in rows]
    folders = tuple(_place_of(names[row], places[row].folder) for row in rows)
    spellings = reading.spellings(np.ones(len(rows), bool)) if is_labelled else ()
    below = [_below(names[row], place) for row, place in zip(rows, folders, strict=True) if place]
    notes = (
        count_passed_over(problems),
        masks_flag,
        _told_below(below),
        "" if is_labelled else _unlabelled(list(table["image"])),
    )
    return Source(
        folder, "class folders" if is_labelled else "images without labels", table, files, [], problems,
        label_counts(table), no_boxes(), spellings, tuple(note for note in notes if note), folders,
    )  # fmt: skip


def _split_folders(names: list[str]) -> set[str]:
    """Folders called train, val or test, as written."""
    parts = {part for name in names for part in PurePosixPath(name).parts[:-1]}
    return {part for part in parts if fold(part) in SPLITS}


def _place_of(name: str, folder: str) -> str:
    """Place below the source of the folder that names an image's class, the inner one of `Effusion/Mass`.

    >>> _place_of("train/NORMAL/p1/a.png", "NORMAL")
    'train/NORMAL'
    """
    parts = PurePosixPath(name).parts[:-1]
    return "/".join(parts[: parts.index(PurePosixPath(folder).name) + 1]) if folder else ""


def _below(name: str, place: str) -> str:
    """The folder below that of the class, or ""."""
    parts = [part for part in PurePosixPath(name).relative_to(place).parts[:-1] if fold(part) not in SPLITS]
    return "/".join(parts)


def _told_below(folders: list[str]) -> str:
    """Which folders below classes tell nothing of labels; "" of none."""
    images = Counter(filter(None, folders))
    shown = ", ".join(f"{folder}/ ({count})" for folder, count in images.most_common(6))
    more = f" and {len(images) - 6} more" if len(images) > 6 else ""
    return f"subfolders of class folders are not read as labels: {shown}{more}" if images else ""


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
    siblings: dict[tuple[str, ...], set[str]] = defaultdict(set)
    for parts in unsplit:
        for level, part in enumerate(parts):
            siblings[parts[:level]].add(part.casefold())
    yes_or_no = {place for place, names in siblings.items() if names <= _YES_OR_NO}
    states = {part for part in label_of if says_state(part)}
    return [
        Place(
            _named(parts, level, label_of, states, yes_or_no) if level is not None else _beside(parts, parents), split
        )
        for parts, level, split in zip(unsplit, chosen, splits, strict=True)
    ]


def _read(name: str, vocabulary: Vocabulary) -> str:
    """Labels that the name of a folder is; "" if it is none."""
    try:
        return "" if Vocabulary.is_missing(name) else vocabulary.strict.read(name)
    except Unread:
        return ""


def _named(
    parts: tuple[str, ...], level: int, read: Mapping[str, str], states: set[str], yes_or_no: set[tuple[str, ...]]
) -> str:
    """The class folder, with those that say another label (`Effusion/Mass`) or may deny it (`PNEUMONIA/negative`).

    Args:
      parts: folders of an image.
      level: of the class folder.
      read: folder -> labels that its name is.
      states: folders whose names say whether a finding is there.
      yes_or_no: places whose folders are all called 0 or 1.
    """
    names = {read[part]: part for part in reversed(parts[level:]) if read[part]}
    affirmed = () if read[parts[level]] == NO_FINDING else ENDINGS["present"]
    said = [
        part in states and tuple(fold(part).split()) not in affirmed and (place > level or " " not in fold(part))
        for place, part in enumerate(parts)
    ]
    said = [is_said or (place > level and parts[:place] in yes_or_no) for place, is_said in enumerate(said)]
    return "/".join(part for part, is_said in zip(parts, said, strict=True) if is_said or part in names.values())


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
    return f"no folder has the name of a known finding: {shown}{more}; --classes gives their meaning" if folders else ""
