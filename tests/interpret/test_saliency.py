"""Saliency maps against PyTorch (live, and by the golden file without it), by hand, and by what defines them.

Tolerance against PyTorch: the mean difference may be 1e-4 of the mean value (measured: 2e-6), of integrated gradients
1e-3. Some 10^6 ReLU and poolings on their way include one so near to its kink, now and then, that another order of
float32 sums decides it otherwise: 3e-4 was seen. A wrong baseline, step or pixel makes 1e-2 or more.
"""

import dataclasses
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cxrjax.interpret import grad_cam, objectives, saliency
from cxrjax.models import alexnet, pretrained, registry, transfer
from cxrjax.models.pretrained import Weights, WeightsInfo
from tests.interpret import torch_saliency
from tests.models import narrow, torch_alexnet

TOLERANCE = {"gradient": 1e-4, "grad_cam": 1e-4, "integrated_gradients": 1e-3}
GOLDEN = Path(__file__).parents[1] / "golden" / "saliency.npz"
DIRECTION = jnp.asarray(torch_saliency.DIRECTION)


@pytest.fixture(scope="module")
def random_network():
    """AlexNet of torchvision with ten classes, the variables of all its stages, and the score of `METHODS`."""
    variables = pretrained.from_state_dict(torch_alexnet.random_state("torchvision"))
    info = WeightsInfo("made up", "", "", "alexnet", alexnet.STAGES, registry.TORCHVISION)
    net = transfer.build_transfer_model(Weights(variables["params"], info), "fc6", num_classes=torch_alexnet.CLASSES)
    return net, jax.tree.map(jnp.asarray, variables), objectives.channel_objective(net)


@pytest.fixture(scope="module")
def narrow_network():
    """As `random_network`, with few features: what does not depend on the width."""
    rng = np.random.default_rng(0)
    shapes = dataclasses.replace(narrow.ALEXNET, num_classes=torch_alexnet.CLASSES).variable_shapes()["params"]
    params = jax.tree.map(lambda leaf: rng.normal(0, 1.4 * leaf.size**-0.5, leaf.shape).astype(np.float32), shapes)
    params = {stage: {**leaf, "kernel": leaf["kernel"] * leaf["bias"].size ** 0.5} for stage, leaf in params.items()}
    info = WeightsInfo("made up", "", "", narrow.ALEXNET.name, alexnet.STAGES, registry.TORCHVISION)
    net = transfer.build_transfer_model(Weights(params, info), "fc6", num_classes=torch_alexnet.CLASSES)
    return net, jax.tree.map(jnp.asarray, {"params": params}), objectives.channel_objective(net)


@pytest.fixture(scope="module")
def found(random_network):
    """What `torch_saliency.maps` has, by cxrjax."""
    net, params, score = random_network
    images = torch_saliency.images()
    integrated = saliency.integrated_gradients(
        score, (params, DIRECTION), images, torch_saliency.BASELINE, torch_saliency.STEPS
    )
    return {
        "gradient": saliency.gradient(score, (params, DIRECTION), images),
        "integrated_gradients": integrated.maps,
        "grad_cam": saliency.grad_cam(net, params, images, DIRECTION),
    }


def relative(got, want):
    """Mean difference in parts of the mean absolute value."""
    assert got.shape == want.shape
    return np.abs(np.asarray(got) - want).mean() / np.abs(want).mean()


def test_golden(found):
    with np.load(GOLDEN) as golden:
        assert set(golden) == set(found)
        for name, values in found.items():
            want = golden[name]
            assert relative(torch_alexnet.sample(np.asarray(values), len(want) - 2), want) <= TOLERANCE[name], name


def test_equals_pytorch(found):
    pytest.importorskip("torch", reason="PyTorch is not installed; the golden file stands for it")
    model = torch_alexnet.build("torchvision", torch_alexnet.random_state("torchvision"))
    for name, want in torch_saliency.maps(model, torch_saliency.images()).items():
        assert relative(found[name], want) <= TOLERANCE[name], name


def linear(params, image):
    return (params * image).sum() + 3


def curved(params, image):
    return jnp.tanh(params * image / 100).sum() ** 2


@pytest.fixture(scope="module")
def small():
    """Weights [9, 7] and three images, 0..255."""
    rng = np.random.default_rng(0)
    return rng.normal(size=(9, 7)).astype(np.float32), rng.uniform(0, 255, (3, 9, 7)).astype(np.float32)


