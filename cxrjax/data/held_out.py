"""Images held out of every run: all of some patients, whom the data's own list, boxes, a file or a share tell."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pandas as pd

from cxrjax.base import InputError
from cxrjax.base.config import BOXES, OFFICIAL, test_share
from cxrjax.base.tasks import Task
from cxrjax.data import cohort
from cxrjax.data.cohort import Cohort
from cxrjax.data.sources import delimited
from cxrjax.data.sources.paths import find_rows
from cxrjax.storage.store import ImageStore, patient_ids, patients_with_box

log = logging.getLogger(__name__)


def patients(test: str, store: ImageStore, everyone: Cohort, task: Task) -> np.ndarray:
    """Patients, [P] str, who are in no run's training or validation, the same for every seed.

    Args:
      test: `official`: with an image in the data's own test list or folder; `boxes`: with a box around a finding of
        the task; a number between 0 and 1: of about this share of the images of each class; else a file with names of
        images, one a line.
      store: of the images.
      everyone: see `cohort.eligible`.
      task: of the runs.

    Raises:
      InputError: if the data have no such list or box, the file is missing or fits no image.
    """
    share = test_share(test)
    if share is not None:
        return cohort.patients_of_share(everyone, share)
    if test == BOXES:
        chosen = patients_with_box(store, task.boxed_finding)
        if not len(chosen):
            raise InputError(f"--test=boxes needs boxes of {task.positive.title} (BBox_List_2017.csv); there are none")
        return chosen
    if test == OFFICIAL:
        is_named = (store.table["split"] == "test").to_numpy(bool)
        if not is_named.any():
            raise InputError(
                "--test=official: no image is in an official test list (test_list.txt beside NIH's table, a folder or "
                "a column that says test)"
            )
    else:
        is_named = _listed(Path(test), store.table)
    return np.unique(patient_ids(store.table)[is_named])


def _listed(path: Path, table: pd.DataFrame) -> np.ndarray:
    """Images that a file names, [N] bool."""
    try:
        names = [line.strip() for line in delimited.text_of(path).splitlines() if line.strip()]
    except OSError as error:
        raise InputError(f"--test={path} must be official, boxes, a share or a file: {error.strerror}") from error
    rows = find_rows(names, table["image"])
    if not (rows >= 0).any():
        raise InputError(f"--test={path} names no image of the data: {', '.join(names[:1]) or 'it is empty'}")
    log.info("--test=%s: %d of its %d names are images of the data", path, (rows >= 0).sum(), len(names))
    is_named = np.zeros(len(table), bool)
    is_named[rows[rows >= 0]] = True
    return is_named
