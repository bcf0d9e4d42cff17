import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import accuracy_score, confusion_matrix, log_loss

from cxrjax.metrics import resampled_t
from cxrjax.training import evaluate
from cxrjax.training import sums as metrics

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(size=(50, 2)).astype(np.float32)
LABEL = RNG.integers(0, 2, 50)
ALL = np.ones(50, bool)


def test_sums_agree_with_scikit_learn():
    sums = metrics.from_logits(jnp.asarray(LOGITS), LABEL, ALL)
    decision = LOGITS.argmax(axis=1)
    probability = np.exp(LOGITS) / np.exp(LOGITS).sum(axis=1, keepdims=True)
    (_, fp), (fn, _) = confusion_matrix(LABEL, decision)
    assert float(metrics.accuracy(sums)) == pytest.approx(accuracy_score(LABEL, decision))
    assert float(metrics.loss(sums)) == pytest.approx(log_loss(LABEL, probability), rel=1e-5)
    assert float(metrics.fp_share(sums)) == pytest.approx(fp / 50)
    assert float(metrics.fn_share(sums)) == pytest.approx(fn / 50)


def test_accuracy_and_shares_add_up_to_one():
    sums = metrics.from_logits(jnp.asarray(LOGITS), LABEL, ALL)
    total = metrics.accuracy(sums) + metrics.fp_share(sums) + metrics.fn_share(sums)
    assert float(total) == pytest.approx(1)


def test_masked_examples_do_not_count_and_parts_merge_to_the_whole():
    mask = np.arange(50) < 31
    parts = [metrics.from_logits(jnp.asarray(LOGITS), LABEL, m) for m in (mask, ~mask)]
    whole = metrics.from_logits(jnp.asarray(LOGITS), LABEL, ALL)
    assert int(parts[0].count) == 31
    for a, b in zip(metrics.merge(*parts), whole, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)


def test_no_example_is_nan_not_zero():
    sums = metrics.from_logits(jnp.asarray(LOGITS), LABEL, ~ALL)
    assert math.isnan(metrics.accuracy(sums))
    assert math.isnan(metrics.loss(sums))


def test_evaluation_over_seeds_equals_a_loop():
    def head(params, x, key):
        return x @ params["w"]

    params = {"w": jnp.asarray(RNG.normal(size=(3, 4, 2)), jnp.float32)}
    images = jnp.asarray(RNG.normal(size=(3, 300, 4)), jnp.float32)
    out = evaluate.logits(head, params, images)
    for s in range(3):
        np.testing.assert_allclose(out[s], images[s] @ params["w"][s], rtol=1e-5, atol=1e-6)
    label, mask = RNG.integers(0, 2, (3, 300)), RNG.integers(0, 2, (3, 300)).astype(bool)
    sums = evaluate.sums(out, label, mask)
    for s in range(3):
        for a, b in zip(sums, metrics.from_logits(out[s], label[s], mask[s]), strict=True):
            np.testing.assert_allclose(a[s], b, rtol=1e-5)
    np.testing.assert_allclose(evaluate.score(out), jax.nn.sigmoid(out[..., 1] - out[..., 0]), rtol=1e-5)


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
