"""Where does the network look? Five maps of what moves a score, each for B images and one network's parameters.

A score is an `Objective` as for dreams; `METHODS` has all five with one signature. A map says what this network reacts
to, not what is wrong with the patient. One seed's head has 218 MB, so go over seeds in a Python loop: the compiled
programs take the parameters as an argument and are kept.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from cxrjax.base import Array, Variables, devices
from cxrjax.base.numerics import pinned, typed_key
from cxrjax.interpret import objectives
from cxrjax.interpret.grad_cam import checked, enlarge, grad_cam
from cxrjax.interpret.objectives import Objective
from cxrjax.models.transfer import Network

CHUNK = 64  # images in one call of a compiled program, unless B is more

Method: TypeAlias = Callable[[jax.Array, Network, Variables, Array, jax.Array], jax.Array]
"""(key, net, params of all layers, images [B, H, W], direction [K] over the logits) -> energy [B, H, W] f32, >= 0."""


class Attributions(NamedTuple):
    """Shares of each pixel in a score's difference from a baseline's."""

    maps: jax.Array  # [B, H, W] f32, signed, in units of the score
    error: jax.Array  # [B] f32, |sum of the map - (f(x) - f(b))| / |f(x) - f(b)|; NaN for an image that is its baseline


@pinned()
def gradient(objective: Objective, params: Any, images: Array) -> jax.Array:
    """How much the score rises per grey level of each pixel, d f(x) / d x (Simonyan et al. 2014, arXiv:1312.6034).

    Args:
      objective: see `Objective`.
      params: its first argument.
      images: [B, H, W], grey 0..255, u8 or float.

    Returns:
      [B, H, W] f32, signed.

    Raises:
      ValueError: if `images` is not [B, H, W].
    """
    return gradients(objective, jax.device_put(params), checked(images))


@pinned()
def smooth_grad(
    key: jax.Array, objective: Objective, params: Any, images: Array, samples: int = 25, noise: float = 0.15
) -> jax.Array:
    """The mean `gradient` of an image's noisy copies (Smilkov et al. 2017, arXiv:1706.03825).

    Args:
      key: sample s of image i has the key fold_in(fold_in(key, i), s), whatever the batch.
      objective, params, images: see `gradient`.
      samples: noisy copies of each image.
      noise: standard deviation of the normal noise, in parts of the image's range, max - min. Not clipped to 0..255.

    Returns:
      [B, H, W] f32, signed, per grey level.

    Raises:
      ValueError: if `images` is not [B, H, W], `samples` is below 1 or `noise` negative.
    """
    x, key = checked(images), typed_key(key)
    if samples < 1:
        raise ValueError(f"samples must be 1 or more, got {samples}")
    if noise < 0:
        raise ValueError(f"noise must be 0 or more, got {noise:g}")
    deviation = noise * (x.max((1, 2)) - x.min((1, 2)))

    def draw(image: jax.Array, sample: jax.Array) -> jax.Array:
        return jax.random.normal(jax.random.fold_in(jax.random.fold_in(key, image), sample), x.shape[1:])

    def points(some: np.ndarray) -> jax.Array:
        drawn = jax.vmap(jax.vmap(draw, (0, None)), (None, 0))(jnp.arange(len(x)), jnp.asarray(some))
        return x[None] + deviation[None, :, None, None] * drawn

    return _mean_gradient(objective, jax.device_put(params), points, len(x), samples)


@pinned(nan=True)
def integrated_gradients(
    objective: Objective, params: Any, images: Array, baseline: Array | float = 0.0, steps: int = 128
) -> Attributions:
    """(x - b) times the mean gradient on the way from b to x (Sundararajan et al. 2017, arXiv:1703.01365).

    maps = (x - b) mean over k of f'(b + (k + 1/2) / steps (x - b)). A map sums up to f(x) - f(b), but for what the
    midpoints miss of the integral, which `error` tells. ReLU and pooling make the gradient jump on its way, so that
    Gauss-Legendre does no better: AlexNet with a retrained head, radiographs, log odds, 64 steps: 1.1 % missed by
    midpoints, 1.5 % by Gauss-Legendre (means of four). 128 midpoints, the default, missed 0.07 to 0.4 % of six
    radiographs' f(x) - f(b), but 5 and 16 % of two where it is 0.4 and 0.04: look at `error` before you use a map.

    Args:
      objective, params, images: see `gradient`.
      baseline: what "nothing there" is, broadcast to `images`: a grey level, [H, W] or [B, H, W]. Black, the default
        and the paper's, gives dark pixels (lung, air) no share, for x - b is 0 there. A mean radiograph shares out what
        sets this image apart from others; a blurred copy of the image, its fine structure. Say which was used.
      steps: gradients of each image.

    Raises:
      ValueError: if `images` is not [B, H, W], the baseline does not broadcast to it, or `steps` is below 1.
    """
    x = checked(images)
    if steps < 1:
        raise ValueError(f"steps must be 1 or more, got {steps}")
    base = jnp.asarray(baseline, jnp.float32)
    if base.ndim > 3 or any(ours not in (1, side) for ours, side in zip(base.shape[::-1], x.shape[::-1], strict=False)):
        raise ValueError(f"baseline must broadcast to images {list(x.shape)}, got {list(base.shape)}")
    base = jnp.broadcast_to(base.reshape((1,) * (3 - base.ndim) + base.shape), x.shape)

    def points(some: np.ndarray) -> jax.Array:
        share = jnp.asarray((some + 0.5) / steps, jnp.float32)
        return base[None] + share[:, None, None, None] * (x - base)[None]

    params = jax.device_put(params)
    maps = (x - base) * _mean_gradient(objective, params, points, len(x), steps)
    rise = _values(objective, params, x) - _values(objective, params, base)
    return Attributions(maps, jnp.abs(maps.sum((1, 2)) - rise) / jnp.abs(rise))


@pinned()
def occlusion(
    objective: Objective, params: Any, images: Array, patch: int = 32, stride: int = 8, fill: float | None = None
) -> jax.Array:
    """How far the score drops when a patch is covered, f(x) - f(covered) (Zeiler & Fergus 2014, arXiv:1311.2901).

    Args:
      objective, params, images: see `gradient`.
      patch: side of the covered square, pixels.
      stride: pixels from one patch to the next. The last patch of a row or column ends with the image, however far it
        is from the one before: all patches cover the same area, and every pixel is covered.
      fill: grey level of the cover; None: the image's own mean.

    Returns:
      [B, H, W] f32, signed: the mean drop over the patches that cover the pixel.

    Raises:
      ValueError: if `images` is not [B, H, W], or not 1 <= stride <= patch <= the image's smaller side.
    """
    x, params = checked(images), jax.device_put(params)
    if not 1 <= stride <= patch <= min(x.shape[1:]):
        raise ValueError(
            f"stride and patch must be 1 <= stride <= patch <= {min(x.shape[1:])}, the image's side, "
            f"got stride={stride} and patch={patch}"
        )
    starts = [np.unique([*range(0, side - patch + 1, stride), side - patch]) for side in x.shape[1:]]
    covers = [
        (at[:, None] <= np.arange(side)) & (np.arange(side) < at[:, None] + patch)
        for at, side in zip(starts, x.shape[1:], strict=True)
    ]
    corners = np.stack(np.meshgrid(*starts, indexing="ij"), -1).reshape(-1, 2)
    calls = -(-len(corners) // CHUNK)
    padded = np.resize(corners, (calls * -(-len(corners) // calls), 2))  # equal calls; some corners twice
    levels = x.mean((1, 2)) if fill is None else jnp.full(len(x), fill, jnp.float32)
    maps = []
    for image, level, score in zip(x, levels, _values(objective, params, x), strict=True):
        parts = [_covered(objective, patch, params, image, level, some) for some in np.split(padded, calls)]
        scores = jnp.concatenate(parts)
        drops = score - scores[: len(corners)].reshape(len(starts[0]), len(starts[1]))
        maps.append(_spread(drops, *covers))
    return jnp.stack(maps)


def _spread(drops: jax.Array, down: np.ndarray, across: np.ndarray) -> jax.Array:
    """Mean over the patches that cover a pixel: drops [R, C] of patches, which cover [R, H] and [C, W]."""
    rows, columns = (jnp.asarray(cover / cover.sum(0), jnp.float32) for cover in (down, across))
    return jnp.einsum("rh,rc,cw->hw", rows, drops, columns, precision="highest")


def energy(maps: jax.Array, signed: bool) -> jax.Array:
    """What of a map counts when its place is asked, >= 0.

    Args:
      maps: of any method.
      signed: True, for `integrated_gradients` and `occlusion`, whose sign says for or against: the positive part.
        False, for `gradient` and `smooth_grad`, whose sign says only whether a brighter or a darker pixel would raise
        the score: the absolute value. `grad_cam` is what counts already.
    """
    return jnp.maximum(maps, 0) if signed else jnp.abs(maps)


def _of_logits(map_of: Callable[[jax.Array, Objective, Any, Array], jax.Array], signed: bool) -> Method:
    """The energy of a method's maps of the score logits @ direction."""

    def method(key: jax.Array, net: Network, params: Variables, images: Array, direction: jax.Array) -> jax.Array:
        return energy(map_of(key, objectives.channel_objective(net), (params, direction), images), signed)

    return method


