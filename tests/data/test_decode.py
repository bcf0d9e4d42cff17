"""One image file to 8-bit grey: modes, depths, orientation, fit, filter."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from cxrjax.base import InputError
from cxrjax.data.decode import Reduction, decode
from tests.data.dicom_files import dicom


def encoded(image, format="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, format=format, **options)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def grey():
    return np.random.default_rng(0).integers(0, 256, (256, 256), dtype=np.uint8)


@pytest.mark.parametrize(
    ("format", "mode"),
    [("PNG", mode) for mode in ("L", "LA", "RGB", "RGBA", "P", "I;16")]
    + [("TIFF", mode) for mode in ("L", "LA", "RGB", "RGBA", "P", "CMYK", "I;16", "I", "F")],
)
def test_grey_in_any_mode_is_the_same_grey(grey, format, mode):
    grey = grey.copy()
    grey[0, :2] = 0, 255  # deep modes are scaled from smallest to largest
    image = Image.fromarray(grey)
    if mode == "I;16":
        image = Image.fromarray(grey.astype(np.uint16) * 257)
    elif mode == "I":
        image = Image.fromarray(grey.astype(np.int32) * 1000 - 70_000)
    elif mode == "F":
        image = Image.fromarray(grey.astype(np.float32) / 3 - 11)
    else:
        image = image.convert("RGB" if mode == "CMYK" else mode).convert(mode)
    np.testing.assert_array_equal(decode(encoded(image, format), "x").pixels, grey)


def test_one_bit_and_palette_colours(grey):
    bits = Image.fromarray(grey > 127)
    np.testing.assert_array_equal(decode(encoded(bits), "x").pixels, np.where(grey > 127, 255, 0))
    palette = Image.fromarray((grey > 127).astype(np.uint8), "P")
    palette.putpalette([255, 0, 0, 0, 255, 0])  # luma of red 76, of green 150
    np.testing.assert_array_equal(decode(encoded(palette), "x").pixels, np.where(grey > 127, 150, 76))


def test_colour_is_luma():
    red = Image.new("RGB", (256, 256), (200, 100, 50))
    assert decode(encoded(red), "x").pixels[5, 5] == round(0.299 * 200 + 0.587 * 100 + 0.114 * 50)


def test_twelve_bits_in_sixteen_use_the_whole_range():
    ramp = np.linspace(100, 4095, 256 * 256).reshape(256, 256).astype(np.uint16)
    seen = decode(encoded(Image.fromarray(ramp)), "x").pixels
    np.testing.assert_array_equal(seen, np.rint((ramp - 100) * (255 / 3995)).astype(np.uint8))


@pytest.mark.parametrize("kind", [np.uint16, np.int32, np.float32])
def test_a_marker_does_not_set_the_scale_of_a_deep_image(kind):
    """0.6 % of the pixels at the top of 16 bits, and dead ones: the others are as without them, but for `full`."""
    ramp = (1000 + np.arange(65536).reshape(256, 256) // 20).astype(kind)
    marked = ramp.copy()
    marked[100:120, 100:120], marked[5, :50] = 65535, 0
    clean = decode(encoded(Image.fromarray(ramp), "TIFF"), "x").pixels
    expected = np.where(marked == 65535, 255, np.where(marked == 0, 0, clean))
    content = encoded(Image.fromarray(marked), "TIFF")
    np.testing.assert_array_equal(decode(content, "x").pixels, expected)
    full = decode(content, "x", Reduction(range="full")).pixels
    assert np.abs(full - marked.astype(float) * (255 / 65535)).max() <= 0.51


def test_a_marker_is_white_before_the_image_is_reduced():
    """Beside it half a pixel of it is half white, not as white as 65,535."""
    deep = np.full((512, 512), 1000, np.uint16)
    deep[:, :256] += np.arange(256, dtype=np.uint16)
    deep[100:130, 101:131] = 65535
    pixels = decode(encoded(Image.fromarray(deep)), "x", Reduction(filter="box")).pixels.astype(int)
    assert pixels[55, 55] == 255
    assert pixels[55, 50] == pytest.approx((255 + pixels[20, 50]) / 2, abs=1)


def test_an_unfinished_download_of_webp_is_refused(grey):
    content = encoded(Image.fromarray(grey).convert("RGB"), "WEBP")
    decode(content, "x")
    with pytest.raises(InputError, match="ends in zeros"):
        decode(content[: len(content) // 2] + bytes(len(content) - len(content) // 2), "x")


def test_pgm_of_any_largest_value(grey):
    """The netpbm standard: big-endian words above 255."""
    for largest in (100, 255, 1023, 4095, 65535):
        values = grey.astype(np.int64) * largest // 255
        values[0, :2] = 0, largest
        raw = values.astype(np.uint8 if largest < 256 else ">u2").tobytes()
        pixels = decode(b"P5\n256 256\n%d\n" % largest + raw, "x").pixels
        assert np.abs(pixels - values * (255 / largest)).max() <= 0.51


@pytest.mark.parametrize("mode", ["LA", "RGB"])
def test_colour_of_sixteen_bits_that_leaves_the_upper_ones_empty_is_refused(grey, mode):
    """Pillow keeps 8 of 16 bits: of 12 bits 4 would be left. By hand as Pillow does not write such files."""
    for shift, fits in ((8, True), (4, False)):
        channel = grey.astype(np.uint16) << shift
        channels = [channel, np.full_like(channel, 65535)] if mode == "LA" else [channel] * 3
        content = png16(np.dstack(channels), 4 if mode == "LA" else 2)
        if fits:
            np.testing.assert_array_equal(decode(content, "x").pixels, grey)
        else:
            with pytest.raises(InputError, match="16 bits a channel"):
                decode(content, "x")


def png16(values, colour_type):
    """[H, W, C] u16 as PNG (ISO 15948)."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    header = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], 16, colour_type, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def test_a_blank_deep_image_is_black():
    assert not decode(encoded(Image.fromarray(np.full((256, 256), 9_000, np.uint16))), "x").pixels.any()


