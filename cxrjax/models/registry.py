"""Which networks there are: one record each, plain data, readable before jax or flax is imported.

To add a network write a Flax module with the call of `alexnet.AlexNet` and `register` a `Model` that names it:

  class Net(nn.Module):      # attributes: num_classes, start, stop, dtype, and whatever `Model.options` sets
      def __call__(self, x, train=False, taps={}) -> tuple[Array, dict[str, Activation]]: ...
      def windows(self, stage) -> tuple[Window, ...]: ...    # only where a stage has a map
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from cxrjax.base import InputError

if TYPE_CHECKING:
    import jax


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """What the weights expect of a pixel: `(value / 255 * range - mean) / std`, channels in `channels` order."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    range: float  # 1 for torchvision, 255 for caffe
    channels: Literal["RGB", "BGR"]


# https://docs.pytorch.org/vision/stable/models/generated/torchvision.models.alexnet.html
TORCHVISION = Preprocessing((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), 1.0, "RGB")
# The mean of ilsvrc_2012_mean.npy, which Caffe subtracts; blue first.
CAFFE = Preprocessing((104.00698793, 116.66876762, 122.67891434), (1.0, 1.0, 1.0), 255.0, "BGR")


class Activation(NamedTuple):
    """What a stage computes, [B, h, w, C] or [B, C], before normalisation and pooling."""

    before: jax.Array  # ReLU
    after: jax.Array  # ReLU; the same as `before` where a stage has none


class Window(NamedTuple):
    """A convolution or pooling on the way from the image to a map, pixels of its own input."""

    size: int
    stride: int
    padding: int  # at the start of a row


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
    channels: int = 3  # of the preprocessed image
    dropout: float = 0.0  # probability that a unit is dropped
    dropped: tuple[str, ...] = ()  # stages with dropout
    options: tuple[tuple[str, Any], ...] = ()  # further attributes of the Flax module, hashable
    foreign_names: tuple[tuple[str, str], ...] = ()  # layer of ours -> module in torchvision's state dict
    num_classes: int = 1000  # outputs of the last stage
    dtype: str = "float32"  # of activations and products; parameters are float32

    @property
    def logits(self) -> str:
        """The last stage."""
        return self.stages[-1]

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

    def check_stage(self, stage: str, argument: str = "stage") -> None:
        """Refuses a stage that there is not.

        Raises:
          InputError: naming the argument and the stages.
        """
        if stage not in self.stages:
            raise InputError(f"{argument} must be one of {', '.join(self.stages)}, got {stage!r}")

    def between(self, start: str, stop: str) -> tuple[str, ...]:
        """Stages from `start` to `stop`, both included.

        >>> ALEXNET.between("conv5", "fc7")
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

    def build(self, start: str | None = None, stop: str | None = None) -> Any:
        """The Flax module of the stages `start` (None: the first) to `stop` (None: the last), both included."""
        import jax.numpy as jnp

        module, name = self.module.split(":")
        cut = {"start": start or self.stages[0], "stop": stop or self.logits}
        sizes = {"num_classes": self.num_classes, "dtype": jnp.dtype(self.dtype)}
        return getattr(importlib.import_module(module), name)(**sizes, **cut, **dict(self.options))

    def input_shape(self, start: str | None = None) -> tuple[int, ...]:
        """What `start` reads, [1, crop, crop, channels] if it is the first stage (or None), else [1, ...]."""
        before = self.before(start) if start else None
        if before is None:
            return 1, self.crop, self.crop, self.channels
        return tuple(_traced(self, None, before)[0][0].shape)

    def parameter_shapes(self, start: str | None = None, stop: str | None = None) -> dict[str, Any]:
        """Shapes and types of the parameters of some stages, layer -> {"kernel", "bias"}; nothing is computed."""
        return dict(_traced(self, start, stop)[1]["params"])

    def width(self, stage: str) -> int:
        """Channels, units or classes of a stage.

        Raises:
          InputError: if there is no such stage.
        """
        self.check_stage(stage)
        return int(_traced(self, None, None)[0][1][stage].after.shape[-1])


@functools.cache
def _traced(model: Model, start: str | None, stop: str | None) -> Any:
    """((output, activations), variables) of some stages as shapes and types; nothing is computed."""
    import jax
    import jax.numpy as jnp

    run = functools.partial(model.build(start, stop).init_with_output, jax.random.key(0))
    return jax.eval_shape(lambda: run(jnp.zeros(model.input_shape(start), jnp.float32)))


_MODELS: dict[str, Model] = {}


def register(model: Model) -> Model:
    """Adds a network under its name, or replaces the one of that name; returns it."""
    _MODELS[model.name] = model
    return model


def names() -> tuple[str, ...]:
    """Names of all registered networks."""
    return tuple(_MODELS)


def get(name: str) -> Model:
    """The network of that name.

    Raises:
      InputError: if there is none, listing those that there are.
    """
    if name not in _MODELS:
        raise InputError(f"model must be one of {', '.join(_MODELS)}, got {name!r}")
    return _MODELS[name]


ALEXNET = register(
    Model(
        name="alexnet",
        label="AlexNet",
        description="one tower (Krizhevsky 2014, arXiv:1404.5997; torchvision's)",
        module="cxrjax.models.alexnet:AlexNet",
        options=(("variant", "torchvision"),),
        stages=("conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8"),
        dense=("fc6", "fc7", "fc8"),
        cam_stage="conv5",
        retrain_from="fc6",
        dreamt=("conv2", "conv3", "conv5", "fc7"),
        crop=227,
        source=256,
        smallest=63,
        preprocessing=TORCHVISION,
        dropout=0.5,
        dropped=("fc6", "fc7"),
        foreign_names=(
            *(("conv1", "features.0"), ("conv2", "features.3"), ("conv3", "features.6"), ("conv4", "features.8")),
            *(("conv5", "features.10"), ("fc6", "classifier.1"), ("fc7", "classifier.4"), ("fc8", "classifier.6")),
        ),
    )
)
ALEXNET_CAFFE = register(
    dataclasses.replace(
        ALEXNET,
        name="alexnet-caffe",
        description="as of 2012 (Krizhevsky, Sutskever & Hinton, NeurIPS 2012; bvlc_alexnet)",
        options=(("variant", "caffe"),),
        preprocessing=CAFFE,
        foreign_names=(),
    )
)
