"""One experiment from configuration to files: data, training, evaluation, report. Shared by all experiments."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import jaxlib
import numpy as np
import pandas as pd

from cxrjax import (
    augment,
    bank,
    checkpoint,
    cohort,
    devices,
    dream,
    evaluate,
    files,
    network,
    pipeline,
    report,
    rundir,
    seed_groups,
    tables,
    trainer,
)
from cxrjax.datasets.load import cache_dir, load
from cxrjax.store import hash_rows, label_counts
from cxrjax.types import (
    About,
    Cohort,
    ExperimentConfig,
    ImageStore,
    InputError,
    Params,
    Results,
    Schedule,
    SeedData,
    Split,
    Weights,
)

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
    net: network.Network
    schedule: Schedule
    settled: dict[str, Any]  # what followed from machine and files; see `rundir.claim`
    feed: Callable[[ImageStore], bank.Feed]


class Evaluated(NamedTuple):
    """What is kept of the trained networks, a row a seed."""

    history: trainer.History  # [S, E]
    scores: list[np.ndarray]  # of each seed [v], probability of pneumonia
    hashes: list[str]  # SHA-256 of each seed's parameters
    external: np.ndarray | None  # [S, N], scores of the external set
    dream: np.ndarray  # [H, W] u8, of the first seed


def run(config: ExperimentConfig) -> Results:
    """Runs an experiment, or what is left of an interrupted one, and writes its files.

    Of several processes the first writes; all must see the same files.

    Raises:
      InputError: for any mistake in the configuration or in the files it names.
    """
    check(config)
    started = time.monotonic()
    weights = None if config.weights == "random" else checkpoint.load_weights(config.weights)
    with devices.first_alone():
        store, about = load(config.data_dir, config.max_bad)
        external = load(config.external_dir, config.max_bad)[0] if config.external_dir else None
    prepared = prepare(config, store, about, weights)
    with _claimed(config, prepared.settled) as folder:
        evaluated = _evaluate(config, prepared, external, _train(config, prepared, folder))
        results = _results(config, prepared, external, evaluated, started)
        if devices.is_first():
            report.write(folder, results)
    return results


@contextlib.contextmanager
def _claimed(config: ExperimentConfig, settled: dict[str, Any]) -> Iterator[Path]:
    """The run's folder, claimed by the first process for all."""
    with contextlib.ExitStack() as stack:
        with devices.first_alone():
            if devices.is_first():
                stack.enter_context(rundir.claim(config, settled))
        yield rundir.path(config)
        devices.wait_for_all("run finished")


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
    """Draws cohorts and splits, builds the network and settles what the user left open; logs what there is."""
    _log_data(about, store)
    seeds = range(config.first_seed, config.first_seed + config.seeds)
    cohorts = [cohort.draw(store.table, config.negative_class, s, config.negatives, config.view) for s in seeds]
    if config.split_by == "official":
        splits = [cohort.official_split(c, store.table) for c in cohorts]
    else:
        splits = [cohort.split(c, s, config.val_fraction, config.split_by) for c, s in zip(cohorts, seeds, strict=True)]
    log.info(
        "%s: %d P, %d %s a run; %d training, %d validation images in the first run, split by %s",
        config.name, cohorts[0].label.sum(), (1 - cohorts[0].label).sum(), config.negative_class,
        len(splits[0].train), len(splits[0].val), config.split_by,
    )  # fmt: skip
    net = network.cut(weights, config.retrain_from, dtype=config.dtype)
    log.info("retrained layers that start from random weights: %s", ", ".join(net.fresh))
    schedule = Schedule(config.epochs, config.batch_size, config.learning_rate, config.momentum, config.augment_bank)
    hashes = hash_rows(store.images, np.unique(np.concatenate([c.index for c in cohorts])))
    settled = devices.told(_settle(config, net, schedule, weights) | {"data_sha256": _data_digest(hashes, store.table)})
    log.info("input: %s; seeds side by side: %d", settled["input"], settled["seed_batch"])

    def feed(store: ImageStore) -> bank.Feed:
        if settled["input"] == "tfdata":
            return lambda plan: pipeline.batches(store.images, plan)
        images = jnp.asarray(store.images)
        return lambda plan: augment.batches(images, plan)

    return Prepared(store, hashes, about, cohorts, splits, weights, net, schedule, settled, feed)


