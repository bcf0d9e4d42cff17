"""Films with lungs outlined by people, read strictly; pictures of the outlines."""

from __future__ import annotations

import csv
import hashlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage

from cxrjax.base import InputError
from cxrjax.data.decode import Reduction, decode
from cxrjax.interpret import lungs

_FACE = 240  # pixels a film in a picture
_PEOPLE, _NETWORK = (0, 150, 0), (220, 0, 0)


class Films(NamedTuple):
    """N radiographs and their lungs, in the order of `sources.csv`."""

    name: np.ndarray  # [N] str
    patient: np.ndarray  # [N] str
    group: np.ndarray  # [N] str, such as child, adult PA
    images: np.ndarray  # [N, side, side] u8
    masks: np.ndarray  # [N, side, side] bool

    @property
    def sha256(self) -> str:
        """Of all of it."""
        digest = hashlib.sha256("\n".join([*self.name, *self.patient, *self.group]).encode())
        digest.update(np.packbits(self.masks).tobytes() + self.images.tobytes())
        return digest.hexdigest()

    def reduced(self) -> tuple[np.ndarray, np.ndarray]:
        """As the network takes them: [N, SIDE, SIDE] u8 and f32, the share of a pixel that is lung."""
        masks = [np.asarray(lungs.reduced(mask.astype(np.float32))) for mask in self.masks]
        return np.stack([lungs.reduced(image) for image in self.images]), np.stack(masks)

    def folds(self, count: int, seed: int) -> np.ndarray:
        """[N] i32, 0..count-1: each patient whole, each group spread evenly.

        Raises:
          InputError: if there are fewer patients than folds.
        """
        patients, first = np.unique(self.patient, return_index=True)
        if count > len(patients):
            raise InputError(f"--folds must be at most the {len(patients)} patients, got {count}")
        shuffled = np.random.default_rng([seed, 2]).permutation(len(patients))
        order = shuffled[np.argsort(self.group[first][shuffled], kind="stable")]
        fold_of = dict(zip(patients[order], range(len(order)), strict=True))
        return np.array([fold_of[patient] % count for patient in self.patient], np.int32)


def read(folder: Path) -> Films:
    """Of `folder` the films images/NAME.png and masks masks/NAME.png that `sources.csv` lists.

    Raises:
      InputError: if something is missing, is there but not listed, has another size than its film, or marks nothing.
    """
    table = folder / "sources.csv"
    if not table.is_file():
        raise InputError(f"--masks must be a folder with images/, masks/ and sources.csv, and {table} is no file")
    with table.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    if not rows or not {"name", "patient", "group"} <= rows[0].keys():
        raise InputError(f"{table} must have the columns name, patient, group and a row for each film")
    names = [row["name"] for row in rows]
    if len(set(names)) < len(names):
        raise InputError(f"{table} must name each film once, got {next(n for n in names if names.count(n) > 1)} twice")
    for kind in ("images", "masks"):
        stems = {path.stem for path in (folder / kind).glob("*.png")}
        if missing := sorted(set(names) - stems):
            raise InputError(f"{folder / kind} must hold {missing[0]}.png, which sources.csv lists")
        if stray := sorted(stems - set(names)):
            raise InputError(f"{table} must have a row for {kind}/{stray[0]}.png")
    places = [folder / kind / f"{name}.png" for name in names for kind in ("images", "masks")]
    side = _size(places[0])[0]
    for path in places:
        if (size := _size(path)) != (side, side):
            raise InputError(f"{path} must have {side} x {side} pixels, as the others, got {size[0]} x {size[1]}")
    films = [_film(path) for path in places[::2]]
    masks, _ = lungs.read_masks(folder / "masks", [f"{name}.png" for name in names], side)
    patients, groups = (np.array([row[column] for row in rows]) for column in ("patient", "group"))
    return Films(np.array(names), patients, groups, np.stack(films), masks)


def _size(path: Path) -> tuple[int, int]:
    """Width and height."""
    try:
        with Image.open(path, formats=("PNG",)) as image:
            return image.size
    except OSError as error:
        raise InputError(f"{path} must be a PNG image, got {error}") from error


def _film(path: Path) -> np.ndarray:
    try:
        return decode(path.read_bytes(), path.name, Reduction(_size(path)[0])).pixels
    except InputError as error:
        raise InputError(f"{path} {error}") from error


def picture(faces: list[tuple[str, np.ndarray | None, np.ndarray, np.ndarray]]) -> Image.Image:
    """Five a row: outlines of people (green) and of the network (red) over each film, or on white.

    Args:
      faces: of each its caption, its film [side, side] u8 if it is shown, and both masks [side, side] bool.
    """
    columns, height = min(len(faces), 5), _FACE + 16
    sheet = Image.new("RGB", (columns * _FACE, -(-len(faces) // columns) * height), "white")
    draw = ImageDraw.Draw(sheet)
    for i, (caption, film, people, network) in enumerate(faces):
        corner = (i % columns * _FACE, i // columns * height)
        pixels = np.full((*people.shape, 3), 255, np.uint8) if film is None else np.stack([film] * 3, axis=-1)
        for mask, colour in ((people, _PEOPLE), (network, _NETWORK)):
            pixels[mask ^ ndimage.binary_erosion(mask, iterations=2)] = colour
        sheet.paste(Image.fromarray(pixels).resize((_FACE - 4, _FACE - 4)), (corner[0] + 2, corner[1] + 16))
        draw.rectangle((corner[0] + 1, corner[1] + 15, corner[0] + _FACE - 2, corner[1] + height - 3), outline="grey")
        draw.text((corner[0] + 4, corner[1] + 2), caption, fill="black")
    return sheet
