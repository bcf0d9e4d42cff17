"""The dreams of a finished run: both classes of every seed in one call, channels of layers, radiographs that change."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from cxrjax.analysis import agreement
from cxrjax.base import Variables, devices
from cxrjax.base.numerics import new_key
from cxrjax.base.tasks import Task
from cxrjax.interpret import dream, objectives
from cxrjax.models import transfer as network
from cxrjax.runs.trained import TrainedRun

OCTAVES, FOURIER = "octaves", "fourier"  # parametrisations
_SMALL_STEP = 2.0  # grey levels an iteration, root mean square, of a radiograph that is to stay one
_FED = 32  # images a call when dreams are fed back


class Setting(NamedTuple):
    """How everything is dreamt."""

    ascents: Mapping[str, dream.Ascent]  # of `OCTAVES` and of `FOURIER`
    colour: bool = False
    key: int = 0  # of the noise and of the transformations


class Heads(NamedTuple):
    """The networks that dream."""

    net: network.Network
    seeds: tuple[int, ...]
    layers: Variables  # `transfer.layers` of all seeds' heads, which carry the axis S
    task: Task

    def of(self, place: int) -> Variables:
        """Layers of one seed, by its place."""
        frozen = {kind: stages.keys() for kind, stages in self.net.trunk.variables.items()}
        stacks = {
            kind: {name: tree for name, tree in stages.items() if name not in frozen.get(kind, ())}
            for kind, stages in self.layers.items()
        }
        return network.layers(self.net, jax.tree.map(lambda x: x[place], stacks))


def first_dream(net: network.Network, head: Variables) -> np.ndarray:
    """What the positive neuron of one seed responds to, [H, W] u8: the dream of every run's report."""
    aim = (network.layers(net, head), objectives.class_logit(net, 1))
    start = dream.noise(new_key(0), net.model.crop)[None]
    dreamt = dream.dream(objectives.channel_objective(net), aim, start)
    return np.asarray(dreamt.image[0].round().astype(jnp.uint8))


def load_heads(run: TrainedRun, most: int = 0) -> Heads:
    """The first `most` seeds' networks in memory, 218 MB each from fc6; 0: all."""
    seeds = run.seeds[: most or None]
    stacked = jax.tree.map(lambda *x: np.stack(x), *[run.head(seed) for seed in seeds])
    return Heads(run.net, seeds, jax.device_put(network.layers(run.net, stacked)), run.task)


def classes(heads: Heads, parametrisation: str, setting: Setting, on_step: dream.OnStep | None = None) -> dream.Dreams:
    """Each seed's neuron of the positive class, then each seed's of the other, from the same noise: D = 2 S.

    Args:
      heads: the networks.
      parametrisation: of `Setting.ascents`.
      setting: see `Setting`.
      on_step: see `dream.dream`; gets the dreams of one class at a time.
    """
    seed_axes, logits = network.seed_axes(heads.net), heads.net.model.logits
    parts = []
    for label in (1, 0):
        params = (heads.layers, objectives.class_logit(heads.net, label))
        parts.append(
            _ascend(heads, logits, params, (seed_axes, None), len(heads.seeds), parametrisation, setting, on_step)
        )
    return dream.Dreams(*map(jnp.concatenate, zip(*parts, strict=True)))


def channels(heads: Heads, layer: str, chosen: tuple[int, ...], parametrisation: str, setting: Setting) -> dream.Dreams:
    """Single channels of a layer of the first seed's network, D = as many as chosen.

    Raises:
      ValueError: if the layer has no such channel.
    """
    aims = jnp.stack([objectives.one_hot(heads.net, layer, channel) for channel in chosen])
    return _ascend(heads, layer, (heads.of(0), aims), (None, 0), len(chosen), parametrisation, setting)


