import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.metrics import accuracy_score, log_loss

from cxrjax.training import step

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(size=(50, 2)).astype(np.float32)
LABEL = RNG.integers(0, 2, 50)
ALL = np.ones(50, bool)


def test_sums_agree_with_scikit_learn():
    sums = step.metrics(jnp.asarray(LOGITS), LABEL, ALL)
    decision = LOGITS.argmax(axis=1)
    probability = np.exp(LOGITS) / np.exp(LOGITS).sum(axis=1, keepdims=True)
    assert float(sums.accuracy) == pytest.approx(accuracy_score(LABEL, decision))
    assert float(sums.loss) == pytest.approx(log_loss(LABEL, probability), rel=1e-5)


def test_masked_examples_do_not_count_and_parts_merge_to_the_whole():
    mask = np.arange(50) < 31
    parts = [step.metrics(jnp.asarray(LOGITS), LABEL, m) for m in (mask, ~mask)]
    whole = step.metrics(jnp.asarray(LOGITS), LABEL, ALL)
    assert int(parts[0].count) == 31
    for a, b in zip(step.merge(*parts), whole, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)


def test_no_example_is_nan_not_zero():
    sums = step.metrics(jnp.asarray(LOGITS), LABEL, ~ALL)
    assert math.isnan(sums.accuracy)
    assert math.isnan(sums.loss)


def test_evaluation_over_seeds_equals_a_loop():
    def head(params, x, key, mask):
        return x @ params["w"], {}

    params = {"w": jnp.asarray(RNG.normal(size=(3, 4, 2)), jnp.float32)}
    images = jnp.asarray(RNG.normal(size=(3, 300, 4)), jnp.float32)
    out = step.logits(head, params, images)
    for s in range(3):
        np.testing.assert_allclose(out[s], images[s] @ params["w"][s], rtol=1e-5, atol=1e-6)
    label, mask = RNG.integers(0, 2, (3, 300)), RNG.integers(0, 2, (3, 300)).astype(bool)
    sums = step.evaluate(out, label, mask)
    for s in range(3):
        for a, b in zip(sums, step.metrics(out[s], label[s], mask[s]), strict=True):
            np.testing.assert_allclose(a[s], b, rtol=1e-5)
    np.testing.assert_allclose(step.score(out), jax.nn.sigmoid(out[..., 1] - out[..., 0]), rtol=1e-5)
