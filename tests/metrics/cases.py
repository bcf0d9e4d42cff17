"""Random evaluations with all that goes wrong: ties, constant scores, one class, duplicates, saturated scores."""

from typing import NamedTuple

import numpy as np

WIDTH = 64  # images of a case, padding included: one shape, so that JAX compiles once


class Cases(NamedTuple):
    """[C, WIDTH] each; weight 0 is padding, whose scores are NaN in places."""

    label: np.ndarray
    score: np.ndarray
    weight: np.ndarray

    def rows(self, c):
        """Label and score of case c with an image of weight 2 twice and padding left out; score f64."""
        times = self.weight[c]
        return np.repeat(self.label[c], times), np.repeat(self.score[c], times).astype(float)


def cases(count=100, seed=0) -> Cases:
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 2, (count, WIDTH))
    score = rng.random((count, WIDTH)) * 0.7 + 0.3 * rng.random((count, 1)) * label
    weight = rng.integers(0, 4, (count, WIDTH))
    for c in range(count):
        n = rng.integers(1, WIDTH)
        weight[c, n:] = 0
        score[c, n:][::2] = np.nan
        kind = c % 10
        if kind in (1, 2):
            score[c] = np.round(score[c], kind)  # many ties, some ties
        elif kind == 3:
            score[c] = rng.choice([0.0, 0.5, 1.0])
        elif kind == 4:
            label[c] = rng.integers(0, 2)
        elif kind == 5:
            score[c] = np.where(rng.random(WIDTH) < 0.5, score[c], np.round(score[c]))  # exactly 0 and 1 among them
        elif kind == 6:
            score[c] = (label[c] + rng.random(WIDTH)) / 2  # separate
        elif kind == 7:
            label[c] = rng.random(WIDTH) < 0.1
    return Cases(label, score.astype(np.float32), weight)
