"""Against the published formulas written out pair by pair, and published figures."""

import math

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from cxrjax.metrics import delong
from tests.metrics.cases import cases

CASES = cases(seed=3)
ROWS = [CASES.rows(c) for c in range(len(CASES.label))]
# Hanley & McNeil 1982 (Radiology 143), table I: ratings 1..5 of 58 normal and 51 abnormal CT images.
CT_LABEL = np.repeat([0, 1], [58, 51])
CT_RATING = np.concatenate([np.repeat(range(1, 6), [33, 6, 6, 11, 2]), np.repeat(range(1, 6), [3, 2, 2, 11, 33])])


def pairs(label, score):
    """[m, n], 1 where the positive stands above the negative, 1/2 where they tie."""
    difference = score[label == 1][:, None] - score[label == 0]
    return (difference > 0) + (difference == 0) / 2


def delong_covariance(label, scores):
    """DeLong, DeLong & Clarke-Pearson 1988, eq. 4 to 6, in O(m n)."""
    psi = [pairs(label, score) for score in scores]
    v10, v01 = (np.array([p.mean(axis=axis) for p in psi]) for axis in (1, 0))
    m, n = psi[0].shape
    return np.atleast_2d(np.cov(v10)) / m + np.atleast_2d(np.cov(v01)) / n


def obuchowski_variance(label, score, patient):
    """Obuchowski 1997, eq. 3 and 4, a patient at a time."""
    psi = pairs(label, score)
    area, (m, n) = psi.mean(), psi.shape
    ill, well = patient[label == 1], patient[label == 0]
    everyone = sorted({*ill, *well})
    x = np.array([psi.mean(axis=1)[ill == p].sum() - (ill == p).sum() * area for p in everyone])
    y = np.array([psi.mean(axis=0)[well == p].sum() - (well == p).sum() * area for p in everyone])
    i10, i01, i = len(set(ill)), len(set(well)), len(everyone)
    s10, s01 = i10 / ((i10 - 1) * m) * (x @ x), i01 / ((i01 - 1) * n) * (y @ y)
    return s10 / m + s01 / n + 2 * i / (i - 1) * (x @ y) / (m * n)


def enough(label):
    return min((label == 1).sum(), (label == 0).sum()) >= 2


def test_covariance_agrees_with_the_direct_formula():
    rng = np.random.default_rng(0)
    used = 0
    for label, score in ROWS:
        if not enough(label):
            continue
        scores = np.stack([score, np.round(score + 0.3 * rng.random(len(score)), 1), rng.random(len(score))])
        areas, matrix = delong.covariance(label, scores)
        assert areas[0] == pytest.approx(roc_auc_score(label, score), rel=1e-12)
        np.testing.assert_allclose(matrix, delong_covariance(label, scores), rtol=1e-9, atol=1e-15)
        used += 1
    assert used >= 60


