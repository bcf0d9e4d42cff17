"""DICOM files made for the tests."""

import io

import numpy as np
from PIL import Image
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.filewriter import dcmwrite
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

NAME = "ROENTGEN^ANNA BERTHA"  # must never be seen anywhere


def dicom(pixels, bits=12, meta=True, preamble=True, implicit=False, signed=False, **elements):
    """Bytes of an uncompressed DICOM file; `elements` are set last, None removes one."""
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
    data["PixelData"].VR = "OW"
    for name, value in elements.items():
        if value is None:
            delattr(data, name)
        else:
            setattr(data, name, value)
    buffer = io.BytesIO()
    if meta:
        data.file_meta = FileMetaDataset()
        data.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
        data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID
        data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
        dcmwrite(buffer, data, enforce_file_format=True)
        return buffer.getvalue() if preamble else buffer.getvalue()[132:]
    dcmwrite(buffer, data, implicit_vr=implicit, little_endian=True)
    return buffer.getvalue()


def compressed(syntax, pixels, format, bits):
    """Encapsulated pixel data, written by Pillow."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format=format)
    data = dcmread(io.BytesIO(dicom(pixels, bits=bits)))
    data.PixelData = encapsulate([stream.getvalue()])
    data["PixelData"].is_undefined_length = True
    data.file_meta.TransferSyntaxUID = syntax
    data.SOPInstanceUID = generate_uid()
    buffer = io.BytesIO()
    data.save_as(buffer)
    return buffer.getvalue()
