"""Against scikit-learn, which knows no padding: it gets an image of weight 2 as two rows."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from cxrjax.metrics import discrimination
from tests.metrics.cases import cases

CASES = cases()
DECISIONS = {  # what is counted, among what
    "accuracy": (lambda tp, fp, fn, tn: tp + tn, lambda tp, fp, fn, tn: tp + fp + fn + tn),
    "fp_share": (lambda tp, fp, fn, tn: fp, lambda tp, fp, fn, tn: tp + fp + fn + tn),
    "fn_share": (lambda tp, fp, fn, tn: fn, lambda tp, fp, fn, tn: tp + fp + fn + tn),
    "sensitivity": (lambda tp, fp, fn, tn: tp, lambda tp, fp, fn, tn: tp + fn),
    "specificity": (lambda tp, fp, fn, tn: tn, lambda tp, fp, fn, tn: tn + fp),
    "ppv": (lambda tp, fp, fn, tn: tp, lambda tp, fp, fn, tn: tp + fp),
    "npv": (lambda tp, fp, fn, tn: tn, lambda tp, fp, fn, tn: tn + fn),
}


def over_cases(figure):
    """The figure of every case, as one vmapped program."""
    return jax.device_get(jax.jit(jax.vmap(figure))(*CASES))


def expected(figure):
    """The reference's figure of every case."""
    return np.array([figure(*CASES.rows(c)) for c in range(len(CASES.label))])


def both_classes(figure):
    return lambda label, score: figure(label, score) if len(set(label)) == 2 else math.nan


def test_decisions_agree_with_a_confusion_matrix():
    thresholds = np.where(np.arange(100) % 3, 0.5, 0.3).astype(np.float32)

    def all_of_them(*given):
        return {name: getattr(discrimination, name)(*given) for name in DECISIONS}

    got = jax.device_get(jax.jit(jax.vmap(all_of_them))(*CASES, thresholds))
    for c, threshold in enumerate(thresholds):
        label, score = CASES.rows(c)
        if not label.size:
            assert all(np.isnan(got[name][c]) for name in DECISIONS)
            continue
        (tn, fp), (fn, tp) = sklearn_metrics.confusion_matrix(label, score > threshold, labels=[0, 1]).tolist()
        for name, (part, whole) in DECISIONS.items():
            count = whole(tp, fp, fn, tn)
            expected = part(tp, fp, fn, tn) / count if count else math.nan
            assert float(got[name][c]) == pytest.approx(expected, rel=1e-6, nan_ok=True), name


def test_f1_and_mcc_agree_with_scikit_learn():
    def f1(label, score):
        return float(sklearn_metrics.f1_score(label, score > 0.5, zero_division=np.nan)) if label.size else math.nan

    def mcc(label, score):
        if len(set(label)) < 2 or len(set(score > 0.5)) < 2:
            return math.nan  # scikit-learn says 0
        return sklearn_metrics.matthews_corrcoef(label, score > 0.5)

    np.testing.assert_allclose(over_cases(discrimination.f1), expected(f1), rtol=1e-6)
    np.testing.assert_allclose(over_cases(discrimination.mcc), expected(mcc), rtol=1e-5, atol=1e-6)  # f32 differences


def test_auroc_agrees_with_scikit_learn():
    got = over_cases(discrimination.auroc)
    np.testing.assert_allclose(got, expected(both_classes(sklearn_metrics.roc_auc_score)), rtol=1e-6)
    assert np.isnan(got).sum() >= 10
    assert (got == 0.5).sum() >= 7  # the constant scores, exactly


def test_auprc_agrees_with_scikit_learn():
    def reference(label, score):
        return sklearn_metrics.average_precision_score(label, score) if label.any() else math.nan

    np.testing.assert_allclose(over_cases(discrimination.auprc), expected(reference), rtol=2e-6)


def test_weights_need_not_be_integers():
    rng = np.random.default_rng(1)
    label, score, weight = rng.integers(0, 2, 40), rng.random(40).round(1).astype(np.float32), rng.random(40)
    for got, reference in (
        (discrimination.auroc, sklearn_metrics.roc_auc_score),
        (discrimination.auprc, sklearn_metrics.average_precision_score),
    ):
        assert float(jax.jit(got)(label, score, weight)) == pytest.approx(
            reference(label, score, sample_weight=weight), rel=1e-5
        )


