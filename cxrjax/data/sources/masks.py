"""Masks, heat maps and second copies that lie in folders beside images: `COVID/images/`, `COVID/masks/`.

A level is a folder's name, or what files append to the names of others (`x.png`, `x_mask.png`). It is left out whole,
by a handful of its images: where all show few grey levels, or where a folder beside it has images of the same names,
which these copy, or which are grey and these in colour.
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
    looks = {level: _look_at(rows, paths, names) for level, rows in levels.items()}
    reasons = {level: "masks: few grey levels" for level, seen in looks.items() if _are_masks(seen.values())}
    for first, second in itertools.permutations(sorted(levels, key=lambda level: _rank(level, levels)), 2):
        if first in reasons or second in reasons or not first.endswith("/") or not second.endswith("/"):
            continue
        pairs = _pairs(levels[first], levels[second], names)
        if not pairs:
            continue
        if _all_coloured(looks[second].values()) and not any(look.coloured for look in looks[first].values()):
            reasons[second] = f"images in colour of the same names as {first}"
        elif _are_copies(pairs, paths, names):
            reasons[second] = f"copies of {first}, of the same names"
    return {row: f"lies in {level}, which holds {why}" for level, why in reasons.items() for row in levels[level]}


def _levels(names: list[str], classes: Container[str]) -> dict[str, list[int]]:
    """`masks/` or `*_mask` -> rows; the levels with most images."""
    levels: dict[str, list[int]] = defaultdict(list)
    stems = {name.rpartition(".")[0].casefold() for name in names}
    for row, name in enumerate(names):
        folder = name.rpartition("/")[0].rpartition("/")[2]
        appended = _APPENDED.fullmatch(name.rpartition(".")[0].casefold())
        if appended and appended[1] in stems:
            levels[f"*_{appended[2]}"].append(row)
        elif folder and folder not in classes:
            levels[f"{folder}/"].append(row)
    most = sorted(levels, key=lambda level: (-len(levels[level]), level))[:_MOST_LEVELS]
    return {level: levels[level] for level in sorted(most)}


def _spread(rows: list[int]) -> list[int]:
    """A handful of them, from the first to the last."""
    return [rows[place] for place in np.unique(np.linspace(0, len(rows) - 1, _LOOKED_AT).astype(int))]


def _look_at(rows: list[int], paths: list[Path], names: list[str]) -> dict[int, _Look]:
    """Some of the images, without those that cannot be read."""
    return {row: look for row in _spread(rows) if (look := _look(paths[row], names[row]))}


def _look(path: Path, name: str) -> _Look | None:
    try:
        decoded = decode(sources.read_file(path), name, Reduction(_SIZE))
    except InputError:
        return None
    return _Look(decoded.pixels, decoded.doubt is not None and decoded.doubt.code == "colour")


def _are_masks(looks: Iterable[_Look]) -> bool:
    """Blank images, of healthy lungs, say nothing of the others."""
    shown = [look.pixels for look in looks if np.ptp(look.pixels) > _BLANK]
    return bool(shown) and all(screening.few_levels(pixels) > screening.FEW_LEVELS for pixels in shown)


def _all_coloured(looks: Iterable[_Look]) -> bool:
    coloured = [look.coloured for look in looks]
    return bool(coloured) and all(coloured)


def _pairs(first: list[int], second: list[int], names: list[str]) -> list[tuple[int, int]]:
    """Images of one name in folders side by side; [] where fewer than three or than four fifths have one."""

    def key(row: int) -> tuple[str, str]:
        path = PurePosixPath(names[row])
        return str(path.parent.parent), path.stem.casefold()

    by_key = {key(row): row for row in first}
    pairs = [(by_key[key(row)], row) for row in second if key(row) in by_key]
    return pairs if len(pairs) >= max(3, 0.8 * len(second)) else []


def _rank(level: str, levels: dict[str, list[int]]) -> tuple[bool, int, str]:
    """Of two levels the smaller one is kept."""
    return _FIRST.search(level) is None, -len(levels[level]), level


def _are_copies(pairs: list[tuple[int, int]], paths: list[Path], names: list[str]) -> bool:
    """Whether images of one name are the same radiographs, though sharpened, equalised or drawn upon."""
    chosen = [pairs[place] for place in _spread(list(range(len(pairs))))]
    looks = [[_look(paths[row], names[row]) for row in pair] for pair in chosen]
    correlations = [_correlation(a.pixels, b.pixels) for a, b in looks if a and b]
    return bool(correlations) and min(correlations) > COPY


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    if not np.ptp(a) or not np.ptp(b):
        return 0.0
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])
