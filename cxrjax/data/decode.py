"""One image file -> 8-bit grey, reduced, never a half image."""

from __future__ import annotations

import contextlib
import io
import re
import threading
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from cxrjax.base import InputError
from cxrjax.data import crop, dicom, grey, jpeg, screening, tiff
from cxrjax.data.dicom import Details
from cxrjax.data.screening import Doubt


class Reduction(NamedTuple):
    """How an image of any size becomes a square one."""

    size: int = 256  # pixels, the poster's
    fit: str = "stretch"  # stretch: the whole image, without its aspect; pad: with black; crop: the central square
    filter: str = "bilinear"  # Pillow's anti-aliased bilinear, or box (area)
    range: str = "robust"  # what becomes black and white of more than 8 bits, see `grey.limits`; full: all values
    crop: str = "none"  # lungs: cut to them first, see `crop.around`
    borders: str = "keep"  # crop: black rows and columns at the edges are cut off; the source says which, no flag

    @classmethod
    def recorded(cls, made: Mapping[str, Any], size: int) -> Reduction:
        """As a store's `About.made` says, but to `size`; of images that were drawn it says nothing."""
        earlier = {"range": "full"} if made else {}  # the only rule there was
        return cls(**earlier | {name: made[name] for name in cls._fields if name in made} | {"size": size})

    def side(self, width: int, height: int) -> int:
        """Pixels of an original that `size` pixels are made of, where fewest are; below `size` it is enlarged."""
        return max(width, height) if self.fit == "pad" else min(width, height)


class Budget:
    """Bytes that threads share: one that needs much waits until others have given back theirs."""

    def __init__(self, total: int) -> None:
        """`total` bytes."""
        self._total = self._free = total
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def hold(self, amount: int) -> Iterator[None]:
        """Holds `amount` bytes inside the block, once they are free; who asks for more than all gets all."""
        amount = min(amount, self._total)
        with self._changed:
            self._changed.wait_for(lambda: self._free >= amount)
            self._free -= amount
        try:
            yield
        finally:
            with self._changed:
                self._free += amount
                self._changed.notify_all()


FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "JPEG2000", "WEBP", "GIF", "PPM")  # none that starts other programs
SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".jp2", ".webp", ".gif", ".pgm", *dicom.SUFFIXES)
MAX_PIXELS = 50_000_000  # the largest detectors have 20 million; several decoded ones must fit into memory
_TOO_LARGE = f"more than the {MAX_PIXELS // 1_000_000} million pixels allowed"
_DEEP = ("I", "I;16", "I;16B", "I;16L", "I;16N", "F")  # more than 8 bits a pixel
_BYTES, _DEEP_BYTES = 6, 14  # that a pixel takes while it is decoded, with its copies
_memory = Budget(300_000_000)  # of all threads: the largest images go one at a time, NIH's never wait
_ZEROS = bytes(64)  # coded data hold no such run; WebP has no end marker
_BLACK = 5  # of 255: the most that a pixel of a black border has
_MISSING = 128  # what libjpeg makes of pixels that it has no data for
_FILTERS = {"bilinear": Image.Resampling.BILINEAR, "box": Image.Resampling.BOX}


class Decoded(NamedTuple):
    """An image as it enters a store."""

    pixels: np.ndarray  # [size, size] u8, 0 is black
    side: int  # of the original, see `Reduction.side`
    details: Details  # of a DICOM header; empty for other files
    notes: tuple[str, ...] = ()  # what of a header was not taken as it stands; the image is used
    doubt: Doubt | None = None  # why it may be no chest radiograph


def begins_as_image(content: bytes) -> bool:
    """True if the first bytes, 16 or more, are those of one of `FORMATS`."""
    Image.init()
    accepts = (Image.OPEN[name][1] for name in FORMATS if name in Image.OPEN)
    return any(accept is not None and accept(content[:16]) is True for accept in accepts)


