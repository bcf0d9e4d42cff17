"""Remedies for imbalance: their rows, equal updates, decisions at the priors, and the command line."""

import numpy as np
import pandas as pd
import pytest

from cxrjax.base import InputError
from cxrjax.base.config import ExperimentConfig
from cxrjax.base.tasks import TASKS
from cxrjax.runs import setup, sweep
from experiments import _imbalance, imbalance
from tests.experiments import commands
from tests.runs.handmade import outcome, results, write

TASK = TASKS["p_vs_np"]


@pytest.fixture
def table(small_store, tmp_path):
    flags = imbalance.ImbalanceConfig(ratios="0,8")
    base = ExperimentConfig(
        "p_vs_np", "p_vs_np", data_dir=str(small_store), weights="random", seeds=2, epochs=60, batch_size=4,
        augment_bank=1, small_ok=True, out=str(tmp_path / "out"),
    )  # fmt: skip
    return imbalance.table(flags, base, sweep.Source())


def test_rows_make_equal_updates_on_the_same_validation_images(table):
    rows = {row.name: row.config for row in table.rows}
    assert list(rows)[:3] == ["all_baseline", "all_over", "all_under"] and len(rows) == 14
    source, steps, validated = sweep.Source(), {}, set()
    for name, config in rows.items():
        setup.check(config)
        dry = sweep.dry_run(config, source)
        steps[name] = config.epochs * dry.steps
        validated.add(tuple(dry.sizes.val))
        assert rows["all_baseline"].momentum == config.momentum == 0.9
    assert len(validated) == 1
    for name, count in steps.items():
        share = 0.5 if name[-2:] in ("_1", "_2") else 1
        assert count == pytest.approx(share * steps["all_baseline"], rel=0.1), name
    for name in ("8_over", "all_under"):
        second = rows[f"{name}_2"]
        assert second.start_from.endswith(f"/out/{name}_1")
        assert (second.trunk_factor, second.sampling, second.train_ratio) == (0, "all", 8 * name.startswith("8"))


def test_a_ratio_that_the_data_lack_is_not_available(small_store):
    flags = imbalance.ImbalanceConfig(ratios="0.5")
    base = ExperimentConfig("p_vs_np", "p_vs_np", data_dir=str(small_store), weights="random", seeds=2, small_ok=True)
    made = imbalance.table(flags, base, sweep.Source())
    assert all(row.unavailable.startswith("not in these data: --train_ratio=0.5 must be") for row in made.rows)


@pytest.mark.parametrize("text", ["", "few", "-1", "5,nan", "inf"])
def test_what_is_no_ratio_is_refused(text):
    with pytest.raises(InputError, match="--ratios must be numbers from 0 on"):
        imbalance.ratios(text)


def test_decisions_at_the_priors_by_hand(tmp_path):
    """Prior 1/4; scores .1 .3 | .2 .3 .6 .1 of P and NP: at .5 one false positive and two false negatives; above 1/4
    two false positives and one false negative."""
    runs, table = tmp_path / "base", results([0.5], [0.5]).assign(positives_train=20)
    write(runs, table, {0: list("abcdef")})
    scores = pd.DataFrame({"seed": 0, "image": list("abcdef"), "patient": list("abcdef"), "label": [1, 1, 0, 0, 0, 0]})
    scores.assign(score=[0.1, 0.3, 0.2, 0.3, 0.6, 0.1]).to_csv(runs / "predictions.csv", index=False)
    outcomes = [outcome("all_baseline", runs, seeds=1), outcome("all_over", None, sweep.WAITING)]
    shown = _imbalance.ImbalanceTable([], "remedies", "method", published=False)
    rows = shown.frame(outcomes, TASK).set_index("method")
    assert list(rows.index) == ["baseline", "over", "prior", "over_prior"]
    assert rows.loc["prior", ["accuracy", "fp_share", "fn_share"]].tolist() == pytest.approx([3 / 6, 2 / 6, 1 / 6])
    assert rows["ratio"].eq(3).all()
    assert rows.loc["prior", "accuracy_difference"] == pytest.approx(0.0)
    text = shown.markdown(rows.reset_index(), TASK)
    assert "accuracy − baseline" in text and "all: 3.0 negatives for each positive in training." in text
    auroc, accuracy = shown.figure(rows.reset_index(), TASK).axes
    assert [tick.get_text() for tick in auroc.get_xticklabels()] == ["3"]
    assert len(accuracy.containers) == 2  # baseline and prior are done


def test_from_the_command_line_to_the_table(small_store, tmp_path, capsys, monkeypatch):
    call = commands.small_table("imbalance", small_store, tmp_path / "out", monkeypatch)
    assert call("--ratios=0,8", "--epochs=4") == 0
    told = capsys.readouterr().out
    assert told.startswith("estimated time ") and "  8_under_2 " in told
    table = pd.read_csv(tmp_path / "out" / "imbalance.csv")
    assert len(table) == 16 and (table["status"] == "done").all()
    assert np.isfinite(table["auroc"]).all()
    assert table.groupby("prefix")["ratio"].first()["8"] == pytest.approx(8, rel=0.3)
    assert (tmp_path / "out" / "imbalance.png").stat().st_size > 10_000
    assert call("--ratios=0,8", "--epochs=4", "--rows=8_over") == 0
    assert capsys.readouterr().out.startswith("every row is finished")
