"""Networks in PyTorch, as their authors define them: built, filled with our variables, cut into trunk and head.

torchvision's where it has one of the name; EfficientNet-Lite from efficientnet_lite_pytorch. AlexNet is written out,
with torchvision's names in both variants, so that it needs PyTorch alone (torchvision/models/alexnet.py, Krizhevsky
2014, arXiv:1404.5997; bvlc_alexnet/train_val.prototxt).
"""

from __future__ import annotations

import dataclasses
import math
import sys
import types
from typing import Any, TypeAlias

import numpy as np
import torch
from flax import traverse_util
from torch import nn

from cxrjax.base import InputError, Variables
from cxrjax.models import pretrained, registry
from cxrjax.models.alexnet import POOLED
from cxrjax.models.model import Model

Module: TypeAlias = Any  # torch.nn.Module; PyTorch's types are not checked


def build(model: Model) -> Module:
    """The whole network, in training mode, with random weights; it takes [B, C, H, W].

    Raises:
      InputError: if a package that it needs is not installed, or none defines it.
    """
    if model.module == registry.ALEXNET.module:
        return _alexnet(dict(model.options)["variant"], model.num_classes)
    if model.name.startswith("efficientnet-lite"):
        return _lite(model)
    return _xrv(model) if model.name == "densenet121-xrv" else _torchvision(model)


def torchvision_models() -> types.ModuleType:
    """`torchvision.models`, without the package's compiled operators, which are for one build of PyTorch.

    Raises:
      InputError: if torchvision is not installed.
    """
    sys.modules.setdefault("torchvision._meta_registrations", types.ModuleType("torchvision._meta_registrations"))
    try:
        import torchvision
    except ImportError:
        raise _missing("torchvision", "torchvision==0.28.0") from None
    return torchvision.models


def _missing(package: str, requirement: str) -> InputError:
    return InputError(f"--compare=torch: {package} is not installed; run `pip install --no-deps {requirement}`")


def _torchvision(model: Model) -> Module:
    models, name = torchvision_models(), model.name.split("-")[0]
    if not hasattr(models, name):
        raise InputError(f"--compare=torch: torchvision has no {model.name}")
    options = {"init_weights": False} if name == "googlenet" else {}
    return getattr(models, name)(num_classes=model.num_classes, **options)


def _xrv(model: Model) -> Module:
    """torchxrayvision's DenseNet; without that package torchvision's, which has the same layers, with one channel."""
    try:
        import torchxrayvision
    except ImportError:
        module = _torchvision(model)
        module.features.conv0 = nn.Conv2d(1, 64, 7, stride=2, padding=3, bias=False)
        return module
    return torchxrayvision.models.DenseNet(num_classes=model.num_classes)


def _lite(model: Model) -> Module:
    """Without stochastic depth; padded for images of any size."""
    try:
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError:
        raise _missing("efficientnet_lite_pytorch", "efficientnet_lite_pytorch==0.1.0") from None
    return EfficientNet.from_name(model.name, num_classes=model.num_classes, drop_connect_rate=0, image_size=None)


def _alexnet(variant: str, num_classes: int) -> Module:
    features, classifier = {"torchvision": _one_tower, "caffe": _caffe}[variant](num_classes)
    model = nn.Sequential()
    model.add_module("features", nn.Sequential(*features))
    model.add_module("avgpool", nn.AdaptiveAvgPool2d(POOLED))
    model.add_module("flatten", nn.Flatten())
    model.add_module("classifier", nn.Sequential(*classifier))
    return model


