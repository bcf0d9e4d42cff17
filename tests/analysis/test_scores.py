"""Metrics of each seed, over seeds and pooled against scikit-learn; thresholds from training images alone."""

import dataclasses
import math

import jax
import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.metrics import (
    average_precision_score,
    balanced_accuracy_score,
    brier_score_loss,
    matthews_corrcoef,
    precision_score,
    recall_score,
    roc_auc_score,
)

from cxrjax.analysis import analyse, scores
from cxrjax.metrics import delong, registry
from tests.analysis import run_tables
from tests.analysis.run_tables import CONFIG


def rows_of(table, seed):
    own = table[table["seed"] == seed]
    return own["label"].to_numpy(), own["score"].to_numpy(), own["patient"].to_numpy(str)


def test_every_seed_agrees_with_scikit_learn(case, analysed):
    assert list(analysed.seeds["seed"]) == [3, 4, 5, 6]
    for row in analysed.seeds.to_dict("records"):
        label, score, _ = rows_of(case.tables.predictions, row["seed"])
        called = score > 0.5
        expected = {
            "accuracy": (called == label).mean(),
            "sensitivity": recall_score(label, called),
            "ppv": precision_score(label, called),
            "mcc": matthews_corrcoef(label, called),
            "auroc": roc_auc_score(label, score),
            "auprc": average_precision_score(label, score),
            "brier": brier_score_loss(label, score),
        }
        assert {name: row[name] for name in expected} == pytest.approx(expected, rel=1e-4)
        assert row["accuracy"] + row["fp_share"] + row["fn_share"] == pytest.approx(1)
        assert (row["sensitivity"] + row["specificity"]) / 2 == pytest.approx(balanced_accuracy_score(label, called))


def test_the_chosen_threshold_has_the_sensitivity_on_training_images(case, analysed):
    for row in analysed.seeds.to_dict("records"):
        label, score, _ = rows_of(case.tables.training, row["seed"])
        reached = (score[label == 1] > row["threshold"]).mean()
        assert row["train_sensitivity_chosen"] == reached >= case.config.wanted_sensitivity
        assert reached - 1 / label.sum() < case.config.wanted_sensitivity
        label, score, _ = rows_of(case.tables.predictions, row["seed"])
        assert row["sensitivity_chosen"] == pytest.approx(recall_score(label, score > row["threshold"]))
        assert row["specificity_chosen"] == pytest.approx(recall_score(1 - label, score <= row["threshold"]))
    assert (analysed.seeds["sensitivity_chosen"] != analysed.seeds["sensitivity"]).any()


def test_external_seeds_take_the_internal_thresholds(case, analysed):
    assert list(analysed.external_seeds["threshold"]) == list(analysed.seeds["threshold"])
    for row in analysed.external_seeds.to_dict("records"):
        label, score, _ = rows_of(case.tables.external, row["seed"])
        assert row["n"] == len(label) == 40
        assert row["auroc"] == pytest.approx(roc_auc_score(label, score), rel=1e-5)
        assert row["specificity_chosen"] == pytest.approx(recall_score(1 - label, score <= row["threshold"]))


def test_both_intervals_of_auroc_go_by_patient(case, analysed):
    for table, found in ((case.tables.predictions, analysed.seeds), (case.tables.external, analysed.external_seeds)):
        for row in found.to_dict("records"):
            label, score, patient = rows_of(table, row["seed"])
            by_patient, by_image = delong.interval(label, score, patient), delong.interval(label, score)
            assert (row["delong_low"], row["delong_high"]) == by_patient[1:3] != by_image[1:3]
            assert row["auroc_low"] < row["auroc"] < row["auroc_high"]
            # Two methods for the same; by image the interval would be off by more.
            assert row["auroc_high"] - row["auroc_low"] == pytest.approx(by_patient.high - by_patient.low, rel=0.45)


def test_the_tables_of_a_run_stay_and_metrics_stand_beside_them(case, analysed):
    columns = list(case.tables.seeds.columns)
    pd.testing.assert_frame_equal(analysed.seeds[columns], case.tables.seeds)
    own = ["auroc_low", "auroc_high", "delong_low", "delong_high", "threshold", "sensitivity_chosen"]
    own += ["specificity_chosen", "undefined"]
    assert list(analysed.seeds.columns) == [*columns, *registry.METRICS, *own, "train_sensitivity_chosen"]
    assert list(analysed.external_seeds.columns) == ["seed", "n", *registry.METRICS, *own]


def test_padding_does_not_count():
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"seed": 0, "patient": "p", "label": rng.integers(0, 2, 256), "score": rng.random(256)})
    whole = scores.at_half(table)
    for part in (table[:100], table[:255], table):
        found = scores.at_half(pd.concat([table, part.assign(seed=1)]))
        pd.testing.assert_series_equal(found.loc[0], whole.loc[0])
        assert found.loc[1, "accuracy"] == pytest.approx(((part["score"] > 0.5) == part["label"]).mean())


def row_of(table, name, data="internal", rule="fixed"):
    rows = table[(table["data"] == data) & (table["rule"] == rule) & (table["metric"] == name)]
    assert len(rows) == 1
    return rows.iloc[0]


def made(predictions, thresholds=None):
    """The table of a run without an external set, and n_val 1/4 of n_train; prevalence as `case`: compiled once."""
    if thresholds is None:
        thresholds = dict.fromkeys(predictions["seed"], 0.5)
    scored = scores.score(predictions, {"chosen": pd.Series(thresholds)}, CONFIG.prevalence)
    pooled = scores.pooled_intervals(jax.random.key(0), [scored], CONFIG.prevalence)
    return scores.over_seeds({"internal": scored}, pooled, 80, 20)


