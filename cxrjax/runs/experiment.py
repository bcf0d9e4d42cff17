"""One experiment from configuration to files: data, training, evaluation, report. Shared by all experiments."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import pandas as pd

from cxrjax.analysis import tables as run_files
from cxrjax.analysis.tables import FindingsResults, Results, RunTables
from cxrjax.base import InputError, devices, files, tasks
from cxrjax.base.codes import code
from cxrjax.base.config import ExperimentConfig, arms, question, questions, result_path, run_path, without_arms
from cxrjax.data import classes, cohort
from cxrjax.data.load import cache_dir, load
from cxrjax.models import transfer
from cxrjax.models.pretrained import Weights
from cxrjax.report import report
from cxrjax.report.language import ENGLISH, reasons
from cxrjax.runs import dreams, findings, notes, results, run_folder, setup, tables, trained
from cxrjax.runs.run_folder import Resolved
from cxrjax.runs.setup import Cohorts
from cxrjax.storage.store import About, ImageStore, hash_rows, label_counts, patient_ids
from cxrjax.training import bank, inputs, loop, seed_batches, step
from cxrjax.training.losses import Loss
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

    config: ExperimentConfig
    data: Data
    cohorts: Cohorts
    net: transfer.Network
    resolved: Resolved
    cache: bank.Cache  # of activations
    pipeline: Pipeline

    def pipeline_of(self, store: ImageStore) -> Pipeline:
        """The images of another store, read as those of this one."""
        return inputs.make_pipeline(self.resolved.input, store.images, self.net.model.crop)


class Scored(NamedTuple):
    """What is kept of the trained networks, in the order of the seeds."""

    history: loop.History  # [S, E]
    val: list[np.ndarray]  # of each seed [v], probability of the positive class; of many labels [v, K]
    train: list[np.ndarray]  # of each seed [n], of the training images' centre crops
    hashes: list[str]  # SHA-256 of each seed's parameters
    external: np.ndarray | None  # [S, N], scores of the external set
    test: np.ndarray  # [S, T], of the images held out

    def of(self, k: int, cohorts: Cohorts) -> Scored:
        """Scores of label k, of the images of which it is known."""
        known = [~np.isnan(c.label[:, k]) for c in cohorts.cohorts]
        sides = zip(known, cohorts.splits, self.val, self.train, strict=True)
        val, train = [], []
        for is_known, split, of_val, of_train in sides:
            val.append(of_val[is_known[split.val], k])
            train.append(of_train[is_known[split.train], k])
        external = None if self.external is None else self.external[..., k]
        return self._replace(val=val, train=train, external=external, test=self.test[..., k])


def run(config: ExperimentConfig) -> Results | FindingsResults:
    """Runs an experiment, or what is left of an interrupted one, and writes its files.

    A task of many labels has `FindingsResults`: results of each finding, in a folder of its own.

    Of several processes the first writes; all must see the same files.

    Raises:
      InputError: for any mistake in the configuration or in the files it names.
    """
    setup.check(config)
    config, weights = setup.open_network(config)
    side = setup.model_of(config, weights).source
    with devices.main_process_first():
        store, about = setup.open_data(config, side)
        external = load(config.external_dir, config.max_bad, side, config) if config.external_dir else None
    return _run(config, Data(store, about, weights), external)


def _run(config: ExperimentConfig, data: Data, opened: tuple[ImageStore, About] | None) -> Results | FindingsResults:
    """`run` with its data and weights at hand: first its own networks, then its arms, then all files."""
    started = time.monotonic()
    prepared = prepare(config, data)
    outside, external = dict[str, Any](), None
    if opened is not None:
        external, left_out = setup.external_set(opened[0], data.store, prepared.cohorts)
        outside = {
            "external_images": len(external.table),
            "external_copies": left_out,
            "external_unknown": int((external.table["patient"] == "").sum()),
            "external_enlarged": opened[1].enlarged,
        }
    seen = notes.seen_by_weights(data.weights, _images(data.store, external))
    outside["seen_by_weights"] = seen
    if seen:
        log.warning("%s", reasons(code("weights_have_seen", **seen), ENGLISH))
    with _claimed(config, prepared.resolved) as folder:
        scored = _score(prepared, external, _train(prepared, folder))
        first = seed_batches.place_of(folder / "checkpoints", config.first_seed)
        head = trained.read_head(first, scored.hashes[0])
        arm_tables = {name: _arm(name, arm, data) for name, arm in arms(config).items()}
        kind, minutes = jax.devices()[0].device_kind, (time.monotonic() - started) / 60
        environment = tables.environment(data.weights, prepared.net.model, config.retrain_from, kind)
        facts = results.Facts(dataclasses.asdict(prepared.resolved), environment, outside, minutes)
        answers = []
        for k, of_question in enumerate(questions(config)):
            net, aim = prepared.net, head
            if of_question.finding:
                net, convert = transfer.of_logit(prepared.net, k)
                aim = convert(head)
            arms_of = {name: arm[of_question.finding] for name, arm in arm_tables.items()}
            run_tables = _tables(prepared, of_question, k, external, scored)
            counted = results.count_data(data.about, data.store, of_question)
            answers.append(
                results.assemble(
                    of_question, facts._replace(data=counted | outside), run_tables, arms_of,
                    dreams.first_dream(net, aim), data.store,
                )
            )  # fmt: skip
            if devices.is_first() and of_question.finding:
                log.info("%s: results in %s", of_question.finding, result_path(of_question))
                run_folder.write_finding(answers[-1])
        run_results: Results | FindingsResults = answers[0]
        if tasks.get(config.task).is_multilabel:
            flow = tables.flow(config, data.about, data.store.table, prepared.cohorts)
            counted = results.count_data(data.about, data.store, config) | outside
            run_results = findings.assemble(config, facts._replace(data=counted), answers, flow)
        if devices.is_first():
            report.write(folder, run_results)
    return run_results


def _images(*stores: ImageStore | None) -> list[str]:
    """Names of the images of all sets."""
    return [str(name) for store in stores if store is not None for name in store.table["image"]]


def _arm(name: str, config: ExperimentConfig, data: Data) -> dict[str, RunTables]:
    """Tables of an arm, which is run unless it is finished, by finding ("" of a task without)."""
    if devices.broadcast_flag(run_folder.is_finished(run_path(config))):
        log.info("%s: finished already", name)
        return {of_question.finding: run_files.read(result_path(of_question)) for of_question in questions(config)}
    log.info("%s: training the same seeds", name)
    weights = None if config.weights == "random" else data.weights
    answers = _run(config, data._replace(weights=weights), None)
    every = [answers] if isinstance(answers, Results) else answers.findings
    return {answer.config.finding: answer.tables for answer in every}


@contextlib.contextmanager
def _claimed(config: ExperimentConfig, resolved: Resolved) -> Iterator[Path]:
    """The run's folder, claimed by the first process for all."""
    with contextlib.ExitStack() as stack:
        with devices.main_process_first():
            if devices.is_first():
                stack.enter_context(run_folder.claim(config, resolved))
        yield run_path(config)
        devices.wait_for_all("run finished")


