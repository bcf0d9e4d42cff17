"""A DICOM file -> its header, and the image in it as it is meant to be seen."""

from __future__ import annotations

import io
import zlib
from typing import NamedTuple

import numpy as np
import pydicom
from pydicom import Dataset, uid
from pydicom.pixels.utils import pixel_array
from pydicom.tag import Tag

from cxrjax.base import InputError
from cxrjax.data.dicom import Details, NoImage, display, is_dicom, worker
from cxrjax.data.dicom.elements import number, photometric, text

_DETAILS = ("PatientID", "PatientAge", "PatientSex", "ViewPosition")
_NEEDED = ("SamplesPerPixel", "BitsAllocated", "BitsStored", "PixelRepresentation")
_READ: tuple[str | int, ...] = (
    *_DETAILS, *_NEEDED, "PhotometricInterpretation", "PlanarConfiguration", "NumberOfFrames", "Rows", "Columns",
    "HighBit", "PixelPaddingValue", "PixelPaddingRangeLimit", "RescaleSlope", "RescaleIntercept",
    "ModalityLUTSequence", "VOILUTSequence", "WindowCenter", "WindowWidth", "VOILUTFunction", "PresentationLUTShape",
    "PixelData", *display.OVERLAY_BITS,
)  # fmt: skip
_AS_STORED = ("RLELossless",)  # compressed, yet the container comes out as it was, with all its bits
_DEFLATED = uid.DeflatedExplicitVRLittleEndian.encode()
_ITEM = b"\xfe\xff\x00\xe0"  # with which encapsulated pixel data begin (PS3.5 A.4)
_PIXELS = (b"\xe0\x7f\x10\0", b"\x7f\xe0\0\x10")  # tag of the pixel data in either byte order
_META = 144  # where the file meta information goes on behind its length


class Header(NamedTuple):
    """A DICOM file whose pixels are not decoded yet."""

    data: Dataset
    content: bytes  # of the file, inflated
    details: Details
    notes: list[str]  # what is not taken as it stands; grows until the image is shown

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
    content = _inflated(content, 4 * max_pixels)
    data = pydicom.dcmread(io.BytesIO(content), force=True, specific_tags=[Tag(name) for name in _READ])
    if "PixelData" not in data or "Rows" not in data or "Columns" not in data:
        if _is_image(data, content):  # pydicom drops an element that has no end
            raise InputError("DICOM image ends too early: its pixel data are missing or have no end")
        raise NoImage("is a DICOM file without an image" if is_dicom(content) else "holds no DICOM image")
    if "TransferSyntaxUID" not in data.file_meta:
        implicit, little = data.original_encoding
        explicit = uid.ExplicitVRLittleEndian if little else uid.ExplicitVRBigEndian
        data.file_meta.TransferSyntaxUID = uid.ImplicitVRLittleEndian if implicit else explicit
    notes: list[str] = []
    _refuse(data, max_pixels, notes)
    patient, age, sex, view = (text(data, name) for name in _DETAILS)
    return Header(data, content, Details(patient, age, sex, view.upper()), notes)


def shown(header: Header, rule: str = "robust") -> np.ndarray:
    """The image as it is meant to be seen: air dark, bone bright.

    In order (DICOM PS3.3 C.11 and C.8.11.3): rescale or modality LUT; VOI LUT, else the first window, each unless it
    makes nearly all pixels equal, else the values between `grey.limits` (8 bits or fewer without rescale stay as they
    are); inverted if PresentationLUTShape is INVERSE or, where it is neither that nor IDENTITY, if the photometric
    interpretation is MONOCHROME1 (where the two contradict each other the shape counts, as in dcm4che); padding is
    black.

    Args:
      header: of the file; its notes get what was read otherwise than written.
      rule: see `grey.limits`.

    Returns:
      [H, W] f32, 0..255, or [H, W, 3] u8 of a colour image.

    Raises:
      InputError: saying what is wrong, without naming the file.
    """
    pixels = _decode(header.data, header.content)
    return pixels if pixels.ndim == 3 else display.shown(header.data, pixels, rule, header.notes)


def _inflated(content: bytes, limit: int) -> bytes:
    """A deflated file as one that is not; any other as it is. A small file may hold any number of bytes: `limit`."""
    start = _META + int.from_bytes(content[_META - 4 : _META], "little")
    if not is_dicom(content) or _DEFLATED not in content[:start]:
        return content
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        data = inflater.decompress(content[start:], limit)
    except zlib.error as error:
        raise InputError("deflated DICOM is damaged") from error
    if not inflater.eof:
        what = f"more than {limit // 1_000_000} MB" if len(data) == limit else "an end that is missing"
        raise InputError(f"deflated DICOM has {what}")
    plain = uid.ExplicitVRLittleEndian.encode().ljust(len(_DEFLATED), b"\0")
    return content[:start].replace(_DEFLATED, plain) + data


