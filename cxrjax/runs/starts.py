"""Heads that training starts from: those of the same seeds of a finished run."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from cxrjax.analysis.tables import TABLES, read_table
from cxrjax.base import InputError
from cxrjax.base.config import ExperimentConfig
from cxrjax.runs import draws, run_folder
from cxrjax.runs.draws import Cohorts
from cxrjax.training.plan import SeedData

if TYPE_CHECKING:
    from cxrjax.models.transfer import Network


def digest(config: ExperimentConfig) -> str | None:
    """SHA-256 of the parameters of the run of --start_from; None if there is none.

    Raises:
      InputError: if the folder is not that of a finished run.
    """
    if not config.start_from:
        return None
    folder = Path(config.start_from)
    run_folder.read_finished(folder)
    return hashlib.sha256("".join(run_folder.params_sha256(folder).values()).encode()).hexdigest()


def of_runs(config: ExperimentConfig, net: Network, table: pd.DataFrame, cohorts: Cohorts) -> list[SeedData]:
    """What each run is trained on, with the head that --start_from names, which is read when training starts.

    Args:
      config: of the experiment.
      net: its network.
      table: of the store.
      cohorts: of all runs.

    Raises:
      InputError: the run is not finished, its network is another one or not that of its weights, it lacks a seed, or a
        seed was trained on an image or a patient that is validated or held out here.
    """
    runs = draws.seed_data(config, cohorts)
    if not config.start_from:
        return runs
    from cxrjax.runs.trained import load_run

    run = load_run(config.start_from)
    if (theirs := _cut(run.net)) != (ours := _cut(net)):
        raise InputError(f"--start_from={config.start_from}: its network is {theirs}, and this one is {ours}")
    if missing := sorted({seed_data.seed for seed_data in runs} - set(run.seeds)):
        raise InputError(f"--start_from={config.start_from} must have every seed of this run, and lacks {missing[0]}")
    _refuse_seen(config, runs, table, cohorts.test)
    return [seed_data._replace(start=functools.partial(run.head, seed_data.seed)) for seed_data in runs]


def _cut(net: Network) -> str:
    """What must be the same of two networks for the head of one to be that of the other."""
    model, trunk = net.model, net.trunk.identity.partition(" ")[0][:8] or "no trunk"
    pooling = f", lse_r={model.lse_r:g}," if model.lse_r else ""
    return f"{model.name} of {model.crop} pixels{pooling} from {net.start} to {model.num_classes} logits, trunk {trunk}"


def _refuse_seen(config: ExperimentConfig, runs: Sequence[SeedData], table: pd.DataFrame, test: np.ndarray) -> None:
    """Refuses scores that would flatter: of images, or of patients, that a starting head was trained on."""
    folder = Path(config.start_from)
    trained = read_table(folder / f"{TABLES['training'].file}.csv", ["seed", "image", "patient"])
    for seed_data in runs:
        before = trained[trained["seed"] == seed_data.seed]
        scored = table.iloc[[*seed_data.val, *test]]
        is_seen = scored["image"].isin(before["image"])
        if config.split_by == "patient":
            is_seen |= (scored["patient"] != "") & scored["patient"].isin(before["patient"])
        if is_seen.any():
            raise InputError(
                f"--start_from={folder}: its seed {seed_data.seed} was trained on {is_seen.sum()} images, or on their "
                f"patients, that are validated or held out here, {scored['image'][is_seen].iloc[0]} among them"
            )
