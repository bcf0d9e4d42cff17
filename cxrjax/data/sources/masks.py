"""Masks, heat maps and second copies that lie in folders beside images: `COVID/images/`, `COVID/masks/`.

A level is a folder's name, at any depth, or a word before or behind a file's (`x_mask.png`, `mask_x.png`). It is left
out whole, by a handful of its images: where all show few grey levels; or where another level, or images without one,
have the same names but for it, and its name says that it is drawn or computed, or its images are in colour, nearly
black or copies of the others.
"""

from __future__ import annotations

import itertools
import re
from collections import defaultdict
from collections.abc import Container, Iterable
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np

from cxrjax.base import InputError
from cxrjax.data import screening, sources
from cxrjax.data.decode import Reduction, decode

COPY = 0.9  # correlation of two images, reduced
_LOOKED_AT = 5  # images of a level
_MOST_LEVELS = 30  # levels with most images; more are patients' folders
_SIZE = 128  # pixels
_BLANK = 16  # grey levels from darkest to lightest that show nothing
_APPENDED = re.compile(r"(.+?)[\s_\-.]+([a-z]+)", re.DOTALL)
_PREFIXED = re.compile(r"([a-z]+)[\s_\-.]+(.+)", re.DOTALL)
_DERIVED = re.compile(  # names of what is drawn or computed of radiographs
    r"mask|(?:seg|segmentation|label|heat|cam)s?(?![a-z])|heat.?map|annot|contour|overlay|salien|thumb|preview|enhance"
    r"|clahe|equali[sz]|augment",
    re.IGNORECASE,
)
_FIRST = re.compile(r"image|img|orig|raw|cxr|x-?ray|radiograph", re.IGNORECASE)  # a folder that is kept of two


class _Look(NamedTuple):
    pixels: np.ndarray  # [size, size] u8
    coloured: bool


def find_masks(paths: list[Path], names: list[str], classes: Container[str]) -> dict[int, str]:
    """Which images are to be left out -> why.

    Args:
      paths: of the images.
      names: their places below the source, with slashes.
      classes: names of folders that are classes or splits, which are no levels.
    """
    levels = _levels(names, classes)
    looks = _Looks(paths, names)
    few = [level for level, rows in levels.items() if level and _are_masks(looks.of(rows.values()))]
    reasons = dict.fromkeys(few, "masks (few grey levels)")
    for first, second in itertools.permutations(sorted(levels, key=lambda level: _rank(level, levels)), 2):
        if second and first not in reasons and second not in reasons:
            reasons |= _compare(first, second, _pairs(levels[first], levels[second]), looks)
    return {
        row: f"lies in {level}, which holds {why}" for level, why in reasons.items() for row in levels[level].values()
    }


def _compare(first: str, second: str, pairs: list[tuple[int, int]], looks: _Looks) -> dict[str, str]:
    """Why a level is left out whose images have the names of another's; {} if it is not."""
    if not pairs:
        return {}
    names = f"the same names as {first or 'those beside it'}"
    kept, others = (looks.of(rows) for rows in zip(*pairs, strict=True))
    if all(look.coloured for look in others) and others and not any(look.coloured for look in kept):
        return {second: f"colour images with {names}"}
    if _DERIVED.search(second) and not _DERIVED.search(first):
        return {second: f"processed images (judging by its name) with {names}"}
    if others and all(map(_is_blank, others)) and not any(map(_is_blank, kept)):
        return {second: f"nearly black images with {names}"}
    return {second: f"copies with {names}"} if _are_copies(pairs, looks) else {}


def _levels(names: list[str], classes: Container[str]) -> dict[str, dict[str, int]]:
    """`masks/`, `*_mask` or `mask_*` -> name without it -> row; the levels with most images, and all images as ""."""
    levels: dict[str, dict[str, int]] = defaultdict(dict)
    for row, name in enumerate(names):
        path = PurePosixPath(name.casefold())
        folders, stem = PurePosixPath(name).parts[:-1], path.stem
        levels[""][str(path.parent / stem)] = row
        for depth, folder in enumerate(folders):
            if folder not in classes:
                rest = path.parts[:depth] + path.parts[depth + 1 : -1]
                levels[f"{folder}/"]["/".join((*rest, stem))] = row
        if match := _APPENDED.fullmatch(stem):
            levels[f"*_{match[2]}"][str(path.parent / match[1])] = row
        if match := _PREFIXED.fullmatch(stem):
            levels[f"{match[1]}_*"][str(path.parent / match[2])] = row
    most = sorted(levels, key=lambda level: (-len(levels[level]), level))[:_MOST_LEVELS]
    return {level: levels[level] for level in sorted(most)}


def _spread(rows: list[int]) -> list[int]:
    """A handful of them, from the first to the last."""
    return [rows[place] for place in np.unique(np.linspace(0, len(rows) - 1, _LOOKED_AT).astype(int))]


class _Looks:
    """Images that were looked at, each once."""

    def __init__(self, paths: list[Path], names: list[str]) -> None:
        """See `find_masks`."""
        self.paths, self.names = paths, names
        self.seen: dict[int, _Look | None] = {}

    def at(self, row: int) -> _Look | None:
        """One image, None if it cannot be read."""
        if row not in self.seen:
            self.seen[row] = _look(self.paths[row], self.names[row])
        return self.seen[row]

    def of(self, rows: Iterable[int]) -> list[_Look]:
        """Some of the images, without those that cannot be read."""
        return [look for row in _spread(list(rows)) if (look := self.at(row))]


def _look(path: Path, name: str) -> _Look | None:
    try:
        decoded = decode(sources.read_file(path), name, Reduction(_SIZE))
    except InputError:
        return None
    return _Look(decoded.pixels, decoded.doubt is not None and decoded.doubt.code == "colour")


def _is_blank(look: _Look) -> bool:
    return bool(np.ptp(look.pixels) <= _BLANK)


def _are_masks(looks: Iterable[_Look]) -> bool:
    """Blank images, of healthy lungs, say nothing of the others."""
    shown = [look.pixels for look in looks if not _is_blank(look)]
    return bool(shown) and all(screening.few_levels(pixels) > screening.FEW_LEVELS for pixels in shown)


def _pairs(first: dict[str, int], second: dict[str, int]) -> list[tuple[int, int]]:
    """Images of one name; [] where fewer than three or than four fifths have one."""
    pairs = [(first[name], row) for name, row in second.items() if name in first]
    return pairs if len(pairs) >= max(3, 0.8 * len(second)) else []


def _rank(level: str, levels: dict[str, dict[str, int]]) -> tuple[bool, bool, int, str]:
    """Of two levels the smaller one is kept."""
    return bool(_DERIVED.search(level)), _FIRST.search(level) is None, -len(levels[level]), level


def _are_copies(pairs: list[tuple[int, int]], looks: _Looks) -> bool:
    """Whether images of one name are the same radiographs, though sharpened, equalised or drawn upon."""
    seen = [[looks.at(row) for row in pairs[place]] for place in _spread(list(range(len(pairs))))]
    correlations = [_correlation(a.pixels, b.pixels) for a, b in seen if a and b]
    return bool(correlations) and min(correlations) > COPY


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    if not np.ptp(a) or not np.ptp(b):
        return 0.0
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])
