"""The further runs that an experiment asks for, to be put beside its own: controls and the other split.

An arm is a run like any other, with the same seeds, in OUT/arms/NAME; `experiments.compare` takes it, too.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from cxrjax.base.config import ExperimentConfig, run_path

SHUFFLED_LABELS, RANDOM_TRUNK, SPLIT_BY_IMAGE = "shuffled_labels", "random_trunk", "split_by_image"


def of(config: ExperimentConfig) -> dict[str, ExperimentConfig]:
    """Name -> configuration of each arm; empty if the experiment asks for none.

    >>> list(of(ExperimentConfig("p_vs_nf", "p_vs_nf", split_by="both")))
    ['split_by_image']
    """
    one = dataclasses.replace(own(config), floors=False, external_dir=None, overwrite=False)
    found = {}
    if config.floors:
        found[SHUFFLED_LABELS] = dataclasses.replace(one, control="shuffled_labels")
        found[RANDOM_TRUNK] = dataclasses.replace(one, weights="random")
    if config.split_by == "both":
        found[SPLIT_BY_IMAGE] = dataclasses.replace(one, split_by="image")
    return {name: dataclasses.replace(arm, out=str(folder(config, name))) for name, arm in found.items()}


def own(config: ExperimentConfig) -> ExperimentConfig:
    """The experiment's own run without its arms."""
    return dataclasses.replace(config, split_by="patient") if config.split_by == "both" else config


def folder(config: ExperimentConfig, name: str) -> Path:
    """Where an arm's files are."""
    return run_path(config) / "arms" / name
