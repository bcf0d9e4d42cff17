"""Tasks: who is positive, who is negative, what is asked, and the published numbers to stand beside.

To add one, give a `Task` to `register`, here or from outside; everything else reads the record. A finding against
another, or against all other images, needs none: `get("Effusion vs No Finding")`, `get("Effusion vs rest")`. Plain
data: nothing is imported but the standard library.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Literal

from cxrjax.base import InputError, did_you_mean

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
    finding: str  # as labels spell it: No Finding; several, "A|B": any of them is present, or all are absent
    but: str = ""  # a finding that must be absent besides

    def holds(self, labels: str) -> bool:
        """True if an image of these labels belongs to the class."""
        if self.but and state(labels, self.but) is not False:
            return False
        if self.rule == "exactly":
            return labels == self.finding
        states = [state(labels, finding) for finding in self.finding.split("|")]
        return any(states) if self.rule == "contains" else all(known is False for known in states)


@dataclasses.dataclass(frozen=True)
class Published:
    """Numbers that others published for a task."""

    name: str  # in tables: poster
    source: str  # for people, English
    runs: int
    epochs: int
    percent: Mapping[str, float]  # metric, or metric_sd -> percent: {"accuracy": 83, "accuracy_sd": 7, ...}


@dataclasses.dataclass(frozen=True)
class PublishedAurocs:
    """AUROCs that others published for the findings of a task."""

    name: str  # in tables: CheXNet
    source: str  # for people, English
    split: str  # for people, English: how its test images were chosen
    auroc: Mapping[str, float]  # finding -> 0..1


@dataclasses.dataclass(frozen=True)
class Task:
    """A question asked of images.

    Of two classes: two logits and a softmax, whose second is the probability of the positive class. With `parts` it has
    many labels: a logit and a sigmoid for each part, a binary task of its own; an image takes part in those where it is
    in a class.
    """

    name: str  # p_vs_nf
    title: str  # P vs NF
    question: str  # English; %(positive)s and %(negative)s stand for the titles of its classes
    positive: LabelClass
    negative: LabelClass
    negatives_per_positives: tuple[int, int]  # (800, 593): so many negatives are drawn for so many positives
    counted: tuple[LabelClass, ...] = ()
    """Classes that the log and summary.json count; the first two are the positives and all other labelled images.
    (): positive and negative."""
    published: Published | None = None
    parts: tuple[Task, ...] = ()
    published_aurocs: tuple[PublishedAurocs, ...] = ()  # of the parts

    def __post_init__(self) -> None:
        """Fills in what is counted."""
        if not self.counted:
            object.__setattr__(self, "counted", (self.positive, self.negative))

    @property
    def boxed_finding(self) -> str:
        """The finding whose boxes localise the positives."""
        return self.positive.finding

    @property
    def is_multilabel(self) -> bool:
        """Whether it asks several questions of every image."""
        return bool(self.parts)

    @property
    def outputs(self) -> int:
        """Logits of a network for it."""
        return len(self.parts) or 2

    @property
    def questions(self) -> tuple[Task, ...]:
        """Its binary tasks: its parts, or itself."""
        return self.parts or (self,)


TASKS: dict[str, Task] = {}


def register(task: Task) -> Task:
    """Adds a task under its name.

    Raises:
      ValueError: if there is another one of this name.
    """
    if TASKS.setdefault(task.name, task) != task:
        raise ValueError(f"a task's name must be new, got {task.name!r}, which is another task's")
    return task


def get(name: str, finding: str = "") -> Task:
    """The task of a name, or of two findings: `Effusion vs No Finding`, `Effusion vs Mass`, `Effusion vs rest`.

    Args:
      name: of the task.
      finding: of a task of many labels, whose part is wanted; "": the task.

    Raises:
      InputError: if there is none.
    """
    if finding:
        parts = {part.positive.finding: part for part in get(name).parts}
        if finding not in parts:
            raise InputError(f"the finding must be one of {', '.join(parts) or 'none'}, got {finding!r}")
        return parts[finding]
    if name in TASKS:
        return TASKS[name]
    positive, separator, negative = name.partition(_VS)
    if not separator:
        raise InputError(
            f"the task must be one of {', '.join(TASKS)}, or two findings, A{_VS}B or A{_VS}{REST}, got {name!r}"
            + did_you_mean(name, TASKS)
        )
    return pair(positive, negative)


REST, _VS, _NOTHING = "rest", " vs ", "No Finding"


@functools.cache
def pair(positive: str, negative: str) -> Task:
    """The task that tells a finding from another one that comes without it, from no finding, or from the rest: all
    images without it. As many negatives are drawn as there are positives.

    >>> pair("Effusion", "rest").negative.holds("Mass"), pair("Effusion", "Mass").negative.holds("Effusion|Mass")
    (True, False)

    Args:
      positive, negative: findings as labels spell them.

    Raises:
      InputError: if one is empty, both are the same, or the positive one is `rest`.
    """
    if not positive or not negative or positive in (negative, REST):
        raise InputError(
            f"--positive and --negative must be two findings, the negative one may be {REST}, got "
            f"{positive!r} and {negative!r}"
        )
    rest = LabelClass(REST, f"no {_title(positive)}", "without", positive)
    finding = LabelClass(positive, _title(positive), "exactly" if positive == _NOTHING else "contains", positive)
    if negative == REST:
        others, question = rest, "Can the network tell %(positive)s from all radiographs without it?"
    elif negative == _NOTHING:
        others = LabelClass("NF", _title(negative), "exactly", _NOTHING)
        question = "Can the network tell %(positive)s from radiographs with no finding?"
    else:
        others = LabelClass(negative, _title(negative), "contains", negative, but=positive)
        question = "Can the network tell %(positive)s from %(negative)s without it?"
    title = f"{positive}{_VS}{negative}"
    counted = tuple(dict.fromkeys((finding, rest, others)))
    return Task(title, title, question, finding, others, (1, 1), counted)


def _title(finding: str) -> str:
    """For people: `Pleural_Thickening` -> `pleural thickening`."""
    return finding.replace("_", " ").lower()


_SOURCE = "poster of 2018, mean and SD of ten runs"
_PNEUMONIA = LabelClass("P", "pneumonia", "contains", "Pneumonia")
_NO_PNEUMONIA = LabelClass("NP", "no pneumonia", "without", "Pneumonia")
_NO_FINDING = LabelClass("NF", "no finding", "exactly", "No Finding")
PNEUMONIA_CLASSES = (_PNEUMONIA, _NO_PNEUMONIA, _NO_FINDING)

_P_VS_NF = register(
    Task(
        name="p_vs_nf",
        title="P vs NF",
        question="Can the network tell pneumonia (P) from radiographs with no finding (NF)?",
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
        question="Can the network tell pneumonia (P) from all other radiographs (NP)?",
        negative=_NO_PNEUMONIA,
        published=Published(
            "poster", _SOURCE, 10, 120, {"accuracy": 65, "accuracy_sd": 5, "fp_share": 13, "fn_share": 22}
        ),
    )
)

CHESTXRAY14 = (
    "Atelectasis", "Cardiomegaly", "Effusion", "Infiltration", "Mass", "Nodule", "Pneumonia", "Pneumothorax",
    "Consolidation", "Edema", "Emphysema", "Fibrosis", "Pleural_Thickening", "Hernia",
)  # fmt: skip


def _of_chestxray14(*aurocs: float) -> dict[str, float]:
    return dict(zip(CHESTXRAY14, aurocs, strict=True))


def multilabel(
    name: str, title: str, question: str, findings: tuple[str, ...], published: tuple[PublishedAurocs, ...] = ()
) -> Task:
    """A task that asks of every labelled image whether each of the findings is present."""
    any_of = LabelClass("any", "any of the findings", "contains", "|".join(findings))
    none_of = LabelClass("none", "none of the findings", "without", "|".join(findings))
    each = tuple(LabelClass(finding, _title(finding), "contains", finding) for finding in findings)
    return Task(
        name, title, question, any_of, none_of, (1, 1), (any_of, none_of, *each),
        parts=tuple(pair(finding, REST) for finding in findings), published_aurocs=published,
    )  # fmt: skip


_CHEXNET = PublishedAurocs(
    "CheXNet", "Rajpurkar et al. 2017, arXiv:1711.05225", "random, by patient",
    _of_chestxray14(
        0.8094, 0.9248, 0.8638, 0.7345, 0.8676, 0.7802, 0.7680, 0.8887, 0.7901, 0.8878, 0.9371, 0.8047, 0.8062, 0.9164
    ),
)  # fmt: skip
_WANG = PublishedAurocs(
    "Wang 2017, ResNet-50", "Wang et al. 2017, arXiv:1705.02315v5", "NIH's official, by patient",
    _of_chestxray14(
        0.7003, 0.8100, 0.7585, 0.6614, 0.6933, 0.6687, 0.6580, 0.7993, 0.7032, 0.8052, 0.8330, 0.7859, 0.6835, 0.8717
    ),
)  # fmt: skip
_WHICH = "Can the network recognise the 14 findings of ChestX-ray14?"
register(multilabel("chestxray14", "ChestX-ray14", _WHICH, CHESTXRAY14, (_CHEXNET, _WANG)))
_ONE = "Can the network tell pneumonia from all radiographs without it?"
register(multilabel("pneumonia", "Pneumonia", _ONE, ("Pneumonia",), (_CHEXNET, _WANG)))
register(dataclasses.replace(pair("Tuberculosis", _NOTHING), name="tuberculosis", title="Tuberculosis"))
