"""Platt scaling and a threshold from local images: against scikit-learn, by hand, and what cannot be fitted."""

import numpy as np
import pandas as pd
import pytest
from scipy import special
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, brier_score_loss, roc_auc_score, roc_curve

from cxrjax.analysis import recalibration
from cxrjax.base import InputError


@pytest.fixture(scope="module")
def local():
    """300 images of 150 patients, ranked well and nearly all called positive."""
    rng = np.random.default_rng(0)
    label = (rng.random(300) < 0.4).astype(int)
    score = special.expit(2 * rng.normal(size=300) + 3 * label + 3)
    patient = [f"p{n // 2:03d}" for n in range(300)]
    return pd.DataFrame(
        {"image": [f"{n:03d}.png" for n in range(300)], "patient": patient, "label": label, "score": score}
    )


def test_a_fit_is_that_of_a_logistic_regression_on_the_log_odds(local):
    label, score = local["label"].to_numpy(), local["score"].to_numpy()
    moved = recalibration.fit(label, score)
    reference = LogisticRegression(C=np.inf, tol=1e-10).fit(special.logit(score)[:, None], label)
    assert (moved.intercept, moved.slope) == pytest.approx((reference.intercept_[0], reference.coef_[0, 0]), rel=1e-4)
    assert moved(score) == pytest.approx(reference.predict_proba(special.logit(score)[:, None])[:, 1], abs=1e-5)
    assert roc_auc_score(label, moved(score)) == roc_auc_score(label, score)
    false, true, _ = roc_curve(label, score, drop_intermediate=False)
    called = moved(score) > moved.threshold
    assert called[label == 1].mean() - called[label == 0].mean() == pytest.approx((true - false).max())


@pytest.mark.parametrize(
    ("scores", "slope", "note"),
    [((0.6, 0.7, 0.8, 0.9), 1.0, "slope_held"), ((0.9, 0.7, 0.8, 0.6), 1.0, "slope_held")],
)
def test_without_a_slope_above_0_the_intercept_alone_is_fitted(scores, slope, note):
    """Of separated classes, and of scores that rise the wrong way: the mean of the recalibrated is the share."""
    label = np.array([0, 0, 1, 1])
    moved = recalibration.fit(label, np.array(scores))
    assert (moved.slope, moved.note) == (slope, note)
    assert moved(np.array(scores)).mean() == pytest.approx(0.5, abs=1e-5)


def test_of_one_class_nothing_is_moved():
    moved = recalibration.fit(np.ones(5), np.linspace(0.2, 0.9, 5))
    assert moved == recalibration.Recalibration(0, 1, 0.5, "not_recalibrated")
    assert moved(np.array([0.2, 0.9])) == pytest.approx([0.2, 0.9])


def test_local_images_and_others_share_no_patient():
    patient = np.array([f"p{n}" for n in np.random.default_rng(1).integers(0, 40, 200)])
    few, others = recalibration.sample(patient, 20, np.random.default_rng([3, 0]))
    many, fewer = recalibration.sample(patient, 50, np.random.default_rng([3, 0]))
    assert len(few) == 20 and not set(patient[few]) & set(patient[others])
    assert set(few) < set(many) and set(fewer) < set(others)
    left = set(range(200)) - set(few) - set(others)  # of the last patient alone
    assert len(set(patient[sorted(left)])) <= 1 and set(patient[sorted(left)]) <= set(patient[few])


def test_the_gain_is_measured_on_the_others(local):
    table, fits = recalibration.gains(local.sample(frac=1, random_state=0), [30], draws=2)
    rows = table.set_index(["rule", "metric"])
    before, after, of_threshold, brier = [], [], [], []
    for draw in range(2):
        rows_of, rest = recalibration.sample(local["patient"].to_numpy(str), 30, np.random.default_rng([draw, 0]))
        moved = recalibration.fit(local["label"].iloc[rows_of].to_numpy(), local["score"].iloc[rows_of].to_numpy())
        label, score = local["label"].iloc[rest], local["score"].iloc[rest].to_numpy()
        before.append(accuracy_score(label, score > 0.5))
        after.append(accuracy_score(label, moved(score) > 0.5))
        of_threshold.append(accuracy_score(label, moved(score) > moved.threshold))
        brier.append(brier_score_loss(label, moved(score)) - brier_score_loss(label, score))
        assert fits["slope"][draw] == pytest.approx(moved.slope)
    assert rows.loc[("platt", "accuracy"), ["before", "after"]].tolist() == pytest.approx(
        [np.mean(before), np.mean(after)]
    )
    assert rows.loc[("threshold", "accuracy"), "after"] == pytest.approx(np.mean(of_threshold))
    assert rows.loc[("platt", "brier"), "difference"] == pytest.approx(np.mean(brier), abs=1e-5)
    gain = rows.loc[("platt", "accuracy")]
    assert 0 < gain["low"] < gain["difference"] < gain["high"]
    assert gain["difference"] == pytest.approx(gain["after"] - gain["before"], abs=1e-5)
    assert rows.loc[("platt", "ece"), "reason"] == "raised_by_resampling"


def test_too_many_local_images_leave_none_to_test_on(local):
    with pytest.raises(InputError, match="--n=290 of 300 local images must leave 20 of other patients"):
        recalibration.gains(local, [290], draws=1)
