"""Tables of runs, row by row, with made-up training in the place of `experiment.run`."""

import dataclasses
import re

import jax
import numpy as np
import pytest

from cxrjax.base import InputError
from cxrjax.base.config import ExperimentConfig, run_path
from cxrjax.models import pretrained
from cxrjax.models.pretrained import Weights, WeightsInfo
from cxrjax.runs import cost, experiment, forecast, run_folder, setup, sweep
from cxrjax.runs.prepared import Data, prepare
from cxrjax.training import seed_batches
from tests.models import narrow
from tests.runs.handmade import fake_run

SPEED = cost.Speed(1e11, 1e11)


@pytest.fixture(scope="module")
def source():
    return sweep.Source()


@pytest.fixture
def base(small_store, tmp_path):
    return ExperimentConfig(
        "p_vs_nf", "p_vs_nf", model="alexnet", retrain_from="fc6", data_dir=str(small_store), weights="random", seeds=2,
        epochs=1, augment_bank=1, small_ok=True, input="resident", out=str(tmp_path / "table"),
    )  # fmt: skip


@pytest.fixture
def rows(base, tmp_path):
    """Three rows, the second of which no data can serve."""

    def row(name, **fields):
        return sweep.Row(name, name, dataclasses.replace(base, out=str(tmp_path / "table" / name), **fields))

    return [row("base"), row("bad", negatives="5000"), row("image", split_by="image")]


@pytest.fixture
def ran(monkeypatch):
    """Names of the rows that were trained, in order."""
    names = []

    def run(config):
        names.append(run_path(config).name)
        fake_run(config)

    monkeypatch.setattr(experiment, "run", run)
    return names


def last(outcomes):
    return [(one.row.name, one.status) for one in list(outcomes)[-1]]


def test_what_a_configuration_meets(base, source):
    """As `prepared.prepare` has it: sizes, patients and hashes; nothing is written."""
    dry = sweep.dry_run(base, source)
    prepared = prepare(base, Data(*source.data(base, 256)[:2], None))
    made = prepared.cohorts
    for i, (c, s) in enumerate(zip(made.cohorts, made.splits, strict=True)):
        assert (dry.sizes.train[i], dry.sizes.val[i]) == (len(s.train), len(s.val))
        assert dry.patients[i] == len(set(c.patient[s.train]))
    everyone = {int(row) for c in made.cohorts for row in c.index}
    trained = {int(c.index[i]) for c, s in zip(made.cohorts, made.splits, strict=True) for i in s.train}
    assert (dry.sizes.distinct, dry.sizes.distinct_train) == (len(everyone), len(trained))
    resolved = prepared.resolved
    assert (setup.device(), dry.weights_sha256, dry.data_sha256) == (
        resolved.device, resolved.weights_sha256, resolved.data_sha256,
    )  # fmt: skip
    assert not run_path(base).exists()


def test_a_dry_run_builds_no_network_and_hashes_an_image_once(base, monkeypatch):
    monkeypatch.setattr(setup, "build", lambda *_: pytest.fail("a network is built"))
    hashed = []
    monkeypatch.setattr(setup, "hash_rows", lambda images, rows: hashed.extend(rows) or dict.fromkeys(rows, b""))
    fresh = sweep.Source()
    for _ in range(2):
        sweep.dry_run(base, fresh)
    assert len(hashed) == len(set(hashed)) > 0


@pytest.fixture
def weights(tmp_path):
    """Folders of converted weights of two networks: what their first layers would be."""

    def folder(model, value):
        params = jax.tree.map(
            lambda x: np.full(x.shape, value, np.float32), model.variable_shapes(stop=model.before("fc6"))["params"]
        )
        info = WeightsInfo("file", "f", "hash", model.name, tuple(params), model.preprocessing)
        place = tmp_path / f"{model.name}-{value}"
        pretrained.save_weights(place, Weights(params, info))
        return str(place)

    return folder(narrow.ALEXNET, 1), folder(narrow.ALEXNET, 2)


def test_each_row_has_its_own_weights_each_read_once(base, weights, tmp_path, monkeypatch):
    """Those of the row, whatever the base has; random ones stand for no others; missing ones are no failure."""
    read = []
    load = pretrained.load_weights
    monkeypatch.setattr(pretrained, "load_weights", lambda place: read.append(place) or load(place))
    source = sweep.Source()
    places = [*weights, weights[0], "random", str(tmp_path / "resnet50-imagenet")]
    rows = [
        sweep.Row(f"{i}", "", sweep.row_config(base, f"{i}", model="", weights=place, retrain_from="head"))
        for i, place in enumerate(places)
    ]
    hashes = [sweep.dry_run(row.config, source).weights_sha256 for row in rows[:4]]
    assert hashes[0] == hashes[2] != hashes[1] and hashes[3] is None
    plan = sweep.plan_rows(rows, source)
    assert sorted(read) == sorted(set(read)) == sorted(places[:2] + places[4:])
    assert [outcome.status for outcome in plan] == [sweep.WAITING] * 4 + [sweep.UNAVAILABLE]
    assert plan[4].reason.startswith(f"weights not available: {places[4]}: no such folder of weights; ")
    named = [(outcome.row.config.model, outcome.row.config.retrain_from) for outcome in plan]
    assert named == [("alexnet-narrow", "fc6")] * 3 + [("alexnet", "fc6"), ("", "head")]


