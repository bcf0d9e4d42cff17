"""DICOM radiographs as they are meant to be seen: a case by hand for each rule, and the real ones."""

import io
import subprocess
import sys

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.pixels import apply_windowing
from pydicom.uid import JPEG2000Lossless, JPEGBaseline8Bit

from cxrjax.base import InputError
from cxrjax.data import dicom as reading
from cxrjax.data import dicom_worker
from cxrjax.data.decode import MAX_PIXELS, decode
from cxrjax.data.dicom import Details
from tests.data.dicom_files import NAME, compressed, dicom

RAMP = np.arange(4096).reshape(64, 64)


def shown(content):
    return reading.shown(reading.read_header(content, MAX_PIXELS))


def linear(values, low, high):
    return np.clip((np.asarray(values, float) - low) / (high - low) * 255, 0, 255)


def test_without_window_all_values_are_used():
    np.testing.assert_allclose(shown(dicom(RAMP[:32] + 500)), linear(RAMP[:32] + 500, 500, 2547), atol=1e-3)


def test_window_of_the_standard():
    """PS3.3 C.11.2.1.2.1: centre 1000, width 401 is 0 up to 800 and full from 1200 on."""
    seen = shown(dicom(RAMP, WindowCenter="1000", WindowWidth="401"))
    np.testing.assert_allclose(seen, linear(RAMP, 799.5, 1199.5), atol=1e-3)
    assert seen.ravel()[800] == pytest.approx(255 * (0.5 / 400), abs=1e-3)


def test_of_several_windows_the_first():
    several = shown(dicom(RAMP, WindowCenter=["1000", "2000"], WindowWidth=["401", "9"]))
    np.testing.assert_array_equal(several, shown(dicom(RAMP, WindowCenter="1000", WindowWidth="401")))


def test_sigmoid_window():
    """C.11.2.1.3.1: 1 / (1 + exp(-4 (x - c) / w))."""
    seen = shown(dicom(RAMP, WindowCenter="2000", WindowWidth="800", VOILUTFunction="SIGMOID"))
    np.testing.assert_allclose(seen, 255 / (1 + np.exp(-4 * (RAMP - 2000) / 800)), atol=1e-2)


def test_rescale_comes_before_the_window():
    seen = shown(dicom(RAMP, RescaleSlope="2", RescaleIntercept="-100", WindowCenter="1900", WindowWidth="801"))
    np.testing.assert_allclose(seen, linear(2 * RAMP - 100, 1499.5, 2299.5), atol=1e-3)


def test_signed_values():
    seen = shown(dicom(RAMP - 2048, bits=16, signed=True, WindowCenter="0", WindowWidth="1001"))
    np.testing.assert_allclose(seen, linear(RAMP - 2048, -500.5, 499.5), atol=1e-2)


def lut(first, entries, bits, wide):
    """A LUT item; entries of 8 bits in 8 or in 16."""
    item = Dataset()
    item.LUTDescriptor = [len(entries) % 2**16, first, bits]
    item.ModalityLUTType = "OD"
    item.LUTData = np.asarray(entries, "<u2" if wide else np.uint8).tobytes()
    item["LUTData"].VR = "OW"
    return item


@pytest.mark.parametrize("wide", [True, False])
def test_voi_lut(wide):
    """Above the window; values outside take its ends, also far outside."""
    item = lut(1000, [10, 40, 90, 250], 8, wide)
    seen = shown(dicom(RAMP, VOILUTSequence=[item], WindowCenter="1", WindowWidth="2")).ravel()
    np.testing.assert_array_equal(seen[[0, 1000, 1001, 1002, 1003, 1256, 4000]], [10, 10, 40, 90, 250, 250, 250])


