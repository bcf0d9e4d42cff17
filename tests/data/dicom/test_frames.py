"""Every transfer syntax in which radiographs come: lossless ones bit for bit, lossy ones against another decoder."""

import functools
import io
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread, uid
from pydicom.data import get_testdata_file
from pydicom.encaps import encapsulate, generate_frames
from pydicom.pixels.utils import pixel_array

from cxrjax.base import InputError
from cxrjax.data import jpeg
from cxrjax.data.dicom import frames, worker
from tests.data.dicom_files import RAMP, compressed, dicom, encapsulated, linear, rle, shown

imagecodecs = pytest.importorskip("imagecodecs", reason="imagecodecs is not installed (the extra dicom)")

LOSSLESS = functools.partial(imagecodecs.jpeg8_encode, lossless=True)
J2K = functools.partial(imagecodecs.jpeg2k_encode, level=0, reversible=True, codecformat="J2K")


def htj2k(pixels, bitspersample):
    """By OpenJPH; ours decodes by OpenJPEG."""
    return imagecodecs.htj2k_encode(pixels, reversible=True)


def jpegls(pixels, bitspersample):
    return imagecodecs.jpegls_encode(pixels)


ENCODERS = {
    "lossless 14": (uid.JPEGLossless, functools.partial(LOSSLESS, predictor=6)),
    "lossless SV1": (uid.JPEGLosslessSV1, functools.partial(LOSSLESS, predictor=1)),
    "JPEG-LS": (uid.JPEGLSLossless, jpegls),
    "JPEG 2000": (uid.JPEG2000Lossless, J2K),
    "JPEG 2000 in a file": (uid.JPEG2000, functools.partial(J2K, codecformat="JP2")),
    "HTJ2K": (uid.HTJ2KLossless, htj2k),
    "HTJ2K RPCL": (uid.HTJ2KLosslessRPCL, htj2k),
}
DEPTHS = (8, 10, 12, 14, 15, 16)


def values_of(bits, signed=False):
    """[64, 64] over the whole range."""
    values = (RAMP * 2**bits) // 4096 + np.arange(64) * 37
    return values % 2**bits - (2 ** (bits - 1) if signed else 0)


def wide(bits, signed):
    """A window over the whole range, in which each value has a grey of its own."""
    centre = 0 if signed else 2 ** (bits - 1)
    return {"WindowCenter": str(centre), "WindowWidth": str(2**bits), "VOILUTFunction": "LINEAR_EXACT"}


def greys_of(values, bits, signed):
    return (values + (2 ** (bits - 1) if signed else 0)) * 255 / 2**bits


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("bits", DEPTHS)
@pytest.mark.parametrize("name", ENCODERS)
def test_lossless_compression_changes_nothing(name, bits, signed):
    """Signed values are two's complement in the stored bits: of these codecs only JPEG 2000 knows a sign, see below."""
    syntax, encode = ENCODERS[name]
    values = values_of(bits, signed)
    kind = np.uint8 if bits == 8 else np.uint16
    frame = encode((values & (2**bits - 1)).astype(kind), bitspersample=bits)
    content = encapsulated(syntax, frame, values, bits, PixelRepresentation=int(signed), **wide(bits, signed))
    np.testing.assert_allclose(shown(content), greys_of(values, bits, signed), atol=1e-5)


