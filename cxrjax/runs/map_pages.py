"""All that `experiments.where_it_looks` writes of one run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from cxrjax.report.figures import sheets
from cxrjax.report.language import ENGLISH
from cxrjax.report.sections import maps as map_section
from cxrjax.runs import record
from cxrjax.runs.explained import Watched
from cxrjax.runs.maps import Found

_SIDE = 230  # pixels of a tile


def write(folder: Path, seen: Watched, found: Found, missing: list[str], settings: dict[str, Any]) -> None:
    """Writes the record of a run; `missing` says which controls there are none of."""
    numbers = {
        "settings": settings,
        "images": len({int(place) for places in seen.of_seed.values() for place in places}),
        "lungs": seen.lung_source,
        "notes": [*seen.notes, *missing, *found.notes],
        "verdicts": sentences(found),
    }
    pictures = {"overlays": overlays(seen, found)} if found.shown else {}
    tables = {"focus": found.focus, "agreement": found.agreement, "metrics": found.metrics}
    record.write(folder / record.MAPS, pictures, tables, numbers)


def overlays(seen: Watched, found: Found) -> np.ndarray:
    """Rows: images with boxes; columns: the image, and each method's map over it; boxes outlined, [H, W, 3] u8."""
    place = {name: row for row, name in enumerate(seen.image)}
    methods = list(next(iter(found.shown.values())))
    tiles = []
    for name, maps in found.shown.items():
        pixels, boxes = seen.pixels[place[name]], _boxes(seen, name)
        tiles.append(
            [
                sheets.overlay(pixels, np.zeros(pixels.shape), boxes),
                *(sheets.overlay(pixels, maps[method], boxes) for method in methods),
            ]
        )
    return sheets.sheet(tiles, list(found.shown), ["", *methods], _SIDE)


def _boxes(seen: Watched, name: str) -> list[tuple[float, ...]]:
    """x, y, width, height in pixels of the centre crop."""
    own = seen.box_table[seen.box_table["image"] == name]
    pixels = own[["x", "y", "width", "height"]].to_numpy(float) * seen.side
    corner = (seen.side - seen.pixels.shape[1]) // 2
    return [(x - corner, y - corner, width, height) for x, y, width, height in pixels]


def sentences(found: Found) -> list[str]:
    """Every verdict in words."""
    return [map_section.sentence(verdict, found.focus, ENGLISH) for verdict in found.verdicts]


def last_line(title: str, found: Found) -> str:
    """What a person wants to know, in one line."""
    good = [f"{one.method} ({one.metric}, {one.target})" for one in found.verdicts if one.everything]
    count = f"{len(good)} of {len(found.verdicts)} metrics beat all controls and baselines"
    return f"{title}: {count}: {', '.join(good) or 'none'}"
