"""AlexNet against PyTorch (live, and by the golden file without it), by hand, and against its own parts.

Tolerance: the largest difference may be 1e-4 of the largest value. Float32 sums of 9,216 products in another order
differ by some 1e-6 of it; a wrong pixel, row order, constant or missing normalisation by 1e-3 or far more.
"""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cxrjax.models import alexnet, convert, layers, pretrained, registry
from tests.models import torch_alexnet

GOLDEN = Path(__file__).parents[1] / "golden" / "alexnet.npz"
VARIANTS = ("torchvision", "caffe")
SIZES = [("torchvision", 224), ("torchvision", 227), ("torchvision", 300), ("caffe", 227)]
CUTS = ("conv2", "fc6", "fc8")


@pytest.fixture(scope="session")
def params(tmp_path_factory):
    """variant -> params on the device, random, converted from the layout of the variant's origin."""
    file = tmp_path_factory.mktemp("weights") / "a.npz"
    np.savez(file, **_caffe_names(torch_alexnet.random_state("caffe")))
    caffe = convert.read_caffe(file)
    file.unlink()
    torchvision = pretrained.from_state_dict(torch_alexnet.random_state("torchvision"))["params"]
    return jax.tree.map(jnp.asarray, {"torchvision": torchvision, "caffe": caffe})


def _caffe_names(state):
    """features.0.weight -> conv1_weights; arrays stay as Caffe has them, [out, in, height, width]."""
    modules = zip(torch_alexnet.MODULES, alexnet.STAGES, strict=True)
    return {
        f"{layer}_{ours}": state[f"{module}.{theirs}"]
        for module, layer in modules
        for ours, theirs in (("weights", "weight"), ("biases", "bias"))
    }


def build(variant, classes=torch_alexnet.CLASSES, widths=None, **cut):
    model = registry.get({"torchvision": "alexnet", "caffe": "alexnet-caffe"}[variant])
    return dataclasses.replace(model, num_classes=classes, options=(*model.options, ("widths", widths))).build(**cut)


@pytest.fixture(scope="session")
def outputs(params):
    """(variant, size) -> images, logits and activations of the whole network, jitted."""
    result = {}
    for variant, size in SIZES:
        images = torch_alexnet.random_images(variant, size)
        run = jax.jit(build(variant).apply)
        logits, activations = jax.device_get(run({"params": params[variant]}, images))
        result[variant, size] = images, logits, {stage: value.after for stage, value in activations.items()}
    return result


def apply(variant, params, x, train=False, key=None, **cut):
    model = build(variant, **cut)
    out, activations = model.apply({"params": params}, x, train, rngs=None if key is None else {"dropout": key})
    return out, {stage: value.after for stage, value in activations.items()}


def relative(got, want):
    """Largest difference in parts of the largest value."""
    assert got.shape == want.shape
    return np.abs(np.asarray(got) - want).max() / np.abs(want).max()


@pytest.mark.parametrize(("variant", "size"), SIZES)
def test_golden(outputs, variant, size):
    _, logits, activations = outputs[variant, size]
    with np.load(GOLDEN) as golden:
        assert relative(logits, golden[f"{variant}/{size}/logits"]) <= 1e-4
        for layer in alexnet.STAGES:
            sample = torch_alexnet.sample(activations[layer])
            assert relative(sample, golden[f"{variant}/{size}/{layer}"]) <= 1e-4, layer


@pytest.fixture(scope="session")
def references():
    pytest.importorskip("torch", reason="PyTorch is not installed; the golden file stands for it")
    return {v: torch_alexnet.build(v, torch_alexnet.random_state(v)) for v in VARIANTS}


@pytest.mark.parametrize(("variant", "size"), SIZES)
def test_equals_pytorch(references, outputs, variant, size):
    images, logits, activations = outputs[variant, size]
    want, seen = torch_alexnet.forward(references[variant], images)
    assert relative(logits, want) <= 1e-4
    assert list(activations) == list(alexnet.STAGES)
    for layer in alexnet.STAGES:
        assert relative(activations[layer], seen[layer]) <= 1e-4, layer