@pytest.mark.parametrize("bits", [8, 12, 16])
def test_a_codestream_of_jpeg_2000_may_be_signed(bits):
    values = values_of(bits, signed=True)
    frame = J2K(values.astype(np.int8 if bits == 8 else np.int16), bitspersample=bits)
    content = encapsulated(uid.JPEG2000Lossless, frame, values, bits, PixelRepresentation=1, **wide(bits, True))
    np.testing.assert_allclose(shown(content), greys_of(values, bits, True), atol=1e-5)


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("name", [*ENCODERS, "RLE", "native"])
def test_an_overlay_above_the_stored_bits_is_not_seen(name, signed):
    values = values_of(12, signed)
    overlay = (np.indices(values.shape).sum(0) // 8 % 2 * 15 << 12).astype(np.uint16)
    container = (values & 4095).astype(np.uint16) | overlay
    fields = {"PixelRepresentation": int(signed), **wide(12, signed)}
    plain = dicom(container, bits=12, **fields)
    if name in ENCODERS:
        syntax, encode = ENCODERS[name]
        content = encapsulated(syntax, encode(container, bitspersample=16), values, 12, **fields)
    else:
        content = rle(plain) if name == "RLE" else plain
    np.testing.assert_allclose(shown(content), greys_of(values, 12, signed), atol=1e-5)


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("bits", DEPTHS)
def test_rle_changes_nothing(bits, signed):
    values = values_of(bits, signed)
    kind = np.uint8 if bits == 8 else np.uint16
    container = (values & (2**bits - 1)).astype(kind)
    plain = dicom(container, bits=bits, PixelRepresentation=int(signed), **wide(bits, signed))
    np.testing.assert_allclose(shown(rle(plain)), greys_of(values, bits, signed), atol=1e-5)


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("bits", DEPTHS)
@pytest.mark.parametrize("syntax", [uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian])
def test_native_pixels_in_either_byte_order(syntax, bits, signed):
    values = values_of(bits, signed)
    kind = np.uint8 if bits == 8 else np.uint16
    container = (values & (2**bits - 1)).astype(kind)
    content = dicom(container, bits=bits, syntax=syntax, PixelRepresentation=int(signed), **wide(bits, signed))
    np.testing.assert_allclose(shown(content), greys_of(values, bits, signed), atol=1e-5)


SMOOTH = (np.indices((64, 64)).sum(0) * 32).astype(np.uint16)  # 0..4032


def by_gdcm(content, folder):
    """Pixels as GDCM decodes them; it reads 12-bit JPEG, which pydicom does not ask it for."""
    gdcm = pytest.importorskip("gdcm", reason="GDCM is not installed (the extra dev)")
    (folder / "x.dcm").write_bytes(content)
    reader = gdcm.ImageReader()
    reader.SetFileName(str(folder / "x.dcm"))
    assert reader.Read()
    image = reader.GetImage()
    buffer = image.GetBuffer().encode("utf-8", "surrogateescape")
    kind = np.uint8 if image.GetPixelFormat().GetBitsAllocated() == 8 else np.uint16
    return np.frombuffer(buffer, kind).reshape(image.GetDimension(1), image.GetDimension(0))


LOSSY = {
    "JPEG 8": (uid.JPEGBaseline8Bit, 8, functools.partial(imagecodecs.jpeg8_encode, level=90)),
    "JPEG extended 8": (uid.JPEGExtended12Bit, 8, functools.partial(imagecodecs.jpeg8_encode, level=90)),
    "JPEG extended 12": (
        uid.JPEGExtended12Bit, 12, functools.partial(imagecodecs.jpeg8_encode, level=95, bitspersample=12),
    ),
    "JPEG-LS near": (uid.JPEGLSNearLossless, 12, functools.partial(imagecodecs.jpegls_encode, level=3)),
    "JPEG 2000 lossy": (uid.JPEG2000, 12, functools.partial(J2K, level=80, reversible=False, bitspersample=12)),
}  # fmt: skip


@pytest.mark.parametrize("name", LOSSY)
def test_lossy_compression_is_decoded_as_by_gdcm(name, tmp_path):
    syntax, bits, encode = LOSSY[name]
    pixels = SMOOTH if bits == 12 else (SMOOTH // 16).astype(np.uint8)
    content = encapsulated(syntax, encode(pixels), pixels, bits)
    decoded = frames.decode(dcmread(io.BytesIO(content)))
    # A decoder of DCT or wavelets may round once otherwise.
    assert np.abs(decoded.astype(int) - by_gdcm(content, tmp_path)).max() <= (0 if "LS" in name else 1)
    assert 0 < np.abs(decoded.astype(int) - pixels).max() < (16 if bits == 12 else 4)
    assert len(np.unique(shown(content))) > 100


@pytest.mark.parametrize(
    "name",
    [
        "JPGExtended.dcm", "JPEGLSNearLossless_08.dcm", "JPEGLSNearLossless_16.dcm", "MR_small_jpeg_ls_lossless.dcm",
        "SC_rgb_jpeg_gdcm.dcm", "SC_rgb_jls_lossy_line.dcm", "SC_rgb_jls_lossy_sample.dcm", "MR_small_jp2klossless.dcm",
        "examples_jpeg2k.dcm", "SC_rgb_dcmtk_+eb+cr.dcm", "SC_rgb_dcmtk_+eb+cy+s2.dcm", "MR_small_RLE.dcm",
    ],
)  # fmt: skip
def test_files_of_pydicom_are_decoded_as_by_gdcm(name, tmp_path):
    path = Path(get_testdata_file(name))
    data = dcmread(path)
    decoded = frames.decode(dcmread(path))
    expected = (
        by_gdcm(path.read_bytes(), tmp_path)
        if name.startswith(("JPG", "MR_small_RLE"))
        else pixel_array(data, decoding_plugin="gdcm")
    )
    np.testing.assert_array_equal(decoded, expected.view(decoded.dtype))


def test_twelve_bits_of_jpeg_have_the_values_that_pydicom_publishes():
    decoded = frames.decode(dcmread(get_testdata_file("JPGExtended.dcm")))
    assert (decoded[420, 140], decoded[230, 120]) == (244, 95)


@pytest.mark.parametrize("name", ["JPEG extended 12", "JPEG 8", "lossless SV1", "JPEG-LS", "JPEG 2000", "HTJ2K"])
def test_half_a_frame_is_refused(name):
    """Cut off, or with an end marker set behind the cut, where libjpeg would fill up with grey."""
    if name in LOSSY:
        syntax, bits, encode = LOSSY[name]
    else:
        (syntax, encode), bits = ENCODERS[name], 12
        encode = functools.partial(encode, bitspersample=12)
    pixels = np.random.default_rng(0).integers(0, 2**bits, (64, 64)).astype(np.uint8 if bits == 8 else np.uint16)
    frame = encode(pixels)
    assert shown(encapsulated(syntax, frame, pixels, bits)).std() > 0
    for cut in (0.3, 0.6, 0.95):
        half = frame[: int(len(frame) * cut)].rstrip(b"\xff")
        for end in (b"", b"\xff\xd9", bytes(len(frame) - len(half)), bytes(len(frame) - len(half)) + b"\xff\xd9"):
            if name.startswith(("JPEG 8", "JPEG ext", "lossless")) and len(end) > 2 and end.endswith(b"\xff\xd9"):
                continue  # zeros are data: other pixels, and no checksum tells it
            with pytest.raises(InputError, match="cannot be decoded"):
                shown(encapsulated(syntax, half + end, pixels, bits))


def test_what_the_frame_holds_counts_and_not_its_transfer_syntax():
    frame = LOSSLESS(RAMP.astype(np.uint16), predictor=1, bitspersample=12)
    content = encapsulated(uid.JPEGBaseline8Bit, frame, RAMP, 12)
    np.testing.assert_allclose(shown(content), linear(RAMP, 0, 4095), atol=1e-3)


def dct(pixels, bitspersample):
    return imagecodecs.jpeg8_encode(pixels, level=95, bitspersample=bitspersample)


@pytest.mark.parametrize(
    ("syntax", "encode", "precision", "bits"),
    [
        (uid.JPEGExtended12Bit, dct, 12, 8),
        (uid.JPEGBaseline8Bit, dct, 8, 12),
        (uid.JPEG2000Lossless, J2K, 12, 8),
        (uid.JPEGLosslessSV1, functools.partial(LOSSLESS, predictor=1), 12, 8),
        (uid.JPEGLSLossless, jpegls, 16, 8),
    ],
)
def test_a_frame_of_other_bits_than_the_header_says_is_refused(syntax, encode, precision, bits):
    values = values_of(precision).astype(np.uint8 if precision == 8 else np.uint16)
    content = encapsulated(syntax, encode(values, bitspersample=precision), values, bits)
    with pytest.raises(InputError, match=f"its frame has {precision} bits a pixel, the header says {bits}, stored in"):
        shown(content)


def test_two_frames_are_two_whatever_their_number_says():
    content = compressed(uid.JPEGBaseline8Bit, (RAMP // 16).astype(np.uint8), "JPEG", 8)
    for data in (dcmread(io.BytesIO(content)), dcmread(io.BytesIO(rle(dicom(RAMP))))):
        frame = next(generate_frames(data.PixelData, number_of_frames=1))
        for table in (True, False):
            data.PixelData = encapsulate([frame, frame], has_bot=table)
            buffer = io.BytesIO()
            data.save_as(buffer)
            with pytest.raises(InputError, match="multi-frame DICOM"):
                shown(buffer.getvalue())
        data.PixelData = encapsulate([frame], fragments_per_frame=3)
        assert frames.decode(data).shape == RAMP.shape


def test_what_should_be_encapsulated_and_is_not_is_refused():
    with pytest.raises(InputError, match="cannot be decoded: they are not encapsulated"):
        shown(dicom(RAMP).replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.5\0", 1))


@pytest.mark.parametrize("shape", [(32, 128), (128, 64), (64, 63)])
@pytest.mark.parametrize("name", ["lossless SV1", "JPEG-LS", "JPEG 2000"])
def test_a_frame_of_another_size_is_refused_before_it_is_decoded(name, shape):
    """Also of as many pixels, which would make stripes."""
    syntax, encode = ENCODERS[name]
    frame = encode(np.resize(RAMP, shape).astype(np.uint16), bitspersample=12)
    with pytest.raises(InputError, match=f"{shape[0]} x {shape[1]} pixels, the header says 64 x 64"):
        shown(encapsulated(syntax, frame, RAMP, 12))


def test_pixels_that_no_decoder_reads_are_named():
    content = compressed(uid.JPEG2000Lossless, (RAMP // 16).astype(np.uint8), "PNG", 8)  # a PNG is no JPEG 2000
    with pytest.raises(InputError, match=r"pixel data .JPEG 2000.* cannot be decoded: is no JPEG"):
        shown(content)
    frame = LOSSLESS(RAMP.astype(np.uint16), predictor=1, bitspersample=12).replace(b"\xff\xc3", b"\xff\xcb")
    with pytest.raises(InputError, match="JPEG process SOF11 is not read"):
        shown(encapsulated(uid.JPEGLossless, frame, RAMP, 12))


def test_a_missing_decoder_is_named(tmp_path, monkeypatch):
    frame = jpegls(RAMP.astype(np.uint16), 12)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r'needs imagecodecs: `pip install -e "\.\[dicom\]"`'):
        frames.decode(dcmread(io.BytesIO(encapsulated(uid.JPEGLSLossless, frame, RAMP, 12))))


def test_with_and_without_imagecodecs_a_file_has_the_same_decoder(monkeypatch):
    """What Pillow reads Pillow decodes, always."""
    monkeypatch.setattr(imagecodecs, "jpeg8_decode", None)
    monkeypatch.setattr(imagecodecs, "jpeg2k_decode", None, raising=False)
    grey = (RAMP // 16).astype(np.uint8)
    content = encapsulated(uid.JPEG2000Lossless, J2K(grey, bitspersample=8), grey, 8)
    np.testing.assert_array_equal(frames.decode(dcmread(io.BytesIO(content))), grey)
    baseline = compressed(uid.JPEGBaseline8Bit, grey, "JPEG", 8)
    assert np.abs(frames.decode(dcmread(io.BytesIO(baseline))).astype(int) - grey).max() <= 6  # lossy
    frame = next(generate_frames(dcmread(io.BytesIO(baseline)).PixelData, number_of_frames=1))
    assert jpeg.parse(frame)[:4] == (jpeg.BASELINE, 8, 64, 64)
    assert worker.pixel_array(baseline).dtype == np.uint8
