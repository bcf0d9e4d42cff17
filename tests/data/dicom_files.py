"""DICOM files made for the tests."""

import io

import numpy as np
from PIL import Image
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.filewriter import dcmwrite
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
    SecondaryCaptureImageStorage,
    generate_uid,
)

from cxrjax.data.decode import MAX_PIXELS
from cxrjax.data.dicom import image as reading

NAME = "ROENTGEN^ANNA BERTHA"  # must never be seen anywhere
RAMP = np.arange(4096).reshape(64, 64)


def shown(content, rule="robust"):
    return reading.shown(reading.read_header(content, MAX_PIXELS), rule)


def notes(content):
    """What is noted of a file until it is shown."""
    header = reading.read_header(content, MAX_PIXELS)
    reading.shown(header)
    return header.notes


def linear(values, low, high):
    return np.clip((np.asarray(values, float) - low) / (high - low) * 255, 0, 255)


def written(content, before, after):
    """The file with the text of an element replaced by one that pydicom would not write."""
    before, after = before.encode(), after.encode().ljust(len(before))
    assert content.count(before) == 1 and len(after) == len(before)
    return content.replace(before, after)


def dicom(pixels, bits=12, meta=True, preamble=True, implicit=False, signed=False, syntax=None, **elements):
    """Bytes of an uncompressed DICOM file; `elements` are set last, None removes one."""
    syntax = syntax or (ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian)
    stored = np.asarray(pixels)
    data = Dataset()
    data.SOPClassUID, data.SOPInstanceUID = SecondaryCaptureImageStorage, "1.2.3"
    data.PatientName, data.PatientID = NAME, "4711"
    data.PatientAge, data.PatientSex, data.ViewPosition = "058Y", "F", "PA"
    data.PhotometricInterpretation, data.SamplesPerPixel = "MONOCHROME2", 1
    data.Rows, data.Columns = stored.shape[:2]
    data.BitsAllocated = 8 if bits == 8 else 16
    data.BitsStored, data.HighBit, data.PixelRepresentation = bits, bits - 1, int(signed)
    kind = np.uint8 if bits == 8 else (np.int16 if signed else np.uint16)
    data.PixelData = stored.astype(kind).tobytes()
    if not syntax.is_little_endian:
        data.PixelData = np.frombuffer(data.PixelData, "<u2").astype(">u2").tobytes()  # words: 8 bits, too (PS3.5 D)
    data["PixelData"].VR = "OW"
    for name, value in elements.items():
        if value is None:
            delattr(data, name)
        else:
            setattr(data, name, value)
    buffer = io.BytesIO()
    if meta:
        data.file_meta = FileMetaDataset()
        data.file_meta.TransferSyntaxUID = syntax
        data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID
        data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
        dcmwrite(buffer, data, enforce_file_format=True)
        return buffer.getvalue() if preamble else buffer.getvalue()[132:]
    dcmwrite(buffer, data, implicit_vr=implicit, little_endian=True)
    return buffer.getvalue()


def encapsulated(syntax, frame, pixels, bits, **elements):
    """A file whose only frame is in a transfer syntax; `pixels` give the shape, `elements` as of `dicom`."""
    data = dcmread(io.BytesIO(dicom(pixels, bits=bits, **elements)))
    data.PixelData = encapsulate([frame])
    data["PixelData"].is_undefined_length = True
    data.file_meta.TransferSyntaxUID = syntax
    data.SOPInstanceUID = generate_uid()
    buffer = io.BytesIO()
    data.save_as(buffer)
    return buffer.getvalue()


def compressed(syntax, pixels, format, bits):
    """Encapsulated pixel data, written by Pillow."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format=format)
    return encapsulated(syntax, stream.getvalue(), pixels, bits)


def rle(content):
    """The file compressed by pydicom."""
    data = dcmread(io.BytesIO(content))
    data.compress(RLELossless, encoding_plugin="pydicom")
    buffer = io.BytesIO()
    data.save_as(buffer)
    return buffer.getvalue()


def deflated(content):
    """The file in the deflated transfer syntax, by zlib (PS3.5 A.5)."""
    data = dcmread(io.BytesIO(content))
    data.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    buffer = io.BytesIO()
    data.save_as(buffer)
    return buffer.getvalue()