def test_state_dict_file_of_the_true_size(references, params, tmp_path):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    torch.save(references["torchvision"].state_dict(), tmp_path / "a.pth")
    read = convert.read_state_dict(tmp_path / "a.pth")["params"]
    (tmp_path / "a.pth").unlink()
    assert list(read) == list(alexnet.STAGES)
    assert all(np.array_equal(read[n][k], params["torchvision"][n][k]) for n in read for k in ("kernel", "bias"))


@pytest.mark.parametrize("variant", VARIANTS)
def test_smallest_image(references, params, variant):
    images = torch_alexnet.random_images(variant, 63)
    want, _ = torch_alexnet.forward(references[variant], images)
    assert relative(apply(variant, params[variant], images)[0], want) <= 1e-4


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("variant", VARIANTS)
def test_trunk_then_head_is_the_whole(outputs, params, variant, cut):
    images, logits, activations = outputs[variant, 227]
    before = registry.ALEXNET.before(cut)
    between, below = apply(variant, _layers(params[variant], "conv1", before), images, stop=before)
    got, above = apply(variant, _layers(params[variant], cut, "fc8"), between, start=cut)
    # 1e-5: the same sums, which the compiler may order differently in another program
    assert relative(got, logits) <= 1e-5
    assert [*below, *above] == list(alexnet.STAGES)
    assert all(relative(value, activations[layer]) <= 1e-5 for layer, value in (below | above).items())


def _layers(params, first, last):
    return {layer: params[layer] for layer in registry.ALEXNET.between(first, last)}


@pytest.mark.parametrize("variant", VARIANTS)
def test_init_makes_the_layers_asked_for_and_fits_the_published_shapes(variant):
    model = build(variant, 2)
    image = jax.ShapeDtypeStruct((1, 227, 227, 3), jnp.float32)
    shapes = jax.eval_shape(model.init, jax.random.key(0), image)["params"]
    assert tuple(shapes) == alexnet.STAGES
    for layer, want in zip(alexnet.STAGES, torch_alexnet.shapes(variant).values(), strict=True):
        outputs, inputs = 2 if layer == "fc8" else want[0], want[1:]
        assert shapes[layer]["kernel"].shape == (*inputs[1:], inputs[0], outputs)
        assert shapes[layer]["bias"].shape == (outputs,)
    head = build(variant, 2, start="fc7")
    assert set(jax.eval_shape(head.init, jax.random.key(0), jnp.zeros((1, 4096)))["params"]) == {"fc7", "fc8"}


def test_parameter_count_is_torchvisions():
    image = jax.ShapeDtypeStruct((1, 224, 224, 3), jnp.float32)
    made = jax.eval_shape(build("torchvision", 1000).init, jax.random.key(0), image)["params"]
    assert sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(made)) == 61_100_840  # torchvision's own figure


def test_initial_weights_are_uniform_within_one_over_root_fan_in():
    model = build("caffe", 2, start="conv2", stop="conv2")
    x = jnp.zeros((1, 13, 13, 96))
    layer = model.init(jax.random.key(0), x)["params"]["conv2"]
    bound = (5 * 5 * 48) ** -0.5  # of a group's 48 channels
    for leaf in layer.values():
        assert 0.95 * bound < jnp.abs(leaf).max() <= bound
    # SD of a uniform is bound/sqrt(3); of 307,200 draws it is within 1 %
    assert float(layer["kernel"].std()) == pytest.approx(bound / 3**0.5, rel=0.01)
    other = model.init(jax.random.key(1), x)["params"]["conv2"]
    assert not jnp.array_equal(layer["kernel"], other["kernel"])


