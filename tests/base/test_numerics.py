"""What is public gives the same numbers under every setting of JAX, by keys of either kind, and in any thread."""

import contextlib
import threading

import jax
import numpy as np
import pytest

from cxrjax.base.numerics import new_key, settings, typed_key
from cxrjax.interpret import dream, objectives, saliency
from cxrjax.interpret.dream import Ascent
from cxrjax.interpret.dream_parts import Adam, Spectrum, View
from cxrjax.models import transfer
from cxrjax.training import losses, optimizer, plan, step
from tests.models import narrow

SETTINGS = {
    "enable_x64": True,
    "debug_nans": True,
    "threefry_partitionable": False,
    "default_prng_impl": "rbg",
    "numpy_dtype_promotion": "strict",
}
SIDE = 63  # pixels, the smallest image that AlexNet takes
KEYS = {"typed": lambda: new_key(3), "old": lambda: jax.random.PRNGKey(3), "NumPy": lambda: np.array([0, 3], np.uint32)}


def other_settings():
    stack = contextlib.ExitStack()
    for name, value in SETTINGS.items():
        stack.enter_context(getattr(jax, name)(value))
    return stack


def planned(key):
    rows = np.arange(50, dtype=np.int32)
    return [plan.epoch(key(), 1, rows, 16, 4, 30, bank) for bank in (None, 3)] + [plan.bank(rows, 3, 30)]


def trained(key):
    """Two steps of a narrow head with dropout, of the labels that NumPy makes unless told otherwise."""
    net = transfer.build_transfer_model(None, "fc6", model=narrow.ALEXNET)
    variables = net.initial(plan.stream(key(), plan.INITIAL_WEIGHTS))
    sgd = optimizer.make_optimizer(optimizer.Recipe())
    state = step.init(variables, sgd, plan.stream(key(), plan.DROPOUT))
    label = np.arange(8) % 2
    for seed in (0, 1):
        pixels = np.random.default_rng(seed).integers(0, 256, (8, 227, 227), np.uint8)
        batch = step.Batch(net.trunk(pixels), label, np.arange(8) < 7)
        state, sums = jax.jit(step.make_step(net.head, sgd))(state, batch)
    return [state.params, sums, losses.BINARY.score(net.head(state.variables, net.trunk(pixels), None)[0])]


def explained(key):
    net = transfer.build_transfer_model(None, "fc6", model=narrow.ALEXNET)
    params = transfer.layers(net, net.initial(key()))
    images = np.random.default_rng(0).integers(0, 256, (1, SIDE, SIDE))  # int64
    direction = objectives.log_odds(net)
    score = objectives.channel_objective(net), (params, direction)
    return [
        saliency.smooth_grad(key(), *score, images.astype(float), samples=2),
        saliency.METHODS["grad_cam"](key(), net, params, images, direction),
    ]


def dreamt(key):
    spectrum, weights = Spectrum(), np.random.default_rng(1).normal(size=(24, 24))
    ascent = Ascent(spectrum, View(), Adam(), iterations=2, octaves=1)
    start = spectrum.noise(key(), 24)[None]
    return [dream.dream(_linear, weights, start, ascent, key=key()), dream.noise(key(), 24)]


def _linear(weights, image):
    return (image * weights.astype(image.dtype)).sum()


PARTS = {"plan": planned, "training": trained, "maps": explained, "dreams": dreamt}


@pytest.fixture(scope="module")
def expected():
    return {name: jax.device_get(part(KEYS["typed"])) for name, part in PARTS.items()}


def assert_same(got, wanted):
    for ours, theirs in zip(jax.tree.leaves(jax.device_get(got)), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_array_equal(np.asarray(ours), np.asarray(theirs))


@pytest.mark.parametrize("name", PARTS)
def test_numbers_are_the_same_under_every_setting(name, expected):
    with other_settings():
        got = PARTS[name](KEYS["typed"])
    assert_same(got, expected[name])


@pytest.mark.parametrize("kind", ["old", "NumPy"])
@pytest.mark.parametrize("name", PARTS)
def test_keys_of_the_old_kind_draw_the_same(name, kind, expected):
    assert_same(PARTS[name](KEYS[kind]), expected[name])


def test_numbers_are_the_same_in_threads(expected):
    """Whatever the thread that starts them is set to: these settings are a thread's."""
    results = {}
    threads = [threading.Thread(target=lambda i=i: results.update({i: planned(KEYS["typed"])})) for i in range(3)]
    with other_settings():
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for got in results.values():
        assert_same(got, expected["plan"])
    assert len(results) == 3


@pytest.mark.parametrize("wrong", [0, None, "0", np.zeros(2), np.zeros((3, 2), np.uint32)])
def test_what_is_no_key_is_one_clear_error(wrong):
    for take in (typed_key, lambda key: planned(lambda: key), lambda key: dream.noise(key, 24)):
        with pytest.raises(ValueError, match=r"key must be one PRNG key, as `jax\.random\.key\(0\)` is, got"):
            take(wrong)


def test_settings_come_back_also_after_an_error():
    with jax.enable_x64(True), pytest.raises(ZeroDivisionError), settings():
        assert not jax.enable_x64.value
        raise ZeroDivisionError
    with jax.debug_nans(True), jax.enable_x64(False):
        with settings(x64=True, nan=True):
            assert jax.enable_x64.value and not jax.debug_nans.value
        assert jax.debug_nans.value and not jax.enable_x64.value
