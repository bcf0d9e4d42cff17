"""EfficientNet-Lite0 (Tan & Le 2019, arXiv:1905.11946; TensorFlow's Lite: ReLU6, no squeeze and excitation).

Convolutions have TensorFlow's padding, BatchNorm epsilon 1e-3 and a share of 0.01 of the batch. In training a block
that is added to its input is left out for whole examples (stochastic depth, Huang et al. 2016, arXiv:1603.09382), the
more often the deeper, up to 0.2.
"""

from __future__ import annotations

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from cxrjax.models import registry
from cxrjax.models.model import SAME, Window
from cxrjax.models.staged import ConvNorm, Run, Staged, dense, dropout


class Group(NamedTuple):
    """Blocks one after the other, of which the first may halve the map."""

    first: int  # index of its first block among all
    repeats: int
    kernel: int
    stride: int
    expansion: int  # features inside a block, times those of its input
    features: int


GROUPS = {
    "block1": Group(0, 1, 3, 1, 1, 16),
    "block2": Group(1, 2, 3, 2, 6, 24),
    "block3": Group(3, 2, 5, 2, 6, 40),
    "block4": Group(5, 3, 3, 2, 6, 80),
    "block5": Group(8, 3, 5, 1, 6, 112),
    "block6": Group(11, 4, 5, 2, 6, 192),
    "block7": Group(15, 1, 3, 1, 6, 320),
}
BLOCKS, LEFT_OUT = 16, 0.2
EPSILON, MOMENTUM = 1e-3, 0.01
STEM, POINT = Window(3, 2, SAME), Window(1, 1, 0)


def relu6(x: jax.Array) -> jax.Array:
    """min(max(x, 0), 6)."""
    return jnp.minimum(nn.relu(x), 6)


def _convolve(
    features: int, window: Window, dtype: jnp.dtype | None, name: str, x: jax.Array, run: Run, groups: int = 1
) -> jax.Array:
    out: jax.Array = ConvNorm(features, window, dtype, EPSILON, groups, MOMENTUM, name=name)(x, run.batch_mask)
    return out


class Block(nn.Module):
    """1x1 to more features, a convolution of each alone, 1x1 to fewer, without ReLU (Sandler et al. 2018,
    arXiv:1801.04381); where the shape stays, added to its input.

    Attributes:
      window: of the convolution in the middle.
      expansion: features inside, times those of its input.
      features: of its result.
      left_out: share of the examples.
      dtype: see `Staged`.
    """

    window: Window
    expansion: int
    features: int
    left_out: float
    dtype: jnp.dtype | None

    @nn.compact
    def __call__(self, x: jax.Array, run: Run) -> jax.Array:
        """[B, H, W, C] -> [B, h, w, features]."""
        inside, out = x.shape[-1] * self.expansion, x
        if self.expansion > 1:
            out = relu6(_convolve(inside, POINT, self.dtype, "expand", out, run))
        out = relu6(_convolve(inside, self.window, self.dtype, "depthwise", out, run, groups=inside))
        out = _convolve(self.features, POINT, self.dtype, "project", out, run)
        if out.shape != x.shape:
            return out
        return x + nn.Dropout(self.left_out, broadcast_dims=(1, 2, 3), deterministic=not run.train)(out)


class Blocks(nn.Module):
    """The blocks of a group, called by their indices among all.

    Attributes:
      group: what they are.
      features: of each.
      dtype: see `Staged`.
    """

    group: Group
    features: int
    dtype: jnp.dtype | None

    @nn.compact
    def __call__(self, x: jax.Array, run: Run) -> jax.Array:
        """[B, H, W, C] -> [B, h, w, features]."""
        group = self.group
        for i in range(group.first, group.first + group.repeats):
            window = Window(group.kernel, group.stride if i == group.first else 1, SAME)
            left_out = LEFT_OUT * i / BLOCKS
            x = Block(window, group.expansion, self.features, left_out, self.dtype, name=f"{i}")(x, run)
        return x


class EfficientNetLite(Staged):
    """Some stages of EfficientNet-Lite0.

    Attributes:
      divisor: all published widths are divided by it.
    """

    divisor: int = 1

    def compute(self, stage: str, x: jax.Array, run: Run) -> jax.Array:
        """A convolution, blocks, or the dense layer."""
        if stage in GROUPS:
            group = GROUPS[stage]
            out: jax.Array = Blocks(group, group.features // self.divisor, self.dtype, name=stage)(x, run)
            return out
        if stage in ("stem", "top"):
            features, window = (32, STEM) if stage == "stem" else (1280, POINT)
            return _convolve(features // self.divisor, window, self.dtype, stage, x, run)
        x = dropout(registry.EFFICIENTNET_LITE0.dropout, stage, x, run)
        return dense(self.num_classes, x, stage, self.dtype)

    def activate(self, stage: str, x: jax.Array) -> jax.Array:
        """ReLU6 after stem and top; blocks are linear at their end."""
        return relu6(x) if stage in ("stem", "top") else x

    def finish(self, stage: str, x: jax.Array, run: Run) -> jax.Array:
        """The last map pooled."""
        return self.pool(x) if stage == "top" else x

    def windows(self, stage: str) -> tuple[Window, ...]:
        """From the image to a stage's map."""
        windows = [STEM]
        for name in registry.EFFICIENTNET_LITE0.between("stem", stage):
            if name in GROUPS:
                group = GROUPS[name]
                kept = Window(group.kernel, 1, SAME)
                windows += [Window(group.kernel, group.stride, SAME), *[kept] * (group.repeats - 1)]
        return tuple(windows)