@pytest.mark.parametrize("layer", ["fc6", "fc7"])
def test_dropout_places(layer):
    """x -> x + 1: dropped inputs give {1, 2x + 1} (torchvision), dropped outputs {0, 2(x + 1)} (Caffe)."""
    x = jnp.linspace(1, 2, 1024)[None]
    params = {layer: {"kernel": jnp.eye(1024), "bias": jnp.ones(1024)}}
    for variant, dropped, kept in (("torchvision", 1, 2 * x + 1), ("caffe", 0, 2 * (x + 1))):
        cut = {"start": layer, "stop": layer, "widths": (*[8] * 5, 1024, 1024)}
        out, activations = apply(variant, params, x, True, jax.random.key(0), **cut)
        is_kept = np.isclose(out, kept, rtol=1e-6)
        assert (is_kept | np.isclose(out, dropped)).all()
        # 1024 throws of a coin: 5 SD are 0.08
        assert is_kept.mean() == pytest.approx(0.5, abs=0.08)
        assert (np.asarray(activations[layer]) > 0).all()  # recorded right after ReLU, before Caffe's dropout
        still, _ = apply(variant, params, x, **cut)
        np.testing.assert_allclose(still, x + 1, rtol=1e-6)


def test_dropout_depends_on_the_key_alone(params):
    x = jnp.ones((1, 4096))
    fc7 = _layers(params["caffe"], "fc7", "fc7")
    one, again, other = (
        np.asarray(apply("caffe", fc7, x, True, jax.random.key(seed), start="fc7", stop="fc7")[0]) for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, other)


@pytest.mark.parametrize("variant", VARIANTS)
def test_no_dropout_elsewhere(params, variant):
    x = jnp.abs(jax.random.normal(jax.random.key(0), (2, 4096)))
    for train in (False, True):  # no key is needed
        logits, _ = apply(variant, _layers(params[variant], "fc8", "fc8"), x, train, start="fc8")
        np.testing.assert_array_equal(logits, apply(variant, params[variant], x, start="fc8")[0])
    maps = jax.random.normal(jax.random.key(1), (1, 13, 13, 384 if variant == "caffe" else 256))
    trained, _ = apply(variant, params[variant], maps, True, start="conv5", stop="conv5")
    np.testing.assert_array_equal(trained, apply(variant, params[variant], maps, start="conv5", stop="conv5")[0])


def test_vmap_over_weights_is_a_loop(params):
    conv2 = _layers(params["caffe"], "conv2", "conv2")
    seeds = [conv2, jax.tree.map(lambda leaf: -leaf, conv2)]
    x = jax.random.normal(jax.random.key(0), (2, 7, 7, 96))

    def run(params):
        return apply("caffe", params, x, start="conv2", stop="conv2")[0]

    together = jax.vmap(run)(jax.tree.map(lambda *leaves: jnp.stack(leaves), *seeds))
    for got, one in zip(together, seeds, strict=True):
        assert relative(got, np.asarray(run(one))) <= 1e-5


def test_between_conv5_and_fc6_stands_a_flat_map_channels_last():
    """A conv5 that hands its input through: the maximum of each 3x3 window, row by row, channels last."""
    kernel = jnp.zeros((3, 3, 256, 256)).at[1, 1].set(jnp.eye(256))
    params = {"conv5": {"kernel": kernel, "bias": jnp.zeros(256)}}
    x = jnp.arange(13 * 13 * 256, dtype=jnp.float32).reshape(1, 13, 13, 256)
    out, _ = apply("torchvision", params, x, start="conv5", stop="conv5")
    want = np.asarray(x)[0, 2::2, 2::2].reshape(1, 9216)  # values rise along every axis: the window's last corner
    np.testing.assert_array_equal(out, want)


@pytest.mark.parametrize("ceil", [False, True])
@pytest.mark.parametrize("window", [(3, 2, 0), (3, 2, 1), (2, 2, 0), (3, 1, 1)])
@pytest.mark.parametrize("size", [3, 4, 5, 14, 55])
def test_max_pool(size, window, ceil):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed; see test_max_pool_by_hand")
    x = np.random.default_rng(size).standard_normal((2, size, size + 1, 3), np.float32)
    want = torch.nn.functional.max_pool2d(torch.from_numpy(x).permute(0, 3, 1, 2), *window, ceil_mode=ceil)
    np.testing.assert_array_equal(layers.max_pool(jnp.asarray(x), ceil, *window), want.permute(0, 2, 3, 1))


