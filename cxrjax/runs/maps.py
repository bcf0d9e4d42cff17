"""Where the networks of a finished run look, and their controls: maps, figures, tables, one network after the other."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from cxrjax.analysis import agreement, detection, localisation, map_tests
from cxrjax.base import InputError, Variables, progress
from cxrjax.base.codes import code
from cxrjax.base.config import RANDOM_TRUNK, SHUFFLED_LABELS, arm_path, moved_to
from cxrjax.base.numerics import new_key
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
    head: Callable[[int], Variables]

    def layers(self, seed: int) -> Variables:
        """Of one seed, 218 MB of them its head's from fc6, in memory."""
        return jax.device_put(transfer.layers(self.net, self.head(seed)))


class MapResults(NamedTuple):
    """What `compute_maps` measures."""

    focus: pd.DataFrame  # `map_tests.Tests.table`
    agreement: pd.DataFrame  # `agreement.Agreement.table`
    metrics: pd.DataFrame  # a row for each map, `localisation.COLUMNS`
    boxes: pd.DataFrame  # `detection.table`, empty where no image has a box
    notes: list[str]
    shown: dict[str, dict[str, np.ndarray]]
    """Of some images with boxes: name -> method -> map [crop, crop] by the first seed that explains it."""

    @property
    def verdicts(self) -> list[map_tests.Verdict]:
        """One of each metric of each method."""
        return map_tests.verdicts(self.focus)


def candidates(run: TrainedRun, weights: str | None) -> tuple[list[Candidate], list[str]]:
    """The trained networks and their controls, and what is missing, as codes.

    The head of random weights is the one that each seed began with; networks of shuffled labels and of a random trunk
    are the run's arms, where it was made with --floors.
    """
    candidates = [
        Candidate(localisation.TRAINED, run.net, run.head),
        Candidate("random_head", run.net, lambda seed: _initial(run.net, seed)),
    ]
    notes = []
    for name in ARMS:
        folder = arm_path(moved_to(run.config, run.folder), name)
        if not run_folder.is_finished(folder):
            notes.append(code("no_control", network=name))
            continue
        try:
            arm = load_run(folder, None if name == RANDOM_TRUNK else weights)
            candidates.append(Candidate(name, arm.net, arm.head))
        except InputError as error:
            notes.append(code("control_not_opened", network=name, error=error))
    return candidates, notes


def _initial(net: transfer.Network, seed: int) -> Variables:
    return jax.jit(net.initial)(plan.stream(new_key(seed), plan.INITIAL_WEIGHTS))


def compute_maps(
    candidates: list[Candidate], seeds: tuple[int, ...], images: ExplainedImages, methods: tuple[str, ...], dreams: bool
) -> MapResults:
    """Maps of every network, seed, method and image; figures as they come.

    Maps explain the log odds of the positive class. Of dreams from noise counts where they changed, against where lungs
    mostly lie (`ExplainedImages.mean_lungs`); each seed's is one "patient" of its intervals.

    Args:
      candidates: see `candidates`; the trained networks first.
      seeds: of these.
      images: see `explained.select_images`.
      methods: of `saliency.METHODS`.
      dreams: also measure where dreams of the positive class change the image.
    """
    regions = [images.lungs] + ([images.boxes] if images.boxes else [])
    drawn = detection.drawn_boxes(images.box_table, images.side, images.pixels.shape[1])
    rows, reduced, detected, shown = [], [], [], _to_show(images)
    for maps in _maps(candidates, seeds, images, methods):
        rows += [localisation.score_maps(maps, region) for region in regions]
        reduced.append(agreement.reduce(maps))
        detected.append(detection.score_maps(maps, drawn))
        for name, of_image in zip(maps.image, maps.maps, strict=True):
            if maps.network == localisation.TRAINED and name in shown:
                shown[name].setdefault(maps.method, of_image)
    metrics = [pd.concat([*rows, *map(localisation.baselines, regions)], ignore_index=True)] if methods else []
    if dreams:
        log.info("where dreams change the image")
        metrics.append(_dreams(candidates, seeds, images.mean_lungs))
    tests = [map_tests.table(table) for table in metrics]  # of dreams apart, whose images are no radiographs
    agreed = agreement.table(reduced)
    if images.boxes and methods:
        detected.append(detection.baselines(images.boxes, drawn))
    return MapResults(
        pd.concat([test.table for test in tests], ignore_index=True),
        agreed.table,
        pd.concat(metrics, ignore_index=True),
        detection.table(detected),
        [note for test in tests for note in test.notes] + agreed.notes,
        {name: maps for name, maps in shown.items() if maps},
    )


