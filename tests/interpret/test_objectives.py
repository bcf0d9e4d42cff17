"""Objectives read the layer, channel and place that they name; the whole network seen is the network."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cxrjax.interpret import objectives
from cxrjax.models import augment, pretrained, transfer
from cxrjax.models.alexnet import STAGES
from cxrjax.models.registry import CAFFE
from tests.models import narrow


@pytest.fixture(scope="module")
def net():
    return transfer.build_transfer_model(None, "fc7", model=narrow.ALEXNET)


@pytest.fixture(scope="module")
def params(net):
    return transfer.layers(net, net.initial(jax.random.key(0)))


@pytest.fixture(scope="module")
def image():
    return np.random.default_rng(0).uniform(0, 255, (131, 131)).astype(np.float32)


@pytest.fixture(scope="module")
def seen(net, params, image):
    return transfer.forward(net.model, params, image[None])


def test_the_whole_network_is_trunk_and_head(net, params):
    pixels = np.random.default_rng(1).integers(0, 256, (2, 227, 227), np.uint8)
    head = pretrained.select(params, ("fc7", "fc8"))
    # The same products in programs compiled apart.
    np.testing.assert_allclose(
        transfer.forward(net.model, params, pixels).output,
        net.head(head, net.trunk(pixels))[0],
        rtol=1e-4,
        atol=1e-5,
    )


def test_activations_are_preactivations_after_relu(seen):
    assert list(seen.activations) == list(STAGES)
    for name in STAGES[:-1]:
        before, after = seen.activations[name]
        np.testing.assert_array_equal(after, np.maximum(before, 0))
        assert (before < 0).any()
    np.testing.assert_array_equal(seen.output, seen.activations["fc8"].before)
    np.testing.assert_array_equal(seen.output, seen.activations["fc8"].after)


def test_grey_is_three_equal_channels(net, params, image, seen):
    colour = np.repeat(image[None, ..., None], 3, axis=-1)
    np.testing.assert_allclose(transfer.forward(net.model, params, colour).output, seen.output, atol=1e-6)


def test_colour_is_turned_round_for_weights_in_bgr():
    image = np.random.default_rng(0).uniform(0, 255, (1, 4, 4, 3))
    out = augment.normalise(image, CAFFE)
    np.testing.assert_allclose(out[..., 0], image[..., 2] - CAFFE.mean[0], rtol=1e-5)


@pytest.mark.parametrize("layer", ["conv1", "conv5", "fc7", "fc8"])
def test_a_channel_is_the_mean_of_its_map(net, params, image, seen, layer):
    aim = objectives.one_hot(net, layer, 1)
    values = np.asarray(seen.activations[layer].before)[..., 1]
    assert float(objectives.channel_objective(net, layer)((params, aim), image)) == pytest.approx(
        values.mean(), rel=1e-4, abs=1e-6
    )
    after = objectives.channel_objective(net, layer, after_relu=True)((params, aim), image)
    expected = values if layer == "fc8" else np.maximum(values, 0)
    assert float(after) == pytest.approx(expected.mean(), rel=1e-4, abs=1e-6)


def test_a_place_is_one_neuron(net, params, image, seen):
    aim = objectives.one_hot(net, "conv3", 7)
    found = objectives.channel_objective(net, "conv3", place=(2, 1))((params, aim), image)
    assert float(found) == pytest.approx(float(seen.activations["conv3"].before[0, 2, 1, 7]), rel=1e-4, abs=1e-6)


def test_sums_differences_and_negatives_are_of_directions(net, params, image, seen):
    value = objectives.channel_objective(net)
    other, pneumonia = np.asarray(seen.output)[0]
    assert float(value((params, objectives.log_odds(net)), image)) == pytest.approx(pneumonia - other, rel=1e-3)
    assert float(value((params, -objectives.one_hot(net, "fc8", 1)), image)) == pytest.approx(-pneumonia, rel=1e-3)
    pair = 2.0 * objectives.one_hot(net, "conv2", 3) - 0.5 * objectives.one_hot(net, "conv2", 5)
    means = np.asarray(seen.activations["conv2"].before).mean((0, 1, 2))
    got = objectives.channel_objective(net, "conv2")((params, pair), image)
    assert float(got) == pytest.approx(2 * means[3] - 0.5 * means[5], rel=1e-3)


def test_seeds_are_lifted_by_their_axes(net, params, image):
    heads = jax.vmap(net.initial)(jax.random.split(jax.random.key(1), 2))
    aim = objectives.one_hot(net, "fc8", 1)
    lifted = jax.vmap(objectives.channel_objective(net), ((transfer.seed_axes(net), None), None))
    together = lifted((transfer.layers(net, heads), aim), jnp.asarray(image))
    for i in range(2):
        alone = objectives.channel_objective(net)(
            (transfer.layers(net, jax.tree.map(lambda x, i=i: x[i], heads)), aim), image
        )
        assert float(together[i]) == pytest.approx(float(alone), rel=1e-4)


def test_what_a_network_does_not_have_is_refused(net):
    with pytest.raises(ValueError, match=r"stage must be one of conv1, .*, got 'conv9'"):
        objectives.channel_objective(net, "conv9")
    with pytest.raises(ValueError, match=r"place must be None for fc6, which has no map, got \(0, 0\)"):
        objectives.channel_objective(net, "fc6", place=(0, 0))
    with pytest.raises(ValueError, match=r"channel of conv1 must be in 0..3, got 4"):
        objectives.one_hot(net, "conv1", 4)
    with pytest.raises(ValueError, match=r"channel of fc8 must be in 0..1, got -1"):
        objectives.one_hot(net, "fc8", -1)
