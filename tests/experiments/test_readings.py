"""The ambiguity table: its rows, its text, and the command line on made-up training."""

import dataclasses
import re

import numpy as np
import pandas as pd
import pytest

from cxrjax.base import InputError
from cxrjax.base.config import ExperimentConfig
from cxrjax.base.tasks import TASKS
from cxrjax.models import registry
from cxrjax.models.alexnet import STAGES
from cxrjax.models.pretrained import WeightsInfo
from cxrjax.models.registry import TORCHVISION
from cxrjax.runs import cost, experiment, setup, sweep
from experiments import _rows, readings
from experiments._run_table import RunTable
from tests.experiments import commands
from tests.runs.handmade import by_row, fake_run, outcome, results, write

TASK = TASKS["p_vs_nf"]
BASE = ExperimentConfig(
    "p_vs_nf", "p_vs_nf", model="alexnet", retrain_from="fc6", weights="W", seeds=10, epochs=30, augment_bank=4,
    out="runs/readings",
)  # fmt: skip
TABLE = RunTable([], "what the poster leaves open", "reading")
SAME = {seed: ["a.png"] for seed in range(3)}


def info(layers=STAGES):
    return WeightsInfo("torchvision", "file", "hash", "alexnet", tuple(layers), TORCHVISION)


def rows(layers=STAGES, base=BASE):
    return {row.name: row for row in readings.rows(base, info(layers), 2, 10)}


def test_each_row_changes_its_own_reading_alone():
    found = rows()
    changed = {
        name: {
            field: getattr(row.config, field)
            for field in ("retrain_from", "split_by", "view", "flip", "weights", "augment_bank", "seeds", "epochs")
            if getattr(row.config, field) != getattr(BASE, field)
        }
        for name, row in found.items()
    }
    assert changed == {
        "base": {},
        "fc8": {"retrain_from": "fc8"},
        "conv1": {"retrain_from": "conv1", "augment_bank": 0, "seeds": 2, "epochs": 10},
        "image": {"split_by": "image"},
        "pa": {"view": "PA"},
        "no_flip": {"flip": False},
        "random": {"weights": "random"},
    }
    for name, row in found.items():
        setup.check(row.config)
        assert row.config.out == f"runs/readings/{name}"
        assert not row.config.floors


def test_conv1_is_marked_and_no_longer_than_the_others():
    found = rows()
    assert [name for name, row in found.items() if row.note] == ["conv1"]
    assert "runs × epochs are 2 × 10, with a fresh augmentation at every use" in found["conv1"].note
    short = rows(base=dataclasses.replace(BASE, seeds=1, epochs=5, augment_bank=0))["conv1"]
    assert (short.config.seeds, short.config.epochs, short.note) == (1, 5, "")


@pytest.mark.parametrize(
    ("layers", "told"),
    [
        (STAGES, ""),
        (STAGES[:7], ""),
        (STAGES[:5], "weights not available: a frozen trunk up to fc7 needs fc6, fc7, not in W"),
    ],
)
def test_fc8_needs_all_frozen_layers(layers, told):
    assert rows(layers)["fc8"].unavailable == told
    assert not any(row.unavailable for name, row in rows(layers).items() if name != "fc8")


def test_without_weights_fc8_is_not_available_and_the_base_says_so():
    found = {row.name: row for row in readings.rows(dataclasses.replace(BASE, weights="random"), None, 2, 10)}
    assert found["fc8"].unavailable.startswith("weights not available")
    assert found["base"].label.endswith("random weights")


def test_rows_are_chosen_by_name():
    names = tuple(rows())
    assert _rows.choose("", names) == names
    assert _rows.choose("pa, base", names) == ("base", "pa")
    with pytest.raises(InputError, match=r"--rows must be of base,fc8,.*, got 'lateral'"):
        _rows.choose("base,lateral", names)


