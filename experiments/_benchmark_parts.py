"""The parts of training that `benchmark_step` times, as cxrjax runs them, and the setting they share with PyTorch."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from cxrjax.base import InputError, devices
from cxrjax.interpret import dream, objectives
from cxrjax.models import pretrained, registry, transfer
from cxrjax.models.model import Model
from cxrjax.models.pretrained import Weights, WeightsInfo
from cxrjax.training import inputs, loop
from cxrjax.training import plan as planning
from cxrjax.training import step as training_step
from cxrjax.training.optimizer import RECIPES, make_optimizer
from cxrjax.training.plan import Pipeline, Plan
from cxrjax.training.step import Batch

from ._ceilings import Count
from ._timing import Work

CLASSES = 2
RATE = RECIPES["poster"].learning_rate
OF_SEEDS = ("head", "step", "evaluation")  # parts whose work grows with the number of seeds


class Setting(NamedTuple):
    """One choice of sizes; both sides get the same weights, pixels and augmentations."""

    weights: Weights | None  # None: nothing is frozen, all is random
    retrain_from: str
    dtype: str
    batch: int
    seeds: int
    steps: int  # of a timed call
    images: np.ndarray  # [T * B, 256, 256] u8
    labels: np.ndarray  # [T * B] i32
    plan: Plan  # leaves [S, T, B, ...], nothing masked

    @property
    def model(self) -> Model:
        """The network."""
        return self.weights.model if self.weights else registry.ALEXNET


def load_weights(folder: str, retrain_from: str) -> Weights | None:
    """Converted weights; for `random`, random ones of the frozen layers, None if there are none.

    Raises:
      InputError: if the folder holds no weights.
    """
    if folder != "random":
        return pretrained.load_weights(folder)
    model = registry.ALEXNET
    last = model.before(retrain_from)
    if last is None:
        return None
    example = jnp.zeros(model.input_shape(), jnp.float32)
    params = jax.jit(model.build(stop=last).init)(jax.random.key(0), example)["params"]
    return Weights(params, WeightsInfo("random", "", "", model.name, tuple(params), model.preprocessing))


def setting(weights: Weights | None, retrain_from: str, dtype: str, batch: int, seeds: int, steps: int) -> Setting:
    """Random pixels, which take as long as radiographs, and the first epoch's plan of each seed over them."""
    rng = np.random.default_rng(0)
    count = batch * steps
    model = weights.model if weights else registry.ALEXNET
    images = rng.integers(0, 256, (count, model.source, model.source), dtype=np.uint8)
    labels = rng.integers(0, CLASSES, count, dtype=np.int32)
    rows = np.arange(count, dtype=np.int32)
    plans = [planning.epoch(jax.random.key(seed), 0, rows, batch, steps, model.offsets) for seed in range(seeds)]
    plan = Plan(*(np.stack([np.asarray(x) for x in leaves]) for leaves in zip(*plans, strict=True)))
    return Setting(weights, retrain_from, dtype, batch, seeds, steps, images, labels, plan)


def cut(chosen: Setting) -> transfer.Network:
    """The network of a setting; the one place where the dtype goes in."""
    return transfer.build_transfer_model(chosen.weights, chosen.retrain_from, CLASSES, dtype=chosen.dtype)


def initial_key(seed: int) -> jax.Array:
    """The key of the weights that a seed's head starts from."""
    return planning.stream(jax.random.key(seed), planning.INITIAL_WEIGHTS)


def count(part: str, chosen: Setting) -> Count:
    """FLOPs and bytes of one step of a part, as the compiler counts them in cxrjax's programs.

    Augmentation is not counted: it reads and writes each pixel once.
    """
    if part == "dream":
        ascend, params, image = _ascent(chosen)
        return _counted(ascend, params, None, image, ())
    net, batch, seeds = cut(chosen), chosen.batch, chosen.seeds
    pixels = jax.ShapeDtypeStruct((batch, net.model.crop, net.model.crop), jnp.uint8)
    frozen = net.model.before(chosen.retrain_from) is not None
    trunk = _counted(net.trunk.run, net.trunk.variables, pixels) if frozen else Count(0, 0)
    if part == "trunk":
        return trunk
    activations: Any = jax.ShapeDtypeStruct((batch, *net.trunk.shape), net.trunk.dtype)
    variables = jax.eval_shape(net.initial, jax.random.key(0))
    if part == "evaluation":
        head = _counted(jax.jit(lambda variables, x: net.head(variables, x, None, None)[0]), variables, activations)
        return trunk.plus(head.times(seeds))
    label: Any = jax.ShapeDtypeStruct((batch,), jnp.int32)
    mask: Any = jax.ShapeDtypeStruct((batch,), jnp.bool_)
    optimizer = make_optimizer(RECIPES["poster"], chosen.steps)
    initial = functools.partial(training_step.init, optimizer=optimizer, dropout_key=jax.random.key(0))
    step = jax.jit(training_step.make_step(net.head, optimizer))
    head = _counted(step, jax.eval_shape(initial, variables), Batch(activations, label, mask))
    return (head if part == "head" else trunk.plus(head)).times(seeds)


def _counted(program: Any, *examples: Any) -> Count:
    """FLOPs before the compiler optimises (its library calls hide theirs); bytes after it, when work is fused."""
    lowered = program.lower(*examples)
    return Count(lowered.cost_analysis()["flops"], lowered.compile().cost_analysis()["bytes accessed"])


def images_a_step(part: str, chosen: Setting) -> int:
    """Images that one step of a part deals with, over all seeds."""
    if part == "dream":
        return 1
    return chosen.batch * (chosen.seeds if part in OF_SEEDS else 1)


