"""ImageStore on disk, a folder.

`images.npy`, uint8 [N, size, size]; `table.csv`, a row an image; `about.json`, where they come from;
`bad_images.csv`, what was left out or is doubtful; `boxes.csv`, boxes of findings as shares of the image;
`contact_sheet.png`, some of the images at a glance.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from cxrjax.base import InputError, files


class ImageStore(NamedTuple):
    """Reduced radiographs and what is known of them; row i of both belongs together."""

    images: np.ndarray  # [N, size, size] u8, a memory map; 0 is black
    table: pd.DataFrame  # [N] image, patient ("": unknown), labels, view, age, sex, followup, split
    folder: Path | None = None  # of a store on disk, which may hold more: `store.read_bad_images`, `read_boxes`


class About(NamedTuple):
    """Where a store's images come from; written beside them as `about.json`."""

    source: str  # the folder as the user gave it, or "phantom"
    listed: dict[str, int]  # labels as read -> images with them in the source's table, present or not
    made: dict[str, Any]  # size, fit, filter and versions of what decoded the images; empty if drawn
    bad_images: dict[str, str]  # image -> why it was left out; from `bad_images.csv`
    spellings: list[list[Any]] = []  # noqa: RUF012 - never written to; [label as written, as read, images that are there]
    notes: list[str] = []  # noqa: RUF012 - the same; what else was understood of the source, a sentence each
    patients: dict[str, Any] = {}  # noqa: RUF012 - the same; `data.patients.Account`: who is known, and by what
    enlarged: dict[str, int] = {}  # noqa: RUF012 - the same; `data.reading.Enlarged`; empty: not known
    flags: list[str] = []  # noqa: RUF012 - the same; words of a command line: how the source was read, see `SourceFlags`
    relabelled: dict[str, Any] = {}  # noqa: RUF012 - never written; of `--labels`, see `data.relabel`


COLUMNS = ("image", "patient", "labels", "view", "age", "sex", "followup", "split")
BOX_COLUMNS = ("image", "finding", "x", "y", "width", "height")
FILES = ("images.npy", "table.csv", "about.json", "bad_images.csv", "boxes.csv", "contact_sheet.png")
BAD_COLUMNS = ("image", "origin", "left_out", "passed_over", "reason")
_TEXT = dict.fromkeys(("image", "patient", "labels", "view", "sex", "split"), str)
_ROWS_AT_ONCE = 256  # 16 MB


def is_store(folder: Path) -> bool:
    """True if `folder` holds the files of a store."""
    return all((folder / name).is_file() for name in ("images.npy", "table.csv", "about.json"))


def open_store(folder: str | Path) -> ImageStore:
    """Opens a store without reading its pixels.

    Raises:
      InputError: if a file or a column is missing, or the two disagree about the number of images.
    """
    folder = Path(folder)
    if not is_store(folder):
        raise InputError(f"{folder} is not an image store: it must hold images.npy, table.csv and about.json")
    try:
        images = np.load(folder / "images.npy", mmap_mode="r", allow_pickle=False)
        table = pd.read_csv(folder / "table.csv", dtype=_TEXT, keep_default_na=False, na_values={"age": [""]})
    except (ValueError, OSError) as error:
        raise InputError(f"{folder} cannot be read as an image store: {error}") from error
    missing = [name for name in COLUMNS if name not in table.columns]
    if missing:
        raise InputError(f"{folder / 'table.csv'} lacks the column(s) {', '.join(missing)}")
    square = images.ndim == 3 and images.shape[1] == images.shape[2]
    if not square or len(images) != len(table) or images.dtype != np.uint8:
        raise InputError(
            f"{folder}: images.npy must be uint8 [N, size, size] with a row for each of the table's; "
            f"it is {images.dtype} {list(images.shape)} beside {len(table)} rows"
        )
    return ImageStore(images, table, folder)


