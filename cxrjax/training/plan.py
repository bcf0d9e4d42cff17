"""Which image is used at which step, with which offset and flip: a pure function that pipelines execute.

Randomness: root `numerics.new_key(seed)`; `stream(root, ORDER)` and so on derive one key for each purpose. The
augmentation of an image depends on (seed, epoch, row of the store) alone, its place in the order too, so batching
seeds, stopping, resuming or changing the pipeline changes nothing.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from cxrjax.base import Array
from cxrjax.base.numerics import new_key, pinned, typed_key
from cxrjax.training.losses import Loss

if TYPE_CHECKING:
    from cxrjax.models.transfer import Network
    from cxrjax.training.bank import Cache
    from cxrjax.training.optimizer import Recipe


class Plan(NamedTuple):
    """What happens at every step of an epoch; pipelines only execute it. See `cxrjax.training.plan`."""

    index: Array  # type: ignore[assignment]  # [T, B] i32, row of the store; hides tuple.index on purpose
    offset: Array  # [T, B, 2] i32, (y, x) of the crop
    flip: Array  # [T, B] bool, mirrored left to right
    slot: Array  # [T, B] i32, entry of the augmentation bank, -1: fresh
    mask: Array  # [T, B] bool, False where padded


class Pipeline(Protocol):
    """Images of a store, and how they become batches; `inputs.Resident` and `tf_input.TfData`."""

    def batches(self, plan: Plan) -> Iterator[Array]:
        """Executes a plan [T, B]: [B, crop, crop] u8 for each of its T steps."""
        ...


class Workload(NamedTuple):
    """What is trained on what and how; all seeds share it."""

    net: Network  # trunk and head
    pipeline: Pipeline  # of the store's images
    labels: np.ndarray  # [N] i32 or [N, K] f32, of each row of the store; a run may be trained with others, `SeedData`
    recipe: Recipe
    cache: Cache | None = None  # where the trunk's activations are kept; None: in memory

    @property
    def loss(self) -> Loss:
        """What the steps descend: by the recipe, and of many labels if the labels are."""
        return Loss(self.labels.ndim > 1, self.recipe.loss)


class SeedData(NamedTuple):
    """The images of one run."""

    seed: int
    train: np.ndarray  # [n] i32, rows of the store
    val: np.ndarray  # [v] i32
    train_labels: np.ndarray | None = None  # [n] i32 or [n, K] f32, with which `train` is trained; None: the store's


INITIAL_WEIGHTS, ORDER, AUGMENTATION, DROPOUT = range(4)  # purposes of a `stream`
FRESH = -1
_BANK_SEED = 0  # bank entries depend on (row, slot) alone: every seed shares them


def stream(root: jax.Array, purpose: int) -> jax.Array:
    """The key of one purpose (`INITIAL_WEIGHTS`, `ORDER`, `AUGMENTATION`, `DROPOUT`) of a seed's root key."""
    return jax.random.fold_in(typed_key(root), purpose)


