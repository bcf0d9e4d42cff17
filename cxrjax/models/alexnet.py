"""AlexNet as one Flax Linen module that runs from any stage to any later stage.

What a stage computes is never changed in place, since banks and finished runs are told apart by a network's record:
another layer is an attribute here and a record with other `options`. A trunk is `AlexNet(stop="conv5")`, the head that
continues it `AlexNet(start="fc6", num_classes=2)`: the same code.

Variants:
  torchvision: one tower, 64-192-384-256-256 features, padded, no normalisation (Krizhevsky 2014,
    arXiv:1404.5997), dropout on the inputs of fc6 and fc7.
  caffe: bvlc_alexnet, 96-256-384-384-256 features, groups of 2 in conv2, conv4 and conv5, ReLU, then local response
    normalisation, then pooling (Krizhevsky et al. 2012), dropout on the outputs of fc6 and fc7.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from cxrjax.models import layers, registry
from cxrjax.models.registry import Activation, Window

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


class AlexNet(nn.Module):
    """Stages `start` to `stop` of AlexNet.

    What passes between two such modules is a stage's finished output: after ReLU, normalisation and pooling;
    after conv5 also averaged to 6x6 and flattened row by row, channels last, to 9216 numbers.

    Attributes:
      num_classes: outputs of fc8.
      variant: "torchvision" or "caffe".
      widths: features of conv1 .. conv5 and units of fc6 and fc7, [7]; None: the published ones.
      start: first stage to run.
      stop: last stage to run.
      dtype: of the products and activations; None: of input and parameters together. Parameters are float32.
    """

    num_classes: int = 1000
    variant: Variant = "torchvision"
    widths: tuple[int, ...] | None = None
    start: str = STAGES[0]
    stop: str = STAGES[-1]
    dtype: jnp.dtype | None = None

    @nn.compact
    def __call__(
        self, x: jax.Array, train: bool = False, taps: Mapping[str, jax.Array] = MappingProxyType({})
    ) -> tuple[jax.Array, dict[str, Activation]]:
        """Runs the stages.

        Args:
          x: what `start` reads. conv1: [B, H, W, 3] f32, preprocessed, 63 pixels or more a side; conv2..conv5: the
            map before it; fc6: [B, 9216]; fc7 and fc8: [B, 4096].
          train: True drops units; then `apply` needs `rngs={"dropout": key}`.
          taps: stage -> what is added to its activations before they go on; the gradient with respect to zeros is
            that of the activations.

        Returns:
          The output of `stop` (logits [B, num_classes] if it is fc8), and the activations by stage.
        """
        if self.variant not in CONVOLUTIONS:
            raise ValueError(f"variant must be one of {', '.join(CONVOLUTIONS)}, got {self.variant!r}")
        activations = {}
        for stage in registry.ALEXNET.between(self.start, self.stop):
            run = self._convolution if stage in CONVOLUTIONS[self.variant] else self._dense
            x, activations[stage] = run(stage, x, train, taps.get(stage))
        return x, activations

    def windows(self, stage: str) -> tuple[Window, ...]:
        """Convolutions and poolings from the image to the map of a convolutional stage."""
        windows = []
        for name, conv in CONVOLUTIONS[self.variant].items():
            windows.append(Window(conv.kernel, conv.stride, conv.padding))
            if name == stage:
                break
            if conv.pool:
                windows.append(POOLING)
        return tuple(windows)

    def _width(self, stage: str) -> int:
        if stage == STAGES[-1]:
            return self.num_classes
        published = (*(conv.features for conv in CONVOLUTIONS[self.variant].values()), 4096, 4096)
        return (self.widths or published)[STAGES.index(stage)]

    def _convolution(
        self, stage: str, x: jax.Array, train: bool, tap: jax.Array | None
    ) -> tuple[jax.Array, Activation]:
        geometry = CONVOLUTIONS[self.variant][stage]
        fan_in = geometry.kernel**2 * x.shape[-1] // geometry.groups
        before = nn.Conv(
            self._width(stage),
            (geometry.kernel, geometry.kernel),
            geometry.stride,
            geometry.padding,
            feature_group_count=geometry.groups,
            kernel_init=_uniform(fan_in),
            bias_init=_uniform(fan_in),
            dtype=self.dtype,
            conv_general_dilated=layers.convolution,
            name=stage,
        )(x)
        x = after = _plus(nn.relu(before), tap)
        if geometry.normalise:
            x = layers.local_response_norm(x)
        if geometry.pool:
            x = layers.max_pool(x, ceil=self.variant == "caffe")
        if stage == "conv5":
            x = layers.adaptive_average_pool(x, POOLED)
            x = x.reshape(len(x), -1)
        return x, Activation(before, after)

    def _dense(self, stage: str, x: jax.Array, train: bool, tap: jax.Array | None) -> tuple[jax.Array, Activation]:
        dropout = nn.Dropout(DROPOUT, deterministic=not train, name=f"dropout_{stage}")
        is_logits = stage == STAGES[-1]
        if not is_logits and self.variant == "torchvision":
            x = dropout(x)
        init = _uniform(x.shape[-1])
        before = nn.Dense(self._width(stage), kernel_init=init, bias_init=init, dtype=self.dtype, name=stage)(x)
        after = _plus(before if is_logits else nn.relu(before), tap)
        x = dropout(after) if self.variant == "caffe" and not is_logits else after
        return x, Activation(before, after)


def _plus(x: jax.Array, tap: jax.Array | None) -> jax.Array:
    return x if tap is None else x + tap


def _uniform(fan_in: int) -> nn.initializers.Initializer:
    """Uniform in ±1/sqrt(fan_in), PyTorch's default for Linear and Conv2d.

    He normal makes the head swing from epoch to epoch on small sets: validation accuracy 64-78 % where this one
    rises smoothly to 76.7 % (P vs NF, 1,173 NIH images, 60 epochs).
    """
    bound = fan_in**-0.5

    def init(key: jax.Array, shape: tuple[int, ...], dtype: jnp.dtype = jnp.float32) -> jax.Array:
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return init
