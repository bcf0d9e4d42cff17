"""Who is drawn, how they lie, and their bones; the shapes that a procedural thorax is made of.

Body coordinates (u, v): u is 0 on the midline and positive towards the patient's left (image right), v points
down from 0 at the neck; one unit is about 100 pixels.
"""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import numpy as np
from scipy import ndimage

SIZE = 256
CENTRE = 1.32  # v of the centre of the image
TEXTURE_SIZE = 1024  # of the noise that textures are cut from


class Anatomy(NamedTuple):
    """What stays the same in all images of one patient."""

    width: float  # half-width of the thorax, u
    height: float  # apex to diaphragm, v
    girth: float  # 0 slim .. 1 obese
    breast: float  # 0 none .. 1
    heart: float  # scale of the heart, 1 is normal
    knob: float  # u by which the aortic arch stands out
    lean: float  # curvature of the spine
    rib_slope: float  # v by which a rib falls from spine to flank
    rib_shift: float  # v by which all ribs are lower
    bone: float  # mineral density, 1 is normal
    scapula: float  # u by which the blades lie outside their usual place
    bubble: tuple[float, float, float]  # gastric gas: v below the dome, half-width, nepers
    texture: tuple[int, int]  # y, x of the patient's window into the noise
    vessels: np.ndarray  # [P, 4] f32: u, v, weight, 1 for thick


class Pose(NamedTuple):
    """What differs between images of one patient."""

    portable: bool  # AP view: larger heart, higher diaphragm
    shift: tuple[int, int]  # y, x in pixels
    scale: float
    tilt: float  # radians, in the image plane
    turn: float  # u by which the front of the body moves against its back
    breath: float  # v by which the diaphragm is higher than in full inspiration
    arms: float  # slope of the arms, u per v
    axilla: float  # v down to which the arm touches the chest
    heart: float  # scale on top of the anatomy's, above 1 in cardiomegaly


def draw_anatomy(rng: np.random.Generator, female: bool, age: int) -> Anatomy:
    """Draws a patient's build; `age` in years."""
    girth = float(np.clip(rng.beta(2, 3) + 0.001 * (age - 50), 0, 1))
    top = TEXTURE_SIZE - 400  # leaves room for the image and any shift
    return Anatomy(
        width=rng.normal(0.81 if female else 0.85, 0.045),
        height=rng.normal(1.56 if female else 1.64, 0.1) - 0.15 * girth,
        girth=girth,
        breast=rng.uniform(0.2, 1) if female else 0.15 * girth,
        heart=rng.normal(1, 0.06) + 0.001 * (age - 50),
        knob=max(0.02, rng.normal(0.06, 0.015) + 0.0006 * (age - 50)),
        lean=rng.normal(0, 0.02),
        rib_slope=rng.normal(0.36, 0.06),
        rib_shift=rng.uniform(-0.04, 0.04),
        bone=float(np.clip(rng.normal(1.15, 0.18) - 0.004 * (age - 50), 0.6, 1.7)),
        scapula=rng.normal(0, 0.06),
        bubble=(rng.uniform(0.1, 0.2), rng.uniform(0.12, 0.3), max(0.0, rng.uniform(-0.8, 0.9))),
        texture=(int(rng.integers(72, top)), int(rng.integers(72, top))),
        vessels=_draw_vessels(rng),
    )


def draw_pose(rng: np.random.Generator, portable: bool, heart: float = 1.0) -> Pose:
    """Draws how a patient lies in one image; `portable` is the AP view, `heart` scales the heart."""
    loose = 1.7 if portable else 1.0  # a bedside film is aligned less well
    y, x = np.clip(rng.normal((2, 0), (6 * loose, 5 * loose)), -30, 30)
    return Pose(
        portable=portable,
        shift=(round(y), round(x)),
        scale=float(np.clip(rng.normal(0.98, 0.055), 0.8, 1.15)),
        tilt=rng.normal(0, 0.02 * loose),
        turn=rng.normal(0, 0.025 * loose),
        breath=abs(rng.normal(0.13 if portable else 0.04, 0.08)),
        arms=rng.uniform(-0.05, 0.25) if portable else rng.uniform(0.05, 0.7),
        axilla=rng.uniform(1.3, 2.6) if portable else rng.uniform(1.15, 1.9),
        heart=heart * (1.1 if portable else 1.0),
    )