def test_the_gradient_of_a_linear_score_is_its_weights(small):
    weights, images = small
    for got in (
        saliency.gradient(linear, weights, images),
        saliency.smooth_grad(jax.random.key(0), linear, weights, images, samples=6),
    ):
        np.testing.assert_allclose(got, np.stack([weights] * 3), rtol=1e-6)  # a mean of six equal numbers


@pytest.mark.parametrize("shape", [(), (9, 7), (3, 9, 7)])
def test_integrated_gradients_of_a_linear_score_are_exact(small, shape):
    weights, images = small
    baseline = np.random.default_rng(1).uniform(0, 255, shape).astype(np.float32)
    got = saliency.integrated_gradients(linear, weights, images, baseline, steps=5)
    np.testing.assert_allclose(got.maps, weights * (images - baseline), rtol=1e-5, atol=1e-4)  # f32 of hundreds
    assert np.asarray(got.error).max() < 1e-4


def test_integrated_gradients_are_midpoints(small):
    """Of x^3 from 0 to 2 in two steps: 3 (0.5^2 + 1.5^2) / 2 * 2 = 7.5, and 0.5 of 8 are missed."""
    got = saliency.integrated_gradients(lambda p, x: (x**3).sum(), None, np.full((1, 1, 1), 2.0), steps=2)
    assert float(got.maps[0, 0, 0]) == pytest.approx(7.5)
    assert float(got.error[0]) == pytest.approx(1 / 16)


def test_an_image_that_is_its_baseline_has_no_completeness(small):
    weights, images = small
    got = saliency.integrated_gradients(linear, weights, images, images, steps=1)
    assert not np.asarray(got.maps).any()
    assert np.isnan(got.error).all()


def test_integrated_gradients_of_alexnet_are_complete(random_network):
    """Within 1 %, for a score that tells image and baseline apart, as a trained one does; biases small, as trained."""
    net, params, score = random_network
    layers = params["params"].items()
    small = {"params": {layer: {"kernel": p["kernel"], "bias": 0.1 * p["bias"]} for layer, p in layers}}
    images = torch_saliency.images(99)[:1]
    logits = jax.jit(lambda p, x: transfer.forward(net.model, p, x).output)(small, np.concatenate([images, 0 * images]))
    got = saliency.integrated_gradients(score, (small, logits[0] - logits[1]), images)
    assert float(got.error[0]) < 0.01  # 0.4 %


def test_noise_is_a_share_of_the_range_and_each_samples_own(small):
    """The gradient of x^2 / 2 is x, so the mean gradient less the image is the mean noise."""
    images = np.stack([np.linspace(20, 20 + top, 4000, dtype=np.float32).reshape(50, 80) for top in (100, 200, 200)])

    def noise(images, samples=1, share=0.1):
        mean = saliency.smooth_grad(jax.random.key(3), lambda p, x: (x**2).sum() / 2, None, images, samples, share)
        return np.asarray(mean) - images

    one = noise(images)
    np.testing.assert_allclose(one.std((1, 2)), [10, 20, 20], rtol=0.05)  # 4,000 draws: 1.1 % a standard deviation
    np.testing.assert_allclose(noise(images, 4).std((1, 2)), [5, 10, 10], rtol=0.05)
    assert abs(np.corrcoef(one.reshape(3, -1))[1, 2]) < 0.06  # 3.8 standard deviations
    np.testing.assert_allclose(noise(images[:2]), one[:2], atol=1e-4)  # whatever the batch
    assert not noise(images, share=0.0).any()


def test_a_batch_is_its_images_one_by_one(small):
    weights, images = small
    ways = {
        "gradient": lambda x: saliency.gradient(curved, weights, x),
        "integrated_gradients": lambda x: saliency.integrated_gradients(curved, weights, x, steps=6).maps,
        "occlusion": lambda x: saliency.occlusion(curved, weights, x, patch=4, stride=3),
    }
    for name, way in ways.items():
        alone = np.concatenate([way(images[i : i + 1]) for i in range(3)])
        # Float32 sums in another order.
        np.testing.assert_allclose(way(images), alone, rtol=1e-5, atol=1e-5 * np.abs(alone).max(), err_msg=name)


@pytest.mark.parametrize("chunk", [1, 5, 6, 1000])
def test_chunks_change_nothing(small, monkeypatch, chunk):
    weights, images = small
    want = [saliency.integrated_gradients(curved, weights, images, steps=6).maps]
    want.append(saliency.occlusion(curved, weights, images, patch=3, stride=2))
    monkeypatch.setattr(saliency, "CHUNK", chunk)
    got = [saliency.integrated_gradients(curved, weights, images, steps=6).maps]
    got.append(saliency.occlusion(curved, weights, images, patch=3, stride=2))
    for a, b in zip(got, want, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5 * np.abs(b).max())


