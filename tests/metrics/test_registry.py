"""All figures at once, and the reasons of those that are undefined."""

import jax
import numpy as np
import pytest

from cxrjax.base import codes
from cxrjax.metrics import calibration, discrimination, registry
from tests.metrics.cases import cases

CASES = cases(300, seed=2)
ONES = np.ones(4)
LABEL, SCORE = np.array([1, 1, 0, 0]), np.array([0.9, 0.4, 0.6, 0.1], np.float32)
SLOPES = {"calibration_slope", "calibration_intercept"}
OF_BOTH = {"mcc", "auroc", "ppv_at_prevalence", "npv_at_prevalence", "calibration_in_the_large"} | SLOPES


@pytest.fixture(scope="module")
def over_cases():
    """[300] of each name, as one vmapped program."""
    return jax.device_get(jax.jit(jax.vmap(registry.compute))(*CASES))


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

    got = jax.jit(registry.compute)(LABEL, SCORE, ONES, threshold, prevalence)
    assert set(got) == set(registry.METRICS)
    expected = jax.jit(one_by_one)(LABEL, SCORE, ONES)
    for name, value in got.items():
        assert value.shape == ()
        assert float(value) == pytest.approx(float(expected[name]), rel=1e-4), name
    assert len(set(map(float, expected.values()))) > 12  # a figure in another's place would be seen


def test_vmap_over_runs_equals_a_loop(over_cases):
    one = jax.jit(registry.compute)
    for c in range(10):
        for name, value in one(*(values[c] for values in CASES)).items():
            # Newton's last step
            np.testing.assert_allclose(over_cases[name][c], value, rtol=1e-4, atol=1e-5, err_msg=name)


def test_what_is_nan_has_a_reason_and_what_has_a_reason_is_nan(over_cases):
    reasons = set()
    for c in range(100):
        found = registry.undefined(*(values[c] for values in CASES))
        assert set(found) == {name for name in registry.METRICS if np.isnan(over_cases[name][c])}
        reasons |= set(found.values())
    assert "fit_not_converged" not in reasons
    assert len(reasons) == 6


@pytest.mark.parametrize(
    ("label", "score", "weight", "reason", "names"),
    [
        (LABEL, SCORE, 0 * ONES, "no_image", set(registry.METRICS)),
        (0 * LABEL, SCORE, ONES, "no_positive_image", {"sensitivity", "auprc"} | OF_BOTH),
        (0 * LABEL + 1, SCORE, ONES, "no_negative_image", {"specificity"} | OF_BOTH),
        (LABEL, SCORE / 4, ONES, "none_called_positive", {"ppv", "ppv_at_prevalence", "mcc"}),
        (LABEL, SCORE / 4 + 0.7, ONES, "all_called_positive", {"npv", "npv_at_prevalence", "mcc"}),
        (LABEL, LABEL * 0.6 + 0.2, ONES, "no_overlap", SLOPES),
        (LABEL, 0 * SCORE + 0.7, ONES, "no_overlap", SLOPES),
    ],
)
def test_reasons(label, score, weight, reason, names):
    found = registry.undefined(label, score, weight)
    assert {name for name, why in found.items() if why == reason} == names


def test_the_threshold_decides_what_is_undefined():
    assert "ppv" not in registry.undefined(LABEL, SCORE, ONES)
    assert registry.undefined(LABEL, SCORE, ONES, threshold=0.95)["ppv"] == "none_called_positive"


def test_each_image_may_have_a_threshold_of_its_own():
    threshold = np.array([0.95, 0.3, 0.7, 0.05], np.float32)  # called: the second and the fourth
    got = jax.jit(registry.compute)(LABEL, SCORE, ONES, threshold)
    assert (float(got["sensitivity"]), float(got["specificity"])) == (0.5, 0.5)
    assert registry.undefined(LABEL, SCORE, ONES, SCORE)["ppv"] == "none_called_positive"


def test_rows_say_what_depends_on_the_threshold_and_where_they_show():
    metrics = registry.METRICS.values()
    decisions = [metric.name for metric in metrics if metric.is_decision]
    assert decisions == list(registry.METRICS)[:11] and decisions[-1] == "mcc"
    low, high = (jax.jit(registry.compute)(LABEL, SCORE, ONES, threshold) for threshold in (0.5, 0.3))
    assert {name for name in low if low[name] != high[name]} <= set(decisions)
    main = registry.shown_in(registry.MAIN)
    assert main == ("accuracy", "fp_share", "fn_share", "sensitivity", "specificity", "auroc")
    assert registry.shown_in(registry.SUBGROUPS) == ("accuracy", "sensitivity", "specificity", "auroc")
    assert [metric.name for metric in metrics if metric.is_share][-1] == "npv_at_prevalence"


def test_a_metric_from_outside_is_computed_and_explained(monkeypatch):
    monkeypatch.setattr(registry, "METRICS", dict(registry.METRICS))
    row = registry.Metric("twice", lambda label, score, weight, threshold: 2 * threshold * score[0], "twice")
    registry.register(row)
    assert row.is_decision and not row.is_share
    assert float(registry.compute(LABEL, SCORE, ONES, 0.25)["twice"]) == pytest.approx(0.45)
    assert "twice" not in registry.undefined(LABEL, SCORE, ONES)
    with pytest.raises(ValueError, match="twice"):
        registry.register(row)


def test_every_code_of_a_row_is_known_and_evaluations_are_alike_by_value():
    for row in registry.METRICS.values():
        assert {*row.undefined, row.otherwise} <= set(codes.CODES)
        assert set(row.undefined) <= set(registry.OBSTACLES)
    assert registry.Evaluation(prevalence=0.1) == registry.Evaluation(tuple(registry.METRICS.values()), 0.1)
    assert hash(registry.Evaluation()) == hash(registry.Evaluation()) != hash(registry.Evaluation(prevalence=0.1))


def test_only_fits_say_that_they_did_not_converge():
    fits = {name for name, row in registry.METRICS.items() if row.otherwise == "fit_not_converged"}
    assert fits == SLOPES | {"calibration_in_the_large"}
    told = registry.reasons(["auroc", "calibration_slope"], LABEL, SCORE, ONES)
    assert told == {"auroc": "unexplained", "calibration_slope": "fit_not_converged"}


def test_the_ends_of_each_range(over_cases):
    for name, row in registry.METRICS.items():
        low, high = row.range
        assert np.nanmin(over_cases[name]) >= low - 1e-6 and np.nanmax(over_cases[name]) <= high + 1e-6, name
    assert registry.METRICS["auroc"].range == (0, 1)
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
