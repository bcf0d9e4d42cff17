"""Compressed frames of DICOM -> containers: always the same decoder for the same frame, whatever else is installed.

| RLE | pydicom |
| JPEG of 8 bits (processes 1 and 2), JPEG 2000, HTJ2K | Pillow (libjpeg-turbo, OpenJPEG) |
| JPEG of 12 bits (process 4), lossless JPEG (process 14), JPEG-LS | imagecodecs (libjpeg-turbo, CharLS), an extra |

By what the frame holds, not by what its transfer syntax says. Bits of the container that the header does not count are
kept. Runs in a child process (`worker`).
"""

from __future__ import annotations

import importlib.util
import io

import numpy as np
from PIL import Image
from pydicom import Dataset, uid
from pydicom.encaps import generate_fragments, generate_frames
from pydicom.pixels import convert_color_space
from pydicom.pixels.utils import get_j2k_parameters, pixel_array

from cxrjax.base import InputError
from cxrjax.base.config import install_command
from cxrjax.data import jpeg
from cxrjax.data.dicom.elements import photometric

_J2K = (b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP  ")  # a codestream, and one in a file of its own
_RLE = tuple(bytes([segments, 0, 0, 0, 64, 0, 0, 0]) for segments in range(1, 16))  # PS3.5 G.5
_STARTS = (*_J2K, *_RLE, b"\xff\xd8")  # of a frame; other fragments go on with one
_DCT = (jpeg.BASELINE, jpeg.EXTENDED, jpeg.PROGRESSIVE)
_IMAGECODECS = (*_DCT, jpeg.LOSSLESS, jpeg.LS)


def decode(data: Dataset) -> np.ndarray:
    """The only frame of a file.

    Args:
      data: the whole file.

    Returns:
      [H, W] u8 or u16, all bits of the container, or [H, W, 3] u8 in RGB.

    Raises:
      InputError: saying what is wrong; decoders raise whatever else they like.
    """
    data.pop("NumberOfFrames", None)  # one, as `dicom` has seen; pydicom would read it its own way
    data.PhotometricInterpretation = photometric(data)
    if sum(fragment.startswith(_STARTS) for fragment in generate_fragments(data.PixelData)) > 1:
        raise InputError("multi-frame DICOM is not a radiograph")
    if data.file_meta.TransferSyntaxUID == uid.RLELossless:
        return pixel_array(data, decoding_plugin="pydicom", correct_unused_bits=False)
    frame = next(generate_frames(data.PixelData, number_of_frames=1))
    size = int(data.Rows), int(data.Columns)
    grey = int(data.SamplesPerPixel) == 1
    if frame.startswith(_J2K):
        _check_bits(data, get_j2k_parameters(frame).get("precision", 0))
        return _jpeg2000(frame, size) if grey else pixel_array(data, decoding_plugin="pillow")
    header = jpeg.parse(frame)
    _check_size((header.rows, header.columns), size)
    _check_bits(data, header.precision, exactly=header.process in _DCT)
    if header.process in _DCT and header.precision == 8:
        pixels = _by_pillow(frame)
        jpeg.check_whole(frame, header, pixels, _by_pillow)
        return pixels if grey else pixel_array(data, decoding_plugin="pillow")
    pixels = _by_imagecodecs(frame, header)
    return pixels if grey else _in_rgb(data, pixels)


def _check_size(size: tuple[int, int], expected: tuple[int, int]) -> None:
    """Before anything is decoded: a small frame may hold any number of pixels."""
    if size != expected:
        raise InputError(f"{size[0]} x {size[1]} pixels, the header says {expected[0]} x {expected[1]}")


def _check_bits(data: Dataset, precision: int, exactly: bool = False) -> None:
    """A frame of more bits than are allocated, or of others than are stored where it has no room for more."""
    stored, allocated = int(data.BitsStored), int(data.BitsAllocated)
    if precision > allocated or (exactly and precision != stored):
        raise InputError(f"its frame has {precision} bits a pixel, the header says {stored}, stored in {allocated}")


def _by_pillow(frame: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(frame), formats=("JPEG",)))


def _jpeg2000(frame: bytes, size: tuple[int, int]) -> np.ndarray:
    """Signed values come in two's complement of the container."""
    parameters = get_j2k_parameters(frame)
    image = Image.open(io.BytesIO(frame), formats=("JPEG2000",))
    _check_size((image.height, image.width), size)
    if not 1 <= parameters.get("precision", 0) <= 16 or image.mode not in ("L", "I;16"):
        raise InputError("its codestream is not of one channel of at most 16 bits")
    pixels: np.ndarray = np.asarray(image)
    # Pillow shifts values to the top of 8 or 16 bits and makes signed ones unsigned (Jpeg2KDecode.c, j2ku_gray_*).
    pixels = pixels >> (8 * pixels.dtype.itemsize - parameters["precision"])
    if parameters["is_signed"]:
        pixels = (pixels.astype(np.int32) - 2 ** (parameters["precision"] - 1)).astype(np.uint16)
    return pixels


def _by_imagecodecs(frame: bytes, header: jpeg.Jpeg) -> np.ndarray:
    if header.process not in _IMAGECODECS:
        raise InputError(f"JPEG process SOF{header.process - 0xC0} is not read")
    if importlib.util.find_spec("imagecodecs") is None:
        raise InputError(f"needs imagecodecs: `{install_command('dicom')}`")
    import imagecodecs

    if header.process == jpeg.LS:
        return np.asarray(imagecodecs.jpegls_decode(frame))
    pixels = np.asarray(imagecodecs.jpeg8_decode(frame))
    jpeg.check_whole(frame, header, pixels, imagecodecs.jpeg8_decode)
    return pixels


def _in_rgb(data: Dataset, pixels: np.ndarray) -> np.ndarray:
    if pixels.ndim != 3 or pixels.dtype != np.uint8:
        raise InputError("its codestream is not of three channels of 8 bits")
    kind = data.PhotometricInterpretation
    return pixels if kind == "RGB" else np.asarray(convert_color_space(pixels, kind, "RGB"))
