"""A network that is none of ours: three stages, a crop of 40 of 48, one convolution of stride 2; a few hundred weights.

`register` adds it under the name "toy", as somebody from outside would.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import flax.linen as nn
import jax
import jax.numpy as jnp

from cxrjax.models import registry
from cxrjax.models.registry import Activation, Model, Window


class Toy(nn.Module):
    """Stages a (convolution 5x5, stride 2), b (3x3) and c (dense over the mean of the map)."""

    num_classes: int
    start: str = "a"
    stop: str = "c"
    dtype: jnp.dtype | None = None
    features: int = 6

    @nn.compact
    def __call__(
        self, x: jax.Array, train: bool = False, taps: Mapping[str, jax.Array] = MappingProxyType({})
    ) -> tuple[jax.Array, dict[str, Activation]]:
        activations = {}
        for stage in MODEL.between(self.start, self.stop):
            if stage == "c":
                before = after = nn.Dense(self.num_classes, dtype=self.dtype, name="c")(x)
            else:
                size, stride = (5, 2) if stage == "a" else (3, 1)
                before = nn.Conv(self.features, (size, size), stride, "VALID", dtype=self.dtype, name=stage)(x)
                after = nn.relu(before)
            x = after = after + taps.get(stage, 0)
            if stage == "b":
                x = x.mean((1, 2))
            activations[stage] = Activation(before, after)
        return x, activations

    def windows(self, stage: str) -> tuple[Window, ...]:
        return (Window(5, 2, 0), Window(3, 1, 0))[: "ab".index(stage) + 1]


MODEL = Model(
    name="toy",
    label="Toy",
    description="two convolutions and a dense layer",
    module="tests.models.toy:Toy",
    stages=("a", "b", "c"),
    dense=("c",),
    cam_stage="b",
    retrain_from="b",
    dreamt=("a", "b"),
    crop=40,
    source=48,
    smallest=9,
    preprocessing=registry.TORCHVISION,
)


def register() -> Model:
    """Registers it and returns the record."""
    return registry.register(MODEL)
