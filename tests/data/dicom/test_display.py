"""Stored values to grey: a case by hand for each rule of the standard, and what writers make of it."""

import io

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.pixels import apply_windowing
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from cxrjax.base import InputError
from tests.data.dicom_files import RAMP, dicom, linear, notes, shown, written


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
        ("LINEAR", 2048, 1),
        ("LINEAR_EXACT", 2048, 4096),
        ("LINEAR_EXACT", 3000.5, 20.5),
        ("SIGMOID", 2048, 20),
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
    content = dicom(RAMP, WindowCenter="9", WindowWidth=width)
    np.testing.assert_array_equal(shown(content), shown(dicom(RAMP)))
    assert notes(content) == [NO_WINDOW]


WINDOW = {"WindowCenter": "1000", "WindowWidth": "401"}
NO_WINDOW = "WindowCenter and WindowWidth hold a pair that is no window; it was passed over"


@pytest.mark.parametrize(
    ("centre", "width", "remarks"),
    [
        ("1000,0", "401,0", 2),
        ("1000,0\\9", "401", 1),
        ("1000\\9\\9", "401\\8", 0),
        ("\\1000", "\\401", 1),
        ("9\\1000", "0\\401", 1),
        (" 1000 ", "4.01e2", 0),
        ("1000", "401\\x", 1),
        ("x\\1000", "9\\401", 2),
    ],
)
def test_the_first_window_that_is_one_is_found_however_it_is_written(centre, width, remarks):
    """The reference is the window written as the standard has it."""
    content = dicom(RAMP, WindowCenter="1" * 16, WindowWidth="2" * 16)
    content = written(written(content, "1" * 16, centre), "2" * 16, width)
    np.testing.assert_array_equal(shown(content), shown(dicom(RAMP, **WINDOW)))
    assert len(notes(content)) == remarks


@pytest.mark.parametrize(("centre", "width"), [("", ""), ("1000", ""), ("", "401"), ("nan", "401"), ("1000", "inf")])
def test_half_a_window_is_none_and_told(centre, width):
    content = dicom(RAMP, WindowCenter="1" * 16, WindowWidth="2" * 16)
    content = written(written(content, "1" * 16, centre), "2" * 16, width)
    np.testing.assert_array_equal(shown(content), shown(dicom(RAMP)))
    assert (NO_WINDOW in notes(content)) == bool(centre or width)


def test_a_rescale_that_is_no_number_is_passed_over_and_told():
    content = written(dicom(RAMP, RescaleSlope="1" * 16, **WINDOW), "1" * 16, "one")
    np.testing.assert_array_equal(shown(content), shown(dicom(RAMP, **WINDOW)))
    assert notes(content) == ["RescaleSlope is no number and was passed over"]
    comma = written(dicom(RAMP, RescaleIntercept="1" * 16, **WINDOW), "1" * 16, "-7,5")
    np.testing.assert_array_equal(shown(comma), shown(dicom(RAMP, RescaleIntercept="-7.5", **WINDOW)))


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize(("bits", "high"), [(10, 9), (12, 11), (12, 13), (12, 15), (15, 14)])
def test_bits_outside_the_stored_ones_are_not_looked_at(bits, high, signed):
    """The reference is the clean file with the same values; the other bits hold what an overlay might."""
    low = -(2 ** (bits - 1)) if signed else 0
    values = RAMP % 2**bits + low
    shift = high + 1 - bits
    clean = (values & (2**bits - 1)) << shift
    junk = np.random.default_rng(0).integers(0, 2**16, RAMP.shape) & ~((2**bits - 1) << shift)
    fields = {"BitsStored": bits, "HighBit": high, "PixelRepresentation": int(signed)}
    content = dicom(
        (clean | junk).astype(np.uint16), bits=16, **fields, WindowCenter=str(low + 1500), WindowWidth="3001"
    )
    np.testing.assert_allclose(shown(content), linear(values, low - 0.5, low + 2999.5), atol=1e-2)


@pytest.mark.parametrize(
    ("container", "signed", "overlay", "told"),
    [
        (RAMP * 16, False, False, True),
        (RAMP * 16, False, True, False),
        (RAMP, False, False, False),
        (RAMP - 2048, True, False, False),  # the sign goes on to the upper bits
        ((RAMP - 2048) & 4095, True, False, False),  # or does not
        ((RAMP - 2048) ^ 2**14, True, False, True),
    ],
)
def test_bits_that_are_neither_value_nor_sign_nor_overlay_are_told(container, signed, overlay, told):
    data = dcmread(io.BytesIO(dicom(container.astype(np.uint16), bits=16, PixelRepresentation=int(signed))))
    data.BitsStored, data.HighBit = 12, 11
    if overlay:
        data.add_new(0x60000102, "US", 12)
    buffer = io.BytesIO()
    data.save_as(buffer)
    assert notes(buffer.getvalue()) == ["bits that BitsStored does not count are set and not looked at"] * told


