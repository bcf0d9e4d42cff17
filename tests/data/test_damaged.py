"""Damaged files: each gives its true pixels, or a named mistake, or, where its format has no checksums, other pixels.

Never a crash, a hang or half an image. `pytest -m slow -s tests/data/test_damaged.py` prints the shares of 300 files.
"""

import io
from collections import Counter, defaultdict

import numpy as np
import pytest
from PIL import Image
from pydicom import uid

from cxrjax.base import InputError
from cxrjax.data.decode import decode
from cxrjax.data.dicom import worker
from tests.data.dicom_files import NAME, deflated, dicom, encapsulated, rle

CHECKED = ("PNG", "PNG 16")  # formats in which a checksum tells any change
RAW = ("TIFF", "BMP", "PGM", "DICOM native", "DICOM without meta")  # zeros at their end are black pixels
DAMAGES = ("cut off", "bytes", "block", "zeros at the end", "removed", "doubled")
BITS = 12


def encoded(image, format, **options):
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format=format, **options)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def originals(small_phantom):
    """A radiograph-like image in every format that is read: kind -> content."""
    grey = small_phantom.images[0][::2, ::2]
    noise = np.random.default_rng(0).integers(-3, 4, grey.shape)
    grey = np.clip(grey.astype(int) + noise, 0, 255).astype(np.uint8)
    deep = grey.astype(np.uint16) * 16
    rgb = np.dstack([grey] * 3)
    pgm = b"P5\n%d %d\n65535\n" % deep.shape[::-1] + deep.astype(">u2").tobytes()
    kinds = {
        "PNG": encoded(grey, "PNG"),
        "PNG 16": encoded(deep, "PNG"),
        "JPEG": encoded(grey, "JPEG"),
        "JPEG optimised": encoded(grey, "JPEG", optimize=True, quality=95),
        "JPEG progressive": encoded(rgb, "JPEG", progressive=True),
        "JPEG restarts": encoded(rgb, "JPEG", restart_marker_rows=1),
        "TIFF": encoded(deep, "TIFF"),
        "TIFF LZW": encoded(grey, "TIFF", compression="tiff_lzw"),
        "TIFF deflate": encoded(deep, "TIFF", compression="tiff_adobe_deflate"),
        "BMP": encoded(grey, "BMP"),
        "JPEG 2000": encoded(deep, "JPEG2000"),
        "WebP": encoded(rgb, "WEBP", quality=90),
        "WebP lossless": encoded(rgb, "WEBP", lossless=True),
        "GIF": encoded(grey, "GIF"),
        "PGM": pgm,
    }
    return kinds | {f"DICOM {kind}": content for kind, content in dicoms(grey, deep).items()}


def dicoms(grey, deep):
    imagecodecs = pytest.importorskip("imagecodecs", reason="imagecodecs is not installed (the extra dicom)")
    plain = dicom(deep)
    frames = {
        "lossless JPEG": (uid.JPEGLosslessSV1, imagecodecs.jpeg8_encode(deep, lossless=True, bitspersample=BITS)),
        "12-bit JPEG": (uid.JPEGExtended12Bit, imagecodecs.jpeg8_encode(deep, level=95, bitspersample=BITS)),
        "JPEG-LS": (uid.JPEGLSLossless, imagecodecs.jpegls_encode(deep)),
        "JPEG 2000": (uid.JPEG2000Lossless, encoded(deep, "JPEG2000")),
        "HTJ2K": (uid.HTJ2KLossless, imagecodecs.htj2k_encode(deep, reversible=True)),
    }
    packed = {kind: encapsulated(syntax, frame, deep, BITS) for kind, (syntax, frame) in frames.items()}
    packed["JPEG"] = encapsulated(uid.JPEGBaseline8Bit, encoded(grey, "JPEG"), grey, 8)
    return packed | {
        "native": plain,
        "without meta": dicom(deep, meta=False),
        "RLE": rle(plain),
        "deflated": deflated(plain),
    }


def damage(rng, content, how):
    """The content with one fault."""
    damaged = bytearray(content)
    place, length = int(rng.integers(len(damaged))), int(rng.integers(1, 600))
    if how == "cut off":
        del damaged[place:]
    elif how == "bytes":
        for where in rng.integers(len(damaged), size=int(rng.integers(1, 20))):
            damaged[where] = int(rng.integers(256))
    elif how == "block":
        end = min(place + length, len(damaged))
        damaged[place:end] = bytes(end - place)
    elif how == "zeros at the end":
        damaged[place:] = bytes(len(damaged) - place)
    elif how == "removed":
        del damaged[place : place + length]
    else:
        damaged[place:place] = damaged[place : place + length]
    return bytes(damaged)


def flat_rows(pixels):
    """How many rows at the bottom have one value each: what decoders make of an end that is missing."""
    flat = np.ptp(pixels.astype(int), axis=1) <= 1
    return len(flat) if flat.all() else int(np.argmin(flat[::-1]))


@pytest.mark.parametrize("count", [50, pytest.param(300, marks=pytest.mark.slow)])
def test_a_damaged_file_gives_its_pixels_or_a_named_mistake(originals, count, monkeypatch):
    monkeypatch.setattr(worker, "LIMIT_SECONDS", 2.0)  # pydicom goes round for ever at some
    rng = np.random.default_rng(count)
    outcomes = defaultdict(Counter)
    true = {kind: decode(content, file_name(kind)).pixels for kind, content in originals.items()}
    kinds = list(originals)
    for number in range(count):
        kind, how = kinds[number % len(kinds)], DAMAGES[number // len(kinds) % len(DAMAGES)]
        try:
            pixels = decode(damage(rng, originals[kind], how), file_name(kind)).pixels
        except InputError as error:
            assert str(error) and NAME not in str(error)
            outcomes[kind]["refused"] += 1
            continue
        assert pixels.shape == (256, 256) and pixels.dtype == np.uint8
        same = np.array_equal(pixels, true[kind])
        outcomes[kind]["true pixels" if same else "other pixels"] += 1
        assert same or kind not in CHECKED, how
        assert same or how != "cut off", kind
        assert kind in RAW or flat_rows(pixels) <= flat_rows(true[kind]) + 25, (kind, how)
    for kind, counts in outcomes.items():
        print(f"{kind:20s}", ", ".join(f"{number} {outcome}" for outcome, number in sorted(counts.items())))
    print(sum((counts for counts in outcomes.values()), Counter()))
    assert sum(counts["refused"] for counts in outcomes.values()) > count / 2


def file_name(kind):
    return "x.dcm" if kind.startswith("DICOM") else "x"
