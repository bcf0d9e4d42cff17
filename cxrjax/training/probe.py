"""The linear probe: a logistic regression (`logistic`) on what the frozen stages give on of centre crops.

The last frozen stage's output is the feature vector: flat where the network's own classifier flattens or averages, else
averaged over the map (`Model.with_linear_head`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.special import expit

from cxrjax.base import Variables, devices, progress, threads
from cxrjax.models.model import LINEAR
from cxrjax.models.staged import vector
from cxrjax.training import bank as banks
from cxrjax.training import logistic, seed_batches
from cxrjax.training.logistic import Probe
from cxrjax.training.loop import Fitted, History
from cxrjax.training.plan import SeedData, Workload

_STAGE = "linear probe"
_PIECE = 256  # images whose activations are averaged at once


class Scores(NamedTuple):
    """What a probe says of a seed's validation images."""

    val: np.ndarray  # [v] f32, 0..1, of many labels [v, K]
    strength: np.ndarray  # [K] f32, C


def validate(workload: Workload, runs: Sequence[SeedData]) -> list[Scores]:
    """Fits a probe to each seed's training images and scores its validation images."""
    activations = _Activations(workload, runs)

    def scores(run: SeedData) -> Scores:
        probe = _fit(workload, activations(run.train), run)
        val = expit(probe.logits(activations(run.val)))
        return Scores(val if workload.loss.multilabel else val[:, 0], probe.strength)

    # Most of a fit are eigenvectors, which LAPACK seeks on one core.
    results = []
    with progress.stage(_STAGE, len(runs), "seeds") as bar:
        for of_seed in threads.ahead(scores, runs):
            results.append(of_seed)
            bar.advance(1, C=_strength(of_seed.strength))
    return results


def train(workload: Workload, runs: Sequence[SeedData], folder: Path) -> Iterator[Fitted]:
    """As `seed_batches.train`: fits and saves what is not there yet; yields each seed's result, which has one epoch.

    Seed after seed by one program: a seed gives the same alone, and none waits for the slowest of all.

    Args:
      workload: its network has a linear head.
      runs: S of them.
      folder: of the checkpoints; all processes must see it.
    """
    activations = _Activations(workload, runs)
    with progress.stage(_STAGE, len(runs), "seeds") as bar:
        for run in runs:
            place = seed_batches.place_of(folder, run.seed)
            if not devices.broadcast_flag(place.is_dir()):  # a slower process must not find what the first just saved
                fitted = _fitted(workload, activations, run, bar)
                if devices.is_first():
                    seed_batches.save(place, fitted)
                devices.wait_for_all(place.name)
            else:
                bar.skip(1)
            yield seed_batches.load(place)


class _Activations:
    """Feature vectors of images by their row of the store: the trunk's activations of centre crops."""

    def __init__(self, workload: Workload, runs: Sequence[SeedData]) -> None:
        """Runs the trunk over all images of the runs, unless the cache has them."""
        rows = np.unique(np.concatenate([rows for run in runs for rows in (run.train, run.val)]))
        size = len(workload.labels)
        self._bank = banks.build(workload.net.trunk, workload.pipeline, rows, banks.CENTRE, size, workload.cache)

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        """[n, d] f32 of rows [n]."""
        parts = banks.pieces(self._bank, rows[None], _PIECE)
        return np.concatenate([np.asarray(vector(x[0].astype(np.float32))) for x in parts])


def _fit(workload: Workload, features: np.ndarray, run: SeedData) -> Probe:
    """The probe of a seed's training images [n, d]."""
    labels = _labels(workload, run)
    if run.patients is None:
        raise ValueError(f"patients of seed {run.seed} must be given: the strength is chosen by folds of them")
    return logistic.fit(features, labels.reshape(len(labels), -1), run.patients, run.seed)


def _strength(strength: np.ndarray) -> str:
    return ", ".join(f"{c:g}" for c in np.unique(strength))


def _labels(workload: Workload, run: SeedData) -> np.ndarray:
    return workload.labels[run.train] if run.train_labels is None else run.train_labels


def _fitted(workload: Workload, activations: _Activations, run: SeedData, bar: progress.Stage) -> Fitted:
    """A probe as a trained head of S = 1; its one epoch has the loss and the accuracy of centre crops."""
    features, loss = activations(run.train), workload.loss
    probe, curves, logits = _fit(workload, features, run), list[float](), np.empty(0)
    bar.advance(1, C=_strength(probe.strength))
    for side, labels in ((features, _labels(workload, run)), (activations(run.val), workload.labels[run.val])):
        logits = _sides(probe.logits(side), loss.multilabel)
        sums = loss.sums(logits, labels, np.ones(len(labels), bool))
        curves += [float(sums.loss), float(sums.accuracy)]
    kernel, bias = _sides(probe.kernel, loss.multilabel), _sides(probe.bias, loss.multilabel)
    variables: Variables = {"params": {LINEAR: {"kernel": kernel[None], "bias": bias[None]}}}
    return Fitted(variables, History(*(np.full((1, 1), value, np.float32) for value in curves)), [logits])


def _sides(logits: np.ndarray, multilabel: bool) -> np.ndarray:
    """K log odds z, or of one label the logits -z/2 and z/2 of two classes; so of kernel and bias, too."""
    return logits if multilabel else np.concatenate([-logits / 2, logits / 2], axis=-1)
