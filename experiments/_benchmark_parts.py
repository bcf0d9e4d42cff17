"""The parts of training that benchmarks time, as cxrjax runs them, and the setting they share with PyTorch."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from cxrjax.base import InputError, devices
from cxrjax.interpret import dream, objectives
from cxrjax.models import pretrained, registry, transfer
from cxrjax.models.model import Model
from cxrjax.models.pretrained import Weights, WeightsInfo
from cxrjax.models.transfer import RetrainedHead
from cxrjax.training import inputs, loop
from cxrjax.training import plan as planning
from cxrjax.training import step as training_step
from cxrjax.training.optimizer import Recipe, make_optimizer
from cxrjax.training.plan import Pipeline, Plan
from cxrjax.training.step import Batch

from ._ceilings import Count
from ._timing import Work

CLASSES = 2
RATE = Recipe().learning_rate
OF_SEEDS = ("head", "step", "evaluation")  # parts whose work grows with the number of seeds


class Setting(NamedTuple):
    """One choice of network and sizes; both sides get the same weights, pixels and augmentations."""

    net: transfer.Network
    batch: int
    seeds: int
    steps: int  # of a timed call
    images: np.ndarray  # [T * B, source, source] u8
    labels: np.ndarray  # [T * B] i32
    plan: Plan  # leaves [S, T, B, ...], nothing masked

    @property
    def model(self) -> Model:
        """The network."""
        return self.net.model

    @property
    def head(self) -> RetrainedHead:
        """Where it is cut, and what its BatchNorm does in training."""
        return cast(RetrainedHead, self.net.head)


def network(
    weights: Weights,
    retrain_from: str,
    dtype: str = "float32",
    image_size: int = 0,
    batch_norm: str = "frozen",
    lse_r: float = 0.0,
) -> transfer.Network:
    """A network of two classes, cut; arguments as `transfer.build_transfer_model`.

    Raises:
      InputError: if it has no such stage, sees nothing of so small an image, or has no pooling to replace.
    """
    model = weights.model
    if 0 < image_size < model.smallest:
        raise InputError(f"--image_size must be 0 or {model.smallest} or more for {model.label}, got {image_size}")
    start = model.first_retrained(retrain_from, "--retrain_from")
    return transfer.build_transfer_model(weights, start, CLASSES, model, dtype, image_size, batch_norm, lse_r=lse_r)


def load_weights(folder: str, name: str) -> Weights:
    """Converted weights; for `random`, random ones of the network of that name.

    Raises:
      InputError: if the folder holds no weights, or those of another network than `name`, which may be empty.
    """
    if folder == "random":
        return random_weights(registry.get(name or registry.ALEXNET.name))
    weights = pretrained.load_weights(folder)
    if name not in ("", weights.model.name):
        raise InputError(f"--model={name} is not the network of --weights={folder}, which is {weights.model.name}")
    return weights


def random_weights(model: Model) -> Weights:
    """Kernels normal with variance 2 / fan_in, so that no layer fades, drawn by NumPy: compiling Flax's own first
    weights of ResNet-50 takes half a minute."""
    rng, arrays = np.random.default_rng(0), {}
    for path, leaf in traverse_util.flatten_dict(model.variable_shapes()).items():
        if len(leaf.shape) > 1:
            scale = np.float32((2 / math.prod(leaf.shape[:-1])) ** 0.5)
            arrays[path] = scale * rng.standard_normal(leaf.shape, np.float32)
        else:
            arrays[path] = np.full(leaf.shape, path[-1] in ("scale", "var"), np.float32)
    variables = traverse_util.unflatten_dict(arrays)
    info = WeightsInfo("random", "", "", model.name, tuple(variables["params"]), model.preprocessing)
    return Weights(variables["params"], info, variables.get("batch_stats", {}))


def setting(net: transfer.Network, batch: int, seeds: int, steps: int) -> Setting:
    """Random pixels, which take as long as radiographs, and the first epoch's plan of each seed over them."""
    rng, model = np.random.default_rng(0), net.model
    count = batch * steps
    images = rng.integers(0, 256, (count, model.source, model.source), dtype=np.uint8)
    labels = rng.integers(0, CLASSES, count, dtype=np.int32)
    rows = np.arange(count, dtype=np.int32)
    plans = [planning.epoch(jax.random.key(seed), 0, rows, batch, steps, model.offsets) for seed in range(seeds)]
    plan = jax.tree.map(lambda *leaves: np.stack([np.asarray(x) for x in leaves]), *plans)
    return Setting(net, batch, seeds, steps, images, labels, plan)


def initial_key(seed: int) -> jax.Array:
    """The key of the weights that a seed's head starts from."""
    return planning.stream(jax.random.key(seed), planning.INITIAL_WEIGHTS)


def count(part: str, chosen: Setting) -> Count:
    """FLOPs and bytes of one step of a part, as the compiler counts them in cxrjax's programs.

    FLOPs are counted before the compiler optimises (its library calls hide theirs); bytes after it, when work is fused.
    Augmentation is not counted: it reads and writes each pixel once.
    """
    total = Count(0, 0)
    for lowered, times in _programs(part, chosen):
        needed = Count(lowered.cost_analysis()["flops"], lowered.compile().cost_analysis()["bytes accessed"])
        total = total.plus(needed.times(times))
    return total


def memory(part: str, chosen: Setting) -> float:
    """MB of arguments and temporaries of a part's largest program, one seed, as the compiler lays it out."""
    analyses = [lowered.compile().memory_analysis() for lowered, _ in _programs(part, chosen)]
    return max(used.argument_size_in_bytes + used.temp_size_in_bytes for used in analyses) / 1e6


