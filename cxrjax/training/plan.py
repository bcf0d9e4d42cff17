"""Which image is used at which step, with which offset and flip: a pure function that pipelines execute.

Randomness: root `numerics.new_key(seed)`; `stream(root, ORDER)` and so on derive one key for each purpose. The
augmentation of an image depends on (seed, epoch, row of the store) alone, its place in the order too, so batching
seeds, stopping, resuming or changing the pipeline changes nothing. An image that an epoch uses several times
(oversampling) has further keys for its second use and those after it; the first is as without them.
"""

from __future__ import annotations

import functools
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from cxrjax.base import Array, Variables
from cxrjax.base.numerics import new_key, pinned, typed_key
from cxrjax.training.losses import Loss

if TYPE_CHECKING:
    from cxrjax.base.recipes import Recipe
    from cxrjax.models.transfer import Network
    from cxrjax.training.bank import Cache


class Plan(NamedTuple):
    """What happens at every step of an epoch; pipelines and trunk only execute it. See `cxrjax.training.plan`."""

    index: Array  # type: ignore[assignment]  # [T, B] i32, row of the store; hides tuple.index on purpose
    offset: Array  # [T, B, 2] i32, (y, x) of the crop
    flip: Array  # [T, B] bool, mirrored left to right
    slot: Array  # [T, B] i32, entry of the augmentation bank, -1: fresh
    mask: Array  # [T, B] bool, False where padded
    amounts: Mapping[str, Array]  # each [T, B] f32, of `augment.AUGMENTATIONS` by name; those that are off have none


class Variation(NamedTuple):
    """By what training images vary, beside the place of the crop."""

    flip: bool = True  # mirrored with probability 1/2
    limits: tuple[
        tuple[str, float], ...
    ] = ()  # (name, limit) of `augment.AUGMENTATIONS`: amounts are uniform in ± limit


PLAIN = Variation()


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
    train: np.ndarray  # [n] i32, rows of the store; a row may stand there several times
    val: np.ndarray  # [v] i32
    train_labels: np.ndarray | None = None  # [n] i32 or [n, K] f32, with which `train` is trained; None: the store's
    patients: np.ndarray | None = None  # [n] str, of `train`, by which a probe chooses its strength
    start: Callable[[], Variables] | None = None  # of its head before the first step; None: `Network.initial`


INITIAL_WEIGHTS, ORDER, AUGMENTATION, DROPOUT = range(4)  # purposes of a `stream`
FRESH = -1
_FURTHER_USE = 1 << 16  # + 1, 2, ...: of an image in an epoch; `split` makes the keys that `fold_in` makes of 0, 1, ...
_OVERSAMPLE = 6  # purpose of `default_rng([seed, purpose])`, beside those of `data.cohort`
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
    variation: Variation = PLAIN,
) -> Plan:
    """Plans one epoch of one seed: its images in a new order, each newly augmented.

    Args:
      key: root key of the seed.
      epoch: 0, 1, ...
      images: [n] i32, rows of the store; one that stands there several times is used as often.
      batch_size: B.
      steps: T, at least `steps_per_epoch(n, batch_size)`; further steps are masked whole.
      offsets: places of the crop, see `Model.offsets`.
      bank: number of slots K of an augmentation bank; a slot is drawn, and offset, flip and amounts are the bank's.
        None: they are drawn afresh.
      variation: without flip or some amount all else stays as it is.

    Returns:
      Plan with leaves [T, B, ...].

    Raises:
      ValueError: if the images do not fit into the steps.
    """
    return draw(typed_key(key), epoch, fill(images, batch_size, steps), len(images), steps, offsets, bank, variation)


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
    variation: Variation = PLAIN,
) -> Plan:
    """`epoch` for the first n of `rows` [steps * B], the others being padding; n may be traced, and 0."""
    rows = jnp.asarray(rows)
    mask = jnp.arange(len(rows)) < n
    uses = jnp.where(mask, _uses(rows), 0)
    # Random order of the real rows, padding last: sorted by random bits of each, so n need not be static.
    bits = jax.vmap(jax.random.bits)(_keys(jax.random.fold_in(stream(key, ORDER), epoch), rows, uses))
    order = jnp.lexsort((bits, ~mask))
    rows = rows[order]
    keys = _keys(jax.random.fold_in(stream(key, AUGMENTATION), epoch), rows, uses[order])
    if bank is None:
        slot = jnp.full(len(rows), FRESH, jnp.int32)
        offset, flipped, amounts = jax.vmap(functools.partial(_fresh, offsets, variation.limits))(keys)
    else:
        slot = jax.vmap(lambda k: jax.random.randint(k, (), 0, bank))(keys)
        offset, flipped, amounts = jax.vmap(
            lambda row, s: jax.tree.map(lambda x: x[s], _bank_of_one(row, bank, offsets, variation.limits))
        )(rows, slot)
    plan = Plan(rows, offset, flipped & variation.flip, slot, mask, amounts)
    return jax.tree.map(lambda x: x.reshape(steps, -1, *x.shape[1:]), plan)


