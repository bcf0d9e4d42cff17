"""One experiment from configuration to files: data, training, evaluation, report. Shared by all experiments."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jaxlib
import numpy as np
import pandas as pd

from cxrjax.analysis import tables as run_files
from cxrjax.analysis.tables import Results, RunTables
from cxrjax.base import devices, files, tasks
from cxrjax.base.config import ExperimentConfig, run_path
from cxrjax.base.tasks import Task
from cxrjax.base.types import InputError
from cxrjax.data import cohort
from cxrjax.data.cohort import Cohort, Split
from cxrjax.data.load import cache_dir, load
from cxrjax.models import pretrained, registry, transfer
from cxrjax.models.pretrained import Weights
from cxrjax.report import report
from cxrjax.runs import arms, flow, results, run_folder, scoring, summary, tables
from cxrjax.storage import checkpoint
from cxrjax.storage.store import About, ImageStore, hash_rows, label_counts, patients_with_box
from cxrjax.training import bank, inputs, loop, seed_batches, tf_input
from cxrjax.training.optimizer import Recipe
from cxrjax.training.plan import Pipeline, SeedData

log = logging.getLogger(__name__)

_NAMED = 10  # images that were left out and are named in the log


class Prepared(NamedTuple):
    """Data and network of an experiment, before training."""

    store: ImageStore
    hashes: dict[int, bytes]  # of the images that take part, see `store.hash_rows`
    about: About
    cohorts: list[Cohort]
    splits: list[Split]
    weights: Weights | None
    net: transfer.Network
    recipe: Recipe
    settled: dict[str, Any]  # what followed from machine and files; see `run_folder.claim`

    def pipeline(self, store: ImageStore) -> Pipeline:
        """Of the images of this or another store."""
        return inputs.make_pipeline(self.settled["input"], store.images, self.net.model.crop)


def run(config: ExperimentConfig) -> Results:
    """Runs an experiment, or what is left of an interrupted one, and writes its files.

    Of several processes the first writes; all must see the same files.

    Raises:
      InputError: for any mistake in the configuration or in the files it names.
    """
    check(config)
    weights = None if config.weights == "random" else pretrained.load_weights(config.weights)
    side = pretrained.model_of(weights, config.model).source
    with devices.main_process_first():
        store, about = load(config.data_dir, config.max_bad, side)
        external = load(config.external_dir, config.max_bad, side)[0] if config.external_dir else None
    return _run(config, store, about, external, weights)


def _run(
    config: ExperimentConfig, store: ImageStore, about: About, external: ImageStore | None, weights: Weights | None
) -> Results:
    """`run` with its data and weights at hand: first its own networks, then its arms, then all files."""
    started = time.monotonic()
    prepared = prepare(config, store, about, weights)
    with _claimed(config, prepared.settled) as folder:
        own = prepared.pipeline(prepared.store)
        found = _score(prepared, own, external, _train(config, prepared, own, folder))
        compared = {
            name: _arm(name, arm, store, about, None if arm.weights == "random" else weights)
            for name, arm in arms.of(config).items()
        }
        made = _results(config, prepared, external, found, compared, started)
        if devices.is_first():
            report.write(folder, made)
    return made


def _arm(name: str, config: ExperimentConfig, store: ImageStore, about: About, weights: Weights | None) -> RunTables:
    """Tables of an arm, which is run unless it is finished."""
    if devices.broadcast_flag(run_folder.is_finished(run_path(config))):
        log.info("%s: finished already", name)
        return run_files.read(run_path(config))
    log.info("%s: training the same seeds", name)
    return _run(config, store, about, None, weights).tables


@contextlib.contextmanager
def _claimed(config: ExperimentConfig, settled: dict[str, Any]) -> Iterator[Path]:
    """The run's folder, claimed by the first process for all."""
    with contextlib.ExitStack() as stack:
        with devices.main_process_first():
            if devices.is_first():
                stack.enter_context(run_folder.claim(config, settled))
        yield run_path(config)
        devices.wait_for_all("run finished")


