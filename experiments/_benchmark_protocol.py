"""The poster's protocol over many seeds, timed in part and extrapolated: bank and epochs, against a loop in PyTorch.

cxrjax: `loop.fit` as it is, all seeds side by side, with a bank of augmentations. Its first epoch holds compilation,
the whole bank and the trunk over the validation images; the later ones are measured and extrapolated. PyTorch: one
seed's epochs with fresh augmentation of resident images, each followed by its validation; a loop over seeds takes that
many times longer. One epoch of each in turn; either clock stands while the other side runs.
"""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from cxrjax.models.model import Model
from cxrjax.training import inputs, loop
from cxrjax.training.optimizer import Recipe
from cxrjax.training.plan import SeedData, Workload

from ._benchmark_parts import Setting
from ._timing import say


class Sizes(NamedTuple):
    """Of the protocol."""

    seeds: int
    train: int
    val: int
    epochs: int
    slots: int  # of the bank; 0: fresh augmentation in cxrjax, too
    measured: int  # epochs timed after the first one


class Epoch(NamedTuple):
    """Seconds of one seed's epoch in PyTorch."""

    train_s: float
    val_s: float


def measure(chosen: Setting, sizes: Sizes, other: Callable[[], Epoch] | None) -> dict[str, Any]:
    """Times the protocol.

    Args:
      chosen: network and batch size; its images are not used.
      sizes: see `Sizes`.
      other: runs one epoch of one seed in PyTorch; None: no comparison.

    Returns:
      Seconds of every epoch and the extrapolated totals, for benchmark.json.
    """
    if other:
        other()  # warm-up
    own: list[float] = []
    theirs: list[Epoch] = []
    start = time.perf_counter()

    def on_epoch(progress: loop.Progress) -> None:
        nonlocal start
        jax.block_until_ready(progress.states)
        own.append(time.perf_counter() - start)
        say(f"protocol: cxrjax epoch {progress.epochs} of {sizes.measured + 1}, {own[-1]:.1f} s for all seeds")
        if other and len(own) > 1:
            theirs.append(other())
            say(f"protocol: PyTorch epoch {theirs[-1].train_s:.1f} s and validation {theirs[-1].val_s:.1f} s, one seed")
        start = time.perf_counter()

    _fit(chosen, sizes, on_epoch)
    return _extrapolate(sizes, own, theirs)


def pixels(sizes: Sizes, model: Model) -> tuple[np.ndarray, np.ndarray]:
    """Random images [N, source, source] u8 and labels [N]; pixels do not matter for speed."""
    rng = np.random.default_rng(0)
    count = sizes.train + sizes.val
    images = rng.integers(0, 256, (count, model.source, model.source), dtype=np.uint8)
    return images, rng.integers(0, 2, count, dtype=np.int32)


def _fit(chosen: Setting, sizes: Sizes, on_epoch: Callable[[loop.Progress], None]) -> None:
    images, labels = pixels(sizes, chosen.model)
    pipeline = inputs.Resident(jnp.asarray(images), chosen.model.crop)
    orders = [np.random.default_rng(seed).permutation(len(images)).astype(np.int32) for seed in range(sizes.seeds)]
    runs = [
        SeedData(seed, np.sort(order[: sizes.train]), np.sort(order[sizes.train :]))
        for seed, order in enumerate(orders)
    ]
    recipe = dataclasses.replace(Recipe(), epochs=sizes.measured + 1, batch_size=chosen.batch, augment_bank=sizes.slots)
    loop.fit(Workload(chosen.net, pipeline, labels, recipe), runs, on_epoch=on_epoch)


def _extrapolate(sizes: Sizes, own: list[float], theirs: list[Epoch]) -> dict[str, Any]:
    """Totals: the first epoch once and the median of the others for the rest."""
    epoch_s = statistics.median(own[1:])
    total = own[0] + (sizes.epochs - 1) * epoch_s
    found: dict[str, Any] = {
        **sizes._asdict(),
        "cxrjax": {
            "first_s": own[0],
            "bank_and_compile_s": max(0.0, own[0] - epoch_s),
            "epoch_s": own[1:],
            "total_s": total,
        },
    }
    if theirs:
        train_s = statistics.median(epoch.train_s for epoch in theirs)
        val_s = statistics.median(epoch.val_s for epoch in theirs)
        repetitions = sizes.epochs * sizes.seeds
        found["torch"] = {
            "epoch_s": [epoch.train_s for epoch in theirs],
            "val_s": [epoch.val_s for epoch in theirs],
            "total_s": repetitions * (train_s + val_s),
        }
        found["ratio"] = repetitions * (train_s + val_s) / total
        found["ratio_without_torch_validation"] = repetitions * train_s / total
    return found