def _ascend(
    heads: Heads,
    layer: str,
    params: tuple[Variables, jax.Array],
    axes: Any,
    count: int,
    parametrisation: str,
    setting: Setting,
    on_step: dream.OnStep | None = None,
) -> dream.Dreams:
    """From noise that is the same for all dreams, so that they differ by their networks alone."""
    key, ascent = new_key(setting.key), setting.ascents[parametrisation]
    noise_key, step_key = jax.random.split(key) if ascent.transform else (key, None)
    start = ascent.parametrisation.noise(noise_key, heads.net.model.crop, setting.colour)
    repeated, objective = jnp.broadcast_to(start, (count, *start.shape)), objectives.channel_objective(heads.net, layer)
    return dream.dream(objective, params, repeated, ascent, axes, on_step, step_key)


class Changed(NamedTuple):
    """Radiographs dreamt away from and towards the positive class."""

    start: np.ndarray  # [n, 227, 227] f32, 0..255
    away: np.ndarray  # the same
    towards: np.ndarray
    scores: np.ndarray  # [3, n], log odds of the positive class of the three


def radiographs(heads: Heads, images: np.ndarray, setting: Setting) -> Changed:
    """Images [n, 227, 227], 0..255, changed in small steps along the first seed's log odds of the positive class.

    One octave: a radiograph keeps its size, and what changes in it is no finer than it.
    """
    objective = objectives.channel_objective(heads.net)
    odds = objectives.log_odds(heads.net)
    start = jnp.asarray(images, jnp.float32)
    one_octave = dataclasses.replace(setting.ascents[OCTAVES], optimiser=dream.BandedSteps(_SMALL_STEP), octaves=1)
    away, towards = (dream.dream(objective, (heads.of(0), sign * odds), start, one_octave) for sign in (-1.0, 1.0))
    scores = [towards.scores[:, 0], -away.scores[:, -1], towards.scores[:, -1]]
    return Changed(np.asarray(start), np.asarray(away.image), np.asarray(towards.image), np.asarray(jnp.stack(scores)))


def transfer(heads: Heads, dreams: dream.Dreams, parametrisation: str) -> pd.DataFrame:
    """The dreams of `classes` as 8-bit images, seen by every seed's network: `DreamRecord.transfer`.

    Args:
      heads: the networks, which dreamt them.
      dreams: D = 2 S.
      parametrisation: by its name.
    """
    images = np.asarray(dreams.image.round().astype(jnp.uint8))
    odds = objectives.log_odds(heads.net)
    see = jax.jit(
        lambda layers, images: network.forward(heads.net.model, layers, images).output,
        compiler_options=devices.convolution_options(),
    )
    scores = []
    for place in range(len(heads.seeds)):
        layers = heads.of(place)
        logits = np.concatenate([see(layers, images[i : i + _FED]) for i in range(0, len(images), _FED)])
        scores.append(logits @ np.asarray(odds))
    aims = [heads.task.positive.name, heads.task.negative.name]
    keys = pd.MultiIndex.from_product([heads.seeds, aims, heads.seeds], names=["seen_by", "aim", "dreamt_by"])
    table = pd.DataFrame({"score": np.concatenate(scores).astype(float)}, index=keys).reset_index()
    table = table.assign(parametrisation=parametrisation, right=(table["score"] > 0) == (table["aim"] == aims[0]))
    return table[["parametrisation", "aim", "dreamt_by", "seen_by", "score", "right"]]


def numbers(dreams: dream.Dreams, seen: pd.DataFrame) -> dict[str, float | int | None]:
    """Own and transfer accuracy, dead dreams, and how alike the seeds' positive dreams are (`DreamRecord.numbers`).

    Of one seed transfer and stability are None.

    Args:
      dreams: see `classes`.
      seen: see `transfer`.
    """
    own = seen["dreamt_by"] == seen["seen_by"]
    seeds = len(dreams.image) // 2
    pictures = np.asarray(dreams.image[:seeds])
    grey = pictures if pictures.ndim == 3 else pictures.mean(-1)
    return {
        "own_accuracy": float(seen["right"][own].mean()),
        "transfer_accuracy": float(seen["right"][~own].mean()) if seeds > 1 else None,
        "dead": int(dreams.dead.sum()),
        "stability": agreement.mean_pairwise(agreement.ranks(agreement.reduce_maps(grey))) if seeds > 1 else None,
    }