def test_rows_of_another_network_are_called_after_its_stages_and_none_is_the_base_again():
    base = dataclasses.replace(BASE, model="resnet18", retrain_from="fc", view="PA")
    seen = dataclasses.replace(info(registry.RESNET18.stages), model="resnet18", trained_on=("NIH", "MIMIC"))
    found = {row.name: row for row in readings.rows(base, seen, 2, 10)}
    assert list(found) == ["base", "stem", "image", "no_flip", "random"]
    assert found["stem"].config.retrain_from == "stem" and found["base"].label.endswith("NIH, MIMIC weights")
    from_layer4 = {
        row.name: row for row in readings.rows(dataclasses.replace(base, retrain_from="layer4"), None, 2, 10)
    }
    assert from_layer4["fc"].config.retrain_from == "fc" and from_layer4["fc"].unavailable


@pytest.fixture
def made(tmp_path):
    base = outcome("base", write(tmp_path / "base", results([0.7, 0.72, 0.74], [0.8, 0.81, 0.82]), SAME))
    conv1 = outcome(
        "conv1", write(tmp_path / "conv1", results([0.74, 0.78], [0.84, 0.83]), {0: SAME[0], 1: SAME[1]}), seeds=2,
        epochs=10, note="trained with 2 seeds", augment_bank=0,
    )  # fmt: skip
    image = outcome("image", write(tmp_path / "image", results([0.8, 0.7, 0.75], [0.8, 0.8, 0.8])))
    fc8 = outcome("fc8", None, sweep.UNAVAILABLE, "weights not available: fc6, fc7")
    pa = outcome("pa", None, sweep.FAILED, "the data holds no P image")
    return TABLE.frame([base, fc8, conv1, image, pa], TASK)


def test_the_posters_numbers_are_a_row(made):
    poster = by_row(made)["poster"]
    got = tuple(poster[name] for name in ("accuracy", "accuracy_sd", "fp_share", "fn_share", "seeds", "epochs"))
    assert got == (0.83, 0.07, 0.07, 0.09, 10, 120)
    assert np.isnan(poster["auroc"]) and np.isnan(poster["accuracy_difference"])
    assert by_row(TABLE.frame([outcome("base", None, sweep.WAITING)], TASKS["p_vs_np"]))["poster"]["accuracy"] == 0.65


def test_the_text(made):
    text = TABLE.markdown(made, TASK, ["All 439 NF images enter every run."])
    cells = {re.split(r"[: ]", line[2:])[0]: line.split(" | ") for line in text.splitlines() if line.startswith("| ")}
    assert cells["poster"][1:] == ["83 ± 7 %", "–", "7 %", "9 %", "–", "–", "–", "–", "10 × 120 |"]
    assert cells["base"][1] == "72.0 ± 2.0 %"
    assert cells["base"][3:6] == ["14.0 %", "14.0 %", "0.810 ± 0.010"]
    assert cells["base"][7:] == ["–", "–", "3 × 120 |"]
    assert cells["fc8"][1] == "weights not available"
    assert cells["pa"][1] == "failed"
    # Of seeds 0 and 1: 0.04 and 0.06; t(1) sqrt((1/2 + 20/80) 0.0002) = 0.156.
    assert cells["conv1"][7] == "+5.0 points (-10.6 to +20.6)"
    assert cells["conv1"][-1] == "2 × 10 |"
    # 0.1, -0.02 and 0.01: mean 0.03, SD 0.0625; t(2) sqrt(1/3 + 20/80) SD = 0.205.
    assert cells["image"][7] == "+3.0 points (-17.5 to +23.5)"
    assert "conv1 reading †" in text
    for line in (
        "- † conv1: trained with 2 seeds.",
        "- Difference from the base, image: the validation images differ.",
        "- pa: the data holds no P image.",
        "- Training and validation images of a run: base 80 and 20.",
        "- All 439 NF images enter every run.",
    ):
        assert line in text.splitlines()


def test_the_last_line(made):
    assert TABLE.last_line(made, TASK, 61.6) == (
        "P vs NF: base accuracy 72.0 ± 2.0 %, AUROC 0.810 ± 0.010, poster 83 ± 7 %, readings from 72.0 % (base) to "
        "76.0 % (conv1), 3 of 5 rows, 62 min"
    )


