"""A healthy procedural thorax in frontal projection, as layers of X-ray attenuation.

Everything is drawn as a smooth function of the body coordinates of `cxrjax.data.phantom.anatomy`, so that one
anatomy can be posed many times. Attenuations are in nepers (the exponent of the X-ray).
"""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from cxrjax.data.phantom.anatomy import TEXTURE_SIZE, Anatomy, Pose

SIZE = 256
CENTRE = 1.32  # v of the centre of the image
LUNG_AIR = 2.1  # nepers by which the air of a whole lung lowers the attenuation


class Chest(NamedTuple):
    """Layers of one posed thorax, all [256, 256]."""

    u: np.ndarray  # f32
    v: np.ndarray  # f32
    solid: np.ndarray  # f32, nepers of the body without any air in the lungs
    air: np.ndarray  # f32, 0..1, share of a full lung's air, the lung behind the heart included
    vessels: np.ndarray  # f32, nepers
    lung: np.ndarray  # bool, lung field as in health, not hidden by heart or diaphragm
    heart: np.ndarray  # bool
    flank: np.ndarray  # f32, u from the lateral chest wall inwards
    dome: np.ndarray  # f32, v of the diaphragm at this u


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


def draw_chest(anatomy: Anatomy, pose: Pose) -> Chest:
    """Draws the layers of one posed thorax."""
    u, v = _body_coordinates(anatomy, pose)
    au, front = np.abs(u), u - pose.turn
    flank, air = _lungs(anatomy, u, v)
    dome = _diaphragm(anatomy, pose, u)
    below = v - dome
    # The lung reaches behind the dome: its edge is sharp, and a little air shows below it.
    air *= 1 - 0.9 * smooth(below, -0.015, 0.02) - 0.1 * smooth(below, 0.0, 0.3)
    middle = _mediastinum(anatomy, front, v)
    heart = _heart(anatomy, pose, front, v)
    air *= (1 - 0.97 * smooth(middle, -0.03, 0.025)) * (1 - 0.84 * heart)
    lung = (flank > 0.01) & (below < 0) & (middle < 0) & (heart < 0.2) & (air > 0.15)
    vessels = _vessels(anatomy, pose) * (0.15 + 0.85 * np.minimum(air * 1.6, 1))
    solid = _soft_tissue(anatomy, pose, u, v, below, front)
    corner = anatomy.texture[0] - pose.shift[0], anatomy.texture[1] - pose.shift[1]  # it moves with the body
    mottle, grain = noise(corner, fine=False), noise(corner, fine=True)
    solid *= 1 + 0.012 * mottle
    vessels += (0.045 * grain + 0.03 * mottle) * air
    bone = _ribs(anatomy, u, v, flank, below) + _shoulder(anatomy, pose, au, v)
    bone += _clavicles(front, v) + _spine(u + pose.turn, v)
    solid += anatomy.bone * bone
    return Chest(u, v, solid, air, vessels, lung, heart > 0.25, flank, dome)


def _body_coordinates(anatomy: Anatomy, pose: Pose) -> tuple[np.ndarray, np.ndarray]:
    y, x = _pixels()
    unit = 100 * pose.scale
    c, s = math.cos(pose.tilt) / unit, math.sin(pose.tilt) / unit
    x, y = x - pose.shift[1], y - pose.shift[0]
    v = y * c - x * s + CENTRE
    return x * c + y * s + anatomy.lean * (v - 1) ** 2, v


def _wall(anatomy: Anatomy, v: np.ndarray) -> np.ndarray:
    """Half-width of the pleural cavity at height v: a tapered apex, widest near the base."""
    t = np.clip((v - 0.27) / (anatomy.height + 0.1), 0, 1)
    return anatomy.width * np.sqrt(t * (2 - t))


