"""All that `experiments.deep_dream` shows of one run: dreams made, put into pictures, written."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import pandas as pd

from cxrjax.analysis import tables as run_files
from cxrjax.base import InputError
from cxrjax.base.files import Clock
from cxrjax.interpret import dream, grad_cam, objectives
from cxrjax.report.figures import sheets
from cxrjax.runs import dreams as dreaming
from cxrjax.runs import run_folder, tables
from cxrjax.runs.dreams import Heads, Setting
from cxrjax.runs.results import open_images
from cxrjax.runs.trained import TrainedRun

log = logging.getLogger(__name__)

_CHANNEL_SIDE, _SEED_SIDE, _START_SIDE, _POSTER_SIDE = 150, 150, 230, 520  # pixels of tiles
_FRAMES = 40  # of an animation, at most


class Wanted(NamedTuple):
    """What is to be dreamt."""

    seeds: int  # 0: all
    layers: tuple[str, ...]
    channels: int  # of each layer
    patients: int  # radiographs of either class that are changed
    images: tuple[str, ...]  # in place of these; (): none
    setting: Setting


class Made(NamedTuple):
    """The dreams of one run."""

    run: TrainedRun
    pictures: dict[str, np.ndarray]  # `DreamRecord.pictures` but for poster
    first: np.ndarray  # [H, W] or [H, W, 3] u8, the first seed's dream of the positive class, in octaves
    ascent: bytes  # GIF
    transfer: pd.DataFrame
    numbers: dict[str, Any]


def make(run: TrainedRun, wanted: Wanted) -> Made:
    """Dreams all that is wanted; says how far it is.

    Raises:
      ValueError: if a layer has not as many channels as wanted.
      InputError: if the run's images or checkpoints are not there.
    """
    chosen, setting = _chosen(run, run.seeds[0], wanted), wanted.setting  # first of all, since names may be wrong
    heads = dreaming.load_heads(run, wanted.seeds)
    frames: dict[str, list[np.ndarray]] = {name: [] for name in dreaming.PARAMETRISATIONS}
    dreams, seen = {}, []
    for name in dreaming.PARAMETRISATIONS:
        log.info("%s: dreams of %d seeds, %s", run.task.title, len(heads.seeds), name)
        dreams[name] = dreaming.classes(heads, name, setting, _watch(frames[name], 2 * _iterations(setting, name)))
        seen.append(dreaming.transfer(heads, dreams[name], name))
        _warn(run.task.title, name, dreams[name], heads)
    pictures = {"seeds": _seeds(dreams, heads), "layers": _layers(run, heads, wanted)}
    pictures["starts"] = _starts(heads, *chosen, setting)
    transfer = pd.concat(seen, ignore_index=True)
    numbers = {name: dreaming.numbers(dreams[name], part) for name, part in zip(dreams, seen, strict=True)}
    half = len(frames[dreaming.FOURIER]) // 2  # of the positive class
    ascent = sheets.animation(_thinned(frames[dreaming.FOURIER][:half]))
    first = _u8(dreams[dreaming.OCTAVES].image[0])
    return Made(run, pictures, first, ascent, transfer, numbers | {"settings": _told(wanted)})


def _iterations(setting: Setting, name: str) -> int:
    ascent = setting.octaves if name == dreaming.OCTAVES else setting.fourier
    return ascent.octaves * ascent.iterations


def _watch(frames: list[np.ndarray], total: int) -> dream.OnStep:
    """Keeps the first dream of each iteration, and tells how long the others will take."""
    clock = Clock(total)

    def on_step(_: int, images: jax.Array) -> None:
        frames.append(_u8(images[0]))
        if told := clock.tick(len(frames)):
            log.info("iteration %d of %d, %s", len(frames), total, told)

    return on_step


def write(folder: Path, made: Made, firsts: list[tuple[str, np.ndarray]]) -> None:
    """Writes the record of a run; `firsts` are the titles and first dreams of all runs, for the poster's figure."""
    titles, images = zip(*firsts, strict=True)
    poster = sheets.sheet([images], [""], titles, _POSTER_SIDE)
    pictures = {"poster": poster, **made.pictures}
    further = {"ascent.gif": made.ascent}
    run_folder.write_record(folder / run_folder.DREAMS, pictures, {"transfer": made.transfer}, made.numbers, further)


def last_line(made: Made) -> str:
    """What a person wants to know, in one line."""
    parts = []
    for name in dreaming.PARAMETRISATIONS:
        own, others = (made.numbers[name][key] for key in ("own_accuracy", "transfer_accuracy"))
        elsewhere = "" if others is None else f", by other seeds' {100 * others:.0f} %"
        parts.append(f"{name}: classified as dreamt by the own network {100 * own:.0f} %{elsewhere}")
    return f"{made.run.task.title}: dreams in {'; '.join(parts)}"


def _told(wanted: Wanted) -> dict[str, Any]:
    setting = wanted.setting
    return {
        "octaves": _settings(setting.octaves), "fourier": _settings(setting.fourier), "colour": setting.colour,
        "key": setting.key, "layers": list(wanted.layers), "channels": wanted.channels,
    }  # fmt: skip


def _settings(ascent: dream.Ascent) -> dict[str, float]:
    parts = (ascent.optimiser, ascent.parametrisation, *([ascent.transform] if ascent.transform else []))
    of_parts = {name: value for part in parts for name, value in vars(part).items()}
    return {"iterations": ascent.iterations, "octaves": ascent.octaves, "scale": ascent.scale, **of_parts}