def prepare(config: ExperimentConfig, data: Data) -> Prepared:
    """Draws cohorts and splits, builds the network and resolves what the user left open; logs what there is."""
    _log_data(config, data)
    cohorts = setup.draw(config, data.store)
    _log_cohorts(config, data.store.table, cohorts)
    net = setup.build(config, data.weights)
    log.info("retrained layers that start from random weights: %s", ", ".join(net.fresh))
    hashes = hash_rows(data.store.images, cohorts.rows)
    data_sha256 = setup.data_digest(hashes, data.store.table, cohorts.test)
    resolved = setup.resolve(config, net, setup.weights_digest(data.weights), data_sha256)
    log.info("input: %s; seeds side by side: %d", resolved.input, resolved.seed_batch)
    pipeline = inputs.make_pipeline(resolved.input, data.store.images, net.model.crop)
    return Prepared(config, data, cohorts, net, resolved, _cache(hashes), pipeline)


def _log_data(config: ExperimentConfig, data: Data) -> None:
    counted, about = tasks.get(config.task).counted, data.about
    listed, present = (classes.count(images, counted) for images in (about.listed, label_counts(data.store.table)))
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


def _log_cohorts(config: ExperimentConfig, table: pd.DataFrame, cohorts: Cohorts) -> None:
    task, first = tasks.get(config.task), cohorts.cohorts[0]
    by = setup.split_name(without_arms(config), first.unknown, len(first.index))
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


