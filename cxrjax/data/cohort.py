"""Who is positive and negative in a task; the negatives drawn for a run; its split into training and validation.

Draw and split are functions of the seed and the sorted image names alone, whatever the order of the store's rows.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from cxrjax.base import InputError
from cxrjax.base.tasks import LabelClass, Task, state
from cxrjax.storage.store import patient_ids


class Cohort(NamedTuple):
    """The images of one run, sorted by name."""

    index: np.ndarray  # type: ignore[assignment]  # [N] i32, row of the store
    label: np.ndarray  # [N] i32, 1 is positive; of many labels [N, K] f32, NaN where unknown
    patient: np.ndarray  # [N] str, see `store.patient_ids`
    unknown: int = 0  # images whose patient is unknown


class Split(NamedTuple):
    """Positions within a Cohort."""

    train: np.ndarray  # [n_train] i32
    val: np.ndarray  # [n_val] i32


# Purposes of the random draws: `default_rng([seed, purpose])`.
_DRAW_NEGATIVES, _SPLIT, _SHUFFLE_LABELS, _SUBSET_TRAIN = range(4)


def members(labels: pd.Series, label_class: LabelClass) -> np.ndarray:
    """Which images belong to a class, [N] bool, from their labels such as `Infiltration|Pneumonia`."""
    return labels.map(label_class.holds).to_numpy(bool)


def states(labels: pd.Series, findings: Sequence[str]) -> np.ndarray:
    """What labels say of each finding, [N, K] f32: 1 present, 0 absent, NaN unknown (`tasks.state`).

    >>> states(pd.Series(["Edema|Pneumonia", "No Finding", "-Pneumonia"]), ["Pneumonia", "Edema"]).tolist()
    [[1.0, 1.0], [0.0, 0.0], [0.0, nan]]
    """
    columns = [labels.map(functools.partial(state, finding=finding)) for finding in findings]
    return np.stack([column.to_numpy(np.float32, na_value=np.nan) for column in columns], axis=1)


def count(listed: Mapping[str, int], label_classes: Sequence[LabelClass]) -> dict[str, int]:
    """Number of images of each class by its name, from images by label as written.

    >>> from cxrjax.base.tasks import PNEUMONIA_CLASSES
    >>> count({"No Finding": 5, "Effusion": 2, "Edema|Pneumonia": 1}, PNEUMONIA_CLASSES)
    {'P': 1, 'NP': 7, 'NF': 5}
    """
    return {c.name: sum(images for label, images in listed.items() if c.holds(label)) for c in label_classes}


def wanted_negatives(negatives: str, positives: int, available: int, ratio: tuple[int, int]) -> int:
    """Number of negatives of one run.

    Args:
      negatives: a number, taken exactly, or "auto", which keeps the ratio, at most as many as there are.
      positives: number of positive images.
      available: number of negatives to draw from.
      ratio: so many negatives (the first) for so many positives, `Task.negatives_per_positives`.

    Raises:
      InputError: if it is neither, below 1, or more than there are.
    """
    if negatives == "auto":
        return min(round(positives * ratio[0] / ratio[1]), available)
    if not negatives.isdecimal() or int(negatives) < 1:
        raise InputError(f"--negatives must be auto or a whole number above 0, got {negatives!r}")
    if int(negatives) > available:
        raise InputError(f"--negatives={negatives} asks for more negatives than there are: {available}")
    return int(negatives)


def draw(table: pd.DataFrame, task: Task, seed: int, negatives: str = "auto", view: str = "all") -> Cohort:
    """All positives, and negatives drawn anew for this seed.

    Args:
      table: an ImageStore's table.
      task: who is positive and negative.
      seed: of the run.
      negatives: see `wanted_negatives`.
      view: all, PA or AP.

    Returns:
      Cohort, sorted by image name.

    Raises:
      InputError: if there are no positives or no negatives, or fewer negatives than asked for.
    """
    order = np.argsort(table["image"].to_numpy(str), kind="stable")
    is_positive, is_negative = (members(table["labels"], c) for c in (task.positive, task.negative))
    in_view = np.ones(len(table), bool) if view == "all" else (table["view"] == view).to_numpy(bool)
    positive, negative = (order[(member & in_view)[order]] for member in (is_positive, is_negative))
    for name, rows in ((task.positive.name, positive), (task.negative.name, negative)):
        if not len(rows):
            raise InputError(f"the data holds no {name} image (view: {view}) among its {len(table)}")
    wanted = wanted_negatives(negatives, len(positive), len(negative), task.negatives_per_positives)
    drawn = np.random.default_rng([seed, _DRAW_NEGATIVES]).choice(negative, wanted, replace=False)
    chosen = np.concatenate([positive, drawn])
    index = order[np.isin(order, chosen)]
    unknown = int((table["patient"].iloc[index] == "").sum())
    return Cohort(
        index.astype(np.int32), is_positive[index].astype(np.int32), patient_ids(table)[index], unknown=unknown
    )


def draw_labelled(table: pd.DataFrame, task: Task, view: str = "all") -> Cohort:
    """All images of which a label of a task of many labels is known; the same for every seed.

    Args:
      table: an ImageStore's table.
      task: whose parts are the labels.
      view: all, PA or AP.

    Returns:
      Cohort, sorted by image name.

    Raises:
      InputError: if there are none, or a part has no positive or no negative image among them.
    """
    label = targets(table["labels"], task)
    in_view = np.ones(len(table), bool) if view == "all" else (table["view"] == view).to_numpy(bool)
    taking_part = in_view & ~np.isnan(label).all(axis=1)
    for part, column in zip(task.parts, label[taking_part].T, strict=True):
        for side, state_ in ((part.positive, 1), (part.negative, 0)):
            if not (column == state_).any():
                raise InputError(f"the data holds no image of {side.title} (view: {view}) among its {len(table)}")
    order = np.argsort(table["image"].to_numpy(str), kind="stable")
    index = order[taking_part[order]]
    unknown = int((table["patient"].iloc[index] == "").sum())
    return Cohort(index.astype(np.int32), label[index], patient_ids(table)[index], unknown=unknown)


def of_label(cohort: Cohort, split: Split, k: int) -> tuple[Cohort, Split]:
    """The images whose label k of many is known, as a cohort of two classes, and their split."""
    known = ~np.isnan(cohort.label[:, k])
    position = np.cumsum(known) - 1
    train, val = (position[side[known[side]]].astype(np.int32) for side in split)
    labels = cohort.label[known, k].astype(np.int32)
    return Cohort(cohort.index[known], labels, cohort.patient[known], cohort.unknown), Split(train, val)


def targets(labels: pd.Series, task: Task) -> np.ndarray:
    """What a network is trained to say of each image: [N] i32, 1 if it is positive; of a task of many labels [N, K]
    f32, 1 or 0, NaN where an image is in neither class of a part."""
    if not task.is_multilabel:
        return members(labels, task.positive).astype(np.int32)
    columns = [
        np.select([members(labels, part.positive), members(labels, part.negative)], [1, 0], np.nan)
        for part in task.parts
    ]
    return np.stack(columns, axis=1).astype(np.float32)


def split(cohort: Cohort, seed: int, val_fraction: float = 0.2, by: str = "patient") -> Split:
    """Splits a cohort, both classes alike, into training and validation; many labels see `_split_labels`.

    by="patient": patients are taken in random order for validation as long as they fit into what each class still
    needs there, so no patient is on both sides and the shares are as near to `val_fraction` as patients allow.
    (A patient with more images than a class needs thus stays in training.)
    by="image": images are taken one by one, as the poster seems to have done; patients may be on both sides.

    Raises:
      InputError: if `val_fraction` leaves a class without training or validation images.
    """
    rng = np.random.default_rng([seed, _SPLIT])
    _, group = np.unique(cohort.patient if by == "patient" else np.arange(len(cohort.index)), return_inverse=True)
    if cohort.label.ndim > 1:
        return _split_labels(cohort, group, rng, val_fraction)
    total = np.bincount(cohort.label, minlength=2)
    images = np.stack([np.bincount(group[cohort.label == c], minlength=group.max() + 1) for c in (0, 1)], axis=1)
    wanted = np.round(total * val_fraction).astype(int)
    in_val = np.zeros(len(images), bool)
    for number in rng.permutation(len(images)):
        if (images[number] <= wanted).all():
            in_val[number] = True
            wanted -= images[number]
    result = _split(in_val[group])
    for side, rows in (("training", result.train), ("validation", result.val)):
        classes = f"{total[1]} positives, {total[0]} negatives, split by {by}"
        _require_both(
            cohort, rows, f"--val_fraction={val_fraction:g} leaves no images of one class for {side}: {classes}"
        )
    if by == "patient":
        check_disjoint(cohort, result)
    return result


def _split_labels(cohort: Cohort, group: np.ndarray, rng: np.random.Generator, val_fraction: float) -> Split:
    """Iterative stratification (Sechidis et al. 2011, ECML PKDD) by patient: from the rarest label to the commonest.

    Patients with the label are taken in random order as long as their images fit into what it and the rarer ones still
    need in validation; at last patients of the others, into what is missing there of all images.
    """
    positive = np.nan_to_num(cohort.label).astype(int)
    rarest_first = np.argsort(positive.sum(axis=0), kind="stable")
    columns = np.concatenate([positive[:, rarest_first], np.ones((len(positive), 1), int)], axis=1)
    images = np.zeros((group.max() + 1, columns.shape[1]), int)
    np.add.at(images, group, columns)
    wanted = np.round(columns.sum(axis=0) * val_fraction).astype(int)
    in_val, order = np.zeros(len(images), bool), rng.permutation(len(images))
    for k in range(columns.shape[1]):
        for number in order[(images[order, k] > 0) & ~in_val[order]]:
            if (images[number, : k + 1] <= wanted[: k + 1]).all():
                in_val[number] = True
                wanted -= images[number]
    result = _split(in_val[group])
    if not len(result.train) or not len(result.val):
        raise InputError(f"--val_fraction={val_fraction:g} leaves no images for training or for validation")
    return result


def _split(in_val: np.ndarray) -> Split:
    return Split(np.flatnonzero(~in_val).astype(np.int32), np.flatnonzero(in_val).astype(np.int32))


def _require_both(cohort: Cohort, rows: np.ndarray, message: str) -> None:
    """Raises an InputError with this message if the rows lack a class; of many labels, if there are none."""
    if len(np.unique(cohort.label[rows])) < 2 and (cohort.label.ndim == 1 or not len(rows)):
        raise InputError(message)


def official_split(cohort: Cohort, table: pd.DataFrame) -> Split:
    """The split that comes with the data: `test` is validation, `train` and `val` are training.

    Args:
      cohort: of the table.
      table: an ImageStore's table; its column split is from NIH's lists or from folders train, val and test.

    Raises:
      InputError: if an image is in none of them, or a class is missing on one side.
    """
    side = table["split"].to_numpy(str)[cohort.index]
    unknown = ~np.isin(side, ("train", "val", "test"))
    if unknown.any():
        name = table["image"].to_numpy(str)[cohort.index][unknown][0]
        raise InputError(
            f"--split_by=official: {unknown.sum()} of {len(side)} images, {name} among them, are in no official split "
            "(train_val_list.txt and test_list.txt beside NIH's table, or folders train, val and test)"
        )
    result = _split(side == "test")
    for name, rows in (("train", result.train), ("test", result.val)):
        _require_both(cohort, rows, f"--split_by=official: one class has no image in the official {name} list")
    return result


def shuffled(label: np.ndarray, seed: int) -> np.ndarray:
    """Labels [n] in random order, for a control: their share stays, what they say of the images is gone."""
    return np.random.default_rng([seed, _SHUFFLE_LABELS]).permutation(label)


def subset_train_patients(cohort: Cohort, split: Split, patients: int, seed: int) -> Split:
    """The same split with fewer patients in training: the first `patients` of one random order of them for each seed,
    so that a smaller number's are among a larger one's.

    Raises:
      InputError: if there are not as many, or only of one class.
    """
    available = np.unique(cohort.patient[split.train])
    if not 0 < patients <= len(available):
        raise InputError(
            f"--train_patients={patients} must be 1 to {len(available)}, the patients in training, seed {seed}"
        )
    chosen = np.random.default_rng([seed, _SUBSET_TRAIN]).permutation(available)[:patients]
    train = split.train[np.isin(cohort.patient[split.train], chosen)]
    _require_both(cohort, train, f"--train_patients={patients} leaves no training image of one class, seed {seed}")
    return Split(train, split.val)


def exclude_from_training(cohort: Cohort, split: Split, patients: np.ndarray) -> Split:
    """The same split without these patients, [P] str, in training; validation stays as it is.

    Raises:
      InputError: if training is left without an image of one class.
    """
    train = split.train[~np.isin(cohort.patient[split.train], patients)]
    _require_both(cohort, train, f"holding {len(patients)} patients out leaves no training image of one class")
    return Split(train, split.val)


def check_disjoint(cohort: Cohort, split: Split) -> None:
    """Refuses a split with a patient on both sides.

    Raises:
      ValueError: naming how many patients, and one of them.
    """
    both = np.intersect1d(cohort.patient[split.train], cohort.patient[split.val])
    if len(both):
        raise ValueError(f"{len(both)} patient(s) are in training and in validation, {both[0]} among them")


def contaminated_share(cohort: Cohort, split: Split) -> float:
    """Share of validation images, 0..1, whose patient also has an image in training; NaN where some are unknown."""
    if cohort.unknown:
        return math.nan
    return float(np.isin(cohort.patient[split.val], cohort.patient[split.train]).mean())
