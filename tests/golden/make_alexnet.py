"""Writes alexnet.npz beside this file: what PyTorch's AlexNet gives for the weights and images of `torch_alexnet`.

    python -m tests.golden.make_alexnet     # from the project's root; needs PyTorch, ten seconds, 2 GB of memory

Written with PyTorch 2.13 on a CPU. Tests compare with it where PyTorch is not installed.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.models import torch_alexnet

SIZES = {"torchvision": (224, 227, 300), "caffe": (227,)}


def main() -> None:
    """Runs both variants at the sizes the tests use."""
    golden = {}
    for variant, sizes in SIZES.items():
        model = torch_alexnet.build(variant, torch_alexnet.random_state(variant))
        for size in sizes:
            logits, activations = torch_alexnet.forward(model, torch_alexnet.random_images(variant, size))
            golden[f"{variant}/{size}/logits"] = logits
            for layer, activation in activations.items():
                golden[f"{variant}/{size}/{layer}"] = torch_alexnet.sample(activation)
    np.savez_compressed(Path(__file__).with_name("alexnet.npz"), **golden)


if __name__ == "__main__":
    main()
