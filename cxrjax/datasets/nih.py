"""NIH ChestX-ray14 as it is downloaded: a table of labels and the images, all or some of them."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from cxrjax.store import label_counts
from cxrjax.types import InputError

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
    try:
        raw = pd.read_csv(path, dtype=str, keep_default_na=False, index_col=False)
    except (ValueError, OSError) as error:
        raise InputError(f"{path} cannot be read as a table: {error}") from error
    raw.columns = raw.columns.str.strip()
    columns = {}
    for name, spellings in _COLUMNS.items():
        found = [spelling for spelling in spellings if spelling in raw.columns]
        if not found:
            raise InputError(f"{path} lacks the column {' or '.join(repr(s) for s in spellings)}")
        columns[name] = raw[found[0]].str.strip()
    table = pd.DataFrame(columns)
    # The first table of 2017 writes ages as 058Y, 011M (months) or 013D (days).
    number = pd.to_numeric(table["age"].str.extract(r"^0*(\d+)", expand=False), errors="coerce")
    table["age"] = number.where(~table["age"].str.endswith(("M", "D")), 0)
    table["followup"] = pd.to_numeric(table["followup"], errors="coerce").fillna(0).astype(int)
    return table


def find_images(folder: Path) -> dict[str, Path]:
    """File name -> path of every PNG in the layouts of NIH (`images/`) and Kaggle (`images_0NN/images/`)."""
    return {path.name: path for pattern in _FOLDERS for path in sorted(folder.glob(f"{pattern}/*.png"))}


def scan(folder: Path) -> tuple[pd.DataFrame, list[Path], dict[str, int]]:
    """What of the table is present.

    Returns:
      The rows whose image is there, their paths, and the number of images by label as written in the whole table.

    Raises:
      InputError: if the table is bad, or none of its images is there.
    """
    path = find_table(folder)
    if path is None:
        raise InputError(f"{folder} holds no Data_Entry_2017*.csv")
    table = read_table(path)
    files = find_images(folder)
    present = table[table["image"].isin(files)].drop_duplicates("image").reset_index(drop=True)
    if present.empty:
        raise InputError(
            f"{folder}: none of the {len(table)} images of {path.name} is in images/ or images_0NN/images/"
        )
    return present, [files[name] for name in present["image"]], label_counts(table)
