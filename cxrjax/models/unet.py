"""A small U-Net (Ronneberger et al. 2015, arXiv:1505.04597) that outlines a region on grey images.

Narrow and without maps of full size, so that a laptop trains it in minutes: the first convolution has a stride of 2,
and logits of 64 x 64 are enlarged. Skips are added, not joined. With GroupNorm (Wu & He 2018, arXiv:1803.08494) an
image's result does not depend on its batch.
"""

from __future__ import annotations

import io
import zipfile
from typing import Any, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from cxrjax.base import Array, InputError, Params

SIDE = 128  # pixels of its images
WIDTHS = (8, 16, 32, 64, 64)  # features at 64 x 64, 32 x 32, ..., 4 x 4
_GROUPS = 4


class UNet(nn.Module):
    """Half the side at each width on the way down, back to the first on the way up.

    Attributes:
      widths: features of each level, multiples of 4.
    """

    widths: tuple[int, ...] = WIDTHS

    @nn.compact
    def __call__(self, images: jax.Array) -> jax.Array:
        """[B, SIDE, SIDE] grey of any scale -> logits of the same shape, f32; positive is inside.

        Images are standardised each for itself: brightness and contrast change nothing.
        """
        images = images.astype(jnp.float32)
        mean, sd = images.mean((1, 2), keepdims=True), images.std((1, 2), keepdims=True)
        x = ((images - mean) / (sd + 1e-3 * (mean + 1)))[..., None]
        skips = []
        for level, width in enumerate(self.widths):
            x = _convolve(width, 2, f"down{level}", x)
            if level:
                x = _convolve(width, 1, f"inner{level}", x)
            skips.append(x)
        for level in range(len(self.widths) - 2, -1, -1):
            skip = skips[level]
            x = nn.Conv(self.widths[level], (1, 1), name=f"merge{level}")(x)
            x = jax.image.resize(x, skip.shape, "nearest") + skip
            x = _convolve(self.widths[level], 1, f"up{level}", x)
        x = nn.Conv(1, (1, 1), name="logits")(x)[..., 0]
        return jax.image.resize(x, images.shape, "linear")


def _convolve(width: int, stride: int, name: str, x: jax.Array) -> jax.Array:
    x = nn.Conv(width, (3, 3), (stride, stride), use_bias=False, name=name)(x)
    return nn.relu(nn.GroupNorm(_GROUPS, name=f"{name}_norm")(x))


def logits(params: Params, images: Array) -> jax.Array:
    """[B, SIDE, SIDE] -> the same, see `UNet`; its widths are those of the parameters."""
    levels = sum(name.startswith("down") and not name.endswith("norm") for name in params)
    widths = tuple(params[f"down{level}"]["kernel"].shape[-1] for level in range(levels))
    return cast(jax.Array, UNet(widths).apply({"params": params}, images))


def shapes(widths: tuple[int, ...] = WIDTHS) -> Params:
    """Its parameters as shapes and types."""
    variables = jax.eval_shape(UNet(widths).init, jax.random.key(0), jnp.zeros((1, SIDE, SIDE)))
    return cast(Params, variables["params"])


def to_bytes(params: Params) -> bytes:
    """A .npz of float16 arrays, named as down0/kernel; the same for the same parameters."""
    arrays: dict[str, Any] = {
        name: np.asarray(leaf, np.float16) for name, leaf in traverse_util.flatten_dict(params, sep="/").items()
    }
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def from_bytes(content: bytes) -> Params:
    """What `to_bytes` wrote, as float32.

    Raises:
      InputError: if it is no such file, or holds other names or shapes.
    """
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            leaves = {name: arrays[name].astype(np.float32) for name in arrays.files}
    except (OSError, EOFError, ValueError, zipfile.BadZipFile) as error:
        raise InputError(f"weights of a U-Net must be a .npz of numbers, got {error}") from error
    wanted = {name: leaf.shape for name, leaf in traverse_util.flatten_dict(shapes(), sep="/").items()}
    for name in sorted(wanted.keys() | leaves.keys()):
        shape = leaves[name].shape if name in leaves else None
        if shape != wanted.get(name):
            raise InputError(f"weights of a U-Net must have {name} of shape {wanted.get(name)}, got {shape}")
    return traverse_util.unflatten_dict(leaves, sep="/")
