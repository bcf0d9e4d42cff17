"""Every registered network against PyTorch (live, and by the golden file without it), its own parts, and its uses.

Tolerance of logits: the largest difference may be 1e-4 of the largest logit; float32 sums in another order differ by
some 1e-6 of it. Gradients are compared whole in float64, to 1e-6, where the image is small (XLA's float64 convolutions
are slow on CPU), and at the networks' sizes in float32: there a unit close to 0 is on in one of them and off in the
other, PyTorch's own float32 gradient differs from its float64 one by up to 6 % of the largest, so half of the pixels
shall differ by at most 1e-4, 99 of 100 by 5e-3, or by twice what PyTorch's own do. Of a network's parts, which are
the same sums in the same order, 1e-5.
"""

from __future__ import annotations

import dataclasses
import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import logsumexp

from cxrjax.base import InputError
from cxrjax.interpret import dream, grad_cam, objectives, saliency
from cxrjax.models import convert, pretrained, registry, transfer
from cxrjax.models.augment import normalise
from tests.golden.make_networks import FILE, SIZE
from tests.models import torch_alexnet, torch_networks
from tests.models.torch_networks import NAMES

OTHER_SIZE = 288
LARGE = ("vgg16",)  # 134 million random numbers take seconds
FAST = {registry.get(name).module: name for name in reversed(NAMES) if name not in LARGE}.values()
EACH = [pytest.param(name, marks=() if name in FAST else pytest.mark.slow) for name in NAMES]
"""In the fast tests one network of each module."""
NARROW = {
    "resnet18": {"blocks": (2, 1, 1, 1), "width": 4},
    "resnet50": {"blocks": (2, 1, 1, 1), "width": 4},
    "densenet121": {"layers": (2, 1, 1, 2), "growth": 4},
    "densenet121-xrv": {"layers": (1, 1, 1, 1), "growth": 4},
    "vgg16": {"divisor": 16},
    "googlenet": {"divisor": 8},
    "efficientnet-lite0": {"divisor": 8},
}
"""Options that leave few weights, so that all stages run in a moment; without any the network itself runs."""
FEW_STAGES = {
    "vgg16": ("conv1_1", "conv1_2", "conv5_3", "fc6", "fc7", "fc8"),
    "googlenet": ("conv1", "conv2", "3b", "5b", "fc"),
    "efficientnet-lite0": ("stem", "block1", "block2", "block3", "top", "classifier"),
}
"""Some stages of each kind, which make a network too, where all of them take long to compile."""


def narrow(name, **fields):
    model = registry.get(name)
    options = tuple((dict(model.options) | NARROW.get(name, {})).items())
    return dataclasses.replace(model, options=options, num_classes=torch_networks.CLASSES, **fields)


def variables_of(model):
    """Random ones, with statistics and affine parameters that are seen."""
    return pretrained.from_state_dict(torch_networks.random_state(torch_networks.shapes_of(model)), model)


def relative(got, want):
    """Largest difference in parts of the largest value."""
    assert got.shape == want.shape
    return np.abs(np.asarray(got) - want).max() / np.abs(want).max()


def gradient(model, variables, inputs):
    """As `torch_networks.gradient`."""
    with jax.enable_x64(True):
        network = dataclasses.replace(model, dtype="float64").build()
        variables, x = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), (variables, inputs))
        return np.asarray(_gradient(network, variables, x))


# The variables are an argument: as constants of the program, VGG16's 134 million float64 are more than XLA can store.
@functools.partial(jax.jit, static_argnums=0)
def _gradient(network, variables, x):
    direction = jnp.asarray(torch_networks.projection(torch_networks.CLASSES), x.dtype)
    return jax.grad(lambda x: (network.apply(variables, x)[0] @ direction).sum())(x)


