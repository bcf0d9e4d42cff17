"""One DICOM radiograph: its pixels as they are meant to be seen, and what its header says of patient and view.

Only the elements named here are parsed, so that a patient's name gets into no table, log or error.
"""

from __future__ import annotations

import importlib.util
import io
import re
from typing import NamedTuple

import numpy as np
import pydicom
from pydicom import Dataset, uid
from pydicom.pixels.utils import pixel_array

from cxrjax.base import InputError
from cxrjax.data import dicom_worker


class Details(NamedTuple):
    """What the header of an image says; "" where it says nothing."""

    patient: str = ""
    age: str = ""  # as written, 058Y
    sex: str = ""
    view: str = ""


SUFFIXES = (".dcm", ".dicom", ".ima")
_DETAILS = ("PatientID", "PatientAge", "PatientSex", "ViewPosition")
_READ = (
    *_DETAILS, "SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration", "NumberOfFrames", "Rows",
    "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PixelPaddingValue",
    "PixelPaddingRangeLimit", "RescaleSlope", "RescaleIntercept", "ModalityLUTSequence", "VOILUTSequence",
    "WindowCenter", "WindowWidth", "VOILUTFunction", "PresentationLUTShape", "PixelData",
)  # fmt: skip


class NoImage(InputError):
    """A DICOM file of another kind: a report, a presentation state, a directory."""


def is_dicom(content: bytes) -> bool:
    """True if the file has DICOM's preamble; older ones have none and are known by their name only."""
    return content[128:132] == b"DICM"


class Header(NamedTuple):
    """A DICOM file whose pixels are not decoded yet."""

    data: Dataset
    content: bytes
    details: Details

    @property
    def pixels(self) -> int:
        """How many there are."""
        return int(self.data.Rows) * int(self.data.Columns)


def read_header(content: bytes, max_pixels: int) -> Header:
    """Reads all but the pixels.

    Args:
      content: of the file; preamble and file meta information may be missing.
      max_pixels: an image with more is refused.

    Raises:
      NoImage: if the file is DICOM of another kind.
      InputError: saying what is wrong, without naming the file.
    """
    data = pydicom.dcmread(io.BytesIO(content), force=True, specific_tags=list(_READ))
    if "PixelData" not in data or "Rows" not in data or "Columns" not in data:
        raise NoImage("is a DICOM file without an image" if is_dicom(content) else "holds no DICOM image")
    if "TransferSyntaxUID" not in data.file_meta:
        implicit, little = data.original_encoding
        explicit = uid.ExplicitVRLittleEndian if little else uid.ExplicitVRBigEndian
        data.file_meta.TransferSyntaxUID = uid.ImplicitVRLittleEndian if implicit else explicit
    _refuse(data, max_pixels)
    return Header(data, content, _details(data))


def shown(header: Header) -> np.ndarray:
    """The image as it is meant to be seen: air dark, bone bright.

    In order (DICOM PS3.3 C.11 and C.8.11.3): rescale or modality LUT; VOI LUT, else the first window, else all values
    from the smallest to the largest (8 bits or fewer without rescale stay as they are); inverted if
    PresentationLUTShape is INVERSE or, where there is none, if the photometric interpretation is MONOCHROME1 (where the
    two contradict each other the shape counts, as in dcm4che); padding is black.

    Returns:
      [H, W] f32, 0..255, or [H, W, 3] u8 of a colour image.

    Raises:
      InputError: saying what is wrong, without naming the file.
    """
    pixels = _decode(header.data, header.content)
    return pixels if pixels.ndim == 3 else _grey(header.data, pixels)


