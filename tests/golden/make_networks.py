"""Writes networks.npz beside this file: what PyTorch's networks give for the weights and images of `torch_networks`.

    python -m tests.golden.make_networks [NAME ...]   # from the project's root; needs PyTorch and torchvision; minutes

Names: networks that are made anew, the others stay; none: all. Written with PyTorch 2.13 and torchvision 0.28.0 on a
CPU. Tests compare with it where PyTorch is not installed.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from cxrjax.models.augment import normalise
from tests.models import torch_alexnet, torch_networks

FILE = Path(__file__).with_name("networks.npz")
SIZE = 64


def main(names: list[str]) -> None:
    """Runs the networks on two small images."""
    golden = dict(np.load(FILE)) if names else {}
    for name in names or torch_networks.NAMES:
        module = torch_networks.build(name)
        torch_networks.load(module)
        preprocessing = torch_networks.model_of(name).preprocessing
        inputs = np.asarray(normalise(torch_networks.random_images(SIZE), preprocessing))
        golden[f"{name}/logits"] = torch_networks.forward(module, inputs)
        golden[f"{name}/gradient"] = torch_alexnet.sample(torch_networks.gradient(module, inputs))
    np.savez_compressed(FILE, **golden)


if __name__ == "__main__":
    main(sys.argv[1:])
