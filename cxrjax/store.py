"""ImageStore on disk: `images.npy`, a memory map uint8 [N, 256, 256], `table.csv` and `about.json`."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pandas as pd

from cxrjax.types import About, ImageStore, InputError

SIZE = 256
COLUMNS = ("image", "patient", "labels", "view", "age", "sex", "followup")
_TEXT = dict.fromkeys(("image", "patient", "labels", "view", "sex"), str)


def is_store(folder: Path) -> bool:
    """True if `folder` holds the files of a store."""
    return all((folder / name).is_file() for name in ("images.npy", "table.csv", "about.json"))


def open_store(folder: Path) -> ImageStore:
    """Opens a store without reading its pixels.

    Raises:
      InputError: if a file or a column is missing, or the two disagree about the number of images.
    """
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
    if images.shape != (len(table), SIZE, SIZE) or images.dtype != np.uint8:
        raise InputError(
            f"{folder}: images.npy must be uint8 [N, {SIZE}, {SIZE}] with a row for each of the table's; "
            f"it is {images.dtype} {list(images.shape)} beside {len(table)} rows"
        )
    return ImageStore(images, table)


def label_counts(table: pd.DataFrame) -> dict[str, int]:
    """Number of images by label as written."""
    return {str(label): int(images) for label, images in table["labels"].value_counts().items()}


def read_about(folder: Path) -> About:
    """Where the images of a store come from."""
    return About(**json.loads((folder / "about.json").read_text(encoding="utf-8")))


def write_store(folder: Path, table: pd.DataFrame, images: Iterable[np.ndarray | None], about: About) -> None:
    """Writes a store image by image and renames it into place when it is whole.

    Args:
      folder: where the store will be; must not exist yet.
      table: one row an image, with the columns of `COLUMNS`.
      images: for each row a uint8 [256, 256], or None to leave the row out; an iterator will do.
      about: where they come from.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        kept = _write_images(partial / "images.npy", images)
        table.loc[kept, list(COLUMNS)].to_csv(partial / "table.csv", index=False)
        (partial / "about.json").write_text(json.dumps(about._asdict(), indent=1), encoding="utf-8")
        open_store(partial)
        partial.chmod(0o755)
        partial.rename(folder)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def _write_images(path: Path, images: Iterable[np.ndarray | None]) -> np.ndarray:
    """Writes the images that are not None; returns which were kept, [rows] bool.

    With file I/O, not through a growing memory map, whose pages would count as this process's memory.
    """
    kept: list[bool] = []
    with path.open("wb") as file:
        _write_header(file, 0)
        for image in images:
            kept.append(image is not None)
            if image is None:
                continue
            if image.shape != (SIZE, SIZE) or image.dtype != np.uint8:
                raise ValueError(f"images must be uint8 [{SIZE}, {SIZE}], got {image.dtype} {image.shape}")
            file.write(np.ascontiguousarray(image).tobytes())
        file.seek(0)
        _write_header(file, sum(kept))  # NumPy pads the header, so that the first axis may grow in place
    return np.array(kept, bool)


def _write_header(file: BinaryIO, count: int) -> None:
    header = {"descr": "|u1", "fortran_order": False, "shape": (count, SIZE, SIZE)}
    np.lib.format.write_array_header_1_0(file, header)
