"""What a network is to the rest of the library: a record, plain data, readable before jax or flax is imported."""

from __future__ import annotations

import dataclasses
import functools
import importlib
import math
import re
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from cxrjax.base import InputError

if TYPE_CHECKING:
    import jax


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """What the weights expect of a pixel: `(value / 255 * range - mean) / std`, channels in `channels` order."""

    mean: tuple[float, ...]  # one for each channel
    std: tuple[float, ...]
    range: float  # 1 for torchvision, 255 for caffe
    channels: Literal["RGB", "BGR", "L"]  # L: one, grey

    def __post_init__(self) -> None:
        """Refuses what cannot be done to a pixel.

        Raises:
          ValueError: naming the rule.
        """
        if self.channels not in ("RGB", "BGR", "L"):
            raise ValueError(f"channels must be RGB, BGR or L, got {self.channels!r}")
        if not len(self.mean) == len(self.std) == len(self.channels):
            raise ValueError(
                f"mean and std must have a number for each of {self.channels}, got {self.mean}, {self.std}"
            )
        if not all(map(math.isfinite, (*self.mean, *self.std, self.range))) or min(*self.std, self.range) <= 0:
            raise ValueError(f"mean must be finite, std and range above 0, got {self.mean}, {self.std}, {self.range}")


# https://docs.pytorch.org/vision/stable/models/generated/torchvision.models.alexnet.html
TORCHVISION = Preprocessing((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), 1.0, "RGB")
# The mean of ilsvrc_2012_mean.npy, which Caffe subtracts; blue first.
CAFFE = Preprocessing((104.00698793, 116.66876762, 122.67891434), (1.0, 1.0, 1.0), 255.0, "BGR")


class Activation(NamedTuple):
    """What a stage computes, [B, h, w, C] or [B, C], before normalisation and pooling."""

    before: jax.Array  # ReLU
    after: jax.Array  # ReLU; the same as `before` where a stage has none


LINEAR = "linear"
"""The stage that `Model.with_linear_head` adds: one dense layer, which averages over a map if it reads one."""

SAME = -1
"""The padding of a `Window` that is TensorFlow's: as many cells as pixels / stride, rounded up."""


class Window(NamedTuple):
    """A convolution or pooling on the way from the image to a map, pixels of its own input."""

    size: int
    stride: int
    padding: int  # at the start of a row, or SAME


