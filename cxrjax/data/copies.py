"""Images of one set that are another set's: by their pixels, or by their looks where resized or saved anew."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from PIL import Image

from cxrjax.storage.store import hash_rows, read_rows

# Measured on nih-2k (1,823 images) and kermany-1k (1,000) at 256 pixels: different patients are at most 0.81 (NIH),
# 0.74 (Kermany) and 0.65 (NIH x Kermany) alike, films of one patient 0.83 but for one film that NIH has twice (1.0).
# Of copies 99 % are above 0.98 where resized to 128..1024 pixels and saved as JPEG 75, or after gamma 0.7 or 1.4; 0.95
# after brightness + 40 or contrast x 1.5, 0.92 after a turn by 1 degree or a crop of 1 %, 0.9 after equalisation.
SIMILAR = 0.9
_SIDE = 32  # pixels of the thumbnail: 16 tells patients apart less well, 64 finds fewer copies
_NOISE = 1.0  # grey levels between neighbours that count as nothing; of a blank image all do
_BLOCK = 512  # images that are compared at once with all others


class Copies(NamedTuple):
    """For each of M images, which image of another set it is."""

    rows: np.ndarray  # [M] int64, a row of the other set; -1: none
    same_pixels: np.ndarray  # [M] bool, the two are equal in every pixel
    similarity: np.ndarray  # [M] float32, -1..1, of the most similar image; 1 of equal pixels


def find(images: np.ndarray, others: np.ndarray, rows: np.ndarray | None = None) -> Copies:
    """Looks for each of `others` among `images`: equal pixels by SHA-256, else the most similar one by `fingerprints`.

    Found are copies that were resized, recompressed, blurred, sharpened or brightened, or whose contrast was changed;
    not those that were inverted, mirrored, turned by 3 degrees, cropped by 2 % a side or written upon in large letters.

    Time and memory: 100,000 x 10,000 images of 256 pixels take 3 minutes on 2 CPU cores, 0.5 GB of memory.

    Args:
      images: [N, s, s] u8, 0 is black; a memory map is read in parts.
      others: [M, t, t] u8, of the same size or another.
      rows: [n] int, those of `images` that count; None: all.

    Returns:
      See `Copies`.
    """
    rows = np.arange(len(images)) if rows is None else np.asarray(rows)
    copies = _similar(images, others, rows)
    if images.shape[1:] == others.shape[1:]:
        row_of = {digest: row for row, digest in reversed(hash_rows(images, rows).items())}
        for other, digest in hash_rows(others, np.arange(len(others))).items():
            if digest in row_of:
                copies.rows[other], copies.same_pixels[other], copies.similarity[other] = row_of[digest], True, 1
    return copies


def without_copies(table: pd.DataFrame, digests: Sequence[str]) -> tuple[pd.DataFrame, list[tuple[str, str, bool]]]:
    """A set without those images of unknown patients whose pixels are another's, as a split could part the two.

    The label of an image whose copies are left out is the one that all tell which tell any, else unknown.

    Args:
      table: columns image, patient, labels; "" is unknown.
      digests: [N] of the pixels.

    Returns:
      What stays; and image, what is to be said, whether it is left out, of each whose pixels are those of another.
    """
    images, patients, labels = (table[name].to_numpy(object) for name in ("image", "patient", "labels"))
    united, leaves, reasons = labels.copy(), np.zeros(len(table), bool), []
    for rows in pd.Series(digests).groupby(np.array(digests, object), sort=False).indices.values():
        stay = [row for row in rows if patients[row]] or [rows[0]]
        first = stay[0]
        for row in (row for row in rows if row != first):
            leaves[row] = row not in stay
            reason = f"same pixels as {images[first]}"
            for what, values in (("label", labels), ("patient", patients)):
                is_other = values[row] != values[first] and (what == "label" or values[row])
                reason += f", whose {what} is {values[first]!r}, not {values[row]!r}" if is_other else ""
            reason += "; left out, its patient is unknown" if leaves[row] else ""
            reasons.append((images[row], reason, bool(leaves[row])))
        if leaves[rows].any():
            different = {labels[row] for row in rows} - {""}
            united[stay] = different.pop() if len(different) == 1 else ""
    return table.assign(labels=united)[~leaves].reset_index(drop=True), reasons


def _similar(images: np.ndarray, others: np.ndarray, rows: np.ndarray) -> Copies:
    """The most similar image of each, and whether it is similar enough."""
    nearest, similarity = np.full(len(others), -1), np.full(len(others), -1, np.float32)
    parts = _fingerprints(others, np.arange(len(others)))
    wanted = np.concatenate([fingerprints(others[:0]), *(block for _, block in parts)])
    for part, block in _fingerprints(images, rows):
        products = wanted @ block.T
        best = products.argmax(axis=1)
        values = np.take_along_axis(products, best[:, None], axis=1)[:, 0]
        better = values > similarity
        nearest[better], similarity[better] = part[best[better]], values[better]
    return Copies(np.where(similarity >= SIMILAR, nearest, -1), np.zeros(len(others), bool), similarity)


def _fingerprints(images: np.ndarray, rows: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for start in range(0, len(rows), _BLOCK):
        part = rows[start : start + _BLOCK]
        yield part, fingerprints(read_rows(images, part))


def fingerprints(images: np.ndarray) -> np.ndarray:
    """What stays of images when they are resized or recompressed: the gradient of a thumbnail, of unit length.

    Gradients, not grey levels: those of any two chests are alike (up to 0.97). g / sqrt(|g|) keeps the edges of letters
    and borders from outweighing the chest.

    Args:
      images: [n, s, s] u8 of any size s.

    Returns:
      [n, 2 (side - 1)^2] float32; zeros of an image without edges, which is like none.
    """
    size = (_SIDE, _SIDE)
    thumbnails = [np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BOX)) for image in images]
    grey = np.array(thumbnails, np.float32).reshape(-1, *size)
    gradient = np.stack([grey[:, :-1, 1:] - grey[:, :-1, :-1], grey[:, 1:, :-1] - grey[:, :-1, :-1]], axis=1)
    length = np.sqrt((gradient**2).sum(axis=1, keepdims=True))
    features = np.where(length > _NOISE, gradient / np.sqrt(length + 1), 0).reshape(-1, 2 * (_SIDE - 1) ** 2)
    norm = np.linalg.norm(features, axis=1, keepdims=True)
    return (features / np.where(norm > 0, norm, 1)).astype(np.float32)
