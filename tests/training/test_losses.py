"""Losses, their gradients, sums and scores beside PyTorch's and scikit-learn's, of two classes and of many labels."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.metrics import accuracy_score, log_loss

from cxrjax.base import InputError
from cxrjax.training import losses, step
from cxrjax.training.losses import BINARY, Loss

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(size=(50, 2)).astype(np.float32)
LABEL = RNG.integers(0, 2, 50)
ALL = np.ones(50, bool)
MANY_LOGITS = RNG.normal(size=(50, 3)).astype(np.float32)
MANY = RNG.choice([0, 1, np.nan], size=(50, 3), p=[0.7, 0.2, 0.1]).astype(np.float32)
MASK = np.arange(50) < 41


def test_sums_agree_with_scikit_learn():
    sums = BINARY.sums(jnp.asarray(LOGITS), LABEL, ALL)
    decision = LOGITS.argmax(axis=1)
    probability = np.exp(LOGITS) / np.exp(LOGITS).sum(axis=1, keepdims=True)
    assert float(sums.accuracy) == pytest.approx(accuracy_score(LABEL, decision))
    assert float(sums.loss) == pytest.approx(log_loss(LABEL, probability), rel=1e-5)


def test_sums_of_many_labels_are_those_of_the_known_ones():
    sums = Loss(multilabel=True).sums(jnp.asarray(MANY_LOGITS), MANY, MASK)
    known = ~np.isnan(MANY) & MASK[:, None]
    truth, probability = MANY[known], 1 / (1 + np.exp(-MANY_LOGITS[known]))
    assert int(sums.count) == known.sum()
    assert float(sums.accuracy) == pytest.approx(accuracy_score(truth, probability > 0.5))
    assert float(sums.loss) == pytest.approx(log_loss(truth, probability), rel=1e-5)
    np.testing.assert_allclose(Loss(True).score(MANY_LOGITS)[known], probability, rtol=1e-5)


def test_masked_examples_do_not_count_and_parts_merge_to_the_whole():
    mask = np.arange(50) < 31
    parts = [BINARY.sums(jnp.asarray(LOGITS), LABEL, m) for m in (mask, ~mask)]
    whole = BINARY.sums(jnp.asarray(LOGITS), LABEL, ALL)
    assert int(parts[0].count) == 31
    for a, b in zip(losses.merge(*parts), whole, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)


def test_no_example_is_nan_not_zero():
    sums = BINARY.sums(jnp.asarray(LOGITS), LABEL, ~ALL)
    assert math.isnan(sums.accuracy)
    assert math.isnan(sums.loss)


def test_class_weights_by_hand():
    """Two positives of five known; the second label has one of two."""
    label = np.array([[1, 1], [1, 0], [0, np.nan], [0, np.nan], [0, np.nan]])
    np.testing.assert_allclose(losses.class_weights(label), [[0.4, 0.5], [0.6, 0.5]])
    np.testing.assert_allclose(losses.class_weights(label[:, 0].astype(int)), [0.4, 0.6])


def torch_loss(torch, name, logits, label, mask, weights):
    """Written from the papers, with PyTorch's cross-entropies."""
    entropies = torch.nn.functional.binary_cross_entropy_with_logits, torch.nn.functional.cross_entropy
    logits, mask = logits[mask], torch.from_numpy(mask)
    label = torch.from_numpy(label)[mask]
    counts = ~torch.isnan(label)
    if label.ndim > 1:
        each = entropies[0](logits, torch.nan_to_num(label), reduction="none")
    else:
        each = entropies[1](logits, label, reduction="none")
    if name == "class_weights":
        negative, positive = (torch.as_tensor(np.asarray(w)).expand(label.shape) for w in weights)
        each = each * torch.where(label == 1, positive, negative)
    if name == "w_cel":
        p, n = (label == 1).sum(), (label == 0).sum()
        each = each * torch.where(label == 1, (p + n) / p, (p + n) / n)
    return each[counts].sum() / len(label)


@pytest.mark.parametrize("name", ["cross_entropy", "class_weights", "w_cel"])
@pytest.mark.parametrize(("logits", "label"), [(LOGITS, LABEL), (MANY_LOGITS, MANY)], ids=["two classes", "many"])
def test_losses_and_gradients_equal_pytorch(name, logits, label):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed (extra: torch)")
    loss, weights = Loss(label.ndim > 1, name), losses.class_weights(label[MASK])
    value, gradient = jax.jit(jax.value_and_grad(lambda x: loss.mean(x, label, MASK, weights)))(logits)
    reference = torch.from_numpy(logits).requires_grad_()
    expected = torch_loss(torch, name, reference, label, MASK, weights)
    expected.backward()
    assert float(value) == pytest.approx(expected.item(), rel=2e-6)
    np.testing.assert_allclose(gradient, reference.grad, rtol=2e-5, atol=1e-8)  # float32 sigmoids


def test_an_image_without_known_labels_weighs_nothing_and_a_batch_of_one_class_is_finite():
    unknown = np.full((2, 3), np.nan, np.float32)
    for name in ("cross_entropy", "w_cel"):
        loss = Loss(True, name)
        gradient = jax.grad(lambda x, loss=loss: loss.mean(x, unknown, np.ones(2, bool)))(jnp.ones((2, 3)))
        np.testing.assert_array_equal(gradient, 0)
    # Three absent labels of each of two images, each ln 2 and of weight 1.
    value = Loss(True, "w_cel").mean(jnp.zeros((2, 3)), np.zeros((2, 3), np.float32), np.ones(2, bool))
    assert float(value) == pytest.approx(3 * math.log(2))


def test_an_unknown_loss_is_refused():
    with pytest.raises(InputError, match=r"--loss must be one of cross_entropy, .* got 'hinge'"):
        Loss(name="hinge")


def test_evaluation_over_seeds_equals_a_loop():
    def head(params, x, key, mask):
        return x @ params["w"], {}

    params = {"w": jnp.asarray(RNG.normal(size=(3, 4, 2)), jnp.float32)}
    images = jnp.asarray(RNG.normal(size=(3, 300, 4)), jnp.float32)
    out = step.logits(head, params, images)
    for s in range(3):
        np.testing.assert_allclose(out[s], images[s] @ params["w"][s], rtol=1e-5, atol=1e-6)
    label, mask = RNG.integers(0, 2, (3, 300)), RNG.integers(0, 2, (3, 300)).astype(bool)
    sums = step.evaluate(BINARY, out, label, mask)
    for s in range(3):
        for a, b in zip(sums, BINARY.sums(out[s], label[s], mask[s]), strict=True):
            np.testing.assert_allclose(a[s], b, rtol=1e-5)
    np.testing.assert_allclose(BINARY.score(out), jax.nn.sigmoid(out[..., 1] - out[..., 0]), rtol=1e-5)
