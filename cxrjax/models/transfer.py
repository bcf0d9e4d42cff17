"""A network cut into a frozen trunk and a head to be retrained, filled with pretrained weights; the way through it."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, TypeAlias, cast

import jax
import jax.numpy as jnp
import numpy as np

from cxrjax.base import Array, Params, Variables, devices
from cxrjax.base.numerics import new_key, pinned
from cxrjax.models import augment, pretrained, registry
from cxrjax.models.model import LINEAR, Activation, Model
from cxrjax.models.pretrained import Weights
from cxrjax.storage import checkpoint


class Forward(NamedTuple):
    """What a network makes of B images."""

    output: jax.Array  # of the last stage that ran: logits [B, K] f32, or what the next stage reads
    activations: dict[str, Activation]  # by stage
    batch_stats: Mapping[str, Any] = MappingProxyType({})  # running statistics after it, where `batch_mask` was given


@pinned()
def forward(
    model: Model,
    variables: Mapping[str, Any],
    x: Array,
    *,
    start: str | None = None,
    stop: str | None = None,
    train: bool = False,
    rngs: Mapping[str, jax.Array] | None = None,
    taps: Mapping[str, jax.Array] = MappingProxyType({}),
    batch_mask: Array | None = None,
) -> Forward:
    """Runs some stages of a network: the one way in, for training, evaluation, dreams and maps.

    Args:
      model: the network.
      variables: Flax collections, {"params": stage -> {"kernel", "bias"}}, with BatchNorm also "batch_stats"; may hold
        more stages than are run.
      x: for the first stage pixels, 0..255, u8 or float, [B, H, W], grey, or [B, H, W, 3], RGB, at least
        `model.smallest` a side, which are preprocessed here; for a later one the output of the stage before it.
      start: first stage; None: the network's.
      stop: last stage, which is run, too; None: the logits.
      train: True drops units; then `rngs` must hold "dropout".
      rngs: kind -> key.
      taps: stage -> what is added to its activations before they go on; the gradient with respect to zeros is that of
        the activations.
      batch_mask: [B] bool, the examples whose mean and variance BatchNorm takes and adds to the running ones; None: it
        takes the running ones.

    Raises:
      ValueError: if there is no such stage, or `start` comes after `stop`.
    """
    start, stop = start or model.stages[0], stop or model.logits
    inputs = augment.normalise(x, model.preprocessing) if start == model.stages[0] else jnp.asarray(x)
    network, batch_stats = model.build(start, stop), dict(variables.get("batch_stats", {}))
    if batch_mask is None or not batch_stats:
        output, activations = network.apply(variables, inputs, train, taps, rngs=rngs)
    else:
        (output, activations), updated = network.apply(
            variables, inputs, train, taps, batch_mask, rngs=rngs, mutable=["batch_stats"]
        )
        batch_stats = updated["batch_stats"]
    return Forward(jnp.asarray(output, jnp.float32) if stop == model.logits else output, activations, batch_stats)


class Trunk(NamedTuple):
    """The frozen stages."""

    model: Model
    run: Callable[[Variables, Array], jax.Array]  # (variables, pixels [B, H, W]), compiled
    variables: Variables
    shape: tuple[int, ...]  # of one image's output
    dtype: np.dtype  # of the output
    identity: str  # changes with what the output depends on; "": no stages, the pixels pass as they are
    clahe: bool = False  # whether images are equalised first, see `augment.clahe`

    def prepared(self, pixels: Array) -> Array:
        """Images [B, crop, crop] u8 as the first stage sees them, of an augmented one before it is varied."""
        return augment.clahe(pixels) if self.clahe else pixels

    @pinned()
    def __call__(self, pixels: Array, amounts: Mapping[str, Array] = MappingProxyType({})) -> jax.Array:
        """Activations [B, *shape] of pixels [B, crop, crop] u8, varied by amounts [B], see `augment.vary`."""
        images = self.prepared(pixels)
        return self.run(self.variables, augment.vary(images, dict(amounts)) if amounts else images)


Head: TypeAlias = "Callable[[Variables, Array, jax.Array | None, Array | None], tuple[jax.Array, Params]]"
"""(variables, inputs [B, ...], dropout key or None, mask [B] or None) -> (logits [B, K], running statistics).

