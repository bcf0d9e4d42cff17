"""Against scikit-learn, which knows no padding: it gets an image of weight 2 as two rows."""

import functools
import math

import jax
import numpy as np
import pytest
from scipy.special import expit
from sklearn.calibration import calibration_curve
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss

from cxrjax.metrics import calibration
from tests.metrics.cases import cases

CASES = cases(seed=1)
ROWS = [CASES.rows(c) for c in range(len(CASES.label))]


@functools.cache
def over_cases(figure):
    return jax.tree.map(np.asarray, jax.jit(jax.vmap(figure))(*CASES))


def logit(score):
    clipped = np.clip(score, calibration.CLIP, 1 - calibration.CLIP)
    return np.log(clipped) - np.log1p(-clipped)


def separable(label, x):
    """Whether a cut has no label 1 below it and no label 0 above it, or the other way round; x on it may be either."""
    for y in (label, 1 - label):
        if any(((x < cut) <= (y == 0)).all() and ((x > cut) <= (y == 1)).all() for cut in x):
            return True
    return False


def test_brier_agrees_with_scikit_learn():
    got = over_cases(calibration.brier)
    expected = [
        brier_score_loss(label, score, pos_label=1, labels=[0, 1]) if len(label) else math.nan for label, score in ROWS
    ]
    np.testing.assert_allclose(got, expected, rtol=1e-5)


def test_expected_calibration_error_agrees_with_bins_of_scikit_learn():
    """`calibration_curve` leaves empty bins out and tells no sizes: they are counted by its right-closed bins."""

    def reference(label, score):
        if not len(label):
            return math.nan
        share, mean = calibration_curve(label, score, n_bins=10, strategy="uniform")
        sizes = np.bincount(np.searchsorted(np.linspace(0, 1, 11)[1:-1], score), minlength=10)
        return float(np.sum(sizes[sizes > 0] * np.abs(share - mean)) / len(label))

    # Tenths but 0, 0.5 and 1 round apart in f32 and f64, and here the reference is f64: on either side of an edge.
    got = over_cases(calibration.expected_calibration_error)
    expected = np.array([reference(*rows) for rows in ROWS])
    tenths = [score[~np.isin(score, (0, 0.5, 1))] * 10 for _, score in ROWS]
    off_edge = np.array([(np.abs(x - np.round(x)) > 1e-5).all() for x in tenths])
    assert off_edge.sum() > 65
    np.testing.assert_allclose(got[off_edge], expected[off_edge], rtol=1e-5, atol=1e-7)


def test_bins_hold_their_right_edge_by_hand():
    """0.5 and 0.4 share the bin (0, 0.5], 0.6 has the other: (2 |1/2 - 0.45| + |1 - 0.6|) / 3."""
    got = calibration.expected_calibration_error(
        np.array([1, 0, 1]), np.array([0.5, 0.4, 0.6], np.float32), np.ones(3), bins=2
    )
    assert float(got) == pytest.approx((2 * 0.05 + 0.4) / 3, rel=1e-5)


def test_overlap_is_the_absence_of_a_separating_cut():
    got = over_cases(calibration.overlap)
    expected = [len(set(label)) == 2 and not separable(label, logit(score).astype(np.float32)) for label, score in ROWS]
    np.testing.assert_array_equal(got, expected)
    assert 20 < got.sum() < 80


def test_recalibration_agrees_with_scikit_learn():
    fit = over_cases(calibration.recalibration)
    defined = over_cases(calibration.overlap)
    np.testing.assert_array_equal(np.isnan(fit.slope), ~defined)
    np.testing.assert_array_equal(np.isnan(fit.intercept), ~defined)
    for c in np.flatnonzero(defined):
        label, score = ROWS[c]
        # C = inf is no penalty; Cholesky's Newton, since L-BFGS stops too early for four digits.
        model = LogisticRegression(C=np.inf, solver="newton-cholesky", tol=1e-10, max_iter=1000)
        model.fit(logit(score)[:, None], label)
        expected = [model.intercept_[0], model.coef_[0, 0]]
        np.testing.assert_allclose([fit.intercept[c], fit.slope[c]], expected, rtol=2e-4, atol=2e-4)


