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
    optimizer: str = "sgd"
    schedule: str = "constant"  # or thirds


RECIPES = {"poster": Recipe(), "lakhani": Recipe(schedule="thirds")}


def make_optimizer(recipe: Recipe, total_steps: int) -> optax.GradientTransformation:
    """The optimiser of a recipe; to add one, add a branch here.

    Args:
      recipe: its `optimizer`, `schedule`, `learning_rate` and `momentum` count.
      total_steps: at least 1, steps of the whole training.

    Raises:
      InputError: if the optimiser is unknown, or the schedule, see `learning_rate`.
    """
    import optax

    if recipe.optimizer == "sgd":
        return optax.sgd(learning_rate(recipe, total_steps), recipe.momentum or None)
    raise InputError(f"optimizer must be sgd, got {recipe.optimizer!r}")


def learning_rate(recipe: Recipe, total_steps: int) -> optax.ScalarOrSchedule:
    """The rate of a recipe: a number, or a function of the step (from 0); to add a schedule, add a branch here.

    `thirds` divides it by 10 after each third of the steps, as Lakhani & Sundaram (2017) did.

    Raises:
      InputError: if the schedule is unknown.
    """
    import optax

    if recipe.schedule == "constant":
        return recipe.learning_rate
    if recipe.schedule == "thirds":
        drops = {-(-total_steps * third // 3): 0.1 for third in (1, 2)}
        return optax.piecewise_constant_schedule(recipe.learning_rate, drops)
    raise InputError(f"schedule must be constant or thirds, got {recipe.schedule!r}")
