import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from cxrjax.training import step as train
from cxrjax.training.step import Batch

RNG = np.random.default_rng(0)
X = RNG.normal(size=(8, 5)).astype(np.float32)
LABEL = RNG.integers(0, 2, 8)
PARAMS = {"fc8": {"kernel": RNG.normal(size=(5, 2)).astype(np.float32), "bias": np.zeros(2, np.float32)}}


def head(variables, x, key, mask):
    if key is not None:
        x = jnp.where(jax.random.bernoulli(key, 0.5, x.shape), 2 * x, 0)
    layer = variables["params"]["fc8"]
    return x @ layer["kernel"] + layer["bias"].reshape(1, 2), {}


def undropped(variables, x, key, mask):
    return head(variables, x, None, mask)


def state(optimiser):
    return train.init({"params": jax.tree.map(jnp.asarray, PARAMS)}, optimiser, jax.random.key(0))


def batch(n):
    """The first n examples are real."""
    return Batch(jnp.asarray(X), jnp.asarray(LABEL), jnp.arange(8) < n)


def test_step_is_gradient_descent_by_hand():
    """Softmax regression: gradient of the mean loss is X^T (p - y) / n."""
    after, sums = train.make_step(undropped, optax.sgd(0.1))(state(optax.sgd(0.1)), batch(8))
    logits = X @ PARAMS["fc8"]["kernel"]
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    error = p - np.eye(2)[LABEL]
    np.testing.assert_allclose(
        after.params["fc8"]["kernel"], PARAMS["fc8"]["kernel"] - 0.1 * X.T @ error / 8, rtol=1e-5, atol=1e-6
    )
    np.testing.assert_allclose(after.params["fc8"]["bias"], -0.1 * error.mean(0), rtol=1e-5, atol=1e-6)
    assert int(after.step) == 1
    assert float(sums.loss_sum) == pytest.approx(-np.log(p[np.arange(8), LABEL]).sum(), rel=1e-5)


def test_partial_batch_weighs_right():
    """Three real examples and five of padding: the same step as the three alone."""
    step = train.make_step(undropped, optax.sgd(0.1, 0.9))
    padded, _ = step(state(optax.sgd(0.1, 0.9)), batch(3))
    alone, _ = step(state(optax.sgd(0.1, 0.9)), Batch(jnp.asarray(X[:3]), jnp.asarray(LABEL[:3]), jnp.ones(3, bool)))
    for a, b in zip(jax.tree.leaves(padded.params), jax.tree.leaves(alone.params), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)


def test_fully_masked_step_changes_no_state():
    """Momentum would go on moving the weights otherwise."""
    step = train.make_step(head, optax.sgd(0.1, 0.9))
    before, _ = step(state(optax.sgd(0.1, 0.9)), batch(8))
    after, sums = step(before, batch(0))
    assert int(sums.count) == 0
    for a, b in zip(jax.tree.leaves(before._replace(key=0)), jax.tree.leaves(after._replace(key=0)), strict=True):
        np.testing.assert_array_equal(a, b)


def test_dropout_differs_from_step_to_step_and_repeats_by_key():
    step = train.make_step(head, optax.sgd(0.0))
    first, a = step(state(optax.sgd(0.0)), batch(8))
    _, b = step(first, batch(8))
    _, again = step(state(optax.sgd(0.0)), batch(8))
    assert float(a.loss_sum) != float(b.loss_sum)
    assert float(a.loss_sum) == float(again.loss_sum)


def test_jit_equals_eager_and_vmap_equals_loop():
    step = train.make_step(head, optax.sgd(0.1))
    eager, _ = step(state(optax.sgd(0.1)), batch(5))
    jitted, _ = jax.jit(step)(state(optax.sgd(0.1)), batch(5))
    both = jax.tree.map(lambda a: jnp.stack([a, a]), (state(optax.sgd(0.1)), batch(5)))
    stacked, _ = jax.vmap(step)(*both)
    for a, b, c in zip(*(jax.tree.leaves(s.params) for s in (eager, jitted, stacked)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)
        np.testing.assert_allclose(a, c[1], rtol=1e-6)


def test_step_equals_pytorch():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed (extra: torch)")
    layer = torch.nn.Linear(5, 2)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(PARAMS["fc8"]["kernel"].T))
        layer.bias.zero_()
    sgd = torch.optim.SGD(layer.parameters(), lr=0.05, momentum=0.9)
    optimiser = optax.sgd(0.05, 0.9)
    step, mine = jax.jit(train.make_step(undropped, optimiser)), state(optimiser)
    for n in (8, 8, 3, 8):
        sgd.zero_grad()
        torch.nn.functional.cross_entropy(layer(torch.from_numpy(X[:n])), torch.from_numpy(LABEL[:n])).backward()
        sgd.step()
        mine, _ = step(mine, batch(n))
    np.testing.assert_allclose(mine.params["fc8"]["kernel"], layer.weight.detach().numpy().T, rtol=1e-5, atol=1e-6)
