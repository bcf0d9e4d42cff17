"""A finished run, ready for use: `run = load_run("runs/p_vs_nf")`, then `scores = run(images)`.

`predict.predict` scores image files instead, and refuses what is no radiograph.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from cxrjax.analysis.tables import read_table
from cxrjax.base import InputError, Variables, tasks, threads
from cxrjax.base.config import ExperimentConfig, question, question_paths
from cxrjax.base.tasks import Task
from cxrjax.data.decode import Reduction
from cxrjax.models import pretrained, transfer
from cxrjax.models.pretrained import Weights
from cxrjax.runs import exported, run_folder, setup
from cxrjax.training import bank, inputs, seed_batches, step
from cxrjax.training.losses import Loss

_READERS = 2  # heads that are read and hashed while another one scores
_FEW = (4, 16)  # images a trunk call where there are no more; on CPU both round as calls of 64, and 8 and 32 do not
BLOCK = 1024  # images whose pixels and activations are held at once: 67 MB and, from fc6, 38 MB


class TrainedRun(NamedTuple):
    """A finished run: one trunk, and the head of each seed.

    For `dream` and `saliency`: `objectives.channel_objective(run.net)` with `(transfer.layers(run.net, run.head(0)),
    objectives.class_logit(run.net, 1))` is its positive neuron.
    """

    folder: Path
    config: ExperimentConfig
    resolved: run_folder.Resolved
    seeds: tuple[int, ...]
    threshold: float | np.ndarray
    """Chosen on training images for the run's wanted sensitivity, mean over seeds, of many labels [K]; the fixed one is
    0.5."""
    net: transfer.Network
    head: Callable[[int], Variables]  # seed -> variables of its head, NumPy
    reduction: Reduction  # as the run's own images were reduced from their files

    @property
    def task(self) -> Task:
        """What the networks were asked."""
        return question(self.config)

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Probability of the positive class by each seed's network, from the centre crop and without dropout.

        An image that a seed was trained on scores better than a new one. The heads are read anew for each call, so many
        images in one call are cheaper than many calls; see `load_run`'s `keep`.

        Args:
          images: [N, source, source] u8 (AlexNet 256 a side), 0 is black, as a store holds them; a memory map will do.

        Returns:
          [N, S] f32, 0..1, a column for each of `seeds`; of many labels [N, S, K].

        Raises:
          ValueError: if `images` has another shape or type.
          InputError: if a checkpoint is damaged.
        """
        side = self.net.model.source
        if images.ndim != 3 or images.shape[1:] != (side, side) or images.dtype != np.uint8:
            raise ValueError(f"images must be uint8 [N, {side}, {side}], got {images.dtype} {list(images.shape)}")
        loss, labels = Loss(self.task.is_multilabel), [len(self.task.parts)] * self.task.is_multilabel
        scores = np.empty((len(images), len(self.seeds), *labels), np.float32)
        for start in range(0, len(images), BLOCK):
            block = slice(start, start + BLOCK)
            features = _features(self.net.trunk, images[block])
            for column, variables in enumerate(threads.ahead(self.head, self.seeds, _READERS)):
                head = jax.tree.map(lambda x: x[None], variables)
                scores[block, column] = step.score_rows(
                    self.net.head, loss, head, features, np.arange(len(images[block]))
                )
        return scores


