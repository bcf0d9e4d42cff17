"""DenseNet-BC (Huang et al. 2016, arXiv:1608.06993) as torchvision and, with one channel, torchxrayvision have it.

The latter's 18 logits (datasets.default_pathologies of 1.5.7): Atelectasis, Consolidation, Infiltration, Pneumothorax,
Edema, Emphysema, Fibrosis, Effusion, Pneumonia, Pleural_Thickening, Cardiomegaly, Nodule, Mass, Hernia, Lung Lesion,
Fracture, Lung Opacity, Enlarged Cardiomediastinum; those that a file was not trained on have no name there.
"""

from __future__ import annotations

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name

from cxrjax.models import layers
from cxrjax.models.model import Window
from cxrjax.models.staged import BatchNorm, ConvNorm, Run, Staged, conv, dense

STEM, POOLING, HALVING = Window(7, 2, 3), Window(3, 2, 1), Window(2, 2, 0)
BOTTLENECK = 4  # features inside a layer, in parts of those that it adds


class Layer(nn.Module):
    """What a layer adds to the maps before it.

    Attributes:
      growth: features that it adds.
      dtype: see `Staged`.
    """

    growth: int
    dtype: jnp.dtype | None

    @nn.compact
    def __call__(self, maps: Sequence[jax.Array], batch_mask: jax.Array | None) -> jax.Array:
        """Maps [B, h, w, ...] -> [B, h, w, growth]."""
        x = nn.relu(BatchNorm(dtype=self.dtype, name="norm1")(jnp.concatenate(maps, axis=-1), batch_mask))
        x = conv(BOTTLENECK * self.growth, Window(1, 1, 0), x, "conv1", self.dtype)
        x = nn.relu(BatchNorm(dtype=self.dtype, name="norm2")(checkpoint_name(x, "bottleneck"), batch_mask))
        return conv(self.growth, Window(3, 1, 1), x, "conv2", self.dtype)


# What a layer concatenates, normalises and rectifies is computed again for the gradient, as torchvision's
# memory_efficient does: kept, it would grow with the square of the number of layers. Its convolutions are not.
_Layer = nn.remat(Layer, policy=jax.checkpoint_policies.save_only_these_names("bottleneck"))


class Block(nn.Module):
    """Layers, each of which reads the maps of all before it.

    Attributes:
      layers: how many.
      growth, dtype: see `Layer`.
      normalised: whether BatchNorm ends it.
    """

    layers: int
    growth: int
    normalised: bool
    dtype: jnp.dtype | None

    @nn.compact
    def __call__(self, x: jax.Array, batch_mask: jax.Array | None) -> jax.Array:
        """[B, h, w, C] -> [B, h, w, C + layers * growth]."""
        maps = [x]
        for i in range(self.layers):
            maps.append(_Layer(self.growth, self.dtype, name=f"denselayer{i + 1}")(maps, batch_mask))
        x = jnp.concatenate(maps, axis=-1)
        return BatchNorm(dtype=self.dtype, name="norm5")(x, batch_mask) if self.normalised else x


class Transition(nn.Module):
    """Half of the features; attribute as `Staged`."""

    dtype: jnp.dtype | None

    @nn.compact
    def __call__(self, x: jax.Array, batch_mask: jax.Array | None) -> jax.Array:
        """[B, h, w, C] -> [B, h, w, C // 2]."""
        normalised = nn.relu(BatchNorm(dtype=self.dtype, name="norm")(x, batch_mask))
        return conv(x.shape[-1] // 2, Window(1, 1, 0), normalised, "conv", self.dtype)


class DenseNet(Staged):
    """Some stages of a DenseNet: stem, block1, transition1, ..., block4, classifier.

    Attributes:
      layers: of each block.
      growth: features that each layer adds; the stem has twice as many.
    """

    layers: tuple[int, ...] = (6, 12, 24, 16)
    growth: int = 32

    def compute(self, stage: str, x: jax.Array, run: Run) -> jax.Array:
        """A convolution, a block, a transition, or the dense layer."""
        if stage == "classifier":
            return dense(self.num_classes, x, stage, self.dtype)
        if stage == "stem":
            part: nn.Module = ConvNorm(2 * self.growth, STEM, self.dtype, name=stage)
        elif stage.startswith("transition"):
            part = Transition(self.dtype, name=stage)
        else:
            i = int(stage.removeprefix("block"))
            part = Block(self.layers[i - 1], self.growth, i == len(self.layers), self.dtype, name=stage)
        computed: jax.Array = part(x, run.batch_mask)
        return computed

    def activate(self, stage: str, x: jax.Array) -> jax.Array:
        """ReLU of what BatchNorm ends."""
        return nn.relu(x) if stage in ("stem", f"block{len(self.layers)}") else x

    def finish(self, stage: str, x: jax.Array, run: Run) -> jax.Array:
        """Maxima after the stem, means of 2x2 after a transition; the last map pooled."""
        if stage == "stem":
            return layers.max_pool(x, False, *POOLING)
        if stage.startswith("transition"):
            return nn.avg_pool(x, (2, 2), (2, 2))
        return self.pool(x) if stage == f"block{len(self.layers)}" else x

    def windows(self, stage: str) -> tuple[Window, ...]:
        """From the image to a stage's map; a block's convolutions move nothing."""
        return (STEM,) if stage == "stem" else (STEM, POOLING, *[HALVING] * (int(stage[-1]) - 1))