def test_occlusion_by_hand():
    """Patches of 2 x 2 in a row of three columns start at 0 and 1; 1 and 2 of them cover a column."""
    weights = np.array([[1.0, 2, 3], [4, 5, 6]], np.float32)
    images = np.array([[[1.0, 1, 1], [1, 1, 1]], [[2, 0, 0], [0, 0, 4]]], np.float32)
    got = saliency.occlusion(linear, weights, images, patch=2, stride=2, fill=0.0)
    np.testing.assert_allclose(got, [[[12, 14, 16]] * 2, [[2, 13, 24]] * 2], rtol=1e-6)
    # With its own mean, 1, the second image's drops are 2 + 24 - 21 less what stays.
    got = saliency.occlusion(linear, weights, images[1:], patch=2, stride=1)
    np.testing.assert_allclose(got, [[[-10, -1, 8]] * 2], rtol=1e-6)


@pytest.mark.parametrize(("patch", "stride"), [(3, 3), (4, 3), (3, 1), (7, 5)])
def test_occlusion_is_the_mean_over_covering_patches(small, patch, stride):
    weights, images = small
    got = saliency.occlusion(curved, weights, images[:1], patch, stride, fill=90.0)[0]
    total, count = np.zeros((2, 9, 7))
    for y in sorted({*range(0, 9 - patch + 1, stride), 9 - patch}):
        for x in sorted({*range(0, 7 - patch + 1, stride), 7 - patch}):
            covered = images[0].copy()
            covered[y : y + patch, x : x + patch] = 90
            total[y : y + patch, x : x + patch] += curved(weights, images[0]) - curved(weights, covered)
            count[y : y + patch, x : x + patch] += 1
    assert count.min() >= 1
    np.testing.assert_allclose(got, total / count, rtol=1e-4, atol=1e-4 * np.abs(got).max())  # differences of f32


@pytest.mark.parametrize(("name", "first"), [("alexnet", 15), ("alexnet-caffe", 17)])
def test_a_cell_lies_at_the_centre_of_what_it_sees(name, first):
    """A dot at a cell's centre, seen through kernels that only add up, gives a map symmetric about the cell."""
    model = registry.get(name)
    net = model.build(stop="conv5")
    image = jnp.zeros((1, 227, 227, 3))
    params = jax.tree.map(
        lambda leaf: jnp.full(leaf.shape, 0.01 if len(leaf.shape) == 4 else 0.0),
        jax.eval_shape(net.init, jax.random.key(0), image)["params"],
    )
    centre, pitch = grad_cam.centres(model, "conv5")
    assert (centre, pitch) == (first, 16)

    def seen(row, column):
        _, activations = jax.jit(net.apply)({"params": params}, image.at[0, row, column].set(100.0))
        return np.asarray(activations["conv5"].after[0, :, :, 0])

    row, column = (int(centre) + pitch * cell for cell in (6, 5))
    around = seen(row, column)[6 - 3 : 6 + 4, 5 - 3 : 5 + 4]
    np.testing.assert_allclose(around, around[::-1, ::-1], rtol=1e-4)  # sums in another order
    np.testing.assert_allclose(around, around.T, rtol=1e-4)
    assert around[3, 3] == around.max() > 0
    moved = seen(row + 4, column)[3:10, 2:9]
    assert relative(moved, moved[::-1]) > 0.05


def test_a_layers_cells_by_hand():
    """conv1: 11 wide, padded by 2, so pixel 3, every 4; each pooling adds a pitch and doubles it."""
    want = {"conv1": (3, 4), "conv2": (7, 8), "conv3": (15, 16), "conv5": (15, 16)}
    assert {layer: grad_cam.centres(registry.ALEXNET, layer) for layer in want} == want
    assert grad_cam.centres(registry.ALEXNET_CAFFE, "conv1") == (5, 4)