def _is_image(data: Dataset, content: bytes) -> bool:
    """Whether a file without pixel data should have some: by its size, its class, or else by the tag of pixel data."""
    kind = getattr(data.file_meta.get("MediaStorageSOPClassUID"), "name", "")
    by_class = "Image Storage" in kind if "Storage" in kind else any(tag in content for tag in _PIXELS)
    return "Rows" in data or "Columns" in data or by_class


def _refuse(data: Dataset, max_pixels: int, notes: list[str]) -> None:
    frames = int(number(data, "NumberOfFrames", notes) or 1)
    if frames > 1:
        raise InputError(f"multi-frame DICOM ({frames} frames) is not a radiograph")
    data.pop("NumberOfFrames", None)  # pydicom would read it its own way
    missing = [name for name in _NEEDED if data.get(name) is None]
    if missing:
        raise InputError(f"DICOM header lacks {', '.join(missing)}")
    if int(data.Rows) * int(data.Columns) > max_pixels:
        allowed = f"{max_pixels // 1_000_000} million"
        raise InputError(f"has {data.Columns} x {data.Rows} pixels, more than the {allowed} allowed")
    bits, high = int(data.BitsStored), int(data.get("HighBit", data.BitsStored - 1))
    if not 1 <= bits <= 16:
        raise InputError(f"has {bits} bits a pixel; 1 to 16 are read")
    allocated = int(data.BitsAllocated)
    if allocated not in (8, 16) or bits > allocated:
        raise InputError(f"has {bits} bits a pixel in {allocated} bits (BitsAllocated); 8 and 16 are read")
    syntax = data.file_meta.TransferSyntaxUID
    if not syntax.is_transfer_syntax:
        raise InputError(f"transfer syntax {syntax if syntax.is_valid else 'of no valid name'} is not read")
    shifted = high != bits - 1 and syntax.is_compressed and syntax.keyword not in _AS_STORED
    if not bits - 1 <= high < allocated or shifted:
        raise InputError(f"high bit {high} of {bits} bits stored: such values are not read")
    kind = photometric(data)
    if not kind.startswith(("MONOCHROME", "RGB", "YBR")):
        raise InputError(f"photometric interpretation {kind!r} is neither grey nor RGB")
    data.PhotometricInterpretation = kind  # pydicom knows it in this spelling only
    if int(data.SamplesPerPixel) > 1 and bits != 8:
        raise InputError(f"is in colour of {bits} bits a channel; 8 are read")


def _decode(data: Dataset, content: bytes) -> np.ndarray:
    """Pixels [H, W] as they stand in the file, or [H, W, 3] in RGB.

    Raises:
      InputError: if they cannot be read, in words of ours: pydicom's may quote the file.
    """
    syntax = data.file_meta.TransferSyntaxUID
    what = f"pixel data ({syntax.name}) cannot be decoded"
    try:
        if syntax.is_encapsulated != data.PixelData.startswith(_ITEM):
            raise InputError(f"they are {'not ' if syntax.is_encapsulated else ''}encapsulated")
        if syntax.is_encapsulated:
            pixels = worker.pixel_array(content)
        else:
            _refuse_length(data)
            pixels = pixel_array(data, correct_unused_bits=False)
            pixels = pixels.astype(pixels.dtype.newbyteorder("="), copy=False)
    except InputError as error:
        raise InputError(f"{what}: {error}") from error
    except Exception as error:  # decoders raise whatever they like at damaged data
        raise InputError(f"{what} ({type(error).__name__})") from error
    if pixels.shape[:2] != (data.Rows, data.Columns):
        raise InputError(f"{what}: {pixels.shape}, the header says {data.Rows} x {data.Columns}")
    return pixels


def _refuse_length(data: Dataset) -> None:
    """Some padding at the end is common; as much as another image is none, and nothing may be missing."""
    expected = int(data.Rows) * int(data.Columns) * int(data.SamplesPerPixel) * int(data.BitsAllocated) // 8
    length = len(data.PixelData)
    if length < expected or length >= 2 * max(expected, 1):
        early = "ends too early: " if length < expected else ""
        raise InputError(f"{early}{length} bytes, the header says {expected}")
