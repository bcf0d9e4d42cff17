"""Fewer training images of one class, validation being as it was: another ratio of the classes, or undersampling."""

from __future__ import annotations

import numpy as np

from cxrjax.base import InputError
from cxrjax.data.cohort import Cohort, Split

_THIN = 7  # purpose of `default_rng([seed, purpose])`, beside those of `cohort`


def thin_positives(cohort: Cohort, split: Split, ratio: float, seed: int) -> Split:
    """The same split with so many negatives for each positive in training, to the nearest image.

    Raises:
      InputError: if there are more already, or no positive would be left.
    """
    positives, negatives = ((cohort.label[split.train] == side).sum() for side in (1, 0))
    if not 1 <= (wanted := round(negatives / ratio)) <= positives:
        raise InputError(
            f"--train_ratio={ratio:g} must be {negatives / positives:.3g} to {negatives}, by {negatives} negatives and "
            f"{positives} positives in training, seed {seed}"
        )
    return _thin(cohort, split, 1, wanted, seed)


def undersample(cohort: Cohort, split: Split, seed: int) -> Split:
    """The same split with as many training images of the commoner class as the rarer one has."""
    images = np.bincount(cohort.label[split.train], minlength=2)
    return _thin(cohort, split, int(images.argmax()), int(images.min()), seed)


def _thin(cohort: Cohort, split: Split, side: int, count: int, seed: int) -> Split:
    """With the first `count` training images of a class, in one random order of them for each seed."""
    of_side = cohort.label[split.train] == side
    chosen = np.random.default_rng([seed, _THIN]).permutation(split.train[of_side])[:count]
    return Split(np.sort(np.concatenate([split.train[~of_side], chosen])), split.val)
