"""Pictures of many images: each tile where it belongs, differences in their colours, an animation of all frames."""

import io

import numpy as np
import pytest
from PIL import Image

from cxrjax.report.figures import sheets


def flat(value, side=40):
    return np.full((side, side), value, np.uint8)


def test_tiles_stand_in_rows_and_columns():
    tiles = [[flat(0), flat(50), flat(100)], [flat(150), flat(200), np.stack([flat(250), flat(0), flat(0)], -1)]]
    made = sheets.sheet(tiles, ["", ""], ["", "", ""], side=20)
    assert made.shape == (2 * (20 + sheets.GAP) + sheets.GAP, 3 * (20 + sheets.GAP) + sheets.GAP, 3)
    middles = [(10 + r * (20 + sheets.GAP), sheets.GAP + 10 + c * (20 + sheets.GAP)) for r in (0, 1) for c in (0, 1, 2)]
    assert [tuple(made[y, x]) for y, x in middles] == [*[(v, v, v) for v in (0, 50, 100, 150, 200)], (250, 0, 0)]


def test_names_take_room_and_are_written():
    plain = sheets.sheet([[flat(255)]], [""], [""], side=60)
    named = sheets.sheet([[flat(255)]], ["a row"], ["a column"], side=60)
    assert named.shape[0] > plain.shape[0]
    assert (plain == 255).all()
    assert (named < 200).any()


def test_names_must_fit():
    with pytest.raises(ValueError, match=r"tiles must have 1 rows of 2, got \[1\]"):
        sheets.sheet([[flat(0)]], [""], ["", ""])


def test_difference_is_red_where_brighter_and_blue_where_darker():
    made = sheets.difference(np.array([[100.0, 100.0, 100.0]]), np.array([[100.0, 200.0, 40.0]]), reach=60)
    assert made[0].tolist() == [[255, 255, 255], [178, 24, 43], [33, 102, 172]]


def test_an_animation_has_every_frame_and_rests_on_the_last():
    made = Image.open(io.BytesIO(sheets.animation([flat(0, 10), flat(120, 15), flat(255, 20)], side=30)))
    assert (made.n_frames, made.size) == (3, (30, 30))
    found = []
    for frame in range(3):
        made.seek(frame)
        found.append((made.convert("L").getpixel((15, 15)), made.info["duration"]))
    assert [value for value, _ in found] == [0, 120, 255]
    assert found[0][1] < found[2][1] == 2000
    with pytest.raises(ValueError, match="frames must hold an image"):
        sheets.animation([])
