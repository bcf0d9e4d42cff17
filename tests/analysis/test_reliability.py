"""Bins against scikit-learn, and Wilson's interval against SciPy."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.calibration import calibration_curve

from cxrjax.analysis import reliability


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
    ece = analysed.figures.query("data == 'internal' and rule == 'fixed' and figure == 'ece'")["pooled"].iloc[0]
    assert gap == pytest.approx(ece, rel=1e-4)


def test_an_empty_bin_is_undefined():
    table = pd.DataFrame({"image": ["a", "b"], "patient": "p", "label": [0, 1], "score": [0.0, 0.1]})
    found = reliability.table("internal", table)
    assert list(found["images"]) == [2] + [0] * 9  # 0.1 is the end of the first
    assert found.loc[1:, ["score", "positives", "low", "high"]].isna().all(axis=None)


def test_rows_of_one_patient_do_not_narrow_the_interval():
    table = pd.DataFrame({"image": list("abcd"), "patient": list("wxyz"), "label": [0, 0, 0, 1], "score": 0.25})
    once, often = (reliability.table("internal", t).loc[2] for t in (table, pd.concat([table] * 5)))
    pd.testing.assert_series_equal(once, often)
    one = reliability.table("internal", table.assign(patient="w")).loc[2]
    assert one["low"] < once["low"] < 0.25 < once["high"] < one["high"]
    assert (one["images"], one["patients"], one["positives"]) == (4, 1, 0.25)


@pytest.mark.parametrize(("k", "n"), [(0, 10), (3, 10), (10, 10), (1, 1)])
def test_wilson_agrees_with_scipy(k, n):
    expected = stats.binomtest(k, n).proportion_ci(method="wilson")
    assert reliability.wilson(k / n, n) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_wilson_of_none_is_undefined():
    assert np.isnan(reliability.wilson(np.nan, 0)).all()
