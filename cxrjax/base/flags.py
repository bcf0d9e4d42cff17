"""Flags of the command line as fields of dataclasses, a class for each topic.

Nothing is imported at run time but the standard library, so that command lines can be parsed at once.
"""

from __future__ import annotations

import dataclasses
import shlex
from typing import Any, ClassVar

GROUPS = DATA, NETWORK, TRAINING, EVALUATION, OUTPUT, MACHINE, ANY_PROGRAM = (
    "data", "network", "training", "evaluation", "output", "speed and memory", "any program",
)  # fmt: skip
"""Headings of --help, in order. A flag stands under its own `group`, else under GROUP of the class that has it, else
among the program's own."""


def flag(default: Any, text: str, **rules: Any) -> Any:
    """A field that is also a flag.

    Args:
      default: its value where it is not given.
      text: of --help.
      rules: of its value: choices, lower, upper; words: word -> number that it stands for; path=True: a path, in which
        ~ is the home folder; path=",": several, with that between them; names="package.module:function": what gives
        the names that --help lists; short: another name, a letter; group: its heading there, see `GROUPS`.
    """
    return dataclasses.field(default=default, metadata={"help": text, **rules})


@dataclasses.dataclass(frozen=True, kw_only=True)
class SourceFlags:
    """How the words of a source are read, of every program that reads one; a prepared store has them read already."""

    GROUP: ClassVar[str] = DATA

    classes: str = flag(
        "",
        "what a class folder or a label as written means, where it is no known finding, with commas: "
        "CXR1=Pneumonia,CXR0=No Finding; an entry stands above what is known",
    )
    other_findings: str = flag(
        "refuse",
        "labels that are no known finding: refuse stops and names them, keep takes each as a finding of its own",
        choices=("refuse", "keep"),
    )
    uncertain: str = flag(
        "unknown",
        "what an uncertain label is (-1 of CheXpert): unknown images take part in no class",
        choices=("unknown", "positive", "negative"),
    )
    masks: str = flag(
        "leave_out",
        "folders of masks, heat maps or copies beside folders of images: leave_out names and passes them over, keep "
        "takes them as images",
        choices=("leave_out", "keep"),
    )
    columns: str = flag(
        "",
        "columns of a table that have other names, with commas: label=diagnosis,path=file. Known are path, label, "
        "patient, view, age, sex, followup, split; sex=gender:m=M:w=F also says what its values mean",
    )
    patient_regex: str = flag(
        "",
        "finds the patient in a file's name, else in its path: its group 'patient', or its first group. Where it does "
        "not: the table, else DICOM's PatientID, else a known convention of names that fits the whole set",
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class ScoresFlags(SourceFlags):
    """Which labels and which question scores of any model are set against, of every program that takes such scores."""

    GROUP: ClassVar[str] = DATA

    data_dir: str | None = flag(None, "data whose table has the labels: as experiments.train takes them", path=True)
    labels: str | None = flag(
        None,
        "table of other labels of these images, as experiments.train takes it; those it lacks keep theirs",
        path=True,
    )
    task: str = flag("", "the question, as experiments.train takes it; none: chestxray14, or that of --positive")
    positive: str = flag("", "finding that the scores tell")
    negative: str = flag("", "what it is told from: a finding, No Finding, or rest (the default)")
    logits: bool = flag(False, "the scores are log odds")


@dataclasses.dataclass(frozen=True, kw_only=True)
class LocalFlags(SourceFlags):
    """Labelled images of another hospital."""

    GROUP: ClassVar[str] = DATA

    data_dir: str | None = flag(
        None, "local images, as experiments.train takes them; none: --labels has them", path=True
    )
    labels: str | None = flag(
        None,
        "class folders or a table of images with their labels; beside --data_dir a table of other labels by image name",
        path=True,
    )
    max_bad: float = flag(0.01, "share of images that may be unreadable and are left out", lower=0, upper=1)


SOURCE_FLAGS = frozenset(field.name for field in dataclasses.fields(SourceFlags))


@dataclasses.dataclass(frozen=True, kw_only=True)
class NetworkFlags:
    """Which network is trained, and what of it, of every program that trains one."""

    GROUP: ClassVar[str] = NETWORK

    model: str = flag(
        "", "network; none: that of --weights, else alexnet. There are", names="cxrjax.models.registry:names"
    )
    weights: str = flag("", "converted weights, or 'random' for none; none: weights/MODEL-imagenet", path=True)
    image_size: int = flag(
        0,
        "pixels a side of what the network sees, 224 to 512, cut from round(image_size * 256 / 224); 0: the network's "
        "own (AlexNet 227 of 256)",
        lower=0,
        upper=512,
    )
    retrain_from: str = flag(
        "head",
        "first stage that is retrained, by its name; head: the network's usual one (AlexNet's and VGG's fc6, else the "
        "last); all: every stage",
    )
    batch_norm: str = flag(
        "frozen",
        "BatchNorm of retrained stages. frozen: the pretrained statistics; train: each batch's, running ones are kept. "
        "Scale and shift are trained in both",
        choices=("frozen", "train"),
    )
    lse_r: float = flag(
        0.0,
        "pooling of the last map: by log-sum-exp with this r (Wang et al. 2017 take 10), from 0.001, almost the mean, "
        "to 1000, almost the maximum; 0: the mean, as the weights were trained. Not of AlexNet and VGG, which do not "
        "average it",
        lower=0.0,
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class DryRunFlags:
    """Of every program that trains or prepares."""

    GROUP: ClassVar[str] = OUTPUT

    dry_run: bool = flag(
        False, "say what would be done, with images, minutes, memory and disk, and write and train nothing"
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class SizeFlags:
    """How few images may take part, of every program that trains."""

    GROUP: ClassVar[str] = DATA

    small_ok: bool = flag(
        False, "also take fewer than 20 images of a class in training, validation or the images of --test"
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class SamplingFlags(SizeFlags):
    """Which images take part in a run, and on which side of its split."""

    GROUP: ClassVar[str] = DATA

    negatives: str = flag(
        "auto",
        "negatives drawn for each run: a number, all, or auto, which --sampling decides",
    )
    sampling: str = flag(
        "undersample",
        "undersample: of the negatives --negatives are drawn, auto round(positives * 800 / 593), the poster's ratio; "
        "all: every negative; oversample: every negative, or --negatives, and in training images of the rarer class "
        "are repeated until both classes are equally many; undersample_training: likewise, but in training as many "
        "images of the commoner class are drawn as the rarer one has",
        choices=("undersample", "all", "oversample", "undersample_training"),
    )
    train_ratio: float = flag(
        0.0,
        "negatives for each positive in training: of its positives so many are drawn, anew for each seed, a larger "
        "ratio's being among a smaller one's; 0: as they are",
        lower=0,
    )
    val_fraction: float = flag(0.2, "share of the images used for validation, above 0 and below 1", lower=0, upper=1)
    split_by: str = flag(
        "patient",
        "patient keeps each patient on one side; image is the poster's protocol; both: patient, and the same seeds by "
        "image beside it (in OUT/arms), which shows how much leakage flatters",
        choices=("patient", "image", "both"),
    )
    view: str = flag("all", "projections used", choices=("all", "PA", "AP"))
    train_patients: int = flag(
        0, "train on this many patients of each run's training side, drawn anew for each seed; 0: on all", lower=0
    )
    match: str = flag(
        "",
        "draw as many positives as negatives of each stratum of these, anew for each seed: some of view,sex,age,"
        "followup, with commas. Ages by 20 years, follow-up numbers 0, 1-2, 3-9, 10-29, 30 and more",
    )
    labels: str | None = flag(
        None,
        "table of other labels of the same images: columns image and label, NIH's, or image and one a finding; images "
        "that it does not name keep theirs",
        path=True,
    )
    labels_for: str = flag(
        "both",
        "what --labels are for. evaluation: draw, split, validation and test; training: what networks are trained with",
        choices=("both", "training", "evaluation"),
    )
    test: str = flag(
        "",
        "hold all images of some patients out of every run's training and validation, and score them by every seed. "
        "official: of the data's own test list; boxes: with a box around a finding (NIH's BBox_List_2017.csv), for "
        "experiments.where_it_looks; 0.2: of so large a share of each class, the same for all seeds; else a file with "
        "names of images, one a line",
        path=True,
    )


def thins_training(config: SamplingFlags) -> bool:
    """Whether some images of the training side are in no run's training."""
    return bool(config.train_patients or config.train_ratio or config.sampling == "undersample_training")


def flags_of(config: Any) -> list[dataclasses.Field[Any]]:
    """The fields that are flags, a program's own before those that it shares with others."""
    fields = [field for field in dataclasses.fields(config) if "help" in field.metadata]
    order = type(config).__mro__
    return sorted(fields, key=lambda field: order.index(_class_of(config, field.name)))


def groups_of(config: Any) -> dict[str, list[dataclasses.Field[Any]]]:
    """The fields that are flags by heading: "", the program's own, then of `GROUPS` those that have any, in order.

    >>> {heading: len(fields) for heading, fields in groups_of(SourceFlags()).items()}
    {'data': 6}
    """
    groups: dict[str, list[dataclasses.Field[Any]]] = {heading: [] for heading in ("", *GROUPS)}
    for field in flags_of(config):
        usual = vars(_class_of(config, field.name)).get("GROUP", "")
        groups[field.metadata.get("group", usual)].append(field)
    return {heading: fields for heading, fields in groups.items() if fields}


def _class_of(config: Any, name: str) -> type:
    """The class that has a field, or the first that has it anew."""
    return next(of_class for of_class in type(config).__mro__ if name in vars(of_class).get("__annotations__", {}))


def flag_words(config: Any) -> list[str]:
    """The flags that are not at their defaults, each as a word of a command line, of any dataclass with `flag` fields.

    Defaults are those of its `preset` (flag -> value), if it has such a property, before those of its fields.

    >>> flag_words(SourceFlags(columns="sex=gender:m=M:w=F", masks="keep"))
    ['--masks=keep', '--columns=sex=gender:m=M:w=F']
    """
    words, preset = [], getattr(config, "preset", {})
    for field in flags_of(config):
        value = getattr(config, field.name)
        if value == preset.get(field.name, field.default):
            continue
        if isinstance(value, bool):
            words.append(f"--{field.name}" if value else f"--no{field.name}")
        else:
            words.append(f"--{field.name}={shlex.quote(written(field, value))}")
    return words


def written(field: dataclasses.Field[Any], value: Any) -> str:
    """A flag's value as it is given: by its word where it has one."""
    return next((word for word, number in field.metadata.get("words", {}).items() if number == value), str(value))
