"""Figures of each seed against scikit-learn; thresholds from training images alone."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import (
    average_precision_score,
    balanced_accuracy_score,
    brier_score_loss,
    matthews_corrcoef,
    precision_score,
    recall_score,
    roc_auc_score,
)

from cxrjax.analysis import seed_figures
from cxrjax.metrics import delong, registry


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


def test_the_tables_of_a_run_stay_and_figures_stand_beside_them(case, analysed):
    columns = list(case.tables.seeds.columns)
    pd.testing.assert_frame_equal(analysed.seeds[columns], case.tables.seeds)
    own = ["auroc_low", "auroc_high", "delong_low", "delong_high", "threshold", "sensitivity_chosen"]
    own += ["specificity_chosen"]
    assert list(analysed.seeds.columns) == [*columns, *registry.METRICS, *own, "train_sensitivity_chosen"]
    assert list(analysed.external_seeds.columns) == ["seed", "n", *registry.METRICS, *own]


def test_padding_does_not_count():
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"seed": 0, "patient": "p", "label": rng.integers(0, 2, 256), "score": rng.random(256)})
    whole = seed_figures.at_half(table)
    for part in (table[:100], table[:255], table):
        found = seed_figures.at_half(pd.concat([table, part.assign(seed=1)]))
        pd.testing.assert_series_equal(found.loc[0], whole.loc[0])
        assert found.loc[1, "accuracy"] == pytest.approx(((part["score"] > 0.5) == part["label"]).mean())
