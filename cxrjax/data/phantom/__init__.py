"""Procedural chest radiographs with NIH-style labels: tests, examples and teaching without a download.

Not a substitute for patients: a network trained here has learnt the drawing, not the disease.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import ndimage

from cxrjax.base import lazy_modules, progress
from cxrjax.data.phantom import chest as draw
from cxrjax.data.phantom.anatomy import SIZE, Anatomy, draw_anatomy, draw_pose, splat
from cxrjax.data.phantom.chest import Chest, Finding
from cxrjax.storage.store import COLUMNS

lazy_modules(__name__)

CLASSES = {"Pneumonia": 0.25, "No Finding": 0.40, "other": 0.35}  # expected shares of the images
CONSTANCY = 1.5  # how alike the images of one patient are in class; towards 0 they all share one
IMAGES_A_PATIENT = (0.70, 0.18, 0.08, 0.04)  # probability of 1, 2, 3, 4
OTHERS = {
    "Atelectasis": 0.17,
    "Cardiomegaly": 0.10,
    "Effusion": 0.16,
    "Infiltration": 0.30,
    "Mass": 0.09,
    "Nodule": 0.10,
    "Pneumothorax": 0.08,
}
LEADS = 0.5  # probability that a bedside film shows the wires of a monitor
COMPANY = 0.4  # probability that a pneumonia, or another finding, comes with one more
PORTABLE = {"Pneumonia": 0.48, "No Finding": 0.34, "other": 0.44}  # probability of the AP view


class Phantom(NamedTuple):
    """A set of procedural radiographs and what is true of them; row i of each belongs together."""

    images: np.ndarray  # [N, 256, 256] u8, 0 is black
    table: pd.DataFrame  # [N] the columns of `cxrjax.storage.store.COLUMNS`
    lungs: np.ndarray  # [N, 256, 256] bool, lung fields as in health, not hidden by heart or diaphragm
    boxes: tuple[tuple[tuple[int, int, int, int], ...], ...]  # [N] of x, y, w, h of each pneumonic opacity


class Exposure(NamedTuple):
    """How a beam becomes grey values."""

    level: float  # nepers at middle grey
    width: float  # nepers from black to white
    gamma: float
    scatter: float  # added to the transmitted share, 0..; flattens what is dense
    noise: float  # standard deviation of the quantum noise at unit transmission
    blur: float  # pixels
    shutter: tuple[int, int, int, int]  # pixels left black at top, bottom, left, right
    marker: tuple[int, int] | None  # y, x of a letter L


class Radiograph(NamedTuple):
    """One image with its ground truth."""

    image: np.ndarray  # [256, 256] u8
    lung: np.ndarray  # [256, 256] bool
    boxes: tuple[tuple[int, int, int, int], ...]


def phantom(n_patients: int = 900, seed: int = 0, on_patient: Callable[[], None] = lambda: None) -> Phantom:
    """Draws the images of `n_patients` patients, about 1.46 each; `on_patient` is called after each.

    Patient i is the same whatever `n_patients` is: it draws from `default_rng([seed, i])`.

    Raises:
      ValueError: if `n_patients` is not in 1..100000 or `seed` is negative.
    """
    if not 1 <= n_patients <= 100_000:
        raise ValueError(f"n_patients must be in 1..100000, got {n_patients}")
    if seed < 0:
        raise ValueError(f"seed must not be negative, got {seed}")
    rows, graphs = [], []
    for number in range(n_patients):
        for row, graph in patient(number, seed):
            rows.append(row)
            graphs.append(graph)
        on_patient()
    return Phantom(
        np.stack([graph.image for graph in graphs]),
        pd.DataFrame(rows, columns=list(COLUMNS)),
        np.stack([graph.lung for graph in graphs]),
        tuple(graph.boxes for graph in graphs),
    )


@functools.cache
def embedded() -> Phantom:
    """The phantom that is used where no data are named: 900 patients, drawn once a process; not to be changed."""
    patients = 900
    with progress.stage("drawing the phantom", patients, "patients") as bar:
        drawn = phantom(patients, on_patient=bar.advance)
    drawn.images.flags.writeable = drawn.lungs.flags.writeable = False
    return drawn


def patient(number: int, seed: int = 0) -> list[tuple[dict[str, object], Radiograph]]:
    """All images of one patient, in order of follow-up: a row of the table and the radiograph each."""
    rng = np.random.default_rng([seed, number])
    n_images = 1 + int(rng.choice(len(IMAGES_A_PATIENT), p=IMAGES_A_PATIENT))
    leaning = rng.dirichlet(CONSTANCY * np.array(list(CLASSES.values())))
    sex = "F" if rng.random() < 0.44 else "M"
    age = int(np.clip(rng.normal(45 + 6 * leaning[0], 16), 5, 92))
    anatomy = draw_anatomy(rng, sex == "F", age)
    name = f"phantom_{number:05d}"
    result = []
    for followup, image_rng in enumerate(rng.spawn(n_images)):
        kind = str(image_rng.choice(list(CLASSES), p=leaning))
        labels, portable = _draw_labels(image_rng, kind), bool(image_rng.random() < PORTABLE[kind])
        image, view = f"{name}_{followup:03d}.png", "AP" if portable else "PA"
        row = (image, name, "|".join(labels), view, age, sex, followup, "")
        result.append((dict(zip(COLUMNS, row, strict=True)), radiograph(image_rng, anatomy, labels, portable)))
    return result


def _draw_labels(rng: np.random.Generator, kind: str) -> tuple[str, ...]:
    """NIH's label names in alphabetical order."""
    if kind == "No Finding":
        return ("No Finding",)
    names, shares = list(OTHERS), np.array(list(OTHERS.values()))
    first = kind if kind == "Pneumonia" else str(rng.choice(names, p=shares / shares.sum()))
    further = {str(rng.choice(names, p=shares / shares.sum()))} if rng.random() < COMPANY else set()
    return tuple(sorted({first} | further))