@dataclasses.dataclass(frozen=True)
class Model:
    """One architecture. Hashable, so that it may be a static argument of `jax.jit`."""

    name: str
    label: str  # as people read it: AlexNet
    description: str  # which one it is, with its source; continues a sentence
    module: str  # "package.module:Class" of the Flax module
    stages: tuple[str, ...]  # cut points in order, from image to logits
    dense: tuple[str, ...]  # those without a map
    cam_stage: str  # whose map Grad-CAM reads
    retrain_from: str  # first stage that is retrained unless asked otherwise
    dreamt: tuple[str, ...]  # stages whose channels are dreamt unless asked otherwise
    crop: int  # pixels a side of what the network sees
    source: int  # pixels a side of the image that the crop is cut from
    smallest: int  # pixels a side of the smallest image that leaves something of the map
    preprocessing: Preprocessing
    dropout: float = 0.0  # probability that a unit is dropped
    dropped: tuple[str, ...] = ()  # stages with dropout
    options: tuple[tuple[str, Any], ...] = ()  # further attributes of the Flax module, hashable
    foreign_names: tuple[tuple[str, str], ...] = ()  # of a state dict: see `foreign_name`
    older_names: tuple[tuple[str, str], ...] = ()  # of arrays in older state dicts, and what newer ones call them
    passed_over: tuple[str, ...] = ()  # regular expressions of a state dict's further names
    num_classes: int = 1000  # outputs of the last stage
    dtype: str = "float32"  # of activations and products; parameters are float32
    global_pooling: bool = False  # whether the last map is pooled to one value a channel, by `Staged.pool`

    @property
    def channels(self) -> int:
        """Of the preprocessed image: 1 or 3."""
        return len(self.preprocessing.mean)

    @property
    def logits(self) -> str:
        """The last stage."""
        return self.stages[-1]

    @property
    def lse_r(self) -> float:
        """Of log-sum-exp pooling, see `with_pooling`; 0: there is none."""
        return float(dict(self.options).get("lse_r", 0.0))

    @property
    def offsets(self) -> int:
        """Number of places of the crop in the image, in y as in x: 0 to `offsets` - 1."""
        return self.source - self.crop + 1

    @property
    def centre(self) -> int:
        """Offset of the centre crop in y and x, rounded as by torchvision's CenterCrop, MATLAB's centerCropWindow2d."""
        return (self.source - self.crop) // 2

    @property
    def middle(self) -> slice:
        """Rows, or columns, of the centre crop."""
        return slice(self.centre, self.centre + self.crop)

    def resized(self, crop: int) -> Model:
        """The same network for another crop, pixels a side, cut from round(crop * 256 / 224); 0: its own.

        >>> from cxrjax.models import registry
        >>> registry.ALEXNET.resized(448).source
        512
        """
        return (
            dataclasses.replace(self, crop=crop, source=round(crop * 256 / 224)) if crop not in (0, self.crop) else self
        )

    def with_pooling(self, lse_r: float) -> Model:
        """The same network with log-sum-exp pooling (`layers.lse_pool`) in place of global average pooling; 0: itself.

        Pooling has no weights. It ends the stage of the last map, so that a bank holds what was pooled; r is among the
        options, and so in the key of the bank.

        Raises:
          InputError: if the network has no global average pooling, or r is none that float32 can tell from its limits.
        """
        if not lse_r:
            return self
        if not self.global_pooling:
            from cxrjax.models import registry

            able = [name for name in registry.names() if registry.get(name).global_pooling]
            raise InputError(f"lse_r={lse_r:g}: {self.label} has no global average pooling; {', '.join(able)} have it")
        if not 1e-3 <= lse_r <= 1e3:
            raise InputError(f"lse_r must be 0, or from 0.001 to 1000, got {lse_r:g}")
        return dataclasses.replace(
            self,
            description=f"{self.description}, with log-sum-exp pooling of the last map, r = {lse_r:g} (Wang et al. "
            "2017, arXiv:1705.02315), in place of its mean",
            options=tuple({**dict(self.options), "lse_r": float(lse_r)}.items()),
        )

    def with_linear_head(self, start: str) -> Model:
        """The same network up to `start`, which with all after it gives way to one dense layer, the stage `linear`.

        It reads what `start` reads: a vector where the network's own classifier would flatten or average, else a map,
        over which it averages.

        >>> from cxrjax.models import registry
        >>> registry.ALEXNET.with_linear_head("fc6").stages[-2:]
        ('conv5', 'linear')

        Raises:
          InputError: if there is no such stage, or none before it; if it would take the place of log-sum-exp pooling.
        """
        if self.before(start) is None:
            raise InputError(f"a linear head needs a stage before it, and {start} is the first of {self.label}")
        if self.lse_r and start != self.logits:
            raise InputError(
                f"lse_r={self.lse_r:g} pools what {self.logits} reads; a linear head from {start} averages"
            )
        kept = self.stages[: self.stages.index(start)]
        last_map = [stage for stage in kept if stage not in self.dense][-1]
        return dataclasses.replace(
            self,
            stages=(*kept, LINEAR),
            dense=(*self.dense, LINEAR),
            cam_stage=self.cam_stage if self.cam_stage in kept else last_map,
            retrain_from=LINEAR,
            dreamt=tuple(stage for stage in self.dreamt if stage in kept) or (last_map,),
        )

    def foreign_name(self, path: str) -> str:
        """What a state dict calls one of our modules.

        Args:
          path: "layer1.0.conv1". The first of `foreign_names`, pairs of a regular expression and its replacement, that
            matches the whole of it gives the name; else it is the same.
        """
        return _renamed(self.foreign_names, path)

    def newer_name(self, name: str) -> str:
        """What newer state dicts call an array of an older one, by the rules `older_names`."""
        return _renamed(self.older_names, name)

    def check_stage(self, stage: str, argument: str = "stage") -> None:
        """Refuses a stage that there is not.

        Raises:
          InputError: naming the argument and the stages.
        """
        if stage not in self.stages:
            raise InputError(f"{argument} must be one of {', '.join(self.stages)}, got {stage!r}")

    def between(self, start: str, stop: str) -> tuple[str, ...]:
        """Stages from `start` to `stop`, both included.

        >>> from cxrjax.models import registry
        >>> registry.ALEXNET.between("conv5", "fc7")
        ('conv5', 'fc6', 'fc7')

        Raises:
          InputError: if there is no such stage, or `start` comes after `stop`.
        """
        self.check_stage(start, "start")
        self.check_stage(stop, "stop")
        if self.stages.index(start) > self.stages.index(stop):
            raise InputError(f"start must not come after stop, got start={start!r} and stop={stop!r}")
        return self.stages[self.stages.index(start) : self.stages.index(stop) + 1]

    def before(self, stage: str) -> str | None:
        """The stage whose output `stage` reads; None for the first, which reads the image."""
        self.check_stage(stage)
        index = self.stages.index(stage)
        return self.stages[index - 1] if index else None

    def first_retrained(self, retrain_from: str, argument: str = "retrain_from") -> str:
        """The first stage of a head: a stage, `head` for the usual one, `all` for the first.

        Raises:
          InputError: if there is no such stage.
        """
        if retrain_from not in (*self.stages, "head", "all"):
            raise InputError(
                f"{argument} must be head ({self.retrain_from}), all or one of {', '.join(self.stages)}, "
                f"got {retrain_from!r}"
            )
        return {"head": self.retrain_from, "all": self.stages[0]}.get(retrain_from, retrain_from)

    def build(self, start: str | None = None, stop: str | None = None) -> Any:
        """The Flax module of the stages `start` (None: the first) to `stop` (None: the last), both included."""
        import jax.numpy as jnp

        module, name = self.module.split(":")
        return getattr(importlib.import_module(module), name)(
            num_classes=self.num_classes,
            stages=self.between(start or self.stages[0], stop or self.logits),
            dtype=jnp.dtype(self.dtype),
            **dict(self.options),
        )

    def input_shape(self, start: str | None = None) -> tuple[int, ...]:
        """What `start` reads, [1, crop, crop, channels] if it is the first stage (or None), else [1, ...]."""
        before = self.before(start) if start else None
        if before is None:
            return 1, self.crop, self.crop, self.channels
        return tuple(_traced(self, None, before)[0][0].shape)

    def variable_shapes(self, start: str | None = None, stop: str | None = None) -> dict[str, Any]:
        """Shapes and types of the variables of some stages, {"params": stage -> ...}, where there are any also
        "batch_stats"; nothing is computed."""
        shapes = _traced(self, start, stop)[1]
        stages = self.between(start or self.stages[0], stop or self.logits)
        return {kind: {stage: tree[stage] for stage in stages if stage in tree} for kind, tree in shapes.items()}

    def parameter_shapes(self, start: str | None = None, stop: str | None = None) -> dict[str, Any]:
        """Of these the parameters alone, stage -> {"kernel", "bias"}."""
        return dict(self.variable_shapes(start, stop)["params"])

    def width(self, stage: str) -> int:
        """Channels, units or classes of a stage.

        Raises:
          InputError: if there is no such stage.
        """
        self.check_stage(stage)
        return int(_traced(self, None, None)[0][1][stage].after.shape[-1])


def _renamed(rules: tuple[tuple[str, str], ...], name: str) -> str:
    """By the first rule whose regular expression matches the whole name; else the same."""
    for pattern, replacement in rules:
        match = re.fullmatch(pattern, name)
        if match:
            return match.expand(replacement)
    return name


@functools.cache
def _traced(model: Model, start: str | None, stop: str | None) -> Any:
    """((output, activations), variables) of some stages as shapes and types; nothing is computed."""
    import jax
    import jax.numpy as jnp

    run = functools.partial(model.build(start, stop).init_with_output, jax.random.key(0))
    return jax.eval_shape(lambda: run(jnp.zeros(model.input_shape(start), jnp.float32)))
