"""Writes saliency.npz beside this file: what `torch_saliency` gives for the weights of `torch_alexnet`.

    python -m tests.golden.make_saliency     # from the project's root; needs PyTorch, ten seconds, 2 GB of memory

Written with PyTorch 2.13 on a CPU. Tests compare with it where PyTorch is not installed.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.interpret import torch_saliency
from tests.models import torch_alexnet

COUNT = 2000  # values of each map


def main() -> None:
    """Runs the torchvision variant."""
    model = torch_alexnet.build("torchvision", torch_alexnet.random_state("torchvision"))
    found = torch_saliency.maps(model, torch_saliency.images())
    golden = {name: torch_alexnet.sample(value, COUNT) for name, value in found.items()}
    np.savez_compressed(Path(__file__).with_name("saliency.npz"), **golden)


if __name__ == "__main__":
    main()
