"""Saliency maps in plain PyTorch, what `interpret.saliency` is compared with, for `torch_alexnet`'s random weights.

PyTorch is imported by the functions that need it, so that the golden file can be compared without it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cxrjax.models.registry import TORCHVISION
from tests.models import torch_alexnet

if TYPE_CHECKING:
    import torch

STEPS = 4  # of integrated gradients
BASELINE = 90.0  # grey level
DIRECTION = np.eye(torch_alexnet.CLASSES, dtype=np.float32)[1] - np.eye(torch_alexnet.CLASSES, dtype=np.float32)[0]


def images(size: int = 227, count: int = 2) -> np.ndarray:
    """[count, size, size] f32, 0..255: blocks of 8 pixels with fine noise, so that no pixel equals its neighbour."""
    rng = np.random.default_rng(size + 1)
    coarse = rng.uniform(20, 200, (count, -(-size // 8), -(-size // 8))).repeat(8, 1).repeat(8, 2)
    return (coarse[:, :size, :size] + rng.uniform(0, 50, (count, size, size))).astype(np.float32)


def maps(model: torch.nn.Module, pixels: np.ndarray) -> dict[str, np.ndarray]:
    """Gradient, integrated gradients by midpoints, and Grad-CAM of conv5 at its own resolution."""
    import torch

    from experiments import _torch_reference

    kept: list[torch.Tensor] = []
    hook = model.get_submodule("features.11").register_forward_hook(lambda module, inputs, out: kept.append(out))

    def score(x: torch.Tensor) -> torch.Tensor:
        return (model(_torch_reference.normalise(x, TORCHVISION)) @ torch.from_numpy(DIRECTION)).sum()

    def slope(x: torch.Tensor) -> torch.Tensor:
        x = x.requires_grad_()
        return torch.autograd.grad(score(x), x)[0]

    x = torch.from_numpy(pixels)
    black = torch.full_like(x, BASELINE)
    try:
        gradient = slope(x.clone())
        along = [slope(black + (k + 0.5) / STEPS * (x - black)) for k in range(STEPS)]
        kept.clear()
        whole = score(x.clone().requires_grad_())
        weights = torch.autograd.grad(whole, kept[0])[0].mean((2, 3), keepdim=True)
        cam = (weights * kept[0]).sum(1).relu()
    finally:
        hook.remove()
    integrated = (x - black) * torch.stack(along).mean(0)
    found = {"gradient": gradient, "integrated_gradients": integrated, "grad_cam": cam}
    return {name: value.detach().numpy() for name, value in found.items()}
