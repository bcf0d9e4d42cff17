"""What was dreamt and mapped of a run, as files in its folder: `dreams/` and `maps/`, each whole or absent."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from cxrjax.analysis.tables import DreamRecord, MapRecord
from cxrjax.base import files
from cxrjax.base.types import InputError
from cxrjax.report import pages

DREAMS, MAPS = "dreams", "maps"
_NUMBERS = "numbers.json"  # written last: its presence says that the rest is there


def write(
    folder: Path,
    pictures: dict[str, np.ndarray],
    tables: dict[str, pd.DataFrame],
    numbers: dict[str, Any],
    further: Mapping[str, bytes] = MappingProxyType({}),
) -> None:
    """Writes pictures NAME.png, tables NAME.csv, further files, and numbers.json last.

    Args:
      folder: of the record, made if it is not there.
      pictures: [H, W] or [H, W, 3] u8.
      tables: without an index of interest.
      numbers: for JSON.
      further: file name -> what it holds.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / _NUMBERS).unlink(missing_ok=True)
    for name, picture in pictures.items():
        files.write_bytes(folder / f"{name}.png", pages.png(picture))
    for name, content in further.items():
        files.write_bytes(folder / name, content)
    for name, table in tables.items():
        files.write_text(folder / f"{name}.csv", table.to_csv(index=False, float_format="%.6g"))
    files.write_json(folder / _NUMBERS, numbers)


def read_dreams(run: Path) -> DreamRecord | None:
    """What `experiments.deep_dream` wrote of a run; None if there is none.

    Raises:
      InputError: if it is damaged.
    """
    found = _read(run / DREAMS, ("transfer",))
    return None if found is None else DreamRecord(found[0], found[1]["transfer"], found[2])


def read_maps(run: Path) -> MapRecord | None:
    """What `experiments.where_it_looks` wrote of a run; None if there is none.

    Raises:
      InputError: if it is damaged.
    """
    found = _read(run / MAPS, ("focus", "agreement"))
    return None if found is None else MapRecord(found[0], found[1]["focus"], found[1]["agreement"], found[2])


def _read(
    folder: Path, tables: tuple[str, ...]
) -> tuple[dict[str, np.ndarray], dict[str, pd.DataFrame], dict[str, Any]] | None:
    if not (folder / _NUMBERS).is_file():
        return None
    try:
        numbers = json.loads((folder / _NUMBERS).read_text(encoding="utf-8"))
        pictures = {}
        for path in sorted(folder.glob("*.png")):
            with Image.open(path) as opened:
                pictures[path.stem] = np.asarray(opened)
        read = {name: pd.read_csv(folder / f"{name}.csv", keep_default_na=True) for name in tables}
    except (OSError, ValueError) as error:
        raise InputError(f"{folder} holds damaged files: {error}") from error
    return pictures, read, numbers
