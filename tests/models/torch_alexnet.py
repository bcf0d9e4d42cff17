"""Weights for PyTorch's AlexNet (`experiments._torch_networks`) that only a seed defines, and what it gives for them.

Parameters have torchvision's names (features.0.weight ... classifier.6.bias) in both variants. PyTorch is imported by
the functions that need it, so that the golden file can be compared without it.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch

CLASSES = 10
CONV_SHAPES = {
    "torchvision": ((64, 3, 11, 11), (192, 64, 5, 5), (384, 192, 3, 3), (256, 384, 3, 3), (256, 256, 3, 3)),
    "caffe": ((96, 3, 11, 11), (256, 48, 5, 5), (384, 256, 3, 3), (384, 192, 3, 3), (256, 192, 3, 3)),
}
MODULES = (*(f"features.{i}" for i in (0, 3, 6, 8, 10)), *(f"classifier.{i}" for i in (1, 4, 6)))
LAYERS = ("conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8")
AFTER_RELU = (*(f"features.{i}" for i in (1, 4, 7, 9, 11)), "classifier.2", "classifier.5", "classifier.6")


def shapes(variant: str) -> dict[str, tuple[int, ...]]:
    """Name of each kernel -> shape, [out, in, height, width] or [out, in]."""
    dense = ((4096, 9216), (4096, 4096), (CLASSES, 4096))
    return dict(zip(MODULES, (*CONV_SHAPES[variant], *dense), strict=True))


@functools.cache  # 57 million draws; callers leave the arrays as they are
def random_state(variant: str, seed: int = 0) -> dict[str, np.ndarray]:
    """A state dict: kernels normal with variance 2/fan_in, so that no layer fades, and biases that are seen."""
    rng = np.random.default_rng(seed)
    state = {}
    for module, shape in shapes(variant).items():
        fan_in = np.prod(shape[1:])
        state[f"{module}.weight"] = rng.standard_normal(shape, np.float32) * np.float32((2 / fan_in) ** 0.5)
        state[f"{module}.bias"] = rng.standard_normal(shape[0], np.float32)
    return state


def random_images(variant: str, size: int, count: int = 2) -> np.ndarray:
    """[count, size, size, 3] f32. Caffe's inputs reach 150, and its local response norm is felt only there."""
    scale = 100 if variant == "caffe" else 1
    return np.random.default_rng(size).standard_normal((count, size, size, 3), np.float32) * scale


def build(variant: str, state: dict[str, np.ndarray]) -> torch.nn.Module:
    """The network in evaluation mode with the given weights; it takes [B, 3, H, W]."""
    import torch

    from cxrjax.models import registry
    from experiments import _torch_networks

    network = {"torchvision": registry.ALEXNET, "caffe": registry.ALEXNET_CAFFE}[variant]
    model = _torch_networks.build(dataclasses.replace(network, num_classes=CLASSES))
    model.load_state_dict({name: torch.from_numpy(array) for name, array in state.items()})
    return model.eval()


def forward(model: torch.nn.Module, images: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Logits and, by layer, the activations right after ReLU (fc8: the logits), channels last."""
    import torch

    seen: dict[str, np.ndarray] = {}

    def keep(layer: str):
        def hook(module: torch.nn.Module, inputs: tuple, output: torch.Tensor) -> None:
            seen[layer] = np.moveaxis(output.numpy(), 1, -1)

        return hook

    hooks = [
        model.get_submodule(name).register_forward_hook(keep(layer))
        for layer, name in zip(LAYERS, AFTER_RELU, strict=True)
    ]
    try:
        with torch.no_grad():
            logits = model(torch.from_numpy(np.moveaxis(images, -1, 1).copy())).numpy()
    finally:
        for hook in hooks:
            hook.remove()
    return logits, seen


def sample(array: np.ndarray, count: int = 24) -> np.ndarray:
    """Values at evenly spread places of the flattened array, and its mean and largest at the end: for a small file."""
    flat = array.reshape(-1)
    places = np.linspace(0, len(flat) - 1, count).astype(int)
    return np.array([*flat[places], flat.mean(dtype=np.float64), flat.max()], np.float32)
