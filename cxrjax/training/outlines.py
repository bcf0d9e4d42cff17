"""Training of `models.unet` on images and masks, with strong augmentation: one step, jitted as a whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.scipy.ndimage import map_coordinates

from cxrjax.base import Array, Params, devices
from cxrjax.models import unet
from cxrjax.models.unet import SIDE

BATCH = 16
RATE, DECAY, WARM_UP = 4e-3, 1e-3, 0.05  # AdamW's; a share of the steps, then a cosine to 0
_PLACES = np.arange(SIDE, dtype=np.float32)
_BLUR = np.exp(-0.5 * ((_PLACES[:, None] - _PLACES) / 1.5) ** 2)  # a Gaussian of 1.5 pixels, as a matrix
_BLUR /= _BLUR.sum(1, keepdims=True)


class State(NamedTuple):
    """What training carries from step to step."""

    step: Array  # [] i32
    params: Params
    opt_state: optax.OptState
    key: Array  # [] typed PRNG key; step t uses fold_in(key, t)


def optimizer(steps: int) -> optax.GradientTransformation:
    """AdamW with warm-up and cosine."""
    rate = optax.warmup_cosine_decay_schedule(0, RATE, max(int(WARM_UP * steps), 1), steps)
    chain = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(rate, weight_decay=DECAY))
    return optax.flatten(chain)  # one vector: compiled in a third of the time


def train(
    images: np.ndarray,
    masks: np.ndarray,
    steps: int,
    seed: int,
    tick: Callable[[int, float], None] | None = None,
    widths: tuple[int, ...] = unet.WIDTHS,
) -> Params:
    """Trains from random weights.

    Args:
      images: [N, SIDE, SIDE] u8.
      masks: [N, SIDE, SIDE] f32, 0..1, the share of a pixel that is inside.
      steps: of `BATCH` images, drawn without replacement until all were seen.
      seed: of everything.
      tick: called after each step with the number of steps done and its loss.
      widths: of the network.
    """
    params = initial(seed, widths)
    state = State(jnp.zeros((), jnp.int32), params, optimizer(steps).init(params), jax.random.key(seed))
    rng = np.random.default_rng([seed, 1])
    epochs = -(-steps * BATCH // len(images))
    order = np.concatenate([rng.permutation(len(images)) for _ in range(epochs)])[: steps * BATCH]
    for done, rows in enumerate(order.reshape(steps, BATCH), 1):
        state, loss = _step(steps, state, images[rows], masks[rows])
        if tick:
            tick(done, float(loss))
    return state.params


def initial(seed: int, widths: tuple[int, ...] = unet.WIDTHS) -> Params:
    """Random weights, He normal (He et al. 2015, arXiv:1502.01852), by NumPy: `UNet.init` takes 25 s to compile."""
    rng = np.random.default_rng([seed, 0])

    def draw(path: tuple[jax.tree_util.DictKey, ...], leaf: jax.ShapeDtypeStruct) -> Array:
        if path[-1].key != "kernel":
            return jnp.full(leaf.shape, path[-1].key == "scale", jnp.float32)
        return jnp.asarray(rng.normal(0, (2 / np.prod(leaf.shape[:-1])) ** 0.5, leaf.shape), jnp.float32)

    return jax.tree_util.tree_map_with_path(draw, unet.shapes(widths))


@devices.jit_convolutions(0)
def _step(steps: int, state: State, images: Array, masks: Array) -> tuple[State, Array]:
    """One step, of so many, of the optimiser on an augmented batch, and its loss."""
    keys = jax.random.split(jax.random.fold_in(state.key, state.step), len(images))
    seen, inside = jax.vmap(augment)(keys, images, masks)

    def loss_at(params: Params) -> Array:
        return loss_of(unet.logits(params, seen), inside)

    loss, gradient = jax.value_and_grad(loss_at)(state.params)
    updates, opt_state = optimizer(steps).update(gradient, state.opt_state, state.params)
    return State(state.step + 1, optax.apply_updates(state.params, updates), opt_state, state.key), loss


def loss_of(logits: Array, masks: Array) -> Array:
    """Mean over images of the binary cross entropy of pixels plus 1 - soft Dice (Milletari et al. 2016,
    arXiv:1606.04797), []."""
    entropy = optax.sigmoid_binary_cross_entropy(logits, masks).mean()
    inside = jax.nn.sigmoid(logits)
    dice = 2 * (inside * masks).sum((1, 2)) / jnp.maximum((inside + masks).sum((1, 2)), 1)
    return entropy + 1 - dice.mean()


def augment(key: Array, image: Array, mask: Array) -> tuple[Array, Array]:
    """Another film of the same kind: [SIDE, SIDE] u8 -> f32 0..1, and its mask, moved with it.

    Shift, scale, rotation, mirror; then of the image alone sharpness, gamma, slopes, contrast and noise, a soft white
    region as of an opacity, and two rectangles of one grey value.
    """
    draw_key, noise_key = jax.random.split(key)
    draw = jax.random.uniform(draw_key, (31,), minval=-1)
    image, mask = _moved(draw[:7], image.astype(jnp.float32) / 255, mask)
    image = _regreyed(draw[7:13], image, jax.random.normal(noise_key, image.shape))
    return _covered((draw[13:] + 1) / 2, image), mask


def _moved(draw: Array, image: Array, mask: Array) -> tuple[Array, Array]:
    """Image and mask, bilinear; outside of the film is one grey value, black in half the cases. draw: [7] -1..1."""
    angle = draw[0] * jnp.deg2rad(15)
    scale = jnp.exp(0.3 * draw[1] + 0.1 * jnp.stack([draw[2], -draw[2]]))  # 0.7 .. 1.35, aspect 0.8 .. 1.2
    mirror, fill = jnp.sign(draw[3]), jnp.maximum(draw[4], 0)
    grid = _PLACES - (SIDE - 1) / 2
    y, x = grid[:, None] * scale[0], grid[None, :] * scale[1] * mirror
    middle = (SIDE - 1) / 2 + 0.12 * SIDE * draw[5:]
    rows = jnp.cos(angle) * y - jnp.sin(angle) * x + middle[0]
    columns = jnp.sin(angle) * y + jnp.cos(angle) * x + middle[1]
    moved, inside = (map_coordinates(values, [rows, columns], 1, "constant") for values in (image - fill, mask))
    return moved + fill, inside


def _regreyed(draw: Array, image: Array, noise: Array) -> Array:
    """Sharpness, gamma, slopes, contrast and noise. draw: [6] -1..1."""
    image = image + (0.25 + 0.75 * draw[0]) * (_BLUR @ image @ _BLUR.T - image)
    image = jnp.clip(image, 1e-3, 1) ** jnp.exp(0.7 * draw[1])
    ramp = _PLACES / SIDE - 0.5
    image = image + 0.3 * (draw[2] * ramp[:, None] + draw[3] * ramp[None, :])
    image = (image - 0.5) * jnp.exp(0.4 * draw[4]) + 0.5
    return image + 0.06 * jnp.maximum(draw[5], 0) * noise


def _covered(draw: Array, image: Array) -> Array:
    """A soft white region and two rectangles, each in half the cases. draw: [18] 0..1."""
    soft, *hard = draw.reshape(3, 6)
    place = _PLACES / SIDE
    y, x = (place - soft[0])[:, None] / (0.05 + 0.2 * soft[2]), (place - soft[1])[None, :] / (0.05 + 0.2 * soft[3])
    image = image + jnp.where(soft[4] > 0.5, 0.6 * soft[5], 0) * jnp.exp(-0.5 * (x**2 + y**2))
    for row, column, height, width, chance, grey in hard:
        near = jnp.abs(place - row)[:, None] < 0.15 * height, jnp.abs(place - column)[None, :] < 0.15 * width
        image = jnp.where(near[0] & near[1] & (chance > 0.5), grey, image)
    return jnp.clip(image, 0, 1)