def steps_per_epoch(n: int, batch_size: int) -> int:
    """Steps that n images need; the last one may be partial.

    >>> steps_per_epoch(130, 64)
    3
    """
    return -(-n // batch_size)


def epoch(
    key: jax.Array,
    epoch: int,
    images: np.ndarray,
    batch_size: int,
    steps: int,
    offsets: int,
    bank: int | None = None,
    flip: bool = True,
) -> Plan:
    """Plans one epoch of one seed: each image once, in a new order, each newly augmented.

    Args:
      key: root key of the seed.
      epoch: 0, 1, ...
      images: [n] i32, distinct rows of the store.
      batch_size: B.
      steps: T, at least `steps_per_epoch(n, batch_size)`; further steps are masked whole.
      offsets: places of the crop, see `Model.offsets`.
      bank: number of slots K of an augmentation bank; a slot is drawn and its offset and flip are the bank's.
        None: offset and flip are drawn afresh.
      flip: False: no image is mirrored; all else stays as it is.

    Returns:
      Plan with leaves [T, B, ...].

    Raises:
      ValueError: if the images do not fit into the steps.
    """
    return draw(typed_key(key), epoch, fill(images, batch_size, steps), len(images), steps, offsets, bank, flip)


def fill(images: np.ndarray, batch_size: int, steps: int) -> np.ndarray:
    """Rows [n] and padding, [steps * batch_size] i32, for `draw`.

    Raises:
      ValueError: if the images do not fit into the steps.
    """
    if not 0 < len(images) <= steps * batch_size:
        raise ValueError(
            f"steps * batch_size must hold 1 image or more, and all of them: {steps} * {batch_size} for {len(images)}"
        )
    rows = np.zeros(steps * batch_size, np.int32)
    rows[: len(images)] = images
    return rows


@pinned()
@functools.partial(jax.jit, static_argnums=(4, 5, 6, 7))
def draw(
    key: jax.Array,
    epoch: int,
    rows: Array,
    n: int,
    steps: int,
    offsets: int,
    bank: int | None = None,
    flip: bool = True,
) -> Plan:
    """`epoch` for the first n of `rows` [steps * B], the others being padding; n may be traced, and 0."""
    rows = jnp.asarray(rows)
    mask = jnp.arange(len(rows)) < n
    order = _order(jax.random.fold_in(stream(key, ORDER), epoch), rows, mask)
    rows = rows[order]
    keys = jax.vmap(jax.random.fold_in, (None, 0))(jax.random.fold_in(stream(key, AUGMENTATION), epoch), rows)
    if bank is None:
        slot = jnp.full(len(rows), FRESH, jnp.int32)
        offset, flipped = jax.vmap(functools.partial(_fresh, offsets))(keys)
    else:
        slot = jax.vmap(lambda k: jax.random.randint(k, (), 0, bank))(keys)
        offset, flipped = jax.vmap(lambda row, s: tuple(x[s] for x in _bank_of_one(row, bank, offsets)))(rows, slot)
    plan = Plan(rows, offset, flipped & flip, slot, mask)
    return jax.tree.map(lambda x: x.reshape(steps, -1, *x.shape[1:]), plan)


def _order(key: jax.Array, rows: jax.Array, mask: jax.Array) -> jax.Array:
    """Random order of the real rows, padding last. Sorts by random bits of each row, so n need not be static."""
    bits = jax.vmap(lambda row: jax.random.bits(jax.random.fold_in(key, row)))(rows)
    return jnp.lexsort((bits, ~mask))


def _fresh(offsets: int, key: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Offset [2] i32 uniform over 0..offsets - 1 and a fair flip []."""
    offset_key, flip_key = jax.random.split(key)
    return jax.random.randint(offset_key, (2,), 0, offsets), jax.random.bernoulli(flip_key)


@pinned()
@functools.partial(jax.jit, static_argnums=(1, 2, 3))
def bank(rows: np.ndarray, slots: int, offsets: int, flip: bool = True) -> Plan:
    """The fixed augmentations of each image, stratified so that few of them cover offsets and flips evenly.

    Offsets are a Latin hypercube (McKay et al. 1979): they are cut into K strata in y and in x and each stratum is
    used once. Half of the slots are flipped; of an odd number, one more or one less by a fair coin.

    Args:
      rows: [n] i32, rows of the store.
      slots: K.
      offsets: places of the crop, see `Model.offsets`.
      flip: False: no slot is flipped.

    Returns:
      Plan with leaves [n, K, ...]: T is the image, B its slot.
    """
    offset, flipped = jax.vmap(lambda row: _bank_of_one(row, slots, offsets))(rows)
    shape = (len(rows), slots)
    index = jnp.broadcast_to(jnp.asarray(rows, jnp.int32)[:, None], shape)
    slot = jnp.broadcast_to(jnp.arange(slots, dtype=jnp.int32)[None, :], shape)
    return Plan(index, offset, flipped & flip, slot, jnp.ones(shape, bool))


def _bank_of_one(row: jax.Array, slots: int, offsets: int) -> tuple[jax.Array, jax.Array]:
    """Offsets [K, 2] and flips [K] of one image."""
    keys = jax.random.split(jax.random.fold_in(new_key(_BANK_SEED), row), 5)
    strata = jnp.stack([jax.random.permutation(key, slots) for key in keys[:2]], axis=1)
    within = jax.random.uniform(keys[2], (slots, 2))
    offset = ((strata + within) * (offsets / slots)).astype(jnp.int32)
    odd_one = jax.random.bernoulli(keys[4]).astype(jnp.int32)
    flip = jax.random.permutation(keys[3], slots) < (slots + odd_one) // 2
    return jnp.minimum(offset, offsets - 1), flip


def centre(rows: np.ndarray, batch_size: int, offset: int) -> Plan:
    """Plans the centre crop of each row, in order, for validation; leaves [T, B, ...], the padding masked.

    Args:
      rows: [n] i32, rows of the store.
      batch_size: B.
      offset: of the crop in y and x, see `Model.centre`.
    """
    steps = steps_per_epoch(len(rows), batch_size)
    shape = (steps, batch_size)
    return Plan(
        index=fill(rows, batch_size, steps).reshape(shape),
        offset=np.full((*shape, 2), offset, np.int32),
        flip=np.zeros(shape, bool),
        slot=np.full(shape, FRESH, np.int32),
        mask=(np.arange(steps * batch_size) < len(rows)).reshape(shape),
    )
