"""All that `experiments.deep_dream` shows of one run: dreamt, put into pictures, written."""

from __future__ import annotations

import itertools
import logging
from typing import Any, NamedTuple

import jax
import numpy as np
import pandas as pd

from cxrjax.analysis import tables as run_files
from cxrjax.base import InputError, progress
from cxrjax.base.numerics import new_key
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


class DreamResults(NamedTuple):
    """The dreams of one run."""

    run: TrainedRun
    pictures: dict[str, np.ndarray]  # `DreamRecord.pictures` but for poster
    first: np.ndarray  # [H, W] or [H, W, 3] u8, the first seed's dream of the positive class, in octaves
    ascent: bytes  # GIF
    transfer: pd.DataFrame
    numbers: dict[str, Any]


def make(run: TrainedRun, wanted: Wanted) -> DreamResults:
    """Dreams all that is wanted; says how far it is.

    Raises:
      ValueError: if a layer has not as many channels as wanted.
      InputError: if the run's images or checkpoints are not there.
    """
    starts, names = _chosen(run, run.seeds[0], wanted)  # first of all, since names may be wrong
    heads, setting = dreaming.load_heads(run, wanted.seeds), wanted.setting
    frames: dict[str, list[np.ndarray]] = {name: [] for name in setting.ascents}
    dreams, transfers, numbers = {}, [], {}
    for name, ascent in setting.ascents.items():
        title = f"{run.task.title}: dreams of {len(heads.seeds)} seeds, {name}"
        with progress.stage(title, 2 * ascent.octaves * ascent.iterations, "iterations") as bar:
            dreams[name] = dreaming.classes(heads, name, setting, _watch(frames[name], bar))
        transfers.append(dreaming.transfer(heads, dreams[name], name))
        numbers[name] = dreaming.numbers(dreams[name], transfers[-1])
        _warn(name, dreams[name], heads)
    pictures = {
        "seeds": _seeds(dreams, heads),
        "layers": _layers(heads, wanted),
        "starts": _starts(heads, starts, names, setting),
    }
    half = len(frames[dreaming.FOURIER]) // 2  # of the positive class
    return DreamResults(
        run,
        pictures,
        first=_u8(dreams[dreaming.OCTAVES].image[0]),
        ascent=sheets.animation(_thinned(frames[dreaming.FOURIER][:half])),
        transfer=pd.concat(transfers, ignore_index=True),
        numbers=numbers | {"settings": _settings(wanted)},
    )


def _watch(frames: list[np.ndarray], bar: progress.Stage) -> dream.OnStep:
    """Keeps the first dream of each iteration."""

    def on_step(_: int, images: jax.Array) -> None:
        frames.append(_u8(images[0]))
        bar.advance()

    return on_step


def write(results: DreamResults, firsts: list[tuple[str, np.ndarray]]) -> None:
    """Writes the record of a run; `firsts` are the titles and first dreams of all runs, for the poster's figure."""
    titles, images = zip(*firsts, strict=True)
    pictures = {"poster": sheets.sheet([images], [""], titles, _POSTER_SIDE), **results.pictures}
    folder, tables = results.run.folder / run_folder.DREAMS, {"transfer": results.transfer}
    run_folder.write_record(folder, pictures, tables, results.numbers, {"ascent.gif": results.ascent})


def last_line(results: DreamResults) -> str:
    """What a person wants to know, in one line."""
    parts = []
    for name in (dreaming.OCTAVES, dreaming.FOURIER):
        own, others = (results.numbers[name][key] for key in ("own_accuracy", "transfer_accuracy"))
        elsewhere = "" if others is None else f", by other seeds' {100 * others:.0f} %"
        parts.append(f"{name}: classified as dreamt by the own network {100 * own:.0f} %{elsewhere}")
    return f"{results.run.task.title}: dreams in {'; '.join(parts)}"


def _settings(wanted: Wanted) -> dict[str, Any]:
    """How was dreamt, for JSON."""
    settings: dict[str, Any] = {}
    for name, ascent in wanted.setting.ascents.items():
        settings[name] = {"iterations": ascent.iterations, "octaves": ascent.octaves, "scale": ascent.scale}
        for part in filter(None, (ascent.optimiser, ascent.parametrisation, ascent.transform)):
            settings[name] |= vars(part)
    further = {"colour": wanted.setting.colour, "key": wanted.setting.key}
    return settings | further | {"layers": list(wanted.layers), "channels": wanted.channels}


def _warn(name: str, dreams: dream.Dreams, heads: Heads) -> None:
    for i in np.flatnonzero(np.asarray(dreams.dead)):
        side, place = divmod(int(i), len(heads.seeds))
        log.warning(
            "%s, %s: the gradient of seed %d's %s neuron is zero everywhere; its dream stays where it is",
            heads.task.title, name, heads.seeds[place], (heads.task.positive, heads.task.negative)[side].name,
        )  # fmt: skip


def _u8(image: jax.Array | np.ndarray) -> np.ndarray:
    return np.asarray(image).round().astype(np.uint8)