def _maps(
    candidates: list[Candidate], seeds: tuple[int, ...], images: ExplainedImages, methods: tuple[str, ...]
) -> Iterator[localisation.Maps]:
    total = len(candidates) * len(methods) * sum(len(images.of_seed[seed]) for seed in seeds)
    explained = [seed for seed in seeds if len(images.of_seed[seed])]
    with progress.stage("maps", total, "maps") as bar:
        for candidate, seed in itertools.product(candidates, explained):
            places, layers = images.of_seed[seed], candidate.layers(seed)
            about = (np.full(len(places), seed), images.image[places], images.patient[places])
            odds = objectives.log_odds(candidate.net)
            for method in methods:
                explain, key = saliency.METHODS[method], new_key(seed)
                maps = explain(key, candidate.net, layers, images.pixels[places], odds)
                yield localisation.Maps(candidate.name, method, *about, np.asarray(maps))
                bar.advance(len(places), network=candidate.name, seed=str(seed), method=method)


def _to_show(images: ExplainedImages) -> dict[str, dict[str, np.ndarray]]:
    """The first images by name that have a box and are explained."""
    if images.boxes is None:
        return {}
    boxed = np.intersect1d(images.image[images.explained], images.boxes.image)
    return {str(name): {} for name in boxed[:_OVERLAYS]}


def _dreams(candidates: list[Candidate], seeds: tuple[int, ...], lungs: np.ndarray) -> pd.DataFrame:
    """Figures of the squared change from noise to dream, of every network and seed, and of the baselines."""
    names = np.array([f"dream of seed {seed}" for seed in seeds])
    regions = localisation.Regions(localisation.LUNGS, names, names, np.broadcast_to(lungs, (len(seeds), *lungs.shape)))
    rows = []
    for candidate in candidates:
        objective, odds = objectives.channel_objective(candidate.net), objectives.log_odds(candidate.net)
        start, energy = dream.noise(new_key(0), candidate.net.model.crop), []
        for seed in seeds:  # one head at a time
            image = dream.dream(objective, (candidate.layers(seed), odds), start[None]).image[0]
            change = image - jax.image.resize(start, image.shape, "bilinear")
            energy.append(jax.image.resize(change**2, lungs.shape, "linear"))
        maps = np.maximum(np.asarray(jnp.stack(energy)), 0)
        of_seeds = localisation.Maps(candidate.name, DREAM, np.array(seeds), names, names, maps)
        rows.append(localisation.score_maps(of_seeds, regions))
    return pd.concat([*rows, localisation.baselines(regions)], ignore_index=True)


def write(
    folder: Path, images: ExplainedImages, results: MapResults, missing: list[str], settings: dict[str, Any]
) -> None:
    """Writes the record of a run; `missing` says which controls there are none of."""
    numbers = {
        "settings": settings,
        "images": len(images.explained),
        "lungs": images.notes[0],
        "notes": [*images.notes, *missing, *results.notes],
        "verdicts": sentences(results),
    }
    pictures = {"overlays": overlays(images, results)} if results.shown else {}
    tables = {name: getattr(results, name) for name in ("focus", "agreement", "metrics", "boxes")}
    run_folder.write_record(folder / run_folder.MAPS, pictures, tables, numbers)


def sentences(results: MapResults) -> list[str]:
    """Every verdict in words."""
    return [map_section.sentence(verdict, results.focus, ENGLISH) for verdict in results.verdicts]


def overlays(images: ExplainedImages, results: MapResults) -> np.ndarray:
    """Rows: images with boxes; columns: the image, and each method's map over it; boxes outlined, [H, W, 3] u8."""
    crop, tiles = images.pixels.shape[1], []
    for name, maps in results.shown.items():
        pixels = images.pixels[np.flatnonzero(images.image == name)[0]]
        of_image = images.box_table[images.box_table["image"] == name]
        boxes = of_image[["x", "y", "width", "height"]].to_numpy(float) * images.side
        boxes[:, :2] -= (images.side - crop) // 2  # pixels of the centre crop
        tiles.append(
            [sheets.overlay(pixels, of_method, boxes) for of_method in (np.zeros((crop, crop)), *maps.values())]
        )
    methods = list(next(iter(results.shown.values())))
    return sheets.sheet(tiles, list(results.shown), ["", *methods], _SIDE)


def last_line(title: str, results: MapResults) -> str:
    """What a person wants to know, in one line."""
    verdicts = results.verdicts
    good = [f"{verdict.method} ({verdict.metric}, {verdict.target})" for verdict in verdicts if verdict.everything]
    count = f"{len(good)} of {len(verdicts)} metrics beat all controls and baselines"
    return f"{title}: {count}: {', '.join(good) or 'none'}"