def load_run(folder: str | Path, weights: str | Path | None = None, keep: bool = False) -> TrainedRun:
    """Opens a finished run, or what `experiments.export` wrote of one, which holds its trunk, too.

    The trunk comes from the weights that the run was given, which must be the same still: their SHA-256 is compared
    with the run's, as is each head's. A run of random weights draws its trunk again, which another version of JAX may
    do otherwise. Scores are those of the run's predictions.csv up to rounding (float32: 1e-6); another kind of device
    rounds differently.

    Args:
      folder: `--out` of the experiment, of one with many labels also `OUT/findings/NAME`, as a network of two classes;
        or of the export.
      weights: where its weights lie now; None: where they lay.
      keep: heads stay in memory once read (218 MB a seed from fc6); else each block of 1,024 images reads and hashes
        them again (0.2 s a seed), and three are held at a time.

    Raises:
      InputError: if the folder holds no finished run, or its weights or checkpoints are missing or not the same.
    """
    folder = Path(folder)
    if exported.is_export(folder):
        run = TrainedRun(folder, **exported.read(folder))
        return run._replace(head=functools.cache(run.head)) if keep else run
    config, resolved = run_folder.read_finished(folder)
    loaded = _weights(folder, str(weights or config.weights), resolved.weights_sha256)
    net = setup.build(config, loaded)
    convert: Callable[[Variables], Variables] = lambda head: head  # noqa: E731
    findings = [part.positive.finding for part in tasks.get(config.task).parts]
    checkpoints = (folder.parents[1] if config.finding else folder) / "checkpoints"
    if config.finding:
        net, convert = transfer.of_logit(net, findings.index(config.finding))
    places = question_paths(folder, config).values()
    tables = [read_table(place / "results.csv", ["seed", "params_sha256", "threshold"]) for place in places]
    hashes = dict(zip(tables[0]["seed"].astype(int), tables[0]["params_sha256"], strict=True))
    seeds = tuple(range(config.first_seed, config.first_seed + config.seeds))
    for seed in seeds:
        if seed not in hashes or not seed_batches.place_of(checkpoints, seed).is_dir():
            raise InputError(f"{folder}: seed {seed} must be in results.csv and in checkpoints, and is not")

    def head(seed: int) -> Variables:
        return convert(read_head(seed_batches.place_of(checkpoints, seed), hashes[seed]))

    thresholds, read = [float(table["threshold"].mean()) for table in tables], functools.cache(head) if keep else head
    threshold = np.array(thresholds) if question(config).is_multilabel else thresholds[0]
    return TrainedRun(folder, config, resolved, seeds, threshold, net, read, _reduction(folder, net.model.source))


def _reduction(folder: Path, side: int) -> Reduction:
    """As the run's store says how it was made; a store of images that were drawn says nothing.

    Args:
      folder: of the run.
      side: width and height that the network takes.
    """
    try:
        made = json.loads((folder / "summary.json").read_text(encoding="utf-8"))["data"]["made"]
    except (ValueError, KeyError) as error:
        raise InputError(f"{folder / 'summary.json'} is damaged, or of another version: {error}") from error
    return Reduction.recorded(made, side)


def _weights(folder: Path, place: str, expected: str | None) -> Weights | None:
    """What the trunk is made of, if it is what the run had."""
    try:
        weights = None if place == "random" else pretrained.load_weights(place)
    except InputError as error:
        raise InputError(f"{folder} needs the weights that it was trained from: {error}") from error
    now = setup.weights_digest(weights)
    if now != expected:
        was, got = (f"SHA-256 {value}" if value else "random" for value in (expected, now))
        raise InputError(f"{folder} needs the weights that it was trained from ({was}), and {place} is not ({got})")
    return weights


def read_head(place: Path, expected: str) -> Variables:
    """Variables of one seed's head, NumPy.

    Args:
      place: of the seed's checkpoint.
      expected: SHA-256 of the parameters.

    Raises:
      InputError: if the checkpoint is damaged, or has other parameters.
    """
    variables: Variables = jax.tree.map(lambda x: x[0], seed_batches.load(place).variables)
    if transfer.digest(variables) != expected:
        raise InputError(f"{place} must hold the parameters that results.csv names by their SHA-256, and does not")
    return variables


def _features(trunk: transfer.Trunk, images: np.ndarray) -> bank.Bank:
    """What enters the head of [n, source, source] u8, exactly as in validation."""
    pipeline = inputs.Resident(jnp.asarray(images), trunk.model.crop)
    rows, size = np.arange(len(images)), next((size for size in _FEW if len(images) <= size), bank.BATCH)
    return bank.build(trunk, pipeline, rows, bank.CENTRE, len(images), batch_size=size)