def test_clustered_variance_agrees_with_the_direct_formula():
    rng = np.random.default_rng(1)
    used = 0
    for label, score in ROWS:
        patient = rng.integers(0, max(2, len(label) // 3), len(label))
        if min(len(set(patient[label == 1])), len(set(patient[label == 0]))) < 2:
            continue
        got = delong.covariance(label, score[None], patient)[1][0, 0]
        assert got == pytest.approx(obuchowski_variance(label, score, patient), rel=1e-9, abs=1e-15)
        used += 1
    assert used >= 60


def test_covariance_by_hand():
    """Positives 4, 2 and negatives 3, 1: 3 of 4 pairs are right. Placements of the positives 1 and 1/2, of the
    negatives 1/2 and 1: each has variance 1/8, and 1/8 / 2 + 1/8 / 2 = 1/8. A second score ranks all four pairs right:
    every placement is 1, without variance or covariance."""
    label = np.array([1, 1, 0, 0])
    areas, matrix = delong.covariance(label, np.array([[4, 2, 3, 1], [4, 3, 2, 1]]))
    assert areas.tolist() == [0.75, 1]
    np.testing.assert_allclose(matrix, [[1 / 8, 0], [0, 0]], atol=1e-15)
    got = delong.compare(label, np.array([4, 2, 3, 1]), np.array([4, 3, 2, 1]))
    assert got[:1] + got[3:5] == pytest.approx((0.25, 0.25 * math.sqrt(8), 2 * stats.norm.sf(0.25 * math.sqrt(8))))


def test_published_example():
    """W = 0.893 in Hanley & McNeil 1982; DeLong's standard error 0.0307 and 0.83295 to 0.95339 on the plain scale in
    Stata's manual ([R] roctab), which uses the same ratings."""
    areas, matrix = delong.covariance(CT_LABEL, CT_RATING[None])
    error = math.sqrt(matrix[0, 0])
    assert round(areas[0], 4) == 0.8932
    assert round(error, 4) == 0.0307
    assert np.round(areas[0] + stats.norm.ppf([0.025, 0.975]) * error, 5).tolist() == [0.83295, 0.95339]


def test_interval_is_symmetric_in_logits():
    got = delong.interval(CT_LABEL, CT_RATING)
    error = math.sqrt(delong.covariance(CT_LABEL, CT_RATING[None])[1][0, 0]) / (got.value * (1 - got.value))
    low, middle, high = (math.log(p / (1 - p)) for p in (got.low, got.value, got.high))
    assert (high - middle, middle - low) == pytest.approx((stats.norm.ppf(0.975) * error,) * 2)
    assert delong.interval(CT_LABEL, CT_RATING, level=0.5).high < got.high


def test_a_patient_an_image_changes_nothing_and_repeated_images_count_once():
    """Every image twice: taken as independent the variance halves, by patient it stays (but for k / (k - 1))."""
    label, score, patient = np.repeat(CT_LABEL, 2), np.repeat(CT_RATING, 2), np.repeat(np.arange(109), 2)
    own = delong.interval(CT_LABEL, CT_RATING)
    assert delong.interval(CT_LABEL, CT_RATING, np.arange(109)) == pytest.approx(own)
    assert delong.interval(label, score, patient) == pytest.approx(own)
    assert delong.interval(label, score).low > own.low + 0.01


def test_names_of_patients_do_not_matter():
    patient = np.arange(109) // 2
    names = np.array([f"patient {1000 - p}" for p in patient])
    assert delong.interval(CT_LABEL, CT_RATING, names) == pytest.approx(delong.interval(CT_LABEL, CT_RATING, patient))


def test_comparison_is_antisymmetric_and_agrees_with_the_covariance():
    rng = np.random.default_rng(2)
    other = CT_RATING + rng.normal(size=109)
    got, turned = delong.compare(CT_LABEL, CT_RATING, other), delong.compare(CT_LABEL, other, CT_RATING)
    matrix = delong_covariance(CT_LABEL, [CT_RATING, other])
    z = got.difference / math.sqrt(matrix[0, 0] + matrix[1, 1] - 2 * matrix[0, 1])
    assert (got.statistic, got.p) == pytest.approx((z, 2 * stats.norm.sf(abs(z))))
    assert (got.difference, got.low, got.p) == pytest.approx((-turned.difference, -turned.high, turned.p))
    assert (got.low < 0 < got.high) == (got.p > 0.05)


def test_paired_test_keeps_its_level_by_patient_and_not_by_image():
    """100 sets of 60 patients with 3 images, two scores equally good: 5 % are to be called different."""
    rng = np.random.default_rng(0)
    patient = np.repeat(np.arange(60), 3)
    found = []
    for _ in range(100):
        label = np.repeat(rng.random(60) < 0.4, 3).astype(int)
        score_a, score_b = (
            1.5 * label + np.repeat(rng.normal(size=60), 3) + 0.7 * rng.normal(size=180) for _ in range(2)
        )
        found.append([delong.compare(label, score_a, score_b, who).p < 0.05 for who in (patient, None)])
    by_patient, by_image = np.mean(found, axis=0)
    assert 0.0 < by_patient < 0.12  # standard error 0.02
    assert by_image > 0.15


@pytest.mark.parametrize(
    ("label", "score", "patient", "value", "reason"),
    [
        (np.ones(4), np.arange(4), None, math.nan, "no_negative_image"),
        (np.zeros(4), np.arange(4), None, math.nan, "no_positive_image"),
        (np.array([1, 0, 0, 0]), np.array([2, 1, 2, 3]), None, 0.5, "one_positive_patient"),
        (
            np.array([1, 1, 0, 0]),
            np.array([2, 1, 2, 3]),
            np.array([0, 1, 2, 2]),
            0.125,
            "one_negative_patient",
        ),
        (np.array([1, 1, 0, 0]), np.array([3, 4, 1, 2]), None, 1.0, "no_variance"),
        (np.array([1, 1, 0, 0]), np.ones(4), None, 0.5, "no_variance"),
    ],
)
def test_no_variance_is_nan_with_a_reason(label, score, patient, value, reason):
    got = delong.interval(label, score, patient)
    assert got.value == pytest.approx(value, nan_ok=True)
    assert math.isnan(got.low) and math.isnan(got.high)
    assert reason in got.reason
    compared = delong.compare(label, score, score, patient)
    assert math.isnan(compared.p) and math.isnan(compared.low)
    assert compared.reason


def test_scores_that_rank_alike_do_not_differ():
    rng = np.random.default_rng(0)
    label, score = rng.integers(0, 2, 200), rng.random(200)
    got = delong.compare(label, score, score**3)
    assert (got.difference, got.reason) == (0, "no_variance")
    with pytest.raises(ValueError, match="no variance to estimate: no_negative_image"):
        delong.covariance(np.ones(3), np.ones((1, 3)))
