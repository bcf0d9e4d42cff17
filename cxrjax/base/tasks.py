"""Tasks: who is positive, who is negative, what is asked, and the published numbers to stand beside.

To add one, give a `Task` to `register`, here or from outside; everything else reads the record. Plain data: nothing is
imported but the standard library.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Literal

from cxrjax.base import InputError

ABSENT, OPEN = "-", "?"  # in labels, see `state`


def state(labels: str, finding: str) -> bool | None:
    """Whether a finding is present (True), absent (False) or unknown (None) on an image of these labels.

    Labels are a list of findings, `Infiltration|Pneumonia`. It is complete: what it does not name is absent. With `?`
    among its items, or a finding that is named as absent by `-`, it is not complete: what it does not name is unknown.
    "" says nothing.

    >>> [state(labels, "Pneumonia") for labels in ("Edema|Pneumonia", "Edema", "-Pneumonia", "Edema|?", "-Edema", "")]
    [True, False, False, None, None, None]
    """
    items = labels.split("|")
    if finding in items:
        return True
    if ABSENT + finding in items:
        return False
    is_complete = labels != "" and not any(item.startswith((ABSENT, OPEN)) for item in items)
    return False if is_complete else None


def present(labels: str) -> list[str]:
    """Findings that labels name as present, see `state`.

    >>> present("Edema|-Mass"), present("?")
    (['Edema'], [])
    """
    return [item for item in dict.fromkeys(labels.split("|")) if item and not item.startswith((ABSENT, OPEN))]


@dataclasses.dataclass(frozen=True)
class LabelClass:
    """Images that belong together by their labels, see `state`; an image whose finding is unknown is in no class.

    >>> [LabelClass("NF", "no finding", "exactly", "No Finding").holds(label) for label in ("No Finding", "Edema", "")]
    [True, False, False]
    """

    name: str  # short: P, NF
    title: str  # for people, English: no finding
    rule: Literal["contains", "exactly", "without"]
    """contains: the finding is present; exactly: it is the only one, of a complete list; without: it is absent."""
    finding: str  # as labels spell it: No Finding

    def holds(self, labels: str) -> bool:
        """True if an image of these labels belongs to the class."""
        if self.rule == "exactly":
            return labels == self.finding
        return state(labels, self.finding) is (self.rule == "contains")


@dataclasses.dataclass(frozen=True)
class Published:
    """Numbers that others published for a task."""

    name: str  # in tables: poster
    source: str  # for people, English
    runs: int
    epochs: int
    percent: Mapping[str, float]  # metric, or metric_sd -> percent: {"accuracy": 83, "accuracy_sd": 7, ...}


@dataclasses.dataclass(frozen=True)
class Task:
    """A question asked of images: two logits and a softmax, whose second is the probability of the positive class."""

    name: str  # p_vs_nf
    title: str  # P vs NF
    question: str  # English
    positive: LabelClass
    negative: LabelClass
    negatives_per_positives: tuple[int, int]  # (800, 593): so many negatives are drawn for so many positives
    counted: tuple[LabelClass, ...] = ()
    """Classes that the log and summary.json count; the first two are the positives and all other labelled images.
    (): positive and negative."""
    published: Published | None = None

    def __post_init__(self) -> None:
        """Fills in what is counted."""
        if not self.counted:
            object.__setattr__(self, "counted", (self.positive, self.negative))

    @property
    def boxed_finding(self) -> str:
        """The finding whose boxes localise the positives."""
        return self.positive.finding


TASKS: dict[str, Task] = {}


def register(task: Task) -> Task:
    """Adds a task under its name.

    Raises:
      ValueError: if there is another one of this name.
    """
    if TASKS.setdefault(task.name, task) != task:
        raise ValueError(f"a task's name must be new, got {task.name!r}, which is another task's")
    return task


def get(name: str) -> Task:
    """The task of a name.

    Raises:
      InputError: if there is none.
    """
    if name not in TASKS:
        raise InputError(f"the task must be one of {', '.join(TASKS)}, got {name!r}")
    return TASKS[name]


_SOURCE = "poster of 2018, mean and SD of ten runs"
_PNEUMONIA = LabelClass("P", "pneumonia", "contains", "Pneumonia")
_NO_PNEUMONIA = LabelClass("NP", "no pneumonia", "without", "Pneumonia")
_NO_FINDING = LabelClass("NF", "no finding", "exactly", "No Finding")
PNEUMONIA_CLASSES = (_PNEUMONIA, _NO_PNEUMONIA, _NO_FINDING)

_P_VS_NF = register(
    Task(
        name="p_vs_nf",
        title="P vs NF",
        question="Is pneumonia (P) told from radiographs with no finding (NF)?",
        positive=_PNEUMONIA,
        negative=_NO_FINDING,
        negatives_per_positives=(800, 593),
        counted=PNEUMONIA_CLASSES,
        published=Published(
            "poster", _SOURCE, 10, 120, {"accuracy": 83, "accuracy_sd": 7, "fp_share": 7, "fn_share": 9}
        ),
    )
)
register(
    dataclasses.replace(
        _P_VS_NF,
        name="p_vs_np",
        title="P vs NP",
        question="Is pneumonia (P) told from all radiographs without it (NP)?",
        negative=_NO_PNEUMONIA,
        published=Published(
            "poster", _SOURCE, 10, 120, {"accuracy": 65, "accuracy_sd": 5, "fp_share": 13, "fn_share": 22}
        ),
    )
)