def test_max_pool_by_hand():
    x = -jnp.arange(24.0).reshape(1, 4, 6, 1)  # negative: padding must not count as 0
    assert layers.max_pool(x, ceil=False)[0, :, :, 0].tolist() == [[0, -2]]
    assert layers.max_pool(x, ceil=True)[0, :, :, 0].tolist() == [[0, -2, -4], [-12, -14, -16]]


def test_local_response_norm_by_hand():
    x = [3.0, 0.0, -4.0, 1.0, 2.0, 5.0]
    alpha, beta, k = 10.0, 0.5, 2.0
    # size 3, mean share of alpha: k + alpha/3 * (squares of the neighbours)
    neighbours = [9, 25, 17, 21, 30, 29]
    want = [value / (k + alpha / 3 * s) ** beta for value, s in zip(x, neighbours, strict=True)]
    got = layers.local_response_norm(jnp.asarray(x)[None, None, None], 3, alpha, beta, k)
    np.testing.assert_allclose(got[0, 0, 0], want, rtol=1e-6)


def test_local_response_norm_equals_pytorch():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed; see the case by hand")
    x = np.random.default_rng(0).standard_normal((2, 5, 4, 96), np.float32) * 150
    norm = torch.nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=1.0)
    want = norm(torch.from_numpy(x).permute(0, 3, 1, 2)).permute(0, 2, 3, 1).numpy()
    assert np.abs(want / x).min() < 0.7  # the norm is felt
    np.testing.assert_allclose(layers.local_response_norm(jnp.asarray(x)), want, rtol=1e-5)


@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (6, 6), (7, 6), (6, 9), (8, 13), (12, 12), (31, 17)])
def test_adaptive_average_pool_equals_pytorch(shape):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed; see the case by hand")
    x = np.random.default_rng(0).standard_normal((2, *shape, 3), np.float32)
    want = torch.nn.functional.adaptive_avg_pool2d(torch.from_numpy(x).permute(0, 3, 1, 2), 6)
    got = layers.adaptive_average_pool(jnp.asarray(x), 6)
    np.testing.assert_allclose(got, want.permute(0, 2, 3, 1), atol=1e-6)  # values near 1, sums of at most 30
    mean = layers.adaptive_average_pool(jnp.asarray(x), 1)
    np.testing.assert_allclose(mean, x.mean((1, 2), keepdims=True), atol=1e-6)


def test_adaptive_average_pool_by_hand():
    x = jnp.asarray([[1.0, 2.0, 6.0]]).reshape(1, 1, 3, 1)
    assert layers.adaptive_average_pool(x, 2)[0, :, :, 0].tolist() == [[1.5, 4.0], [1.5, 4.0]]
    exact = jnp.arange(4.0).reshape(1, 2, 2, 1)
    assert layers.adaptive_average_pool(exact, 2) is exact


@pytest.mark.parametrize(("variant", "size"), [("torchvision", 62), ("caffe", 20)])
def test_image_of_which_nothing_is_left(variant, size):
    model = build(variant, 2, stop="conv5")
    with pytest.raises(ValueError, match=r"must leave 1 pixel or more of the map, got \(0, 0\)"):
        jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, size, size, 3)))


def test_unknown_variant_is_refused():
    with pytest.raises(ValueError, match="variant must be one of torchvision, caffe, got 'vgg'"):
        alexnet.AlexNet(variant="vgg")


def test_what_is_added_to_activations_goes_on():
    net = build("torchvision", 2, start="fc7")
    x = jax.random.normal(jax.random.key(0), (1, 4096))
    params = net.init(jax.random.key(1), x)["params"]
    plain, seen = net.apply({"params": params}, x)
    more, now = net.apply({"params": params}, x, taps={"fc7": jnp.ones((1, 4096))})
    np.testing.assert_allclose(now["fc7"].after, seen["fc7"].after + 1, atol=1e-6)
    np.testing.assert_array_equal(now["fc7"].before, seen["fc7"].before)
    np.testing.assert_allclose(more - plain, params["fc8"]["kernel"].sum(0)[None], atol=1e-3)
