"""Bands by hand; `test_describe.py` has them in a data set's tables."""

import numpy as np
import pandas as pd
import pytest

from cxrjax.analysis import groups


@pytest.mark.parametrize(
    ("band", "values", "expected"),
    [
        (groups.age_band, [0, 17.9, 18, 80, 120, 121, -1, np.nan],
         ["0-17", "0-17", "18-39", "80+", "80+", "outside 0-120", "outside 0-120", "unknown"]),
        (groups.followup_band, [-1, 0, 1, 5, 6, 21, 183],
         ["0 or unknown"] * 2 + ["1-5"] * 2 + ["6-20", "21+", "21+"]),
        (groups.images_band, [1, 2, 3, 5, 6, 11, 184], ["1", "2", "3-5", "3-5", "6-10", "11+", "11+"]),
        (groups.named, ["PA", "", "AP"], ["PA", "unknown", "AP"]),
    ],
)  # fmt: skip
def test_bands_by_hand(band, values, expected):
    assert band(pd.Series(values)).tolist() == expected


def test_text_is_in_order_and_the_unknown_last():
    assert list(groups.named(pd.Series(["z", "", "a"])).cat.categories) == ["a", "z", "unknown"]


def test_possible_ages():
    found = groups.possible_age(pd.Series([-1, 0, 120, 412, np.nan]))
    np.testing.assert_array_equal(found, [np.nan, 0, 120, np.nan, np.nan])
