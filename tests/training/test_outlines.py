"""Training on outlines: loss by hand, augmentation beside scipy's, the same from the same seed, and that it learns."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from cxrjax.data.phantom import phantom
from cxrjax.models.unet import SIDE
from cxrjax.training import outlines


def test_the_loss_by_hand():
    """A sure hit of 3 of 4 pixels and a miss: entropy 20 for 1 pixel of 4, Dice 2 * 3 / (4 + 3)."""
    logits = jnp.array([[[20.0, 20.0], [20.0, -20.0]]])
    assert outlines.loss_of(logits, jnp.ones((1, 2, 2))) == pytest.approx(20 / 4 + 1 - 6 / 7, abs=1e-5)
    assert outlines.loss_of(logits, (logits > 0).astype(jnp.float32)) == pytest.approx(0, abs=1e-5)


@pytest.fixture(scope="module")
def drawn() -> tuple[np.ndarray, np.ndarray]:
    """4 images and masks, halved."""
    four = phantom(4, seed=5)
    images = four.images[:4].reshape(4, SIDE, 2, SIDE, 2).mean((2, 4)).astype(np.uint8)
    return images, four.lungs[:4].reshape(4, SIDE, 2, SIDE, 2).mean((2, 4)).astype(np.float32)


def test_images_are_moved_as_scipy_does(drawn):
    """Turned by 7.5 degrees, enlarged, mirrored, shifted; bilinear, the fill 0.3 outside."""
    image, mask = drawn[0][0] / np.float32(255), drawn[1][0]
    draw = np.array([0.5, -0.5, 0.2, -0.7, 0.3, 0.4, -0.6], np.float32)
    moved, inside = jax.jit(outlines._moved)(draw, image, mask)
    turn = np.deg2rad(7.5)
    scale = np.exp([-0.15 + 0.02, -0.15 - 0.02])
    matrix = [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]] @ np.diag(scale * [1, -1])
    middle = (SIDE - 1) / 2
    offset = middle + 0.12 * SIDE * draw[5:] - matrix @ [middle, middle]
    for values, fill, got in ((image, draw[4], moved), (mask, 0, inside)):
        expected = ndimage.affine_transform(values - fill, matrix, offset, order=1, mode="constant") + fill
        # scipy takes what is within a pixel outside of the edge as outside, map_coordinates as half inside
        assert (np.abs(expected - got) > 1e-3).mean() < 0.03
    assert inside.max() > 0.99


def test_augmented_films_stay_in_range_and_differ(drawn):
    augment = jax.jit(jax.vmap(outlines.augment))
    keys = jax.random.split(jax.random.key(1), 4)
    images, masks = augment(keys, drawn[0][[0] * 4], drawn[1][[0] * 4])
    assert images.min() >= 0 and images.max() <= 1 and masks.min() >= 0 and masks.max() <= 1
    assert len(np.unique(np.asarray(masks).sum((1, 2)))) == 4


def test_it_learns_and_repeats_itself(drawn, monkeypatch):
    """A narrow network of two levels, batches of 4, 60 steps, after which the loss is 0.82 of that at first."""
    monkeypatch.setattr(outlines, "BATCH", 4)
    losses: list[float] = []

    def trained(seed: int, steps: int = 60) -> dict:
        return outlines.train(*drawn, steps, seed, lambda done, loss: losses.append(loss), widths=(4, 8))

    first = trained(0)
    assert len(losses) == 60 and np.mean(losses[-10:]) < 0.9 * np.mean(losses[:10])
    assert [leaf.shape for leaf in jax.tree.leaves(first)] == [
        leaf.shape for leaf in jax.tree.leaves(outlines.unet.shapes((4, 8)))
    ]
    again, other = trained(0), trained(1)
    jax.tree.map(np.testing.assert_array_equal, first, again)
    assert any((a != b).any() for a, b in zip(jax.tree.leaves(first), jax.tree.leaves(other), strict=True))
