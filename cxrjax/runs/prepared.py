"""An experiment ready for training: images drawn, network built, what the user left open resolved, all of it logged."""

from __future__ import annotations

import logging
from typing import NamedTuple

import numpy as np
import pandas as pd

from cxrjax.base import InputError, devices, tasks
from cxrjax.base.config import ExperimentConfig, without_arms
from cxrjax.data import classes, cohort
from cxrjax.data.load import cache_place
from cxrjax.models import transfer
from cxrjax.models.pretrained import Weights
from cxrjax.report.language import ENGLISH, reasons
from cxrjax.runs import cost, draws, setup
from cxrjax.runs.draws import Cohorts
from cxrjax.runs.run_folder import Resolved
from cxrjax.storage.store import About, ImageStore, hash_rows, label_counts, patient_ids
from cxrjax.training import bank, inputs
from cxrjax.training.plan import Pipeline, Workload

log = logging.getLogger(__name__)

_NAMED = 10  # images that were left out and are named in the log


class Data(NamedTuple):
    """What an experiment and its arms share."""

    store: ImageStore
    about: About
    weights: Weights | None


class Prepared(NamedTuple):
    """An experiment before training."""

    config: ExperimentConfig  # nothing is open in it
    data: Data
    cohorts: Cohorts
    net: transfer.Network
    resolved: Resolved
    cache: bank.Cache  # of activations
    pipeline: Pipeline

    @property
    def workload(self) -> Workload:
        """What is trained on what and how."""
        labels = classes.targets(self.data.store.table["labels"], tasks.get(self.config.task))
        return Workload(self.net, self.pipeline, labels, setup.recipe(self.config), self.cache)

    def pipeline_of(self, store: ImageStore) -> Pipeline:
        """The images of another store, read as those of this one."""
        return inputs.make_pipeline(self.resolved.input, store.images, self.net.model.crop)


def prepare(config: ExperimentConfig, data: Data) -> Prepared:
    """Draws cohorts and splits, builds the network and resolves what the user left open; logs what there is."""
    try:
        cohorts = draws.draw(config, data.store)
    except InputError:
        _log_data(config, data)  # what there is tells why
        raise
    net = setup.build(config, data.weights)
    hashes = hash_rows(data.store.images, cohorts.rows)
    data_sha256 = setup.data_digest(hashes, data.store.table, cohorts.test)
    cache = activation_cache(hashes)
    config, augmentation = setup.with_bank(config, net, cohorts, cache)
    weights_sha256, images_bytes = setup.weights_digest(data.weights), data.store.images.nbytes
    resolved = setup.resolve(config, net, weights_sha256, data_sha256, augmentation, images_bytes)
    log.info("estimated time: %s", cost.estimate(config, net, cohorts, cache))
    _log_data(config, data)
    _log_cohorts(config, data.store.table, cohorts)
    if config.start_from:
        log.info("retrained layers start from those of each seed of %s", config.start_from)
    else:
        log.info("retrained layers that start from random weights: %s", ", ".join(net.fresh))
    log.info(
        "input: %s; seeds side by side: %d; float32 products: %s",
        resolved.input,
        resolved.seed_batch,
        devices.float32_products(),
    )
    if resolved.augmentation:  # else it was given
        log.info("augmentation: %s", reasons(resolved.augmentation, ENGLISH))
    pipeline = inputs.make_pipeline(resolved.input, data.store.images, net.model.crop)
    return Prepared(config, data, cohorts, net, resolved, cache, pipeline)


def _log_data(config: ExperimentConfig, data: Data) -> None:
    counted, about = tasks.get(config.task).counted, data.about
    listed, present = (classes.count(images, counted) for images in (about.listed, label_counts(data.store.table)))
    missing = ", ".join(f"{listed[name] - n} {name}" for name, n in present.items() if listed[name] > n)
    found = ", ".join(f"{n} {name}" for name, n in present.items())
    log.info("data: %s; images: %s%s", about.source, found, f"; missing: {missing}" if missing else "")
    for name, reason in list(about.bad_images.items())[:_NAMED]:
        log.warning("left out %s: %s", name, reason)
    if len(about.bad_images) > _NAMED:
        log.warning("and %d more, listed in bad_images.csv of the store", len(about.bad_images) - _NAMED)


def _log_cohorts(config: ExperimentConfig, table: pd.DataFrame, cohorts: Cohorts) -> None:
    task, first = tasks.get(config.task), cohorts.cohorts[0]
    by = draws.split_name(without_arms(config), first.unknown, len(first.index))
    if task.is_multilabel:
        split = cohorts.splits[0]
        sides = (np.nansum(first.label[rows], axis=0) for rows in (split.train, split.val))
        counts = [f"{t.positive.finding} {a:.0f} + {b:.0f}" for t, a, b in zip(task.parts, *sides, strict=True)]
        drawn = f"{len(first.index)} images a run; training + validation, first run: {', '.join(counts)}"
    else:
        positives, others = first.label.sum(), (1 - first.label).sum()
        drawn = f"{positives} {task.positive.name}, {others} {task.negative.name} a run"
    sizes = len(cohorts.splits[0].train), len(cohorts.splits[0].val)
    log.info("%s: %s; %d training, %d validation images in the first run, split by %s", config.name, drawn, *sizes, by)
    if config.test:
        patients = len(np.unique(patient_ids(table.iloc[cohorts.test])))
        log.info("held out by --test=%s: %d images of %d patients", config.test, len(cohorts.test), patients)
    if config.match:
        left = len(cohort.eligible(table, task, config.view).index) - len(cohorts.test) - len(first.index)
        log.info("matched by %s: %d images of the first run are left without a match", config.match, left)


def activation_cache(hashes: dict[int, bytes]) -> bank.Cache:
    """Of images by their SHA-256, see `ImageHashes.of`."""
    return bank.Cache(cache_place() / "activations", hashes)
