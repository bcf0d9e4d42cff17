"""A procedural thorax in frontal projection, as layers of attenuation, and findings named as in NIH ChestX-ray14.

Everything is drawn as a smooth function of the body coordinates of `cxrjax.data.phantom.anatomy`, so that one
anatomy can be posed many times. Attenuations are in nepers (the exponent of the X-ray). A finding takes air out of the
lung (`loss`) or adds attenuation to it (`extra`), so it follows the anatomy: nothing shows outside the chest, and an
opacity behind the heart is as faint there as on a film.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from cxrjax.data.phantom.anatomy import (
    SIZE,
    TEXTURE_SIZE,
    Anatomy,
    Pose,
    body_coordinates,
    bulge,
    draw_bones,
    draw_vessels,
    noise,
    radius,
    smooth,
)

LUNG_AIR = 2.1  # nepers by which the air of a whole lung lowers the attenuation
# What governs how hard the task is.
PNEUMONIA_DENSITY = (0.22, 0.78)  # share of the air that an opacity replaces
PNEUMONIA_RADIUS = (0.2, 0.52)  # u, about hundreds of pixels
PNEUMONIA_SECOND = 0.5  # probability of a further opacity
INFILTRATION_DENSITY = (0.15, 0.55)
INFILTRATION_RADIUS = (0.25, 0.5)
EFFUSION_HEIGHT = (0.06, 0.5)  # v above the costophrenic angle
NODULE_RADIUS = (0.03, 0.065)
MASS_RADIUS = (0.1, 0.2)
CARDIOMEGALY_SCALE = (1.2, 1.42)  # of the heart, applied when the chest is drawn


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


def draw_chest(anatomy: Anatomy, pose: Pose) -> Chest:
    """Draws the layers of one posed thorax."""
    u, v = body_coordinates(anatomy, pose)
    front = u - pose.turn
    flank, air = _lungs(anatomy, u, v)
    dome = _diaphragm(anatomy, pose, u)
    below = v - dome
    # The lung reaches behind the dome: its edge is sharp, and a little air shows below it.
    air *= 1 - 0.9 * smooth(below, -0.015, 0.02) - 0.1 * smooth(below, 0.0, 0.3)
    middle = _mediastinum(anatomy, front, v)
    heart = _heart(anatomy, pose, front, v)
    air *= (1 - 0.97 * smooth(middle, -0.03, 0.025)) * (1 - 0.84 * heart)
    lung = (flank > 0.01) & (below < 0) & (middle < 0) & (heart < 0.2) & (air > 0.15)
    vessels = draw_vessels(anatomy, pose) * (0.15 + 0.85 * np.minimum(air * 1.6, 1))
    solid = _soft_tissue(anatomy, pose, u, v, below, front)
    corner = anatomy.texture[0] - pose.shift[0], anatomy.texture[1] - pose.shift[1]  # it moves with the body
    mottle, grain = noise(corner, fine=False), noise(corner, fine=True)
    solid *= 1 + 0.012 * mottle
    vessels += (0.045 * grain + 0.03 * mottle) * air
    solid += draw_bones(anatomy, pose, u, v, flank, below)
    return Chest(u, v, solid, air, vessels, lung, heart > 0.25, flank, dome)


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


class Finding(NamedTuple):
    """What one finding changes; several add up."""

    loss: np.ndarray | float = 0.0  # [256, 256] f32, share of the lung's air that is gone; below 0 is more air
    extra: np.ndarray | float = 0.0  # [256, 256] f32, nepers
    box: tuple[int, int, int, int] | None = None  # x, y, w, h in pixels; of a pneumonia only


def _noise(rng: np.random.Generator, fine: bool) -> np.ndarray:
    y, x = rng.integers(0, TEXTURE_SIZE - SIZE, 2)
    return noise((int(y), int(x)), fine)


def _ridges(rng: np.random.Generator) -> np.ndarray:
    """Thin branching lines, 0..1, as of bronchi and septa: the zero crossings of fine noise."""
    return np.asarray(np.clip(1 - np.abs(_noise(rng, fine=True)) / 0.5, 0, 1))


def _place(chest: Chest, rng: np.random.Generator, room: np.ndarray, low: bool = False) -> tuple[float, float]:
    """Body coordinates of a random pixel of `room` (of the lung if that is empty); `low` favours the base."""
    pixels = np.flatnonzero(room)
    if not len(pixels):
        pixels = np.flatnonzero(chest.air > 0.1)
    pixel = pixels[rng.integers(len(pixels), size=2 if low else 1).max()]  # pixels run from top to bottom
    return float(chest.u.flat[pixel]), float(chest.v.flat[pixel])


def _cloud(
    chest: Chest, rng: np.random.Generator, centre: tuple[float, float], radius: float, lobes: int
) -> np.ndarray:
    """An ill-defined cloud, 0..1: a few overlapping ellipses whose margin is broken up by noise."""
    field = np.zeros_like(chest.u)
    for lobe in range(lobes):
        spread = 0.0 if lobe == 0 else 0.6 * radius
        du = chest.u - (centre[0] + rng.normal(0, 1) * spread)
        dv = chest.v - (centre[1] + rng.normal(0, 1) * spread)
        a, stretch = rng.uniform(0, np.pi), rng.uniform(0.75, 1.3)
        du, dv = du * math.cos(a) + dv * math.sin(a), dv * math.cos(a) - du * math.sin(a)
        size = radius * rng.uniform(0.6, 1.0)
        field = np.maximum(field, 1 - ((du / stretch) ** 2 + (dv * stretch) ** 2) / (2 * size) ** 2)
    return smooth(field + 0.14 * _noise(rng, fine=False) * (field > 0), 0.35, 1.05)


def pneumonia(chest: Chest, rng: np.random.Generator) -> Finding:
    """One ill-defined airspace opacity with darker bronchi; its box holds what it does to the image."""
    room = (chest.air > 0.5) | (chest.heart & (chest.air > 0.1) & (chest.u > 0.12))
    centre = _place(chest, rng, room, low=True)
    cloud = _cloud(chest, rng, centre, rng.uniform(*PNEUMONIA_RADIUS) * 0.7, int(rng.integers(2, 5)))
    cloud = cloud * ((chest.u > 0) == (centre[0] > 0))  # it does not cross the mediastinum
    grain = 1 + 0.08 * _noise(rng, fine=True) + 0.1 * _noise(rng, fine=False) - 0.22 * _ridges(rng)
    loss = np.minimum(rng.uniform(*PNEUMONIA_DENSITY) * cloud * np.clip(grain, 0.3, 1.3), 0.95)
    return Finding(loss, box=_box(loss * chest.air))


def _box(effect: np.ndarray) -> tuple[int, int, int, int]:
    """Bounding box x, y, w, h of what exceeds a third of the strongest effect."""
    strong = effect > effect.max() / 3
    y, x = np.flatnonzero(strong.any(axis=1)), np.flatnonzero(strong.any(axis=0))
    return int(x[0]), int(y[0]), int(x[-1] - x[0] + 1), int(y[-1] - y[0] + 1)


def infiltration(chest: Chest, rng: np.random.Generator) -> Finding:
    """Diffuse haze with reticular lines, in one or both lungs."""
    loss = np.zeros_like(chest.u)
    sides = (-1, 1) if rng.random() < 0.6 else (int(rng.choice([-1, 1])),)
    for side in sides:
        centre = _place(chest, rng, (chest.air > 0.5) & (chest.u * side > 0))
        cloud = _cloud(chest, rng, centre, rng.uniform(*INFILTRATION_RADIUS) * 0.7, 3) * (chest.u * side > 0)
        loss += rng.uniform(*INFILTRATION_DENSITY) * cloud * (0.7 + 0.6 * _ridges(rng))
    return Finding(np.minimum(loss, 0.7))


def effusion(chest: Chest, rng: np.random.Generator) -> Finding:
    """Fluid at the base of one pleura, its meniscus rising to the flank."""
    side = int(rng.choice([-1, 1]))
    height = rng.uniform(*EFFUSION_HEIGHT)
    au = np.abs(chest.u)
    angle = float(chest.dome.min()) + 0.22
    meniscus = 0.25 * np.exp(-np.maximum(chest.flank, 0) / 0.05)
    level = angle - height * (1 + 0.6 * smooth(au, 0.3, 0.95) ** 2) - meniscus
    loss = smooth(chest.v - level, -0.03, 0.07) * (chest.u * side > 0) * rng.uniform(0.75, 1)
    return Finding(loss.astype(np.float32))


def nodule(chest: Chest, rng: np.random.Generator) -> Finding:
    """One to three small round densities."""
    extra = np.zeros_like(chest.u)
    for _ in range(int(rng.integers(1, 4))):
        u, v = _place(chest, rng, chest.lung & (chest.air > 0.5))
        radius = rng.uniform(*NODULE_RADIUS)
        depth = radius - np.hypot(chest.u - u, chest.v - v)
        extra += rng.uniform(0.25, 0.55) * bulge(depth, radius) * smooth(depth, 0, 0.015)
    return Finding(extra=extra)


def mass(chest: Chest, rng: np.random.Generator) -> Finding:
    """One large lobulated density with a fairly sharp margin."""
    u, v = _place(chest, rng, chest.lung & (chest.air > 0.5))
    radius = rng.uniform(*MASS_RADIUS)
    distance = np.hypot(chest.u - u, (chest.v - v) * rng.uniform(0.85, 1.2))
    depth = radius * (1 + 0.12 * _noise(rng, fine=False)) - distance
    loss = rng.uniform(0.45, 0.85) * bulge(depth, radius) * smooth(depth, 0, 0.03)
    return Finding(loss)


def atelectasis(chest: Chest, rng: np.random.Generator) -> Finding:
    """Plate-like bands in the lower zones, with a little basal haze."""
    side = int(rng.choice([-1, 1]))
    extra = np.zeros_like(chest.u)
    zone = chest.lung & (chest.u * side > 0.2) & (chest.dome - chest.v < 0.55)
    for _ in range(int(rng.integers(1, 4))):
        u, v = _place(chest, rng, zone)
        slope, bend = rng.normal(0, 0.3), rng.normal(0, 0.5)
        du = chest.u - u
        across = (chest.v - v - slope * du - bend * du**2) / rng.uniform(0.012, 0.03)
        along = du / rng.uniform(0.12, 0.25)
        extra += rng.uniform(0.25, 0.5) * np.exp(-(across**2) - along**4)
    base = smooth(chest.dome - chest.v, rng.uniform(0.3, 0.6), 0.0) * (chest.u * side > 0)
    haze = rng.uniform(0.1, 0.5) * base
    return Finding(haze.astype(np.float32), extra * np.minimum(2 * chest.air, 1))


def pneumothorax(chest: Chest, rng: np.random.Generator) -> Finding:
    """Air between chest wall and a retracted lung: a thin line, no vessels beyond it, widest at the apex."""
    side = int(rng.choice([-1, 1]))
    gap = rng.uniform(0.06, 0.22) * (1 + 0.8 * smooth(chest.v, 1.3, 0.4))
    wavy = chest.flank - gap + 0.012 * _noise(rng, fine=False)
    here = (chest.u * side > 0) & (chest.air > 0.02)
    outside = smooth(wavy, 0.01, -0.01) * here
    line = 0.28 * np.exp(-((wavy / 0.012) ** 2)) * here
    inside = here * smooth(wavy, 0, 0.05)
    loss = rng.uniform(0.08, 0.28) * inside - 0.22 * outside
    return Finding(loss.astype(np.float32), (line - chest.vessels * outside).astype(np.float32))


FINDINGS = {
    draw.__name__.capitalize(): draw
    for draw in (atelectasis, effusion, infiltration, mass, nodule, pneumonia, pneumothorax)
}


def attenuation(chest: Chest, findings: tuple[Finding, ...] = ()) -> np.ndarray:
    """Nepers [256, 256] f32 along each ray: body and vessels, less what the air that is left lets through."""
    air, total = chest.air, chest.solid + chest.vessels
    for finding in findings:
        air = air * (1 - finding.loss)
        total = total + finding.extra
    return np.asarray(total - LUNG_AIR * air)
