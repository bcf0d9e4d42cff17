"""Logistic regression against scikit-learn's logistic regression, and the folds by their rules."""

import numpy as np
import pytest
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from cxrjax.training import logistic


def case(images=150, features=300, seed=0):
    """Features [n, d] of which a few tell the label [n], patients [n] of one to four images."""
    rng = np.random.default_rng(seed)
    label = (rng.random(images) < 0.4).astype(float)
    x = np.maximum(rng.normal(size=(images, features)) * rng.gamma(1, size=features) + 1, 0)
    x[:, :5] += 0.7 * label[:, None]
    return x.astype(np.float32), label, np.repeat(np.arange(images).astype(str), rng.integers(1, 5, images))[:images]


def scaled(x):
    """As the strength is meant."""
    centred = x.astype(float) - x.mean(axis=0, dtype=float)
    return centred / np.sqrt((centred**2).sum(axis=1).mean())


@pytest.mark.parametrize("features", [300, 40])  # more and fewer than images
def test_scores_and_gradient_are_those_of_scikit_learn(features):
    x, label, patients = case(features=features)
    fitted = logistic.fit(x, label[:, None], patients, seed=3)
    strength = float(fitted.strength[0])
    reference = LogisticRegression(C=strength, tol=1e-10, max_iter=10_000).fit(scaled(x), label)
    expected, scores = reference.predict_proba(scaled(x))[:, 1], expit(fitted.logits(x)[:, 0])
    np.testing.assert_allclose(scores, expected, atol=1e-4)  # float32: 6e-5 seen, by processor
    length = np.sqrt(((x - x.mean(axis=0)) ** 2).sum(axis=1).mean())
    weights = fitted.kernel[:, 0] * length
    np.testing.assert_allclose(
        weights, strength * scaled(x).T @ (label - scores), atol=1e-2
    )  # of 10: where L-BFGS stops
    assert abs((label - scores).sum()) < 1e-3


def test_the_strength_has_the_least_loss_on_held_out_patients():
    x, label, patients = case()
    fold, x_scaled = logistic.folds(label, patients, 3), scaled(x)
    losses = []
    for strength in logistic.STRENGTHS:
        held_out = np.zeros(len(label))
        for f in range(logistic.FOLDS):
            model = LogisticRegression(C=strength, tol=1e-8, max_iter=10_000).fit(x_scaled[fold != f], label[fold != f])
            held_out[fold == f] = model.predict_proba(x_scaled[fold == f])[:, 1]
        losses.append(log_loss(label, held_out))
    assert logistic.fit(x, label[:, None], patients, 3).strength[0] == np.float32(logistic.STRENGTHS[np.argmin(losses)])


def test_unknown_labels_are_left_out_and_labels_do_not_meet():
    x, label, patients = case()
    labels = np.stack([label, np.where(np.arange(len(label)) < 30, np.nan, 1 - label)], axis=1)
    both = logistic.fit(x, labels, patients, 3)
    alone = logistic.fit(x, labels[:, :1], patients, 3)
    np.testing.assert_allclose(both.logits(x)[:, :1], alone.logits(x), atol=1e-4)  # sums in another order
    known = LogisticRegression(C=float(both.strength[1]), tol=1e-10, max_iter=10_000).fit(
        scaled(x)[30:], 1 - label[30:]
    )
    np.testing.assert_allclose(expit(both.logits(x)[:, 1]), known.predict_proba(scaled(x))[:, 1], atol=1e-4)


@pytest.mark.parametrize("seed", [0, 1])
def test_no_patient_is_in_two_folds_and_classes_are_even(seed):
    rng = np.random.default_rng(seed)
    patients = np.repeat(np.arange(90).astype(str), rng.geometric(0.4, 90))
    label = (rng.random(len(patients)) < 0.2).astype(float)
    fold = logistic.folds(label, patients, seed)
    assert all(len(set(fold[patients == patient])) == 1 for patient in set(patients))
    for value in (0, 1):
        counts = np.bincount(fold[label == value], minlength=logistic.FOLDS)
        assert np.ptp(counts) <= max(3, 0.2 * counts.mean())
    np.testing.assert_array_equal(fold, logistic.folds(label, patients, seed))
    assert (fold != logistic.folds(label, patients, seed + 2)).any()


def test_few_patients_have_fewer_folds_or_none():
    patients = np.array(list("aabbcdefg"))
    assert set(logistic.folds(np.array([1, 1, 1, 0, 0, 0, 0, 0, 0]), patients, 0)) == {0, 1}
    alone = np.array([1, 1, 0, 0, 0, 0, 0, 0, 0])
    assert set(logistic.folds(alone, patients, 0)) == {0}
    x = case(images=9)[0]
    assert logistic.fit(x, alone[:, None], patients, 0).strength == logistic.UNCHOSEN
    nobody = logistic.fit(x, np.zeros((9, 1)), patients, 0)
    assert not nobody.kernel.any() and nobody.bias[0] < -2