def test_a_high_bit_that_no_pixel_reaches_is_refused():
    with pytest.raises(InputError, match="high bit 15 of 12 bits stored, and no pixel has a bit above the 12 lowest"):
        shown(dicom(RAMP, HighBit=15))


def test_a_marker_does_not_set_the_range_unless_it_shall():
    """0.5 % of the pixels at the largest value of 16 bits, and two dead ones."""
    values = RAMP + 1000
    values[0, :20], values[-1, -2:] = 65535, 0
    np.testing.assert_allclose(shown(dicom(values, bits=16)), linear(values, 1020, 5093), atol=1e-2)
    np.testing.assert_allclose(shown(dicom(values, bits=16), "full"), linear(values, 0, 65535), atol=1e-2)


@pytest.mark.parametrize(
    ("bits", "largest", "white"),
    [
        (16, 4095, 4095),  # what the entries hold
        (16, 3000, 3000),
        (8, 1023, 1023),
        (10, 4095, 4095),
        (12, 65535, 65535),
        (12, 3690, 4095),  # what the descriptor claims, as the entries reach its upper half
        (16, 40_000, 65535),
        (8, 250, 255),
        (0, 250, 250),
    ],
)
def test_a_voi_lut_is_scaled_by_what_its_entries_hold(bits, largest, white):
    entries = np.round(np.linspace(0, largest, 4096))
    seen = shown(dicom(RAMP, VOILUTSequence=[lut(0, entries, bits, True)]))
    np.testing.assert_allclose(seen.ravel(), entries * 255 / white, atol=1e-3)


@pytest.mark.parametrize("implicit", [True, False])
@pytest.mark.parametrize("vr", ["US", "SS"])
@pytest.mark.parametrize(
    ("signed", "slope", "intercept", "first"),
    [
        (False, 1, -1024, -1024),  # the range after the rescale holds negative values
        (False, 16, 0, 40_000),
        (True, 1, 0, -500),
        (True, 1, 32_768, 40_000),  # stored values are negative, those that are looked up are not
        (False, -1, 0, -3000),
    ],
)
def test_the_first_value_of_a_voi_lut_is_signed_as_the_rescaled_range(implicit, vr, signed, slope, intercept, first):
    """PS3.3 C.11.2.1.1, whatever VR the writer chose, and where implicit VR names none."""
    if vr == "SS" and first >= 2**15:
        pytest.skip("SS cannot hold it")
    item = lut(0, np.arange(256), 8, True)
    item.LUTDescriptor = [256, first if vr == "SS" else first % 2**16, 8]
    item["LUTDescriptor"].VR = vr
    stored = RAMP - 2048 if signed else RAMP
    if first == 40_000 and signed:
        stored = stored * 8
    extra = {"RescaleSlope": str(slope), "RescaleIntercept": str(intercept), "VOILUTSequence": [item]}
    seen = shown(dicom(stored, bits=16, signed=signed, implicit=implicit, **extra))
    np.testing.assert_array_equal(seen, np.clip(stored * slope + intercept - first, 0, 255))
    assert len(np.unique(seen)) > 10


@pytest.mark.parametrize("implicit", [True, False])
def test_the_first_value_of_a_modality_lut_is_signed_as_the_pixels(implicit):
    entries = np.arange(4096) + 30_000
    for signed, first in ((True, -2048), (False, 0)):
        item = lut(first % 2**16, entries, 16, True)
        item["LUTDescriptor"].VR = "US"
        window = {"WindowCenter": "32048", "WindowWidth": "4097"}
        stored = RAMP + first
        seen = shown(dicom(stored, bits=16, signed=signed, implicit=implicit, ModalityLUTSequence=[item], **window))
        np.testing.assert_allclose(seen, linear(RAMP + 30_000, 29_999.5, 34_095.5), atol=1e-2)


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian])
@pytest.mark.parametrize("packed", [False, True])
def test_entries_of_a_lut_may_be_words_or_two_a_word(packed, syntax):
    """As VR US; the low byte of a word comes first (PS3.3 C.11.1.1.1)."""
    item = lut(10, [10, 40, 90, 250], 8, True)
    item["LUTData"].VR = "US"
    item["LUTData"].value = [10 + 40 * 256, 90 + 250 * 256] if packed else [10, 40, 90, 250]
    seen = shown(dicom(RAMP % 100, syntax=syntax, VOILUTSequence=[item])).ravel()
    np.testing.assert_array_equal(seen[[0, 10, 11, 12, 13, 99]], [10, 10, 40, 90, 250, 250])


