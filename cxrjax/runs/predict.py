"""Image files scored by the networks of a finished run, as a table; what is no radiograph is refused."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from cxrjax.base import InputError
from cxrjax.data import decode, reading
from cxrjax.data.decode import Reduction
from cxrjax.data.sources import Bad, Entry, printable
from cxrjax.data.sources.folder import images_under
from cxrjax.runs.trained import TrainedRun

COLUMNS = ("image", "score", "sd", "decision", "refused")
_BLOCK = 1024  # images decoded before the networks see them, 67 MB


class _Looked(NamedTuple):
    image: str
    pixels: np.ndarray | None  # [source, source] u8
    refused: str  # why there are none


def gather(places: Iterable[str | Path]) -> list[Path | Bad]:
    """Image files by name or, of folders, all below in the order of their names; folders that cannot be read as faults.

    Raises:
      InputError: if a place is missing, or a folder holds no image.
    """
    found: list[Path | Bad] = []
    for place in map(Path, places):
        if not os.path.lexists(place):
            raise InputError(f"{printable(str(place))} does not exist")
        images, faults = images_under(place) if place.is_dir() else ([place], [])
        if not images and not faults:
            raise InputError(f"{printable(str(place))} holds no image (PNG, JPEG, TIFF, BMP, DICOM)")
        found += [*faults, *images]
    return found


def predict(
    run: TrainedRun, images: list[Path | Bad], threshold: float = 0.5, accept_anything: bool = False, workers: int = 0
) -> pd.DataFrame:
    """Scores image files.

    Args:
      run: see `trained.load_run`.
      images: see `gather`; reduced as a store's, the whole image to 256x256, or what the network takes (`data.decode`).
      threshold: decision is 1, positive, where the score is above.
      accept_anything: only what cannot be read is refused, not what breaks the rules of `data.decode.check_opened`.
      workers: threads that decode; 0: one a core.

    Returns:
      A row an image, in order: image, score (mean over seeds, 0..1), sd (over seeds, n - 1; NaN of one seed), decision
      (1 or 0), refused ("" or the reason; then the other three are missing).
    """
    side = run.net.model.source
    looked = _look(images, side, accept_anything, workers or os.cpu_count() or 1)
    parts = []
    while block := list(itertools.islice(looked, _BLOCK)):
        parts.append(_table(run, block, threshold))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=list(COLUMNS))


def _look(images: list[Path | Bad], side: int, accept_anything: bool, workers: int) -> Iterator[_Looked]:
    """Decodes in order, in threads."""
    items = (x if isinstance(x, Bad) else Entry(printable(str(x)), str(x), "", x, 0) for x in images)
    check = None if accept_anything else decode.check_opened
    for item, decoded in reading.decoded(items, Reduction(side), workers, check):
        if isinstance(item, Bad):
            yield _Looked(printable(item.image), None, item.reason)
        elif isinstance(item, Entry):
            yield _judge(item.image, decoded, accept_anything)


def _judge(image: str, decoded: decode.Decoded | InputError | None, accept_anything: bool) -> _Looked:
    try:
        if not isinstance(decoded, decode.Decoded):
            raise decoded or InputError("was not read")
        if not accept_anything:
            decode.check_reduced(decoded.pixels)
        return _Looked(image, decoded.pixels, "")
    except InputError as error:
        return _Looked(image, None, " ".join(str(error).split()))


def _table(run: TrainedRun, block: list[_Looked], threshold: float) -> pd.DataFrame:
    """Rows of images that are at hand."""
    good = [i for i, looked in enumerate(block) if looked.pixels is not None]
    score = np.full(len(block), np.nan)
    sd = score.copy()
    if good:
        scores = run(np.stack([looked.pixels for looked in block if looked.pixels is not None])).astype(np.float64)
        score[good] = scores.mean(axis=1)
        sd[good] = scores.std(axis=1, ddof=1) if len(run.seeds) > 1 else np.nan
    decision = pd.array((score > threshold).astype(int), dtype="Int64")
    decision[np.isnan(score)] = pd.NA
    return pd.DataFrame(
        {
            "image": [looked.image for looked in block],
            "score": score,
            "sd": sd,
            "decision": decision,
            "refused": [looked.refused for looked in block],
        }
    )
