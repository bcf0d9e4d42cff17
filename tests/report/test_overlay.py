"""A map over a radiograph: what shows through, what colour lies on it, where boxes are."""

import matplotlib
import numpy as np
import pytest

from cxrjax.report.figures.sheets import overlay


def test_where_the_map_is_zero_the_radiograph_shows():
    image = np.arange(100, dtype=np.uint8).reshape(10, 10)
    grey = np.stack([image] * 3, -1)
    np.testing.assert_array_equal(overlay(image, np.zeros((10, 10))), grey)
    one = np.zeros((10, 10))
    one[4, 5] = 1  # 1 % of the pixels: the 99th percentile is 0.01
    got = overlay(image, one)
    assert (got != grey).any(-1).sum() == 1
    assert (got[4, 5] != grey[4, 5]).any()


def test_colour_and_its_share_by_hand():
    """Half of the largest value: 0.4 / 2 of viridis' middle on 80 % of the grey."""
    image, values = np.full((2, 50), 100, np.uint8), np.ones((2, 50))
    values[0, 0] = 0.5
    got = overlay(image, values, opacity=0.4)
    for place, strength in (((0, 0), 0.5), ((1, 0), 1.0)):
        colour = np.array(matplotlib.colormaps["viridis"](strength)[:3]) * 255
        np.testing.assert_array_equal(got[place], np.round(0.4 * strength * colour + (1 - 0.4 * strength) * 100))


def test_a_few_extreme_pixels_leave_the_others_visible():
    values = np.ones((40, 40))
    values[0, :8] = 1e6  # half a percent
    got = overlay(np.zeros((40, 40), np.uint8), values)
    np.testing.assert_array_equal(got[0, 0], got[20, 20])


@pytest.mark.parametrize("grey", [0, 255])
def test_boxes_are_seen_on_dark_and_bright(grey):
    """x 3..7 and y 2..5: a white line on these pixels between two black ones."""
    got = overlay(np.full((12, 14), grey, np.uint8), np.zeros((12, 14)), [(3, 2, 5, 4)])[..., 0]
    white = np.zeros((12, 14), bool)
    white[2:6, 3:8], white[3:5, 4:7] = True, False
    black = np.zeros((12, 14), bool)
    black[1:7, 2:9], black[2:6, 3:8] = True, False
    black[3:5, 4:7] = True  # the inner line fills what is left
    assert (got[white] == 255).all()
    assert (got[black] == 0).all()
    assert (got[~(white | black)] == grey).all()


@pytest.mark.parametrize("box", [(-5, -5, 8, 8), (10, 8, 50, 50), (50, 60, 3, 3), (-9, -9, 3, 3), (4, 4, 1, 1)])
def test_boxes_across_the_border_are_cut(box):
    x, y, width, height = box
    wide = overlay(np.full((90, 90), 9, np.uint8), np.zeros((90, 90)), [(x + 20, y + 20, width, height)])
    got = overlay(np.full((12, 14), 9, np.uint8), np.zeros((12, 14)), [box])
    np.testing.assert_array_equal(got, wide[20:32, 20:34])


def test_mistakes_are_named():
    image, values = np.zeros((4, 4), np.uint8), np.ones((4, 4))
    for args, match in (
        ((image, values[:3]), "map of its shape"),
        ((image.astype(float), values), "image must be"),
        ((image, -values), "map must be finite and 0 or more, got -1"),
        ((image, values * np.nan), "map must be finite"),
    ):
        with pytest.raises(ValueError, match=match):
            overlay(*args)
    with pytest.raises(ValueError, match=r"opacity must be 0\.\.1, got 1\.5"):
        overlay(image, values, opacity=1.5)