def check(config: ExperimentConfig) -> None:
    """Refuses values that no flag rule catches.

    Raises:
      InputError: naming flag, rule and value.
    """
    tasks.get(config.task)
    if not 0 < config.val_fraction < 1:
        raise InputError(f"--val_fraction must be above 0 and below 1, got {config.val_fraction:g}")
    if config.learning_rate <= 0:
        raise InputError(f"--learning_rate must be above 0, got {config.learning_rate:g}")
    first = registry.get(config.model).stages[0]
    if config.retrain_from == first and config.augment_bank:
        raise InputError(
            f"--augment_bank={config.augment_bank} needs a frozen trunk, which --retrain_from={first} does not leave"
        )
    if config.input == "tfdata":
        tf_input.require()


def prepare(config: ExperimentConfig, store: ImageStore, about: About, weights: Weights | None) -> Prepared:
    """Draws cohorts and splits, builds the network and settles what the user left open; logs what there is."""
    task = tasks.get(config.task)
    _log_data(about, store, task)
    seeds = seeds_of(config)
    cohorts = [cohort.draw(store.table, task, s, config.negatives, config.view) for s in seeds]
    boxed = patients_with_box(store, task.boxed_finding) if config.hold_out_boxes else None
    if boxed is not None and not len(boxed):
        raise InputError(
            f"--hold_out_boxes needs boxes of {task.positive.title} (BBox_List_2017.csv), and {about.source} has none"
        )
    splits = [_split(config, c, s, store.table, boxed) for c, s in zip(cohorts, seeds, strict=True)]
    log.info(
        "%s: %d %s, %d %s a run; %d training, %d validation images in the first run, split by %s",
        config.name, cohorts[0].label.sum(), task.positive.name, (1 - cohorts[0].label).sum(), task.negative.name,
        len(splits[0].train), len(splits[0].val), arms.own(config).split_by,
    )  # fmt: skip
    net = transfer.build_transfer_model(
        weights, config.retrain_from, model=pretrained.model_of(weights, config.model), dtype=config.dtype
    )
    log.info("retrained layers that start from random weights: %s", ", ".join(net.fresh))
    recipe = Recipe(
        epochs=config.epochs,
        batch_size=config.batch_size,
        learning_rate=config.learning_rate,
        momentum=config.momentum,
        augment_bank=config.augment_bank,
        flip=config.flip,
    )
    hashes = hash_rows(store.images, np.unique(np.concatenate([c.index for c in cohorts])))
    settled = devices.broadcast_json(
        _settle(config, net, recipe, weights) | {"data_sha256": _data_digest(hashes, store.table)}
    )
    log.info("input: %s; seeds side by side: %d", settled["input"], settled["seed_batch"])

    return Prepared(store, hashes, about, cohorts, splits, weights, net, recipe, settled)


def seeds_of(config: ExperimentConfig) -> range:
    """Seeds of the runs."""
    return range(config.first_seed, config.first_seed + config.seeds)


def _split(config: ExperimentConfig, one: Cohort, seed: int, table: pd.DataFrame, held_out: np.ndarray | None) -> Split:
    """Of one run, as the configuration asks; `held_out` are patients who are not trained on."""
    by = arms.own(config).split_by
    split = cohort.official_split(one, table) if by == "official" else cohort.split(one, seed, config.val_fraction, by)
    if held_out is not None:
        split = cohort.exclude_from_training(one, split, held_out)
    return cohort.subset_train_patients(one, split, config.train_patients, seed) if config.train_patients else split


def _settle(config: ExperimentConfig, net: transfer.Network, recipe: Recipe, weights: Weights | None) -> dict[str, Any]:
    """What the user left open: as an interrupted run had it, else as this machine suggests."""
    before = run_folder.recall(config)
    fitting = before.get("seed_batch") or seed_batches.default_seed_batch(net, recipe, config.seeds)
    return {
        "input": (before.get("input") or tf_input.default()) if config.input == "auto" else config.input,
        "seed_batch": min(config.seed_batch or fitting, config.seeds),
        # Devices and programs round differently; one run holds the numbers of one kind only.
        "device": f"{jax.device_count()} x {jax.devices()[0].device_kind}, jaxlib {jaxlib.__version__}",
        "weights_sha256": None if weights is None else checkpoint.digest(weights.params),
    }


def _data_digest(hashes: dict[int, bytes], table: pd.DataFrame) -> str:
    """Of the images that take part, their labels and patients."""
    rows = sorted(hashes)
    digest = hashlib.sha256(b"".join(hashes[row] for row in rows))
    digest.update(table.iloc[rows].to_csv(index=False).encode())
    return digest.hexdigest()


