"""Tables out of hand-made folders of finished runs; numbers by hand and by SciPy."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from cxrjax.runs import sweep, sweep_tables
from tests.runs.handmade import by_row, outcome, results, write

BASE = [0.6, 0.7, 0.65, 0.8]
OTHER = [0.65, 0.7, 0.75, 0.85]
SAME = {seed: ["a.png", "b.png"] for seed in range(4)}
T3, T1 = 3.182446305284263, 12.706204736432095  # 97.5 % quantiles of Student's t, from printed tables


@pytest.fixture
def base(tmp_path):
    return outcome("base", write(tmp_path / "base", results(BASE, [0.8, 0.82, 0.84, 0.86]), SAME))


def test_mean_sd_and_interval_by_hand(base):
    """Mean 0.6875, SD sqrt(0.021875 / 3); the corrected variance of the mean is (1/4 + 20/80) SD^2."""
    row = by_row(sweep_tables.table([base], "base"))["base"]
    sd = math.sqrt(0.021875 / 3)
    half = T3 * sd * math.sqrt(1 / 4 + 20 / 80)
    assert (row["accuracy"], row["accuracy_sd"]) == pytest.approx((0.6875, sd))
    assert (row["accuracy_low"], row["accuracy_high"]) == pytest.approx((0.6875 - half, 0.6875 + half))
    assert (row["fp_share"], row["fn_share"], row["auroc"]) == pytest.approx((0.15625, 0.15625, 0.83))
    assert (row["seeds"], row["n_train"], row["n_val"]) == (4, 80, 20)
    assert np.isnan(row["accuracy_difference"])  # of the base from itself
    assert row["accuracy"] + row["fp_share"] + row["fn_share"] == pytest.approx(1)


def test_the_pool_replaces_the_images_trained_on(base):
    row = by_row(sweep_tables.table([base], "base", pool=160))["base"]
    half = T3 * math.sqrt(0.021875 / 3) * math.sqrt(1 / 4 + 20 / 160)
    assert row["accuracy_high"] - row["accuracy_low"] == pytest.approx(2 * half)
    assert row["n_train"] == 80


def test_a_paired_difference_by_hand(base, tmp_path):
    """Differences 0.05, 0, 0.1, 0.05: mean 0.05, variance 0.005 / 3."""
    other = outcome("other", write(tmp_path / "other", results(OTHER, [0.8, 0.82, 0.84, 0.86]), SAME))
    row = by_row(sweep_tables.table([base, other], "base"))["other"]
    error = math.sqrt((1 / 4 + 20 / 80) * 0.005 / 3)
    got = tuple(row[f"accuracy_difference{end}"] for end in ("", "_low", "_high", "_p"))
    assert got == pytest.approx((0.05, 0.05 - T3 * error, 0.05 + T3 * error, 2 * stats.t.sf(0.05 / error, 3)))
    assert row["pairs"] == 4
    assert row["auroc_difference"] == pytest.approx(0)
    assert np.isnan(row["auroc_difference_low"])
    assert row["caution"] == "the differences do not vary"


def test_only_seeds_that_both_have_pair(base, tmp_path):
    """Of seeds 2 to 5 the base has 2 and 3: differences 0.1 and 0.15."""
    table = results([0.75, 0.95, 0.9, 0.5], [0.9, 0.9, 0.92, 0.9], first_seed=2)
    other = outcome("other", write(tmp_path / "other", table, {2: SAME[2], 3: SAME[3]}))
    row = by_row(sweep_tables.table([base, other], "base"))["other"]
    assert (row["pairs"], row["caution"]) == (2, "")
    half = T1 * math.sqrt((1 / 2 + 20 / 80) * 0.00125)
    got = tuple(row[f"accuracy_difference{end}"] for end in ("", "_low", "_high"))
    assert got == pytest.approx((0.125, 0.125 - half, 0.125 + half))


def test_other_validation_images_are_told(base, tmp_path):
    """Sets of 60 and 30 images beside one of 80 and 20: the means count."""
    table = results(OTHER, BASE, n_train=60, n_val=30)
    other = outcome("other", write(tmp_path / "other", table, SAME | {2: ["a.png", "c.png"]}))
    row = by_row(sweep_tables.table([base, other], "base"))["other"]
    assert (row["pairs"], row["caution"]) == (4, "the validation images differ")
    error = math.sqrt((1 / 4 + 25 / 70) * 0.005 / 3)
    assert row["accuracy_difference_high"] == pytest.approx(0.05 + T3 * error)


def test_without_a_seed_in_common_there_is_no_difference(base, tmp_path):
    other = outcome("other", write(tmp_path / "other", results([0.7, 0.8], [0.9, 0.9], first_seed=7)))
    row = by_row(sweep_tables.table([base, other], "base"))["other"]
    assert (row["pairs"], row["caution"]) == (0, "fewer than two pairs of runs")
    assert np.isnan(row["accuracy_difference"]) and np.isnan(row["accuracy_difference_low"])


def test_an_undefined_figure_is_empty_and_never_0(base, tmp_path):
    other = outcome("other", write(tmp_path / "other", results([0.7, 0.7], [math.nan, math.nan]), SAME))
    table = sweep_tables.table([base, other], "base")
    row = by_row(table)["other"]
    assert np.isnan(row["auroc"]) and np.isnan(row["auroc_difference"])
    assert sweep_tables.mean_sd(row, "auroc") == sweep_tables.interval(row, "auroc") == "–"
    assert sweep_tables.difference(row, "auroc") == "–"
    line = sweep_tables.csv(table).splitlines()[2].split(",")
    assert line[list(table.columns).index("auroc")] == ""


def test_one_run_has_neither_sd_nor_interval(tmp_path):
    one = outcome("base", write(tmp_path / "base", results([0.7], [0.8])))
    row = by_row(sweep_tables.table([one], "base"))["base"]
    assert sweep_tables.mean_sd(row, "accuracy") == "70.0 %"
    assert sweep_tables.interval(row, "accuracy") == "–"


def test_rows_that_are_not_done_keep_their_place_and_reason(base):
    missing = outcome("other", None, sweep.FAILED, "no P image")
    rows = by_row(sweep_tables.table([missing, base], "base"))
    assert list(rows) == ["other", "base"]
    assert (rows["other"]["status"], rows["other"]["reason"]) == ("failed", "no P image")
    assert np.isnan(rows["other"]["accuracy"])


def test_a_missing_base_is_told(base):
    row = by_row(sweep_tables.table([base], "all"))["base"]
    assert row["caution"] == "the base is missing"
    assert np.isnan(row["accuracy_difference"])


@pytest.mark.parametrize("file", ["results.csv", "predictions.csv", "summary.json"])
def test_a_damaged_run_is_a_failed_row_and_the_others_stay(base, tmp_path, file):
    other = outcome("other", write(tmp_path / "other", results(OTHER, OTHER), SAME))
    (tmp_path / "other" / file).write_text("{}")
    rows = by_row(sweep_tables.table([base, other], "base"))
    assert rows["other"]["status"] == "failed"
    assert str(tmp_path / "other" / file) in rows["other"]["reason"]
    assert rows["base"]["accuracy"] == pytest.approx(0.6875)


def test_numbers_as_people_read_them(base, tmp_path):
    other = outcome("other", write(tmp_path / "other", results(OTHER, BASE), SAME))
    row = by_row(sweep_tables.table([base, other], "base"))["other"]
    assert sweep_tables.mean_sd(row, "accuracy") == "73.8 ± 8.5 %"
    assert sweep_tables.interval(row, "accuracy") == "54.5 to 93.0 %"
    assert sweep_tables.difference(row, "accuracy") == "+5.0 points (-4.2 to +14.2)"
    column = sweep_tables.Column("a", lambda row: "x|y", undone=lambda row: "z")
    rows = pd.DataFrame({"status": [sweep.DONE, sweep.FAILED]})
    assert sweep_tables.markdown([column], rows).splitlines() == ["| a |", "|---|", "| x\\|y |", "| z |"]