def work(part: str, chosen: Setting) -> Work:
    """A part as cxrjax runs it."""
    return Work(_PARTS[part](chosen), jax.block_until_ready, chosen.steps)


def _trunk(chosen: Setting) -> Callable[[], Any]:
    """Crop, flip, normalise and frozen layers over a batch; the batches of one seed."""
    net, pipeline = cut(chosen), inputs.Resident(jnp.asarray(chosen.images), chosen.model.crop)
    plan = Plan(*(leaf[0] for leaf in chosen.plan))
    return lambda: [net.trunk(pixels) for pixels in pipeline.batches(plan)]


def _head(chosen: Setting) -> Callable[[], Any]:
    """Steps of all seeds in the trainer's one compiled call, activations ready."""
    net = cut(chosen)
    ready = jax.block_until_ready(
        _activations(net, inputs.Resident(jnp.asarray(chosen.images), net.model.crop), chosen.plan)
    )
    return _advancing(net, chosen, lambda: ready)


def _step(chosen: Setting) -> Callable[[], Any]:
    """Augmentation, trunk and head steps of all seeds."""
    net, pipeline = cut(chosen), inputs.Resident(jnp.asarray(chosen.images), chosen.model.crop)
    return _advancing(net, chosen, lambda: _activations(net, pipeline, chosen.plan))


def _advancing(net: transfer.Network, chosen: Setting, activations: Callable[[], jax.Array]) -> Callable[[], Any]:
    """The trainer's compiled steps, each call going on from where the last one came to."""
    optimizer = make_optimizer(RECIPES["poster"], chosen.steps)
    advance = loop.compile_steps(net, optimizer)
    labels, mask = jnp.asarray(chosen.labels[chosen.plan.index]), jnp.asarray(chosen.plan.mask)

    state = loop.initial_states(net, optimizer, np.arange(chosen.seeds, dtype=np.uint32))

    def run() -> Any:
        nonlocal state
        state, sums = advance(state, Batch(activations(), labels, mask))
        return state, sums

    return run


def _activations(net: transfer.Network, pipeline: Pipeline, plan: Plan) -> jax.Array:
    """What enters the head for all seeds and steps, [S, T, B, ...], the trunk run batch by batch as in training."""
    seeds, steps = plan.index.shape[:2]
    flat = Plan(*(leaf.reshape(-1, *leaf.shape[2:]) for leaf in plan))
    stacked = jnp.stack([net.trunk(pixels) for pixels in pipeline.batches(flat)])
    return stacked.reshape(seeds, steps, *stacked.shape[1:])


def _ascent(chosen: Setting) -> tuple[Any, Any, jax.Array]:
    """Program, parameters and image of an iteration of gradient ascent."""
    net = cut(chosen)
    params = (transfer.layers(net, jax.jit(net.initial)(initial_key(0))), objectives.class_logit(net, 1))
    objective = objectives.channel_objective(net)
    parts = (dream.OCTAVES.parametrisation, None, dream.OCTAVES.optimiser)
    ascend = jax.jit(functools.partial(dream.ascend, objective, parts), compiler_options=devices.convolution_options())
    return ascend, params, jnp.asarray(first_image(chosen))


def _dream(chosen: Setting) -> Callable[[], Any]:
    """Iterations of gradient ascent on one image of the network's crop."""
    ascend, params, start = _ascent(chosen)

    def run() -> Any:
        image = start
        for _ in range(chosen.steps):
            image, *_ = ascend(params, None, image, ())
        return image

    return run


def first_image(chosen: Setting) -> np.ndarray:
    """What a dream starts from: the upper left corner of the first image, [227, 227] f32."""
    crop = chosen.model.crop
    return chosen.images[0, :crop, :crop].astype(np.float32)


def _evaluation(chosen: Setting) -> Callable[[], Any]:
    """Logits of batches of centre crops: the trunk once for all seeds, then each seed's head."""
    net, pipeline = cut(chosen), inputs.Resident(jnp.asarray(chosen.images), chosen.model.crop)
    centre = planning.centre(np.arange(len(chosen.images)), chosen.batch, net.model.centre)
    variables = jax.jit(jax.vmap(net.initial))(jnp.stack([initial_key(seed) for seed in range(chosen.seeds)]))

    def run() -> Any:
        batches = (net.trunk(pixels) for pixels in pipeline.batches(centre))
        return [
            training_step.logits(net.head, variables, jnp.broadcast_to(x, (chosen.seeds, *x.shape))) for x in batches
        ]

    return run


_PARTS = {"trunk": _trunk, "head": _head, "step": _step, "dream": _dream, "evaluation": _evaluation}


def choose(text: str, retrain_from: str) -> tuple[str, ...]:
    """The parts of a flag, each once; the trunk is left out where no layer is frozen.

    Raises:
      InputError: if a part is not known, or none is left.
    """
    names = tuple(dict.fromkeys(word.strip() for word in text.split(",")))
    unknown = [name for name in names if name not in _PARTS]
    if unknown:
        raise InputError(f"--parts must be of {','.join(_PARTS)}, got {unknown[0]!r}")
    chosen = tuple(name for name in names if name != "trunk" or registry.ALEXNET.before(retrain_from))
    if not chosen:
        raise InputError(f"--parts={text}: with --retrain_from={retrain_from} no layer is frozen")
    return chosen


def on_cpu() -> bool:
    """Whether JAX computes on the CPU."""
    return jax.default_backend() == "cpu"
