"""A network that is none of ours: three stages, a crop of 40 of 48, one convolution of stride 2; a few hundred weights.

`register` adds it under the name "toy", as somebody from outside would.
"""

from __future__ import annotations

import flax.linen as nn
import jax

from cxrjax.models import registry
from cxrjax.models.model import Model, Window
from cxrjax.models.staged import Run, Staged, dense


class Toy(Staged):
    """Stages a (convolution 5x5, stride 2), b (3x3) and c (dense over the mean of the map)."""

    features: int = 6

    def compute(self, stage: str, x: jax.Array, run: Run) -> jax.Array:
        if stage == "c":
            return dense(self.num_classes, x, "c", self.dtype)
        size, stride = (5, 2) if stage == "a" else (3, 1)
        return nn.Conv(self.features, (size, size), stride, "VALID", dtype=self.dtype, name=stage)(x)

    def activate(self, stage: str, x: jax.Array) -> jax.Array:
        return x if stage == "c" else nn.relu(x)

    def finish(self, stage: str, x: jax.Array, run: Run) -> jax.Array:
        return self.pool(x) if stage == "b" else x

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
    global_pooling=True,
    preprocessing=registry.TORCHVISION,
)


def register() -> Model:
    """Registers it and returns the record."""
    return registry.register(MODEL)
