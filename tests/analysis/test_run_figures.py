"""Figures over seeds by hand, pooled ones against scikit-learn, and what is undefined."""

import math

import jax
import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.metrics import matthews_corrcoef, recall_score, roc_auc_score

from cxrjax.analysis import run_figures, seed_figures
from cxrjax.metrics import registry
from tests.analysis.run_tables import CONFIG


def figure(table, name, data="internal", rule="fixed"):
    rows = table[(table["data"] == data) & (table["rule"] == rule) & (table["figure"] == name)]
    assert len(rows) == 1
    return rows.iloc[0]


def made(predictions, thresholds=None):
    """The table of a run without an external set, and n_val 1/4 of n_train; prevalence as `case`: compiled once."""
    if thresholds is None:
        thresholds = dict.fromkeys(predictions["seed"], 0.5)
    scored = seed_figures.scored(predictions, pd.Series(thresholds), CONFIG.prevalence)
    pooled = run_figures.intervals(jax.random.key(0), [scored], CONFIG.prevalence)
    return run_figures.table(scored, None, pooled, 80, 20)


def test_each_set_and_rule_has_every_figure_once(analysed):
    found = analysed.figures[["data", "rule", "figure"]].apply(tuple, axis=1)
    expected = [(d, r, n) for d in ("internal", "external") for r in ("fixed", "chosen") for n in registry.METRICS]
    assert list(found) == expected


def test_mean_and_interval_over_seeds_by_hand(case, analysed):
    n_train, n_val = case.tables.seeds["n_train"].mean(), case.tables.seeds["n_val"].mean()
    for name in ("auroc", "calibration_slope"):
        values, row = analysed.seeds[name].to_numpy(), figure(analysed.figures, name)
        half = stats.t.ppf(0.975, 3) * math.sqrt(1 / 4 + n_val / n_train) * values.std(ddof=1)
        ends = (max(values.mean() - half, 0), min(values.mean() + half, 1))
        if name == "calibration_slope":  # which may be negative, or above 1
            ends = (values.mean() - half, values.mean() + half)
            assert ends[1] > 1
        assert (row["mean"], row["sd"]) == pytest.approx((values.mean(), values.std(ddof=1)))
        assert (row["low"], row["high"]) == pytest.approx(ends)
    assert figure(analysed.figures, "sensitivity", rule="chosen")["mean"] == pytest.approx(
        analysed.seeds["sensitivity_chosen"].mean()
    )


def test_pooled_figures_agree_with_scikit_learn(case, analysed):
    for data, table in (("internal", case.tables.predictions), ("external", case.tables.external)):
        label, score = table["label"].to_numpy(), table["score"].to_numpy()
        chosen = score > table["seed"].map(analysed.seeds.set_index("seed")["threshold"]).astype(np.float32)
        for rule, called in (("fixed", score > 0.5), ("chosen", chosen)):
            expected = {
                "sensitivity": recall_score(label, called),
                "mcc": matthews_corrcoef(label, called),
                "auroc": roc_auc_score(label, score),
            }
            for name, value in expected.items():
                row = figure(analysed.figures, name, data, rule)
                assert row["pooled"] == pytest.approx(value, rel=1e-5)
                assert row["pooled_low"] < value < row["pooled_high"]


def test_seeds_that_share_all_images_have_no_interval_of_the_mean(analysed):
    outside = analysed.figures[analysed.figures["data"] == "external"]
    assert outside[["low", "high"]].isna().all(axis=None)
    assert outside[["mean", "sd"]].notna().all(axis=None)


def test_rows_of_one_image_are_not_taken_for_several_images(case):
    """Three equal seeds say no more of other patients than one."""
    one = case.tables.predictions[case.tables.predictions["seed"] == 3]
    three = pd.concat([one.assign(seed=seed) for seed in range(3)])
    single, triple = (made(table) for table in (one, three))
    for name in ("auroc", "brier", "calibration_slope"):  # not those whose quantiles jump where rounding parts ties
        columns = ["pooled", "pooled_low", "pooled_high"]
        np.testing.assert_allclose(
            figure(triple, name)[columns].astype(float), figure(single, name)[columns].astype(float), rtol=1e-3
        )


def test_what_is_undefined_is_told():
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"seed": np.repeat([0, 1, 2], 40), "label": np.tile([1, 0], 60), "score": rng.random(120)})
    table["patient"] = np.tile(np.arange(40), 3).astype(str)
    table.loc[table["seed"] == 1, "score"] /= 2  # none is called positive
    found = made(table)
    row = figure(found, "ppv")
    values = [((t["score"] > 0.5) & (t["label"] == 1)).sum() / (t["score"] > 0.5).sum() for s, t in
              table.groupby("seed") if s != 1]  # fmt: skip
    assert row["mean"] == pytest.approx(np.mean(values))
    assert row["undefined"] == "undefined in 1 of 3 seeds, which mean and SD leave out"
    assert not math.isnan(row["pooled"])
    assert figure(found, "accuracy")["undefined"] == ""
    assert "resampling raises the figure" in figure(found, "ece")["undefined"]
    row = figure(made(table.assign(score=table["score"] / 2)), "ppv")
    assert math.isnan(row["pooled"]) and math.isnan(row["mean"])
    assert row["undefined"].startswith("no image is called positive; undefined in 3 of 3 seeds")


def test_each_row_is_judged_by_the_threshold_of_its_seed():
    """Seed 1 calls nothing positive at its threshold."""
    table = pd.DataFrame({"seed": [0] * 4 + [1] * 4, "label": [1, 1, 0, 0] * 2, "score": [0.9, 0.6, 0.4, 0.1] * 2})
    table["patient"] = [f"{i}" for i in range(8)]
    found = made(table, {0: 0.5, 1: 0.95})
    assert figure(found, "sensitivity", rule="chosen")["pooled"] == 0.5
    assert figure(found, "sensitivity")["pooled"] == 1.0