@pytest.mark.parametrize(
    ("format", "orientation"), [*(("PNG", orientation) for orientation in range(1, 9)), ("JPEG", 6), ("TIFF", 7)]
)
def test_exif_orientation_is_honoured(grey, format, orientation):
    """Written turned, read upright; the reference is Pillow's transpose of the array by the EXIF standard's table."""
    half = np.where(np.arange(256) < 128, 40, 200).astype(np.uint8)
    image = np.tile(half, (256, 1))
    image[:64] //= 2  # no symmetry is left
    written = {  # what a camera held that way has stored
        1: image, 2: image[:, ::-1], 3: image[::-1, ::-1], 4: image[::-1], 5: image.T, 6: np.rot90(image),
        7: np.rot90(image, 2).T, 8: np.rot90(image, -1),
    }[orientation]  # fmt: skip
    stored = Image.fromarray(np.ascontiguousarray(written))
    exif = stored.getexif()
    exif[0x0112] = orientation
    content = encoded(stored, format, exif=exif, **({"quality": 100} if format == "JPEG" else {}))
    seen = decode(content, "x").pixels.astype(int)
    assert np.abs(seen - image).max() <= 12  # JPEG's edges


def test_fit():
    wide = np.zeros((100, 200), np.uint8) + 80
    wide[:, 50:150] = 200
    content = encoded(Image.fromarray(wide))
    whole, pad, crop = (decode(content, "x", Reduction(fit=fit)).pixels for fit in ("stretch", "pad", "crop"))
    assert whole[0, 0] == whole[-1, 0] == 80
    assert (whole[:, 128] == 200).all()
    assert not pad[:63].any()
    assert not pad[-63:].any()
    assert pad[128, 5] == 80
    assert pad[128, 128] == 200
    assert (crop[:, 5:-5] == 200).all()


@pytest.mark.parametrize(
    ("width", "height", "fit", "side"),
    [
        (300, 300, "stretch", 300),
        (300, 200, "stretch", 200),  # its height is stretched from 200 to 256
        (200, 300, "stretch", 200),
        (300, 200, "crop", 200),  # the central 200 x 200
        (300, 200, "pad", 300),  # reduced until 300 are 256
        (200, 100, "pad", 200),
    ],
)
def test_of_an_original_the_side_is_known_that_its_pixels_come_from(width, height, fit, side):
    image = Image.fromarray(np.arange(width * height, dtype=np.uint32).reshape(height, width).astype(np.uint8))
    assert decode(encoded(image), "x", Reduction(fit=fit)).side == side
    if fit == "stretch":
        assert decode(dicom(np.asarray(image)), "x").side == side


@pytest.mark.parametrize("name", ["bilinear", "box"])
def test_filter_is_pillows(grey, name):
    large = Image.fromarray(np.kron(grey, np.ones((3, 3), np.uint8))[:700])
    expected = large.resize((256, 256), getattr(Image.Resampling, name.upper()))
    np.testing.assert_array_equal(decode(encoded(large), "x", Reduction(filter=name)).pixels, np.asarray(expected))
    assert decode(encoded(large), "x", Reduction(size=64, filter=name)).pixels.shape == (64, 64)


def test_sixteen_bits_are_rounded_once():
    """Reduced as float: rounding to 8 bits before the filter would differ."""
    deep = np.random.default_rng(1).integers(0, 65_536, (512, 512)).astype(np.uint16)
    low, high = int(deep.min()), int(deep.max())
    exact = np.asarray(Image.fromarray(deep.astype(np.float32)).resize((256, 256), Image.Resampling.BILINEAR))
    expected = np.rint((exact - low) * (255 / (high - low)))
    assert np.abs(decode(encoded(Image.fromarray(deep)), "x").pixels - expected).max() <= 1  # ties, in float32


def test_originals_reduce_to_the_256_pixel_release_exactly(shared):
    """Five of the originals are RGBA, a quirk of the release."""
    originals = sorted((shared / "nih-originals" / "images").glob("*.png"))
    both = [p for p in originals if (shared / "nih-mini" / "images" / p.name).exists()]
    rgba = 0
    for path in both:
        with Image.open(path) as image, Image.open(shared / "nih-mini" / "images" / path.name) as small:
            seen = decode(path.read_bytes(), path.name).pixels
            np.testing.assert_array_equal(seen, np.asarray(small))
            if image.mode == "RGBA":
                rgba += 1
                np.testing.assert_array_equal(seen, decode(encoded(image.convert("L")), "x").pixels)
    assert len(both) > 10
    assert rgba == 5


def test_a_changed_pixel_of_a_png_is_noticed(grey):
    """A wrong checksum; decoding alone would hand out the damaged image."""
    content = bytearray(encoded(Image.fromarray(grey), compress_level=0))
    content[len(content) // 2] ^= 1
    with pytest.raises(InputError, match="broken PNG"):
        decode(bytes(content), "x")
