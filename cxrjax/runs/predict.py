"""Image files scored by the networks of a finished run, or of several; what is no radiograph is refused."""

from __future__ import annotations

import itertools
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from cxrjax.analysis.ensemble import mean_log_odds
from cxrjax.base import InputError, progress
from cxrjax.base.tasks import Task
from cxrjax.data import decode, reading
from cxrjax.data.decode import Reduction
from cxrjax.data.sources import Bad, Entry, printable
from cxrjax.data.sources.image_files import count_passed_over, images_under
from cxrjax.interpret.lungs import REGIONS
from cxrjax.runs.trained import BLOCK, TrainedRun

log = logging.getLogger(__name__)

COLUMNS = ("image", "score", "sd", "decision", "refused")  # of `predict`, of a task of two classes


class Scores(NamedTuple):
    """What the networks say of image files."""

    images: list[str]
    refused: list[str]  # why an image has no score, or ""
    networks: np.ndarray  # [N, S] f64, 0..1, of many labels [N, S, K]; NaN where refused


def gather(places: Iterable[str | Path]) -> list[Path | Bad]:
    """Image files by name or, of folders, all below in the order of their names; folders that cannot be read as faults.

    Raises:
      InputError: if a place is missing, or a folder holds no image.
    """
    paths: list[Path | Bad] = []
    for place in map(Path, places):
        if not os.path.lexists(place):
            raise InputError(f"{printable(str(place))} does not exist")
        images, faults = images_under(place) if place.is_dir() else ([place], [])
        passed_over = count_passed_over(faults)
        if passed_over:
            log.warning("%s: %s", printable(str(place)), passed_over)
        faults = [fault for fault in faults if not fault.passed_over]
        if not images and not faults:
            raise InputError(f"{printable(str(place))} holds no image (PNG, JPEG, TIFF, BMP, DICOM)")
        paths += [*faults, *images]
    return paths


def predict(
    runs: Sequence[TrainedRun],
    images: list[Path | Bad],
    threshold: float | np.ndarray = 0.5,
    accept_anything: bool = False,
    workers: int = 0,
    recalibrate: Callable[[np.ndarray], np.ndarray] | None = None,
) -> pd.DataFrame:
    """Scores image files: by one run the mean of its seeds' scores, by several expit of the mean of all their log odds.

    Args:
      runs: see `load_run`; several of one task, whose networks may differ.
      images: see `gather`; reduced as each run's own were.
      threshold: decision is 1, positive, where the score is above; of many labels [] or [K].
      accept_anything: only what cannot be read is refused, not what breaks the rules of `data.screening`.
      workers: threads that decode; 0: one a core.
      recalibrate: of two classes, what scores become before the decision, see `runs.recalibrate.read`.

    Returns:
      A row an image, in order: image, score (0..1), sd (over networks, n - 1; NaN of one), decision (1 or 0), refused
      ("" or the reason; then the other three are missing). Of many labels: image, findings (those whose score is above
      the threshold, `Effusion|Mass`), the score of each, by its name, refused.
    """
    scores = _joined([score(run, images, accept_anything, workers) for run in runs])
    mean = scores.networks.mean(axis=1)
    if len(runs) > 1:
        good = np.array([not reason for reason in scores.refused], bool)
        mean[good] = mean_log_odds(np.moveaxis(scores.networks[good], 1, 0))
    if recalibrate:
        scores, mean = scores._replace(networks=recalibrate(scores.networks)), recalibrate(mean)
    return _table(runs[0].task, scores, mean, threshold)


def chosen_threshold(runs: Sequence[TrainedRun]) -> float | np.ndarray:
    """Mean over all networks of the thresholds that they chose on their training images; of many labels [K]."""
    return np.average([run.threshold for run in runs], axis=0, weights=[len(run.seeds) for run in runs])


def score(run: TrainedRun, images: list[Path | Bad], accept_anything: bool = False, workers: int = 0) -> Scores:
    """What each network of a run says of image files; arguments as of `predict`."""
    items = _decode(images, run.reduction, accept_anything, workers or os.cpu_count() or 1)
    labels = [len(run.task.parts)] * run.task.is_multilabel
    scores = Scores([], [], np.full((len(images), len(run.seeds), *labels), np.nan))
    with progress.stage("scoring", len(images), "images") as bar:
        while block := list(itertools.islice(items, BLOCK)):
            first = len(scores.images)
            scores.images.extend(image for image, _, _ in block)
            scores.refused.extend(reason for _, _, reason in block)
            rows = [first + i for i, (_, pixels, _) in enumerate(block) if pixels is not None]
            if rows:
                scores.networks[rows] = run(np.stack([pixels for _, pixels, _ in block if pixels is not None]))
            bar.advance(len(block))
    return scores


def _joined(scores: Sequence[Scores]) -> Scores:
    """Networks of several runs; an image is refused that one of them refuses."""
    refused = [next(filter(None, reasons), "") for reasons in zip(*(of.refused for of in scores), strict=True)]
    networks = np.concatenate([of.networks for of in scores], axis=1)
    networks[np.array(refused, object) != ""] = np.nan
    return Scores(scores[0].images, refused, networks)


def _decode(
    images: list[Path | Bad], reduction: Reduction, accept_anything: bool, workers: int
) -> Iterator[tuple[str, np.ndarray | None, str]]:
    """In order, in threads: of each image its name, its pixels [size, size] u8 or None, and why there are none."""
    items = (x if isinstance(x, Bad) else Entry(printable(str(x)), str(x), "", x, 0) for x in images)
    for item, decoded in reading.decoded(items, reduction, workers, REGIONS.get(reduction.crop)):
        if isinstance(item, Bad):
            yield printable(item.image), None, item.reason
        elif isinstance(item, Entry):
            try:
                if not isinstance(decoded, decode.Decoded):
                    raise decoded or InputError("was not read")
                if decoded.doubt and not accept_anything:
                    raise InputError(decoded.doubt.reason)
                for note in decoded.notes:
                    log.warning("%s: %s", item.image, note)
                yield item.image, decoded.pixels, ""
            except InputError as error:
                yield item.image, None, " ".join(str(error).split())


def _table(task: Task, scores: Scores, mean: np.ndarray, threshold: float | np.ndarray) -> pd.DataFrame:
    """What `predict` returns.

    Args:
      task: that the networks were asked.
      scores: of the networks.
      mean: [N] or [N, K] of all of them.
      threshold: [] or [K].
    """
    table = pd.DataFrame({"image": scores.images})
    good = np.array([not reason for reason in scores.refused], bool)
    if task.is_multilabel:
        findings = np.array([part.positive.finding for part in task.parts])
        table["findings"] = ["|".join(findings[row]) for row in mean > threshold]
        table[list(findings)] = mean
    else:
        table["score"] = mean
        table["sd"] = scores.networks.std(axis=1, ddof=1) if scores.networks.shape[1] > 1 else np.nan
        table["decision"] = pd.array((mean > threshold).astype(int), dtype="Int64")
        table.loc[~good, "decision"] = pd.NA
    table["refused"] = scores.refused
    return table
