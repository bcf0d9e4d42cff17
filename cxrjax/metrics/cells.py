"""Large sets of scored images as few weighted rows, so that thousands of draws of their patients take seconds.

Images of one label whose scores lie between the same two edges become one row of their mean score. Edges are quantiles
of the scores, and tenths: 0.5, and the bins of `calibration.BINS`.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np
from scipy import sparse

from cxrjax.metrics import calibration

CELLS = 240  # two classes, and the tenths, make fewer than 512 rows: one program serves all sets
"""Of 22,433 images of 6,187 patients (a CheXNet's scores for Effusion) the ends of every metric's interval then lie
within a hundredth of its width from where the images themselves put them, in a 60th of the time."""
_LARGE = 12_000  # images; ten runs of the poster's protocol on all of NIH's pneumonias validate 6,700
GROUPS = 512  # of patients, that are left out together


class Rows(NamedTuple):
    """What stands for the images."""

    label: np.ndarray  # [C]
    score: np.ndarray  # [..., C] f32
    images: sparse.csr_matrix  # [C, P], how many of each patient


def cells_for(images: int) -> int | None:
    """Cells for `bootstrap.intervals` of a set of so many rows; None: its images themselves are drawn."""
    return CELLS if images > _LARGE else None


def condense(
    label: np.ndarray, score: np.ndarray, patient: np.ndarray, cells: int = CELLS, patients: int | None = None
) -> Rows:
    """Rows of a set.

    Args:
      label: [n], 0 or 1.
      score: [n], or [..., n]: the first row is put into cells, all others must take few values.
      patient: [n], numbers from 0.
      cells: between quantiles.
      patients: how many there are; None: those that have images.
    """
    first, *others = np.atleast_2d(score.reshape(-1, len(label))).astype(np.float32)
    tenths = np.linspace(0, 1, calibration.BINS + 1, dtype=np.float32)[1:-1]
    edges = np.union1d(np.quantile(first, np.linspace(0, 1, cells + 1)[1:-1], method="lower"), tenths)
    kinds = [np.unique(row, return_inverse=True)[1] for row in (label, np.searchsorted(edges, first), *others)]
    _, place, member, count = np.unique(
        np.stack(kinds), axis=1, return_index=True, return_inverse=True, return_counts=True
    )
    member = member.ravel()
    means = np.bincount(member, first.astype(float)) / count
    rows = np.array(score, np.float32)[..., place]
    rows.reshape(-1, len(place))[0] = means
    shape = (len(place), patients or int(patient.max()) + 1)
    return Rows(
        label[place], rows, sparse.csr_matrix((np.ones(len(member), np.float32), (member, patient)), shape=shape)
    )


def multiplicities(rng: np.random.Generator, patients: int, draws: int) -> np.ndarray:
    """How often each patient is drawn, [draws, patients] i32, rows of sum `patients`; further draws change no former.

    By NumPy: a JAX program with random numbers inside compiles for almost a second more.
    """
    rows = np.arange(draws)[:, None] * patients
    drawn = rng.integers(0, patients, (draws, patients)) + rows
    return np.bincount(drawn.ravel(), minlength=draws * patients).reshape(draws, patients).astype(np.int32)


@functools.lru_cache(maxsize=32)
def left_out_and_drawn(seed: tuple[int, ...], patients: int, draws: int) -> np.ndarray:
    """How often each patient counts, [P, D + G + 1] f32: in D draws, without each of G groups of patients, and once.

    Kept, since one set with the labels of several findings asks for the same draws again.
    """
    times = multiplicities(np.random.default_rng(seed), patients, draws)
    groups = min(GROUPS, patients)
    left_out = np.arange(patients) % groups == np.arange(groups)[:, None]
    every = np.concatenate([times, ~left_out, np.ones((1, patients), bool)])
    return np.ascontiguousarray(every.T, np.float32)