def test_the_figure_shows_what_is_done(made):
    left, right = TABLE.figure(made, TASK).axes
    assert [label.get_text() for label in left.get_yticklabels()] == [
        "base reading",
        "conv1 reading †",
        "image reading",
    ]
    means = [line.get_xdata()[0] for line in left.get_lines() if line.get_marker() == "s"]
    assert means == pytest.approx([72, 76, 75])
    assert [patch.get_x() for patch in left.patches] == [76]  # the poster's band, 83 - 7
    assert not right.patches
    nothing = TABLE.frame([outcome("base", None, sweep.WAITING)], TASK)
    assert TABLE.figure(nothing, TASK) is None
    assert "0 of 1 rows" in TABLE.last_line(nothing, TASK, 0)


@pytest.fixture
def call(small_store, tmp_path, monkeypatch):
    return commands.small_table("readings", small_store, tmp_path / "out", monkeypatch)


def test_from_the_command_line_to_the_table(call, tmp_path, capsys, monkeypatch):
    assert call("--rows=base,fc8,image") == 0
    told = capsys.readouterr().out.splitlines()
    assert told[0].startswith("estimated time ")
    assert told[-1].startswith("P vs NF: base accuracy 70.5 ± 0.7 %")
    assert told[-1].endswith("2 of 3 rows, 0 min")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "base", "image", "readings.csv", "readings.md", "readings.png",
    }  # fmt: skip
    assert (tmp_path / "out" / "readings.md").read_text() in "\n".join(told)
    table = pd.read_csv(tmp_path / "out" / "readings.csv").set_index("row")
    assert list(table.index) == ["poster", "base", "fc8", "image"]
    assert table.loc["fc8", "status"] == "not available"

    monkeypatch.setattr(cost, "measure", lambda model: pytest.fail("nothing is left to be estimated"))
    assert call("--rows=base") == 0
    assert capsys.readouterr().out.startswith("every row is finished")
    assert list(pd.read_csv(tmp_path / "out" / "readings.csv")["row"]) == ["poster", "base", "image"]


def test_a_row_that_fails_is_exit_status_2_and_in_the_table(call, tmp_path, capsys, monkeypatch):
    def run(config):
        if config.view == "PA":
            raise InputError("seed 1: the training loss is not finite")
        fake_run(config)

    monkeypatch.setattr(experiment, "run", run)
    assert call("--rows=pa,no_flip") == 2
    out, err = capsys.readouterr()
    assert err.splitlines()[-1] == "error: 1 of 2 rows failed: pa: seed 1: the training loss is not finite"
    assert out.splitlines()[-1].endswith("1 of 2 rows, 0 min")
    table = pd.read_csv(tmp_path / "out" / "readings.csv").set_index("row")
    assert table.loc["pa", "reason"] == "seed 1: the training loss is not finite"
    assert table.loc["no_flip", "accuracy"] == pytest.approx(0.705)


def test_a_finished_row_that_was_damaged_since_is_a_failed_one(call, tmp_path, capsys):
    assert call("--rows=base,pa") == 0
    (tmp_path / "out" / "pa" / "results.csv").unlink()
    assert call() == 2
    assert "1 of 6 rows failed: pa: " in capsys.readouterr().err.splitlines()[-1]
    assert pd.read_csv(tmp_path / "out" / "readings.csv").set_index("row").loc["pa", "status"] == "failed"


def test_an_interrupt_keeps_what_is_there(call, tmp_path, capsys, monkeypatch):
    def run(config):
        if config.view == "PA":
            raise KeyboardInterrupt
        fake_run(config)

    with monkeypatch.context() as patch:
        patch.setattr(experiment, "run", run)
        assert call("--rows=base,pa") == 130
    assert capsys.readouterr().err.splitlines()[-1] == "interrupted; the same command continues"
    table = pd.read_csv(tmp_path / "out" / "readings.csv").set_index("row")
    assert list(table["status"]) == ["done", "done", "not run yet"]
    assert call("--rows=base,pa") == 0
    assert list(pd.read_csv(tmp_path / "out" / "readings.csv")["status"]) == ["done"] * 3
