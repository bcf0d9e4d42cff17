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
        "meaning of class folders or labels that are no known finding, separated by commas: CXR1=Pneumonia,CXR0=No "
        "Finding; these entries come before the built-in ones",
    )
    other_findings: str = flag(
        "refuse",
        "labels that are no known finding: refuse stops and lists them; keep takes each one as a finding of its own",
        choices=("refuse", "keep"),
    )
    uncertain: str = flag(
        "unknown",
        "how to read an uncertain label (-1 in CheXpert); images with an unknown label are in no class",
        choices=("unknown", "positive", "negative"),
    )
    masks: str = flag(
        "leave_out",
        "folders of masks, heat maps or copies beside the folders of images: leave_out skips and lists them; keep "
        "reads them as images",
        choices=("leave_out", "keep"),
    )
    columns: str = flag(
        "",
        "names of table columns, where they differ, separated by commas: label=diagnosis,path=file. The columns are "
        "path, label, patient, view, age, sex, followup, split; sex=gender:m=M:w=F also gives the meaning of the "
        "values",
    )
    patient_regex: str = flag(
        "",
        "regular expression that finds the patient in the file name, or else in the path: its group 'patient', or its "
        "first group. If it does not match, the patient comes from the table, else from DICOM's PatientID, else "
        "from a known naming convention that fits the whole set",
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class ScoresFlags(SourceFlags):
    """Which labels and which question scores of any model are set against, of every program that takes such scores."""

    GROUP: ClassVar[str] = DATA

    data_dir: str | None = flag(None, "data with the labels, in a form that experiments.train reads", path=True)
    labels: str | None = flag(
        None,
        "table with other labels for these images, in a form that experiments.train reads; images not in it keep "
        "their labels",
        path=True,
    )
    task: str = flag("", "the task, as for experiments.train; none: chestxray14, or the task of --positive")
    positive: str = flag("", "the finding that the scores are for")
    negative: str = flag("", "the class it is compared with: a finding, No Finding, or rest (the default)")
    logits: bool = flag(False, "the scores are log odds")


@dataclasses.dataclass(frozen=True, kw_only=True)
class LocalFlags(SourceFlags):
    """Labelled images of another hospital."""

    GROUP: ClassVar[str] = DATA

    data_dir: str | None = flag(
        None, "local images, in a form that experiments.train reads; none: --labels has the images", path=True
    )
    labels: str | None = flag(
        None,
        "class folders, or a table of images with their labels; with --data_dir: a table of other labels by image name",
        path=True,
    )
    max_bad: float = flag(0.01, "share of images that may be unreadable and are left out", lower=0, upper=1)


SOURCE_FLAGS = frozenset(field.name for field in dataclasses.fields(SourceFlags))


@dataclasses.dataclass(frozen=True, kw_only=True)
class NetworkFlags:
    """Which network is trained, and what of it, of every program that trains one."""

    GROUP: ClassVar[str] = NETWORK

    model: str = flag(
        "", "network; none: the network of --weights, else alexnet. Choices:", names="cxrjax.models.registry:names"
    )
    weights: str = flag(
        "", "folder of converted weights, or 'random' for random weights; none: weights/MODEL-imagenet", path=True
    )
    image_size: int = flag(
        0,
        "side of the network's input in pixels, 224 to 512, cropped from an image of round(image_size * 256 / 224); "
        "0: the network's own size (AlexNet: 227 of 256)",
        lower=0,
        upper=512,
    )
    retrain_from: str = flag(
        "head",
        "first stage to retrain, by its name; head: the usual one for the network (fc6 for AlexNet and VGG, else the "
        "last); all: every stage",
    )
    batch_norm: str = flag(
        "frozen",
        "BatchNorm in retrained stages. frozen: uses the pretrained statistics; train: uses the statistics of each "
        "batch and updates the running ones. Scale and shift are trained in both cases",
        choices=("frozen", "train"),
    )
    lse_r: float = flag(
        0.0,
        "pooling of the last feature map by log-sum-exp with this r (Wang et al. 2017 use 10), from 0.001 (almost the "
        "mean) to 1000 (almost the maximum); 0: the mean, as the weights were trained. Not for AlexNet and VGG, "
        "which have no average pooling there",
        lower=0.0,
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class FinishedRunFlags:
    """Where the frozen layers of a finished run come from, of every program that reads its networks."""

    GROUP: ClassVar[str] = NETWORK

    weights: str | None = flag(
        None,
        "folder of the pretrained weights of the run, if it was moved since; none: the folder used in training",
        path=True,
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
        False, "accept fewer than 20 images of a class in training, in validation or among the images of --test"
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class SamplingFlags(SizeFlags):
    """Which images take part in a run, and on which side of its split."""

    GROUP: ClassVar[str] = DATA

    negatives: str = flag(
        "auto",
        "negatives drawn for each run: a number, all, or auto (depends on --sampling)",
    )
    sampling: str = flag(
        "undersample",
        "undersample: draws --negatives of the negatives (auto: round(positives * 800 / 593), the poster's ratio); "
        "all: uses every negative; oversample: uses every negative (or --negatives) and, in training, repeats "
        "images of the rarer class until both classes have the same size; undersample_training: the same, but in "
        "training it draws only as many images of the more frequent class as the rarer one has",
        choices=("undersample", "all", "oversample", "undersample_training"),
    )
    train_ratio: float = flag(
        0.0,
        "negatives for each positive in training. Positives are drawn anew for each seed to reach this ratio; those "
        "drawn for a larger ratio are a subset of those for a smaller one. 0: no change",
        lower=0,
    )
    val_fraction: float = flag(0.2, "share of the images used for validation, above 0 and below 1", lower=0, upper=1)
    split_by: str = flag(
        "patient",
        "patient: keeps all images of a patient on one side; image: splits images, the poster's protocol; both: by "
        "patient, and also the same seeds by image (in OUT/arms), to measure the effect of leakage",
        choices=("patient", "image", "both"),
    )
    view: str = flag("all", "projections used", choices=("all", "PA", "AP"))
    train_patients: int = flag(
        0, "train on only this many patients of the training side, drawn anew for each seed; 0: all", lower=0
    )
    match: str = flag(
        "",
        "match the classes by some of view,sex,age,followup, separated by commas: in each stratum as many positives "
        "as negatives are drawn, anew for each seed. Strata: age in steps of 20 years; follow-up number 0, 1-2, 3-9, "
        "10-29, 30 and more",
    )
    labels: str | None = flag(
        None,
        "table with other labels for the same images: columns image and label, NIH's columns, or image and one column "
        "for each finding; images not in it keep their labels",
        path=True,
    )
    labels_for: str = flag(
        "both",
        "where --labels are used. evaluation: for draw, split, validation and test; training: to train the networks",
        choices=("both", "training", "evaluation"),
    )
    test: str = flag(
        "",
        "hold out all images of some patients: no run uses them for training or validation, and every seed scores "
        "them. official: patients of the data's own test list; boxes: patients with a box around a finding "
        "(NIH's BBox_List_2017.csv), for experiments.where_it_looks; 0.2: this share of each class, the same for "
        "all seeds; otherwise a file with image names, one per line",
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
