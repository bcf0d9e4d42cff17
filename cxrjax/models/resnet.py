"""ResNet (He et al. 2015, arXiv:1512.03385) as torchvision has it: a bottleneck's stride is in its 3x3 convolution."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp

from cxrjax.models import layers
from cxrjax.models.model import Window
from cxrjax.models.staged import ConvNorm, Run, Staged, dense

STEM, POOLING = Window(7, 2, 3), Window(3, 2, 1)


class Block(nn.Module):
    """Two 3x3 convolutions, or 1x1, 3x3, 1x1, beside a way round them; before its ReLU.

    Attributes:
      features: of its result.
      stride: of its first 3x3 convolution.
      bottleneck: three convolutions, a quarter of the features inside.
      dtype: see `Staged`.
    """

    features: int
    stride: int
    bottleneck: bool
    dtype: jnp.dtype | None

    @nn.compact
    def __call__(self, x: jax.Array, batch_mask: jax.Array | None) -> jax.Array:
        """[B, H, W, C] -> [B, h, w, features]."""
        strided, inside = Window(3, self.stride, 1), self.features // 4
        convolutions = [(self.features, strided), (self.features, Window(3, 1, 1))]
        if self.bottleneck:
            convolutions = [(inside, Window(1, 1, 0)), (inside, strided), (self.features, Window(1, 1, 0))]
        out = x
        for i, (features, window) in enumerate(convolutions):
            out = ConvNorm(features, window, self.dtype, name=f"conv{i + 1}")(nn.relu(out) if i else out, batch_mask)
        if self.stride > 1 or x.shape[-1] != self.features:
            x = ConvNorm(self.features, Window(1, self.stride, 0), self.dtype, name="downsample")(x, batch_mask)
        return out + x


class Layer(nn.Module):
    """Blocks one after the other, of which the first may halve the map; before the last ReLU.

    Attributes:
      blocks: how many.
      features, stride, bottleneck, dtype: see `Block`.
    """

    blocks: int
    features: int
    stride: int
    bottleneck: bool
    dtype: jnp.dtype | None

    @nn.compact
    def __call__(self, x: jax.Array, batch_mask: jax.Array | None) -> jax.Array:
        """[B, H, W, C] -> [B, h, w, features]."""
        for i in range(self.blocks):
            stride = 1 if i else self.stride
            x = Block(self.features, stride, self.bottleneck, self.dtype, name=f"{i}")(
                nn.relu(x) if i else x, batch_mask
            )
        return x


class ResNet(Staged):
    """Some stages of a ResNet: stem, layer1 .. layer4, fc.

    Attributes:
      blocks: in layer1 .. layer4.
      bottleneck: see `Block`.
      width: features of the stem; layer1 has as many, or four times as many with bottlenecks, each next one twice.
    """

    blocks: tuple[int, ...] = (2, 2, 2, 2)
    bottleneck: bool = False
    width: int = 64

    def compute(self, stage: str, x: jax.Array, run: Run) -> jax.Array:
        """A convolution, blocks, or the dense layer."""
        if stage == "fc":
            return dense(self.num_classes, x, stage, self.dtype)
        if stage == "stem":
            normalised: jax.Array = ConvNorm(self.width, STEM, self.dtype, name=stage)(x, run.batch_mask)
            return normalised
        i = _index(stage)
        features = self.width * 2**i * (4 if self.bottleneck else 1)
        layer = Layer(self.blocks[i], features, _stride(i), self.bottleneck, self.dtype, name=stage)
        summed: jax.Array = layer(x, run.batch_mask)
        return summed

    def activate(self, stage: str, x: jax.Array) -> jax.Array:
        """ReLU but for the logits."""
        return x if stage == "fc" else nn.relu(x)

    def finish(self, stage: str, x: jax.Array, run: Run) -> jax.Array:
        """Maxima after the stem; the last map pooled."""
        if stage == "stem":
            return layers.max_pool(x, False, *POOLING)
        return self.pool(x) if stage == "layer4" else x

    def windows(self, stage: str) -> tuple[Window, ...]:
        """From the image to a stage's map, by the ways round the convolutions."""
        rounds = [Window(1, _stride(i), 0) for i in range(_index(stage) + 1)] if stage != "stem" else []
        return (STEM, POOLING, *rounds) if rounds else (STEM,)


def _index(stage: str) -> int:
    """0 of layer1, ..., 3 of layer4."""
    return int(stage.removeprefix("layer")) - 1


def _stride(i: int) -> int:
    return 2 if i else 1