def test_enlarged_maps_by_hand():
    maps = jnp.arange(13.0)[None, :, None] + jnp.zeros((1, 1, 13))
    rows = np.asarray(grad_cam.enlarge(maps + jnp.zeros_like(maps), (227, 200), registry.ALEXNET))[0]
    assert rows.shape == (227, 200)
    # Row 15 is cell 0's centre, 23 halfway to cell 1's, 207 the last one's; beyond them nothing changes.
    np.testing.assert_allclose(rows[[0, 15, 19, 23, 31, 207, 226], 100], [0, 0, 0.25, 0.5, 1, 12, 12], rtol=1e-6)
    one = jnp.zeros((1, 13, 13)).at[0, 2, 7].set(1)
    spot = np.asarray(grad_cam.enlarge(one, (227, 227), registry.ALEXNET))[0]
    assert np.unravel_index(spot.argmax(), spot.shape) == (15 + 2 * 16, 15 + 7 * 16)
    assert spot.sum() == pytest.approx(16 * 16, rel=1e-5)


def test_grad_cam_of_other_layers_and_batches(narrow_network):
    net, params, _ = narrow_network
    images = torch_saliency.images(99)
    whole = saliency.grad_cam(net, params, images, DIRECTION, "conv3")
    assert whole.shape == (2, 5, 5)
    assert float(whole.min()) >= 0
    alone = [saliency.grad_cam(net, params, images[i : i + 1], DIRECTION, "conv3") for i in range(2)]
    assert relative(whole, np.concatenate(alone)) < 1e-5  # f32 sums in another order
    against = saliency.grad_cam(net, params, images, -DIRECTION, "conv3")
    assert not np.asarray(whole * against).any()  # a cell speaks for one side


def test_every_method_gives_energy_of_the_images_shape(narrow_network):
    net, params, score = narrow_network
    images, key = torch_saliency.images(67)[:1].astype(np.uint8), jax.random.key(1)
    got = {name: method(key, net, params, images, DIRECTION) for name, method in saliency.METHODS.items()}
    for name, values in got.items():
        assert values.shape == images.shape, name
        assert float(values.min()) >= 0, name
        assert float(values.max()) > 0, name
    args = (score, (params, DIRECTION), images)
    np.testing.assert_array_equal(got["gradient"], np.abs(saliency.gradient(*args)))
    np.testing.assert_array_equal(got["occlusion"], np.maximum(saliency.occlusion(*args), 0))


def test_energy():
    maps = jnp.array([-2.0, 0, 3])
    np.testing.assert_array_equal(saliency.energy(maps, signed=True), [0, 0, 3])
    np.testing.assert_array_equal(saliency.energy(maps, signed=False), [2, 0, 3])


def test_a_network_of_the_same_architecture_compiles_nothing(narrow_network, monkeypatch):
    net, params, _ = narrow_network
    images = torch_saliency.images(67)[:1]
    saliency.METHODS["grad_cam"](jax.random.key(0), net, params, images, DIRECTION)
    monkeypatch.setattr(grad_cam, "slope", None)  # which a new program would call
    again = net._replace(model=dataclasses.replace(net.model), initial=lambda key: {})
    saliency.METHODS["grad_cam"](jax.random.key(0), again, params, images, 2 * DIRECTION)
    with pytest.raises(TypeError, match="not callable"):
        saliency.grad_cam(net, params, images, DIRECTION, "conv2")


def test_mistakes_are_named(small, narrow_network):
    weights, images = small
    net, params, _ = narrow_network
    key = jax.random.key(0)
    for call, match in (
        (lambda: saliency.gradient(linear, weights, images[0]), r"images must be \[B, H, W\], got \[9, 7\]"),
        (lambda: saliency.smooth_grad(key, linear, weights, images, 0), "samples must be 1 or more, got 0"),
        (lambda: saliency.smooth_grad(key, linear, weights, images, 1, -0.5), "noise must be 0 or more, got -0.5"),
        (lambda: saliency.integrated_gradients(linear, weights, images, steps=0), "steps must be 1 or more, got 0"),
        (
            lambda: saliency.integrated_gradients(linear, weights, images, np.zeros((2, 9, 7))),
            r"baseline must broadcast to images \[3, 9, 7\], got \[2, 9, 7\]",
        ),
        (lambda: saliency.integrated_gradients(linear, weights, images[:1], images), "baseline must broadcast"),
        (lambda: saliency.occlusion(linear, weights, images, 3, 4), "got stride=4 and patch=3"),
        (lambda: saliency.occlusion(linear, weights, images, 8, 4), "patch <= 7, the image's side"),
        (lambda: saliency.grad_cam(net, params, images, DIRECTION, "fc6"), "stage must be one of conv1.*got 'fc6'"),
    ):
        with pytest.raises(ValueError, match=match):
            call()
