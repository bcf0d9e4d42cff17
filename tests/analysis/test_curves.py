"""Decisions at every threshold, reliability and errors."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.calibration import calibration_curve
from sklearn.metrics import confusion_matrix

from cxrjax.analysis import curves

COUNTS = ["true_pos", "false_pos", "false_neg", "true_neg"]


def test_decisions_agree_with_scikit_learn(case, analysed):
    for data, table in (("internal", case.tables.predictions), ("external", case.tables.external)):
        for seed, own in table.groupby("seed"):
            rows = (analysed.operating["data"] == data) & (analysed.operating["seed"] == seed)
            found = analysed.operating[rows].set_index("threshold")[COUNTS]
            assert len(found) == 201
            for threshold in (0.0, 0.25, 0.5, 1.0):
                (tn, fp), (fn, tp) = confusion_matrix(own["label"], own["score"] > threshold, labels=[0, 1])
                assert tuple(found.loc[threshold]) == (tp, fp, fn, tn)


def test_a_score_at_the_threshold_is_not_above_it():
    """0.3 in float32 is not 0.3 in float64."""
    scores = np.array([0.3, 0.3, 0.5, 1.0], np.float32)
    table = pd.DataFrame({"seed": 0, "label": [1, 0, 1, 1], "score": scores})
    found = curves.operating("internal", table).set_index("threshold")[COUNTS]
    assert list(found.loc[0.3]) == [2, 0, 1, 1]
    assert list(found.loc[0.295]) == [3, 1, 0, 0]
    assert list(found.loc[0.5]) == [1, 0, 2, 1]
    assert list(found.loc[1.0]) == [0, 0, 3, 1]


def test_a_set_of_one_class_has_counts_too():
    table = pd.DataFrame({"seed": [0, 0, 1], "label": 0, "score": [0.2, 0.7, 0.6]})
    found = curves.operating("external", table)
    assert (found["data"] == "external").all()
    assert list(found.groupby("seed").size()) == [201, 201]
    assert (found["true_pos"] + found["false_neg"] == 0).all()


def test_bins_agree_with_scikit_learn(case, analysed):
    for data, table in (("internal", case.tables.predictions), ("external", case.tables.external)):
        found = analysed.calibration[analysed.calibration["data"] == data]
        assert list(found["bin_low"]) == pytest.approx(np.arange(10) / 10)
        share, score = calibration_curve(table["label"], table["score"], n_bins=10)
        full = found[found["images"] > 0]
        np.testing.assert_allclose(full["positives"], share)
        np.testing.assert_allclose(full["score"], score, rtol=1e-5)
        assert ((full["low"] <= full["positives"]) & (full["positives"] <= full["high"])).all()


def test_bins_and_ece_are_of_one_kind(case, analysed):
    found = analysed.calibration[analysed.calibration["data"] == "internal"]
    rows = pd.cut(case.tables.predictions["score"], np.linspace(0, 1, 11)).value_counts(sort=False).to_numpy()
    gap = np.average((found["positives"] - found["score"]).abs(), weights=rows)
    ece = analysed.metrics.query("data == 'internal' and rule == 'fixed' and metric == 'ece'")["pooled"].iloc[0]
    assert gap == pytest.approx(ece, rel=1e-4)


def test_an_empty_bin_is_undefined():
    table = pd.DataFrame({"image": ["a", "b"], "patient": "p", "label": [0, 1], "score": [0.0, 0.1]})
    found = curves.reliability("internal", table)
    assert list(found["images"]) == [2] + [0] * 9  # 0.1 is the end of the first
    assert found.loc[1:, ["score", "positives", "low", "high"]].isna().all(axis=None)


def test_rows_of_one_patient_do_not_narrow_the_interval():
    table = pd.DataFrame({"image": list("abcd"), "patient": list("wxyz"), "label": [0, 0, 0, 1], "score": 0.25})
    once, often = (curves.reliability("internal", t).loc[2] for t in (table, pd.concat([table] * 5)))
    pd.testing.assert_series_equal(once, often)
    one = curves.reliability("internal", table.assign(patient="w")).loc[2]
    assert one["low"] < once["low"] < 0.25 < once["high"] < one["high"]
    assert (one["images"], one["patients"], one["positives"]) == (4, 1, 0.25)


@pytest.mark.parametrize(("k", "n"), [(0, 10), (3, 10), (10, 10), (1, 1)])
def test_wilson_agrees_with_scipy(k, n):
    expected = stats.binomtest(k, n).proportion_ci(method="wilson")
    assert curves.wilson(k / n, n) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_wilson_of_none_is_undefined():
    assert np.isnan(curves.wilson(np.nan, 0)).all()


IMAGES = pd.DataFrame(
    {
        "image": list("abcdef"), "patient": list("112345"), "labels": ["Pneumonia"] * 3 + ["No Finding"] * 3,
        "view": "PA", "age": 50.0, "sex": "F", "followup": 0,
    }
)  # fmt: skip


def test_wrong_images_by_hand():
    """b is right in one seed of two and right on average; e is wrong by as much as a, and behind it by name."""
    rows = [(0, "a", 0.2), (1, "a", 0.4), (0, "b", 0.4), (1, "b", 0.8), (0, "c", 0.1), (1, "d", 0.6), (0, "e", 0.7)]
    rows += [(1, "f", 0.5)]
    predictions = pd.DataFrame(rows, columns=["seed", "image", "score"])
    predictions = predictions.merge(IMAGES[["image", "patient"]], on="image")
    predictions["label"] = predictions["image"].isin(list("abc")).astype(int)
    found = curves.errors(predictions, IMAGES)
    assert list(found["image"]) == ["c", "a", "e", "d"]
    assert list(found["kind"]) == ["false negative"] * 2 + ["false positive"] * 2
    np.testing.assert_allclose(found["score"], [0.1, 0.3, 0.7, 0.6])
    assert list(found["seeds"]) == [1, 2, 1, 1]
    assert list(found["patient"]) == ["2", "1", "4", "3"]
    assert list(found["labels"]) == ["Pneumonia"] * 2 + ["No Finding"] * 2


def test_an_error_is_an_error_of_the_mean(case, analysed):
    means = case.tables.predictions.groupby("image")["score"].mean()
    label = case.tables.predictions.groupby("image")["label"].first()
    assert set(analysed.errors["image"]) == set(means.index[(means > 0.5) != (label == 1)])
    assert (analysed.errors["score"] - analysed.errors["label"]).abs().is_monotonic_decreasing


def test_without_a_mistake_the_table_is_empty():
    predictions = pd.DataFrame({"seed": [0], "image": ["a"], "patient": ["1"], "label": [1], "score": [0.9]})
    assert curves.errors(predictions, IMAGES).empty
