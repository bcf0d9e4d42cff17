"""Files that a table of images means, by its paths as people and programs write them."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from cxrjax.data.decode import SUFFIXES
from cxrjax.data.sources.image_files import images_under, why_no_image


def tidy(text: str) -> str:
    r"""A path with one way to write it: `./a.png` and `x\..\a.png` are `a.png`.

    >>> tidy("./a/b.png"), tidy("a\\b.png"), tidy("a//b.png")
    ('a/b.png', 'a/b.png', 'a/b.png')
    """
    text = text.replace("\\", "/")
    return re.sub(r"(?<!^)/(\./)*/*", "/", re.sub(r"^(\./+)+", "", text))


def find_rows(names: Sequence[str], images: Iterable[str]) -> np.ndarray:
    """The image that each name means, [n] int: as written, else in any case and without suffix, else by the file's own
    name, if it is of one image alone; -1: none.

    >>> find_rows(["a.png", "B", "x/c.jpg", "d"], ["a.png", "n/b.png", "c.png"]).tolist()
    [0, 1, 2, -1]
    """
    spellings: list[Callable[[str], str]] = [tidy, _folded_stem, lambda name: _folded_stem(PurePosixPath(name).name)]
    rows = np.full(len(names), -1)
    for spelling in spellings:
        place: dict[str, int] = {}
        for row, image in enumerate(map(spelling, images)):
            place[image] = -1 if image in place else row
        rows = np.where(rows < 0, [place.get(spelling(tidy(name)), -1) for name in names], rows)
    return rows


def _folded_stem(name: str) -> str:
    return _stem(tidy(name).casefold())


def find_files(folder: Path, names: list[str]) -> tuple[list[Path], str]:
    """The file of each path, below `folder` or absolute.

    A path that leads to no file stands for the one image below `folder` whose place ends as the path does, in any case,
    with or without a suffix; an absolute path, of another machine, for the one whose place it ends
    with; of a path through a folder of `folder`'s own name what comes after it counts alone, for CheXpert's begin with
    `CheXpert-v1.0-small/` and lie in it.

    Returns:
      A path for each name, one that leads nowhere where there is no such image, or several; and how many were found in
      another place, a sentence or "".
    """
    paths = [folder / os.path.expanduser(name) for name in names]  # noqa: PTH111 - Path's raises without a home
    lost = [row for row, path in enumerate(paths) if not _exists(path)]
    if not lost:
        return paths, ""
    index = _index(folder)
    moved = []
    for row in lost:
        place = _only(index, names[row], folder)
        if place:
            paths[row] = place
            moved.append(row)
    if not moved:
        return paths, ""
    first = moved[0]
    shown = f"{names[first]} is {paths[first].relative_to(folder).as_posix()}"
    return paths, f"{len(moved)} of {len(names)} paths do not exist as written and were found by their ends: {shown}"


def _exists(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # ValueError: a name that no file can have
        return False


def _index(folder: Path) -> dict[str, list[tuple[PurePosixPath, Path]]]:
    """Image's name, in lower case and without suffix -> places below `folder`, in lower case, and paths."""
    index = defaultdict(list)
    for path in images_under(folder)[0]:
        place = PurePosixPath(path.relative_to(folder).as_posix().casefold())
        index[_stem(place.name)].append((place, path))
    return index


def _stem(name: str) -> str:
    suffix = PurePosixPath(name).suffix
    return name.removesuffix(suffix) if suffix in SUFFIXES else name


def _ending(name: str, folder: Path) -> tuple[str, ...]:
    """Parts of the path that lie below the folder, in lower case."""
    parts = tuple(part for part in PurePosixPath(name.casefold()).parts if part not in ("/", ".", "~"))
    own = folder.resolve().name.casefold()
    return parts[len(parts) - parts[::-1].index(own) :] if own in parts[:-1] else parts


def _only(index: dict[str, list[tuple[PurePosixPath, Path]]], name: str, folder: Path) -> Path | None:
    """The one image whose place ends as the path does, or is the end of an absolute one."""
    ending = _ending(name, folder)
    if not ending:
        return None
    suffix = PurePosixPath(ending[-1]).suffix
    is_absolute = re.match(r"/|~|[a-z]:", name.casefold()) is not None
    fitting = []
    for place, path in index.get(_stem(ending[-1]), ()):
        is_named = place.name == ending[-1] or suffix not in SUFFIXES
        compared = min(len(ending), len(place.parts)) if is_absolute else len(ending)
        if is_named and place.parts[-compared:-1] == ending[-compared:-1]:
            fitting.append(path)
    return fitting[0] if len(fitting) == 1 else None


def told_unlisted(paths: list[Path]) -> str:
    """How many images lie beside those of the table and are in no row of it; "" of none."""
    listed = {os.path.abspath(path) for path in paths}  # noqa: PTH100 - links stay as they are
    folders = {Path(path).parent for path in listed}
    beside = (path for folder in folders if folder.is_dir() for path in folder.iterdir() if path.is_file())
    unlisted = sorted(path for path in beside if str(path) not in listed and not why_no_image(path))
    return (
        f"{len(unlisted)} images beside those of the table are in no row: {unlisted[0].name}, ..." if unlisted else ""
    )
