"""Other labels of the same images, from a table by image name: for training, evaluation or both."""

from __future__ import annotations

import logging
from collections import Counter
from pathlib import Path

import pandas as pd

from cxrjax.base import InputError
from cxrjax.base.tasks import Task
from cxrjax.data import classes, cohort, labels
from cxrjax.data.cohort import Cohort, Split
from cxrjax.data.phrases import Vocabulary
from cxrjax.data.sources import delimited, table
from cxrjax.data.sources.paths import find_rows
from cxrjax.storage.store import About, ImageStore, label_counts

log = logging.getLogger(__name__)

TRAINING = "training_labels"  # column of a store's table: with what its images are trained, where that is not `labels`
_LOGGED = 8  # spellings of labels in the log


def replace(
    store: ImageStore, about: About, path: Path, vocabulary: Vocabulary, purpose: str
) -> tuple[ImageStore, About]:
    """The store with the labels of a table in place of its own; images that the table does not name keep theirs.

    Args:
      store: of the images.
      about: of the store.
      path: of a table with the columns path and label (also by NIH's names), or path and one column a finding.
      vocabulary: how its labels are read.
      purpose: `both`, or `training` or `evaluation` alone: the table then has two columns of labels, see `TRAINING`.

    Raises:
      InputError: if it is no such table, a label is not understood, or it fits no image.
    """
    changed, counts = changed_labels(store.table, path, vocabulary, purpose)
    columns = {
        "both": {"labels": changed},
        "training": {TRAINING: changed},
        "evaluation": {"labels": changed, TRAINING: store.table["labels"]},
    }[purpose]
    relabelled = store._replace(table=store.table.assign(**columns))
    listed = Counter(about.listed)
    if listed:  # images that are there count by the labels that they have now
        listed.subtract(label_counts(store.table))
        listed.update(label_counts(relabelled.table))
    return relabelled, about._replace(relabelled=counts | {"purpose": purpose}, listed=dict(+listed))


def changed_labels(
    images: pd.DataFrame, path: Path, vocabulary: Vocabulary, purpose: str
) -> tuple[pd.Series, dict[str, int]]:
    """Labels of images with those of a table in place of their own, and how many were replaced, which is logged.

    Args:
      images: image, labels.
      path, vocabulary, purpose: see `replace`.

    Raises:
      InputError: see `replace`.
    """
    given = _read(path, vocabulary, images["image"])
    rows = pd.Index(images["image"]).get_indexer(given["image"])
    changed = images["labels"].copy()
    changed.iloc[rows] = given["labels"]
    differs = changed.str.split("|").map(frozenset) != images["labels"].str.split("|").map(frozenset)
    unknown = int((given["labels"] == "").sum())
    counts = {"images": len(rows), "of": len(images), "changed": int(differs.sum()), "unknown": unknown}
    log.info(
        "%s: labels for %s of %d of %d images, %d of which change, %d to unknown; the other images keep their labels",
        path, purpose, *counts.values(),
    )  # fmt: skip
    return changed, counts


def _read(path: Path, vocabulary: Vocabulary, images: pd.Series) -> pd.DataFrame:
    """A row an image that is there: image, labels; what the rows of one image tell differently is unknown."""
    raw = delimited.read(path)
    chosen = table.find_columns(path, list(raw.columns), {})
    table.require_path(path, raw, chosen)
    binary = table.label_columns(path, raw, chosen, vocabulary)
    rows = find_rows(list(raw[chosen["path"]]), images)
    if not (rows >= 0).any():
        example = next(iter(raw[chosen["path"]]), "no row")
        raise InputError(
            f"--labels={path} fits no image of the data: the table has {example!r}, the data {images.iloc[0]!r}"
        )
    reading = table.read_labels(path, raw, chosen, binary, vocabulary)
    told = table.told_columns(path, raw, chosen, binary)
    log.info("%s; %d of %d rows are of images that are not in the data", told, (rows < 0).sum(), len(rows))
    for line in labels.lines(reading.spellings(rows >= 0), _LOGGED):
        log.info("%s", line)
    each = pd.DataFrame({"image": images.to_numpy(str)[rows], "labels": reading.labels})[rows >= 0]
    united, problems = table.unite_rows(each, path)
    if contradictions := table.told_contradictions(problems):
        log.warning("%s: %s", path, contradictions)
    return united


def trained_as(who: Cohort, split: Split, given: pd.Series, task: Task) -> tuple[Cohort, Split]:
    """The cohort with other labels of its training images; one that they put in no class of the task leaves training.

    Args:
      who: the images of a run.
      split: of these.
      given: labels of all images of the store.
      task: of the run.

    Raises:
      InputError: if training is left without an image of one class.
    """
    of_train = given.iloc[who.index[split.train]]
    label, stays = classes.in_class(of_train, task)
    train = split.train[stays]
    every = who.label.copy()
    every[train] = label[stays]
    result = who._replace(label=every)
    cohort.require_both(result, train, "--labels leave no training image of one class")
    return result, Split(train, split.val)
