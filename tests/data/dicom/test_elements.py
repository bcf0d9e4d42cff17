"""Numbers and texts of a header, as written and as read."""

import io

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from cxrjax.data.dicom.elements import number, numbers, text
from tests.data.dicom_files import RAMP, dicom, written


def header_of(centre, implicit=False):
    """A header whose window centre is this text."""
    content = dicom(RAMP, implicit=implicit, WindowCenter="1" * 16)
    return dcmread(io.BytesIO(written(content, "1" * 16, centre)))


@pytest.mark.parametrize("implicit", [False, True])
@pytest.mark.parametrize(
    ("centre", "values", "remarks"),
    [
        ("2048", [2048], 0),
        (" 2048.5 ", [2048.5], 0),
        ("-1e3\\+.5\\5.", [-1000, 0.5, 5], 0),
        ("2048,0", [2048], 1),
        ("0,5\\-1,5", [0.5, -1.5], 2),
        ("", [], 0),
        ("\\7", [None, 7], 0),
        ("7\\", [7, None], 0),
        ("nan", [None], 1),
        ("1e999\\inf", [None, None], 1),
        ("1.024,5", [None], 1),
        ("1,024,5", [None], 1),
        ("1_000", [None], 1),
        ("0x10", [None], 1),
        ("MAYER^A\\3", [None, 3], 1),
        ("1 2", [None], 1),
    ],
)
def test_numbers(centre, values, remarks, implicit):
    notes = []
    assert numbers(header_of(centre, implicit), "WindowCenter", notes) == values
    assert len(notes) == remarks
    assert "MAYER" not in str(notes)
    assert number(header_of(centre, implicit), "WindowCenter", []) == next(iter(values), None)


def test_binary_numbers_and_none():
    data = dcmread(io.BytesIO(dicom(RAMP, PixelPaddingValue=7)))
    assert numbers(data, "PixelPaddingValue", []) == [7]
    assert numbers(data, "WindowWidth", []) == []
    item = Dataset()
    item.LUTDescriptor = [4, 0, 12]
    assert numbers(item, "LUTDescriptor", []) == [4, 0, 12]


def test_a_damaged_binary_number_is_passed_over_and_told():
    content = dicom(RAMP, PixelPaddingValue=7)
    place = content.index(b"\x28\x00\x20\x01US\x02\x00")
    content = content[: place + 6] + b"\x01\x00" + content[place + 8 : place + 9] + content[place + 10 :]
    notes = []
    assert numbers(dcmread(io.BytesIO(content)), "PixelPaddingValue", notes) == []
    assert notes == ["PixelPaddingValue is damaged and was passed over"]


def test_texts():
    data = Dataset()
    data.PatientID, data.PatientSex = ["", " 47  11 ", "8"], None
    assert (text(data, "PatientID"), text(data, "PatientSex"), text(data, "PatientAge")) == ("47 11", "", "")