def test_predictive_values_at_a_prevalence_by_hand():
    """Sensitivity 3/4, specificity 2/3, prevalence 10 %: of 120 images 12 ill, 9 found; 108 well, 36 alarms."""
    label = np.array([1, 1, 1, 1, 0, 0, 0])
    score = np.array([0.9, 0.8, 0.7, 0.1, 0.6, 0.2, 0.3], np.float32)
    ones = np.ones(7)
    assert float(discrimination.ppv_at(label, score, ones, 0.5, 0.1)) == pytest.approx(9 / 45)
    assert float(discrimination.npv_at(label, score, ones, 0.5, 0.1)) == pytest.approx(72 / 75)


def test_predictive_values_at_the_images_own_prevalence_are_the_plain_ones():
    prevalence = np.array([np.mean(CASES.rows(c)[0]) if CASES.weight[c].any() else np.nan for c in range(100)])
    for at, plain in ((discrimination.ppv_at, discrimination.ppv), (discrimination.npv_at, discrimination.npv)):
        got = np.asarray(jax.jit(jax.vmap(at, (0, 0, 0, None, 0)))(*CASES, 0.5, prevalence))
        defined = ~np.isnan(got)
        assert defined.sum() > 50
        np.testing.assert_allclose(got[defined], over_cases(plain)[defined], rtol=1e-5)


def test_a_score_at_the_threshold_is_called_negative():
    assert float(discrimination.sensitivity(np.ones(2), np.array([0.5, 0.75], np.float32), np.ones(2))) == 0.5


def test_auroc_by_hand():
    """Positives 0.8, 0.5; negatives 0.5, 0.1: of four pairs 3 are right and 1 is a tie."""
    label, score = np.array([1, 1, 0, 0]), np.array([0.8, 0.5, 0.5, 0.1], np.float32)
    assert float(discrimination.auroc(label, score, np.ones(4))) == 3.5 / 4


def test_auroc_turns_over_with_labels_and_keeps_under_monotone_scores():
    label, score = np.arange(50) % 3 == 0, np.random.default_rng(0).random(50).astype(np.float32)
    auroc = jax.jit(discrimination.auroc)
    area = float(auroc(label, score, np.ones(50)))
    assert float(auroc(~label, score, np.ones(50))) == pytest.approx(1 - area)
    assert float(auroc(label, score**3, np.ones(50))) == pytest.approx(area)


@pytest.mark.default_configuration(reason="outside jit a score that is no number is an error")
def test_a_nan_score_counts_only_with_its_weight():
    label, score = np.array([1, 0, 1, 0]), np.array([0.9, 0.1, np.nan, np.nan], np.float32)
    names = ("auroc", "auprc", "accuracy", "mcc")
    figures = jax.jit(lambda *given: [getattr(discrimination, name)(*given) for name in names])
    assert figures(label, score, np.array([1, 1, 0, 0])) == [1, 1, 1, 1]
    assert np.isnan(figures(label, score, np.array([1, 1, 1, 1]))).all()


def test_jit_equals_eager_and_vmap_a_loop():
    def figures(*given):
        return jnp.stack([getattr(discrimination, name)(*given) for name in ("auroc", "auprc", "mcc", "f1")])

    eager = [figures(*(values[c] for values in CASES)) for c in range(5)]
    np.testing.assert_allclose(over_cases(figures)[:5], eager, rtol=1e-6)


def test_large_sets_keep_their_digits():
    """NIH's test list has 25,596 images, whose pairs exceed what f32 counts exactly."""
    rng = np.random.default_rng(0)
    label = rng.random(25_596) < 0.1
    score = (rng.random(25_596) + 0.2 * label).astype(np.float32) / 2
    ones = np.ones(25_596)
    for got, reference in (
        (discrimination.auroc, sklearn_metrics.roc_auc_score),
        (discrimination.auprc, sklearn_metrics.average_precision_score),
    ):
        assert float(jax.jit(got)(label, score, ones)) == pytest.approx(reference(label, score), rel=2e-6)


def test_shapes_must_agree():
    with pytest.raises(ValueError, match=r"one shape, got \(3,\), \(4,\) and \(3,\)"):
        discrimination.auroc(np.ones(3), np.ones(4), np.ones(3))


def test_weights_alone_may_be_batched():
    weights = jnp.asarray(CASES.weight[0] * np.arange(3)[:, None])
    got = jax.jit(jax.vmap(discrimination.auroc, (None, None, 0)))(CASES.label[0], CASES.score[0], weights)
    np.testing.assert_allclose(got[1:], over_cases(discrimination.auroc)[[0, 0]], rtol=1e-6)
    assert math.isnan(got[0])
