"""All figures at once, and the reasons of those that are undefined."""

import jax
import numpy as np
import pytest

from cxrjax.metrics import calibration, discrimination, registry
from tests.metrics.cases import cases

CASES = cases(seed=2)
ONES = np.ones(4)
LABEL, SCORE = np.array([1, 1, 0, 0]), np.array([0.9, 0.4, 0.6, 0.1], np.float32)
SLOPES = {"calibration_slope", "calibration_intercept"}
OF_BOTH = {"mcc", "auroc", "ppv_at_prevalence", "npv_at_prevalence", "calibration_in_the_large"} | SLOPES


@pytest.fixture(scope="module")
def over_cases():
    """[300] of each name, as one vmapped program."""
    return jax.device_get(jax.jit(jax.vmap(registry.figures))(*CASES))


def test_each_name_has_its_figure():
    threshold, prevalence = 0.3, 0.02
    at_threshold = ("accuracy", "fp_share", "fn_share", "sensitivity", "specificity", "ppv", "npv", "f1", "mcc")

    def one_by_one(*given):
        fit = calibration.recalibration(*given)
        return {name: getattr(discrimination, name)(*given, threshold) for name in at_threshold} | {
            "auroc": discrimination.auroc(*given),
            "auprc": discrimination.auprc(*given),
            "ppv_at_prevalence": discrimination.ppv_at(*given, threshold, prevalence),
            "npv_at_prevalence": discrimination.npv_at(*given, threshold, prevalence),
            "brier": calibration.brier(*given),
            "ece": calibration.expected_calibration_error(*given),
            "calibration_slope": fit.slope,
            "calibration_intercept": fit.intercept,
            "calibration_in_the_large": calibration.calibration_in_the_large(*given),
        }

    got = jax.jit(registry.figures)(LABEL, SCORE, ONES, threshold, prevalence)
    assert set(got) == set(registry.NAMES)
    expected = jax.jit(one_by_one)(LABEL, SCORE, ONES)
    for name, value in got.items():
        assert value.shape == ()
        assert float(value) == pytest.approx(float(expected[name]), rel=1e-4), name
    assert len(set(map(float, expected.values()))) > 12  # a figure in another's place would be seen


def test_vmap_over_runs_equals_a_loop(over_cases):
    one = jax.jit(registry.figures)
    for c in range(10):
        for name, value in one(*(values[c] for values in CASES)).items():
            # Newton's last step
            np.testing.assert_allclose(over_cases[name][c], value, rtol=1e-4, atol=1e-5, err_msg=name)


def test_what_is_nan_has_a_reason_and_what_has_a_reason_is_nan(over_cases):
    reasons = set()
    for c in range(100):
        found = registry.undefined(*(values[c] for values in CASES))
        assert set(found) == {name for name in registry.NAMES if np.isnan(over_cases[name][c])}
        reasons |= set(found.values())
    assert "the fit did not converge" not in reasons
    assert len(reasons) == 6  # all but NaN scores


@pytest.mark.parametrize(
    ("label", "score", "weight", "reason", "names"),
    [
        (LABEL, SCORE, 0 * ONES, "no image", set(registry.NAMES)),
        (LABEL, SCORE * np.nan, ONES, "a score is not a number", set(registry.NAMES)),
        (0 * LABEL, SCORE, ONES, "no positive image", {"sensitivity", "auprc"} | OF_BOTH),
        (0 * LABEL + 1, SCORE, ONES, "no negative image", {"specificity"} | OF_BOTH),
        (LABEL, SCORE / 4, ONES, "no image is called positive", {"ppv", "ppv_at_prevalence", "mcc"}),
        (LABEL, SCORE / 4 + 0.7, ONES, "no image is called negative", {"npv", "npv_at_prevalence", "mcc"}),
        (LABEL, LABEL * 0.6 + 0.2, ONES, "the scores of the two classes do not overlap, or are constant", SLOPES),
        (LABEL, 0 * SCORE + 0.7, ONES, "the scores of the two classes do not overlap, or are constant", SLOPES),
    ],
)
def test_reasons(label, score, weight, reason, names):
    found = registry.undefined(label, score, weight)
    assert {name for name, why in found.items() if why == reason} == names


def test_the_threshold_decides_what_is_undefined():
    assert "ppv" not in registry.undefined(LABEL, SCORE, ONES)
    assert registry.undefined(LABEL, SCORE, ONES, threshold=0.95)["ppv"] == "no image is called positive"


def test_each_image_may_have_a_threshold_of_its_own():
    threshold = np.array([0.95, 0.3, 0.7, 0.05], np.float32)  # called: the second and the fourth
    got = jax.jit(registry.of_decisions)(LABEL, SCORE, ONES, threshold)
    assert (float(got["sensitivity"]), float(got["specificity"])) == (0.5, 0.5)
    assert set(got) == set(registry.DECISIONS)
    assert registry.undefined(LABEL, SCORE, ONES, SCORE)["ppv"] == "no image is called positive"


def test_decisions_and_scores_have_all_figures_between_them():
    rest = set(registry.NAMES) - set(registry.DECISIONS)
    assert set(jax.eval_shape(registry.of_scores, LABEL, SCORE, ONES)) == rest
    assert registry.NAMES[: len(registry.DECISIONS)] == registry.DECISIONS


def test_the_ends_of_each_range(over_cases):
    for name in registry.NAMES:
        low, high = registry.ends(name)
        assert np.nanmin(over_cases[name]) >= low - 1e-6 and np.nanmax(over_cases[name]) <= high + 1e-6, name
    assert registry.ends("auroc") == (0, 1)
    assert (over_cases["mcc"] < 0).any() and (over_cases["calibration_slope"] > 1).any()


@pytest.mark.parametrize(
    ("label", "score", "weight", "message"),
    [
        (LABEL + 1, SCORE, ONES, "label must be 0 or 1, got 2"),
        (LABEL, SCORE * 2, ONES, r"score must lie in 0\.\.1, got 1\.79"),
        (LABEL, SCORE, -ONES, "weight must be finite and not negative, got -1"),
        (LABEL, SCORE[:3], ONES, "of one shape"),
    ],
)
def test_wrong_arguments_are_refused(label, score, weight, message):
    with pytest.raises(ValueError, match=message):
        registry.undefined(label, score, weight)
