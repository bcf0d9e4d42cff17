"""Seeds trained in groups that fit into memory: saved while they train, continued after an interruption, found again.

`checkpoints/seed_003` is a trained seed; `checkpoints/partial_000-009` the state of a group on its way.
"""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import jax
import numpy as np
from jax.sharding import Mesh

from cxrjax.base import devices, progress
from cxrjax.base.numerics import new_key
from cxrjax.base.recipes import Recipe
from cxrjax.models.transfer import Network
from cxrjax.storage import checkpoint
from cxrjax.training import inputs, loop, step
from cxrjax.training.loop import Fitted
from cxrjax.training.optimizer import make_optimizer
from cxrjax.training.plan import SeedData, Workload

log = logging.getLogger(__name__)

SAVE_SECONDS = 300  # between two saved states; one of ten seeds is 2 GB
BASE_BYTES = 1_200_000_000  # of the process, whatever the seeds
_WAITING = 0.05  # share of an epoch; the input is told to be slow above it
_SHARE = 0.6  # of what JAX has of an accelerator's memory, for the steps; a bank may take a third of it


def train(workload: Workload, runs: Sequence[SeedData], seed_batch: int, folder: Path) -> Iterator[Fitted]:
    """Trains what is not trained yet, `seed_batch` seeds side by side; yields each seed's result, S = 1, in order.

    Args:
      workload, runs: see `loop.fit`.
      seed_batch: seeds trained as one program.
      folder: of the checkpoints; all processes must see it.

    Raises:
      loop.Diverged: if a loss is no longer finite.
    """
    epochs, seeds = workload.recipe.epochs, "1 seed" if len(runs) == 1 else f"{len(runs)} seeds"
    with progress.stage(f"training {seeds} for {epochs} epochs", len(runs) * epochs, "epochs") as bar:
        for start in range(0, len(runs), seed_batch):
            group = runs[start : start + seed_batch]
            partial = folder / f"partial_{group[0].seed:03d}-{group[-1].seed:03d}"
            places = [place_of(folder, run.seed) for run in group]
            if all(place.is_dir() for place in places):
                log.info("%s: trained before", _named(group))
                bar.skip(len(group) * epochs)
                _remove(partial)
                yield from (load(place) for place in places)
            else:
                yield from _train_group(workload, group, partial, places, bar)


def trained_share(folder: Path, epochs: int, seeds: int) -> float:
    """Share, 0..1, of the epochs of all seeds that an interrupted run has behind it; `folder` holds its checkpoints."""
    behind = epochs * sum(1 for _ in folder.glob("seed_*"))
    for partial in folder.glob("partial_*"):
        first, last = map(int, partial.name.removeprefix("partial_").split("-"))
        saved = (int(step.name) for step in partial.iterdir() if step.name.isdigit())
        behind += max(saved, default=0) * (last - first + 1)
    return min(1.0, behind / (epochs * seeds))


def bytes_per_seed(net: Network, recipe: Recipe) -> int:
    """Memory that a seed adds to a group: variables, gradient, a copy in the loop, the optimiser's; activations twice.

    0.73 GB for batches of 64 from fc6. Five seeds were seen to peak at 5.2 GB on CPU, 1.2 GB of it whatever the seeds.
    """
    variables = jax.eval_shape(net.initial, new_key(0))
    opt_state = jax.eval_shape(make_optimizer(recipe).init, variables["params"])
    size, opt_size = (sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(tree)) for tree in (variables, opt_state))
    example = recipe.batch_size * int(np.prod(net.trunk.shape)) * net.trunk.dtype.itemsize
    return 3 * size + opt_size + 2 * inputs.SEGMENT * example


def default_seed_batch(net: Network, recipe: Recipe, seeds: int) -> int:
    """Seeds trained side by side: as many as the compiler finds room for on an accelerator beside a bank, or as a
    quarter of the machine's memory holds.

    On CPU side by side is no faster (121 ms a step and seed, one alone 118), so most memory is left to others. Groups
    are of like size. One seed where the head holds convolutions: with weights of their own per seed they would become
    grouped ones, 2 to 5 times slower than one seed after the other.
    """
    if not net.dense:
        return 1
    each = bytes_per_seed(net, recipe)
    if jax.default_backend() == "cpu":
        room = devices.memory() / 4 - BASE_BYTES

        def fits(count: int) -> bool:
            mesh = devices.mesh(count, recipe.batch_size)
            return _held(count, mesh) * each * mesh.size <= room  # devices of a CPU share its memory

        largest = max((count for count in range(1, seeds + 1) if fits(count)), default=1)
        return _even(seeds, largest, fits)
    return largest_that_fits(seeds, lambda count: compiled_peak(net, recipe, count), devices.memory() * _SHARE)


def largest_that_fits(seeds: int, peak: Callable[[int], int], room: float) -> int:
    """Seeds side by side whose program takes at most `room` bytes, in groups of like size, one at least.

    Args:
      seeds: of the run.
      peak: number of seeds -> bytes that their program takes, so that few are asked for: each is compiled.
      room: bytes.
    """
    count = seeds
    while count > 1 and (taken := peak(count)) > room:
        count = _even(seeds, max(1, min(count - 1, int(count * room / taken))), lambda _: True)
    return count


