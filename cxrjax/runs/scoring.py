"""Trained networks -> scores of all images -> the tables of a run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from cxrjax.analysis.tables import RunTables
from cxrjax.base import InputError, devices, files, tasks
from cxrjax.base.config import ExperimentConfig, question, run_path
from cxrjax.base.recipes import PROBED
from cxrjax.models import transfer
from cxrjax.runs import draws, tables
from cxrjax.runs.draws import Cohorts
from cxrjax.runs.prepared import Prepared, activation_cache
from cxrjax.storage.store import ImageStore, hash_rows
from cxrjax.training import bank, loop, probe, step
from cxrjax.training.losses import Loss


class Scored(NamedTuple):
    """What is kept of the trained networks, in the order of the seeds."""

    history: loop.History  # [S, E]
    val: list[np.ndarray]  # of each seed [v], probability of the positive class; of many labels [v, K]
    train: list[np.ndarray]  # of each seed [n], of the training images' centre crops
    hashes: list[str]  # SHA-256 of each seed's parameters
    external: np.ndarray | None  # [S, N], scores of the external set
    test: np.ndarray  # [S, T], of the images held out
    probes: list[probe.Scores] | None  # of each seed, of the validation images; None: there are none, see `_probes`

    def of(self, k: int, cohorts: Cohorts) -> Scored:
        """Scores of label k, of the images of which it is known."""
        known = [~np.isnan(c.label[:, k]) for c in cohorts.cohorts]
        sides = zip(known, cohorts.splits, self.val, self.train, strict=True)
        val, train = [], []
        for is_known, split, of_val, of_train in sides:
            val.append(of_val[is_known[split.val], k])
            train.append(of_train[is_known[split.train], k])
        external = None if self.external is None else self.external[..., k]
        probes = self.probes and [
            probe.Scores(of_seed.val[is_known[split.val], k], of_seed.strength[k : k + 1])
            for is_known, split, of_seed in zip(known, cohorts.splits, self.probes, strict=True)
        ]
        return self._replace(val=val, train=train, external=external, test=self.test[..., k], probes=probes)


def keep_curves(folder: Path, history: loop.History, first_seed: int) -> str:
    """Writes the learning curves of a run that ends without a result; says where they are."""
    path = folder / "history.csv"
    if devices.is_first():
        files.write_text(path, tables.history(history, first_seed).to_csv(index=False))
    return f"the learning curves are in {path}"


def score(prepared: Prepared, external: ImageStore | None, fitted_seeds: Iterator[loop.Fitted]) -> Scored:
    """Scores of each seed's training images and of the external set, beside those of validation.

    One group of trained networks is held at a time, and the images' activations only when the first is trained.
    """
    head, train_rows = prepared.net.head, prepared.cohorts.train
    loss = Loss(tasks.get(prepared.config.task).is_multilabel, prepared.config.loss)
    histories, val, train, hashes, outside, test = [], [], [], [], [], []
    train_bank, external_bank = None, None
    for seed, rows, fitted in zip(prepared.cohorts.seeds, train_rows, fitted_seeds, strict=True):
        if train_bank is None:
            every = np.unique(np.concatenate([*train_rows, prepared.cohorts.test]))
            size = len(prepared.data.store.table)
            train_bank = bank.build(prepared.net.trunk, prepared.pipeline, every, bank.CENTRE, size, prepared.cache)
            external_bank = None if external is None else _external_bank(prepared, external)
        histories.append(fitted.history)
        val.append(np.asarray(loss.score(fitted.val_logits[0])))
        train.append(step.score_rows(head, loss, fitted.variables, train_bank, rows))
        hashes.append(transfer.digest(jax.tree.map(lambda x: x[0], fitted.variables)))
        if external_bank is not None:
            every = np.arange(len(external_bank.position))
            outside.append(step.score_rows(head, loss, fitted.variables, external_bank, every))
        if len(prepared.cohorts.test):
            test.append(step.score_rows(head, loss, fitted.variables, train_bank, prepared.cohorts.test))
        scores = {"validation": val[-1], "training": train[-1], "external": outside[-1] if outside else np.empty(0)}
        scores |= {"test": test[-1]} if test else {}
        _refuse_not_finite(prepared.config, seed, scores, fitted.history)
    history = loop.History(*(np.concatenate(curves) for curves in zip(*histories, strict=True)))
    held_out = np.stack(test) if test else np.zeros((len(val), 0, *val[0].shape[1:]), np.float32)
    external_scores = np.stack(outside) if outside else None
    return Scored(history, val, train, hashes, external_scores, held_out, _probes(prepared))


def _probes(prepared: Prepared) -> list[probe.Scores] | None:
    """The floor of the same frozen stages; none where nothing is frozen, the run itself is a probe, or it would take
    long."""
    few = max(map(len, prepared.cohorts.train)) <= PROBED  # images, as `floors.no_probe` counts, not repetitions
    if prepared.config.head == "linear" or not prepared.net.trunk.identity or not few:
        return None
    return probe.validate(prepared.workload, draws.seed_data(prepared.config, prepared.cohorts))


def _refuse_not_finite(
    config: ExperimentConfig, seed: int, scores: dict[str, np.ndarray], history: loop.History
) -> None:
    """Refuses weights so large that an image's score overflows, though the losses did not."""
    for images, values in scores.items():
        if not np.isfinite(values).all():
            told = keep_curves(run_path(config), history, seed)
            raise InputError(f"seed {seed}: scores of {images} images are not finite; {loop.REMEDY}; {told}")


def _external_bank(prepared: Prepared, external: ImageStore) -> bank.Bank:
    """Centre crops of the whole external set."""
    rows = np.arange(len(external.table))
    cache = activation_cache(hash_rows(external.images, rows))
    return bank.build(prepared.net.trunk, prepared.pipeline_of(external), rows, bank.CENTRE, len(rows), cache)


def tables_of(
    prepared: Prepared, config: ExperimentConfig, k: int, external: ImageStore | None, scored: Scored
) -> RunTables:
    """All that training gave for one question, of many labels the one that logit k asks, as tables."""
    store, cohorts = prepared.data.store, prepared.cohorts
    if config.finding:
        scored, cohorts = scored.of(k, cohorts), cohorts.of(k)
    val = tables.predictions(store, cohorts, [split.val for split in cohorts.splits], scored.val)
    train = tables.predictions(store, cohorts, [split.train for split in cohorts.splits], scored.train)
    task, seeds, outside, test = question(config), cohorts.seeds, None, None
    probed = None
    if scored.probes is not None:
        probed = tables.predictions(
            store, cohorts, [split.val for split in cohorts.splits], [p.val for p in scored.probes]
        )
        probed["strength"] = np.repeat([p.strength[0] for p in scored.probes], [len(p.val) for p in scored.probes])
    if external is not None and scored.external is not None:
        outside = tables.scored_by_all(external.table, task, seeds, scored.external, "--external_dir")
    if len(cohorts.test):
        held_out = store.table.iloc[cohorts.test]
        test = tables.scored_by_all(held_out, task, seeds, scored.test, f"--test={config.test}")
    return RunTables(
        seeds=tables.seeds(cohorts, scored.history, scored.hashes),
        history=tables.history(scored.history, config.first_seed),
        predictions=val,
        training=train,
        images=tables.images(store, val, train, *([] if test is None else [test])),
        flow=tables.flow(config, prepared.data.about, store.table, cohorts),
        external=outside,
        test=test,
        probe=probed,
    )