def _train(prepared: Prepared, folder: Path) -> Iterator[loop.Fitted]:
    """Trained networks, one after the other; if a loss is no longer finite, the learning curves are kept."""
    config = prepared.config
    labels = classes.targets(prepared.data.store.table["labels"], tasks.get(config.task))
    try:
        yield from seed_batches.train(
            Workload(prepared.net, prepared.pipeline, labels, setup.recipe(config), prepared.cache),
            setup.seed_data(config, prepared.cohorts), prepared.resolved.seed_batch, folder / "checkpoints",
        )  # fmt: skip
    except loop.Diverged as error:
        told = _keep_curves(folder, error.progress.history, error.first_seed)
        raise InputError(f"{error}; {told}") from error


def _keep_curves(folder: Path, history: loop.History, first_seed: int) -> str:
    """Writes the learning curves of a run that ends without a result; says where they are."""
    path = folder / "history.csv"
    if devices.is_first():
        files.write_text(path, tables.history(history, first_seed).to_csv(index=False))
    return f"the learning curves are in {path}"


def _cache(hashes: dict[int, bytes]) -> bank.Cache:
    return bank.Cache(cache_dir() / "activations", hashes)


def _score(prepared: Prepared, external: ImageStore | None, fitted_seeds: Iterator[loop.Fitted]) -> Scored:
    """Scores of each seed's training images and of the external set, beside those of validation.

    No more than one trained network is held at a time, and the images' activations only when the first is trained.
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
    return Scored(history, val, train, hashes, np.stack(outside) if outside else None, held_out)


def _refuse_not_finite(
    config: ExperimentConfig, seed: int, scores: dict[str, np.ndarray], history: loop.History
) -> None:
    """Refuses weights so large that an image's score overflows, though the losses did not."""
    for images, values in scores.items():
        if not np.isfinite(values).all():
            told = _keep_curves(run_path(config), history, seed)
            raise InputError(f"seed {seed}: scores of {images} images are not finite; {loop.REMEDY}; {told}")


def _external_bank(prepared: Prepared, external: ImageStore) -> bank.Bank:
    """Centre crops of the whole external set."""
    rows = np.arange(len(external.table))
    cache = _cache(hash_rows(external.images, rows))
    return bank.build(prepared.net.trunk, prepared.pipeline_of(external), rows, bank.CENTRE, len(rows), cache)


def _tables(
    prepared: Prepared, config: ExperimentConfig, k: int, external: ImageStore | None, scored: Scored
) -> RunTables:
    """All that training gave for one question, of many labels the one that logit k asks, as tables."""
    store, cohorts = prepared.data.store, prepared.cohorts
    if config.finding:
        scored, cohorts = scored.of(k, cohorts), cohorts.of(k)
    val = tables.predictions(store, cohorts, [split.val for split in cohorts.splits], scored.val)
    train = tables.predictions(store, cohorts, [split.train for split in cohorts.splits], scored.train)
    task, seeds, outside, test = question(config), cohorts.seeds, None, None
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
    )