def _thinned(frames: list[np.ndarray]) -> list[np.ndarray]:
    """At most `_FRAMES`, the last one among them; more at the beginning, where more changes."""
    places = np.unique(np.round((len(frames) - 1) * np.linspace(0, 1, min(_FRAMES, len(frames))) ** 1.5).astype(int))
    return [frames[i] for i in places]


def _seeds(dreams: dict[str, dream.Dreams], heads: Heads) -> np.ndarray:
    """Rows: parametrisations of either class; columns: seeds."""
    sides = (heads.task.positive, heads.task.negative)
    tiles = [half for of_both in dreams.values() for half in np.split(_u8(of_both.image), 2)]
    names = [f"{side.name} neuron, {name}" for name in dreams for side in sides]
    return sheets.sheet([list(row) for row in tiles], names, [f"seed {seed}" for seed in heads.seeds], _SEED_SIDE)


def _layers(heads: Heads, wanted: Wanted) -> np.ndarray:
    """Rows: layers in either parametrisation; columns: channels, the largest gain for the positives first."""
    tiles, names = [], []
    rows = list(itertools.product(wanted.layers, wanted.setting.ascents))
    with progress.stage(f"{heads.task.title}: dreams of channels", len(rows), "rows") as bar:
        for layer, name in rows:
            chosen = _raising_channels(heads, layer, wanted.channels)
            dreams = dreaming.channels(heads, layer, chosen, name, wanted.setting)
            blank = np.full(dreams.image.shape[1:], 255, np.uint8)
            tiles.append([*_u8(dreams.image), *[blank] * (wanted.channels - len(chosen))])
            dead = f"; {int(dreams.dead.sum())} without a gradient" if dreams.dead.any() else ""
            names.append(f"{layer}, {name}; channels {', '.join(map(str, chosen))}{dead}")
            bar.advance(layer=layer)
    return sheets.sheet(tiles, names, [""] * wanted.channels, _CHANNEL_SIDE)


def _raising_channels(heads: Heads, layer: str, count: int) -> tuple[int, ...]:
    """Channels that raise the positive class most in the first seed's network.

    By the gradient of its log odds with respect to their activations at grey noise, largest first; of fc8 all classes.
    """
    model = heads.net.model
    if layer == model.logits:
        return tuple(range(min(count, model.num_classes)))
    image = dream.noise(new_key(1), model.crop)[None]
    gain = np.asarray(grad_cam.slope(model, heads.of(0), image, objectives.log_odds(heads.net), layer)[0])
    return tuple(int(i) for i in np.argsort(-gain.reshape(-1, gain.shape[-1]).sum(0), kind="stable")[:count])


def _chosen(run: TrainedRun, seed: int, wanted: Wanted) -> tuple[np.ndarray, list[str]]:
    """Radiographs to be changed, [n, crop, crop] f32, and their titles: the mean one of a seed's validation, patients'.

    Patients' are those whose score is nearest to 0.5, which a small change may turn.

    Raises:
      InputError: if an image is wanted that the run's data do not hold.
    """
    saved, model = run_files.read(run.folder), run.net.model
    store = open_images(run.config, run.resolved.data_sha256, model.source, saved.images)
    predictions = saved.predictions[saved.predictions["seed"] == seed]
    labels = store.table.set_index("image")["labels"]
    if missing := [name for name in wanted.images if name not in labels]:
        raise InputError(f"--images must name images of the run's data, got {missing[0]!r}")
    names = list(wanted.images)
    for label in (1, 0) if not names else ():
        of_class = predictions[predictions["label"] == label]
        nearest = (of_class["score"] - 0.5).abs().sort_values(kind="stable").index[: wanted.patients]
        names += of_class["image"][nearest].tolist()
    pixels = tables.pictures(store, {*predictions["image"], *names})
    crops = {name: image[model.middle, model.middle].astype(np.float32) for name, image in pixels.items()}
    mean = np.mean([crops[name] for name in predictions["image"]], axis=0)
    titles = [f"{name}: {labels[name].replace('|', ', ') or 'no label'}" for name in names]
    return np.stack([mean, *(crops[name] for name in names)]), ["mean of the validation images", *titles]


def _starts(heads: Heads, start: np.ndarray, names: list[str], setting: Setting) -> np.ndarray:
    """Rows: radiographs; columns: start, away from and towards the positive class, and what changed."""
    changed = dreaming.radiographs(heads, start, setting)
    tiles, lines = [], []
    for name, s, a, t, odds in zip(names, *changed[:3], changed.scores.T, strict=True):
        tiles.append([_u8(s), _u8(a), _u8(t), sheets.difference(s, a), sheets.difference(s, t)])
        lines.append(f"{name}; log odds {', '.join(f'{value:+.1f}' for value in odds)}")
    positive = heads.task.positive.title
    columns = ["start", f"away from {positive}", f"towards {positive}", "changed by away", "changed by towards"]
    return sheets.sheet(tiles, lines, columns, _START_SIDE)