def test_the_fit_is_a_maximum_to_the_digits_of_float32():
    """At the maximum label - probability is orthogonal to 1 and to logit(score)."""
    fit = over_cases(calibration.recalibration)
    for c in np.flatnonzero(over_cases(calibration.overlap)):
        label, score = ROWS[c]
        x = logit(score)
        rest = label - expit(fit.intercept[c] + fit.slope[c] * x)
        assert abs(rest.mean()) < 1e-5
        assert abs((rest * x).mean()) < 1e-4


def test_calibration_in_the_large_makes_the_mean_score_the_share_of_positives():
    got = over_cases(calibration.calibration_in_the_large)
    for value, (label, score) in zip(got, ROWS, strict=True):
        assert math.isnan(value) == (len(set(label)) < 2)
        if not math.isnan(value):
            shifted = expit(value + logit(score))
            assert shifted.mean() == pytest.approx(label.mean(), abs=1e-5)


def test_calibrated_scores_have_slope_1_and_intercept_0_and_overconfident_ones_less():
    rng = np.random.default_rng(0)
    x = rng.normal(size=20_000)
    label = rng.random(20_000) < expit(x)
    for stretch, shift in ((1, 0), (2, 0), (1, -1)):
        score = expit(stretch * x + shift).astype(np.float32)
        fit = jax.jit(calibration.recalibration)(label, score, np.ones(20_000))
        # Standard error of either is some 0.02.
        assert float(fit.slope) == pytest.approx(1 / stretch, abs=0.06)
        assert float(fit.intercept) == pytest.approx(-shift / stretch, abs=0.06)
    assert float(calibration.calibration_in_the_large(label, score, np.ones(20_000))) == pytest.approx(1, abs=0.06)


@pytest.mark.parametrize("n", [20, 2_000])
def test_one_pair_out_of_order_has_its_steep_fit(n):
    """Slopes of some 3 and 100 over scores up to 1 - 4e-6: the largest logits reach 1,000."""
    label = np.arange(n) >= n // 2
    label[[n // 2 - 1, n // 2]] = label[[n // 2, n // 2 - 1]]
    score = expit(np.linspace(-12, 12.4, n)).astype(np.float32)
    fit = jax.jit(calibration.recalibration)(label, score, np.ones(n))
    x = logit(score.astype(float))
    rest = label - expit(float(fit.intercept) + float(fit.slope) * x)
    assert abs(rest.sum()) < 1e-2  # of the one image out of order
    assert abs((rest * x).sum()) < 1e-2


def test_every_fit_that_exists_is_found():
    """Scores far from 0, narrow, wide, steep and turned over."""
    rng = np.random.default_rng(0)

    def scale():
        return np.exp(2 * rng.normal(size=(2_000, 1)))

    wide = scale()
    z = rng.normal(size=(2_000, 30))
    label = rng.random(z.shape) < expit(scale() * (z + rng.normal(size=(2_000, 1))))
    given = label, expit(6 * rng.normal(size=(2_000, 1)) + wide * z).astype(np.float32), np.ones(z.shape)
    fit = jax.jit(jax.vmap(calibration.recalibration))(*given)
    exists = np.asarray(jax.jit(jax.vmap(calibration.overlap))(*given))
    assert exists.sum() > 1_000
    np.testing.assert_array_equal(np.isfinite(fit.slope), exists)


def test_vmap_equals_a_loop():
    for figure in (calibration.recalibration, calibration.expected_calibration_error):
        whole, one = over_cases(figure), jax.jit(figure)
        for c in range(12):
            for a, b in zip(jax.tree.leaves(whole), jax.tree.leaves(one(*(v[c] for v in CASES))), strict=True):
                np.testing.assert_allclose(a[c], b, rtol=1e-5, atol=1e-6)