@pytest.mark.parametrize("name", EACH)
def test_golden(name):
    model = torch_networks.model_of(name)
    got = _forward(model, variables_of(model), torch_networks.random_images(SIZE))
    with np.load(FILE) as golden:
        want = golden[f"{name}/logits"]
    assert relative(got.output, want) <= 1e-4
    assert np.ptp(want, axis=0).mean() > 0.01 * np.abs(want).max()  # the image is felt


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_golden_gradient(name):
    model = torch_networks.model_of(name)
    inputs = normalise(torch_networks.random_images(SIZE), model.preprocessing)
    got = gradient(model, variables_of(model), inputs)
    with np.load(FILE) as golden:
        assert relative(torch_alexnet.sample(got), golden[f"{name}/gradient"]) <= 1e-6


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_equals_pytorch(name, tmp_path):
    """A state dict that PyTorch wrote, read, gives PyTorch's logits and gradient, at the network's size and another."""
    model, module = torch_networks.model_of(name), torch_networks.build(name)
    import torch

    torch_networks.load(module)
    torch.save(module.state_dict(), tmp_path / "network.pth")
    variables = convert.read_state_dict(tmp_path / "network.pth", model)
    (tmp_path / "network.pth").unlink()
    run = jax.jit(transfer.forward, static_argnums=0)
    network = model.build()
    for size in (model.crop, OTHER_SIZE):
        images = torch_networks.random_images(size, 8)
        inputs = np.asarray(normalise(images, model.preprocessing))
        assert relative(run(model, variables, images).output, torch_networks.forward(module, inputs)) <= 1e-4
        got, want = _gradient(network, variables, inputs[:2]), torch_networks.gradient(module, inputs[:2])
        own = torch_networks.gradient(module, inputs[:2], np.float32)
        ours, theirs = (np.quantile(np.abs(np.asarray(g) - want), (0.5, 0.99)) / np.abs(want).max() for g in (got, own))
        assert (ours <= np.maximum((1e-4, 5e-3), 2 * theirs)).all()


def cut_case(name, train, stages=None):
    """A narrow network, its variables, three images of which one is masked, and how it is run."""
    model = narrow(name, crop=max(32, registry.get(name).smallest))
    model = dataclasses.replace(model, stages=stages or model.stages)
    mask = jnp.array([True, False, True])
    mode = {"train": True, "rngs": {"dropout": jax.random.key(0)}, "batch_mask": mask} if train else {}
    return model, variables_of(model), torch_networks.random_images(model.crop, 3), mode


_forward = jax.jit(
    transfer.forward,
    static_argnames=("model", "start", "stop", "train"),
    compiler_options={"xla_backend_optimization_level": 0},  # two thirds of the time
)


@pytest.mark.parametrize("name", {registry.get(name).module: name for name in reversed(NAMES)}.values())
def test_stages_one_by_one_are_the_whole(name):
    """In training: units are dropped, and BatchNorm takes and keeps the statistics of unmasked examples.

    A stage's statistics are those of what the stage before it gives, so all are trained with the same mask.
    """
    model, variables, x, mode = cut_case(name, True, FEW_STAGES.get(name))
    whole, batch_stats = _forward(model, variables, x, **mode), {}
    for stage in model.stages:
        part = _forward(model, pretrained.select(variables, [stage]), x, start=stage, stop=stage, **mode)
        assert relative(part.activations[stage].before, whole.activations[stage].before) <= 1e-5
        batch_stats |= part.batch_stats
        x = part.output
    assert relative(x, whole.output) <= 1e-5
    jax.tree.map(lambda got, want: np.testing.assert_allclose(got, want, 1e-5, 1e-5), batch_stats, whole.batch_stats)


@pytest.mark.slow
@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_trunk_then_head_is_the_whole(name, train):
    """At every cut, in evaluation, too; see `test_stages_one_by_one_are_the_whole`."""
    model, variables, images, mode = cut_case(name, train)
    whole = _forward(model, variables, images, **mode)
    for start in model.stages[1:]:
        trunk = _forward(model, variables, images, stop=model.before(start), **mode)
        head = _forward(model, variables, trunk.output, start=start, **mode)
        assert relative(head.output, whole.output) <= 1e-5
        assert {*trunk.activations, *head.activations} == set(model.stages)
        if train:
            parts = {**trunk.batch_stats, **{k: head.batch_stats[k] for k in head.activations if k in head.batch_stats}}
            jax.tree.map(lambda got, want: np.testing.assert_allclose(got, want, 1e-5, 1e-5), parts, whole.batch_stats)


