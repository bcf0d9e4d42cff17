"""The contact sheet: what is on it, where, and the same bytes each time."""

import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from cxrjax.data import contact_sheet

SIDE = 40


def pixels(names):
    """Image 17.png is of grey 17."""
    return (np.full((SIDE, SIDE), int(name.split(".")[0]), np.uint8) for name in names)


def table(counts):
    labels = [label for label, count in counts.items() for _ in range(count)]
    return pd.DataFrame({"image": [f"{number}.png" for number in range(len(labels))], "labels": labels})


def drawn(counts, doubts=(), bad=0):
    content = contact_sheet.draw(table(counts), dict(doubts), bad, pixels)
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB")).astype(int)


def greys(sheet, first, last):
    """Greys of the images in a row of the sheet that begin in its lines `first` to `last`."""
    middle = sheet[(first + last) // 2, :, 0]
    return [int(middle[10 + column * 154 + 70]) for column in range(10)]


def test_a_sample_is_even_over_each_label_in_order():
    sheet = drawn({"A": 100, "B": 31})
    assert sheet.shape[1] == 1550
    rows = [greys(sheet, *place) for place in _places(sheet)]
    assert len(rows) == 6, "three for each of two labels"
    for label, expected in ((0, np.linspace(0, 99, 30)), (3, np.linspace(100, 130, 30))):
        shown = np.concatenate(rows[label : label + 3])
        np.testing.assert_allclose(shown, expected, atol=6)  # 64 greys are shown


def _places(sheet):
    """First and last line of each row of images: column 20 is not paper for 144 lines."""
    inside = (sheet[:, 20:140] < 250).all(axis=(1, 2))
    edges = np.flatnonzero(np.diff(np.concatenate([[False], inside, [False]]).astype(int)))
    return [(a, b) for a, b in edges.reshape(-1, 2) if b - a > 100]


def test_doubtful_images_come_first_in_red_frames_and_are_not_in_the_sample():
    doubts = {"7.png": "inverted", "90.png": "blank"}
    sheet = drawn({"A": 100}, doubts.items())
    places = _places(sheet)
    assert greys(sheet, *places[0])[:2] == pytest.approx([7, 90], abs=6)
    red = (sheet[:, :, 0] - sheet[:, :, 1]) > 150
    assert red[places[0][0] + 1, 10:150].all(), "a frame around the first"
    assert not red[places[1][0] :].any()
    assert not (red := (drawn({"A": 100})[:, :, 0] - drawn({"A": 100})[:, :, 1]) > 150).any()
    assert len(places) == len(_places(drawn({"A": 98}))) + 1


def test_many_doubts_and_labels_are_cut_short():
    counts = {f"label {number}": 2 for number in range(60)}
    doubts = {f"{number}.png": "blank" for number in range(60)}
    few = drawn(counts, list(doubts.items())[:30])
    assert drawn(counts, doubts.items()).shape == few.shape
    assert few.shape[0] < 2000


def test_an_empty_and_an_unlabelled_table():
    assert drawn({}).shape[1] == 1550
    assert len(_places(drawn({"": 3}))) == 1


def test_the_same_bytes_each_time_and_below_two_megabytes(noise):
    def of_noise(names):
        return (noise[int(name.split(".")[0]) % len(noise)] for name in names)

    doubts = {f"{number}.png": "striped" for number in range(40)}
    first, second = (contact_sheet.draw(table({"A": 120, "B": 80}), doubts, 3, of_noise) for _ in range(2))
    assert first == second
    assert len(first) < 2_000_000
