"""Who is drawn and how they lie: the random numbers behind a procedural thorax (see `cxrjax.data.phantom.chest`).

Body coordinates (u, v): u is 0 on the midline and positive towards the patient's left (image right), v points
down from 0 at the neck; one unit is about 100 pixels.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

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