def _grad_cam(key: jax.Array, net: Network, params: Variables, images: Array, direction: jax.Array) -> jax.Array:
    return enlarge(grad_cam(net, params, images, direction), jnp.shape(images)[1:], net.model)


METHODS: dict[str, Method] = {
    "gradient": _of_logits(lambda key, *score: gradient(*score), signed=False),
    "smooth_grad": _of_logits(smooth_grad, signed=False),
    "integrated_gradients": _of_logits(lambda key, *score: integrated_gradients(*score).maps, signed=True),
    "grad_cam": _grad_cam,
    "occlusion": _of_logits(lambda key, *score: occlusion(*score), signed=True),
}
"""Every method with its default options; SmoothGrad alone uses the key."""


@devices.jit_convolutions(0)
def _values(objective: Objective, params: Any, images: jax.Array) -> jax.Array:
    return jax.vmap(objective, (None, 0))(params, images)


@devices.jit_convolutions(0)
def gradients(objective: Objective, params: Any, images: jax.Array) -> jax.Array:
    """The program of `gradient`."""
    return jax.vmap(jax.grad(objective, argnums=1), (None, 0))(params, images)


@devices.jit_convolutions(0, 1)
def _covered(
    objective: Objective, patch: int, params: Any, image: jax.Array, fill: jax.Array, corners: Array
) -> jax.Array:
    def score(corner: jax.Array) -> jax.Array:
        cover = jnp.full((patch, patch), fill)
        return objective(params, jax.lax.dynamic_update_slice(image, cover, (corner[0], corner[1])))

    return jax.vmap(score)(jnp.asarray(corners))


def _mean_gradient(
    objective: Objective, params: Any, points: Callable[[np.ndarray], jax.Array], batch: int, count: int
) -> jax.Array:
    """Mean over `count` points of each of B images; `points` makes some of them, [n, B, H, W].

    So many at once as fit into `CHUNK` and divide `count`: one program, and no scan over convolutions, which is slow.
    """
    together = max(n for n in range(1, count + 1) if count % n == 0 and (n == 1 or n * batch <= CHUNK))
    total = jnp.float32(0)
    for some in np.arange(count).reshape(-1, together):
        at = points(some)
        each = gradients(objective, params, at.reshape(-1, *at.shape[2:]))
        total = total + each.reshape(at.shape).sum(0)
    return total / count