def _uses(rows: jax.Array) -> jax.Array:
    """Of each entry [n], how many before it are of the same row, 0, 1, ..."""
    order = jnp.argsort(rows, stable=True)
    place = jnp.arange(len(rows))
    first = jax.lax.cummax(jnp.where(jnp.diff(rows[order], prepend=-1) != 0, place, 0))
    return jnp.zeros_like(place).at[order].set(place - first)


def _keys(key: jax.Array, rows: jax.Array, uses: jax.Array) -> jax.Array:
    """A key for each row [n] and each further use of it."""

    def one(row: jax.Array, use: jax.Array) -> jax.Array:
        first = jax.random.fold_in(key, row)
        further = jax.random.fold_in(first, _FURTHER_USE + use)
        # Of keys themselves JAX's check of their reuse takes a choice between two as a use of both.
        return jnp.where(use == 0, jax.random.key_data(first), jax.random.key_data(further))

    keys: jax.Array = jax.random.wrap_key_data(jax.vmap(one)(rows, uses), impl="threefry2x32")
    return keys


def _amount_key(key: jax.Array, name: str) -> jax.Array:
    """Of one augmentation: by its name, so that further ones change nothing."""
    return jax.random.fold_in(key, zlib.crc32(name.encode()))


_Limits: TypeAlias = tuple[tuple[str, float], ...]
_Drawn: TypeAlias = tuple[jax.Array, jax.Array, dict[str, jax.Array]]  # offsets, flips, amounts


def _fresh(offsets: int, limits: _Limits, key: jax.Array) -> _Drawn:
    """Offset [2] i32 uniform over 0..offsets - 1, a fair flip [], and amounts []."""
    amounts = {name: jax.random.uniform(_amount_key(key, name), (), minval=-x, maxval=x) for name, x in limits}
    offset_key, flip_key = jax.random.split(key)
    return jax.random.randint(offset_key, (2,), 0, offsets), jax.random.bernoulli(flip_key), amounts


@pinned()
@functools.partial(jax.jit, static_argnums=(1, 2, 3))
def bank(rows: np.ndarray, slots: int, offsets: int, variation: Variation = PLAIN) -> Plan:
    """The fixed augmentations of each image, stratified so that few of them cover offsets, flips and amounts evenly.

    They are a Latin hypercube (McKay et al. 1979): offsets in y and in x, and each amount, are cut into K strata, and
    each stratum is used once. Half of the slots are flipped; of an odd number, one more or one less by a fair coin.

    Args:
      rows: [n] i32, rows of the store.
      slots: K.
      offsets: places of the crop, see `Model.offsets`.
      variation: flip, and limits of amounts.

    Returns:
      Plan with leaves [n, K, ...]: T is the image, B its slot.
    """
    offset, flipped, amounts = jax.vmap(lambda row: _bank_of_one(row, slots, offsets, variation.limits))(rows)
    shape = (len(rows), slots)
    index = jnp.broadcast_to(jnp.asarray(rows, jnp.int32)[:, None], shape)
    slot = jnp.broadcast_to(jnp.arange(slots, dtype=jnp.int32)[None, :], shape)
    return Plan(index, offset, flipped & variation.flip, slot, jnp.ones(shape, bool), amounts)


def _bank_of_one(row: jax.Array, slots: int, offsets: int, limits: _Limits) -> _Drawn:
    """Offsets [K, 2], flips [K] and amounts [K] of one image."""
    of_row, amounts = jax.random.fold_in(new_key(_BANK_SEED), row), {}
    for name, limit in limits:
        strata_key, within_key = jax.random.split(_amount_key(of_row, name))
        shares = (jax.random.permutation(strata_key, slots) + jax.random.uniform(within_key, (slots,))) / slots
        amounts[name] = limit * (2 * shares - 1)
    keys = jax.random.split(of_row, 5)
    strata = jnp.stack([jax.random.permutation(key, slots) for key in keys[:2]], axis=1)
    within = jax.random.uniform(keys[2], (slots, 2))
    offset = ((strata + within) * (offsets / slots)).astype(jnp.int32)
    odd_one = jax.random.bernoulli(keys[4]).astype(jnp.int32)
    flip = jax.random.permutation(keys[3], slots) < (slots + odd_one) // 2
    return jnp.minimum(offset, offsets - 1), flip, amounts


def oversample(label: np.ndarray, seed: int) -> np.ndarray:
    """Places [m] i64 among labels [n] by which both classes are equally many: each once, in order, then those of the
    rarer class over and over, in a random order of this seed, so that their numbers differ by one at most.

    >>> oversample(np.array([0, 1, 0, 0]), seed=0).tolist()
    [0, 1, 2, 3, 1, 1]
    """
    rarer = np.flatnonzero(label == (2 * label.sum() < len(label)))
    order = np.random.default_rng([seed, _OVERSAMPLE]).permutation(rarer)
    return np.concatenate([np.arange(len(label)), np.resize(order, len(label) - 2 * len(rarer))])


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
        amounts={},
    )
