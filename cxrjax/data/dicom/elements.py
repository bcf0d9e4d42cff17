"""Elements of a DICOM header as people and machines write them: one reader of numbers and one of texts.

What is not taken as it stands is noted, in words that quote nothing: a damaged header may hold a name where a number is
due.
"""

from __future__ import annotations

import math
import re
import struct
from typing import Any

from pydicom import Dataset
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.errors import BytesLengthException
from pydicom.multival import MultiValue

_TEXT_NUMBERS = ("DS", "IS")
_NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?")  # neither nan nor inf nor 1_000


def numbers(data: Dataset, name: str, notes: list[str]) -> list[float | None]:
    """Values of a numeric element in their order, each finite, or None where it is empty or no number; [] of none.

    A decimal comma, which printf writes in many languages and DICOM forbids, is read as a point, and noted.

    Args:
      data: the header or an item of a sequence.
      name: keyword of the element.
      notes: gets what was read otherwise than written, or passed over.
    """
    parsed = [_number(text) for text in _texts(data, name, notes)]
    for _, remark in parsed:
        if remark:
            note(notes, f"{name} {remark}")
    return [value for value, _ in parsed]


def number(data: Dataset, name: str, notes: list[str]) -> float | None:
    """The first of `numbers`; None if there is none."""
    return next(iter(numbers(data, name, notes)), None)


def text(data: Dataset, name: str) -> str:
    """The first value of a text that is not empty, in one line; "" of none."""
    value = data.get(name)
    values = value if isinstance(value, (MultiValue, list)) else [value]
    lines = (" ".join(str(value).replace("\0", " ").split()) for value in values if value is not None)
    return next((line for line in lines if line), "")


def photometric(data: Dataset) -> str:
    """The photometric interpretation as the standard spells it: in capitals, without blanks."""
    return text(data, "PhotometricInterpretation").upper().replace(" ", "")


def _texts(data: Dataset, name: str, notes: list[str]) -> list[str]:
    """Values as written, of text and of binary elements."""
    tag = tag_for_keyword(name)
    if tag is None or tag not in data:
        return []
    value: Any = data.get_item(tag).value  # of text the bytes: pydicom's conversion raises at what is no number
    if isinstance(value, bytes) and dictionary_VR(tag) in _TEXT_NUMBERS:
        return value.decode("latin-1").split("\\") if value.strip(b" \0") else []
    try:
        value = data[tag].value
    except (ValueError, TypeError, struct.error, NotImplementedError, BytesLengthException):
        note(notes, f"{name} is damaged and was passed over")
        return []
    if value is None or value == "":
        return []
    return [str(part) for part in value] if isinstance(value, (MultiValue, list)) else [str(value)]


def _number(written: str) -> tuple[float | None, str]:
    """The number, or None, and what to note."""
    written = written.strip(" \0\t\r\n")
    if not written:
        return None, ""
    if not _NUMBER.fullmatch(written) or not math.isfinite(float(written.replace(",", "."))):
        return None, "is no number and was passed over"
    value = float(written.replace(",", "."))
    return value, f"has a decimal comma and was read as {value:g}" if "," in written else ""


def note(notes: list[str], remark: str) -> None:
    """Adds a remark that is not there yet."""
    if remark not in notes:
        notes.append(remark)
