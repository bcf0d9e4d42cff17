"""What of a source is on the disk so far, after kills at the worst moments."""

import contextlib
import hashlib

import numpy as np
import pytest

from cxrjax.data.decode import Decoded
from cxrjax.data.dicom import Details
from cxrjax.data.reading import Enlarged, Partial

SIZE = 4


def image(value):
    return np.full((SIZE, SIZE), value, np.uint8)


def fill(folder, *values):
    """Images named by their values, committed, of one archive."""
    with contextlib.closing(Partial(folder, SIZE)) as partial:
        for value in values:
            partial.append(f"{value}.png", "stamp", Decoded(image(value), 9, Details(patient=f"p{value}")))
        partial.end("a.tar", "stamp")
        partial.commit()


def shown(folder, *names):
    with contextlib.closing(Partial(folder, SIZE)) as partial:
        return [pixels[0, 0] for pixels in partial.pixels(names)]


def test_what_was_committed_is_there_again_in_any_order(tmp_path):
    fill(tmp_path, 1, 2, 3)
    with contextlib.closing(Partial(tmp_path, SIZE)) as partial:
        assert [(image, done.stamp) for image, done in partial.done.items()] == [
            (f"{n}.png", "stamp") for n in (1, 2, 3)
        ]
        assert partial.ended == {"a.tar": "stamp"}
        done = partial.done["2.png"]
        assert (done.row, done.side, done.details) == (1, 9, Details("p2", "", "", ""))
        assert done.sha256 == hashlib.sha256(image(2).tobytes()).hexdigest()
    assert shown(tmp_path, "3.png", "1.png") == [3, 1]


def test_an_image_that_is_read_again_replaces_itself(tmp_path):
    fill(tmp_path, 1, 2)
    with contextlib.closing(Partial(tmp_path, SIZE)) as partial:
        partial.append("1.png", "new", Decoded(image(9), 9, Details()))
        partial.commit()
    assert shown(tmp_path, "1.png", "2.png") == [9, 2]


@pytest.mark.parametrize("behind", ["rows", "half a line", "half a row"])
def test_what_a_kill_leaves_behind_the_last_line_is_cut_off(tmp_path, behind):
    fill(tmp_path, 1, 2)
    name, content = {
        "rows": ("rows.bin", bytes(SIZE**2)),
        "half a row": ("rows.bin", bytes(5)),
        "half a line": ("ledger.jsonl", b'{"image": "3.p'),
    }[behind]
    with (tmp_path / name).open("ab") as file:
        file.write(content)
    fill(tmp_path, 7)
    assert shown(tmp_path, "1.png", "2.png", "7.png") == [1, 2, 7]


def test_lines_whose_rows_are_gone_are_dropped(tmp_path):
    fill(tmp_path, 1, 2)
    rows = tmp_path / "rows.bin"
    rows.write_bytes(rows.read_bytes()[:-1])
    with contextlib.closing(Partial(tmp_path, SIZE)) as partial:
        assert not partial.done and not partial.ended
    assert not rows.read_bytes() and not (tmp_path / "ledger.jsonl").read_bytes()


def test_lines_of_another_version_are_dropped(tmp_path):
    fill(tmp_path, 1, 2)
    ledger = tmp_path / "ledger.jsonl"
    ledger.write_text(ledger.read_text().replace('"side": 9, ', "", 1))
    with contextlib.closing(Partial(tmp_path, SIZE)) as partial:
        assert not partial.done and not partial.ended


@pytest.mark.parametrize(
    ("sides", "size", "counted", "line"),
    [
        ([1024, 1024], 512, (512, 0, 2, 0, 0), "size: none of 2 images enlarged to 512 pixels"),
        ([512, 513], 512, (512, 0, 2, 0, 0), "size: none of 2 images enlarged to 512 pixels"),
        (
            [256, 511, 224, 300, 512, 2000],
            512,
            (512, 4, 6, 256, 224),
            "size: 4 of 6 images enlarged to 512 pixels, from 256 (median; smallest 224)",
        ),
        ([7], 8, (8, 1, 1, 7, 7), "size: 1 of 1 images enlarged to 8 pixels, from 7 (median; smallest 7)"),
    ],
)
def test_images_with_fewer_pixels_than_asked_for_are_counted(sides, size, counted, line):
    enlarged = Enlarged.among(sides, size)
    assert enlarged == counted
    assert enlarged.line() == line
