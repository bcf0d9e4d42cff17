"""Where the lungs are on a frontal radiograph: outlined by a small U-Net, or a user's own masks.

Against people's outlines, of films of patients whom a network has not seen (the five folds of
`experiments.train_lungs`; docs/lungs.md), Dice:

                         mean   5th percentile  lowest
    adults, supine (44)  0.935  0.885           0.821
    adults, PA (39)      0.946  0.897           0.883
    children (200)       0.942  0.901           0.848
    all (283)            0.941  0.896           0.821

None is below 0.8. An outline fitted by hand, which this replaced, had 0.824 on the adults and 0.774 on the children.
The shipped weights are a sixth network's, trained on all 283 films. On the phantom, which it has not seen, it has 0.852
(169 images) and draws lungs a quarter too large. It is wrong where a lung is white and where the film is a negative:
of 60 AP films of NIH 9 were grossly wrong, of 60 PA none, by eye (docs/lungs.md). Not for measuring lungs.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

import numpy as np
from PIL import Image
from scipy import ndimage

from cxrjax.base import InputError, Params, devices
from cxrjax.base.numerics import pinned
from cxrjax.models import unet

MAX_PIXELS = 50_000_000  # of a mask
FORMATS = ("PNG", "JPEG", "BMP", "TIFF")
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
WEIGHTS = "lungs.npz"  # beside this module; made by `experiments.train_lungs`, see LICENSE-lungs.md there
SHA256 = "f33a9cdecb16ee0bdb22bd970d1509d2a6c524fe0c427068529dab6238f2913d"
_CHUNK = 8  # images a call, so that it is compiled once
_LEAST = 0.01  # share of the image that a region must have to be a lung


def estimate(images: np.ndarray) -> np.ndarray:
    """Lung fields as people outline them, the part behind the heart and opacities included; at most two regions.

    An image's mask does not depend on the other images; where nothing looks like a lung it is empty.

    Args:
      images: [N, side, side] u8 frontal radiographs, 0 is black, the patient's right on the left.

    Returns:
      [N, side, side] bool.

    Raises:
      ValueError: if `images` has another shape or type.
    """
    return outline(_shipped(), images)


def outline(params: Params, images: np.ndarray) -> np.ndarray:
    """As `estimate`, by a U-Net's `params` of one's own."""
    if images.ndim != 3 or images.shape[1] != images.shape[2] or images.dtype != np.uint8:
        raise ValueError(f"images must be uint8 [N, side, side], got {images.dtype} {list(images.shape)}")
    masks = np.zeros(images.shape, bool)
    side = images.shape[1]
    for first in range(0, len(images), _CHUNK):
        rows = images[first : first + _CHUNK]
        small = np.zeros((_CHUNK, unet.SIDE, unet.SIDE), np.uint8)
        small[: len(rows)] = [reduced(image) for image in rows]
        logits = np.asarray(_logits(params, small))[: len(rows)]
        for place, (image, values) in enumerate(zip(small, logits, strict=False), first):
            if np.ptp(image):  # a network says something of a blank image, too
                masks[place] = _two_largest(_resized(values, side) > 0)
    return masks


def box(image: np.ndarray) -> tuple[float, float, float, float] | None:
    """Left, top, right, bottom of the lungs of [side, side] u8 as shares of its side; None if none are seen."""
    (mask,) = estimate(image[None])
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) / len(mask) for axis in (1, 0))
    if not len(rows):
        return None
    pixel = 1 / len(mask)
    return float(columns[0]), float(rows[0]), float(columns[-1] + pixel), float(rows[-1] + pixel)


REGIONS = {"lungs": box}  # what `--crop` of `prepare` names


def reduced(image: np.ndarray) -> np.ndarray:
    """[side, side] u8 or f32 -> [unet.SIDE, unet.SIDE], as the network takes it."""
    return _resized(image, unet.SIDE)


def _resized(values: np.ndarray, side: int) -> np.ndarray:
    return np.asarray(Image.fromarray(values).resize((side, side), Image.Resampling.BILINEAR))


_logits = pinned()(devices.jit_convolutions()(unet.logits))


@functools.cache
def _shipped() -> Params:
    content = (resources.files("cxrjax.interpret") / WEIGHTS).read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    if digest != SHA256:
        raise InputError(f"{WEIGHTS} of cxrjax must have SHA-256 {SHA256[:12]}..., got {digest[:12]}...")
    return unet.from_bytes(content)


def _two_largest(mask: np.ndarray) -> np.ndarray:
    """Without holes and all regions but two, both at least `_LEAST` of the image."""
    labels, _ = ndimage.label(mask)
    areas = np.bincount(labels.ravel())[1:]
    largest = [region for region in np.argsort(-areas, kind="stable")[:2] if areas[region] >= _LEAST * mask.size]
    return np.asarray(ndimage.binary_fill_holes(np.isin(labels, np.array(largest) + 1)))


def read_masks(folder: Path, names: Sequence[str], size: int = 256) -> tuple[np.ndarray, np.ndarray]:
    """A user's own masks of lung fields: of NAME.png the file NAME_mask or else NAME, PNG, JPEG, BMP or TIFF.

    What is not 0 in any channel is lung (JPEG: at least half of the file's largest value); transparency is ignored.
    Masks of any size are brought to `size` by their nearest pixels, the whole image without keeping its aspect.

    Args:
      folder: of the masks.
      names: of the radiographs; those without a mask are passed over.
      size: side of the masks that are returned, pixels.

    Returns:
      [M, size, size] bool and [M] i32, the position in `names` of each.

    Raises:
      InputError: if `folder` is missing or has no mask for any of `names`, two files for one of them, a file that is no
        image, or an empty mask.
    """
    if not folder.is_dir():
        raise InputError(f"folder of lung masks must be a folder, got {folder}")
    files: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in SUFFIXES:
            files.setdefault(path.stem, []).append(path)
    stems = [Path(name).stem for name in names]
    candidates = [files.get(f"{stem}_mask") or files.get(stem, []) for stem in stems]
    for paths in candidates:
        if len(paths) > 1:
            raise InputError(
                f"{folder} must hold one mask for each radiograph, got {' and '.join(p.name for p in paths)}"
            )
    positions = np.array([i for i, paths in enumerate(candidates) if paths], np.int32)
    if not len(positions):
        first = f"{stems[0]}_mask.png or {stems[0]}.png" if stems else "no names"
        raise InputError(
            f"{folder} must hold a mask for one of {len(stems)} radiographs, got none (looked for {first}, ...)"
        )
    return np.stack([_read_mask(candidates[i][0], size) for i in positions]), positions


def _read_mask(path: Path, size: int) -> np.ndarray:
    """[size, size] bool."""
    try:
        with Image.open(path, formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise InputError(f"{path} must have at most {MAX_PIXELS} pixels, got {image.width} x {image.height}")
            lossy = image.format == "JPEG"
            values = np.asarray(image.convert("RGB") if image.mode not in ("1", "L", "I", "I;16", "F") else image)
    except InputError:
        raise
    except Exception as error:  # decoders raise whatever they like at damaged data
        raise InputError(f"{path} must be a PNG, JPEG, BMP or TIFF image, got {type(error).__name__}") from error
    values = values.astype(np.float32)
    values = values.max(2) if values.ndim == 3 else values
    rows, columns = (((np.arange(size) + 0.5) * n / size).astype(int) for n in values.shape)
    mask = (values >= max(values.max() / 2, 1) if lossy else values != 0)[np.ix_(rows, columns)]
    if not mask.any():
        raise InputError(f"{path} must mark some lung, got a mask that is empty at {size} x {size} pixels")
    return mask
