"""NIH ChestX-ray14 as it is downloaded: tables, lists of the official split, boxes, images or archives, all or some."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from cxrjax.base import InputError
from cxrjax.data import labels, sources
from cxrjax.data.attributes import fold_meanings
from cxrjax.data.labels import Reading
from cxrjax.data.phrases import Vocabulary
from cxrjax.data.sources import Bad, File, Source, delimited
from cxrjax.data.sources.image_files import count_passed_over, why_no_image
from cxrjax.data.sources.table import count_spellings, find_columns, told_contradictions, unite_rows
from cxrjax.storage.store import BOX_COLUMNS, COLUMNS, label_counts, no_boxes

FINDINGS = (
    "Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Effusion", "Emphysema", "Fibrosis", "Hernia",
    "Infiltration", "Mass", "Nodule", "Pleural_Thickening", "Pneumonia", "Pneumothorax",
)  # fmt: skip
BOX_PIXELS = 1024  # boxes are in pixels of images of this width and height
LISTS = {"train_val_list.txt": "train", "test_list.txt": "test"}  # of the official split
_FOLDERS = ("images", "images_*/images", "images_*")
_NEEDED = ("path", "label", "patient", "view", "age", "sex", "followup")


def find_table(folder: Path) -> Path | None:
    """The label table of the folder, `Data_Entry_2017*.csv` (of several, the last: v2020), or None."""
    return next(reversed(_tables(folder)), None)


def find_file(folder: Path, name: str) -> Path | None:
    """The file of a name in any case, or None."""
    paths = (path for path in sorted(folder.iterdir()) if path.name.casefold() == name.casefold())
    return next((path for path in paths if path.is_file()), None)


def _tables(folder: Path) -> list[Path]:
    """Label tables, the newest last."""
    paths = (path for path in folder.iterdir() if path.name.casefold().startswith("data_entry_2017"))
    return sorted(path for path in paths if delimited.is_table(path))


def read_table(path: Path, vocabulary: Vocabulary | None = None) -> tuple[pd.DataFrame, Reading]:
    """Reads the table of 2017 or of 2020, whose headers are spelled differently.

    Returns:
      A row an image with columns image, patient, labels, view, age (years; NIH has some above 120, typing errors
      kept as they are), sex, followup; and how its labels were read.

    Raises:
      InputError: if it is no table, a column is missing, or a label is not understood.
    """
    raw = delimited.read(path).reset_index(drop=True)
    columns = find_columns(path, list(raw.columns), {})
    missing = [name for name in _NEEDED if name not in columns]
    if missing:
        raise InputError(
            f"{path} lacks the column(s) {', '.join(missing)}; it has {', '.join(filter(None, raw.columns))}"
        )
    raw = raw[raw[columns["path"]] != ""].reset_index(drop=True)
    table = pd.DataFrame({ours: raw[columns[ours]] for ours in _NEEDED}).rename(columns={"path": "image"})
    reading = labels.read(table.pop("label"), vocabulary or Vocabulary(), path.name)
    table.insert(2, "labels", reading.labels)
    table["age"] = sources.years(table["age"])  # the first table of 2017 writes 058Y, 011M, 013D
    table["followup"] = sources.numbers(table["followup"])
    return table, reading


def read_split(folder: Path) -> dict[str, str]:
    """Image -> train or test of the official split, from the lists that are there.

    Raises:
      InputError: if an image is in both.
    """
    sides: dict[str, str] = {}
    for name, side in LISTS.items():
        path = find_file(folder, name)
        if path:
            for image in delimited.text_of(path).split():
                if sides.setdefault(image, side) != side:
                    raise InputError(f"{folder}: {image} is in both {' and '.join(LISTS)}")
    return sides


def read_boxes(folder: Path, vocabulary: Vocabulary | None = None) -> pd.DataFrame:
    """Boxes of `BBox_List_2017.csv` as `BOX_COLUMNS`; none if it is not there.

    Raises:
      InputError: if it is no such table.
    """
    path = find_file(folder, "BBox_List_2017.csv")
    if not path:
        return no_boxes()
    raw = delimited.read(path).iloc[:, : len(BOX_COLUMNS)]
    if raw.shape[1] < len(BOX_COLUMNS):
        raise InputError(f"{path} must have six columns: image, finding, x, y, width, height")
    raw.columns = list(BOX_COLUMNS)
    sides = raw[list(BOX_COLUMNS[2:])].apply(pd.to_numeric, errors="coerce")
    bad = sides.isna().any(axis=1)
    if bad.any():
        raise InputError(f"{path}, line {bad.idxmax()}: a box must be four numbers")
    findings = labels.read(raw["finding"], vocabulary or Vocabulary(), path.name).labels
    raw["finding"] = findings  # Infiltrate, in the boxes' table
    return raw[["image", "finding"]].join(sides / BOX_PIXELS)


def find_images(folder: Path) -> dict[str, list[Path]]:
    """Name in lower case, without suffix -> paths of every file in the layouts of NIH (`images/`) and Kaggle
    (`images_0NN/images/`)."""
    images: dict[str, list[Path]] = {}
    places = [place for pattern in _FOLDERS for place in sorted(folder.glob(pattern)) if place.is_dir()]
    for path in (path for place in (*places, folder) for path in sorted(place.iterdir())):
        images.setdefault(sources.stem(path.name), []).append(path)
    return images


def scan(folder: Path, vocabulary: Vocabulary | None = None) -> Source:
    """What of the release is present.

    Raises:
      InputError: if a table is bad, or neither an image of it nor an archive is there.
    """
    path = find_table(folder)
    if path is None:
        raise InputError(f"{folder} holds no Data_Entry_2017*.csv")
    rows, reading = read_table(path, vocabulary)
    rows["image"] = _united([str(name) for name in rows["image"].tolist()])
    table, problems = unite_rows(rows, path)
    sides, names = read_split(folder), table["image"].tolist()  # pandas takes four times as long to go through them
    table["split"] = [sides.get(name, "") for name in names]
    by_stem, archives = find_images(folder), _archives(folder)
    stems = {name: sources.stem(name) for name in names}
    images = {name: _first(name, by_stem[stem]) for name, stem in stems.items() if stem in by_stem}
    images = {name: paths for name, paths in images.items() if paths}
    if not images and not archives:
        raise InputError(
            f"{folder}: none of the {len(table)} images of {path.name} is in images/, images_0NN/images/ or a "
            "images_0NN.tar.gz"
        )
    for name, paths in images.items():
        problems += [Bad(name, str(other), sources.DUPLICATE_FILE, left_out=False) for other in paths[1:]]
    problems += _strangers(folder, by_stem, set(stems.values()))
    files = [sources.stat_file(name, paths[0]) for name, paths in images.items()]
    present = set(names) if archives else images.keys()
    older = [other.name for other in _tables(folder)[:-1]]
    unread = [
        sources.stat_file(other.name, other)
        for other in sorted(folder.iterdir())
        if other.name.lower().endswith((*sources.OTHER_ARCHIVES, *delimited.OTHER_SUFFIXES))
    ]
    problems += [
        Bad(other.name, str(other.path), "is an archive or table in a format that is not read", passed_over=True)
        for other in unread
    ]
    used = f"the table {path.name} is used, not {', '.join(older)}" if older else ""
    notes = (used, _unlisted(sides, table), told_contradictions(problems), count_passed_over(problems))
    table = table[list(COLUMNS)]
    return Source(
        folder, "NIH folder", table, files, archives, problems, label_counts(table), read_boxes(folder, vocabulary),
        count_spellings(reading, rows, table, present), tuple(note for note in notes if note),
        meanings={"sex": fold_meanings("sex", {"F": "F", "M": "M"})},
    )  # fmt: skip


def _united(names: list[str]) -> list[str]:
    """Names of which those of one file, but for the case or what is behind the last dot, are the first of them."""
    first: dict[str, str] = {}
    return [first.setdefault(sources.stem(name), name) for name in names]


def _first(name: str, paths: list[Path]) -> list[Path]:
    """Files of this image, one that is called exactly so first; other files may share its stem: a note, a mask."""
    files = [path for path in paths if path.name.casefold() == name.casefold() or not why_no_image(path)]
    return sorted(files, key=lambda path: path.name != name)


def _strangers(folder: Path, by_stem: dict[str, list[Path]], listed: set[str]) -> list[Bad]:
    """Images in no row of the table; they have no label."""
    paths = [path for stem, paths in by_stem.items() if stem not in listed for path in paths]
    reasons = ((path, why_no_image(path)) for path in paths if path.parent != folder and path.is_file())
    return [
        Bad(path.name, str(path), reason or "is in no row of the table", passed_over=True) for path, reason in reasons
    ]


def _unlisted(sides: dict[str, str], table: pd.DataFrame) -> str:
    """How many images of the lists have no row; "" of none."""
    unknown = len(sides.keys() - set(table["image"].tolist()))
    return f"{unknown} images of {' and '.join(LISTS)} are in no row of the table" if unknown else ""


def _archives(folder: Path) -> list[File]:
    """Archives beside the table or in `images/`, as NIH's download page names the place."""
    paths = [path for place in (folder, folder / "images") if place.is_dir() for path in sorted(place.iterdir())]
    return [sources.stat_file(path.name, path) for path in paths if sources.is_archive(path) and path.is_file()]