def decode(
    content: bytes,
    name: str,
    reduction: Reduction = Reduction(),  # noqa: B008 - immutable
    find: crop.Region | None = None,
) -> Decoded:
    """Decodes and reduces one image, and says whether it may be a chest radiograph (`screening`).

    To grey: colour by ITU-R 601 luma, which leaves equal channels as they are; transparency is dropped; colour of 16
    bits a channel keeps the upper 8 and is refused if they hold too little; grey of more than 8 bits, integer or float,
    is scaled linearly between `grey.limits`, as its range is not known, and inverted where TIFF says that white is 0;
    DICOM see `dicom.image.shown`. EXIF orientation is applied. To `reduction.size`: Pillow's anti-aliased bilinear
    filter or its box, the whole image without keeping its aspect ("stretch", as the poster does), padded with black to
    a square ("pad"), or its central square ("crop").

    Args:
      content: of the file.
      name: of the file; its suffix tells a DICOM file without preamble, unless it begins as an image.
      reduction: size, fit, filter, range, crop and borders.
      find: what it is cropped to, if `reduction.crop` says so.

    Raises:
      ValueError: if `find` is missing or not asked for.
      InputError: saying what is wrong, without naming the file: empty, of no known format, truncated, a checksum that
        is wrong (PNG), data that end before the image does (JPEG), too many pixels, several frames, no finite values.
    """
    if (find is None) != (reduction.crop == "none"):
        raise ValueError(f"find must be given where reduction.crop is not none, got {find} and {reduction.crop!r}")
    if not content:
        raise InputError("is empty")
    is_dicom = dicom.is_dicom(content) or (name.lower().endswith(dicom.SUFFIXES) and not begins_as_image(content))
    try:
        return (_decode_dicom if is_dicom else _decode_other)(content, reduction, find)
    except InputError:
        raise
    except UnidentifiedImageError as error:
        raise InputError("is not an image of a known format") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise InputError(f"has {_TOO_LARGE}") from error
    except Exception as error:  # decoders raise whatever they like at damaged data: struct.error, KeyError, ...
        message = "" if is_dicom else f": {_plain(error)}"  # a header may be quoted there
        raise InputError(f"cannot be decoded ({type(error).__name__}{message})") from error


def _decode_dicom(content: bytes, reduction: Reduction, find: crop.Region | None) -> Decoded:
    from cxrjax.data.dicom.image import read_header, shown  # brings pydicom, which takes half a second to import

    header = read_header(content, MAX_PIXELS)
    with _memory.hold(_DEEP_BYTES * header.pixels):
        image = Image.fromarray(shown(header, reduction.range))
        decoded = _finish(image, image, reduction, find)
        return decoded._replace(details=header.details, notes=(*header.notes, *decoded.notes))


def _decode_other(content: bytes, reduction: Reduction, find: crop.Region | None) -> Decoded:
    content, inverted = tiff.as_black_is_zero(content)
    image = _open(content)
    with _memory.hold((_DEEP_BYTES if image.mode in _DEEP else _BYTES) * image.width * image.height):
        sixteen = image.mode not in _DEEP and any(";16" in str(tile.args) for tile in getattr(image, "tile", ()))
        image.load()
        if image.format in ("JPEG", "MPO"):
            _check_whole_jpeg(content, image)
        ImageOps.exif_transpose(image, in_place=True)
        shown = _grey(image, reduction.range)
        # 12 bits of 16, perhaps; 4 of them would be left. A saturated marker does not count.
        if sixteen and grey.limits(np.asarray(shown).ravel())[1] < 128:
            raise InputError("has 16 bits a channel; only the upper 8 are read, and they hold too little")
        if inverted:
            shown = Image.fromarray(255 - np.asarray(shown))
        return _finish(image, shown, reduction, find)