def _refuse(data: Dataset, max_pixels: int) -> None:
    frames = int(data.get("NumberOfFrames") or 1)
    if frames > 1:
        raise InputError(f"multi-frame DICOM ({frames} frames) is not a radiograph")
    if int(data.Rows) * int(data.Columns) > max_pixels:
        allowed = f"{max_pixels // 1_000_000} million"
        raise InputError(f"has {data.Columns} x {data.Rows} pixels, more than the {allowed} allowed")
    if int(data.BitsStored) > 16:
        raise InputError(f"has {data.BitsStored} bits a pixel; at most 16 are read")
    if int(data.get("HighBit", data.BitsStored - 1)) != int(data.BitsStored) - 1:
        raise InputError(f"high bit {data.HighBit} of {data.BitsStored} bits stored: such values are not read")
    if data.file_meta.TransferSyntaxUID == uid.DeflatedExplicitVRLittleEndian:  # a small file may fill any memory
        raise InputError("deflated DICOM is not read; dcmtk's dcmconv or gdcmconv write it uncompressed")
    kind = str(data.get("PhotometricInterpretation", ""))
    if not kind.startswith(("MONOCHROME", "RGB", "YBR")):
        raise InputError(f"photometric interpretation {kind!r} is neither grey nor RGB")


def _details(data: Dataset) -> Details:
    values = (re.sub(r"\s+", " ", str(data.get(name) or "")).strip() for name in _DETAILS)
    patient, age, sex, view = values
    return Details(patient, age, sex.upper()[:1], view.upper())


def _decode(data: Dataset, content: bytes) -> np.ndarray:
    """Pixels [H, W] or [H, W, 3], as stored; a colour space other than RGB is converted.

    Raises:
      InputError: if they cannot be read, in words of ours: pydicom's may quote the file.
    """
    syntax = data.file_meta.TransferSyntaxUID
    what = f"pixel data ({syntax.name}) cannot be decoded"
    try:
        pixels = _decompress(data, content) if syntax.is_compressed else pixel_array(data)
    except InputError as error:
        raise InputError(f"{what}: {error}") from error
    except Exception as error:  # decoders raise whatever they like at damaged data
        raise InputError(f"{what} ({type(error).__name__})") from error
    if pixels.shape[:2] != (data.Rows, data.Columns):
        raise InputError(f"{what}: {pixels.shape}, the header says {data.Rows} x {data.Columns}")
    return pixels


def _decompress(data: Dataset, content: bytes) -> np.ndarray:
    """RLE by pydicom, JPEG and JPEG 2000 by Pillow, the rest (lossless JPEG, JPEG-LS, 12-bit JPEG) by GDCM: always the
    same decoder for the same file, since those of lossy data differ."""
    syntax = data.file_meta.TransferSyntaxUID
    jpeg = syntax == uid.JPEGBaseline8Bit or (syntax == uid.JPEGExtended12Bit and int(data.BitsStored) <= 8)
    if syntax == uid.RLELossless:
        return dicom_worker.pixel_array(content, "pydicom")
    if jpeg or syntax in (uid.JPEG2000Lossless, uid.JPEG2000):
        return dicom_worker.pixel_array(content, "pillow")
    if importlib.util.find_spec("gdcm") is None:
        raise InputError("needs GDCM: pip install 'cxrjax[dicom]'")
    return dicom_worker.pixel_array(content, "gdcm")


def _grey(data: Dataset, stored: np.ndarray) -> np.ndarray:
    """Grey values 0..255 f32 of stored values [H, W], by a table of all that may occur: no large arrays in between."""
    if stored.dtype.itemsize > 2:
        raise InputError(f"pixel data are {stored.dtype}; at most 16 bits are read")
    kind = np.dtype(f"u{stored.dtype.itemsize}")
    index = stored.view(kind)
    count = 2 ** (8 * kind.itemsize)
    seen = np.zeros(count, bool)
    for row in index:
        seen[row] = True
    grey = _grey_values(data, np.arange(count, dtype=kind).view(stored.dtype).astype(np.int32), seen)
    if not np.isfinite(grey).all():
        raise InputError("rescale or window give values that are not finite")
    return np.asarray(grey[index])