def test_each_set_and_rule_has_every_metric_once(analysed):
    found = analysed.metrics[["data", "rule", "metric"]].apply(tuple, axis=1)
    expected = [(d, r, n) for d in ("internal", "external") for r in ("fixed", "chosen") for n in registry.METRICS]
    assert list(found) == expected


def test_thresholds_by_priors_choose_the_class_whose_score_over_its_prior_is_higher():
    """Buda, Maki & Mazurowski 2018: y_i(x) = p(i|x) / p(i)."""
    small = run_tables.small_case()
    seeds = small.tables.seeds
    config = dataclasses.replace(small.config, sampling="all")
    prior, _ = scores.priors(config, seeds)
    found = analyse.analyse(config, small.tables, {}).metrics
    shares = dict(zip(seeds["seed"], seeds["positives_train"] / seeds["n_train"], strict=True))
    reached = []
    for seed, rows in small.tables.predictions.groupby("seed"):
        ratios = np.stack([(1 - rows["score"]) / (1 - shares[seed]), rows["score"] / shares[seed]])
        reached.append((ratios.argmax(axis=0) == 1)[rows["label"] == 1].mean())
        assert prior[seed] == shares[seed] != 0.5
    assert row_of(found, "sensitivity", rule="prior")["mean"] == pytest.approx(np.mean(reached))
    at_half = analyse.analyse(small.config, small.tables, {}).metrics
    pd.testing.assert_frame_equal(found[found["rule"] != "prior"].reset_index(drop=True), at_half)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({}, "prior_balanced"),
        ({"sampling": "oversample", "negatives": "all"}, "prior_balanced"),
        ({"sampling": "all", "match": "view"}, "prior_balanced"),
        ({"sampling": "all", "loss": "w_cel"}, "prior_weighed loss=w_cel"),
        ({"task": "chestxray14", "finding": "Mass"}, ""),
        ({"negatives": "all"}, ""),
        ({"negatives": "5000"}, ""),
    ],
)
def test_where_training_made_classes_equal_there_are_no_thresholds_by_priors(fields, reason, case):
    prior, why = scores.priors(dataclasses.replace(CONFIG, **fields), case.tables.seeds)
    assert why == reason and (prior is None) == bool(reason)


def test_mean_and_interval_over_seeds_by_hand(case, analysed):
    n_train, n_val = case.tables.seeds["n_train"].mean(), case.tables.seeds["n_val"].mean()
    for name in ("auroc", "calibration_slope"):
        values, row = analysed.seeds[name].to_numpy(), row_of(analysed.metrics, name)
        half = stats.t.ppf(0.975, 3) * math.sqrt(1 / 4 + n_val / n_train) * values.std(ddof=1)
        ends = (max(values.mean() - half, 0), min(values.mean() + half, 1))
        if name == "calibration_slope":  # which may be negative, or above 1
            ends = (values.mean() - half, values.mean() + half)
            assert ends[1] > 1
        assert (row["mean"], row["sd"]) == pytest.approx((values.mean(), values.std(ddof=1)))
        assert (row["low"], row["high"]) == pytest.approx(ends)
    assert row_of(analysed.metrics, "sensitivity", rule="chosen")["mean"] == pytest.approx(
        analysed.seeds["sensitivity_chosen"].mean()
    )


def test_pooled_metrics_agree_with_scikit_learn(case, analysed):
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
                row = row_of(analysed.metrics, name, data, rule)
                assert row["pooled"] == pytest.approx(value, rel=1e-5)
                assert row["pooled_low"] < value < row["pooled_high"]


def test_seeds_that_share_all_images_have_no_interval_of_the_mean(analysed):
    outside = analysed.metrics[analysed.metrics["data"] == "external"]
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
            row_of(triple, name)[columns].astype(float), row_of(single, name)[columns].astype(float), rtol=1e-3
        )


def test_what_is_undefined_is_told():
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"seed": np.repeat([0, 1, 2], 40), "label": np.tile([1, 0], 60), "score": rng.random(120)})
    table["patient"] = np.tile(np.arange(40), 3).astype(str)
    table.loc[table["seed"] == 1, "score"] /= 2  # none is called positive
    found = made(table)
    row = row_of(found, "ppv")
    values = [((t["score"] > 0.5) & (t["label"] == 1)).sum() / (t["score"] > 0.5).sum() for s, t in
              table.groupby("seed") if s != 1]  # fmt: skip
    assert row["mean"] == pytest.approx(np.mean(values))
    assert row["undefined"] == "undefined_in_seeds n=1 of=3"
    assert not math.isnan(row["pooled"])
    assert row_of(found, "accuracy")["undefined"] == ""
    assert row_of(found, "ece")["undefined"] == "raised_by_resampling"
    row = row_of(made(table.assign(score=table["score"] / 2)), "ppv")
    assert math.isnan(row["pooled"]) and math.isnan(row["mean"])
    assert row["undefined"] == "none_called_positive; undefined_in_seeds n=3 of=3"


def test_each_row_is_judged_by_the_threshold_of_its_seed():
    """Seed 1 calls nothing positive at its threshold."""
    table = pd.DataFrame({"seed": [0] * 4 + [1] * 4, "label": [1, 1, 0, 0] * 2, "score": [0.9, 0.6, 0.4, 0.1] * 2})
    table["patient"] = [f"{i}" for i in range(8)]
    found = made(table, {0: 0.5, 1: 0.95})
    assert row_of(found, "sensitivity", rule="chosen")["pooled"] == 0.5
    assert row_of(found, "sensitivity")["pooled"] == 1.0
