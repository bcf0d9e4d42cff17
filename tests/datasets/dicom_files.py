"""DICOM files made for the tests."""

import io

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filewriter import dcmwrite
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, SecondaryCaptureImageStorage

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