def _warn(title: str, name: str, dreams: dream.Dreams, heads: Heads) -> None:
    seeds = heads.seeds
    for i in np.flatnonzero(np.asarray(dreams.dead)):
        log.warning(
            "%s, %s: the gradient of seed %d's %s neuron is zero everywhere; its dream stays where it is",
            title, name, seeds[i % len(seeds)], (heads.task.positive, heads.task.negative)[i // len(seeds)].name,
        )  # fmt: skip


def _u8(image: jax.Array) -> np.ndarray:
    return np.asarray(image).round().astype(np.uint8)


def _thinned(frames: list[np.ndarray]) -> list[np.ndarray]:
    """At most `_FRAMES`, the last one among them; more at the beginning, where more changes."""
    places = np.unique(np.round((len(frames) - 1) * np.linspace(0, 1, min(_FRAMES, len(frames))) ** 1.5).astype(int))
    return [frames[i] for i in places]


def _seeds(dreams: dict[str, dream.Dreams], heads: Heads) -> np.ndarray:
    """Rows: parametrisations of either class; columns: seeds."""
    tiles, names, seeds = [], [], heads.seeds
    for name, made in dreams.items():
        for place, side in enumerate((heads.task.positive, heads.task.negative)):
            tiles.append([_u8(x) for x in made.image[place * len(seeds) : (place + 1) * len(seeds)]])
            names.append(f"{side.name} neuron, {name}")
    return sheets.sheet(tiles, names, [f"seed {seed}" for seed in seeds], _SEED_SIDE)


def _layers(run: TrainedRun, heads: Heads, wanted: Wanted) -> np.ndarray:
    """Rows: layers in either parametrisation; columns: channels, the largest gain for the positives first."""
    tiles, names = [], []
    clock = Clock(len(wanted.layers) * len(dreaming.PARAMETRISATIONS))
    for layer in wanted.layers:
        chosen = _telling(heads, layer, wanted.channels)
        for name in dreaming.PARAMETRISATIONS:
            made = dreaming.channels(heads, layer, chosen, name, wanted.setting)
            tiles.append([_u8(x) for x in made.image] + [_blank(made.image)] * (wanted.channels - len(chosen)))
            dead = f"; {int(made.dead.sum())} without a gradient" if made.dead.any() else ""
            names.append(f"{layer}, {name}; channels {', '.join(map(str, chosen))}{dead}")
            if told := clock.tick(len(tiles)):
                log.info("%s: dreams of channels, %s, %s", run.task.title, layer, told)
    return sheets.sheet(tiles, names, [""] * wanted.channels, _CHANNEL_SIDE)


def _blank(images: jax.Array) -> np.ndarray:
    return np.full(images.shape[1:], 255, np.uint8)


def _telling(heads: Heads, layer: str, count: int) -> tuple[int, ...]:
    """Channels that raise the positive class most in the first seed's network.

    By the gradient of its log odds with respect to their activations at grey noise, largest first; of fc8 all classes.
    """
    if layer == heads.net.model.logits:
        return tuple(range(min(count, heads.net.model.num_classes)))
    image = dream.noise(jax.random.key(1), heads.net.model.crop)[None]
    gain = np.asarray(grad_cam.slope(heads.net.model, heads.of(0), image, objectives.log_odds(heads.net), layer)[0])
    return tuple(int(i) for i in np.argsort(-gain.reshape(-1, gain.shape[-1]).sum(0), kind="stable")[:count])


def _chosen(run: TrainedRun, seed: int, wanted: Wanted) -> tuple[np.ndarray, list[str]]:
    """Radiographs to be changed, [n, 227, 227] f32, and what they are: the mean one of a seed's validation, patients'.

    Raises:
      InputError: if an image is wanted that the run's data do not hold.
    """
    saved = run_files.read(run.folder)
    store = open_images(run.config, run.resolved.data_sha256, run.net.model.source, saved.images)
    known = saved.predictions
    known = known[known["seed"] == seed].reset_index(drop=True)
    labels = store.table.set_index("image")["labels"]
    if missing := [name for name in wanted.images if name not in labels]:
        raise InputError(f"--images must name images of the run's data, got {missing[0]!r}")
    names = list(wanted.images)
    for label in (1, 0) if not names else ():
        rows = known[known["label"] == label]
        names += rows["image"].iloc[_undecided(rows["score"])[: wanted.patients]].tolist()
    told = [f"{name}: {labels[name].replace('|', ', ') or 'no label'}" for name in names]
    pixels = tables.pictures(store, {*known["image"], *names})
    middle = run.net.model.middle
    crops = {name: np.asarray(image[middle, middle], np.float32) for name, image in pixels.items()}
    mean = np.mean([crops[name] for name in known["image"]], axis=0)
    return np.stack([mean, *(crops[name] for name in names)]), ["mean of the validation images", *told]


def _starts(heads: Heads, start: np.ndarray, names: list[str], setting: Setting) -> np.ndarray:
    """Rows: radiographs; columns: start, away from and towards the positive class, and what changed."""
    made = dreaming.radiographs(heads, start, setting)
    tiles = [
        [_u8(s), _u8(a), _u8(t), sheets.difference(s, a), sheets.difference(s, t)]
        for s, a, t in zip(made.start, made.away, made.towards, strict=True)
    ]
    lines = [
        f"{name}; log odds {s:+.1f}, {a:+.1f}, {t:+.1f}" for name, (s, a, t) in zip(names, made.scores.T, strict=True)
    ]
    positive = heads.task.positive.title
    columns = ["start", f"away from {positive}", f"towards {positive}", "changed by away", "changed by towards"]
    return sheets.sheet(tiles, lines, columns, _START_SIDE)


def _undecided(scores: pd.Series) -> np.ndarray:
    """Places of the scores, those nearest to 0.5 first: these images a small change may turn."""
    return np.argsort(np.abs(scores.to_numpy() - 0.5), kind="stable")
