"""One experiment from configuration to files: data, training, evaluation, report. Shared by all experiments."""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from cxrjax import (
    augment,
    bank,
    checkpoint,
    cohort,
    dream,
    evaluate,
    network,
    pipeline,
    report,
    rundir,
    tables,
    trainer,
)
from cxrjax import plan as planning
from cxrjax.datasets.load import load
from cxrjax.store import label_counts
from cxrjax.types import (
    About,
    Cohort,
    ExperimentConfig,
    ImageStore,
    InputError,
    Params,
    Results,
    Split,
    Weights,
)

log = logging.getLogger(__name__)

SAVE_SECONDS = 300  # between two saved states; one of ten seeds is 2 GB


class Prepared(NamedTuple):
    """Data and network of an experiment, before training."""

    store: ImageStore
    about: About
    cohorts: list[Cohort]
    splits: list[Split]
    weights: Weights | None
    net: network.Network
    feed: Callable[[ImageStore], bank.Feed]


def run(config: ExperimentConfig) -> Results:
    """Runs an experiment, or what is left of an interrupted one, and writes its files.

    Raises:
      InputError: for any mistake in the configuration or in the files it names.
    """
    check(config)
    started = time.monotonic()
    weights = None if config.weights == "random" else checkpoint.load_weights(config.weights)
    store, about = load(config.data_dir, config.skip_bad_images)
    prepared = prepare(config, store, about, weights)
    external = load(config.external_dir, config.skip_bad_images)[0] if config.external_dir else None
    with rundir.claim(config) as folder:
        fitted = [_fit(config, prepared, folder, group) for group in _groups(config, prepared.net)]
        results = _results(config, prepared, external, fitted, started)
        report.write(folder, results)
    return results


def check(config: ExperimentConfig) -> None:
    """Refuses values that no flag rule catches.

    Raises:
      InputError: naming flag, rule and value.
    """
    if not 0 < config.val_fraction < 1:
        raise InputError(f"--val_fraction must be above 0 and below 1, got {config.val_fraction:g}")
    if config.learning_rate <= 0:
        raise InputError(f"--learning_rate must be above 0, got {config.learning_rate:g}")
    if config.retrain_from == "conv1" and config.augment_bank:
        raise InputError(
            f"--augment_bank={config.augment_bank} needs a frozen trunk, which --retrain_from=conv1 does not leave"
        )
    if config.input == "tfdata":
        pipeline.require()


def prepare(config: ExperimentConfig, store: ImageStore, about: About, weights: Weights | None) -> Prepared:
    """Draws cohorts and splits, and builds the network; logs what there is."""
    _log_data(about, store)
    seeds = range(config.first_seed, config.first_seed + config.seeds)
    cohorts = [cohort.draw(store.table, config.negative_class, s, config.negatives, config.view) for s in seeds]
    splits = [cohort.split(c, s, config.val_fraction, config.split_by) for c, s in zip(cohorts, seeds, strict=True)]
    log.info(
        "%s: %d P, %d %s a run; %d training, %d validation images in the first run, split by %s",
        config.name, cohorts[0].label.sum(), (1 - cohorts[0].label).sum(), config.negative_class,
        len(splits[0].train), len(splits[0].val), config.split_by,
    )  # fmt: skip
    net = network.cut(weights, config.retrain_from)
    log.info("retrained layers that start from random weights: %s", ", ".join(net.fresh))
    use_tf = config.input == "tfdata" or (config.input == "auto" and pipeline.available())
    log.info("input: %s", "tf.data" if use_tf else "images resident on the device")

    def feed(store: ImageStore) -> bank.Feed:
        if use_tf:
            return lambda plan: pipeline.batches(store.images, plan)
        images = jnp.asarray(store.images)
        return lambda plan: augment.batches(images, plan)

    _refuse_large_bank(config, cohorts, net)
    return Prepared(store, about, cohorts, splits, weights, net, feed)


def _refuse_large_bank(config: ExperimentConfig, cohorts: list[Cohort], net: network.Network) -> None:
    """A bank is held in memory, twice while it is built.

    Raises:
      InputError: if the machine has not that much.
    """
    if not config.augment_bank:
        return
    pixels = jax.ShapeDtypeStruct((1, augment.CROP, augment.CROP), jnp.uint8)
    images = len(np.unique(np.concatenate([c.index for c in cohorts])))
    needed = 2 * 4 * images * config.augment_bank * jax.eval_shape(net.trunk, pixels).size / 2**30
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    if needed > memory:
        raise InputError(
            f"--augment_bank={config.augment_bank} needs {needed:.0f} GB of memory for {images} images, and there are "
            f"{memory:.0f} GB; a smaller bank needs less, --augment_bank=0 none"
        )


def _log_data(about: About, store: ImageStore) -> None:
    listed, present = cohort.count(about.listed), cohort.count(label_counts(store.table))
    log.info(
        "data: %s; present %s; missing %s",
        about.source,
        ", ".join(f"{n} {name}" for name, n in present.items()),
        ", ".join(f"{listed[name] - n} {name}" for name, n in present.items()),
    )
    for name, reason in about.bad_images.items():
        log.warning("left out %s: %s", name, reason)