With a key units are dropped, and BatchNorm takes the statistics of the unmasked examples if the head says so."""


@dataclasses.dataclass(frozen=True)
class RetrainedHead:
    """The stages from `start` on; two of the same fields are equal, so that one program does for both."""

    model: Model
    start: str
    batch_norm: str = "frozen"  # or train: while training it takes each batch's statistics and keeps running ones

    def __call__(
        self, variables: Variables, inputs: Array, key: jax.Array | None = None, mask: Array | None = None
    ) -> tuple[jax.Array, Params]:
        """See `Head`."""
        train, rngs = key is not None, {} if key is None else {"dropout": key}
        seen = forward(
            self.model,
            variables,
            inputs,
            start=self.start,
            train=train,
            rngs=rngs,
            batch_mask=mask if train and self.batch_norm == "train" else None,
        )
        return seen.output, dict(seen.batch_stats)


class Network(NamedTuple):
    """A frozen trunk and the head to be retrained."""

    model: Model  # with the classes, the dtype, the crop and the preprocessing of this network
    trunk: Trunk
    head: Head
    initial: Callable[[jax.Array], Variables]  # key -> those of one seed's head
    fresh: tuple[str, ...]  # head stages that start from random weights
    dense: bool  # the head holds no convolution

    @property
    def start(self) -> str:
        """The first stage of the head."""
        return cast(RetrainedHead, self.head).start


@pinned()
def build_transfer_model(
    weights: Weights | None,
    retrain_from: str,
    num_classes: int = 2,
    model: Model = registry.ALEXNET,
    dtype: str = "float32",
    image_size: int = 0,
    batch_norm: str = "frozen",
    clahe: bool = False,
    linear: bool = False,
    lse_r: float = 0.0,
) -> Network:
    """Cuts a network into trunk and head, and fills in what weights there are.

    Args:
      weights: pretrained; None: random, the trunk the same for all seeds.
      retrain_from: first stage of the head, `head` for the network's usual one, `all` for its first.
      num_classes: outputs of the last stage, which always starts from random weights.
      model: if there are no weights, which name theirs.
      dtype: float32 or bfloat16, of activations and of the products that make them; parameters, logits, loss and
        update are float32 in both.
      image_size: pixels a side of the crop, see `Model.resized`; 0: the network's.
      batch_norm: of the head in training, "frozen": it takes the running statistics, as the trunk does; "train": each
        batch's.
      clahe: every image is equalised first, see `augment.clahe`.
      linear: one dense layer in place of the head's stages, see `Model.with_linear_head`.
      lse_r: of log-sum-exp pooling, see `Model.with_pooling`; 0: the network's own.

    Raises:
      InputError: if the network has no stage `retrain_from`, or no pooling to replace; if a frozen stage is missing in
        the weights or does not fit, listing all such stages.
    """
    model = dataclasses.replace(weights.model if weights else model, num_classes=num_classes, dtype=dtype)
    model = model.resized(image_size).with_pooling(lse_r)
    start = model.first_retrained(retrain_from)
    if linear:
        model, start = model.with_linear_head(start), LINEAR
    shapes = model.variable_shapes(start)
    given: Variables = {}
    if weights:
        available = [name for name in shapes["params"] if name in weights.params and name != model.logits]
        given = pretrained.select(weights.variables, available)
        absent = tuple(name for name in shapes["params"] if name not in available)
        given = pretrained.match(given, shapes, absent, model.stages)
    return Network(
        model,
        _trunk(model, weights, model.before(start), clahe),
        RetrainedHead(model, start, batch_norm),
        functools.partial(_initial, model, start, given),
        tuple(name for name in shapes["params"] if name not in given.get("params", {})),
        all(stage in model.dense for stage in model.between(start, model.logits)),
    )


@pinned()
def _initial(model: Model, start: str, given: Variables, key: jax.Array) -> Variables:
    """Variables of one seed's head: those that are given, and random ones."""
    example = jnp.zeros(model.input_shape(start), jnp.float32)
    return merge(model.build(start).init(key, example), given)


