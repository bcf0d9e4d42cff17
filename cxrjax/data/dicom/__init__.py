"""One DICOM radiograph: its pixels as they are meant to be seen, and what its header says of patient and view.

Only the elements that `image` names are parsed, so that a patient's name gets into no table, log or error. `image`
reads a file; pydicom, which takes half a second to import, is imported there alone. Internal: `elements` (numbers and
text of a header), `frames` (decoders of pixel data), `worker` (the process in which they run), `display` (stored values
-> grey values).
"""

from __future__ import annotations

from typing import NamedTuple

from cxrjax.base import InputError


class Details(NamedTuple):
    """What the header of an image says, each the first value as written; "" where it says nothing."""

    patient: str = ""
    age: str = ""  # 058Y
    sex: str = ""
    view: str = ""  # in capitals


SUFFIXES = (".dcm", ".dicom", ".ima")


class NoImage(InputError):
    """A DICOM file of another kind: a report, a presentation state, a directory."""


def is_dicom(content: bytes) -> bool:
    """True if the file has DICOM's preamble; older ones have none and are known by their name only."""
    return content[128:132] == b"DICM"
