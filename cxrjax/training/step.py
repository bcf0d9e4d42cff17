"""Loss, one SGD step and the initial state: pure functions, written for one seed.

`jax.vmap` adds the seeds' axis, in `cxrjax.training.loop` alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import optax

from cxrjax.base.types import Array, Params
from cxrjax.models.transfer import Head
from cxrjax.training import sums as metrics
from cxrjax.training.sums import Metrics


class Batch(NamedTuple):
    """One step's examples. `image` is what enters the head: pixels u8, or the trunk's activations f32."""

    image: Array  # [B, crop, crop] u8, or [B, ...] f32
    label: Array  # [B] i32
    mask: Array  # [B] bool


class TrainState(NamedTuple):
    """Everything that training one seed carries from step to step."""

    step: Array  # [] i32, number of steps that held at least one example
    params: Params  # of the head
    opt_state: Any
    key: Array  # [] typed PRNG key of dropout; step t uses fold_in(key, t)


Step: TypeAlias = "Callable[[TrainState, Batch], tuple[TrainState, Metrics]]"


def loss(logits: Array, label: Array, mask: Array) -> jax.Array:
    """Mean cross-entropy of the unmasked examples, in nats; 0 if there are none.

    The last, partial batch is thus averaged over its own size, as Keras and PyTorch do.
    """
    each = optax.softmax_cross_entropy_with_integer_labels(logits, label)
    return jnp.sum(each, where=mask) / jnp.maximum(jnp.sum(mask), 1)


def init(params: Params, optimiser: optax.GradientTransformation, dropout_key: jax.Array) -> TrainState:
    """State before the first step."""
    return TrainState(jnp.zeros((), jnp.int32), params, optimiser.init(params), dropout_key)


def make_step(head: Head, optimiser: optax.GradientTransformation) -> Step:
    """Builds the step: forward, backward, update. A step without any unmasked example changes no state."""

    def objective(params: Params, batch: Batch, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        logits = head(params, batch.image, key)
        return loss(logits, batch.label, batch.mask), logits

    def step(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        key = jax.random.fold_in(state.key, state.step)
        (_, logits), gradient = jax.value_and_grad(objective, has_aux=True)(state.params, batch, key)
        updates, opt_state = optimiser.update(gradient, state.opt_state, state.params)
        live = jnp.any(batch.mask)
        # A select, not a branch: it fuses into the update, and under vmap a branch would become one anyway.
        params, opt_state = jax.tree.map(
            lambda new, old: jnp.where(live, new, old),
            (optax.apply_updates(state.params, updates), opt_state),
            (state.params, state.opt_state),
        )
        sums = metrics.from_logits(logits, batch.label, batch.mask)
        return TrainState(state.step + live, params, opt_state, state.key), sums

    return step