def merge(first: Variables, second: Variables) -> Variables:
    """The stages of both; those of `second` where both have them."""
    return {kind: {**first.get(kind, {}), **second.get(kind, {})} for kind in (*first, *(second.keys() - first))}


def of_logit(net: Network, k: int) -> tuple[Network, Callable[[Variables], Variables]]:
    """A network of many sigmoids as one of two classes, of which logit k asks: logits -z/2 and z/2.

    Their softmax is (1 - sigmoid(z), sigmoid(z)), so that whatever takes a binary network serves one label, too.

    Args:
      net: of K logits.
      k: 0..K-1.

    Returns:
      The network, and what turns variables of a head of `net`, leaves of the last stage [..., K], into its.
    """
    model = dataclasses.replace(net.model, num_classes=2)
    binary = dataclasses.replace(cast(RetrainedHead, net.head), model=model)

    def variables(head: Variables) -> Variables:
        last = jax.tree.map(lambda x: np.stack([-x[..., k] / 2, x[..., k] / 2], axis=-1), head["params"][model.logits])
        return merge(head, {"params": {model.logits: last}})

    return net._replace(model=model, head=binary), variables


def layers(net: Network, head: Variables) -> Variables:
    """Every stage's variables: the trunk's and one head's, or a stack of heads [S, ...]."""
    return merge(net.trunk.variables, head)


def seed_axes(net: Network) -> dict[str, dict[str, int | None]]:
    """Where `layers` of a stack of heads has its axis S, for `jax.vmap`: the trunk has none."""
    return {
        kind: {stage: None if stage in net.trunk.variables.get(kind, {}) else 0 for stage in stages}
        for kind, stages in net.model.variable_shapes().items()
    }


def _trunk(model: Model, weights: Weights | None, stop: str | None, clahe: bool) -> Trunk:
    """The frozen stages, the last of them `stop`, as a compiled function; of none, the pixels as they are."""
    pixels = (model.crop, model.crop)
    if stop is None:
        return Trunk(model, lambda _, images: jnp.asarray(images), {}, pixels, np.dtype(np.uint8), "", clahe)
    if weights:
        variables = pretrained.match(weights.variables, model.variable_shapes(stop=stop), others=weights.model.stages)
        variables = jax.tree.map(jnp.asarray, variables)
    else:
        example = jnp.zeros(model.input_shape(), jnp.float32)
        variables = model.build(stop=stop).init(new_key(0), example)

    def run(variables: Variables, images: Array) -> jax.Array:
        return forward(model, variables, images, stop=stop).output

    shape = jax.eval_shape(lambda: run(variables, jnp.zeros((1, *pixels), jnp.uint8))).shape
    options = dict(model.options)
    identity = f"{digest(variables)} {model.name} {options} {stop} {model.preprocessing} {model.crop} {model.dtype}"
    identity += " clahe" if clahe else ""
    compiled = jax.jit(run, compiler_options=devices.convolution_options())
    return Trunk(model, compiled, variables, shape[1:], np.dtype(model.dtype), identity, clahe)


def digest(variables: Variables) -> str:
    """SHA-256 of variables, of parameters alone where there are no others."""
    return checkpoint.digest(variables if variables.get("batch_stats") else variables["params"])


def facts(model: Model, weights: Weights | None, retrain_from: str) -> dict[str, Any]:
    """What is said of the network: which it is, its input, dropout, and which layers are frozen, retrained, of these
    begin at random (`fresh`, as `build_transfer_model` fills them in), and drop units."""
    retrained = model.between(retrain_from, model.logits)
    given = set(weights.info.layers) if weights else set()
    of_model = ("label", "description", "crop", "source", "channels", "logits", "dropout")
    return {
        "model": model.name,
        **{name: getattr(model, name) for name in of_model},
        "frozen": [name for name in model.stages if name not in retrained],
        "retrained": list(retrained),
        "fresh": [name for name in retrained if name not in given or name == model.logits],
        "dropped": [name for name in retrained if name in model.dropped],
    }