def _log_data(about: About, store: ImageStore, task: Task) -> None:
    listed, present = (cohort.count(n, task.counted) for n in (about.listed, label_counts(store.table)))
    log.info(
        "data: %s; present %s; missing %s",
        about.source,
        ", ".join(f"{n} {name}" for name, n in present.items()),
        ", ".join(f"{listed[name] - n} {name}" for name, n in present.items()),
    )
    for name, reason in list(about.bad_images.items())[:_NAMED]:
        log.warning("left out %s: %s", name, reason)
    if len(about.bad_images) > _NAMED:
        log.warning("and %d more, listed in bad_images.csv of the store", len(about.bad_images) - _NAMED)


def _train(config: ExperimentConfig, prepared: Prepared, pipeline: Pipeline, folder: Path) -> Iterator[loop.Fitted]:
    """Trained networks, one after the other; if a loss is no longer finite, the learning curves are kept."""
    runs = []
    for seed, c, s in zip(seeds_of(config), prepared.cohorts, prepared.splits, strict=True):
        shuffled = cohort.shuffled(c.label[s.train], seed) if config.control == "shuffled_labels" else None
        runs.append(SeedData(seed, c.index[s.train], c.index[s.val], shuffled))
    positive = tasks.get(config.task).positive
    labels = cohort.members(prepared.store.table["labels"], positive).astype(np.int32)
    try:
        yield from seed_batches.train(
            prepared.net, pipeline, labels, runs, prepared.recipe,
            prepared.settled["seed_batch"], _cache(prepared.hashes), folder / "checkpoints",
        )  # fmt: skip
    except loop.Diverged as error:
        if devices.is_first():
            table = tables.history(error.progress.history, error.first_seed)
            files.write_text(folder / "history.csv", table.to_csv(index=False))
        raise InputError(f"{error}; the learning curves are in {folder / 'history.csv'}") from error


def _cache(hashes: dict[int, bytes]) -> bank.Cache:
    return bank.Cache(cache_dir() / "activations", hashes)


def _score(
    prepared: Prepared, pipeline: Pipeline, external: ImageStore | None, trained: Iterator[loop.Fitted]
) -> scoring.Scored:
    """Scores of each seed's training images and of the external set, beside those of validation."""
    rows = [c.index[s.train] for c, s in zip(prepared.cohorts, prepared.splits, strict=True)]

    def train() -> tuple[bank.Bank, list[np.ndarray]]:
        every, size = np.unique(np.concatenate(rows)), len(prepared.store.table)
        cache = _cache(prepared.hashes)
        return bank.build(prepared.net.trunk, pipeline, every, bank.CENTRE, size, cache), rows

    def elsewhere(external: ImageStore) -> bank.Bank:
        every = np.arange(len(external.table))
        cache = _cache(hash_rows(external.images, every))
        return bank.build(prepared.net.trunk, prepared.pipeline(external), every, bank.CENTRE, len(every), cache)

    return scoring.score(
        prepared.net, trained, train, None if external is None else functools.partial(elsewhere, external)
    )


def _results(
    config: ExperimentConfig,
    prepared: Prepared,
    external: ImageStore | None,
    scored: scoring.Scored,
    compared: dict[str, RunTables],
    started: float,
) -> Results:
    """Makes the tables, and what follows from them."""
    store, about, cohorts, splits = prepared.store, prepared.about, prepared.cohorts, prepared.splits
    seeds = seeds_of(config)
    val = tables.predictions(store, seeds, cohorts, [s.val for s in splits], scored.val)
    train = tables.predictions(store, seeds, cohorts, [s.train for s in splits], scored.train)
    outside = None
    if external is not None and scored.external is not None:
        outside = tables.external(external, tasks.get(config.task), seeds, scored.external)
    made = RunTables(
        seeds=tables.seeds(seeds, scored.history, cohorts, splits, scored.hashes),
        history=tables.history(scored.history, config.first_seed),
        predictions=val,
        training=train,
        images=tables.images(store, val, train),
        flow=flow.flow(config, about, store.table, cohorts, splits),
        external=outside,
    )
    facts = {
        "settled": prepared.settled,
        "environment": tables.environment(
            prepared.weights, prepared.net.model, config.retrain_from, jax.devices()[0].device_kind
        ),
        "data": summary.data(about, store, tasks.get(config.task)),
        "minutes": (time.monotonic() - started) / 60,
    }
    return results.assemble(config, facts, made, compared, scored.dream, store)