def _groups(config: ExperimentConfig, net: network.Network) -> list[range]:
    """Runs trained as one program: all, or one by one where vmap would make grouped convolutions of the head."""
    if net.dense:
        return [range(config.seeds)]
    return [range(i, i + 1) for i in range(config.seeds)]


def _fit(config: ExperimentConfig, prepared: Prepared, folder: Path, group: range) -> trainer.Fitted:
    """Trains a group of runs, or reads what an earlier, interrupted call has trained."""
    runs = [
        trainer.SeedData(config.first_seed + i, c.index[s.train], c.index[s.val])
        for i, c, s in ((i, prepared.cohorts[i], prepared.splits[i]) for i in group)
    ]
    where = folder / "checkpoints" / f"seeds_{runs[0].seed:03d}-{runs[-1].seed:03d}"
    if where.is_dir():
        log.info("seeds %d to %d are trained already", runs[0].seed, runs[-1].seed)
        return trainer.unpack_fitted(checkpoint.load_tree(where))
    partial = where.with_name(f"{where.name}.partial")
    labels = cohort.classes(prepared.store.table["labels"])["P"].astype(np.int32)
    schedule = trainer.Schedule(
        config.epochs, config.batch_size, config.learning_rate, config.momentum, config.augment_bank
    )
    resume = checkpoint.load_tree(partial) if partial.is_dir() else None
    log.info(
        "training seeds %d to %d for %d epochs; the trunk runs first",
        runs[0].seed,
        runs[-1].seed,
        config.epochs,
    )
    feed = prepared.feed(prepared.store)
    fitted = trainer.fit(prepared.net, feed, labels, runs, schedule, resume, _watcher(config.epochs, partial))
    checkpoint.save_tree(where, trainer.pack_fitted(fitted))
    shutil.rmtree(partial, ignore_errors=True)
    return fitted


def _watcher(epochs: int, partial: Path) -> Callable[[trainer.Progress], None]:
    """Logs every epoch with the time left, and saves the state every few minutes."""
    saved = time.monotonic()
    start: tuple[int, float] | None = None  # after the first epoch, which holds trunk and compilation

    def watch(progress: trainer.Progress) -> None:
        nonlocal saved, start
        now = time.monotonic()
        start = start or (progress.epochs, now)
        done = progress.epochs - start[0]
        left = f"{(now - start[1]) / done * (epochs - progress.epochs) / 60:.1f} min left" if done else ""
        figures = [float(np.mean(curve[:, -1])) for curve in progress.history]
        log.info(
            "epoch %d/%d  training loss %.3f, accuracy %.1f %%  validation loss %.3f, accuracy %.1f %%  %s",
            progress.epochs, epochs, figures[0], 100 * figures[1], figures[2], 100 * figures[3], left,
        )  # fmt: skip
        if now - saved > SAVE_SECONDS and progress.epochs < epochs:
            checkpoint.save_tree(partial, trainer.pack(progress), overwrite=True)
            saved = time.monotonic()

    return watch


def _results(
    config: ExperimentConfig,
    prepared: Prepared,
    external: ImageStore | None,
    fitted: list[trainer.Fitted],
    started: float,
) -> Results:
    """Puts tables, summary and dream together."""
    params = jax.tree.map(lambda *leaves: np.concatenate(leaves), *(f.params for f in fitted))
    history = trainer.History(*(np.concatenate(curves) for curves in zip(*(f.history for f in fitted), strict=True)))
    scores = [np.asarray(evaluate.score(logits)) for f in fitted for logits in f.val_logits]
    predictions = tables.predictions(prepared.store, config.first_seed, prepared.cohorts, prepared.splits, scores)
    seeds = tables.seeds(predictions, history, prepared.cohorts, prepared.splits)
    elsewhere = None
    if external is not None:
        outside = _external_scores(prepared.net, params, prepared.feed(external), external)
        elsewhere = tables.external(external, config.negative_class, config.first_seed, outside)
    present = cohort.count(label_counts(prepared.store.table))
    minutes = (time.monotonic() - started) / 60
    summary = tables.summary(config, prepared.about, present, seeds, elsewhere, minutes)
    environment = tables.environment(prepared.weights, jax.devices()[0].device_kind)
    first = jax.tree.map(lambda x: x[0], params)
    return Results(
        config, environment, summary, seeds, tables.history(history, config.first_seed), predictions, elsewhere,
        _dream(prepared.net, first),
    )  # fmt: skip


def _external_scores(net: network.Network, params: Params, feed: bank.Feed, store: ImageStore) -> np.ndarray:
    """Scores [S, N] of every image of the external set."""
    features = bank.activations(net.trunk, feed, planning.centre(np.arange(len(store.table)), bank.BATCH))
    seeds = len(jax.tree.leaves(params)[0])
    images = jnp.broadcast_to(features, (seeds, *features.shape))
    return np.asarray(evaluate.score(evaluate.logits(net.head, params, images)))


def _dream(net: network.Network, params: Params) -> np.ndarray:
    """What the pneumonia neuron of one seed's fc8 responds to, [H, W] u8."""

    def objective(params: Params, image: jax.Array) -> jax.Array:
        return net.head(params, net.trunk(image[None]), None)[0, 1]

    image, _ = dream.dream(jax.random.key(0), objective, params)
    return np.asarray(image.round().astype(jnp.uint8))
