"""One DICOM radiograph: its pixels as they are meant to be seen, and what its header says of patient and view.

Only the elements named here are read, so a patient's name never gets into memory, a table, a log or an error.
"""

from __future__ import annotations

import importlib.util
import io
import re

import numpy as np
import pydicom
from pydicom import Dataset
from pydicom.pixels import apply_modality_lut, apply_voi_lut, pixel_array
from pydicom.uid import (
    JPEG2000,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    RLELossless,
)

from cxrjax.datasets import isolated
from cxrjax.types import Details, InputError

SUFFIXES = (".dcm", ".dicom", ".ima")
_DETAILS = ("PatientID", "PatientAge", "PatientSex", "ViewPosition")
_READ = (
    *_DETAILS, "SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration", "NumberOfFrames", "Rows",
    "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PixelPaddingValue",
    "PixelPaddingRangeLimit", "RescaleSlope", "RescaleIntercept", "ModalityLUTSequence", "VOILUTSequence",
    "WindowCenter", "WindowWidth", "VOILUTFunction", "PresentationLUTShape", "PixelData",
)  # fmt: skip
_COMPRESSED_DATA_SET = "1.2.840.10008.1.2.1.99"  # Deflated Explicit VR: a small file may fill any memory


def is_dicom(content: bytes) -> bool:
    """True if the file has DICOM's preamble; older ones have none and are known by their name only."""
    return content[128:132] == b"DICM"


def read(content: bytes, max_pixels: int) -> tuple[np.ndarray, Details]:
    """Reads a DICOM file as it is meant to be shown: air dark, bone bright.

    In order (DICOM PS3.3 C.11 and C.8.11.3): rescale or modality LUT; VOI LUT, else the first window, else all values
    from the smallest to the largest (padding left out; 8 bits or fewer without rescale stay as they are); inverted
    if PresentationLUTShape is INVERSE or, where there is none, if the photometric interpretation is MONOCHROME1.

    Args:
      content: of the file; preamble and file meta information may be missing.
      max_pixels: an image with more is refused before it is decoded.

    Returns:
      [H, W] f32, 0..255, or [H, W, 3] u8 of a colour image; and the header's details.

    Raises:
      InputError: saying what is wrong, without naming the file.
    """
    data = pydicom.dcmread(io.BytesIO(content), force=True, specific_tags=list(_READ))
    if "PixelData" not in data or "Rows" not in data or "Columns" not in data:
        raise InputError("holds no DICOM image")
    if "TransferSyntaxUID" not in data.file_meta:
        implicit, little = data.original_encoding
        explicit = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
        data.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else explicit
    _refuse(data, max_pixels)
    details = _details(data)
    pixels = _decode(data, content)
    if pixels.ndim == 3:
        return pixels, details
    return _shown(data, pixels), details


def _refuse(data: Dataset, max_pixels: int) -> None:
    frames = int(data.get("NumberOfFrames") or 1)
    if frames > 1:
        raise InputError(f"multi-frame DICOM ({frames} frames) is not a radiograph")
    if int(data.Rows) * int(data.Columns) > max_pixels:
        allowed = f"{max_pixels // 1_000_000} million"
        raise InputError(f"has {data.Columns} x {data.Rows} pixels, more than the {allowed} allowed")
    if int(data.BitsStored) > 16:
        raise InputError(f"has {data.BitsStored} bits a pixel; at most 16 are read")
    if data.file_meta.TransferSyntaxUID == _COMPRESSED_DATA_SET:
        raise InputError("deflated DICOM is not read; dcmtk's dcmconv or gdcmconv write it uncompressed")
    kind = str(data.get("PhotometricInterpretation", ""))
    if not kind.startswith(("MONOCHROME", "RGB", "YBR")):
        raise InputError(f"photometric interpretation {kind!r} is neither grey nor RGB")


def _details(data: Dataset) -> Details:
    values = (re.sub(r"\s+", " ", str(data.get(name) or "")).strip() for name in _DETAILS)
    patient, age, sex, view = values
    return Details(patient, age, sex.upper(), view.upper())


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
    jpeg = syntax == JPEGBaseline8Bit or (syntax == JPEGExtended12Bit and int(data.BitsStored) <= 8)
    if syntax == RLELossless:
        return isolated.pixel_array(content, "pydicom")
    if jpeg or syntax in (JPEG2000Lossless, JPEG2000):
        return isolated.pixel_array(content, "pillow")
    if importlib.util.find_spec("gdcm") is None:
        raise InputError("needs GDCM: pip install 'cxrjax[dicom]'")
    return isolated.pixel_array(content, "gdcm")


def _shown(data: Dataset, stored: np.ndarray) -> np.ndarray:
    """Grey values 0..255 f32 of stored values [H, W], by a table of all values between the smallest and the largest."""
    first = int(stored.min())
    counts = np.bincount((stored.astype(np.int32) - first).ravel())
    grey = _grey_values(data, np.arange(first, first + len(counts), dtype=np.int32), counts)
    if not np.isfinite(grey).all():
        raise InputError("rescale or window give values that are not finite")
    return grey[stored.astype(np.int32) - first]


def _grey_values(data: Dataset, stored: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Grey values [V] f32, 0..255, of stored values [V] which occur `counts` [V] times."""
    values = apply_modality_lut(stored, data)
    if data.get("VOILUTSequence"):
        _widen(data.VOILUTSequence[0])
        values = apply_voi_lut(values.astype(np.int64), data)
        low, high = 0.0, float(2 ** int(data.VOILUTSequence[0].LUTDescriptor[2]) - 1)
    elif data.get("WindowWidth") and data.get("WindowCenter") is not None:
        values = apply_voi_lut(values, data)
        with np.errstate(over="ignore"):  # the ends of the range, which depend on depth, sign and rescale
            low, high = map(float, apply_voi_lut(np.array([-1e12, 1e12]), data))
    elif int(data.BitsStored) <= 8 and not int(data.PixelRepresentation) and np.array_equal(values, stored):
        low, high = 0.0, 255.0
    else:
        inside = values[(counts > 0) & ~_is_padding(data, stored)]
        low, high = (float(inside.min()), float(inside.max())) if inside.size else (0.0, 0.0)
    grey = np.clip((values - low) * (255 / (high - low)), 0, 255) if high > low else np.zeros(len(values))
    return np.asarray(255 - grey if _inverted(data) else grey, np.float32)


def _widen(item: Dataset) -> None:
    """Entries of 8 bits that are stored in 8, as the standard allows, in the 16 that pydicom reads."""
    entries, data = int(item.LUTDescriptor[0]) or 2**16, item.LUTData
    if isinstance(data, bytes) and entries <= len(data) <= entries + 1:
        item.LUTData = np.frombuffer(data[:entries], np.uint8).astype("<u2").tobytes()


def _is_padding(data: Dataset, stored: np.ndarray) -> np.ndarray:
    """Which stored values are padding (PS3.3 C.7.5.1.1.2), [V] bool."""
    padding = data.get("PixelPaddingValue")
    if padding is None:
        return np.zeros(stored.shape, bool)
    limit = data.get("PixelPaddingRangeLimit")
    ends = sorted((int(padding), int(padding if limit is None else limit)))
    return (stored >= ends[0]) & (stored <= ends[1])


def _inverted(data: Dataset) -> bool:
    shape = str(data.get("PresentationLUTShape") or "").strip().upper()
    return shape == "INVERSE" if shape else str(data.PhotometricInterpretation).strip() == "MONOCHROME1"
