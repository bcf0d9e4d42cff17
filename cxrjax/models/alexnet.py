"""AlexNet.

Variants:
  torchvision: one tower, 64-192-384-256-256 features, padded, no normalisation (Krizhevsky 2014,
    arXiv:1404.5997), dropout on the inputs of fc6 and fc7.
  caffe: bvlc_alexnet, 96-256-384-384-256 features, groups of 2 in conv2, conv4 and conv5, ReLU, then local response
    normalisation, then pooling (Krizhevsky et al. 2012), dropout on the outputs of fc6 and fc7.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import flax.linen as nn
import jax

from cxrjax.models import layers, registry
from cxrjax.models.model import Window
from cxrjax.models.staged import Run, Staged, conv, dense, dropout

STAGES = registry.ALEXNET.stages
DROPOUT = registry.ALEXNET.dropout
POOLED = 6  # fc6 reads a 6 x 6 map

Variant = Literal["torchvision", "caffe"]


class Conv(NamedTuple):
    """Geometry of one convolutional layer and of what follows it."""

    features: int
    kernel: int
    stride: int
    padding: int
    groups: int
    normalise: bool
    pool: bool


CONVOLUTIONS: dict[str, dict[str, Conv]] = {
    "torchvision": {
        "conv1": Conv(64, 11, 4, 2, 1, False, True),
        "conv2": Conv(192, 5, 1, 2, 1, False, True),
        "conv3": Conv(384, 3, 1, 1, 1, False, False),
        "conv4": Conv(256, 3, 1, 1, 1, False, False),
        "conv5": Conv(256, 3, 1, 1, 1, False, True),
    },
    "caffe": {
        "conv1": Conv(96, 11, 4, 0, 1, True, True),
        "conv2": Conv(256, 5, 1, 2, 2, True, True),
        "conv3": Conv(384, 3, 1, 1, 1, False, False),
        "conv4": Conv(384, 3, 1, 1, 2, False, False),
        "conv5": Conv(256, 3, 1, 1, 2, False, True),
    },
}
POOLING = Window(3, 2, 0)


class AlexNet(Staged):
    """Some stages of AlexNet.

    After conv5 a map is averaged to 6x6 and flattened row by row, channels last, to 9216 numbers. The image has 63
    pixels or more a side.

    Attributes:
      variant: "torchvision" or "caffe".
      widths: features of conv1 .. conv5 and units of fc6 and fc7, [7]; None: the published ones.
    """

    variant: Variant = "torchvision"
    widths: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        """Refuses an unknown variant."""
        if self.variant not in CONVOLUTIONS:
            raise ValueError(f"variant must be one of {', '.join(CONVOLUTIONS)}, got {self.variant!r}")
        super().__post_init__()

    def compute(self, stage: str, x: jax.Array, run: Run) -> jax.Array:
        """A convolution, or a dense layer."""
        if stage in CONVOLUTIONS[self.variant]:
            return self._convolution(stage, x)
        if stage != STAGES[-1] and self.variant == "torchvision":
            x = dropout(DROPOUT, stage, x, run)
        return dense(self._width(stage), x, stage, self.dtype)

    def activate(self, stage: str, x: jax.Array) -> jax.Array:
        """ReLU but for the logits."""
        return x if stage == STAGES[-1] else nn.relu(x)

    def finish(self, stage: str, x: jax.Array, run: Run) -> jax.Array:
        """Normalisation and pooling of maps; dropout where it follows the dense layer."""
        geometry = CONVOLUTIONS[self.variant].get(stage)
        if geometry is None:
            return dropout(DROPOUT, stage, x, run) if self.variant == "caffe" and stage != STAGES[-1] else x
        if geometry.normalise:
            x = layers.local_response_norm(x)
        if geometry.pool:
            x = layers.max_pool(x, ceil=self.variant == "caffe")
        if stage == "conv5":
            x = layers.adaptive_average_pool(x, POOLED)
            x = x.reshape(x.shape[0], -1)
        return x

    def windows(self, stage: str) -> tuple[Window, ...]:
        """Convolutions and poolings from the image to the map of a convolutional stage."""
        windows = []
        for name, geometry in CONVOLUTIONS[self.variant].items():
            windows.append(Window(geometry.kernel, geometry.stride, geometry.padding))
            if name == stage:
                break
            if geometry.pool:
                windows.append(POOLING)
        return tuple(windows)

    def _width(self, stage: str) -> int:
        if stage == STAGES[-1]:
            return self.num_classes
        published = (*(geometry.features for geometry in CONVOLUTIONS[self.variant].values()), 4096, 4096)
        return (self.widths or published)[STAGES.index(stage)]

    def _convolution(self, stage: str, x: jax.Array) -> jax.Array:
        geometry = CONVOLUTIONS[self.variant][stage]
        window = Window(geometry.kernel, geometry.stride, geometry.padding)
        return conv(self._width(stage), window, x, stage, self.dtype, geometry.groups, bias=True)