def _finish(image: Image.Image, shown: Image.Image, reduction: Reduction, find: crop.Region | None) -> Decoded:
    """Reduces what is shown of an image, cut to what `find` finds, and screens the whole."""
    if find is None:
        pixels = _reduce(shown, reduction)
        return Decoded(pixels, reduction.side(*image.size), Details(), (), screening.screen(image, pixels))
    shown = shown.convert("L") if shown.mode == "RGB" else shown
    shown = _without_borders(shown) if reduction.borders == "crop" else shown
    whole = _reduce(shown, Reduction(crop.SIDE))
    part, notes = crop.cut(shown, whole, find)
    pixels = _reduce(part, reduction._replace(borders="keep"))
    return Decoded(pixels, reduction.side(*part.size), Details(), notes, screening.screen(image, whole))


def _open(content: bytes) -> Image.Image:
    """A single image of a known format and no more pixels than allowed, not decoded yet."""
    image = Image.open(io.BytesIO(content), formats=FORMATS)
    if image.width * image.height > MAX_PIXELS:
        raise InputError(f"has {image.width} x {image.height} pixels, {_TOO_LARGE}")
    if getattr(image, "n_frames", 1) > 1 and image.format != "MPO":  # MPO: a camera's JPEG and its preview
        raise InputError("holds several frames")
    if image.format == "PNG":
        image.verify()  # checksums, which decoding does not look at
        image = Image.open(io.BytesIO(content), formats=("PNG",))
    if image.format == "WEBP" and content.endswith(_ZEROS):
        raise InputError("ends in zeros, like a file that was not downloaded completely")
    if image.format == "TIFF":
        tiff.refuse_signed_bytes(image)
        tiff.refuse_swapped(image)
    return image


def _check_whole_jpeg(content: bytes, image: Image.Image) -> None:
    """Refuses a JPEG whose data end before or behind the image; only where its end looks like it, to save time."""
    header = jpeg.parse(content)
    pixels = np.asarray(image)
    flat = np.ptp(pixels[-1], axis=0).max() <= 1 or (pixels[-1, -8:] == _MISSING).all()
    if flat or header.process == jpeg.PROGRESSIVE:
        jpeg.check_whole(content, header, pixels, lambda other: np.asarray(_open(other)))


def _grey(image: Image.Image, rule: str) -> Image.Image:
    """Mode L, or F with values 0..255; see `grey.limits` of the rule."""
    if image.mode == "L":
        return image
    if image.mode in _DEEP:
        values = np.asarray(image).astype(np.float32)
        if not np.isfinite(values).all():
            raise InputError("holds values that are not finite")
        low, high = grey.limits(values.ravel(), rule)
        values.clip(low, high, out=values)  # in place: a large detector has 100 MB of them
        values -= low
        values *= 255 / (high - low) if high > low else 0
        return Image.fromarray(values)
    if image.mode in ("CMYK", "YCbCr", "HSV"):
        image = image.convert("RGB")
    return image.convert("L")


def _reduce(image: Image.Image, reduction: Reduction) -> np.ndarray:
    """[size, size] u8 of an image in mode L, RGB, or F with values 0..255."""
    if image.mode == "RGB":
        image = image.convert("L")
    if reduction.borders == "crop":
        image = _without_borders(image)
    size, method = (reduction.size, reduction.size), _FILTERS[reduction.filter]
    if reduction.fit == "pad":
        image = ImageOps.pad(image, size, method, color=0)
    elif reduction.fit == "crop":
        image = ImageOps.fit(image, size, method)
    elif image.size != size:
        image = image.resize(size, method)
    values = np.asarray(image)
    return values if values.dtype == np.uint8 else np.clip(np.rint(values), 0, 255).astype(np.uint8)


def _without_borders(image: Image.Image) -> Image.Image:
    """Without rows and columns at the edges that are black throughout; one that is all black stays."""
    is_shown = np.asarray(image) > _BLACK
    rows, columns = (np.flatnonzero(is_shown.any(axis=axis)) for axis in (1, 0))
    return image.crop((columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)) if len(rows) else image


def _plain(error: Exception) -> str:
    """Its message without the addresses of objects, which change from run to run."""
    return re.sub(r"<[^>]* at 0x[0-9a-f]+>", "", " ".join(str(error).split()))[:200].strip()
