"""Training that starts from the heads of a finished run."""

import dataclasses

import jax
import numpy as np
import pytest

from cxrjax.base import InputError
from cxrjax.runs import experiment, forecast, run_folder
from cxrjax.runs.trained import load_run
from cxrjax.training import loop

FIRST = {"retrain_from": "fc6", "negatives": "all", "sampling": "all", "epochs": 1}
SECOND = FIRST | {"trunk_factor": 0.0, "epochs": 2, "momentum": 0.9, "learning_rate": 0.1, "seed_batch": 1}


@pytest.fixture(scope="module")
def start(run_small):
    return run_small(**FIRST)


@pytest.fixture(scope="module")
def second(run_small, start):
    return run_small(**SECOND, start_from=str(start))


def test_the_last_layer_alone_moves_from_where_the_seed_ended(start, second):
    before, after = load_run(start), load_run(second)
    for seed in (0, 1):
        old, new = before.head(seed)["params"], after.head(seed)["params"]
        for layer in ("fc6", "fc7"):
            jax.tree.map(np.testing.assert_array_equal, new[layer], old[layer])
        assert np.abs(new["fc8"]["kernel"] - old["fc8"]["kernel"]).max() > 1e-4
    assert run_folder.read_finished(second)[1].start_sha256


def test_without_a_factor_every_layer_moves(run_small, start):
    after = load_run(run_small(**(SECOND | {"trunk_factor": 1.0, "seeds": 1}), start_from=str(start)))
    old, new = load_run(start).head(0)["params"], after.head(0)["params"]
    assert all((old[layer]["kernel"] != new[layer]["kernel"]).any() for layer in ("fc6", "fc7", "fc8"))


def test_a_seed_alone_and_a_resumed_run_end_in_the_same_bytes(run_small, start, second, monkeypatch):
    alone = run_small(**SECOND, start_from=str(start), first_seed=1, seeds=1)
    assert run_folder.params_sha256(alone)["1"] == run_folder.params_sha256(second)["1"]
    fit = loop.fit

    def in_two_parts(workload, runs, resume=None, on_epoch=lambda progress: None, bar=None):
        kept = []
        short = workload._replace(recipe=dataclasses.replace(workload.recipe, epochs=1))
        fit(short, runs, None, lambda progress: kept.append(progress.pack()))
        without = [run._replace(start=lambda: pytest.fail("a resumed run needs no start")) for run in runs]
        return fit(workload, without, kept[0], on_epoch, bar)

    monkeypatch.setattr(loop, "fit", in_two_parts)
    assert run_folder.params_sha256(run_small(**SECOND, start_from=str(start))) == run_folder.params_sha256(second)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"val_fraction": 0.4}, r"its seed 0 was trained on \d+ images, or on their patients, that are validated"),
        ({"retrain_from": "fc7"}, "its network is alexnet-narrow of 227 pixels from fc6 to 2 logits, trunk"),
        ({"first_seed": 1}, "must have every seed of this run, and lacks 2"),
        ({"floors": True}, "cannot be combined with --floors"),
        ({"start_from": "nowhere"}, "nowhere must be the folder of a finished run"),
    ],
)
def test_a_start_that_does_not_fit_is_refused(small_store, start, tmp_path, fields, told):
    config, _ = run_folder.read_finished(start)
    asked = {"start_from": str(start), "out": str(tmp_path / "out"), "trunk_factor": 0.0} | fields
    for program in (experiment.run, forecast.of_experiment):  # --dry_run refuses what a run refuses
        with pytest.raises(InputError, match=told):
            program(dataclasses.replace(config, **asked))
    assert not (tmp_path / "out").exists()