def _programs(part: str, chosen: Setting) -> list[tuple[Any, int]]:
    """The programs of one step of a part, lowered, and how often each runs."""
    if part == "dream":
        ascend, params, image = _ascent(chosen)
        return [(ascend.lower(params, None, image, ()), 1)]
    net, batch, seeds = chosen.net, chosen.batch, chosen.seeds
    pixels = jax.ShapeDtypeStruct((batch, net.model.crop, net.model.crop), jnp.uint8)
    trunk = [cast(Any, net.trunk.run).lower(net.trunk.variables, pixels)] if net.trunk.variables else []
    if part == "trunk":
        return [(program, 1) for program in trunk]
    activations: Any = jax.ShapeDtypeStruct((batch, *net.trunk.shape), net.trunk.dtype)
    variables = jax.eval_shape(net.initial, jax.random.key(0))
    options = {} if net.dense else devices.convolution_options(training=part != "evaluation")
    if part == "evaluation":
        head = jax.jit(lambda variables, x: net.head(variables, x, None, None)[0], compiler_options=options)
        return [*((program, 1) for program in trunk), (head.lower(variables, activations), seeds)]
    optimizer = make_optimizer(Recipe())
    initial = functools.partial(training_step.init, optimizer=optimizer, dropout_key=jax.random.key(0))
    step = jax.jit(training_step.make_step(net.head, optimizer), compiler_options=options)
    examples = training_step.batch_shapes((batch,), net.trunk.shape, net.trunk.dtype)
    lowered = step.lower(jax.eval_shape(initial, variables), examples)
    return [(program, seeds) for program in ([] if part == "head" else trunk) + [lowered]]


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
    net, pipeline = chosen.net, inputs.Resident(jnp.asarray(chosen.images), chosen.model.crop)
    plan = jax.tree.map(lambda leaf: leaf[0], chosen.plan)
    return lambda: [net.trunk(pixels) for pixels in pipeline.batches(plan)]


def _head(chosen: Setting) -> Callable[[], Any]:
    """Steps of all seeds in the trainer's one compiled call, what enters the head being ready."""
    if not chosen.net.trunk.variables:
        return _step(chosen)
    ready = jnp.asarray(head_inputs(chosen), chosen.net.trunk.dtype)
    return _advancing(chosen.net, chosen, lambda: ready)


def head_inputs(chosen: Setting) -> np.ndarray:
    """What enters the head, [S, T, B, ...] f32, random: to run a trunk of VGG over it takes longer than all else."""
    shape = (*chosen.plan.index.shape, *chosen.net.trunk.shape)
    return np.random.default_rng(0).random(shape, np.float32)


def _step(chosen: Setting) -> Callable[[], Any]:
    """Augmentation, trunk and head steps of all seeds."""
    net, pipeline = chosen.net, inputs.Resident(jnp.asarray(chosen.images), chosen.model.crop)
    return _advancing(net, chosen, lambda: _activations(net, pipeline, chosen.plan))


def _advancing(net: transfer.Network, chosen: Setting, activations: Callable[[], jax.Array]) -> Callable[[], Any]:
    """The trainer's compiled steps, each call going on from where the last one came to."""
    optimizer = make_optimizer(Recipe())
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
    flat = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), plan)
    stacked = jnp.stack([net.trunk(pixels) for pixels in pipeline.batches(flat)])
    return stacked.reshape(seeds, steps, *stacked.shape[1:])


def _ascent(chosen: Setting) -> tuple[Any, Any, jax.Array]:
    """Program, parameters and image of an iteration of gradient ascent."""
    net = chosen.net
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
    """What a dream starts from: the upper left corner of the first image, [crop, crop] f32."""
    crop = chosen.model.crop
    return chosen.images[0, :crop, :crop].astype(np.float32)


def _evaluation(chosen: Setting) -> Callable[[], Any]:
    """Logits of batches of centre crops: the trunk once for all seeds, then each seed's head."""
    net, pipeline = chosen.net, inputs.Resident(jnp.asarray(chosen.images), chosen.model.crop)
    centre = planning.centre(np.arange(len(chosen.images)), chosen.batch, net.model.centre)
    variables = jax.jit(jax.vmap(net.initial))(jnp.stack([initial_key(seed) for seed in range(chosen.seeds)]))

    def run() -> Any:
        batches = (net.trunk(pixels) for pixels in pipeline.batches(centre))
        return [
            training_step.logits(net.head, variables, jnp.broadcast_to(x, (chosen.seeds, *x.shape))) for x in batches
        ]

    return run


_PARTS = {"trunk": _trunk, "head": _head, "step": _step, "dream": _dream, "evaluation": _evaluation}


def choose(text: str, net: transfer.Network) -> tuple[str, ...]:
    """The parts of a flag, each once; the trunk is left out where no stage is frozen.

    Raises:
      InputError: if a part is not known, or none is left.
    """
    names = tuple(dict.fromkeys(word.strip() for word in text.split(",")))
    unknown = [name for name in names if name not in _PARTS]
    if unknown:
        raise InputError(f"--parts must be of {','.join(_PARTS)}, got {unknown[0]!r}")
    chosen = tuple(name for name in names if name != "trunk" or net.trunk.variables)
    if not chosen:
        raise InputError(f"--parts={text}: all stages are retrained, so there is no trunk")
    return chosen


def on_cpu() -> bool:
    """Whether JAX computes on the CPU."""
    return jax.default_backend() == "cpu"