def _draw_vessels(rng: np.random.Generator) -> np.ndarray:
    """Branching pulmonary vessels as points along their axes: [P, 4] u, v, weight, 1 for thick."""
    parts = []
    for side in (-1, 1):
        # 0 points to the flank, negative to the apex; each stem leaves the hilum at its own height.
        angle = np.concatenate([np.linspace(-1.35, 0.0, 6), np.linspace(0.15, 1.5, 8)])
        angle += rng.normal(0, 0.1, 14)
        hilum = np.stack([np.full(14, 0.2), (0.98 if side < 0 else 0.93) + 0.09 * angle], axis=1)
        hilum += rng.normal(0, 0.02, (14, 2))
        stem = _grow(rng, hilum, angle, rng.uniform(0.5, 0.85, 14), np.ones(14), 90)
        fork = rng.integers(6, 75, (14, 6))
        start = np.take_along_axis(stem, fork[..., None], axis=1).reshape(-1, 3)
        turn = np.repeat(angle, 6) + rng.choice([-1.0, 1.0], 84) * rng.uniform(0.3, 0.9, 84)
        weight = 0.6 * start[:, 2] + 0.2
        twig = _grow(rng, start[:, :2], turn, rng.uniform(0.15, 0.4, 84), weight, 45)
        for branch, thick in ((stem, 1), (twig, 0)):
            points = branch.reshape(-1, 3)
            parts.append(np.column_stack([side * points[:, 0], points[:, 1:], np.full(len(points), thick)]))
    return np.concatenate(parts).astype(np.float32)


def _grow(
    rng: np.random.Generator,
    start: np.ndarray,
    angle: np.ndarray,
    length: np.ndarray,
    weight: np.ndarray,
    steps: int,
) -> np.ndarray:
    """Curved, tapering branches [n, steps, 3] u, v, weight from `start` [n, 2]."""
    n, s = len(start), np.linspace(0, 1, steps)
    swing, waves, phase = rng.normal(0, 0.35, n), rng.uniform(4, 9, n), rng.uniform(0, 6, n)
    heading = angle[:, None] + swing[:, None] * s + 0.15 * np.sin(waves[:, None] * s + phase[:, None])
    step = length[:, None] / steps
    u = start[:, :1] + np.cumsum(np.cos(heading) * step, axis=1)
    v = start[:, 1:2] + np.cumsum(np.sin(heading) * step, axis=1)
    # Points lie closer on a short branch: times step, its density is that of a long one.
    taper = weight[:, None] * (1 - s) ** 0.8 * step * 130
    return np.stack([u, v, taper], axis=2)


@functools.cache
def _pixels() -> tuple[np.ndarray, np.ndarray]:
    y, x = np.mgrid[:SIZE, :SIZE].astype(np.float32) - np.float32((SIZE - 1) / 2)
    return y, x


@functools.cache
def _noise_tiles() -> tuple[np.ndarray, np.ndarray]:
    """Two tiles of unit-variance noise, coarse (wavelengths near 40 pixels) and fine (near 9)."""
    rng = np.random.default_rng(20180427)
    spectrum = np.fft.rfft2(rng.standard_normal((TEXTURE_SIZE, TEXTURE_SIZE)))
    f = np.hypot(np.fft.fftfreq(TEXTURE_SIZE)[:, None], np.fft.rfftfreq(TEXTURE_SIZE)[None])
    bands = (f * np.exp(-((f * 30) ** 2)), f**2 * np.exp(-((f * 9) ** 2)))
    coarse, fine = (np.fft.irfft2(spectrum * band).astype(np.float32) for band in bands)
    return coarse / coarse.std(), fine / fine.std()


def noise(corner: tuple[int, int], fine: bool) -> np.ndarray:
    """The window [256, 256] f32 at y, x of a tile of smooth noise with unit variance."""
    y, x = corner
    return _noise_tiles()[int(fine)][y : y + SIZE, x : x + SIZE]


