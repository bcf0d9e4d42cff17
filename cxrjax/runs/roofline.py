"""How much arithmetic and memory traffic each part of training needs, counted from AlexNet's geometry.

The roofline (Williams, Waterman & Patterson 2009): no part can be faster than its FLOPs at the speed of a large matrix
product, nor than its bytes at the speed of a large copy. `floor` is the slower of the two.

Counted are the multiply-adds of convolutions and dense layers, a multiply-add as 2 FLOPs, padding included; ReLU,
pooling, normalisation, dropout and the loss are neglected. Bytes are those of a program that works layer by layer and
fuses element-wise work into it: each layer reads its inputs and parameters once and writes its outputs once, and
intermediate arrays go through main memory. Parameters, their gradients and updates are float32.
"""

from __future__ import annotations

from typing import NamedTuple

from cxrjax.models.alexnet import CONVOLUTIONS, POOLED, Variant
from cxrjax.models.alexnet import STAGES as LAYERS
from cxrjax.models.registry import ALEXNET, between

_FLOAT32 = 4  # bytes


class Count(NamedTuple):
    """What a part needs; two parts add with `plus`."""

    flops: int
    bytes: int


class Ceiling(NamedTuple):
    """What the device was measured to reach."""

    flops_per_s: float
    bytes_per_s: float


class Layer(NamedTuple):
    """One layer's numbers (not bytes) for one image."""

    name: str
    multiply_adds: int
    params: int  # kernel and bias
    inputs: int
    outputs: int  # right after ReLU
    passed_on: int  # after pooling; `outputs` where nothing is pooled


def layers(variant: Variant, num_classes: int = 2, size: int = ALEXNET.crop) -> tuple[Layer, ...]:
    """All eight layers for square images of `size` pixels.

    >>> [layer.multiply_adds for layer in layers("torchvision", 2, 224) if layer.name in ("conv1", "fc8")]
    [70276800, 8192]
    """
    found = []
    side, channels = size, 3
    for name, geometry in CONVOLUTIONS[variant].items():
        out = (side + 2 * geometry.padding - geometry.kernel) // geometry.stride + 1
        kernel = geometry.kernel**2 * channels // geometry.groups * geometry.features
        pooled = _pooled(out, ceil=variant == "caffe") if geometry.pool else out
        passed_on = POOLED if name == "conv5" else pooled
        found.append(
            Layer(
                name,
                out**2 * kernel,
                kernel + geometry.features,
                side**2 * channels,
                out**2 * geometry.features,
                passed_on**2 * geometry.features,
            )
        )
        side, channels = pooled, geometry.features
    width = POOLED**2 * channels
    for name in LAYERS[len(found) :]:
        outputs = {"fc6": 4096, "fc7": 4096}.get(name, num_classes)
        found.append(Layer(name, width * outputs, width * outputs + outputs, width, outputs, outputs))
        width = outputs
    return tuple(found)


