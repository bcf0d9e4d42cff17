"""What a dream raises and a saliency map explains: one number of a network and an image.

Which channel counts is an array, so that `jax.vmap` goes over channels and classes as over seeds.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp

from cxrjax.base import Variables
from cxrjax.base.numerics import pinned
from cxrjax.models import transfer
from cxrjax.models.model import Model

Objective: TypeAlias = Callable[[Any, jax.Array], jax.Array]
"""(params, image [H, W] grey or [H, W, 3] RGB, 0..255) -> a number []. Hashable: it is the key of its programs."""


@dataclasses.dataclass(frozen=True)
class ChannelObjective:
    """See `channel_objective`."""

    model: Model
    stage: str
    place: tuple[int, int] | None
    after_relu: bool

    @pinned()
    def __call__(self, params: tuple[Variables, jax.Array], image: jax.Array) -> jax.Array:
        """See `Objective`."""
        layers, direction = params
        seen = transfer.forward(self.model, layers, image[None], stop=self.stage)
        activation = seen.activations[self.stage]
        values = jnp.asarray((activation.after if self.after_relu else activation.before)[0], jnp.float32)
        if values.ndim == 3:
            values = values.mean((0, 1)) if self.place is None else values[self.place]
        return values @ direction


def channel_objective(
    net: transfer.Network, stage: str | None = None, place: tuple[int, int] | None = None, after_relu: bool = False
) -> ChannelObjective:
    """A weighted sum of a stage's channels, each averaged over its map.

    The objective's params are (`transfer.layers`, direction [C] f32): `one_hot` makes one of a channel; of a sum, a
    difference of two classes, or the negative, it is the sum, difference or negative.

    Args:
      net: the network.
      stage: of the network; None: the logits.
      place: (row, column) of one neuron in the stage's map; None: the mean of them all.
      after_relu: True: what the stage gives on; its gradient is zero where ReLU is. False: before ReLU, as MATLAB's
        layers conv1 .. fc7.

    Raises:
      ValueError: if the network has no such stage, or if a stage without a map (fc6, fc7, fc8) is given a place.
    """
    stage = net.model.logits if stage is None else stage
    net.model.check_stage(stage)
    if place is not None and stage in net.model.dense:
        raise ValueError(f"place must be None for {stage}, which has no map, got {place}")
    return ChannelObjective(net.model, stage, place, after_relu)


def one_hot(net: transfer.Network, stage: str, channel: int) -> jax.Array:
    """1 at one channel and 0 elsewhere, [C] f32, for `channel_objective`; of the logits a channel is a class.

    Raises:
      ValueError: if the network has no such stage, or the stage no such channel.
    """
    channels = net.model.width(stage)
    if not 0 <= channel < channels:
        raise ValueError(f"channel of {stage} must be in 0..{channels - 1}, got {channel}")
    return jnp.zeros(channels, jnp.float32).at[channel].set(1)


def class_logit(net: transfer.Network, label: int) -> jax.Array:
    """Direction [K] f32 in the logits of one class; 1 is the positive one."""
    return one_hot(net, net.model.logits, label)


def log_odds(net: transfer.Network) -> jax.Array:
    """Direction [K] f32 in the logits of class 1 against class 0: logit 1 - logit 0 is the logarithm of the odds."""
    return class_logit(net, 1) - class_logit(net, 0)