def smooth(value: np.ndarray, low: float | np.ndarray, high: float) -> np.ndarray:
    """Smooth step: 0 below `low`, 1 above `high`, cubic between; `low` may be above `high`."""
    s = value - low
    s *= 1 / (high - low)
    np.clip(s, 0, 1, out=s)
    # In place: a thorax takes some thirty of these, and fresh arrays would cost as much as the arithmetic.
    cube = s * s
    s *= -2
    s += 3
    cube *= s
    return cube


def radius(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Length of (x, y); np.hypot guards against overflow and takes four times as long."""
    return np.asarray(np.sqrt(x * x + y * y))


def bulge(depth: np.ndarray, full: float | np.ndarray) -> np.ndarray:
    """Thickness (0..1) of a rounded body at `depth` inside its outline, all of it from `full` on."""
    s = np.clip(depth / full, 0, 1)
    s *= 2 - s
    return np.sqrt(s, out=s)


def splat(x: np.ndarray, y: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Adds points at fractional pixels to an empty image, bilinearly; those outside are dropped."""
    x0, y0 = np.floor(x).astype(int), np.floor(y).astype(int)
    fx, fy = x - x0, y - y0
    keep = (x0 >= 0) & (y0 >= 0) & (x0 < SIZE - 1) & (y0 < SIZE - 1)
    image = np.zeros(SIZE * SIZE)
    for dx, share_x in ((0, 1 - fx), (1, fx)):
        for dy, share_y in ((0, 1 - fy), (1, fy)):
            index = ((y0 + dy) * SIZE + x0 + dx)[keep]
            image += np.bincount(index, (weight * share_x * share_y)[keep], SIZE * SIZE)
    return image.reshape(SIZE, SIZE).astype(np.float32)


def body_coordinates(anatomy: Anatomy, pose: Pose) -> tuple[np.ndarray, np.ndarray]:
    """u and v, [256, 256] f32, of each pixel."""
    y, x = _pixels()
    unit = 100 * pose.scale
    c, s = math.cos(pose.tilt) / unit, math.sin(pose.tilt) / unit
    x, y = x - pose.shift[1], y - pose.shift[0]
    v = y * c - x * s + CENTRE
    return x * c + y * s + anatomy.lean * (v - 1) ** 2, v


def draw_vessels(anatomy: Anatomy, pose: Pose) -> np.ndarray:
    """Pulmonary vessels splatted into pixels (the inverse of the body coordinates) and blurred by calibre."""
    u, v, weight, thick = anatomy.vessels.T
    u, v = u - anatomy.lean * (v - 1) ** 2, v - CENTRE
    unit, c, s = 100 * pose.scale, np.cos(pose.tilt), np.sin(pose.tilt)
    x = (u * c - v * s) * unit + pose.shift[1] + (SIZE - 1) / 2
    y = (u * s + v * c) * unit + pose.shift[0] + (SIZE - 1) / 2
    fine = splat(x, y, weight * (thick == 0))
    stout = splat(x, y, weight**1.5 * (thick == 1))
    fine = ndimage.gaussian_filter(fine, 0.7, truncate=3)
    stout = ndimage.gaussian_filter(stout, 1.4, truncate=3)
    return np.asarray(np.minimum(0.34 * fine + 0.8 * stout, 0.7))


def draw_bones(
    anatomy: Anatomy, pose: Pose, u: np.ndarray, v: np.ndarray, flank: np.ndarray, below: np.ndarray
) -> np.ndarray:
    """Nepers of all bones.

    Args:
      u: [256, 256] f32, as all that follow.
      v: from the neck down.
      flank: u from the lateral chest wall inwards.
      below: v below the diaphragm.
    """
    bone = _ribs(anatomy, u, v, flank, below) + _shoulder(anatomy, pose, np.abs(u), v)
    bone += _clavicles(u - pose.turn, v) + _spine(u + pose.turn, v)
    return np.asarray(anatomy.bone * bone)


def _ribs(anatomy: Anatomy, u: np.ndarray, v: np.ndarray, flank: np.ndarray, below: np.ndarray) -> np.ndarray:
    """Ribs as tilted ellipses seen from the front: posterior arcs fall to the flank, anterior ones go on.

    All ribs share one formula: q counts ribs continuously, so ten of them cost as much as one.
    """
    au = np.abs(u)
    wall = flank + au + 0.035
    root = np.sqrt(np.clip(1 - (au / np.maximum(wall, 0.05)) ** 2, 0, 1))
    inside = smooth(au - wall, 0.0, -0.03) * smooth(au, 0.04, 0.12) * (1 - 0.6 * smooth(below, 0, 0.15))
    fall = anatomy.rib_slope
    steep = np.sqrt(1 + (fall * au / np.maximum(wall, 0.1) ** 2 / np.maximum(root, 0.2)) ** 2)
    spacing = (anatomy.height + 0.15) / 9.6
    start = 0.24 + anatomy.rib_shift
    q = (v - start - fall * (1 - root) - 0.16 * np.maximum(au - 0.2, 0)) / spacing
    back = _tube(q, 0.2 * steep) * ((q > -0.5) & (q < 10.5)) * np.minimum(steep, 2.2)
    q = (v - start - fall * (1 + 1.25 * root) - 0.16 * au + 0.03) / spacing
    front = _tube(q, 0.24 * steep) * ((q > -0.5) & (q < 6.5)) * np.minimum(steep, 2.2)
    return np.asarray(inside * (0.3 * back + 0.17 * front * smooth(au, 0.25, 0.5)))


def _tube(q: np.ndarray, half: np.ndarray) -> np.ndarray:
    """Chord through hollow bones of half-width `half` at each integer q: brighter at the cortex."""
    d = np.abs(q - np.rint(q)) / np.minimum(half, 0.5)
    outer = np.sqrt(np.clip(1 - d * d, 0, 1))
    return np.asarray(outer - 0.55 * np.sqrt(np.clip(1 - (d / 0.8) ** 2, 0, 1)) + 0.25 * (d < 1))


def _clavicles(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Both clavicles, their medial ends thick."""
    au = np.abs(u)
    axis = 0.56 - 0.2 * (au - 0.1) + 0.04 * np.sin(7.5 * (au - 0.1))
    half = 0.04 + 0.025 * smooth(au, 0.25, 0.08) + 0.015 * smooth(au, 0.6, 0.9)
    d = np.abs(v - axis) / half
    bone = np.sqrt(np.clip(1 - d * d, 0, 1)) - 0.35 * np.sqrt(np.clip(1 - (d / 0.7) ** 2, 0, 1))
    return np.asarray(0.62 * bone * smooth(au, 0.07, 0.1) * smooth(au, 0.98, 0.92))


def _spine(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Vertebral bodies with pedicles and spinous processes; u from the midline of the back."""
    period = 0.13 + 0.012 * v
    phase = np.cos(2 * np.pi * v / period)
    body = smooth(np.abs(u), 0.105 + 0.01 * phase, 0.08)
    pedicle = np.exp(-(((np.abs(u) - 0.06) / 0.02) ** 2)) * np.clip(phase, 0, 1) ** 2
    process = np.exp(-((u / 0.018) ** 2)) * np.clip(-phase, 0, 1)
    return np.asarray(0.24 * body * (1 + 0.25 * phase) + 0.12 * pedicle + 0.14 * process)


def _shoulder(anatomy: Anatomy, pose: Pose, au: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Scapular blade, humeral head and shaft, both sides at once."""
    x = au - anatomy.scapula + (0.06 if pose.portable else -0.02)
    inner = x - (0.66 + 0.25 * (v - 0.75) ** 2)
    outer = 0.98 - 0.28 * (v - 0.6) - 0.3 * (v - 0.6) ** 2 - x
    edge = np.minimum(np.minimum(inner, outer), np.minimum(v - 0.42, 1.22 - v))
    border = np.exp(-(((outer - 0.03) / 0.03) ** 2)) * smooth(edge, -0.02, 0.03)
    blade = 0.1 * smooth(edge, 0, 0.04) + 0.12 * border
    head = bulge(0.125 - radius(x - 1.06, v - 0.5), 0.1)
    d = np.abs(x - 1.13 - pose.arms * (v - 0.55)) / 0.062
    shaft = np.sqrt(np.clip(1 - d * d, 0, 1)) - 0.4 * np.sqrt(np.clip(1 - (d / 0.6) ** 2, 0, 1))
    return np.asarray(blade + 0.35 * head + 0.5 * shaft * smooth(v, 0.5, 0.58))
