"""Radiographic findings drawn into a healthy thorax, named as in NIH ChestX-ray14.

A finding takes air out of the lung (`loss`) or adds attenuation to it (`extra`), so it follows the anatomy:
nothing shows outside the chest, and an opacity behind the heart is as faint there as on a film.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from cxrjax.data.phantom.anatomy import TEXTURE_SIZE
from cxrjax.data.phantom.chest import LUNG_AIR, SIZE, Chest, bulge, noise, smooth

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


def attenuation(chest: Chest, findings: tuple[Finding, ...] = ()) -> np.ndarray:
    """Nepers [256, 256] f32 along each ray: body and vessels, less what the air that is left lets through."""
    air, total = chest.air, chest.solid + chest.vessels
    for finding in findings:
        air = air * (1 - finding.loss)
        total = total + finding.extra
    return np.asarray(total - LUNG_AIR * air)
