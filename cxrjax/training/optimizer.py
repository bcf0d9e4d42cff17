"""Hyper-parameters of training by name, and the optimiser that they ask for. Importing this imports no jax."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from cxrjax.base import InputError

if TYPE_CHECKING:
    import optax


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How long and how to train; the defaults are the poster's."""

    epochs: int = 120
    batch_size: int = 64
    learning_rate: float = 0.001
    momentum: float = 0.0  # 0 to below 1
    augment_bank: int = 0  # augmentations of each image, computed once; 0: a fresh one at every use
    flip: bool = True  # mirrored with probability 1/2
    rotation: float = 0.0  # limits of `augment.AUGMENTATIONS`
    scale: float = 0.0
    brightness: float = 0.0
    optimizer: str = "sgd"
    loss: str = "cross_entropy"  # see `losses.Loss`


RECIPES = {"poster": Recipe()}


def make_optimizer(recipe: Recipe, total_steps: int) -> optax.GradientTransformation:
    """The optimiser of a recipe; to add one, add a branch here.

    Args:
      recipe: its `optimizer`, `learning_rate` and `momentum` count.
      total_steps: at least 1, steps of the whole training, for optimisers whose rate depends on them.

    Raises:
      InputError: if the optimiser is unknown.
    """
    import optax

    if recipe.optimizer == "sgd":
        return optax.sgd(recipe.learning_rate, recipe.momentum or None)
    raise InputError(f"optimizer must be sgd, got {recipe.optimizer!r}")
