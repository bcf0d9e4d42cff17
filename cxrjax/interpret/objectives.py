"""What a dream raises and a saliency map explains: one number of a network and an image.

Which channel counts is an array, so that `jax.vmap` goes over channels and classes as over seeds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp

from cxrjax.models import transfer
from cxrjax.models.alexnet import channels_of

Objective: TypeAlias = Callable[[Any, jax.Array], jax.Array]
"""(params, image [H, W] grey or [H, W, 3] RGB, 0..255) -> a number []."""


def along(
    net: transfer.Network, layer: str = "fc8", place: tuple[int, int] | None = None, after_relu: bool = False
) -> Objective:
    """A weighted sum of a layer's channels, each averaged over its map.

    The objective's params are (`transfer.layers`, direction [C]): `direction` makes one of a channel; of a sum, a
    difference of two classes, or the negative, it is the sum, difference or negative.

    Args:
      net: the network.
      layer: one of `alexnet.LAYERS`; of fc8, the default, the logits.
      place: (row, column) of one neuron in the layer's map; None: the mean of them all.
      after_relu: True: what the layer gives on; its gradient is zero where ReLU is. False: before ReLU, as MATLAB's
        layers conv1 .. fc7.

    Raises:
      ValueError: if the network has no such layer, or if fc6, fc7 or fc8, which have no map, are given a place.
    """
    channels_of(net.whole, layer)  # refuses a layer that there is not
    if place is not None and layer.startswith("fc"):
        raise ValueError(f"place must be None for {layer}, which has no map, got {place}")

    def objective(params: Any, image: jax.Array) -> jax.Array:
        layers, direction = params
        seen = transfer.see(net, layers, image[None])
        values = jnp.asarray((seen.activations if after_relu else seen.preactivations)[layer][0], jnp.float32)
        if values.ndim == 3:
            values = values.mean((0, 1)) if place is None else values[place]
        return values @ direction

    return objective


def direction(net: transfer.Network, layer: str, channel: int) -> jax.Array:
    """1 at one channel and 0 elsewhere, [C] f32, for `along`; of fc8 a channel is a class, and 1 is pneumonia.

    Raises:
      ValueError: if the network has no such layer, or the layer no such channel.
    """
    channels = channels_of(net.whole, layer)
    if not 0 <= channel < channels:
        raise ValueError(f"channel of {layer} must be in 0..{channels - 1}, got {channel}")
    return jnp.zeros(channels).at[channel].set(1)


def log_odds(net: transfer.Network) -> jax.Array:
    """Direction in fc8 of pneumonia against the other class: logit 1 - logit 0 is the logarithm of the odds."""
    return direction(net, "fc8", 1) - direction(net, "fc8", 0)


def weighted(*terms: tuple[float, Objective]) -> Objective:
    """A sum of objectives, each times its weight; its params are a tuple of theirs."""

    def objective(params: Any, image: jax.Array) -> jax.Array:
        return jnp.stack([weight * term(p, image) for (weight, term), p in zip(terms, params, strict=True)]).sum()

    return objective
