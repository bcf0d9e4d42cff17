"""Which images take part in each run of an experiment, and on which side of its split."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from cxrjax.base import tasks
from cxrjax.base.config import ExperimentConfig, without_arms
from cxrjax.data import cohort, held_out, matching, relabel, thinning
from cxrjax.data.cohort import Cohort, Split
from cxrjax.storage.store import ImageStore
from cxrjax.training import plan as planning
from cxrjax.training.plan import SeedData


class Cohorts(NamedTuple):
    """The images of each run, and their splits."""

    seeds: range
    cohorts: list[Cohort]
    splits: list[Split]
    test: np.ndarray = np.zeros(0, np.int32)  # [T] i32, rows of the store that every run holds out

    @property
    def train(self) -> list[np.ndarray]:
        """Rows of the store that each run is trained on, [n] i32."""
        return [c.index[s.train] for c, s in zip(self.cohorts, self.splits, strict=True)]

    @property
    def val(self) -> list[np.ndarray]:
        """Rows of the store that each run is validated on, [v] i32."""
        return [c.index[s.val] for c, s in zip(self.cohorts, self.splits, strict=True)]

    @property
    def rows(self) -> np.ndarray:
        """Rows of the store that take part in any run, sorted, each once."""
        return np.unique(np.concatenate([*(c.index for c in self.cohorts), self.test]))

    def of(self, k: int) -> Cohorts:
        """Of many labels those whose label k is known, as of a binary task."""
        pairs = [cohort.of_label(c, s, k) for c, s in zip(self.cohorts, self.splits, strict=True)]
        return Cohorts(self.seeds, [c for c, _ in pairs], [s for _, s in pairs], self.test)


def draw(config: ExperimentConfig, store: ImageStore) -> Cohorts:
    """Draws and splits the images of every run, and holds out what none sees.

    Args:
      config: task, seeds, negatives, sampling, view, split and who is held out.
      store: of the images.

    Raises:
      InputError: if the data do not serve.
    """
    task, table, test = tasks.get(config.task), store.table, np.zeros(0, np.int32)
    seeds = range(config.first_seed, config.first_seed + config.seeds)
    if config.test:
        everyone = cohort.eligible(table, task, config.view)
        patients = held_out.patients(config.test, store, everyone, task)
        table, held_out_images = cohort.hold_out(table, everyone, patients)
        test = held_out_images.index
        if not config.small_ok:
            cohort.refuse_small(held_out_images.label, task, f"--test={config.test}")
    different = seeds[:1] if task.is_multilabel else seeds  # of many labels all images take part in every run
    match = matching.variables(config.match)
    is_all = config.negatives == "auto" and config.sampling != "undersample"
    negatives = "all" if is_all else config.negatives
    cohorts = [cohort.draw(table, task, seed, negatives, config.view, match) for seed in different]
    cohorts *= len(seeds) // len(cohorts)
    splits = [_split(config, c, seed) for c, seed in zip(cohorts, seeds, strict=True)]
    if relabel.TRAINING in table:
        pairs = zip(cohorts, splits, strict=True)
        trained = [relabel.trained_as(c, s, table[relabel.TRAINING], task) for c, s in pairs]
        cohorts, splits = [c for c, _ in trained], [s for _, s in trained]
    return Cohorts(seeds, cohorts, splits, test)


def seed_data(config: ExperimentConfig, cohorts: Cohorts) -> list[SeedData]:
    """What each run is trained and validated on: with shuffled labels and repeated images, if that is asked for."""
    runs = []
    for seed, c, split in zip(cohorts.seeds, cohorts.cohorts, cohorts.splits, strict=True):
        rows, labels = c.index[split.train], c.label[split.train]
        if config.control == "shuffled_labels":
            labels = cohort.shuffled(labels, seed)
        places = planning.oversample(labels, seed) if config.sampling == "oversample" else slice(None)
        patients = c.patient[split.train][places]
        runs.append(SeedData(seed, rows[places], c.index[split.val], labels[places], patients))
    return runs


def split_name(config: ExperimentConfig, unknown: int, images: int) -> str:
    """What the split is called: --split_by, or what it amounts to where patients are unknown.

    Args:
      config: of the run.
      unknown: images whose patient is unknown.
      images: of how many.
    """
    if config.split_by not in ("patient", "both") or not unknown:
        return config.split_by
    if unknown == images:
        return "image (patients unknown)"
    return f"{config.split_by} ({unknown} of {images} images: patient unknown)"


def _split(config: ExperimentConfig, c: Cohort, seed: int) -> Split:
    """Of one run, as the configuration asks."""
    split = cohort.split(c, seed, config.val_fraction, without_arms(config).split_by)
    if not config.small_ok:
        for side, rows in (("training", split.train), ("validation", split.val)):
            cohort.refuse_small(c.label[rows], tasks.get(config.task), f"{side} of seed {seed}")
    if config.train_patients:
        split = cohort.subset_train_patients(c, split, config.train_patients, seed)
    if config.train_ratio:
        split = thinning.thin_positives(c, split, config.train_ratio, seed)
    return thinning.undersample(c, split, seed) if config.sampling == "undersample_training" else split
