"""The U-Net beside the same in PyTorch; what its result must not depend on; its weights as a file."""

from __future__ import annotations

import io
from typing import Any

import jax
import numpy as np
import pytest

from cxrjax.base import InputError
from cxrjax.models import unet
from cxrjax.training import outlines


@pytest.fixture(scope="module")
def params() -> Any:
    return outlines.initial(3)


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 100, (3, unet.SIDE, unet.SIDE)).astype(np.uint8)


logits = jax.jit(unet.logits)


def test_it_is_small_and_gives_a_logit_a_pixel(params, images):
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) <= 300_000
    out = logits(params, images)
    assert out.shape == images.shape and out.dtype == np.float32


def test_the_same_as_pytorch(params, images):
    """Written anew from the docstring; 1e-3 of logits up to 10, as sums run in another order."""
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional

    def tensor(name: str, leaf: str) -> Any:
        values = torch.tensor(np.asarray(params[name][leaf]))
        return values.permute(3, 2, 0, 1) if leaf == "kernel" else values

    def convolve(x: Any, name: str, stride: int) -> Any:
        padded = functional.pad(x, (0, 1, 0, 1) if stride == 2 else (1, 1, 1, 1))  # XLA's "SAME" of an even side
        x = functional.conv2d(padded, tensor(name, "kernel"), stride=stride)
        scale, bias = tensor(f"{name}_norm", "scale"), tensor(f"{name}_norm", "bias")
        return torch.relu(functional.group_norm(x, 4, scale, bias, eps=1e-6))

    x = torch.tensor(images.astype(np.float32))[:, None]
    mean, sd = x.mean((2, 3), keepdim=True), x.std((2, 3), keepdim=True, correction=0)
    x, skips = (x - mean) / (sd + 1e-3 * (mean + 1)), []
    for level in range(5):
        x = convolve(x, f"down{level}", 2)
        x = convolve(x, f"inner{level}", 1) if level else x
        skips.append(x)
    for level in (3, 2, 1, 0):
        merged = functional.conv2d(x, tensor(f"merge{level}", "kernel"), tensor(f"merge{level}", "bias"))
        x = convolve(functional.interpolate(merged, scale_factor=2) + skips[level], f"up{level}", 1)
    x = functional.conv2d(x, tensor("logits", "kernel"), tensor("logits", "bias"))
    expected = functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)[:, 0]
    np.testing.assert_allclose(logits(params, images), expected.numpy(), atol=1e-3)


def test_the_others_of_a_batch_change_nothing(params, images):
    others = np.stack([images[2], images[1], 255 - images[0]])
    np.testing.assert_allclose(logits(params, others)[1], logits(params, images)[1], atol=1e-4)


def test_brightness_and_contrast_change_nothing(params, images):
    """Beyond the 1e-3 that keeps a blank image finite."""
    np.testing.assert_allclose(logits(params, images * np.uint8(2) + 40), logits(params, images), atol=0.05)
    assert np.isfinite(logits(params, np.zeros_like(images))).all()


def test_weights_come_back_as_float16_and_the_same_bytes(params):
    content = unet.to_bytes(params)
    assert content == unet.to_bytes(params) and len(content) < 1_000_000
    back = unet.from_bytes(content)
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a, np.asarray(b, np.float16)), back, params)


def test_other_files_are_refused(params):
    def npz(**arrays: Any) -> bytes:
        file = io.BytesIO()
        np.savez(file, **arrays)
        return file.getvalue()

    content = unet.to_bytes(params)
    for bad in (b"", b"no file", content[:1000], npz(a=np.array([{}], object))):
        with pytest.raises(InputError, match=r"must be a \.npz of numbers"):
            unet.from_bytes(bad)
    with np.load(io.BytesIO(content)) as arrays:
        leaves = dict(arrays)
    for name, values in (("logits/bias", np.zeros(2)), ("stray", np.zeros(1))):
        with pytest.raises(InputError, match=f"must have {name} of shape .* got"):
            unet.from_bytes(npz(**leaves | {name: values}))
    del leaves["logits/bias"]
    with pytest.raises(InputError, match=r"logits/bias of shape \(1,\), got None"):
        unet.from_bytes(npz(**leaves))
