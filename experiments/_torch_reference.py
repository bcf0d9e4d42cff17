"""AlexNet and its retraining in plain PyTorch, with torchvision's names: what cxrjax is tested and timed against.

Sources: torchvision/models/alexnet.py (Krizhevsky 2014, arXiv:1404.5997), bvlc_alexnet/train_val.prototxt. Images are
[N, 256, 256] u8 tensors; batches are normalised to [B, 3, 227, 227] f32, channels last in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from cxrjax.base import Params
from cxrjax.interpret.dream_parts import BandedSteps
from cxrjax.models.alexnet import POOLED
from cxrjax.models.alexnet import STAGES as LAYERS
from cxrjax.models.model import Preprocessing
from cxrjax.models.registry import ALEXNET

Tensor: TypeAlias = Any  # torch.Tensor; PyTorch's types are not checked
Module: TypeAlias = Any
Compiler: TypeAlias = Callable[[Any], Any]
"""torch.compile, or a function that returns what it is given."""

MODULES = (*(f"features.{i}" for i in (0, 3, 6, 8, 10)), *(f"classifier.{i}" for i in (1, 4, 6)))
"""Of conv1, ..., fc8."""


def build(variant: str, num_classes: int) -> Module:
    """The whole network, in training mode, with random weights; it takes [B, 3, H, W]."""
    features, classifier = {"torchvision": _torchvision, "caffe": _caffe}[variant](num_classes)
    model = nn.Sequential()
    model.add_module("features", nn.Sequential(*features))
    model.add_module("avgpool", nn.AdaptiveAvgPool2d(POOLED))
    model.add_module("flatten", nn.Flatten())
    model.add_module("classifier", nn.Sequential(*classifier))
    return model


def _torchvision(num_classes: int) -> tuple[list[Module], list[Module]]:
    features = [
        *(nn.Conv2d(3, 64, 11, stride=4, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2)),
        *(nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2)),
        *(nn.Conv2d(192, 384, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(384, 256, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(256, 256, 3, padding=1), nn.ReLU(), nn.MaxPool2d(3, 2)),
    ]
    classifier = [
        *(nn.Dropout(), nn.Linear(9216, 4096), nn.ReLU()),
        *(nn.Dropout(), nn.Linear(4096, 4096), nn.ReLU()),
        nn.Linear(4096, num_classes),
    ]
    return features, classifier


def _caffe(num_classes: int) -> tuple[list[Module], list[Module]]:
    """Norm and pool share a place, so that the names are torchvision's."""

    def norm_and_pool() -> Module:
        norm = nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=1.0)
        return nn.Sequential(norm, nn.MaxPool2d(3, 2, ceil_mode=True))

    features = [
        *(nn.Conv2d(3, 96, 11, stride=4), nn.ReLU(), norm_and_pool()),
        *(nn.Conv2d(96, 256, 5, padding=2, groups=2), nn.ReLU(), norm_and_pool()),
        *(nn.Conv2d(256, 384, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(384, 384, 3, padding=1, groups=2), nn.ReLU()),
        *(nn.Conv2d(384, 256, 3, padding=1, groups=2), nn.ReLU(), nn.MaxPool2d(3, 2, ceil_mode=True)),
    ]
    classifier = [
        *(nn.Identity(), nn.Linear(9216, 4096), nn.Sequential(nn.ReLU(), nn.Dropout())),
        *(nn.Identity(), nn.Linear(4096, 4096), nn.Sequential(nn.ReLU(), nn.Dropout())),
        nn.Linear(4096, num_classes),
    ]
    return features, classifier


def state_dict(params: Params) -> dict[str, Tensor]:
    """Layers in cxrjax's layout as a state dict: undoes `pretrained.from_state_dict`.

    Args:
      params: convolutions HWIO, dense kernels [in, out], fc6 reading height, width, channel.
    """
    state = {}
    for layer, module in zip(LAYERS, MODULES, strict=True):
        if layer not in params:
            continue
        kernel = np.asarray(params[layer]["kernel"])
        if layer == "fc6":
            outputs = kernel.shape[1]
            kernel = kernel.reshape(POOLED, POOLED, -1, outputs).transpose(2, 0, 1, 3).reshape(-1, outputs)
        kernel = kernel.transpose(3, 2, 0, 1) if kernel.ndim == 4 else kernel.T
        state[f"{module}.weight"] = torch.from_numpy(np.array(kernel, order="C"))
        state[f"{module}.bias"] = torch.from_numpy(np.array(params[layer]["bias"]))
    return state


def filled(variant: str, num_classes: int, params: Params, device: str) -> Module:
    """The network with these weights, channels last, in training mode; `params` holds all eight layers."""
    with torch.device("meta"):  # no time for random weights
        model = build(variant, num_classes)
    model.load_state_dict(state_dict(params), assign=True)
    return model.to(device=device, memory_format=torch.channels_last)


def cut(model: Module, retrain_from: str) -> tuple[Module, Module]:
    """Trunk and head; the trunk in evaluation mode and frozen, dropout before a dense layer belonging to the head."""
    parts = [*model.features, model.avgpool, model.flatten, *model.classifier]
    module = model.get_submodule(MODULES[LAYERS.index(retrain_from)])
    start = next(i for i, part in enumerate(parts) if part is module)
    if start and isinstance(parts[start - 1], nn.Dropout | nn.Identity):
        start -= 1
    trunk = nn.Sequential(*parts[:start]).eval().requires_grad_(False)
    return trunk, nn.Sequential(*parts[start:])


def crop_flip(images: Tensor, offset: Tensor, flip: Tensor) -> Tensor:
    """`augment.crop_flip`: [B, 256, 256], [B, 2], [B] -> [B, 227, 227], as one gather over the batch."""
    place = torch.arange(ALEXNET.crop, device=images.device)
    across = torch.where(flip[:, None], ALEXNET.crop - 1 - place, place)
    rows, columns = offset[:, :1] + place, offset[:, 1:] + across
    batch = torch.arange(len(images), device=images.device)
    return images[batch[:, None, None], rows[:, :, None], columns[:, None, :]]


def normalise(images: Tensor, preprocessing: Preprocessing) -> Tensor:
    """`augment.normalise`: grey [B, H, W], 0..255 -> [B, 3, H, W] f32, channels last in memory."""
    mean, std = (
        torch.tensor(value, device=images.device).reshape(1, 3, 1, 1)
        for value in (preprocessing.mean, preprocessing.std)
    )
    colour = (images.float()[:, None] * (preprocessing.range / 255) - mean) / std
    return colour.contiguous(memory_format=torch.channels_last)


def dream_direction(gradient: Tensor) -> Tensor:
    """`dream_parts.equalise_bands` of [H, W]."""
    shape = gradient.shape
    total, rest, least = torch.zeros_like(gradient), gradient, 1e-4 * _size(gradient)
    for _ in range(BandedSteps().bands):
        low = _resize(rest, [max(1, side // 2) for side in rest.shape])
        total = total + _resize(_unit(rest - _resize(low, rest.shape), least), shape)
        rest = low
    return _unit(total + _resize(_unit(rest, least), shape), 0)


def _resize(x: Tensor, shape: Any) -> Tensor:
    return functional.interpolate(x[None, None], size=tuple(shape), mode="bilinear", antialias=True)[0, 0]


def _unit(x: Tensor, least: Any) -> Tensor:
    return x / (_size(x).clamp_min(least) + 1e-12)


def _size(x: Tensor) -> Tensor:
    return x.square().mean().sqrt()


class Learner(NamedTuple):
    """One seed: the head that is retrained and its optimiser."""

    head: Module
    optimiser: Any


class Program(NamedTuple):
    """The functions of one way to run PyTorch, eager or compiled."""

    crop_flip: Callable[[Tensor, Tensor, Tensor], Tensor]  # see `crop_flip`
    trunk: Callable[[Tensor], Tensor]  # [B, 227, 227] u8 -> what enters the head, without gradients
    loss: Callable[[Module, Tensor, Tensor], Tensor]  # head, its inputs, labels -> mean cross-entropy
    logits: Callable[[Module, Tensor], Tensor]
    dream: Callable[[Module, Tensor], Tensor]  # head in evaluation mode, grey image -> the image after one iteration


def program(trunk: Module, preprocessing: Preprocessing, device: str, dtype: str, compiler: Compiler) -> Program:
    """Puts the functions together.

    Args:
      trunk: frozen layers; if there are none, the head's inputs are the pixels, and normalised there.
      preprocessing: of the pixels.
      device: cpu or cuda.
      dtype: float32, or bfloat16 by autocast.
      compiler: see `Compiler`.
    """
    from_pixels = len(trunk) == 0

    def cast() -> Any:
        return torch.autocast(device, torch.bfloat16, enabled=dtype == "bfloat16")

    def enter(pixels: Tensor) -> Tensor:
        return pixels if from_pixels else trunk(normalise(pixels, preprocessing))

    def logits(head: Module, inputs: Tensor) -> Tensor:
        with cast():
            return head(normalise(inputs, preprocessing) if from_pixels else inputs)

    def loss(head: Module, inputs: Tensor, labels: Tensor) -> Tensor:
        return functional.cross_entropy(logits(head, inputs).float(), labels)

    def frozen(pixels: Tensor) -> Tensor:
        with torch.no_grad(), cast():
            return enter(pixels)

    def objective(head: Module, image: Tensor) -> Tensor:
        with cast():
            inputs = enter(image[None])
        return logits(head, inputs).float()[0, 1]

    objective = compiler(objective)

    def ascend(head: Module, image: Tensor) -> Tensor:
        image = image.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(objective(head, image), image)
        return (image.detach() + BandedSteps().step * dream_direction(gradient)).clamp(0, 255)

    return Program(compiler(crop_flip), compiler(frozen), compiler(loss), compiler(logits), ascend)


def dream_octaves(run: Program, head: Module, start: Tensor, sizes: Sequence[int], iterations: int) -> Tensor:
    """`dream.dream` of one network: an image of `start`'s kind [H, H] grown through the sizes."""
    image = start
    for side in sizes:
        image = functional.interpolate(image[None, None], size=(side, side), mode="bilinear")[0, 0]
        for _ in range(iterations):
            image = run.dream(head, image)
    return image


def step(run: Program, learner: Learner, inputs: Tensor, labels: Tensor) -> Tensor:
    """One step of stochastic gradient descent; returns the loss before it."""
    learner.optimiser.zero_grad(set_to_none=True)
    loss = run.loss(learner.head, inputs, labels)
    loss.backward()
    learner.optimiser.step()
    return loss.detach()
