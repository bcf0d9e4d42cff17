"""PyTorch's own definitions of our networks, weights for them that only a seed defines, and what they give for them.

Weights are drawn name by name, so that PyTorch's state dict and `Model.variable_shapes` give the same ones. PyTorch is
imported by the functions that need it, so that golden files can be compared without it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import types
import zlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np
import pytest
from flax import traverse_util

from cxrjax.base import InputError
from cxrjax.models import pretrained, registry
from cxrjax.models.foreign_files import file_shape
from cxrjax.models.model import Model
from tests.models import narrow

if TYPE_CHECKING:
    import torch

CLASSES = 10
NAMES = tuple(
    name
    for name in registry.names()
    if registry.get(name).module.startswith("cxrjax.")
    and not name.startswith("alexnet")  # which has tests of its own
    and registry.get(name) not in narrow.NETWORKS
)
"""The networks that are compared: whatever is registered is, but for those that the tests register."""


def model_of(name: str) -> Model:
    """The record of a network, with few classes."""
    return dataclasses.replace(registry.get(name), num_classes=CLASSES)


def shapes_of(model: Model) -> dict[str, tuple[int, ...]]:
    """Name in a state dict -> shape there, of every array that we read."""
    paths = traverse_util.flatten_dict(model.variable_shapes())
    names = pretrained.state_names(model)
    return {names[path]: file_shape(leaf.shape, "OIHW") for path, leaf in paths.items()}


def random_state(shapes: Mapping[str, tuple[int, ...]], seed: int = 0) -> dict[str, np.ndarray]:
    """A state dict: kernels normal with variance 2/fan_in, BatchNorm's arrays near 0 and 1, and biases that are seen.

    So no layer fades or explodes, and the logits still tell images apart (`test_networks` looks).
    """
    state = {}
    for name, shape in shapes.items():
        rng = np.random.default_rng([zlib.crc32(name.encode()), seed])
        if len(shape) > 1:
            array = rng.standard_normal(shape, np.float32) * np.float32((2 / np.prod(shape[1:])) ** 0.5)
        elif name.endswith(("weight", "running_var")):
            array = rng.uniform(0.7, 1.7, shape).astype(np.float32)
        else:
            array = rng.standard_normal(shape, np.float32) * np.float32(0.2)
        state[name] = array
    return state


def random_images(size: int, count: int = 2) -> np.ndarray:
    """[count, size, size] u8: ramps of unlike slope, brightness and noise, so that the logits tell them apart."""
    rng = np.random.default_rng([size, count])
    y, x = np.mgrid[:size, :size] / size
    slopes = rng.uniform(-200, 200, (3, count, 1, 1))
    smooth = 128 + slopes[0] * (y - 0.5) + slopes[1] * (x - 0.5) + 0.3 * slopes[2]
    return np.clip(smooth + rng.normal(0, 40, (count, size, size)), 0, 255).astype(np.uint8)


@contextlib.contextmanager
def skipping() -> Iterator[types.ModuleType]:
    """Gives `experiments._torch_networks`; skips the test where PyTorch or a package of definitions is missing."""
    pytest.importorskip("torch", reason="PyTorch is not installed; the golden file stands for it")
    from experiments import _torch_networks

    try:
        yield _torch_networks
    except InputError as error:
        pytest.skip(f"{error}; the golden file stands for it")


def torchvision_models() -> types.ModuleType:
    """`torchvision.models`."""
    with skipping() as networks:
        return networks.torchvision_models()


def build(name: str, classes: int = CLASSES) -> torch.nn.Module:
    """PyTorch's definition of a network, in evaluation mode, random."""
    with skipping() as networks:
        return networks.build(dataclasses.replace(registry.get(name), num_classes=classes)).eval()


def load(module: torch.nn.Module, seed: int = 0) -> dict[str, np.ndarray]:
    """Fills a network with the weights of a seed; returns them."""
    import torch

    own = module.state_dict()
    floats = {name: tuple(tensor.shape) for name, tensor in own.items() if tensor.is_floating_point()}
    state = random_state(floats, seed)
    module.load_state_dict({**own, **{name: torch.from_numpy(array) for name, array in state.items()}})
    return state


def forward(module: torch.nn.Module, inputs: np.ndarray) -> np.ndarray:
    """Logits [B, K] of preprocessed inputs [B, H, W, C]."""
    import torch

    with torch.no_grad():
        return module(torch.from_numpy(np.moveaxis(inputs, -1, 1).copy())).numpy()


def gradient(module: torch.nn.Module, inputs: np.ndarray, dtype: type = np.float64) -> np.ndarray:
    """Gradient [B, H, W, C] of the logits @ `projection` with respect to the preprocessed inputs, in `dtype`.

    In float32 a unit near 0 falls on the other side of its ReLU, and one such unit moves the gradient by some 1e-2.
    """
    import torch

    x = torch.from_numpy(np.moveaxis(inputs, -1, 1).astype(dtype)).requires_grad_()
    logits = module.to(x.dtype)(x)
    (logits @ torch.from_numpy(projection(logits.shape[1]).astype(dtype))).sum().backward()
    module.float()
    return np.moveaxis(x.grad.numpy(), 1, -1)


def projection(classes: int) -> np.ndarray:
    """[K] f64: the weights of the sum of logits whose gradient is compared."""
    return np.random.default_rng(classes).standard_normal(classes)
