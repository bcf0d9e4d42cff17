"""Where the networks of a finished run look, and their controls: maps, figures, tables, one network after the other."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from cxrjax.analysis import agreement, localisation, map_tests
from cxrjax.base import InputError, Params
from cxrjax.base.config import RANDOM_TRUNK, SHUFFLED_LABELS, arm_path, moved_to
from cxrjax.base.files import Clock
from cxrjax.interpret import dream, objectives, saliency
from cxrjax.models import transfer
from cxrjax.report.figures import sheets
from cxrjax.report.language import ENGLISH
from cxrjax.report.sections import maps as map_section
from cxrjax.runs import run_folder
from cxrjax.runs.explained import ExplainedImages
from cxrjax.runs.trained import TrainedRun, load_run
from cxrjax.training import plan

log = logging.getLogger(__name__)

DREAM = "dream"  # as a method: where an image changes that raises the positive class from noise
ARMS = (SHUFFLED_LABELS, RANDOM_TRUNK)  # trained controls, named as in `localisation.CONTROLS`
_OVERLAYS = 4  # images that are shown
_SIDE = 230  # pixels of a tile


class Candidate(NamedTuple):
    """A network of each seed, trained or a control."""

    name: str  # `localisation.TRAINED` or one of `localisation.CONTROLS`
    net: transfer.Network
    head: Callable[[int], Params]


class MapResults(NamedTuple):
    """What `compute_maps` measures."""

    focus: pd.DataFrame  # `map_tests.Tests.table`
    agreement: pd.DataFrame  # `agreement.Agreement.table`
    metrics: pd.DataFrame  # a row for each map, `localisation.COLUMNS`
    verdicts: list[map_tests.Verdict]
    notes: list[str]
    shown: dict[str, dict[str, np.ndarray]]
    """Of some images with boxes: name -> method -> map [227, 227] by the first seed that explains it."""


def candidates(run: TrainedRun, weights: str | None) -> tuple[list[Candidate], list[str]]:
    """The trained networks and their controls, and what is missing.

    The head of random weights is the one that each seed began with; networks of shuffled labels and of a random trunk
    are the run's arms, where it was made with --floors.
    """
    found = [
        Candidate(localisation.TRAINED, run.net, run.head),
        Candidate("random_head", run.net, lambda seed: _initial(run.net, seed)),
    ]
    notes = []
    for name in ARMS:
        folder = arm_path(moved_to(run.config, run.folder), name)
        if not run_folder.is_finished(folder):
            notes.append(f"No control {name}: the run has none (--floors trains it).")
            continue
        try:
            other = load_run(folder, None if name == RANDOM_TRUNK else weights)
        except InputError as error:
            notes.append(f"No control {name}: {error}")
            continue
        found.append(Candidate(name, other.net, other.head))
    return found, notes


def _initial(net: transfer.Network, seed: int) -> Params:
    return jax.jit(net.initial)(plan.stream(jax.random.key(seed), plan.INITIAL_WEIGHTS))


def compute_maps(
    known: list[Candidate], seeds: tuple[int, ...], images: ExplainedImages, methods: tuple[str, ...], dreams: bool
) -> MapResults:
    """Maps of every network, seed, method and image; figures as they come.

    Maps explain the log odds of the positive class. Of dreams from noise counts where they changed, against where lungs
    mostly lie (`ExplainedImages.mean_lungs`); each seed's is one "patient" of its intervals.

    Args:
      known: see `candidates`; the trained networks first.
      seeds: of these.
      images: see `explained.select_images`.
      methods: of `saliency.METHODS`.
      dreams: also measure where dreams of the positive class change the image.
    """
    regions = [images.lungs] + ([images.boxes] if images.boxes else [])
    rows, reduced, shown = [], [], _to_show(images)
    if methods:
        for maps in _maps(known, seeds, images, methods):
            rows += [localisation.score_maps(maps, region) for region in regions]
            reduced.append(agreement.reduce(maps))
            _kept(shown, maps)
        rows += [localisation.baselines(region) for region in regions]
    agreed = agreement.table(reduced)
    found = [map_tests.table(pd.concat(rows, ignore_index=True))] if rows else []
    if dreams:
        log.info("where dreams change the image")
        rows.append(_dreams(known, seeds, images.mean_lungs))
        found.append(map_tests.table(rows[-1]))
    table = pd.concat([one.table for one in found], ignore_index=True)
    return MapResults(
        table,
        agreed.table,
        pd.concat(rows, ignore_index=True),
        map_tests.verdicts(table),
        [note for one in found for note in one.notes] + agreed.notes,
        {name: maps for name, maps in shown.items() if maps},
    )


def _maps(
    known: list[Candidate], seeds: tuple[int, ...], images: ExplainedImages, methods: tuple[str, ...]
) -> Iterator[localisation.Maps]:
    total = len(known) * len(methods) * sum(len(images.of_seed[seed]) for seed in seeds)
    clock, behind = Clock(total), 0
    for candidate in known:
        odds = objectives.log_odds(candidate.net)
        for seed in seeds:
            places = images.of_seed[seed]
            if not len(places):
                continue
            layers = jax.device_put(transfer.layers(candidate.net, candidate.head(seed)))
            for method in methods:
                made = saliency.METHODS[method](
                    jax.random.key(seed), candidate.net, layers, images.pixels[places], odds
                )
                yield localisation.Maps(
                    candidate.name, method, np.full(len(places), seed), images.image[places], images.patient[places],
                    np.asarray(made),
                )  # fmt: skip
                behind += len(places)
                if told := clock.tick(behind):
                    log.info("%s, seed %d, %s: %d of %d maps, %s", candidate.name, seed, method, behind, total, told)


def _kept(shown: dict[str, dict[str, np.ndarray]], maps: localisation.Maps) -> None:
    """Takes the trained networks' maps of what is to be shown; the first seed's stays."""
    for name, one in zip(maps.image, maps.maps, strict=True):
        if maps.network == localisation.TRAINED and name in shown:
            shown[name].setdefault(maps.method, one)


def _to_show(images: ExplainedImages) -> dict[str, dict[str, np.ndarray]]:
    """The first images by name that have a box and are explained."""
    explained = {str(images.image[place]) for places in images.of_seed.values() for place in places}
    boxed = set() if images.boxes is None else set(map(str, images.boxes.image))
    return {name: {} for name in sorted(explained & boxed)[:_OVERLAYS]}


def _dreams(known: list[Candidate], seeds: tuple[int, ...], lungs: np.ndarray) -> pd.DataFrame:
    """Figures of the squared change from noise to dream, of every network and seed, and of the baselines."""
    names = np.array([f"dream of seed {seed}" for seed in seeds])
    regions = localisation.Regions(localisation.LUNGS, names, names, np.broadcast_to(lungs, (len(seeds), *lungs.shape)))
    rows = []
    for candidate in known:
        aim = objectives.channel_objective(candidate.net)
        start = dream.noise(jax.random.key(0), candidate.net.model.crop)
        odds = objectives.log_odds(candidate.net)
        energy = []
        for seed in seeds:  # one head at a time, 218 MB
            layers = transfer.layers(candidate.net, candidate.head(seed))
            image = dream.dream(aim, (layers, odds), start[None]).image[0]
            change = image - jax.image.resize(start, image.shape, "bilinear")
            energy.append(jax.image.resize(change**2, lungs.shape, "linear"))
        maps = np.maximum(np.asarray(jnp.stack(energy)), 0)
        rows.append(
            localisation.score_maps(
                localisation.Maps(candidate.name, DREAM, np.array(seeds), names, names, maps), regions
            )
        )
    return pd.concat([*rows, localisation.baselines(regions)], ignore_index=True)


def write(
    folder: Path, images: ExplainedImages, found: MapResults, missing: list[str], settings: dict[str, Any]
) -> None:
    """Writes the record of a run; `missing` says which controls there are none of."""
    numbers = {
        "settings": settings,
        "images": len({int(place) for places in images.of_seed.values() for place in places}),
        "lungs": images.lung_source,
        "notes": [*images.notes, *missing, *found.notes],
        "verdicts": sentences(found),
    }
    pictures = {"overlays": overlays(images, found)} if found.shown else {}
    tables = {"focus": found.focus, "agreement": found.agreement, "metrics": found.metrics}
    run_folder.write_record(folder / run_folder.MAPS, pictures, tables, numbers)


def sentences(found: MapResults) -> list[str]:
    """Every verdict in words."""
    return [map_section.sentence(verdict, found.focus, ENGLISH) for verdict in found.verdicts]


def overlays(images: ExplainedImages, found: MapResults) -> np.ndarray:
    """Rows: images with boxes; columns: the image, and each method's map over it; boxes outlined, [H, W, 3] u8."""
    place = {name: row for row, name in enumerate(images.image)}
    methods = list(next(iter(found.shown.values())))
    tiles = []
    for name, maps in found.shown.items():
        pixels, boxes = images.pixels[place[name]], _boxes(images, name)
        tiles.append(
            [
                sheets.overlay(pixels, np.zeros(pixels.shape), boxes),
                *(sheets.overlay(pixels, maps[method], boxes) for method in methods),
            ]
        )
    return sheets.sheet(tiles, list(found.shown), ["", *methods], _SIDE)


def _boxes(images: ExplainedImages, name: str) -> list[tuple[float, ...]]:
    """x, y, width, height in pixels of the centre crop."""
    own = images.box_table[images.box_table["image"] == name]
    pixels = own[["x", "y", "width", "height"]].to_numpy(float) * images.side
    corner = (images.side - images.pixels.shape[1]) // 2
    return [(x - corner, y - corner, width, height) for x, y, width, height in pixels]


def last_line(title: str, found: MapResults) -> str:
    """What a person wants to know, in one line."""
    good = [f"{one.method} ({one.metric}, {one.target})" for one in found.verdicts if one.everything]
    count = f"{len(good)} of {len(found.verdicts)} metrics beat all controls and baselines"
    return f"{title}: {count}: {', '.join(good) or 'none'}"
