"""Which images of a run each seed looks at, and what lies where in them: lungs, and boxes around the finding."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from cxrjax.analysis import localisation
from cxrjax.analysis import tables as run_files
from cxrjax.analysis.localisation import BOX, LUNGS, Regions
from cxrjax.analysis.tables import RunTables
from cxrjax.base import InputError
from cxrjax.base.codes import code
from cxrjax.data import phantom
from cxrjax.interpret import lungs as lung_fields
from cxrjax.runs.results import open_images
from cxrjax.runs.trained import TrainedRun
from cxrjax.storage.store import BOX_COLUMNS, ImageStore, boxes_around


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
    notes: list[str]  # codes; the first says where the lungs come from

    @property
    def mean_lungs(self) -> np.ndarray:
        """Where at least half of all the lungs lie, [crop, crop] bool."""
        return np.asarray(self.lungs.masks.mean(0) >= 0.5)

    @property
    def explained(self) -> np.ndarray:
        """Places among the m that some seed explains, sorted."""
        return np.unique(np.concatenate(list(self.of_seed.values())))


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
    drawn = phantom.embedded() if run.config.data_dir is None else None
    tables = run_files.read(run.folder)
    store = open_images(run.config, run.resolved.data_sha256, model.source, tables.images)
    finding = run.task.boxed_finding
    boxes = boxes_around(store, finding) if drawn is None else _drawn_boxes(drawn, finding)
    chosen = {seed: _choose(tables, seed, store, set(boxes["image"]), most, most_boxed) for seed in seeds}
    wanted = sorted(set[str]().union(*chosen.values()))
    rows = pd.Index(store.table["image"]).get_indexer(wanted)
    lung_masks, positions, note = _lungs(store, rows, wanted, drawn, masks)
    notes, rows = [note], rows[positions]
    if len(rows) < len(wanted):
        notes.append(code("no_lung_mask", n=len(wanted) - len(rows)))
    if not len(rows):
        raise InputError(f"{run.folder}: no image with {run.task.positive.title} is left to explain")
    image, patient = (store.table[column].to_numpy(str)[rows] for column in ("image", "patient"))
    pixels = np.stack([np.asarray(store.images[row][model.middle, model.middle]) for row in rows])
    pixels = np.asarray(run.net.trunk.prepared(pixels))
    places = {seed: pd.Index(image).get_indexer(names) for seed, names in chosen.items()}
    lungs = Regions(LUNGS, image, patient, localisation.crop_masks(lung_masks, model.crop))
    regions = _box_regions(boxes, model.source, lungs, notes)
    of_seed = {seed: at[at >= 0] for seed, at in places.items()}
    return ExplainedImages(image, patient, pixels, model.source, of_seed, lungs, regions, boxes, notes)


def _drawn_boxes(drawn: phantom.Phantom, finding: str) -> pd.DataFrame:
    """The phantom's boxes, `store.BOX_COLUMNS`, which are all around the finding."""
    rows = [
        (name, finding, *(value / drawn.images.shape[1] for value in box))
        for name, of_image in zip(drawn.table["image"], drawn.boxes, strict=True)
        for box in of_image
    ]
    return pd.DataFrame(rows, columns=list(BOX_COLUMNS))


def _choose(tables: RunTables, seed: int, store: ImageStore, boxed: set[str], most: int, most_boxed: int) -> list[str]:
    """Of one seed: images of patients whom it was not trained on, those with boxes first."""
    val, train = (table[table["seed"] == seed] for table in (tables.predictions, tables.training))
    unknown = set(store.table["image"][~store.table["patient"].isin(train["patient"])])
    first = sorted(boxed & unknown)[:most_boxed]
    others = sorted((set(val["image"][val["label"] == 1]) & unknown) - boxed)
    return first + others[: max(most - len(first), 0)]


def _lungs(
    store: ImageStore, rows: np.ndarray, names: list[str], drawn: phantom.Phantom | None, masks: str | None
) -> tuple[np.ndarray, np.ndarray, str]:
    """Masks [m, side, side] bool of the images that have one, their positions among the names, and a note on them."""
    if masks is not None:
        read = lung_fields.read_masks(Path(masks), names, store.images.shape[1])
        return *read, code("lungs_of_masks", folder=masks)
    every = np.arange(len(rows))
    if drawn is not None:
        return drawn.lungs[rows], every, code("lungs_drawn")
    return lung_fields.estimate(np.asarray(store.images[rows])), every, code("lungs_estimated")


def _box_regions(boxes: pd.DataFrame, side: int, lungs: Regions, notes: list[str]) -> Regions | None:
    """Boxes of the images whose lungs are known, as pixels of the same crop; notes what is left out."""
    boxed = np.flatnonzero(np.isin(lungs.image, boxes["image"].to_numpy(str)))
    if not len(boxed):
        notes.append(code("no_box"))
        return None
    masks, kept = localisation.box_masks(boxes, list(lungs.image[boxed]), side, lungs.masks.shape[1])
    inside = kept > 0
    if not inside.all():
        notes.append(code("boxes_outside_crop", n=int((~inside).sum())))
    boxed = boxed[inside]
    return Regions(BOX, lungs.image[boxed], lungs.patient[boxed], masks[inside]) if len(boxed) else None
