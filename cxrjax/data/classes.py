"""Labels of a table -> classes and findings of a task."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from cxrjax.base import InputError
from cxrjax.base.tasks import LabelClass, Task, state


def members(labels: pd.Series, label_class: LabelClass) -> np.ndarray:
    """Which images belong to a class, [N] bool, from their labels such as `Infiltration|Pneumonia`."""
    holds = {text: label_class.holds(text) for text in labels.unique()}  # 112,120 images of NIH have 836 labels
    return labels.map(holds).to_numpy(bool)


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


def in_class(labels: pd.Series, task: Task) -> tuple[np.ndarray, np.ndarray]:
    """`targets`, and which images are in a class of the task, or of one of its parts, [N] bool."""
    label = targets(labels, task)
    return label, ~np.isnan(label).all(axis=1) if task.is_multilabel else (label == 1) | members(labels, task.negative)


def refuse_absent(labels: pd.Series, task: Task, flag_name: str) -> None:
    """Refuses a set that has no image of either class of a task; `flag_name` named the set.

    Raises:
      InputError: if it has neither.
    """
    if not in_class(labels, task)[1].any():
        a, b = task.positive.title, task.negative.title
        raise InputError(f"{flag_name} holds no image of {a} and none of {b} among its {len(labels)}")
