"""Who is positive and negative in a task; the negatives drawn for a run; its split into training and validation.

Draw and split are functions of the seed and the sorted image names alone, whatever the order of the store's rows.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import NamedTuple

import numpy as np
import pandas as pd

from cxrjax.base import InputError
from cxrjax.base.tasks import LabelClass, Task, present
from cxrjax.data import matching
from cxrjax.data.classes import in_class
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


# Purposes of the random draws: `default_rng([seed, purpose])`; `plan.oversample` and `thinning` have the next.
_DRAW_NEGATIVES, _SPLIT, _SHUFFLE_LABELS, _SUBSET_TRAIN, _MATCH, _HOLD_OUT = range(6)


def wanted_negatives(negatives: str, positives: int, available: int, ratio: tuple[int, int]) -> int:
    """Number of negatives of one run.

    Args:
      negatives: a number, taken exactly, "all", or "auto", which keeps the ratio, at most as many as there are.
      positives: number of positive images.
      available: number of negatives to draw from.
      ratio: so many negatives (the first) for so many positives, `Task.negatives_per_positives`.

    Raises:
      InputError: if it is neither, below 1, or more than there are.
    """
    if negatives == "all":
        return available
    if negatives == "auto":
        return min(round(positives * ratio[0] / ratio[1]), available)
    if not negatives.isdecimal() or int(negatives) < 1:
        raise InputError(f"--negatives must be auto, all or a whole number above 0, got {negatives!r}")
    if int(negatives) > available:
        raise InputError(f"--negatives={negatives} asks for more negatives than there are: {available}")
    return int(negatives)


def eligible(table: pd.DataFrame, task: Task, view: str = "all") -> Cohort:
    """All images of a class of a task, of many labels all of which one is known.

    Args:
      table: an ImageStore's table.
      task: who is positive and negative.
      view: all, PA or AP.

    Returns:
      Cohort, sorted by image name.

    Raises:
      InputError: if a class, or a class of a part, has no image.
    """
    label, takes_part = in_class(table["labels"], task)
    takes_part &= np.ones(len(table), bool) if view == "all" else (table["view"] == view).to_numpy(bool)
    for part, column in zip(task.questions, label[takes_part].T.reshape(len(task.questions), -1), strict=True):
        for side, state_ in ((part.positive, 1), (part.negative, 0)):
            if not (column == state_).any():
                raise InputError(_no_image(side, table, view))
    order = np.argsort(table["image"].to_numpy(str), kind="stable")
    index = order[takes_part[order]]
    return _of_rows(table, index, label[index])


def _of_rows(table: pd.DataFrame, index: np.ndarray, label: np.ndarray) -> Cohort:
    unknown = int((table["patient"].iloc[index] == "").sum())
    return Cohort(index.astype(np.int32), label, patient_ids(table)[index], unknown)


def _no_image(side: LabelClass, table: pd.DataFrame, view: str) -> str:
    images = Counter(finding for labels in table["labels"] for finding in present(labels))
    there = ", ".join(f"{finding} ({n})" for finding, n in images.most_common(20))
    return (
        f"the data hold no image of {side.title} (view: {view}) among their {len(table)}; they have: {there or 'none'}"
    )


def draw(
    table: pd.DataFrame, task: Task, seed: int, negatives: str = "auto", view: str = "all", match: tuple[str, ...] = ()
) -> Cohort:
    """The images of one run: all positives, and negatives drawn anew for this seed; of many labels all, for every seed.

    Args:
      table: an ImageStore's table.
      task: who is positive and negative.
      seed: of the run.
      negatives: see `wanted_negatives`.
      view: all, PA or AP.
      match: variables by which each stratum has as many images of either class, see `matching.draw`.

    Returns:
      Cohort, sorted by image name.

    Raises:
      InputError: see `eligible`; if there are fewer negatives than asked for, or no stratum with both classes.
    """
    everyone = eligible(table, task, view)
    if task.is_multilabel:
        return everyone
    if match:
        stratum = matching.strata(table.iloc[everyone.index], match)
        chosen = matching.draw(stratum, everyone.label, np.random.default_rng([seed, _MATCH]))
    else:
        positive, negative = (np.flatnonzero(everyone.label == side) for side in (1, 0))
        wanted = wanted_negatives(negatives, len(positive), len(negative), task.negatives_per_positives)
        drawn = np.random.default_rng([seed, _DRAW_NEGATIVES]).choice(negative, wanted, replace=False)
        chosen = np.sort(np.concatenate([positive, drawn]))
    return _of_rows(table, everyone.index[chosen], everyone.label[chosen])


def hold_out(table: pd.DataFrame, everyone: Cohort, patients: np.ndarray) -> tuple[pd.DataFrame, Cohort]:
    """The table without labels of these patients, [P] str, so that they are in no class, and their images of a class.

    Args:
      table: an ImageStore's table.
      everyone: see `eligible`.
      patients: see `held_out.patients`.

    Raises:
      InputError: if none of their images is of a class.
    """
    chosen = np.isin(everyone.patient, patients)
    if not chosen.any():
        raise InputError(f"--test: none of the images of its {len(patients)} patients is of a class of the task")
    rest = table.assign(labels=table["labels"].mask(np.isin(patient_ids(table), patients), ""))
    return rest, _of_rows(table, everyone.index[chosen], everyone.label[chosen])


def of_label(cohort: Cohort, split: Split, k: int) -> tuple[Cohort, Split]:
    """The images whose label k of many is known, as a cohort of two classes, and their split."""
    known = ~np.isnan(cohort.label[:, k])
    position = np.cumsum(known) - 1
    train, val = (position[side[known[side]]].astype(np.int32) for side in split)
    labels = cohort.label[known, k].astype(np.int32)
    return Cohort(cohort.index[known], labels, cohort.patient[known], cohort.unknown), Split(train, val)


def split(cohort: Cohort, seed: int, val_fraction: float = 0.2, by: str = "patient") -> Split:
    """Splits a cohort, both classes or all labels alike, into training and validation.

    by="patient": no patient is on both sides, and the shares are as near to `val_fraction` as patients allow.
    by="image": images are taken one by one, as the poster seems to have done; patients may be on both sides.

    Raises:
      InputError: if `val_fraction` leaves a class without training or validation images.
    """
    in_val = _share(cohort, np.random.default_rng([seed, _SPLIT]), val_fraction, by)
    result = Split(np.flatnonzero(~in_val).astype(np.int32), np.flatnonzero(in_val).astype(np.int32))
    for side, rows in (("training", result.train), ("validation", result.val)):
        require_both(
            cohort, rows, f"--val_fraction={val_fraction:g} leaves no images of one class for {side}: "
            f"{_sizes(cohort.label)}, split by {by}"
        )  # fmt: skip
    if by == "patient":
        check_disjoint(cohort, result)
    return result


def _sizes(label: np.ndarray) -> str:
    if label.ndim > 1:
        return f"{len(label)} images"
    return f"{(label == 1).sum()} positives, {(label == 0).sum()} negatives"


def patients_of_share(everyone: Cohort, share: float) -> np.ndarray:
    """Patients, [P] str, with about this share, 0..1, of the images of each class or label; whatever the seeds."""
    return np.unique(everyone.patient[_share(everyone, np.random.default_rng([0, _HOLD_OUT]), share)])


def _share(cohort: Cohort, rng: np.random.Generator, share: float, by: str = "patient") -> np.ndarray:
    """Which images make up a share of each class or label, [N] bool: whole patients, or single images.

    Of two classes patients are taken in random order as long as they fit into what each class still needs. (One with
    more images than a class needs thus is not taken.) Of many labels see `_share_of_labels`.
    """
    _, group = np.unique(cohort.patient if by == "patient" else np.arange(len(cohort.index)), return_inverse=True)
    if cohort.label.ndim > 1:
        return _share_of_labels(cohort, group, rng, share)
    images = np.stack([np.bincount(group[cohort.label == c], minlength=group.max() + 1) for c in (0, 1)], axis=1)
    wanted = np.round(images.sum(axis=0) * share).astype(int)
    taken = np.zeros(len(images), bool)
    for number in rng.permutation(len(images)):
        if (images[number] <= wanted).all():
            taken[number] = True
            wanted -= images[number]
    return np.asarray(taken[group])


def _share_of_labels(cohort: Cohort, group: np.ndarray, rng: np.random.Generator, share: float) -> np.ndarray:
    """Iterative stratification (Sechidis et al. 2011, ECML PKDD) by patient: from the rarest label to the commonest.

    Patients with the label are taken in random order as long as their images fit into what it and the rarer ones still
    need; at last patients of the others, into what is missing of all images.
    """
    positive = np.nan_to_num(cohort.label).astype(int)
    rarest_first = np.argsort(positive.sum(axis=0), kind="stable")
    columns = np.concatenate([positive[:, rarest_first], np.ones((len(positive), 1), int)], axis=1)
    images = np.zeros((group.max() + 1, columns.shape[1]), int)
    np.add.at(images, group, columns)
    wanted = np.round(columns.sum(axis=0) * share).astype(int)
    taken, order = np.zeros(len(images), bool), rng.permutation(len(images))
    for k in range(columns.shape[1]):
        for number in order[(images[order, k] > 0) & ~taken[order]]:
            if (images[number, : k + 1] <= wanted[: k + 1]).all():
                taken[number] = True
                wanted -= images[number]
    return np.asarray(taken[group])


def require_both(cohort: Cohort, rows: np.ndarray, message: str) -> None:
    """Raises an InputError with this message if the rows lack a class; of many labels, if there are none."""
    if len(np.unique(cohort.label[rows])) < 2 and (cohort.label.ndim == 1 or not len(rows)):
        raise InputError(message)


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
    require_both(cohort, train, f"--train_patients={patients} leaves no training image of one class, seed {seed}")
    return Split(train, split.val)


FEWEST = 20  # images of a class on a side, below which a figure says little


def refuse_small(label: np.ndarray, task: Task, side: str) -> None:
    """Refuses a side of a split, whose labels are [n] i32 or [n, K] f32, that is too small to say anything.

    Raises:
      InputError: if a class has fewer than `FEWEST` images; of many labels, if there are not as many images.
    """
    is_small = len(label) < FEWEST if task.is_multilabel else min((label == 1).sum(), (label == 0).sum()) < FEWEST
    if is_small:
        raise InputError(
            f"{side} has {_sizes(label)} ({task.title}), fewer than {FEWEST} of a class; --small_ok allows that"
        )


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