def test_names_of_older_files_are_read():
    """torchvision's densenet121-a639ec97.pth has names of before PyTorch 0.4, ...denselayer1.norm.1.weight."""
    model = narrow("densenet121")
    state = torch_networks.random_state(torch_networks.shapes_of(model))
    older = {
        re.sub(r"(norm|conv)(\d\.)", r"\1.\2", name) if "denselayer" in name else name: state[name] for name in state
    }
    assert "features.denseblock1.denselayer1.norm.1.running_var" in older
    jax.tree.map(
        np.testing.assert_array_equal,
        pretrained.from_state_dict(older, model),
        pretrained.from_state_dict(state, model),
    )


@pytest.mark.parametrize("name", NAMES)
def test_pooling_is_replaced_where_a_network_pools_its_last_map(name):
    model = narrow(name, crop=96)  # leaves maps of 3 pixels a side
    stage = model.before(model.dense[0])
    assert model.global_pooling == (model.input_shape(model.dense[0])[1:] == (model.width(stage),))
    if not model.global_pooling:
        with pytest.raises(InputError, match=f"lse_r=10: {model.label} has no global average pooling; resnet18, "):
            model.with_pooling(10)
        return
    other, variables, images = model.with_pooling(10), variables_of(model), torch_networks.random_images(model.crop, 2)
    assert other.variable_shapes() == model.variable_shapes()
    seen = _forward(other, variables, images, stop=stage)
    x = np.asarray(seen.activations[stage].after, np.float64)
    expected = logsumexp(10 * x, axis=(1, 2), b=1 / np.prod(x.shape[1:3])) / 10
    assert relative(seen.output, expected) <= 1e-6
    average = _forward(model, variables, images, stop=stage).output
    assert relative(average, x.mean((1, 2))) <= 1e-6 < relative(seen.output, np.asarray(average))


def uses_of(model):
    """A network to be dreamt of and explained, its variables and an image."""
    net = transfer.Network(model, None, None, None, (), False)
    return net, jax.tree.map(jnp.asarray, variables_of(model)), torch_networks.random_images(model.crop, 1)


def check_dream(net, variables, stage):
    objective, direction = objectives.channel_objective(net, stage), objectives.one_hot(net, stage, 1)
    start = dream.noise(jax.random.key(0), net.model.crop)[None]
    dreams = dream.dream(objective, (variables, direction), start, dream.Ascent(iterations=3, octaves=1))
    assert dreams.scores[0, -1] > dreams.scores[0, 0], stage


def check_map(net, variables, images, method):
    odds, key = objectives.log_odds(net), jax.random.key(0)
    for_and_against = [saliency.METHODS[method](key, net, variables, images, way) for way in (odds, -odds)]
    for energy in for_and_against:
        assert energy.shape == images.shape
        assert np.isfinite(energy).all()
        assert float(energy.min()) >= 0
    # Grad-CAM keeps what speaks for a class: of two opposed ones something speaks for one.
    assert max(float(energy.max()) for energy in for_and_against) > 0


def test_a_network_with_batch_norm_dreams_and_is_explained():
    net, variables, images = uses_of(narrow("resnet18", crop=32))
    check_dream(net, variables, "layer2")
    check_map(net, variables, images, "grad_cam")


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_every_network_dreams_and_is_explained(name):
    model = dataclasses.replace(torch_networks.model_of(name), crop=max(64, registry.get(name).smallest))
    net, variables, images = uses_of(model)
    for stage in (model.dreamt[0], model.logits):
        check_dream(net, variables, stage)
    for method in saliency.METHODS:
        check_map(net, variables, images, method)


@pytest.mark.parametrize("name", ["resnet18", "densenet121"])
def test_cells_of_maps_lie_where_the_windows_say(name):
    """One cell is moved by the pixels around its centre alone, as many above it as below."""
    model = narrow(name, crop=224)
    variables = variables_of(model)
    for stage in dict.fromkeys((model.stages[0], model.dreamt[1])):
        net = transfer.Network(model, None, None, None, (), False)
        width = model.width(stage)
        first, pitch = grad_cam.centres(model, stage)
        place = round((112 - first) / pitch)
        objective = objectives.channel_objective(net, stage, place=(place, place))
        images = torch_networks.random_images(model.crop, 1)
        seen = np.asarray(saliency.gradient(objective, (variables, jnp.ones(width)), images))[0] != 0
        for axis in (0, 1):
            moved = np.flatnonzero(seen.any(axis))
            # A ReLU that is closed may hide an edge of what the cell sees.
            assert (moved.min() + moved.max()) / 2 == pytest.approx(first + pitch * place, abs=pitch / 2), stage