def read_rows(images: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Images [n, size, size] u8 of `rows` [n], by file I/O where `images` is a store's memory map.

    A memory map's pages count as this process's memory once they are touched, and random access touches all.
    """
    base: object = images.base  # a part of a memory map has the map as its base, and an offset that is not its own
    if not (isinstance(images, np.memmap) and isinstance(base, mmap.mmap) and images.filename):
        return np.asarray(images[rows])
    out = np.empty((len(rows), *images.shape[1:]), np.uint8)
    file = os.open(images.filename, os.O_RDONLY)
    try:
        for place, row in enumerate(rows):
            if os.preadv(file, [out[place].data], images.offset + int(row) * out[0].nbytes) != out[0].nbytes:
                raise OSError(f"{images.filename} ends before row {row}")
    finally:
        os.close(file)
    return out


def hash_rows(images: np.ndarray, rows: np.ndarray) -> dict[int, bytes]:
    """Row -> SHA-256 of its pixels."""
    digests: dict[int, bytes] = {}
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        part = rows[start : start + _ROWS_AT_ONCE]
        for row, pixels in zip(part, read_rows(images, part), strict=True):
            digests[int(row)] = hashlib.sha256(pixels.data).digest()
    return digests


def label_counts(table: pd.DataFrame) -> dict[str, int]:
    """Number of images by label as written."""
    return {str(label): int(images) for label, images in table["labels"].value_counts().items()}


def read_about(folder: Path) -> About:
    """Where the images of a store come from.

    Raises:
      InputError: if `about.json` or `bad_images.csv` is damaged.
    """
    try:
        about = json.loads((folder / "about.json").read_text(encoding="utf-8"))
        bad = read_bad_images(folder)
        left_out = bad[bad["left_out"] & ~bad["passed_over"]]
        return About(**about, bad_images=dict(zip(left_out["image"], left_out["reason"], strict=True)))
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(f"{folder} is a damaged store, or one of another version: {error}") from error


def read_bad_images(folder: Path) -> pd.DataFrame:
    """What was left out of a store or is doubtful: image, origin, left_out, passed_over (both bool), reason.

    What is passed over is left out, but no image of the source is lost with it: a text, an image of no row.
    """
    path = folder / "bad_images.csv"
    types = {name: bool if name in ("left_out", "passed_over") else str for name in BAD_COLUMNS}
    if not path.is_file():
        return pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in types.items()})
    bad = pd.read_csv(path, dtype=types, keep_default_na=False)
    return bad if "passed_over" in bad else bad.assign(passed_over=False)[list(BAD_COLUMNS)]  # of earlier versions


def read_boxes(folder: Path) -> pd.DataFrame:
    """Boxes of findings: image, finding, x, y (upper left corner), width, height as shares of the image, 0..1."""
    path = folder / "boxes.csv"
    text: dict[str, type] = {"image": str, "finding": str}
    return pd.read_csv(path, dtype=text, keep_default_na=False) if path.is_file() else no_boxes()


def boxes_around(store: ImageStore, finding: str) -> pd.DataFrame:
    """`read_boxes` of a finding, or of several, `A|B`, and of the store's images; none of a store without a folder."""
    boxes = read_boxes(store.folder) if store.folder else no_boxes()
    return boxes[boxes["finding"].isin(finding.split("|")) & boxes["image"].isin(store.table["image"])].reset_index(
        drop=True
    )


def patients_with_box(store: ImageStore, finding: str) -> np.ndarray:
    """Patients, [P] str, of whom at least one image has a box around this finding."""
    boxed = store.table["image"].isin(boxes_around(store, finding)["image"])
    return np.unique(patient_ids(store.table)[boxed])


def patient_ids(table: pd.DataFrame) -> np.ndarray:
    """Patient of each image, [N] str; an image whose patient is unknown counts as a patient of its own, by its name."""
    return table["patient"].where(table["patient"] != "", table["image"]).to_numpy(str)


def no_boxes() -> pd.DataFrame:
    """A table of boxes without a row."""
    return pd.DataFrame(columns=list(BOX_COLUMNS))


def write_store(folder: Path, table: pd.DataFrame, images: Iterable[np.ndarray], about: About) -> None:
    """Writes images that are at hand as a store and renames it into place when it is whole.

    Args:
      folder: where the store will be; must not exist yet.
      table: one row an image, with the columns of `COLUMNS`.
      images: for each row a uint8 [size, size]; an iterator will do.
      about: where they come from.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        write_images(partial / "images.npy", images, len(table))
        write_tables(partial, table, about)
        partial.chmod(0o755)
        partial.rename(folder)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def write_images(path: Path, images: Iterable[np.ndarray], count: int) -> None:
    """Writes `count` images of one size as an array, uint8 [count, size, size], and waits for the disk.

    By file I/O, not through a memory map, whose pages would count as this process's memory.

    Raises:
      ValueError: if an image has another type or shape, or there are more or fewer of them.
    """
    written = size = 0
    with path.open("wb") as file:
        for image in images:
            size = size or len(image)
            if image.shape != (size, size) or image.dtype != np.uint8:
                raise ValueError(f"images must be uint8 [{size}, {size}], got {image.dtype} {image.shape}")
            if not written:
                header = {"descr": "|u1", "fortran_order": False, "shape": (count, size, size)}
                np.lib.format.write_array_header_1_0(file, header)
            written += 1
            file.write(np.ascontiguousarray(image).data)
        file.flush()
        os.fsync(file.fileno())
    if written != count:
        raise ValueError(f"{path.name} must hold {count} images, got {written}")


def write_tables(
    folder: Path, table: pd.DataFrame, about: About, bad: pd.DataFrame | None = None, boxes: pd.DataFrame | None = None
) -> None:
    """Writes what stands beside the images; `bad` has the columns `BAD_COLUMNS`, `boxes` those of `BOX_COLUMNS`."""
    files.write_text(folder / "table.csv", table[list(COLUMNS)].to_csv(index=False))
    if bad is not None:
        files.write_text(folder / "bad_images.csv", bad[list(BAD_COLUMNS)].to_csv(index=False))
    if boxes is not None and len(boxes):
        files.write_text(folder / "boxes.csv", boxes[list(BOX_COLUMNS)].to_csv(index=False, float_format="%.6g"))
    written = {name: value for name, value in about._asdict().items() if name not in ("bad_images", "relabelled")}
    files.write_json(folder / "about.json", written)
