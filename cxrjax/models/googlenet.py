"""GoogLeNet (Szegedy et al. 2014, arXiv:1409.4842) as torchvision has it.

BatchNorm with epsilon 1e-3 follows every convolution, maxima take the last, incomplete window, too, and branch3 has
3x3 convolutions where the paper has 5x5 ones. The auxiliary classifiers are left out.
"""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp

from cxrjax.models import layers, registry
from cxrjax.models.model import Window
from cxrjax.models.staged import ConvNorm, Run, Staged, dense, dropout

EPSILON = 1e-3
POINT, AROUND = Window(1, 1, 0), Window(3, 1, 1)
CONVOLUTIONS = {"conv1": (64, Window(7, 2, 3)), "conv2": (64, POINT), "conv3": (192, AROUND)}
INCEPTIONS = {
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}
POOLINGS = {"conv1": Window(3, 2, 0), "conv3": Window(3, 2, 0), "3b": Window(3, 2, 0), "4e": Window(2, 2, 0)}


class Inception(nn.Module):
    """Four branches beside each other, joined before their last ReLU.

    Attributes:
      features: of branch1, of the two convolutions of branch2 and of branch3, of branch4, [6].
      dtype: see `Staged`.
    """

    features: tuple[int, ...]
    dtype: jnp.dtype | None

    @nn.compact
    def __call__(self, x: jax.Array, batch_mask: jax.Array | None) -> jax.Array:
        """[B, H, W, C] -> [B, H, W, features of the four]."""

        def convolve(name: str, features: int, window: Window, x: jax.Array) -> jax.Array:
            out: jax.Array = ConvNorm(features, window, self.dtype, EPSILON, name=name)(x, batch_mask)
            return out

        branch1, reduced2, branch2, reduced3, branch3, branch4 = self.features
        branches = (
            convolve("branch1", branch1, POINT, x),
            convolve("branch2_1", branch2, AROUND, nn.relu(convolve("branch2_0", reduced2, POINT, x))),
            convolve("branch3_1", branch3, AROUND, nn.relu(convolve("branch3_0", reduced3, POINT, x))),
            convolve("branch4_1", branch4, POINT, layers.max_pool(x, False, *AROUND)),
        )
        return jnp.concatenate(branches, axis=-1)


class GoogLeNet(Staged):
    """Some stages of GoogLeNet.

    Attributes:
      divisor: all published widths are divided by it.
    """

    divisor: int = 1

    def compute(self, stage: str, x: jax.Array, run: Run) -> jax.Array:
        """A convolution, an Inception module, or the dense layer."""
        if stage == registry.GOOGLENET.logits:
            x = dropout(registry.GOOGLENET.dropout, stage, x, run)
            return dense(self.num_classes, x, stage, self.dtype)
        if stage in CONVOLUTIONS:
            features, window = CONVOLUTIONS[stage]
            module: nn.Module = ConvNorm(features // self.divisor, window, self.dtype, EPSILON, name=stage)
        else:
            module = Inception(tuple(n // self.divisor for n in INCEPTIONS[stage]), self.dtype, name=stage)
        out: jax.Array = module(x, run.batch_mask)
        return out

    def activate(self, stage: str, x: jax.Array) -> jax.Array:
        """ReLU but for the logits."""
        return x if stage == registry.GOOGLENET.logits else nn.relu(x)

    def finish(self, stage: str, x: jax.Array, run: Run) -> jax.Array:
        """Maxima; the last map pooled."""
        if stage in POOLINGS:
            x = layers.max_pool(x, True, *POOLINGS[stage])
        return self.pool(x) if stage == "5b" else x

    def windows(self, stage: str) -> tuple[Window, ...]:
        """From the image to a stage's map, in Inception through a 3x3 convolution."""
        windows = []
        for name in registry.GOOGLENET.between("conv1", stage):
            windows.append(CONVOLUTIONS[name][1] if name in CONVOLUTIONS else AROUND)
            if name in POOLINGS and name != stage:
                windows.append(POOLINGS[name])
        return tuple(windows)
