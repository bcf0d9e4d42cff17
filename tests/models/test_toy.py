"""Another network, registered from outside, trains, dreams and is explained by what it says of itself alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cxrjax.interpret import dream, grad_cam, objectives, saliency
from cxrjax.models import registry, transfer
from cxrjax.training import inputs, plan, step
from tests.models import toy


@pytest.fixture(scope="module")
def net():
    toy.register()
    return transfer.build_transfer_model(None, "b", model=registry.get("toy"))


@pytest.fixture(scope="module")
def params(net):
    return transfer.layers(net, net.initial(jax.random.key(0)))


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (3, 48, 48), dtype=np.uint8)


def test_its_record_says_where_it_is_cut(net):
    assert net.model.offsets == 9
    assert net.model.middle == slice(4, 44)
    assert (net.trunk.shape, net.fresh, net.dense) == ((18, 18, 6), ("b", "c"), False)
    assert transfer.build_transfer_model(None, "c", model=net.model).dense
    assert transfer.build_transfer_model(None, "a", model=net.model).trunk.identity == ""


@pytest.mark.parametrize("retrain_from", ["a", "b", "c"])
def test_trunk_and_head_are_the_whole_network(net, images, retrain_from):
    parts = transfer.build_transfer_model(None, retrain_from, model=net.model)
    head = parts.initial(jax.random.key(1))
    pipeline = inputs.Resident(jnp.asarray(images), net.model.crop)
    (pixels,) = pipeline.batches(plan.centre(np.arange(3), 3, net.model.centre))
    assert pixels.shape == (3, 40, 40)
    got = step.logits(parts.head, jax.tree.map(lambda x: x[None], head), parts.trunk(pixels)[None])[0]
    want = transfer.forward(parts.model, transfer.layers(parts, head), pixels).output
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)  # the same products in programs compiled apart


def test_it_dreams(net, params):
    objective = objectives.channel_objective(net)
    start, ascent = dream.noise(jax.random.key(0), net.model.crop)[None], dream.Ascent(iterations=3, octaves=1)
    dreams = dream.dream(objective, (params, objectives.class_logit(net, 1)), start, ascent)
    assert dreams.scores[0, -1] > dreams.scores[0, 0]
    channel = objectives.channel_objective(net, "a", place=(3, 4))
    dreams = dream.dream(channel, (params, objectives.one_hot(net, "a", 5)), start, ascent)
    assert dreams.scores[0, -1] > dreams.scores[0, 0]


def test_it_is_explained(net, params, images):
    crops = images[:, net.model.middle, net.model.middle]
    for name, method in saliency.METHODS.items():
        energy = method(jax.random.key(0), net, params, crops, objectives.log_odds(net))
        assert energy.shape == crops.shape, name
        assert float(energy.min()) >= 0, name


def test_grad_cam_of_a_dense_layer_on_pooled_maps_does_not_depend_on_the_pooling(net, params, images):
    """The gradient of either pooling sums to 1 over the map, so that channel c weighs as in the dense layer."""
    crops = images[:, net.model.middle, net.model.middle]
    other = transfer.build_transfer_model(None, "b", model=net.model, lse_r=10.0)
    maps = [grad_cam.grad_cam(of, params, crops, objectives.log_odds(of)) for of in (net, other)]
    np.testing.assert_allclose(*maps, rtol=1e-4, atol=1e-4 * float(maps[0].max()))
    kernel, shown = params["params"]["c"]["kernel"], transfer.forward(net.model, params, crops).activations["b"].after
    by_hand = np.maximum(shown @ (kernel[:, 1] - kernel[:, 0]), 0) / shown[0, :, :, 0].size
    np.testing.assert_allclose(maps[1], by_hand, rtol=1e-4, atol=1e-4 * float(by_hand.max()))


def test_cells_lie_where_its_windows_say(net, params, images):
    """5 wide with stride 2 from pixel 2; then 3 wide. The gradient of one cell is there and nowhere else."""
    assert grad_cam.centres(net.model, "a") == (2, 2)
    assert grad_cam.centres(net.model, "b") == (4, 2)
    objective = objectives.channel_objective(net, "b", place=(6, 3))
    crop = images[:1, net.model.middle, net.model.middle]
    seen = np.asarray(saliency.gradient(objective, (params, objectives.one_hot(net, "b", 0)), crop))[0] != 0
    rows, columns = (np.flatnonzero(seen.any(axis)) for axis in (1, 0))
    assert (rows.min() + rows.max(), columns.min() + columns.max()) == (2 * (4 + 2 * 6), 2 * (4 + 2 * 3))


def test_a_stage_is_refused_by_its_own_names(net):
    with pytest.raises(ValueError, match="stage must be one of a, b, c, got 'fc8'"):
        objectives.one_hot(net, "fc8", 1)
    with pytest.raises(ValueError, match="stage must be one of a, b, which have a map, got 'c'"):
        grad_cam.centres(net.model, "c")
