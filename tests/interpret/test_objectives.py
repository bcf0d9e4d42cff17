"""Objectives read the layer, channel and place that they name; the whole network seen is the network."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cxrjax.interpret import objectives
from cxrjax.models import augment, transfer
from cxrjax.models.alexnet import LAYERS
from cxrjax.models.pretrained import CAFFE


@pytest.fixture(scope="module")
def net():
    return transfer.cut(None, "fc7")


@pytest.fixture(scope="module")
def params(net):
    return transfer.layers(net, net.initial(jax.random.key(0)))


@pytest.fixture(scope="module")
def image():
    return np.random.default_rng(0).uniform(0, 255, (131, 131)).astype(np.float32)


@pytest.fixture(scope="module")
def seen(net, params, image):
    return transfer.see(net, params, image[None])


def test_the_whole_network_is_trunk_and_head(net, params):
    pixels = np.random.default_rng(1).integers(0, 256, (2, 227, 227), np.uint8)
    head = {name: params[name] for name in ("fc7", "fc8")}
    # The same products in programs compiled apart.
    np.testing.assert_allclose(
        transfer.see(net, params, pixels).logits, net.head(head, net.trunk(pixels), None), rtol=1e-4, atol=1e-5
    )


def test_activations_are_preactivations_after_relu(seen):
    assert list(seen.activations) == list(LAYERS)
    assert set(seen.preactivations) == set(LAYERS)
    for name in LAYERS[:-1]:
        np.testing.assert_array_equal(seen.activations[name], np.maximum(seen.preactivations[name], 0))
        assert (seen.preactivations[name] < 0).any()
    np.testing.assert_array_equal(seen.logits, seen.preactivations["fc8"])


def test_grey_is_three_equal_channels(net, params, image, seen):
    colour = np.repeat(image[None, ..., None], 3, axis=-1)
    np.testing.assert_allclose(transfer.see(net, params, colour).logits, seen.logits, atol=1e-6)


def test_colour_is_turned_round_for_weights_in_bgr():
    image = np.random.default_rng(0).uniform(0, 255, (1, 4, 4, 3))
    out = augment.normalise(image, CAFFE)
    np.testing.assert_allclose(out[..., 0], image[..., 2] - CAFFE.mean[0], rtol=1e-5)


@pytest.mark.parametrize("layer", ["conv1", "conv5", "fc7", "fc8"])
def test_a_channel_is_the_mean_of_its_map(net, params, image, seen, layer):
    aim = objectives.direction(net, layer, 1)
    values = np.asarray(seen.preactivations[layer])[..., 1]
    assert float(objectives.along(net, layer)((params, aim), image)) == pytest.approx(values.mean(), rel=1e-4, abs=1e-6)
    after = objectives.along(net, layer, after_relu=True)((params, aim), image)
    expected = values if layer == "fc8" else np.maximum(values, 0)
    assert float(after) == pytest.approx(expected.mean(), rel=1e-4, abs=1e-6)


def test_a_place_is_one_neuron(net, params, image, seen):
    aim = objectives.direction(net, "conv3", 7)
    found = objectives.along(net, "conv3", place=(2, 1))((params, aim), image)
    assert float(found) == pytest.approx(float(seen.preactivations["conv3"][0, 2, 1, 7]), rel=1e-4, abs=1e-6)


def test_sums_differences_and_negatives_are_of_directions(net, params, image, seen):
    value = objectives.along(net)
    other, pneumonia = np.asarray(seen.logits)[0]
    assert float(value((params, objectives.log_odds(net)), image)) == pytest.approx(pneumonia - other, rel=1e-3)
    assert float(value((params, -objectives.direction(net, "fc8", 1)), image)) == pytest.approx(-pneumonia, rel=1e-3)
    one = objectives.direction(net, "conv2", 3)
    both = objectives.weighted((2.0, value), (-0.5, objectives.along(net, "conv2")))
    expected = 2 * pneumonia - 0.5 * float(seen.preactivations["conv2"][..., 3].mean())
    got = both(((params, objectives.direction(net, "fc8", 1)), (params, one)), image)
    assert float(got) == pytest.approx(expected, rel=1e-3)


def test_seeds_are_lifted_by_their_axes(net, params, image):
    heads = jax.vmap(net.initial)(jax.random.split(jax.random.key(1), 2))
    aim = objectives.direction(net, "fc8", 1)
    lifted = jax.vmap(objectives.along(net), ((transfer.seed_axes(net), None), None))
    together = lifted((transfer.layers(net, heads), aim), jnp.asarray(image))
    for i in range(2):
        alone = objectives.along(net)((transfer.layers(net, jax.tree.map(lambda x, i=i: x[i], heads)), aim), image)
        assert float(together[i]) == pytest.approx(float(alone), rel=1e-4)


def test_what_a_network_does_not_have_is_refused(net):
    with pytest.raises(ValueError, match=r"layer must be one of conv1, .*, got 'conv9'"):
        objectives.along(net, "conv9")
    with pytest.raises(ValueError, match=r"place must be None for fc6, which has no map, got \(0, 0\)"):
        objectives.along(net, "fc6", place=(0, 0))
    with pytest.raises(ValueError, match=r"channel of conv1 must be in 0..63, got 64"):
        objectives.direction(net, "conv1", 64)
    with pytest.raises(ValueError, match=r"channel of fc8 must be in 0..1, got -1"):
        objectives.direction(net, "fc8", -1)