def test_a_bad_row_does_not_lose_the_others(rows, source, ran):
    plan = sweep.plan_rows(rows, source)
    assert [task.status for task in plan] == [sweep.WAITING, sweep.FAILED, sweep.WAITING]
    assert "more negatives than there are" in plan[1].reason
    assert last(sweep.run(plan, SPEED)) == [("base", "done"), ("bad", "failed"), ("image", "done")]
    assert ran == ["base", "image"]


def test_a_row_that_fails_while_it_runs_does_not_either(rows, source, monkeypatch):
    def run(config):
        if run_path(config).name == "base":
            raise InputError("seed 0: the training loss is not finite")
        fake_run(config)

    monkeypatch.setattr(experiment, "run", run)
    states = [list(state) for state in sweep.run(sweep.plan_rows(rows, source), SPEED)]
    assert [one.status for one in states[0]] == ["failed", "failed", "not run yet"]
    assert [one.status for one in states[1]] == ["failed", "failed", "done"]
    assert states[1][0].reason == "seed 0: the training loss is not finite"


def test_a_mistake_of_ours_is_not_a_row_that_failed(rows, source, monkeypatch):
    monkeypatch.setattr(experiment, "run", lambda config: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        list(sweep.run(sweep.plan_rows(rows, source), SPEED))


def test_an_interrupt_between_rows_loses_nothing(rows, source, ran, monkeypatch):
    states = sweep.run(sweep.plan_rows(rows, source), SPEED)
    next(states)
    fake = experiment.run

    def interrupted(config):
        raise KeyboardInterrupt

    monkeypatch.setattr(experiment, "run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        next(states)
    monkeypatch.setattr(experiment, "run", fake)
    plan = sweep.plan_rows(rows, source)
    assert [task.status for task in plan] == [sweep.DONE, sweep.FAILED, sweep.WAITING]
    assert last(sweep.run(plan, SPEED))[2] == ("image", "done")
    assert ran == ["base", "image"]
    assert all(task.status != sweep.WAITING for task in sweep.plan_rows(rows, source))


def test_rows_are_taken_from_finished_runs(rows, source, ran, base, tmp_path):
    """A run split by both, of other seeds side by side, stands for the base; its like in other epochs does not."""
    fake_run(dataclasses.replace(base, split_by="both", seed_batch=1, out=str(tmp_path / "old")))
    fake_run(dataclasses.replace(base, epochs=2, out=str(tmp_path / "older")))
    plan = sweep.plan_rows(rows, source, sweep.gather([tmp_path / "older", tmp_path / "old"]))
    assert (plan[0].status, plan[0].folder) == (sweep.DONE, tmp_path / "old")
    list(sweep.run(plan, SPEED))
    assert ran == ["image"]


def test_a_folder_with_another_run_is_refused_before_anything_is_trained(rows, source, base, ran, tmp_path):
    fake_run(dataclasses.replace(base, epochs=2, split_by="image", out=str(tmp_path / "table" / "image")))
    with pytest.raises(InputError, match=r"image holds another run, which differs in epochs \(2, not 1\)"):
        sweep.plan_rows(rows, source)
    assert ran == []


def test_the_forecast_names_every_row(rows, source, tmp_path):
    fake_run(rows[0].config)
    rows.append(sweep.Row("fc8", "fc8", rows[0].config, unavailable="weights not available"))
    plan = sweep.plan_rows(rows, source)
    (first, _), base, (bad, why), (_, waiting), fc8 = forecast.rows(plan, SPEED)
    assert first == "estimated time"
    assert base == ("  base", f"finished, {tmp_path / 'table' / 'base'}")
    assert bad == "  bad" and why.startswith("failed: --negatives=5000")
    assert re.match(r"\d+ s, \d+ training and \d+ validation images, .*, new$", waiting)
    assert fc8 == ("  fc8", "not available: weights not available")
    assert sweep.seconds(plan, SPEED) == cost.seconds(plan[2].left, SPEED, 2) > cost.START_SECONDS


def test_what_an_interrupted_run_has_behind_it_is_not_estimated(rows, source):
    """Of three seeds one is trained, and two are half trained: a third of the work is left."""
    config = dataclasses.replace(rows[0].config, seeds=3, epochs=4)
    dry = sweep.dry_run(config, source)
    resolved = run_folder.Resolved("resident", 1, setup.device(), dry.weights_sha256, dry.data_sha256)
    with run_folder.claim(config, resolved) as folder:
        (folder / "checkpoints" / "seed_000").mkdir(parents=True)
        for step in ("1", "2", "3.orbax-checkpoint-tmp"):
            (folder / "checkpoints" / "partial_001-002" / step).mkdir(parents=True)
    assert seed_batches.trained_share(folder / "checkpoints", 4, 3) == pytest.approx(2 / 3)
    task = sweep.plan_rows([rows[0]._replace(config=config)], source)[0]
    more = cost.work(config, sweep.dry_run(config, source).sizes)
    assert np.allclose(task.left, [more.convolution / 3, more.dense / 3])
