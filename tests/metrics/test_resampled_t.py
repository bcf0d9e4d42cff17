"""Tests over runs, intervals and thresholds."""

import math

import numpy as np
import pytest
from scipy import stats

from cxrjax.metrics import resampled_t
from tests.metrics.cases import cases

A, B = np.array([0.6, 0.7, 0.65, 0.8]), np.array([0.65, 0.7, 0.75, 0.85])


def test_runs_compared_by_hand():
    """Differences 0.05, 0, 0.1, 0.05: mean 0.05, variance 0.005 / 3; corrected by 1/4 + 20/80."""
    got = resampled_t.compare_runs(A, B, 80, 20)
    error = math.sqrt((1 / 4 + 20 / 80) * 0.005 / 3)
    half = stats.t.ppf(0.975, 3) * error
    assert got[:5] == pytest.approx(
        (0.05, 0.05 - half, 0.05 + half, 0.05 / error, 2 * stats.t.sf(0.05 / error, 3)), rel=1e-9
    )


def test_without_validation_images_it_is_the_paired_t_test():
    got, plain = resampled_t.compare_runs(A, B, 80, 0), stats.ttest_rel(B, A)
    assert (got.statistic, got.p) == pytest.approx((plain.statistic, plain.pvalue))
    assert (got.low, got.high) == pytest.approx(tuple(plain.confidence_interval()))


def test_the_interval_of_a_difference_is_that_of_runs():
    """Against `over_runs`, whose ends are cut to 0..1."""
    got, mean = resampled_t.compare_runs(A, B + 0.2, 80, 20), resampled_t.over_runs(B + 0.2 - A, 80, 20)
    assert (got.difference, got.low, got.high) == pytest.approx((mean.mean, mean.low, mean.high))


def test_pairs_with_nan_are_left_out():
    a, b = np.append(A, [math.nan, 0.3]), np.append(B, [0.5, math.nan])
    assert resampled_t.compare_runs(a, b, 80, 20) == pytest.approx(resampled_t.compare_runs(A, B, 80, 20))


@pytest.mark.parametrize(
    ("a", "b", "difference", "reason"),
    [
        (A, A, 0.0, "no_difference_varies"),
        (A, A + 0.1, 0.1, "no_difference_varies"),
        (A[:1], B[:1], 0.05, "one_pair"),
        (A[:0], B[:0], math.nan, "one_pair"),
    ],
)
def test_no_test_is_nan_with_a_reason(a, b, difference, reason):
    got = resampled_t.compare_runs(a, b, 80, 20)
    assert got.difference == pytest.approx(difference, nan_ok=True)
    assert got.reason == reason
    assert all(math.isnan(value) for value in got[1:5])


def test_runs_must_be_the_same():
    with pytest.raises(ValueError, match=r"same runs, got \(4,\) and \(3,\)"):
        resampled_t.compare_runs(A, B[:3], 80, 20)


@pytest.mark.parametrize("wanted", [0.5, 0.8, 0.95, 1.0])
def test_threshold_reaches_the_sensitivity_and_no_higher_one_does(wanted):
    c = cases()
    for label, score in (c.rows(i) for i in range(len(c.label))):
        if not (label == 1).any():
            continue
        threshold = resampled_t.threshold_for_sensitivity(label, score, wanted)
        positive = score[label == 1].astype(np.float32)
        assert (positive > np.float32(threshold)).mean() >= wanted - 1e-9
        higher = np.min(score[score > threshold], initial=2)  # the next threshold that changes a decision
        assert (positive > np.float32(higher)).mean() < wanted


@pytest.mark.parametrize("wanted", [0.55, 0.07, 0.29])
def test_threshold_counts_as_many_positives_as_are_asked_for(wanted):
    """0.55 * 100 is 55.00000000000001."""
    score = np.linspace(0.005, 0.995, 100)
    assert (score > resampled_t.threshold_for_sensitivity(np.ones(100), score, wanted)).mean() == pytest.approx(wanted)


@pytest.mark.parametrize("low", [np.float32(0.5), np.nextafter(np.float32(0.5), np.float32(1))])
def test_threshold_between_neighbours_in_float32(low):
    """Their middle is rounded down in one case, up in the other."""
    high = np.nextafter(low, np.float32(1))
    threshold = resampled_t.threshold_for_sensitivity(np.array([0, 1]), np.array([low, high]), 1.0)
    assert low <= np.float32(threshold) < high


def test_threshold_below_every_score_is_negative():
    assert resampled_t.threshold_for_sensitivity(np.array([1, 0]), np.array([0.0, 0.5]), 1.0) < 0


@pytest.mark.parametrize(
    ("label", "score", "wanted", "message"),
    [
        ([1], [0.5], 0.0, "sensitivity must be above 0 and at most 1, got 0.0"),
        ([1], [0.5], 1.1, "got 1.1"),
        ([0], [0.5], 0.9, "must hold a positive image"),
        ([1, 0], [0.5, 3.0], 0.9, r"score must lie in 0\.\.1"),
        ([1, 0], [0.5, math.nan], 0.9, r"score must lie in 0\.\.1"),
    ],
)
def test_wrong_thresholds_are_refused(label, score, wanted, message):
    with pytest.raises(ValueError, match=message):
        resampled_t.threshold_for_sensitivity(np.array(label), np.array(score), wanted)


def test_interval_over_runs_by_hand():
    """Nadeau & Bengio 2003: three runs, 80 and 20 images: SE^2 = (1/3 + 20/80) * 0.0025."""
    got = resampled_t.over_runs(np.array([0.55, 0.6, 0.65]), 80, 20)
    half = stats.t.ppf(0.975, 2) * math.sqrt((1 / 3 + 0.25) * 0.0025)
    assert got == pytest.approx((0.6, 0.05, 0.6 - half, 0.6 + half))


def test_interval_stays_within_the_range_of_a_share():
    assert resampled_t.over_runs(np.array([0.9, 0.95, 1.0]), 80, 20).high == 1
    assert resampled_t.over_runs(np.array([0.0, 0.05, 0.1]), 80, 20).low == 0


def test_interval_of_a_figure_that_is_no_share():
    """MCC reaches -1; a calibration slope has no bounds."""
    values = np.array([-0.9, -0.95, -1.0])
    assert resampled_t.over_runs(values, 80, 20, (-1, 1)).low == -1
    free, cut = (resampled_t.over_runs(1 - values, 80, 20, ends) for ends in ((-math.inf, math.inf), (0, 1)))
    assert free.high > 2 > cut.high == 1
    assert free[:3] == pytest.approx(cut[:3])


def test_one_run_has_no_spread():
    got = resampled_t.over_runs(np.array([0.6]), 80, 20)
    assert got.mean == 0.6
    assert all(map(math.isnan, got[1:]))
