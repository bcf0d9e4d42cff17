"""Which images of a run each seed looks at, and what lies where in them: lungs, and boxes around the finding."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from cxrjax.analysis import localisation
from cxrjax.analysis import tables as run_files
from cxrjax.analysis.localisation import BOX, LUNGS, Regions
from cxrjax.analysis.tables import RunTables
from cxrjax.base import InputError
from cxrjax.data import phantom
from cxrjax.interpret import lungs as lung_fields
from cxrjax.models.registry import Model
from cxrjax.runs.results import open_images
from cxrjax.runs.trained import TrainedRun
from cxrjax.storage.store import BOX_COLUMNS, ImageStore, boxes_around

log = logging.getLogger(__name__)


class ExplainedImages(NamedTuple):
    """Positive radiographs that a run's networks are to explain, m of them."""

    image: np.ndarray  # [m] names
    patient: np.ndarray  # [m] str
    pixels: np.ndarray  # [m, crop, crop] u8, centre crops
    side: int  # pixels of the images that they are cut from
    of_seed: dict[int, np.ndarray]  # seed -> places among the m: of patients whom it was not trained on
    lungs: Regions
    boxes: Regions | None  # of the images that have one; None: there are none
    box_table: pd.DataFrame  # the boxes, `store.BOX_COLUMNS`
    lung_source: str  # where the lungs come from, for people
    mean_lungs: np.ndarray  # [227, 227] bool, where at least half of all the lungs lie
    notes: list[str]


def select_images(
    run: TrainedRun, seeds: tuple[int, ...], most: int, most_boxed: int, masks: str | None
) -> ExplainedImages:
    """Chooses the images and finds their regions.

    A seed explains positive images of patients whom it was not trained on: of its validation images, and, where the run
    held patients with boxes out, all that have a box. Those with a box come first, by name.

    Args:
      run: see `trained.load_run`.
      seeds: of these.
      most: images of a seed, where it has no more with boxes.
      most_boxed: images with a box of a seed.
      masks: folder of lung masks; None: the phantom's own, or `lungs.estimate`.

    Raises:
      InputError: if the run's images are not there, or no mask fits.
    """
    model = run.net.model
    made = phantom.embedded() if run.config.data_dir is None else None
    tables = run_files.read(run.folder)
    store = open_images(run.config, run.resolved.data_sha256, model.source, tables.images)
    boxes = _boxes(store, made, run.task.boxed_finding)
    chosen = {seed: _names(tables, seed, store, set(boxes["image"]), most, most_boxed) for seed in seeds}
    lungs, rows, source = _lungs(
        store, made, masks, sorted({name for some in chosen.values() for name in some}), model.crop
    )
    names = store.table["image"].to_numpy(str)[rows]
    place = {name: i for i, name in enumerate(names)}
    notes = [f"{source}."]
    if missing := {name for some in chosen.values() for name in some} - set(names):
        notes.append(f"{len(missing)} images have no lung mask and are left out.")
    if not len(names):
        raise InputError(f"{run.folder}: no image with {run.task.positive.title} is left to be explained")
    patient = store.table["patient"].to_numpy(str)[rows]
    pixels = np.stack([np.asarray(store.images[row][model.middle, model.middle]) for row in rows])
    of_seed = {seed: np.array([place[n] for n in some if n in place], int) for seed, some in chosen.items()}
    regions = _box_regions(boxes, model, names, patient, notes)
    return ExplainedImages(
        names, patient, pixels, model.source, of_seed, Regions(LUNGS, names, patient, lungs), regions, boxes, source,
        lungs.mean(0) >= 0.5, notes,
    )  # fmt: skip


def _boxes(store: ImageStore, made: phantom.Phantom | None, finding: str) -> pd.DataFrame:
    """Boxes around a finding, `store.BOX_COLUMNS`; the phantom's are all around the finding."""
    if made is not None:
        rows = [
            (name, finding, *(value / made.images.shape[1] for value in box))
            for name, own in zip(made.table["image"], made.boxes, strict=True)
            for box in own
        ]
        return pd.DataFrame(rows, columns=list(BOX_COLUMNS))
    return boxes_around(store, finding)


def _names(tables: RunTables, seed: int, store: ImageStore, boxed: set[str], most: int, most_boxed: int) -> list[str]:
    """Of one seed: images of patients whom it was not trained on, those with boxes first."""
    val, train = (table[table["seed"] == seed] for table in (tables.predictions, tables.training))
    unknown = set(store.table["image"][~store.table["patient"].isin(train["patient"])])
    first = sorted(boxed & unknown)[:most_boxed]
    others = sorted((set(val["image"][val["label"] == 1]) & unknown) - boxed)
    return first + others[: max(most - len(first), 0)]


def _lungs(
    store: ImageStore, made: phantom.Phantom | None, masks: str | None, names: list[str], crop: int
) -> tuple[np.ndarray, np.ndarray, str]:
    """Masks [m, 227, 227] bool of the images that have one, their rows in the store, and where they come from."""
    place = {name: row for row, name in enumerate(store.table["image"])}
    if masks is not None:
        found, at = lung_fields.read_masks(Path(masks), names, store.images.shape[1])
        rows, source = np.array([place[names[i]] for i in at], int), f"Lungs: masks in {masks}"
    else:
        rows = np.array([place[name] for name in names], int)
        if made is not None:
            found, source = made.lungs[rows], "Lungs: as the phantom was drawn"
        else:
            found = lung_fields.estimate(np.stack([np.asarray(store.images[row]) for row in rows]))
            source = "Lungs: estimated (cxrjax.interpret.lungs), not drawn by a person"
    return localisation.crop_masks(found, crop), rows, source


def _box_regions(
    boxes: pd.DataFrame, model: Model, names: np.ndarray, patient: np.ndarray, notes: list[str]
) -> Regions | None:
    has = np.isin(names, boxes["image"].to_numpy(str))
    if not has.any():
        notes.append("No image has a box around the finding: localisation is not measured.")
        return None
    made = localisation.box_masks(boxes, list(names[has]), model.source, model.crop)
    inside = made.kept > 0
    if not inside.all():
        notes.append(
            f"{int((~inside).sum())} images left out of localisation: their boxes lie outside the centre crop."
        )
    kept = np.flatnonzero(has)[inside]
    return Regions(BOX, names[kept], patient[kept], made.masks[inside]) if len(kept) else None