def radiograph(
    rng: np.random.Generator,
    anatomy: Anatomy,
    labels: tuple[str, ...] = ("No Finding",),
    portable: bool = False,
) -> Radiograph:
    """Draws one image of a patient.

    Args:
      anatomy: of the patient.
      labels: NIH's names, of those this module draws; `("No Finding",)` for none.
      portable: AP instead of PA view.
    """
    heart = rng.uniform(*draw.CARDIOMEGALY_SCALE) if "Cardiomegaly" in labels else 1.0
    chest = draw.draw_chest(anatomy, draw_pose(rng, portable, heart))
    drawn = draw_findings(rng, chest, labels)
    nepers = draw.attenuation(chest, drawn)
    if portable and rng.random() < LEADS:
        nepers = nepers + draw_leads(rng)
    image = expose(rng, nepers, draw_exposure(rng, portable))
    return Radiograph(image, chest.lung, tuple(finding.box for finding in drawn if finding.box))


def draw_findings(rng: np.random.Generator, chest: Chest, labels: tuple[str, ...]) -> tuple[Finding, ...]:
    """Draws what the labels name; a heart that is enlarged is part of `chest` already."""
    drawn = [draw.FINDINGS[label](chest, rng) for label in labels if label in draw.FINDINGS]
    if "Pneumonia" in labels and rng.random() < draw.PNEUMONIA_SECOND:
        drawn.append(draw.pneumonia(chest, rng))
    return tuple(drawn)


def draw_leads(rng: np.random.Generator) -> np.ndarray:
    """Nepers f32 [256, 256] of two to four electrodes and the wires that lead from them."""
    s = np.linspace(0, 1, 500)
    wires = np.zeros((SIZE, SIZE), np.float32)
    for _ in range(int(rng.integers(2, 5))):
        x0, y0 = rng.uniform(40, 215), rng.uniform(50, 190)
        x1, y1 = x0 + rng.normal(0, 60), rng.uniform(230, 330)
        x = x0 + (x1 - x0) * s + rng.normal(0, 25) * np.sin(np.pi * s)
        y = y0 + (y1 - y0) * s**1.3 + rng.normal(0, 25) * np.sin(2 * np.pi * s)
        wires += splat(x, y, np.full(500, 0.28))
        wires += splat(x0 + 3.5 * np.cos(6.3 * s), y0 + 3.5 * np.sin(6.3 * s), np.full(500, 0.12))
    return np.asarray(0.8 * ndimage.gaussian_filter(wires, 0.9, truncate=3))


def draw_exposure(rng: np.random.Generator, portable: bool) -> Exposure:
    """Draws the technique of one image; it knows nothing of the findings."""
    top, bottom, left, right = map(int, np.where(rng.random(4) < 0.12, rng.integers(2, 16, 4), 0))
    return Exposure(
        level=rng.normal(2.1, 0.25),
        width=rng.normal(4.6 if portable else 4.0, 0.35),
        gamma=float(np.exp(rng.normal(0, 0.12))),
        scatter=rng.uniform(0.012, 0.03) if portable else rng.uniform(0.005, 0.015),
        noise=rng.uniform(0.002, 0.006),
        blur=rng.uniform(0.45, 0.8),
        shutter=(top, bottom, left, right),
        marker=(int(rng.integers(10, 40)), int(rng.integers(215, 240))) if rng.random() < 0.6 else None,
    )


def expose(rng: np.random.Generator, nepers: np.ndarray, exposure: Exposure) -> np.ndarray:
    """Grey values u8 [256, 256] of an attenuation map: transmission exp(-a), scatter, noise, film curve.

    Rises with `nepers` at each pixel, but for noise and blur; `rng` draws the noise only.
    """
    beam = np.exp(-nepers) + np.float32(exposure.scatter)
    beam = ndimage.gaussian_filter(beam, exposure.blur, truncate=3)
    grain = rng.standard_normal(beam.shape, dtype=np.float32)
    beam = beam + np.float32(exposure.noise) * np.sqrt(beam) * grain
    dense = -np.log(np.maximum(beam, 1e-3))
    film = 1 / (1 + np.exp(-4 * (dense - exposure.level) / exposure.width))
    grey = np.clip(film, 0, 1) ** exposure.gamma * 255
    return _frame(grey, exposure).astype(np.uint8)


def _frame(grey: np.ndarray, exposure: Exposure) -> np.ndarray:
    """Adds the letter L beside the patient's left shoulder and the collimator's black edges."""
    if exposure.marker:
        y, x = exposure.marker
        grey[y : y + 11, x : x + 2] = 235
        grey[y + 9 : y + 11, x : x + 7] = 235
    top, bottom, left, right = exposure.shutter
    grey[:top], grey[SIZE - bottom :], grey[:, :left], grey[:, SIZE - right :] = 4, 4, 4, 4
    return grey
