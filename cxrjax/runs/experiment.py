"""One experiment from configuration to files: data, training, evaluation, report. Shared by all experiments."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax

from cxrjax.analysis import tables as run_files
from cxrjax.analysis.tables import FindingsResults, Results, RunTables
from cxrjax.base import InputError, devices, tasks
from cxrjax.base.codes import code
from cxrjax.base.config import ExperimentConfig, arms, questions, result_path, run_path
from cxrjax.data.load import load
from cxrjax.models import transfer
from cxrjax.report import report
from cxrjax.report.language import ENGLISH, reasons
from cxrjax.runs import dreams, findings, notes, results, run_folder, scoring, setup, starts, tables, trained
from cxrjax.runs.prepared import Data, Prepared, prepare
from cxrjax.runs.run_folder import Resolved
from cxrjax.storage.store import About, ImageStore
from cxrjax.training import loop, probe, seed_batches
from cxrjax.training.plan import SeedData

log = logging.getLogger(__name__)


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
    if external:
        refuse_other_crop(config, about, external[1])
    with devices.precision(config.precision):
        return _run(config, Data(store, about, weights), external)


def refuse_other_crop(config: ExperimentConfig, about: About, external: About) -> None:
    """Raises InputError if one of the sets was cut to the lungs (`prepare --crop`) and the other was not."""
    crops = [made.made.get("crop", "none") for made in (about, external)]
    if crops[0] != crops[1]:
        raise InputError(
            f"--external_dir={config.external_dir} must be cropped as --data_dir={config.data_dir} ({crops[0]}), "
            f"got {crops[1]}; experiments.prepare has --crop"
        )


def _run(config: ExperimentConfig, data: Data, opened: tuple[ImageStore, About] | None) -> Results | FindingsResults:
    """`run` with its data and weights at hand: first its own networks, then its arms, then all files."""
    started = time.monotonic()
    prepared = prepare(config, data)
    config = prepared.config
    outside, external = dict[str, Any](), None
    if opened is not None:
        external, left_out = setup.external_set(opened[0], data.store, prepared.cohorts, tasks.get(config.task))
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
    runs = starts.of_runs(config, prepared.net, data.store.table, prepared.cohorts)
    with _claimed(config, prepared.resolved) as folder:
        scored = scoring.score(prepared, external, _train(prepared, runs, folder))
        first = seed_batches.place_of(folder / "checkpoints", config.first_seed)
        head = trained.read_head(first, scored.hashes[0])
        arm_tables = {name: _arm(name, arm, data) for name, arm in arms(config).items()}
        kind, minutes = jax.devices()[0].device_kind, (time.monotonic() - started) / 60
        environment = tables.environment(data.weights, prepared.net.model, prepared.net.start, kind)
        facts = results.Facts(dataclasses.asdict(prepared.resolved), environment, outside, minutes)
        answers = []
        for k, of_question in enumerate(questions(config)):
            net, aim = prepared.net, head
            if of_question.finding:
                net, convert = transfer.of_logit(prepared.net, k)
                aim = convert(head)
            arms_of = {name: arm[of_question.finding] for name, arm in arm_tables.items()}
            run_tables = scoring.tables_of(prepared, of_question, k, external, scored)
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


def _train(prepared: Prepared, runs: list[SeedData], folder: Path) -> Iterator[loop.Fitted]:
    """Trained networks, one after the other; if a loss is no longer finite, the learning curves are kept."""
    workload = prepared.workload
    try:
        if workload.recipe.head == "linear":
            yield from probe.train(workload, runs, folder / "checkpoints")
        else:
            yield from seed_batches.train(workload, runs, prepared.resolved.seed_batch, folder / "checkpoints")
    except loop.Diverged as error:
        told = scoring.keep_curves(folder, error.progress.history, error.first_seed)
        raise InputError(f"{error}; {told}") from error
