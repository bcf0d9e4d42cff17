"""VGG16 (Simonyan & Zisserman 2014, arXiv:1409.1556, configuration D) as torchvision has it, without BatchNorm.

Dropout is on the inputs of fc7 and fc8.
"""

from __future__ import annotations

import flax.linen as nn
import jax

from cxrjax.models import layers, registry
from cxrjax.models.model import Window
from cxrjax.models.staged import Run, Staged, conv, dense, dropout

CONVOLUTIONS = tuple(stage for stage in registry.VGG16.stages if stage not in registry.VGG16.dense)
POOLED = 7  # fc6 reads a 7 x 7 map
WINDOW, POOLING = Window(3, 1, 1), Window(2, 2, 0)


class VGG(Staged):
    """Some stages of VGG16.

    After conv5_3 a map is averaged to 7x7 and flattened row by row, channels last.

    Attributes:
      divisor: all published widths are divided by it.
    """

    divisor: int = 1

    def compute(self, stage: str, x: jax.Array, run: Run) -> jax.Array:
        """A convolution, or a dense layer."""
        if stage in CONVOLUTIONS:
            features = min(512, 64 * 2 ** (int(stage[4]) - 1))  # conv1_ 64, conv2_ 128, ...
            return conv(features // self.divisor, WINDOW, x, stage, self.dtype, bias=True)
        if stage in registry.VGG16.dropped:
            x = dropout(registry.VGG16.dropout, stage, x, run)
        units = self.num_classes if stage == registry.VGG16.logits else 4096 // self.divisor
        return dense(units, x, stage, self.dtype)

    def activate(self, stage: str, x: jax.Array) -> jax.Array:
        """ReLU but for the logits."""
        return x if stage == registry.VGG16.logits else nn.relu(x)

    def finish(self, stage: str, x: jax.Array, run: Run) -> jax.Array:
        """Maxima after the last convolution of each size; then the flat map."""
        if _is_last(stage):
            x = layers.max_pool(x, False, *POOLING)
        return layers.adaptive_average_pool(x, POOLED).reshape(x.shape[0], -1) if stage == CONVOLUTIONS[-1] else x

    def windows(self, stage: str) -> tuple[Window, ...]:
        """Convolutions and poolings from the image to the map of a convolutional stage."""
        windows = [WINDOW]
        for before in CONVOLUTIONS[: CONVOLUTIONS.index(stage)]:
            windows += [POOLING, WINDOW] if _is_last(before) else [WINDOW]
        return tuple(windows)


def _is_last(stage: str) -> bool:
    """Whether it is the last convolution of its size, which maxima follow."""
    return stage in CONVOLUTIONS and f"{stage[:-1]}{int(stage[-1]) + 1}" not in CONVOLUTIONS
