"""Retraining a network (`_torch_networks`) in plain PyTorch: what cxrjax is tested and timed against.

Images are [N, source, source] u8 tensors; batches are normalised to [B, C, crop, crop] f32, channels last in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import torch
from torch.nn import functional

from cxrjax.interpret.dream_parts import BandedSteps
from cxrjax.models.model import Model, Preprocessing

from ._torch_networks import Module

Tensor: TypeAlias = Any  # torch.Tensor; PyTorch's types are not checked
Compiler: TypeAlias = Callable[[Any], Any]
"""torch.compile, or a function that returns what it is given."""


def crop_flip(images: Tensor, offset: Tensor, flip: Tensor, crop: int) -> Tensor:
    """`augment.crop_flip`: [B, source, source], [B, 2], [B] -> [B, crop, crop], as one gather over the batch."""
    place = torch.arange(crop, device=images.device)
    across = torch.where(flip[:, None], crop - 1 - place, place)
    rows, columns = offset[:, :1] + place, offset[:, 1:] + across
    batch = torch.arange(len(images), device=images.device)
    return images[batch[:, None, None], rows[:, :, None], columns[:, None, :]]


def normalise(images: Tensor, preprocessing: Preprocessing) -> Tensor:
    """`augment.normalise`: grey [B, H, W], 0..255 -> [B, C, H, W] f32, channels last in memory."""
    mean, std = (
        torch.tensor(value, device=images.device).reshape(1, -1, 1, 1)
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

    crop_flip: Callable[[Tensor, Tensor, Tensor, int], Tensor]  # see `crop_flip`
    trunk: Callable[[Tensor], Tensor]  # [B, crop, crop] u8 -> what enters the head, without gradients
    loss: Callable[[Module, Tensor, Tensor], Tensor]  # head, its inputs, labels -> mean cross-entropy
    logits: Callable[[Module, Tensor], Tensor]
    dream: Callable[[Module, Tensor], Tensor]  # head in evaluation mode, grey image -> the image after one iteration


def program(trunk: Module, model: Model, device: str, compiler: Compiler) -> Program:
    """Puts the functions together.

    Args:
      trunk: frozen layers; if there are none, the head's inputs are the pixels, and normalised there.
      model: the network; its dtype is float32, or bfloat16 by autocast.
      device: cpu or cuda.
      compiler: see `Compiler`.
    """
    from_pixels, preprocessing = len(trunk) == 0, model.preprocessing

    def cast() -> Any:
        return torch.autocast(device, torch.bfloat16, enabled=model.dtype == "bfloat16")

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
