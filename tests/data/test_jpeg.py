"""JPEG's segments, and images whose data end before they do."""

import io

import numpy as np
import pytest
from PIL import Image

from cxrjax.base import InputError
from cxrjax.data import jpeg
from cxrjax.data.decode import decode

NOISE = np.random.default_rng(0).integers(0, 256, (80, 120), dtype=np.uint8)


def encoded(image=NOISE, **options):
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="JPEG", **options)
    return buffer.getvalue()


KINDS = {
    "baseline": {},
    "optimised": {"optimize": True},
    "progressive": {"progressive": True},
    "restarts": {"restart_marker_rows": 1},
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_frame_header_is_read(kind):
    """A preview inside and bytes behind the image do not count."""
    preview = encoded(NOISE[:8, :8])
    content = encoded(**KINDS[kind])
    segment = b"\xff\xe1" + (len(preview) + 2).to_bytes(2, "big") + preview
    with_preview = content[:2] + segment + content[2:]
    for whole in (content, with_preview, with_preview + preview):
        header = jpeg.parse(whole)
        assert (header.rows, header.columns, header.precision) == (80, 120, 8)
        assert header.process == (jpeg.PROGRESSIVE if kind == "progressive" else jpeg.BASELINE)
        assert whole[: header.end + 2].endswith(content[-50:])  # the end marker follows
        decode(whole, "x")


@pytest.mark.parametrize("colour", [False, True])
@pytest.mark.parametrize("cut", [0.35, 0.75, 0.95])
@pytest.mark.parametrize("kind", KINDS)
def test_half_an_image_is_refused(kind, cut, colour):
    """Without its end, with zeros for it, or with an end marker behind the cut, where libjpeg fills up with grey."""
    content = encoded(np.dstack([NOISE, NOISE[::-1], NOISE]) if colour else NOISE, **KINDS[kind])
    half = content[: int(cut * len(content))].rstrip(b"\xff")
    for end in (b"", bytes(len(content) - len(half)), b"\xff\xd9"):
        with pytest.raises(InputError, match=r"ends too early|truncated|broken data stream"):
            decode(half + end, "x")


def test_data_that_go_on_where_the_image_is_full_are_refused():
    """The frame header says half of the rows; they end in black, as what is looked at closely does."""
    image = NOISE.copy()
    image[32:40] = 0
    content = encoded(image)
    place = content.index((80).to_bytes(2, "big") + (120).to_bytes(2, "big"))
    with pytest.raises(InputError, match="it has data after the end of the image"):
        decode(content[:place] + (40).to_bytes(2, "big") + content[place + 2 :], "x")
    decode(encoded(image[:40]), "x")


@pytest.mark.parametrize("value", [0, 128, 255])
def test_a_blank_image_is_not_taken_for_a_damaged_one(value):
    blank = np.full((512, 512), value, np.uint8)
    for options in ({}, {"optimize": True}, {"progressive": True}):
        assert (decode(encoded(blank, **options), "x").pixels == value).all()


def test_what_is_no_jpeg_is_named():
    with pytest.raises(InputError, match="is no JPEG"):
        jpeg.parse(b"PNG")
    with pytest.raises(InputError, match="has no JPEG frame"):
        jpeg.parse(b"\xff\xd8\xff\xd9")