def _settle(
    config: ExperimentConfig, net: network.Network, schedule: Schedule, weights: Weights | None
) -> dict[str, Any]:
    """What the user left open: as an interrupted run had it, else as this machine suggests."""
    before = rundir.recall(config)
    usual = before.get("input") or ("tfdata" if pipeline.available() else "resident")
    fitting = before.get("seed_batch") or seed_groups.default_seed_batch(net, schedule, config.seeds)
    return {
        "input": usual if config.input == "auto" else config.input,
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


def _log_data(about: About, store: ImageStore) -> None:
    listed, present = cohort.count(about.listed), cohort.count(label_counts(store.table))
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


def _train(config: ExperimentConfig, prepared: Prepared, folder: Path) -> Iterator[trainer.Fitted]:
    """Trained networks, one after the other; if a loss is no longer finite, the learning curves are kept."""
    runs = [
        SeedData(config.first_seed + i, c.index[s.train], c.index[s.val])
        for i, (c, s) in enumerate(zip(prepared.cohorts, prepared.splits, strict=True))
    ]
    labels = cohort.classes(prepared.store.table["labels"])["P"].astype(np.int32)
    try:
        yield from seed_groups.train(
            prepared.net, prepared.feed(prepared.store), labels, runs, prepared.schedule,
            prepared.settled["seed_batch"], _cache(prepared.hashes), folder / "checkpoints",
        )  # fmt: skip
    except trainer.Diverged as error:
        if devices.is_first():
            table = tables.history(error.progress.history, error.first_seed)
            files.write_text(folder / "history.csv", table.to_csv(index=False))
        raise InputError(f"{error}; the learning curves are in {folder / 'history.csv'}") from error


def _cache(hashes: dict[int, bytes]) -> bank.Cache:
    return bank.Cache(cache_dir() / "activations", hashes)


def _evaluate(
    config: ExperimentConfig, prepared: Prepared, external: ImageStore | None, trained: Iterator[trainer.Fitted]
) -> Evaluated:
    """Goes through the trained networks one by one, so that no more than one is held."""
    histories, scores, hashes, outside = [], [], [], []
    picture: np.ndarray | None = None
    features = None if external is None else _external_features(prepared, external)
    for fitted in trained:
        histories.append(fitted.history)
        scores.append(np.asarray(evaluate.score(fitted.val_logits[0])))
        params = jax.tree.map(lambda x: x[0], fitted.params)
        hashes.append(checkpoint.digest(params))
        if features is not None:
            parts = [
                evaluate.logits(prepared.net.head, fitted.params, x) for x in bank.pieces(*features, evaluate.CHUNK)
            ]
            outside.append(np.asarray(evaluate.score(np.concatenate(parts, axis=1)))[0])
        if picture is None:
            picture = _dream(prepared.net, params)
    history = trainer.History(*(np.concatenate(curves) for curves in zip(*histories, strict=True)))
    assert picture is not None, "there is at least one seed"
    return Evaluated(history, scores, hashes, np.stack(outside) if outside else None, picture)


def _external_features(prepared: Prepared, external: ImageStore) -> tuple[bank.Bank, np.ndarray]:
    """What enters the head of every image of the external set: a bank and its rows [1, N]."""
    rows = np.arange(len(external.table))
    cache = _cache(hash_rows(external.images, rows))
    return bank.build_centre(prepared.net.trunk, prepared.feed(external), rows, len(rows), cache), rows[None]


def _results(
    config: ExperimentConfig,
    prepared: Prepared,
    external: ImageStore | None,
    evaluated: Evaluated,
    started: float,
) -> Results:
    """Puts tables and summary together."""
    predictions = tables.predictions(
        prepared.store, config.first_seed, prepared.cohorts, prepared.splits, evaluated.scores
    )
    seeds = tables.seeds(predictions, evaluated.history, prepared.cohorts, prepared.splits, evaluated.hashes)
    elsewhere = None
    if external is not None and evaluated.external is not None:
        elsewhere = tables.external(external, config.negative_class, config.first_seed, evaluated.external)
    present = cohort.count(label_counts(prepared.store.table))
    minutes = (time.monotonic() - started) / 60
    summary = tables.summary(config, prepared.about, present, seeds, elsewhere, minutes)
    environment = tables.environment(prepared.weights, jax.devices()[0].device_kind)
    return Results(
        config, environment, summary, seeds, tables.history(evaluated.history, config.first_seed), predictions,
        elsewhere, evaluated.dream,
    )  # fmt: skip


def _dream(net: network.Network, params: Params) -> np.ndarray:
    """What the pneumonia neuron of one seed's fc8 responds to, [H, W] u8."""
    image, _ = dream.dream(jax.random.key(0), network.logit_of(net, 1), (net.trunk.params, params))
    return np.asarray(image.round().astype(jnp.uint8))