def _pooled(side: int, ceil: bool) -> int:
    """Side after 3x3 pooling with stride 2, as `alexnet.max_pool`."""
    return -(-(side - 3) // 2) + 1 if ceil else (side - 3) // 2 + 1


def plus(*counts: Count) -> Count:
    """The sum of several counts.

    >>> plus(Count(1, 2), Count(3, 4))
    Count(flops=4, bytes=6)
    """
    return Count(sum(c.flops for c in counts), sum(c.bytes for c in counts))


def times(count: Count, repetitions: int) -> Count:
    """The same work several times.

    >>> times(Count(1, 2), 3)
    Count(flops=3, bytes=6)
    """
    return Count(count.flops * repetitions, count.bytes * repetitions)


def floor(count: Count, ceiling: Ceiling) -> float:
    """Seconds that a part takes at least: the slower of its arithmetic and its traffic.

    >>> floor(Count(100, 30), Ceiling(flops_per_s=10.0, bytes_per_s=10.0))
    10.0
    """
    return max(count.flops / ceiling.flops_per_s, count.bytes / ceiling.bytes_per_s)


def trunk(variant: Variant, retrain_from: str, batch: int, itemsize: int = _FLOAT32) -> Count:
    """Frozen layers over a batch, forward only, from [batch, 256, 256] u8: crop, flip, normalise, layers.

    Args:
      variant: of `alexnet.AlexNet`.
      retrain_from: first layer that is not frozen; conv1: only crop and flip are left.
      batch: images.
      itemsize: bytes of an activation, 4 or 2.
    """
    frozen = _layers(variant, "conv1", retrain_from)[:-1]
    pixels = 2 * batch * ALEXNET.crop**2  # read from the store, written as the batch
    return plus(Count(0, pixels), *(_forward(layer, batch, itemsize) for layer in frozen))


def head_step(variant: Variant, retrain_from: str, batch: int, itemsize: int = _FLOAT32) -> Count:
    """One step of stochastic gradient descent of one seed's head, its inputs ready; no gradient for those inputs.

    Forward; gradients of all parameters; gradients of all inputs but the first layer's; params - rate * gradient.
    """
    head = _layers(variant, retrain_from, "fc8")
    return plus(
        *(_forward(layer, batch, itemsize) for layer in head),
        *(_weight_gradient(layer, batch, itemsize) for layer in head),
        *(_input_gradient(layer, batch, itemsize) for layer in head[1:]),
        *(Count(2 * layer.params, 3 * layer.params * _FLOAT32) for layer in head),  # read, read the gradient, write
    )


def whole_step(variant: Variant, retrain_from: str, batch: int, seeds: int, itemsize: int = _FLOAT32) -> Count:
    """Fresh augmentation, trunk and head step, each seed on its own batch."""
    one = plus(trunk(variant, retrain_from, batch, itemsize), head_step(variant, retrain_from, batch, itemsize))
    return times(one, seeds)


def dream_step(variant: Variant, itemsize: int = _FLOAT32) -> Count:
    """One iteration of gradient ascent on one image of 227 pixels: forward, and the input's gradient back to it."""
    every = layers(variant)
    return plus(
        *(_forward(layer, 1, itemsize) for layer in every), *(_input_gradient(layer, 1, itemsize) for layer in every)
    )


def evaluation(variant: Variant, retrain_from: str, batch: int, seeds: int, itemsize: int = _FLOAT32) -> Count:
    """Logits of a batch of centre crops: the trunk once, since seeds share it, and each seed's head."""
    head = _layers(variant, retrain_from, "fc8")
    one = plus(*(_forward(layer, batch, itemsize) for layer in head))
    return plus(trunk(variant, retrain_from, batch, itemsize), times(one, seeds))


def _layers(variant: Variant, first: str, last: str) -> tuple[Layer, ...]:
    names = between(LAYERS, first, last)
    return tuple(layer for layer in layers(variant) if layer.name in names)


def _forward(layer: Layer, batch: int, itemsize: int) -> Count:
    pooled = layer.outputs + layer.passed_on if layer.passed_on != layer.outputs else 0
    moved = batch * (layer.inputs + layer.outputs + pooled) * itemsize + layer.params * _FLOAT32
    return Count(2 * batch * layer.multiply_adds, moved)


def _weight_gradient(layer: Layer, batch: int, itemsize: int) -> Count:
    moved = batch * (layer.inputs + layer.outputs) * itemsize + layer.params * _FLOAT32
    return Count(2 * batch * layer.multiply_adds, moved)


def _input_gradient(layer: Layer, batch: int, itemsize: int) -> Count:
    """Through pooling (reads activations and the gradient passed back, writes theirs), then through the layer."""
    pooled = 2 * layer.outputs + layer.passed_on if layer.passed_on != layer.outputs else 0
    moved = batch * (layer.inputs + layer.outputs + pooled) * itemsize + layer.params * _FLOAT32
    return Count(2 * batch * layer.multiply_adds, moved)
