"""Writes torch_zip.pth, torch_legacy.pth and torch_files.npz beside this file: what PyTorch saves, and its numbers.

    python -m tests.golden.make_torch_files     # from the project's root; needs PyTorch

Written with PyTorch 2.13. Tests read the two where PyTorch is not installed.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch


def make_tensors() -> dict[str, torch.Tensor]:
    """One of every type and of every way to lie in a storage, named by it."""
    numbers = torch.linspace(-3, 3, 24)
    table = numbers.reshape(4, 6)  # shares the storage of `numbers`, as what follows
    kernel = torch.linspace(-1, 1, 54).reshape(2, 3, 3, 3)
    floats = (torch.float64, torch.float16, torch.bfloat16)
    integers = (torch.int64, torch.int32, torch.int16, torch.int8)
    return {
        "numbers": numbers,
        "transposed": table.t(),
        "part": table[1:, 2:5],
        "every other": numbers[1::2],
        "diagonal": table.diagonal(),
        "expanded": numbers[3:4].expand(2, 5),
        "channels last": kernel.to(memory_format=torch.channels_last),
        "permuted": kernel.permute(2, 3, 1, 0),
        "scalar": torch.tensor(2.5),
        "empty": torch.zeros(0, 3),
        "parameter": torch.nn.Parameter(table.t()),
        "uint8": numbers.abs().to(torch.uint8),
        **{str(kind): table.to(kind).t() for kind in (*floats, *integers, torch.bool)},
    }


def main() -> None:
    """Saves them in both containers, and as NumPy has them."""
    tensors, folder = make_tensors(), Path(__file__).parent
    torch.save(tensors, folder / "torch_zip.pth")
    torch.save(tensors, folder / "torch_legacy.pth", _use_new_zipfile_serialization=False)
    floats = {name: tensor.float() if tensor.dtype == torch.bfloat16 else tensor for name, tensor in tensors.items()}
    np.savez_compressed(
        folder / "torch_files.npz", **{name: tensor.detach().numpy() for name, tensor in floats.items()}
    )


if __name__ == "__main__":
    main()