def test_a_lut_that_does_not_say_where_it_begins_is_refused():
    item = lut(0, [1, 2], 16, True)
    item.LUTDescriptor = 2
    with pytest.raises(InputError, match="the descriptor of a LUT"):
        shown(dicom(RAMP, VOILUTSequence=[item]))


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


@pytest.mark.parametrize(
    ("photometric", "shape", "remark"),
    [
        ("MONOCHROME1", "LIN OD", "PresentationLUTShape is neither IDENTITY nor INVERSE"),
        ("MONOCHROME2", "LIN OD", "PresentationLUTShape is neither IDENTITY nor INVERSE"),
        ("MONOCHROME1", "IDENTITY", "PresentationLUTShape contradicts"),
        ("MONOCHROME2", "INVERSE", "PresentationLUTShape contradicts"),
        ("MONOCHROME1", "INVERSE", ""),
        ("MONOCHROME2", "IDENTITY", ""),
    ],
)
def test_a_shape_that_is_none_or_contradicts_is_told(photometric, shape, remark):
    content = dicom(RAMP, PhotometricInterpretation=photometric, PresentationLUTShape=shape)
    assert [text.startswith(remark) for text in notes(content)] == [True] * bool(remark)
    if shape == "LIN OD":
        np.testing.assert_array_equal(shown(content), shown(dicom(RAMP, PhotometricInterpretation=photometric)))


FLAT = "a window or LUT makes nearly all pixels equal; it was passed over"


@pytest.mark.parametrize(
    "elements",
    [
        {"WindowCenter": "2.048", "WindowWidth": "4.096"},
        {"WindowCenter": "100000", "WindowWidth": "1"},
        {"WindowCenter": ["-9000", "100000"], "WindowWidth": ["99", "9"]},
        {"VOILUTSequence": [lut(0, [5] * 4096, 12, True)]},
        {"VOILUTSequence": [lut(60_000, np.arange(4096), 12, True)]},
    ],
)
def test_what_leaves_nothing_to_see_is_passed_over(elements):
    assert notes(dicom(RAMP, **elements)) == [FLAT]
    np.testing.assert_array_equal(shown(dicom(RAMP, **elements)), shown(dicom(RAMP)))
    following = WINDOW if "VOILUTSequence" in elements else {}
    np.testing.assert_array_equal(shown(dicom(RAMP, **(WINDOW | elements))), shown(dicom(RAMP, **following)))


def test_a_border_is_no_reason_to_pass_over_a_window():
    """99 % of the pixels are black in the file, too."""
    values = np.zeros((64, 64), int)
    values[:8, :8] = np.arange(64).reshape(8, 8) * 60 + 100
    np.testing.assert_allclose(shown(dicom(values, **WINDOW)), linear(values, 799.5, 1199.5), atol=1e-3)


def test_an_entry_that_no_pixel_reaches_is_not_white():
    entries = np.append(np.arange(4095), 65_535)
    seen = shown(dicom(RAMP % 4000, VOILUTSequence=[lut(0, entries, 16, True)]))
    np.testing.assert_allclose(seen, linear(RAMP % 4000, 0, 4094), atol=1e-3)


@pytest.mark.parametrize("claim", [8, 12])
def test_a_lut_that_lacks_an_entry_repeats_its_last(claim):
    largest = 2**claim - 1
    entries = np.linspace(0, largest, 4096).astype(int)
    item = lut(0, entries[:-1], claim, True)
    item.LUTDescriptor = [4096, 0, claim]
    content = dicom(RAMP, VOILUTSequence=[item])
    np.testing.assert_allclose(shown(content), np.minimum(entries, entries[-2])[RAMP] * 255 / largest, atol=1e-3)
    assert notes(content) == ["a LUT of 4096 entries has 4095; the last one counts for the others"]


def test_a_broken_lut_or_function_leaves_the_window():
    item = lut(0, [1, 2], 16, True)
    item.LUTDescriptor = [9, 0, 16]
    for extra in ({"VOILUTSequence": [item]}, {"VOILUTFunction": "CUBIC"}):
        content = dicom(RAMP, **extra, **WINDOW)
        np.testing.assert_array_equal(shown(content), shown(dicom(RAMP, **WINDOW)))
        assert len(notes(content)) == 1


def test_a_rescale_beyond_all_bounds_is_refused():
    with pytest.raises(InputError, match="rescale gives values beyond all bounds"):
        shown(dicom(RAMP, RescaleSlope="1e300"))


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
