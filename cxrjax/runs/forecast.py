"""What a run or a table of runs would do, in words, before anything is trained or written (--dry_run)."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from cxrjax.base import devices, progress, tasks
from cxrjax.base.config import ExperimentConfig, arms, run_path
from cxrjax.base.numerics import new_key
from cxrjax.data import prepare as preparation
from cxrjax.data import sources
from cxrjax.data.decode import Reduction
from cxrjax.data.load import at_hand, cache_place, listed, load
from cxrjax.models import transfer
from cxrjax.report.language import ENGLISH, reasons
from cxrjax.runs import cost, experiment, prepared, run_folder, setup, starts
from cxrjax.runs.sweep import DONE, WAITING, DryRun, Opened, Outcome, Source, dry_run, seconds
from cxrjax.storage.store import ImageStore, is_store, patient_ids
from cxrjax.training import bank, inputs, seed_batches

# `experiments.benchmark_prepare` on NIH's 1024 x 1024 PNG files, 2 CPU cores: images a second, bytes of memory.
PREPARED, PREPARING_BYTES = 160, 200_000_000
Lines = list[tuple[str, str]]  # what it is, and what is said of it


class Needs(NamedTuple):
    """What a run takes, in bytes."""

    memory: int  # of the process
    checkpoints: int  # in its folder
    activations: dict[str, int]  # added to the cache: by what is computed, so that rows that share it count it once


def of_experiment(config: ExperimentConfig) -> Lines:
    """What `experiment.run` would do.

    Raises:
      InputError: if it would refuse.
    """
    source = Source(make=False)
    dry = dry_run(config, source)
    weights, opened = source.network(dry.config)[1], source.data(dry.config, dry.model.source)
    net = setup.build(dry.config, weights)
    cache = prepared.activation_cache(opened.hashes.of(dry.cohorts.rows))
    config, augmentation = setup.with_bank(dry.config, net, dry.cohorts, cache)
    dry = dry._replace(config=config)
    known = {"device": setup.device(), "weights_sha256": dry.weights_sha256, "start_sha256": starts.digest(config)}
    if at_hand(opened.store):
        known["data_sha256"] = dry.data_sha256
    starts.of_runs(config, net, opened.store.table, dry.cohorts)
    place = _place(config, run_folder.must_go(config, known))
    return [
        ("question", tasks.get(config.task).title),
        ("data", _data(config, opened)),
        *_run(dry),
        *_external(dry, opened),
        ("network", _network(dry, net)),
        ("recipe", _recipe(dry)),
        ("augmentation", reasons(augmentation, ENGLISH) or f"--augment_bank={config.augment_bank}"),
        ("time", cost.estimate(config, net, dry.cohorts, cache)),
        *_room([needs(dry, net, cache)], [(config, opened)]),
        ("files", place),
    ]


def of_table(plan: Sequence[Outcome], source: Source, speed: cost.Speed) -> Lines:
    """What would be done for the rows of a table.

    Args:
      plan: see `sweep.plan_rows`.
      source: that they were planned with.
      speed: of this machine.
    """
    lines, needed, data = rows(plan, speed), [], []
    for dry in (outcome.dry_run for outcome in plan if outcome.dry_run):
        opened = source.data(dry.config, dry.model.source)
        cache = prepared.activation_cache(opened.hashes.of(dry.cohorts.rows))
        needed.append(needs(dry, setup.build(dry.config, source.network(dry.config)[1]), cache))
        data.append((dry.config, opened))
    if not data:
        return lines
    first = next(outcome.dry_run for outcome in plan if outcome.dry_run)
    return [("data", _data(*data[0])), *_run(first), ("recipe", _recipe(first)), *lines, *_room(needed, data)]


def of_preparation(source: sources.Source, out: Path, reduction: Reduction, overwrite: bool) -> Lines:
    """What `data.prepare.prepare` would do; arguments as there.

    Raises:
      InputError: if it would refuse before an image is read.
    """
    done = preparation.foresee(source, out, reduction, overwrite)
    store, about = listed(source, reduction.size)
    images, size = len(store.table), sources.total_bytes(source)
    left = max(0, images - done)
    classes = counted(store, tasks.get("p_vs_nf"))
    there = f"an interrupted attempt has read {done} of the images and would go on" if done else "new"
    slower = ", without the time in which lungs are found" if reduction.crop != "none" else ""
    if is_store(out):
        there = "where --overwrite replaces the store that is there"
    return [
        ("source", f"{source.kind} {source.place}: {images} images, {classes}; {size / 1e9:.2f} GB of files"),
        *(("", note) for note in about.notes),
        ("left out", f"{sum(problem.left_out for problem in source.problems)} files before any is read"),
        ("images", f"{reduction.size} pixels a side, fit {reduction.fit}, crop {reduction.crop}"),
        ("time", f"{progress.duration(left / PREPARED)} at {PREPARED} images/s, NIH's on 2 CPU cores{slower}"),
        ("memory", f"some {PREPARING_BYTES / 1e9:.1f} GB"),
        ("disk", f"{images * reduction.size**2 / 1e9:.2f} GB, twice that on the way; free {_free(out) / 1e9:.0f} GB"),
        ("files", f"{out}, {there}"),
    ]


def rows(plan: Sequence[Outcome], speed: cost.Speed) -> Lines:
    """How long the rows will take in all, then a line a row."""
    lines = [("estimated time", f"{progress.duration(seconds(plan, speed))} ({cost.explain(speed)})")]
    for outcome in plan:
        row, dry = outcome.row, outcome.dry_run
        if outcome.status == WAITING and dry:
            train, val = (f"{np.mean(sizes):.0f}" for sizes in (dry.sizes.train, dry.sizes.val))
            what = progress.duration(cost.seconds(outcome.left, speed, row.config.seeds))
            what += f", {train} training and {val} validation images, {_place(row.config, False)}"
        else:
            what = f"finished, {outcome.folder}" if outcome.status == DONE else f"{outcome.status}: {outcome.reason}"
        lines.append((f"  {row.name}", what))
    return lines


def counted(store: ImageStore, task: tasks.Task) -> str:
    """Images and patients of each class of a task."""
    labels, patients = store.table["labels"], patient_ids(store.table)
    held = {c.name: labels.map(c.holds).to_numpy(bool) for c in task.counted}
    return ", ".join(f"{rows.sum()} {name} of {len(np.unique(patients[rows]))} patients" for name, rows in held.items())


def needs(dry: DryRun, net: transfer.Network, cache: bank.Cache) -> Needs:
    """What a run takes.

    Args:
      dry: of it, nothing open in its configuration.
      net: its network.
      cache: of activations.
    """
    recipe, config = setup.recipe(dry.config), dry.config
    side_by_side = min(config.seed_batch or seed_batches.default_seed_batch(net, recipe, config.seeds), config.seeds)
    head = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(jax.eval_shape(net.initial, new_key(0))))
    activations = {}
    if net.trunk.identity:
        slots = bank.Slots(config.augment_bank, inputs.variation(recipe))
        for images, of in ((dry.cohorts.train, slots), (dry.cohorts.train + dry.cohorts.val, bank.CENTRE)):
            if of is bank.CENTRE or of.number:
                rows = np.unique(np.concatenate(images))
                activations[f"{net.trunk.identity} {of}"] = bank.demand(net.trunk, rows, of, cache)[0]
    memory = seed_batches.BASE_BYTES + side_by_side * seed_batches.bytes_per_seed(net, recipe)
    return Needs(memory, head * config.seeds * (1 + len(arms(config))), activations)


def _data(config: ExperimentConfig, opened: Opened) -> str:
    """Where they are, and the images of each class."""
    text = f"{opened.about.source}, {counted(opened.store, tasks.get(config.task))}"
    if at_hand(opened.store):
        return text
    images = len(opened.store.table)
    return (
        f"{text}, as its tables and names have it; not prepared yet: {images} images are decoded first, "
        f"{progress.duration(images / PREPARED)} at {PREPARED} images/s"
    )


def _run(dry: DryRun) -> Lines:
    """The images of the first run, by class and by side."""
    config, task, first, split = dry.config, tasks.get(dry.config.task), dry.cohorts.cohorts[0], dry.cohorts.splits[0]

    def side(rows: np.ndarray) -> str:
        patients = f"of {len(np.unique(first.patient[rows]))} patients"
        if task.is_multilabel:
            return f"{len(rows)} images {patients}"
        positives = int(first.label[rows].sum())
        return f"{positives} {task.positive.name} and {len(rows) - positives} {task.negative.name} {patients}"

    seeds = f"{config.seeds} runs, seeds {config.first_seed} to {config.first_seed + config.seeds - 1}"
    again = f"; again for each of {', '.join(arms(config))}" if arms(config) else ""
    lines = [("runs", f"{seeds}{again}")]
    lines += [("first run", f"training {side(split.train)}, validation {side(split.val)}, split by {config.split_by}")]
    held_out = len(dry.cohorts.test)
    return lines + [("held out", f"{held_out} images by --test={config.test}")] * bool(held_out)


def _external(dry: DryRun, opened: Opened) -> Lines:
    """The external set, refused as in a run as far as it is at hand."""
    config = dry.config
    if not config.external_dir:
        return []
    store, about = load(config.external_dir, config.max_bad, dry.model.source, config, make=False)
    if at_hand(store) and at_hand(opened.store):
        experiment.refuse_other_crop(config, opened.about, about)
        store, _ = setup.external_set(store, opened.store, dry.cohorts, tasks.get(config.task))
    return [("external", f"{config.external_dir}, {counted(store, tasks.get(config.task))}")]


def _network(dry: DryRun, net: transfer.Network) -> str:
    stages = ", ".join(dry.model.between(dry.config.retrain_from, dry.model.logits))
    what = f"{stages} replaced by one dense layer" if dry.config.head == "linear" else f"{stages} retrained"
    return f"{net.model.label} at {net.model.crop} pixels, weights {dry.config.weights}; {what}"


def _recipe(dry: DryRun) -> str:
    config = dry.config
    if config.head == "linear":
        return f"{config.recipe}: a logistic regression, solved"
    return (
        f"{config.recipe}: {config.optimizer}, learning rate {config.learning_rate:g} ({config.schedule}), loss "
        f"{config.loss}; {config.epochs} epochs of {dry.steps:.0f} steps of {config.batch_size} images"
    )


def _room(needed: Sequence[Needs], data: Sequence[tuple[ExperimentConfig, Opened]]) -> Lines:
    """Memory of the largest run; disk of all, what they share counted once."""
    stores = {
        (config.data_dir, opened.store.images.shape): opened.store.images.nbytes
        for config, opened in data
        if not at_hand(opened.store)
    }
    activations: dict[str, int] = {}
    for need in needed:
        activations |= {key: max(size, activations.get(key, 0)) for key, size in need.activations.items()}
    parts = [("checkpoints", sum(need.checkpoints for need in needed))]
    parts += [("activations", sum(activations.values()))] * bool(activations)
    parts += [("prepared images", sum(stores.values()))] * bool(stores)
    listed = ", ".join(f"{name} {size / 1e9:.2f} GB" for name, size in parts)
    cache = cache_place()
    return [
        ("memory", f"some {max(need.memory for need in needed) / 1e9:.1f} GB of {devices.memory() / 1e9:.1f}"),
        (
            "disk",
            f"{listed}; free here {_free(Path()) / 1e9:.0f} GB, for the cache {cache} {_free(cache) / 1e9:.0f} GB",
        ),
    ]


def _free(place: Path) -> int:
    existing = next(path for path in (place.absolute(), *place.absolute().parents) if path.exists())
    return shutil.disk_usage(existing).free


def _place(config: ExperimentConfig, must_go: bool) -> str:
    """Where files go, and what of that is there."""
    folder = run_path(config)
    if must_go:
        return f"{folder}, where --overwrite removes what is there first"
    if run_folder.recall(config) is None:
        return f"{folder}, new"
    share = seed_batches.trained_share(folder / "checkpoints", config.epochs, config.seeds)
    return f"{folder}, an interrupted run of which {100 * share:.0f} % are trained and which would go on"
