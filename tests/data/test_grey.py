"""Black and white of deep images: outliers do not count, and without them nothing is cut."""

import numpy as np
import pytest

from cxrjax.base import InputError
from cxrjax.data.grey import limits

_NORMAL = np.random.default_rng(0).normal(2000, 300, 100_000)
VALUES = np.clip(_NORMAL, 1000, 3000).astype(np.uint16)  # tails that are thin, and without a gap
ENDS = float(VALUES.min()), float(VALUES.max())


@pytest.mark.parametrize("share", [0.001, 0.01, 0.049])
@pytest.mark.parametrize("value", [0, 3190, 5000, 65535])
def test_a_marker_or_dead_pixels_change_nothing(value, share):
    marked = VALUES.copy()
    marked[np.random.default_rng(1).choice(len(VALUES), int(share * len(VALUES)), replace=False)] = value
    others = marked[marked != value]
    assert limits(marked) == (others.min(), others.max())
    assert limits(marked, "full") == (min(value, others.min()), max(value, others.max()))


def test_both_ends_at_once_and_values_of_any_kind():
    marked = np.concatenate([VALUES, np.full(900, 65535), np.zeros(900)])
    for kind in (np.uint16, np.int32, np.float32):
        assert limits(marked.astype(kind)) == ENDS
    assert limits(-marked) == (-ENDS[1], -ENDS[0])


def test_hot_pixels_of_any_value_leave_most_of_the_range():
    hot = VALUES.copy()
    hot[:1800] = np.random.default_rng(2).integers(0, 20_000, 1800)  # without a gap
    low, high = limits(hot)
    assert low > 400 and high < 3600  # the image itself goes from 1000 to 3000


def test_nothing_is_cut_of_tails_without_a_gap():
    assert limits(np.arange(10_000)) == (0, 9999)
    exponential = np.minimum(np.random.default_rng(3).exponential(100, 100_000), 450)
    assert limits(exponential) == (exponential.min(), 450)


def test_nearly_equal_pixels_show_what_else_there_is():
    letter = np.zeros(10_000)
    letter[:50] = 7
    assert limits(letter) == (0, 7)
    assert limits(np.full(9, 3)) == (3, 3)
    assert limits(np.array([])) == (0, 0)


def test_a_rule_that_there_is_not_is_named():
    with pytest.raises(InputError, match="range must be one of robust, full, got 'wide'"):
        limits(VALUES, "wide")
