"""NIH ChestX-ray14 as it is downloaded: tables, lists of the official split, boxes, images or archives, all or some."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from cxrjax.base import InputError
from cxrjax.data import sources
from cxrjax.data.sources import Bad, File, Source
from cxrjax.storage.store import BOX_COLUMNS, COLUMNS, label_counts, no_boxes

FINDINGS = (
    "Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Effusion", "Emphysema", "Fibrosis", "Hernia",
    "Infiltration", "Mass", "Nodule", "Pleural_Thickening", "Pneumonia", "Pneumothorax",
)  # fmt: skip
BOX_PIXELS = 1024  # boxes are in pixels of images of this width and height
LISTS = {"train_val_list.txt": "train", "test_list.txt": "test"}  # of the official split
_COLUMNS = {
    "image": ("Image Index",),
    "patient": ("Patient ID",),
    "labels": ("Finding Labels",),
    "view": ("View Position",),
    "age": ("Patient Age",),
    "sex": ("Patient Gender", "Patient Sex"),
    "followup": ("Follow-up #",),
}
_FOLDERS = ("images", "images_*/images", "images_*", ".")
_FINDING_NAMES = {"Infiltrate": "Infiltration"}  # as the boxes' table spells it


def find_table(folder: Path) -> Path | None:
    """The label table of the folder, `Data_Entry_2017*.csv` (of several, the last: v2020), or None."""
    return max(folder.glob("Data_Entry_2017*.csv"), default=None)


def read_table(path: Path) -> pd.DataFrame:
    """Reads the table of 2017 or of 2020, whose headers are spelled differently.

    Returns:
      A row an image with columns image, patient, labels, view, age (years; NIH has some above 120, typing errors
      kept as they are), sex, followup.

    Raises:
      InputError: if it is no table or a column is missing.
    """
    raw = sources.read_csv(path)
    raw.columns = raw.columns.str.strip()
    columns = {}
    for name, spellings in _COLUMNS.items():
        spelling = next((spelling for spelling in spellings if spelling in raw.columns), None)
        if spelling is None:
            raise InputError(f"{path} lacks the column {' or '.join(repr(s) for s in spellings)}")
        columns[name] = raw[spelling].str.strip()
    table = pd.DataFrame(columns)
    table["age"] = sources.years(table["age"])  # the first table of 2017 writes 058Y, 011M, 013D
    table["followup"] = sources.numbers(table["followup"])
    return table


def read_split(folder: Path) -> dict[str, str]:
    """Image -> train or test of the official split, from the lists that are there.

    Raises:
      InputError: if an image is in both.
    """
    sides: dict[str, str] = {}
    for name, side in LISTS.items():
        if (folder / name).is_file():
            for image in (folder / name).read_text(encoding="utf-8", errors="replace").split():
                if sides.setdefault(image, side) != side:
                    raise InputError(f"{folder}: {image} is in both {' and '.join(LISTS)}")
    return sides


def read_boxes(folder: Path) -> pd.DataFrame:
    """Boxes of `BBox_List_2017.csv` as `BOX_COLUMNS`; none if it is not there.

    Raises:
      InputError: if it is no such table.
    """
    path = folder / "BBox_List_2017.csv"
    if not path.is_file():
        return no_boxes()
    raw = sources.read_csv(path).iloc[:, : len(BOX_COLUMNS)]
    if raw.shape[1] < len(BOX_COLUMNS):
        raise InputError(f"{path} must have six columns: image, finding, x, y, width, height")
    raw.columns = list(BOX_COLUMNS)
    raw["finding"] = raw["finding"].replace(_FINDING_NAMES)
    sides = raw[list(BOX_COLUMNS[2:])].apply(pd.to_numeric, errors="coerce")
    bad = sides.isna().any(axis=1)
    if bad.any():
        raise InputError(f"{path}, row {int(bad.idxmax()) + 2}: a box must be four numbers")
    return raw[["image", "finding"]].join(sides / BOX_PIXELS)


def find_images(folder: Path) -> dict[str, list[Path]]:
    """File name -> paths of every PNG in the layouts of NIH (`images/`) and Kaggle (`images_0NN/images/`)."""
    images: dict[str, list[Path]] = {}
    for pattern in _FOLDERS:
        for path in sorted(folder.glob(f"{pattern}/*.png")):
            if path not in images.setdefault(path.name, []):
                images[path.name].append(path)
    return images


def scan(folder: Path) -> Source:
    """What of the release is present.

    Raises:
      InputError: if a table is bad, or neither an image of it nor an archive is there.
    """
    path = find_table(folder)
    if path is None:
        raise InputError(f"{folder} holds no Data_Entry_2017*.csv")
    table, problems = sources.drop_duplicate_rows(read_table(path), path)
    sides = read_split(folder)
    table["split"] = [sides.get(image, "") for image in table["image"]]
    images, archives = find_images(folder), _archives(folder)
    present = [name for name in table["image"] if name in images]
    if not present and not archives:
        raise InputError(
            f"{folder}: none of the {len(table)} images of {path.name} is in images/, images_0NN/images/ or a "
            "images_0NN.tar.gz"
        )
    for name in present:
        problems += [Bad(name, str(other), sources.DUPLICATE_FILE, left_out=False) for other in images[name][1:]]
    files = [sources.stat_file(name, images[name][0]) for name in present]
    table, patients, listed = table[list(COLUMNS)], list(table["patient"]), label_counts(table)
    return Source(folder, "NIH folder", table, patients, files, archives, problems, listed, read_boxes(folder))


def _archives(folder: Path) -> list[File]:
    """Archives beside the table or in `images/`, as NIH's download page names the place."""
    paths = [path for place in (folder, folder / "images") if place.is_dir() for path in sorted(place.iterdir())]
    return [sources.stat_file(path.name, path) for path in paths if sources.is_archive(path) and path.is_file()]