def _grey_values(data: Dataset, stored: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Grey values [V] f32, 0..255, of stored values [V], of which some are `seen` in the image."""
    padding = _is_padding(data, stored)
    values = _modality(data, stored)
    voi = next((item for item in data.get("VOILUTSequence") or () if "LUTData" in item), None)
    if voi is not None:
        grey = _look_up(data, voi, values) * (255 / (2 ** int(voi.LUTDescriptor[2]) - 1))
    elif _has_window(data):
        grey = _window(data, values)
    elif int(data.BitsStored) <= 8 and not int(data.PixelRepresentation) and np.array_equal(values, stored):
        grey = values * (255 / (2 ** int(data.BitsStored) - 1))
    else:
        inside = values[seen & ~padding]
        low, high = (float(inside.min()), float(inside.max())) if inside.size else (0.0, 0.0)
        grey = (values - low) * (255 / (high - low)) if high > low else np.zeros(len(values))
    grey = np.clip(grey, 0, 255)
    return np.where(padding, 0, 255 - grey if _inverted(data) else grey).astype(np.float32)


def _modality(data: Dataset, stored: np.ndarray) -> np.ndarray:
    """Modality LUT, or else rescale slope and intercept (PS3.3 C.11.1)."""
    if data.get("ModalityLUTSequence"):
        return _look_up(data, data.ModalityLUTSequence[0], stored)
    slope, intercept = (data.get(name) for name in ("RescaleSlope", "RescaleIntercept"))
    if slope is not None and not float(slope):
        raise InputError("rescale slope is 0, which leaves no image")
    return stored * float(1 if slope is None else slope) + float(intercept or 0)


def _look_up(data: Dataset, item: Dataset, values: np.ndarray) -> np.ndarray:
    """Entries of a LUT; values before its first entry take that, values behind its last the last (C.11.2.1.1)."""
    entries, first, bits = (int(number) for number in item.LUTDescriptor)
    entries = entries or 2**16
    raw = item.LUTData
    if isinstance(raw, bytes):  # entries of 8 bits may be stored in 8 or in 16
        order = "<" if data.original_encoding[1] else ">"
        raw = np.frombuffer(raw, np.uint8 if bits <= 8 and len(raw) <= entries + 1 else f"{order}u2")
    table = np.atleast_1d(np.asarray(raw, np.float64))[:entries]
    if len(table) < entries:
        raise InputError(f"a LUT of {entries} entries has {len(table)}")
    return np.asarray(table[np.clip(np.rint(values) - first, 0, entries - 1).astype(np.int64)])


def _has_window(data: Dataset) -> bool:
    """True if centre and width are there and the width is one that the function allows."""
    if data.get("WindowCenter") in (None, "") or data.get("WindowWidth") in (None, ""):
        return False
    _, width, function = _window_of(data)
    return width >= 1 if function == "LINEAR" else width > 0


def _window_of(data: Dataset) -> tuple[float, float, str]:
    centre, width = (np.atleast_1d(np.asarray(data[name].value, float))[0] for name in ("WindowCenter", "WindowWidth"))
    return float(centre), float(width), str(data.get("VOILUTFunction") or "LINEAR").strip().upper()


def _window(data: Dataset, values: np.ndarray) -> np.ndarray:
    """The first window, values to 0..255 (C.11.2.1.2 and C.11.2.1.3)."""
    centre, width, function = _window_of(data)
    if function == "SIGMOID":
        return np.asarray(255 / (1 + np.exp(np.clip(-4 * (values - centre) / width, -700, 700))))
    if function == "LINEAR_EXACT":
        return np.asarray(((values - centre) / width + 0.5) * 255)
    if function != "LINEAR":
        raise InputError(f"VOI LUT function {function!r} is none of LINEAR, LINEAR_EXACT and SIGMOID")
    if width == 1:
        return np.where(values > centre - 0.5, 255.0, 0.0)
    return np.asarray(((values - (centre - 0.5)) / (width - 1) + 0.5) * 255)


def _is_padding(data: Dataset, stored: np.ndarray) -> np.ndarray:
    """Which stored values are padding (PS3.3 C.7.5.1.1.2), [V] bool; they are shown black."""
    padding = data.get("PixelPaddingValue")
    if padding in (None, ""):
        return np.zeros(stored.shape, bool)
    limit = data.get("PixelPaddingRangeLimit")
    ends = [int(padding), int(padding if limit in (None, "") else limit)]
    if int(data.PixelRepresentation):  # some write signed values as if they were unsigned
        ends = [end - 2**16 if end >= 2**15 else end for end in ends]
    return (stored >= min(ends)) & (stored <= max(ends))


def _inverted(data: Dataset) -> bool:
    shape = str(data.get("PresentationLUTShape") or "").strip().upper()
    return shape == "INVERSE" if shape else str(data.PhotometricInterpretation).strip() == "MONOCHROME1"
