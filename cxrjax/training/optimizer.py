"""The optimiser that a recipe asks for. Importing this imports no jax."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from cxrjax.base import Array, InputError
from cxrjax.base.recipes import OPTIMIZERS, SCHEDULES, Recipe

if TYPE_CHECKING:
    import optax

SPARED = ("bias", "scale")  # parameters without weight decay: biases, BatchNorm's scale and shift


def make_optimizer(recipe: Recipe, fresh: Collection[str] = ()) -> optax.GradientTransformationExtraArgs:
    """The optimiser of a recipe; to add one, add a branch to `_direction`.

    Its `update` takes `step` [] i32, 0, 1, ..., and `total_steps` [] i32, those of one seed's whole training, which a
    schedule needs. Weight decay, momentum and clipping are PyTorch's (`SGD`, `AdamW`, `clip_grad_norm_`).

    Args:
      recipe: how to train.
      fresh: stages that start from random weights, which `trunk_factor` does not slow down, see `Network.fresh`.

    Raises:
      InputError: if optimiser or schedule are unknown.
    """
    import optax

    clip = optax.clip_by_global_norm(recipe.clip_norm) if recipe.clip_norm else optax.identity()
    scale = _scale_stages(recipe, fresh)
    # Stages that stand still have no gradient to compute, to clip or to remember: XLA leaves their products out.
    still = [scale] if recipe.trunk_factor == 0 else []
    return optax.chain(*still, clip, *_direction(recipe), scale, _scale_by_rate(recipe))


def _direction(recipe: Recipe) -> list[optax.GradientTransformation]:
    """From the gradient to what is taken off the parameters at a learning rate of 1."""
    import optax

    decay = [optax.add_decayed_weights(recipe.weight_decay, decayed)] if recipe.weight_decay else []
    if recipe.optimizer == "sgd":
        return [*decay, *([optax.trace(recipe.momentum)] if recipe.momentum else [])]
    if recipe.optimizer == "adamw":
        return [optax.scale_by_adam(), *decay]
    raise InputError(f"--optimizer must be one of {', '.join(OPTIMIZERS)}, got {recipe.optimizer!r}")


def decayed(params: Any) -> Any:
    """Which leaves weight decay shrinks: all but `SPARED`."""
    import jax

    return jax.tree_util.tree_map_with_path(lambda path, _: not path or path[-1].key not in SPARED, params)


def _scale_stages(recipe: Recipe, fresh: Collection[str]) -> optax.GradientTransformation:
    """Slows stages down that start from pretrained weights."""
    import jax
    import optax

    if recipe.trunk_factor == 1:
        return optax.identity()

    def scale(updates: Any, params: Any = None) -> Any:
        factors = {stage: 1.0 if stage in fresh else recipe.trunk_factor for stage in updates}
        return {
            stage: jax.tree.map(lambda x, f=f: f * x if f else jax.numpy.zeros_like(x), updates[stage])
            for stage, f in factors.items()
        }

    return optax.stateless(scale)


def _scale_by_rate(recipe: Recipe) -> optax.GradientTransformationExtraArgs:
    """Times minus the learning rate of the step."""
    import jax
    import optax

    rate(recipe, 0, recipe.epochs)  # refuses an unknown schedule before anything is compiled

    def update(
        updates: Any, state: Any, params: Any = None, *, step: Any = None, total_steps: Any = None, **_: Any
    ) -> Any:
        factor = -rate(recipe, step, total_steps)
        return jax.tree.map(lambda x: factor * x, updates), state

    return optax.GradientTransformationExtraArgs(lambda params: optax.EmptyState(), update)


def rate(recipe: Recipe, step: Array | int, total_steps: Array | int) -> Any:
    """Learning rate of a step.

    constant: that of the recipe. step: divided by 10 after each third of the steps. cosine: times
    (1 + cos(pi u)) / 2, u from 0 at the end of the warm-up to 1 at the end (Loshchilov & Hutter 2017,
    arXiv:1608.03983, without restarts). While it warms up, step t of w has (t + 1) / w of it.

    Args:
      recipe: its learning rate, schedule, epochs and warm-up.
      step: [] i32, 0, 1, ...
      total_steps: [] i32, of the seed's own training.

    Raises:
      InputError: if the schedule is unknown.
    """
    import jax.numpy as jnp

    if recipe.schedule == "constant" and not recipe.warmup_epochs:
        return recipe.learning_rate
    warmup_steps = total_steps * recipe.warmup_epochs // recipe.epochs
    if recipe.schedule == "constant":
        decay: Any = 1.0
    elif recipe.schedule == "step":
        decay = jnp.float32(0.1) ** (3 * step // total_steps)
    elif recipe.schedule == "cosine":
        after = jnp.maximum(step - warmup_steps, 0) / (total_steps - warmup_steps)
        decay = (1 + jnp.cos(jnp.pi * after)) / 2
    else:
        raise InputError(f"--schedule must be one of {', '.join(SCHEDULES)}, got {recipe.schedule!r}")
    if recipe.warmup_epochs:
        decay = decay * jnp.minimum((step + 1) / warmup_steps, 1)
    return recipe.learning_rate * decay