def _lungs(anatomy: Anatomy, u: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    au = np.abs(u)
    flank = _wall(anatomy, v) - au
    top = v - 0.3 - 1.6 * np.clip(0.34 - au, 0, 1) ** 2
    return flank, bulge(flank, 0.42) * bulge(top, 0.5)


def _diaphragm(anatomy: Anatomy, pose: Pose, u: np.ndarray) -> np.ndarray:
    au = np.abs(u)
    level = 0.3 + anatomy.height - pose.breath + 0.06 * smooth(u, -0.1, 0.1)  # the right dome is higher
    out = np.abs(au - 0.36) / (anatomy.width - 0.36)
    return np.asarray(level + np.where(au > 0.36, np.float32(0.3), np.float32(0.1)) * out**2)


def _mediastinum(anatomy: Anatomy, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Signed u inside the great vessels and spine: positive inside."""
    right = 0.15 + 0.02 * np.sin(3 * v)
    knob = anatomy.knob * np.exp(-(((v - 0.74) / 0.12) ** 2))
    left = 0.145 + knob + 0.05 * smooth(v, 0.85, 1.05)
    return np.asarray(np.where(u < 0, right, left) - np.abs(u) + 0.05 * smooth(v, 0.6, 0.2))


def _heart(anatomy: Anatomy, pose: Pose, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Thickness of the heart, 0..1: left ventricle with its apex, right atrium, outflow."""
    size = anatomy.heart * pose.heart
    base = 0.3 + anatomy.height - pose.breath - 0.05
    a, b = math.cos(0.62), math.sin(0.62)
    du, dv = u - 0.13 * size, v - (base - 0.2 * size)
    ventricle = 1 - radius((du * a + dv * b) / (0.4 * size), (dv * a - du * b) / (0.29 * size))
    atrium = 1 - radius((u + 0.04) / (0.2 * size), (v - (base - 0.24)) / (0.4 * size))
    trunk = 1 - radius((du * 0.9 - 0.435 * dv - 0.02) / (0.21 * size), (dv * 0.9 + 0.435 * du + 0.22) / 0.5)
    return bulge(np.maximum(np.maximum(ventricle, atrium), trunk), 0.32)


def _vessels(anatomy: Anatomy, pose: Pose) -> np.ndarray:
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
    au = np.abs(u)
    axis = 0.56 - 0.2 * (au - 0.1) + 0.04 * np.sin(7.5 * (au - 0.1))
    half = 0.04 + 0.025 * smooth(au, 0.25, 0.08) + 0.015 * smooth(au, 0.6, 0.9)
    d = np.abs(v - axis) / half
    bone = np.sqrt(np.clip(1 - d * d, 0, 1)) - 0.35 * np.sqrt(np.clip(1 - (d / 0.7) ** 2, 0, 1))
    return np.asarray(0.62 * bone * smooth(au, 0.07, 0.1) * smooth(au, 0.98, 0.92))


def _spine(u: np.ndarray, v: np.ndarray) -> np.ndarray:
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


def _soft_tissue(
    anatomy: Anatomy, pose: Pose, u: np.ndarray, v: np.ndarray, below: np.ndarray, front: np.ndarray
) -> np.ndarray:
    """Nepers of everything that is neither bone nor lung, the trachea's and the stomach's air taken out."""
    au, fat = np.abs(u), anatomy.girth
    flare = 1.1 * np.clip((pose.axilla + 0.15 - v) / (pose.axilla - 0.6), 0, 1) ** 2
    side = anatomy.width + 0.12 + 0.25 * fat + flare + 0.05 * smooth(v, 1.5, 2.3) - au
    crest = v + 0.05 - 0.45 * (1 - np.exp(-np.maximum(au - 0.28, 0) / 0.3)) + 0.12 * fat
    torso = np.minimum(side, np.maximum(crest, 0.34 + 0.1 * fat - au))
    depth = 2.9 + 0.6 * fat + 0.5 * smooth(v, 1.2, 2.1) - 0.5 * smooth(v, 0.6, 0.1)
    soft = depth * bulge(torso, 0.4)
    arm = 0.17 + 0.05 * fat - np.abs(au - 1.14 - 0.1 * fat - pose.arms * (v - 0.55))
    soft = np.maximum(soft, (1.5 + 0.3 * fat) * bulge(arm, 0.16) * smooth(v, 0.5, 0.8))
    bust = 1 - radius(
        (au - 0.5) / (0.34 + 0.1 * fat), (v - 1.42) / np.where(v > 1.42, np.float32(0.26), np.float32(0.5))
    )
    soft += 0.5 * anatomy.breast * bulge(bust, 0.5)
    soft += 0.35 * smooth(below, -0.01, 0.25)
    pipe = smooth(np.abs(front - 0.015 - 0.03 * smooth(v, 0.5, 0.8)), 0.062, 0.035) * smooth(v, 0.93, 0.85)
    bronchus = np.abs(v - 0.93 - 0.75 * np.abs(front - 0.03)) / 0.04
    branch = np.clip(1 - bronchus**2, 0, 1) * smooth(np.abs(front - 0.03), 0.22, 0.1)
    down, half, gas = anatomy.bubble
    stomach = bulge(1 - radius((u - 0.38) / half, (below - down) / (0.55 * half)), 0.8)
    return np.asarray(soft - 0.45 * pipe - 0.2 * branch - gas * stomach * smooth(below, 0.0, 0.04))
