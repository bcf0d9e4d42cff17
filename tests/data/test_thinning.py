"""Fewer training images of one class: how many, which, and that validation stays."""

import numpy as np
import pytest

from cxrjax.base import InputError
from cxrjax.data import thinning
from cxrjax.data.cohort import Cohort, Split

LABEL = np.repeat(np.array([1, 0], np.int32), (40, 110))  # 40 positives, 110 negatives
COHORT = Cohort(np.arange(150, dtype=np.int32), LABEL, np.arange(150).astype(str))
VAL = np.r_[0:10, 40:50]
SPLIT = Split(np.setdiff1d(np.arange(150), VAL).astype(np.int32), VAL.astype(np.int32))  # 30 and 100 in training


def counts(split):
    return int(LABEL[split.train].sum()), int((1 - LABEL[split.train]).sum())


def test_positives_are_thinned_to_the_ratio_and_nested():
    parts = {ratio: thinning.thin_positives(COHORT, SPLIT, ratio, seed=3) for ratio in (4, 10, 20)}
    assert {ratio: counts(part) for ratio, part in parts.items()} == {4: (25, 100), 10: (10, 100), 20: (5, 100)}
    assert set(parts[20].train) < set(parts[10].train) < set(parts[4].train) < set(SPLIT.train)
    for part in parts.values():
        np.testing.assert_array_equal(part.val, SPLIT.val)
        assert part.train.dtype == np.int32 and (np.diff(part.train) > 0).all()
    assert set(thinning.thin_positives(COHORT, SPLIT, 10, seed=4).train) != set(parts[10].train)


@pytest.mark.parametrize("ratio", [2.5, 250])
def test_a_ratio_that_cannot_be_had_is_refused(ratio):
    with pytest.raises(InputError, match=rf"--train_ratio={ratio:g} must be 3.33 to 100, by 100 negatives and 30 pos"):
        thinning.thin_positives(COHORT, SPLIT, ratio, seed=0)


def test_undersampling_draws_the_commoner_class():
    part = thinning.undersample(COHORT, SPLIT, seed=3)
    assert counts(part) == (30, 30)
    np.testing.assert_array_equal(part.val, SPLIT.val)
    of_few = thinning.thin_positives(COHORT, SPLIT, 20, seed=3)
    assert counts(thinning.undersample(COHORT, of_few, seed=3)) == (5, 5)
    swapped = COHORT._replace(label=1 - LABEL)
    np.testing.assert_array_equal(thinning.undersample(swapped, SPLIT, seed=3).train, part.train)