def compiled_peak(net: Network, recipe: Recipe, seeds: int) -> int:
    """Bytes that a segment of training steps of so many seeds takes on the first device, as the compiler lays them
    out, and the next segment's activations beside them."""
    mesh = devices.mesh(seeds, recipe.batch_size)
    held, optimizer = _held(seeds, mesh), make_optimizer(recipe, net.fresh)
    states = loop.state_shapes(net, optimizer, held)
    batch = step.batch_shapes((held, inputs.SEGMENT, recipe.batch_size), net.trunk.shape, net.trunk.dtype)
    compiled = cast(Any, loop.compile_steps(net, optimizer)).lower(states, batch).compile()
    activations: int = batch.inputs.size * net.trunk.dtype.itemsize
    return int(compiled.memory_analysis().peak_memory_in_bytes) + activations


def _held(seeds: int, mesh: Mesh) -> int:
    """Seeds that every device of the mesh holds."""
    return int(devices.padded(seeds, mesh) // mesh.shape[devices.SEED])


def _even(seeds: int, largest: int, fits: Callable[[int], bool]) -> int:
    """At most `largest` seeds a group, in as few groups of like size, where those fit."""
    even = -(-seeds // -(-seeds // largest))
    return even if fits(even) else largest


def _train_group(
    workload: Workload, group: Sequence[SeedData], partial: Path, places: list[Path], bar: progress.Stage
) -> Iterator[Fitted]:
    """Trains a group from where it had come to, and yields each of its seeds; meanwhile they are saved."""
    series = checkpoint.Series(partial, background=jax.default_backend() != "cpu", clean=devices.is_first())
    after_epoch = _AfterEpoch(workload.recipe.epochs, series, bar, _named(group))
    try:
        fitted = loop.fit(workload, group, after_epoch.resumed(), after_epoch, bar)
    except KeyboardInterrupt:
        log.info("%s: kept up to epoch %d of %d", _named(group), after_epoch.kept, workload.recipe.epochs)
        raise
    finally:
        series.close()
    seeds = [_of_seed(fitted, i) for i in range(len(places))]
    with ThreadPoolExecutor(1) as disk:  # which takes a second for a seed of 218 MB
        saved = [disk.submit(save, *pair) for pair in zip(places, seeds, strict=True) if devices.is_first()]
        yield from seeds
        for seed in saved:
            seed.result()
    devices.wait_for_all(partial.name)
    _remove(partial)


def _named(group: Sequence[SeedData]) -> str:
    """`seed 3`, `seeds 0 to 4`."""
    return f"seed {group[0].seed}" if len(group) == 1 else f"seeds {group[0].seed} to {group[-1].seed}"


def _of_seed(fitted: Fitted, i: int) -> Fitted:
    """Seed i alone, S = 1, without a copy."""
    variables, history = jax.tree.map(lambda x: x[i : i + 1], (fitted.variables, fitted.history))
    return Fitted(variables, history, fitted.val_logits[i : i + 1])


def _remove(partial: Path) -> None:
    """The state of a group whose seeds are saved; also after a kill between the two."""
    if devices.is_first():
        shutil.rmtree(partial, ignore_errors=True)


class _AfterEpoch:
    """Shows the losses of every epoch, and saves the state every few minutes."""

    def __init__(self, epochs: int, series: checkpoint.Series, bar: progress.Stage, seeds: str) -> None:
        self._epochs, self._series, self._bar, self._seeds = epochs, series, bar, seeds
        self._saved = time.monotonic()
        self.kept = 0  # epochs, in the state that was saved last

    def resumed(self) -> Any:
        """The state that an interrupted attempt saved last, see `loop.fit`; None if there is none."""
        latest = self._series.latest()
        if latest:
            self.kept = latest["history"]["val_loss"].shape[1]
            log.info("%s: resumed after epoch %d of %d", self._seeds, self.kept, self._epochs)
        return latest

    def __call__(self, state: loop.Progress) -> None:
        loss, _, val_loss, val_accuracy = (float(np.mean(curve[:, -1])) for curve in state.history)
        figures: dict[str, float | str] = {
            "loss": loss,
            "validation loss": val_loss,
            "accuracy": f"{100 * val_accuracy:.1f} %",
        }
        if state.waited > _WAITING:
            figures["waited for input"] = f"{100 * state.waited:.0f} %"
        self._bar.advance(0, **figures)
        overdue = time.monotonic() - self._saved > SAVE_SECONDS
        if devices.broadcast_flag(overdue and state.epochs < self._epochs):
            packed = state.pack()
            if devices.is_first():
                self._series.save(state.epochs, packed)
            self._saved, self.kept = time.monotonic(), state.epochs


def save(place: Path, fitted: Fitted) -> None:
    """Saves a seed, S = 1, as a tree of plain arrays that `load` reads."""
    variables, history = jax.tree.map(lambda x: x[0], (fitted.variables, fitted.history))
    packed = {**variables, "history": history._asdict(), "val_logits": fitted.val_logits[0]}
    checkpoint.save_tree(place, packed, overwrite=True)


def place_of(folder: Path, seed: int) -> Path:
    """Checkpoint of a trained seed in the folder of the checkpoints."""
    return folder / f"seed_{seed:03d}"


def load(place: Path) -> Fitted:
    """A trained seed, as `loop.fit` gives it for S = 1.

    Raises:
      InputError: if the checkpoint is missing or damaged.
    """
    packed = checkpoint.load_tree(place)
    history = loop.History(**{name: curve[None] for name, curve in packed["history"].items()})
    variables = {kind: packed[kind] for kind in ("params", "batch_stats") if kind in packed}
    return Fitted(jax.tree.map(lambda x: x[None], variables), history, [packed["val_logits"]])