def _one_tower(num_classes: int) -> tuple[list[Module], list[Module]]:
    features = [
        *(nn.Conv2d(3, 64, 11, stride=4, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2)),
        *(nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2)),
        *(nn.Conv2d(192, 384, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(384, 256, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(256, 256, 3, padding=1), nn.ReLU(), nn.MaxPool2d(3, 2)),
    ]
    classifier = [
        *(nn.Dropout(), nn.Linear(9216, 4096), nn.ReLU()),
        *(nn.Dropout(), nn.Linear(4096, 4096), nn.ReLU()),
        nn.Linear(4096, num_classes),
    ]
    return features, classifier


def _caffe(num_classes: int) -> tuple[list[Module], list[Module]]:
    """Norm and pool share a place, so that the names are torchvision's."""

    def norm_and_pool() -> Module:
        norm = nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=1.0)
        return nn.Sequential(norm, nn.MaxPool2d(3, 2, ceil_mode=True))

    features = [
        *(nn.Conv2d(3, 96, 11, stride=4), nn.ReLU(), norm_and_pool()),
        *(nn.Conv2d(96, 256, 5, padding=2, groups=2), nn.ReLU(), norm_and_pool()),
        *(nn.Conv2d(256, 384, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(384, 384, 3, padding=1, groups=2), nn.ReLU()),
        *(nn.Conv2d(384, 256, 3, padding=1, groups=2), nn.ReLU(), nn.MaxPool2d(3, 2, ceil_mode=True)),
    ]
    classifier = [
        *(nn.Identity(), nn.Linear(9216, 4096), nn.Sequential(nn.ReLU(), nn.Dropout())),
        *(nn.Identity(), nn.Linear(4096, 4096), nn.Sequential(nn.ReLU(), nn.Dropout())),
        nn.Linear(4096, num_classes),
    ]
    return features, classifier


def _named(model: Model) -> Model:
    """With torchvision's names, which Caffe's own files do not have."""
    named = model.foreign_names or model.module != registry.ALEXNET.module
    return model if named else dataclasses.replace(model, foreign_names=registry.ALEXNET.foreign_names)


def state_dict(model: Model, variables: Variables) -> dict[str, Any]:
    """Some stages' variables in cxrjax's layout as a state dict: undoes `pretrained.from_state_dict`."""
    names, state = pretrained.state_names(_named(model)), {}
    first = model.dense[0]
    for path, leaf in traverse_util.flatten_dict(variables).items():
        array = np.asarray(leaf)
        if array.ndim == 2 and path[1] == first:  # reads a flattened map: channels last here, first there
            channels = model.width(model.before(first) or first)
            side = math.isqrt(len(array) // channels)
            array = array.reshape(side, side, channels, -1).transpose(2, 0, 1, 3).reshape(array.shape)
        array = array.transpose(3, 2, 0, 1) if array.ndim == 4 else array.T
        state[names[path]] = torch.from_numpy(np.array(array, order="C"))
    return state


def filled(model: Model, variables: Variables, device: str) -> Module:
    """The network with the variables of all its stages, channels last, in training mode."""
    with torch.device("meta"):  # no time for random weights
        module = build(model)
    if getattr(module, "aux_logits", False):  # GoogLeNet's further classifiers, which ours does not have
        module.aux_logits, module.aux1, module.aux2 = False, None, None
    counters = {name: torch.tensor(0) for name in module.state_dict() if name.endswith("num_batches_tracked")}
    module.load_state_dict({**counters, **state_dict(model, variables)}, assign=True)
    return module.to(device=device, memory_format=torch.channels_last)


def cut(module: Module, model: Model, stage: str) -> tuple[Module, Module]:
    """Trunk, in evaluation mode and frozen, and the head from a stage on, dropout before it included.

    A network whose `classifier` is a sequence is cut at any stage, others at the first or the last.

    Raises:
      InputError: if it cannot be cut there.
    """
    name = _named(model).foreign_name(stage)
    if isinstance(getattr(module, "classifier", None), nn.Sequential):
        parts = [*module.features, module.avgpool, nn.Flatten(), *module.classifier]
        start = next(i for i, part in enumerate(parts) if part is module.get_submodule(name))
        if start and isinstance(parts[start - 1], nn.Dropout | nn.Identity):
            start -= 1
        trunk, head = nn.Sequential(*parts[:start]), nn.Sequential(*parts[start:])
    elif stage == model.stages[0]:
        trunk, head = nn.Sequential(), module
    elif stage == model.logits:
        dropout = nn.Dropout(model.dropout) if stage in model.dropped else nn.Identity()
        head = nn.Sequential(dropout, module.get_submodule(name))
        module.set_submodule(name, nn.Identity())
        trunk = nn.Sequential(module)
    else:
        raise InputError(f"--compare=torch: {model.label} in PyTorch is cut at head or all, got {stage}")
    return trunk.eval().requires_grad_(False), head


def train(head: Module, batch_norm: str) -> Module:
    """A head in training mode, its BatchNorm as `transfer.RetrainedHead.batch_norm` says."""
    head.train()
    for part in head.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.train(batch_norm == "train")
    return head
