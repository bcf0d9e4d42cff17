"""DICOM radiographs: what is read of a header, what is refused, and the real ones."""

from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.uid import BasicTextSRStorage

from cxrjax.base import InputError
from cxrjax.data.decode import MAX_PIXELS, decode
from cxrjax.data.dicom import Details, NoImage
from cxrjax.data.dicom import image as reading
from tests.data.dicom_files import NAME, RAMP, deflated, dicom, linear, rle, shown, written


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
        ({"PixelData": None}, "ends too early: its pixel data are missing"),
        ({"PixelData": None, "Rows": None, "Columns": None}, "ends too early: its pixel data are missing"),
        ({"RescaleSlope": "0"}, "rescale slope is 0"),
        ({"HighBit": 10}, "high bit 10 of 12 bits"),
        ({"HighBit": 16}, "high bit 16 of 12 bits"),
        ({"BitsStored": 0}, "0 bits a pixel"),
        ({"BitsStored": None}, "DICOM header lacks BitsStored"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "neither grey nor RGB"),
        ({"Rows": 65_000, "Columns": 65_000}, "more than the 50 million"),
        ({"Rows": 128}, "cannot be decoded: ends too early: 8192 bytes, the header says 16384"),
        ({"BitsAllocated": 12}, r"12 bits a pixel in 12 bits .BitsAllocated"),
        ({"PixelData": b"\xfe\xff\x00\xe0" + bytes(8188)}, "they are encapsulated"),
        ({"Rows": 32}, "8192 bytes, the header says 4096"),
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
    assert decode(content, name).notes == ("NumberOfFrames is no number and was passed over",)


@pytest.mark.filterwarnings("ignore:End of file reached")
def test_a_compressed_image_that_is_cut_off_is_damaged_and_a_report_has_no_image():
    """pydicom drops pixel data without a delimiter; what has its tag, or the class of an image, should have some."""
    whole = rle(dicom(RAMP))
    for cut in (whole[: len(whole) // 2], whole[:-8], whole[: whole.index(b"\x28\x00\x10\x00")]):
        with pytest.raises(InputError, match="DICOM image ends too early") as caught:
            reading.read_header(cut, MAX_PIXELS)
        assert not isinstance(caught.value, NoImage)
    nothing = dict.fromkeys(("PixelData", "Rows", "Columns"))
    with pytest.raises(NoImage, match="is a DICOM file without an image"):
        reading.read_header(dicom(RAMP, SOPClassUID=BasicTextSRStorage, **nothing), MAX_PIXELS)


def test_a_transfer_syntax_that_is_not_known_is_named():
    private = dicom(RAMP).replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.113619.5.2\0\0", 1)
    with pytest.raises(InputError, match=r"transfer syntax 1\.2\.840\.113619\.5\.2 is not read"):
        shown(private)


@pytest.mark.parametrize("written_so", ["MONOCHROME 1", "monochrome1", " Monochrome1"])
def test_the_photometric_interpretation_may_have_blanks_and_small_letters(written_so):
    inverse = shown(dicom(RAMP, PhotometricInterpretation="MONOCHROME1"))
    plain = dicom(RAMP, PhotometricInterpretation="MONOCHROME1")
    for content in (plain, rle(plain)):
        np.testing.assert_array_equal(shown(written(content, "MONOCHROME1 ", written_so)), inverse)


def test_of_several_values_the_first_that_is_not_empty_is_taken():
    several = {"PatientID": ["47", "11"], "PatientSex": ["F", "M"], "ViewPosition": ["", "AP"]}
    details = reading.read_header(dicom(RAMP, **several), MAX_PIXELS).details
    assert details == Details("47", "058Y", "F", "AP")


@pytest.mark.parametrize("frames", ["1,0", "1\\9", "", "0"])
def test_a_number_of_frames_that_says_one_is_one(frames):
    content = written(dicom(RAMP, NumberOfFrames="1111"), "1111", frames)
    np.testing.assert_array_equal(shown(content), shown(dicom(RAMP)))


def test_deflated_files_are_read_within_bounds():
    """Against pydicom, which inflates without bounds."""
    packed = deflated(dicom(RAMP))
    np.testing.assert_array_equal(shown(packed), shown(dicom(RAMP)))
    with pytest.raises(InputError, match="deflated DICOM has more than 0 MB"):
        reading.read_header(packed, 1000)
    with pytest.raises(InputError, match="deflated DICOM has an end that is missing"):
        shown(packed[:-100])
    with pytest.raises(InputError, match="deflated DICOM is damaged"):
        start = 144 + int.from_bytes(packed[140:144], "little")
        shown(packed[:start] + b"\x07" + packed[start + 1 :])  # a block of the reserved kind (RFC 1951)
    path = Path(get_testdata_file("image_dfl.dcm"))
    np.testing.assert_array_equal(shown(path.read_bytes()), dcmread(path).pixel_array)


def test_colour_becomes_grey():
    red = np.zeros((8, 8, 3), np.uint8)
    red[..., 0] = 200
    content = dicom(red, bits=8, PhotometricInterpretation="RGB", SamplesPerPixel=3, PlanarConfiguration=0)
    assert (decode(content, "x").pixels == round(0.299 * 200)).all()


@pytest.mark.parametrize(
    ("name", "mean", "remarks"), [("B24/j2k_overlay.dcm", 154, 1), ("B29/win_decimal_comma.dcm", 143, 2)]
)
def test_shown_inputs(shared, name, mean, remarks):
    """Stripes in the upper bits of JPEG 2000, which no element calls an overlay; a window with decimal commas."""
    path = shared / "bug-inputs" / name
    if not path.is_file():
        pytest.skip(f"no {path}")
    decoded = decode(path.read_bytes(), path.name)
    assert decoded.pixels.mean() == pytest.approx(mean, abs=1)
    assert len(decoded.notes) == remarks


def test_real_radiographs_are_dark_in_the_lungs(shared):
    """Mean of two windows inside the lungs below that of the spine between them, in all five."""
    paths = sorted((shared / "dicom").glob("*.dcm"))
    assert len(paths) == 5
    for path in paths:
        image = decode(path.read_bytes(), path.name).pixels.astype(float)
        spine = image[90:150, 118:138].mean()
        assert image[90:150, 55:85].mean() < spine - 20, path.name  # right lung; the left one of one patient is opaque
        assert image.std() > 25, path.name
