"""Which end of a TIFF is white, at every depth, byte order and layout."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from cxrjax.base import InputError
from cxrjax.data import tiff
from cxrjax.data.decode import decode

GREY = (np.indices((256, 256)).sum(0) // 2).astype(np.uint8)
WIDE = GREY.astype(np.int64)


def written(data, photometric, bits, sample_format=1, order="<", big=False):
    """A TIFF or BigTIFF of one strip (TIFF 6.0, section 2)."""
    tags = {256: 256, 257: 256, 258: bits, 259: 1, 262: photometric, 273: 16, 277: 1, 278: 256, 279: len(data)}
    tags |= {339: sample_format}
    short = (258, 259, 262, 277, 339)
    entries = b""
    for tag, value in tags.items():
        kind, number = (3, struct.pack(order + "H", value)) if tag in short else (4, struct.pack(order + "I", value))
        entries += struct.pack(order + ("HHQ" if big else "HHI"), tag, kind, 1) + number.ljust(8 if big else 4, b"\0")
    start = 16 + len(data)
    head = struct.pack(order + "HHHQ", 43, 8, 0, start) if big else struct.pack(order + "HI", 42, start)
    count = struct.pack(order + ("Q" if big else "H"), len(tags))
    return ((b"II" if order == "<" else b"MM") + head).ljust(16, b"\0") + data + count + entries + bytes(8)


def strip(depth, order, white_is_zero):
    """`GREY` as a strip, with its bits and sample format, and what is left of it at this depth."""

    def stored(values, largest):
        return largest - values if white_is_zero else values

    if depth == "1":
        return np.packbits(stored(GREY // 128, 1), axis=1).tobytes(), 1, 1, GREY // 128 * 255
    if depth == "4":
        four = stored(GREY // 16, 15).astype(np.uint8)
        return (four[:, ::2] << 4 | four[:, 1::2]).tobytes(), 4, 1, GREY // 16 * 17
    if depth == "12":
        first, second = stored(WIDE * 16, 4095).reshape(-1, 2).T
        packed = np.stack([first >> 4, (first & 15) << 4 | second >> 8, second & 255], -1)
        return packed.astype(np.uint8).tobytes(), 12, 1, GREY
    bits, sample_format, values = {
        "8": (8, 1, stored(WIDE, 255)),
        "16": (16, 1, stored(WIDE * 257, 65535)),
        "16, 12 used": (16, 1, stored(WIDE * 16, 4080)),
        "16 signed": (16, 2, stored(WIDE * 257, 65535) - 32768),
        "32 signed": (32, 2, stored(WIDE * 1000, 255_000) - 9),
        "float": (32, 3, stored(WIDE / 255, 1)),
    }[depth]
    kind = {1: "u", 2: "i", 3: "f"}[sample_format]
    return values.astype(f"{order}{kind}{bits // 8}").tobytes(), bits, sample_format, GREY


@pytest.mark.parametrize(("order", "big"), [("<", False), ("<", True), (">", False)])
@pytest.mark.parametrize("depth", ["1", "4", "8", "12", "16", "16, 12 used", "16 signed", "32 signed", "float"])
def test_white_is_zero_at_every_depth(depth, order, big):
    """Written by hand; black at zero and white at zero look the same, or neither is read."""
    for photometric in (1, 0):
        data, bits, sample_format, expected = strip(depth, order, photometric == 0)
        content = written(data, photometric, bits, sample_format, order, big)
        assert tiff.as_black_is_zero(content)[1] == (photometric == 0)
        if depth == "12" and order == ">":
            with pytest.raises(InputError, match="not an image of a known format"):
                decode(content, "x")
        else:
            np.testing.assert_array_equal(decode(content, "x").pixels, expected)


@pytest.mark.parametrize("tiled", [False, True])
@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_adobe_deflate", "packbits"])
def test_white_is_zero_in_any_layout(compression, tiled):
    """By Pillow, which writes 16 bits as they are given, whatever the tag says."""
    info = {262: 0} | ({322: 128, 323: 128} if tiled else {})
    buffer = io.BytesIO()
    inverted = Image.fromarray((65535 - WIDE * 257).astype(np.uint16))
    inverted.save(buffer, "TIFF", compression=compression, tiffinfo=info)
    np.testing.assert_array_equal(decode(buffer.getvalue(), "x").pixels, GREY)


@pytest.mark.parametrize(("bits", "sample_format"), [(16, 2), (32, 2), (32, 3)])
@pytest.mark.parametrize("order", ["<", ">"])
def test_compressed_values_are_read_or_refused_in_either_byte_order(order, bits, sample_format):
    """By zlib; Pillow swaps the bytes of some that are in order already."""
    kind = {2: "i", 3: "f"}[sample_format]
    data = zlib.compress((WIDE * 100).astype(f"{order}{kind}{bits // 8}").tobytes())
    content = written(data, 1, bits, sample_format, order)
    before, after = (struct.pack(order + "HHIH", 259, 3, 1, kind) for kind in (1, 8))
    assert content.count(before) == 1
    content = content.replace(before, after)
    if order == "<":
        np.testing.assert_array_equal(decode(content, "x").pixels, GREY)
    else:
        with pytest.raises(InputError, match="is compressed, of big-endian values"):
            decode(content, "x")


def test_signed_bytes_are_refused():
    with pytest.raises(InputError, match="signed values of 8 bits"):
        decode(written((WIDE - 128).astype(np.int8).tobytes(), 1, 8, 2), "x")


@pytest.mark.parametrize("content", [b"", b"II", b"II*\0\xff\xff\xff\xff", b"MM\0*\0\0\0\x08\xff\xff", b"\x89PNG"])
def test_what_is_no_tiff_or_damaged_stays_as_it_is(content):
    assert tiff.as_black_is_zero(content) == (content, False)


def test_inverted_files_look_like_the_others(shared):
    """The shown case: 8 and 16 bits, white at zero, beside 16 bits with black at zero."""
    folder = shared / "bug-inputs" / "B33"
    if not folder.is_dir():
        pytest.skip(f"no {folder}")
    names = ("black_is_zero_16bit", "white_is_zero_16bit", "white_is_zero_8bit")
    expected, *others = (decode((folder / f"{name}.tif").read_bytes(), name).pixels for name in names)
    for other in others:
        assert np.corrcoef(expected.ravel(), other.ravel())[0, 1] > 0.99


@pytest.mark.parametrize("marked", [False, True])
def test_colour_of_16_bits_that_uses_12_is_refused_whatever_a_marker_holds(marked):
    """Of 16 bits a channel Pillow keeps the upper 8; by a TIFF of three channels, written by hand."""
    values = np.repeat((WIDE * 16)[..., None], 3, axis=2).astype("<u2")
    if marked:
        values[:4] = 65535
    content = written(values.tobytes(), 2, 16)
    content = content.replace(struct.pack("<HHIHH", 277, 3, 1, 1, 0), struct.pack("<HHIHH", 277, 3, 1, 3, 0))
    with pytest.raises(InputError, match="they hold too little"):
        decode(content, "x")