@pytest.mark.parametrize("wide", [True, False])
def test_voi_lut_of_more_entries_than_an_index_of_8_bits_has(wide):
    seen = shown(dicom(RAMP, VOILUTSequence=[lut(0, np.arange(4096) // 16, 8, wide)]))
    np.testing.assert_array_equal(seen, RAMP // 16)


def test_voi_lut_takes_the_nearest_entry_and_scales_12_bits():
    seen = shown(dicom(RAMP, RescaleSlope="0.1", VOILUTSequence=[lut(0, np.arange(411) * 9, 12, True)]))
    np.testing.assert_allclose(seen, np.rint(RAMP * 0.1) * 9 * 255 / 4095, atol=1e-3)


def test_voi_lut_without_data_leaves_the_window():
    item = lut(0, [1, 2], 8, True)
    del item.LUTData
    window = {"WindowCenter": "1000", "WindowWidth": "401"}
    np.testing.assert_array_equal(shown(dicom(RAMP, VOILUTSequence=[item], **window)), shown(dicom(RAMP, **window)))


@pytest.mark.parametrize("bits", [12, 16])
def test_modality_lut(bits):
    item = lut(0, np.arange(4096)[::-1], bits, True)
    np.testing.assert_allclose(shown(dicom(RAMP, ModalityLUTSequence=[item])), 255 - linear(RAMP, 0, 4095), atol=1e-3)


def test_a_short_lut_is_named():
    with pytest.raises(InputError, match="a LUT of 9 entries has 2"):
        item = lut(0, [1, 2], 16, True)
        item.LUTDescriptor = [9, 0, 16]
        shown(dicom(RAMP, VOILUTSequence=[item]))


def test_negative_slope_is_no_blank_image():
    seen = shown(dicom(RAMP, RescaleSlope="-1", RescaleIntercept="4095", WindowCenter="2048", WindowWidth="4096"))
    np.testing.assert_allclose(seen, linear(4095 - RAMP, 0, 4095), atol=1e-3)


@pytest.mark.parametrize(
    ("function", "centre", "width"),
    [
        ("LINEAR", 1000, 401),
        ("LINEAR", 50, 1),
        ("LINEAR_EXACT", 2048, 4096),
        ("LINEAR_EXACT", 3000.5, 20.5),
        ("SIGMOID", 50, 1),
        ("SIGMOID", 3000.5, 20.5),
    ],
)
def test_window_equals_pydicoms(function, centre, width):
    """Where its range is that of the stored bits, 0..4095."""
    content = dicom(RAMP, WindowCenter=str(centre), WindowWidth=str(width), VOILUTFunction=function)
    expected = apply_windowing(RAMP.astype(float), dcmread(io.BytesIO(content))) * (255 / 4095)
    np.testing.assert_allclose(shown(content), expected, atol=1e-3)


@pytest.mark.parametrize("width", ["0", "-3", "0.5"])
def test_a_window_that_is_none_is_not_used(width):
    np.testing.assert_array_equal(shown(dicom(RAMP, WindowCenter="9", WindowWidth=width)), shown(dicom(RAMP)))


@pytest.mark.parametrize(
    ("photometric", "shape", "inverted"),
    [
        ("MONOCHROME1", None, True),
        ("MONOCHROME2", None, False),
        ("MONOCHROME1", "INVERSE", True),  # said twice, meant once
        ("MONOCHROME2", "IDENTITY", False),
        ("MONOCHROME2", "INVERSE", True),
        ("MONOCHROME1", "IDENTITY", False),  # contradictory: the shape counts
    ],
)
def test_which_end_is_white(photometric, shape, inverted):
    extra = {"PresentationLUTShape": shape} if shape else {}
    seen = shown(dicom(RAMP, PhotometricInterpretation=photometric, **extra))
    expected = linear(RAMP, 0, 4095)
    np.testing.assert_allclose(seen, 255 - expected if inverted else expected, atol=1e-3)


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_padding_is_black_and_does_not_set_the_range(photometric):
    padded = RAMP.copy() % 1000 + 1000
    padded[0] = 0
    seen = shown(dicom(padded, PixelPaddingValue=0, PhotometricInterpretation=photometric))
    expected = linear(padded[1:], 1000, 1999)
    np.testing.assert_allclose(seen[1:], expected if photometric == "MONOCHROME2" else 255 - expected, atol=1e-3)
    assert not seen[0].any()


def test_padding_of_signed_values_written_as_unsigned():
    padded = RAMP % 1000 - 500
    padded[0] = -2000
    content = dicom(padded, bits=16, signed=True, PixelPaddingValue=-2000)
    raw = content.replace(b"\x28\x00\x20\x01SS", b"\x28\x00\x20\x01US")
    assert raw != content
    np.testing.assert_array_equal(shown(raw), shown(content))
    assert not shown(raw)[0].any()


def test_eight_bits_stay_as_they_are():
    grey = np.arange(20, 84, dtype=np.uint8).reshape(8, 8)
    np.testing.assert_array_equal(shown(dicom(grey, bits=8)), grey)
    np.testing.assert_array_equal(shown(dicom(grey, bits=8, RescaleSlope="1", RescaleIntercept="0")), grey)
    np.testing.assert_array_equal(shown(dicom(grey, bits=8, RescaleSlope="")), grey)
    seven = shown(dicom(grey, bits=8, BitsStored=7, HighBit=6))
    np.testing.assert_allclose(seven, grey * (255 / 127), rtol=1e-5)


@pytest.mark.parametrize("bits", [9, 10, 12, 15, 16])
def test_bit_depths(bits):
    values = np.linspace(0, 2**bits - 1, 4096).reshape(64, 64).astype(int)
    np.testing.assert_allclose(shown(dicom(values, bits=bits)), linear(values, 0, 2**bits - 1), atol=1e-2)


@pytest.mark.parametrize("implicit", [True, False])
@pytest.mark.parametrize(("meta", "preamble"), [(True, True), (True, False), (False, False)])
def test_missing_preamble_and_file_meta_are_accepted(meta, preamble, implicit):
    content = dicom(RAMP, meta=meta, preamble=preamble, implicit=implicit)
    np.testing.assert_allclose(shown(content), linear(RAMP, 0, 4095), atol=1e-3)


def test_details_and_no_name():
    details = reading.read_header(dicom(RAMP), MAX_PIXELS).details
    assert details == Details("4711", "058Y", "F", "PA")


@pytest.mark.parametrize(
    ("elements", "reason"),
    [
        ({"NumberOfFrames": "3"}, "multi-frame DICOM .3 frames"),
        ({"PixelData": None}, "is a DICOM file without an image"),
        ({"RescaleSlope": "0"}, "rescale slope is 0"),
        ({"HighBit": 15}, "high bit 15 of 12 bits"),
        ({"WindowCenter": "1", "WindowWidth": "2", "VOILUTFunction": "CUBIC"}, "VOI LUT function 'CUBIC'"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "neither grey nor RGB"),
        ({"Rows": 65_000, "Columns": 65_000}, "more than the 50 million"),
        ({"Rows": 128}, "cannot be decoded"),
        ({"BitsStored": 32, "BitsAllocated": 32}, "32 bits a pixel"),
    ],
)
@pytest.mark.parametrize("name", ["x.dcm", "IM0001"])
def test_what_is_refused_is_named_without_the_patient(elements, reason, name):
    with pytest.raises(InputError, match=reason) as caught:
        decode(dicom(RAMP, **elements), name)
    assert NAME not in str(caught.value)
    assert "4711" not in str(caught.value)


@pytest.mark.parametrize("name", ["x.dcm", "IM0001"])
def test_a_damaged_header_is_not_quoted(name):
    content = dicom(RAMP, NumberOfFrames="77").replace(b"77", b"N^", 1)
    assert content != dicom(RAMP, NumberOfFrames="77")
    with pytest.raises(InputError) as caught:
        decode(content, name)
    assert "N^" not in str(caught.value)


def test_compressed_pixels():
    grey = (RAMP // 16).astype(np.uint8)
    np.testing.assert_array_equal(shown(compressed(JPEG2000Lossless, grey, "JPEG2000", 8)), grey)
    assert np.abs(shown(compressed(JPEGBaseline8Bit, grey, "JPEG", 8)) - grey).max() <= 6  # lossy


def test_pixels_that_no_decoder_reads_are_named():
    content = compressed(JPEG2000Lossless, (RAMP // 16).astype(np.uint8), "PNG", 8)  # a PNG is no JPEG 2000
    with pytest.raises(InputError, match=r"pixel data .JPEG 2000.* cannot be decoded"):
        shown(content)


def by_gdcm(content, syntax, folder):
    """The file with its pixels compressed by GDCM."""
    gdcm = pytest.importorskip("gdcm", reason="GDCM is not installed (the extra dicom)")
    (folder / "plain.dcm").write_bytes(content)
    reader = gdcm.ImageReader()
    reader.SetFileName(str(folder / "plain.dcm"))
    assert reader.Read()
    change = gdcm.ImageChangeTransferSyntax()
    change.SetTransferSyntax(gdcm.TransferSyntax(getattr(gdcm.TransferSyntax, syntax)))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer = gdcm.ImageWriter()
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    writer.SetFileName(str(folder / "packed.dcm"))
    assert writer.Write()
    return (folder / "packed.dcm").read_bytes()


@pytest.mark.parametrize("syntax", ["JPEGLosslessProcess14_1", "JPEGLSLossless", "JPEG2000Lossless", "RLELossless"])
def test_lossless_compression_changes_nothing(tmp_path, syntax):
    plain = dicom(RAMP, WindowCenter="2000", WindowWidth="1000")
    packed = by_gdcm(plain, syntax, tmp_path)
    assert packed != plain
    np.testing.assert_array_equal(shown(packed), shown(plain))


def test_a_missing_decoder_is_named(tmp_path, monkeypatch):
    packed = by_gdcm(dicom(RAMP), "JPEGLosslessProcess14_1", tmp_path)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(
        InputError, match=r"JPEG Lossless.*cannot be decoded: needs GDCM: pip install 'cxrjax\[dicom\]'"
    ):
        shown(packed)


def test_a_decoder_that_crashes_harms_nobody_else(tmp_path, monkeypatch):
    packed = by_gdcm(dicom(RAMP), "JPEGLosslessProcess14_1", tmp_path)
    dicom_worker.close()
    children = []

    def abort():
        pipes = dict.fromkeys(("stdin", "stdout"), subprocess.PIPE)
        children.append(subprocess.Popen([sys.executable, "-c", "import os; os.abort()"], **pipes))
        return children[-1]

    with monkeypatch.context() as patch:
        patch.setattr(dicom_worker, "_child", abort)
        with pytest.raises(InputError, match="gdcm crashed, or took more than"):
            shown(packed)
    assert len(children) == 2  # a first crash may be another's fault
    np.testing.assert_allclose(shown(packed), linear(RAMP, 0, 4095), atol=1e-3)


def test_a_decoder_that_never_ends_is_ended(monkeypatch):
    """A JPEG 2000 box of length 0, at which pydicom goes round for ever."""
    content = compressed(JPEG2000Lossless, (RAMP // 16).astype(np.uint8), "JPEG2000", 8)
    place = content.index(b"ftyp")
    endless = content[: place - 4] + bytes(4) + content[place:]
    monkeypatch.setattr(dicom_worker, "LIMIT_SECONDS", 0.1)
    with pytest.raises(InputError, match=r"pillow crashed, or took more than 0 s"):
        shown(endless)
    monkeypatch.undo()
    shown(content)


def test_an_idle_child_that_died_is_replaced():
    content = compressed(JPEG2000Lossless, (RAMP // 16).astype(np.uint8), "JPEG2000", 8)
    shown(content)
    child = dicom_worker._idle.get_nowait()
    child.kill()
    dicom_worker._idle.put(child)
    np.testing.assert_array_equal(shown(content), RAMP // 16)


def test_damage_to_isolated_pixels_is_named(tmp_path):
    packed = by_gdcm(dicom(RAMP), "JPEGLosslessProcess14_1", tmp_path)
    with pytest.raises(InputError, match=r"JPEG Lossless.* cannot be decoded"):
        shown(packed.replace(b"\xff\xc3", b"\xff\xc9"))  # a process that GDCM does not know
    np.testing.assert_allclose(shown(packed), linear(RAMP, 0, 4095), atol=1e-3)  # by the same child


def test_colour_becomes_grey():
    red = np.zeros((8, 8, 3), np.uint8)
    red[..., 0] = 200
    content = dicom(red, bits=8, PhotometricInterpretation="RGB", SamplesPerPixel=3, PlanarConfiguration=0)
    assert (decode(content, "x").pixels == round(0.299 * 200)).all()


def test_real_radiographs_are_dark_in_the_lungs(shared):
    """Mean of two windows inside the lungs below that of the spine between them, in all five."""
    paths = sorted((shared / "dicom").glob("*.dcm"))
    assert len(paths) == 5
    for path in paths:
        image = decode(path.read_bytes(), path.name).pixels.astype(float)
        spine = image[90:150, 118:138].mean()
        assert image[90:150, 55:85].mean() < spine - 20, path.name  # right lung; the left one of one patient is opaque
        assert image.std() > 25, path.name


def test_the_child_finds_what_this_process_found(tmp_path, monkeypatch):
    """Whether the package is installed or found by `sys.path`, and wherever the process stands by now."""
    interpreter = tmp_path / "python"
    interpreter.write_text(f'#!/bin/sh\nexec {sys.executable} -I -S "$@"\n', encoding="utf-8")  # knows no site-packages
    interpreter.chmod(0o755)
    dicom_worker.close()
    monkeypatch.setattr(sys, "executable", str(interpreter))
    monkeypatch.chdir(tmp_path)
    shown(compressed(JPEG2000Lossless, (RAMP // 16).astype(np.uint8), "JPEG2000", 8))
    dicom_worker.close()
