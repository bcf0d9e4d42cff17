"""The configuration of an experiment: its fields are the flags of the command line.

Nothing is imported at run time but the standard library, so that command lines can be parsed at once.
"""

from __future__ import annotations

import dataclasses
import shlex
from pathlib import Path
from typing import Any


def flag(default: Any, text: str, **rules: Any) -> Any:
    """A field that is also a flag.

    Args:
      default: its value where it is not given.
      text: of --help.
      rules: of its value: choices, lower, upper; path=True: a path, in which ~ is the home folder; path=",": several,
        with that between them; names="package.module:function": what gives the names that --help lists.
    """
    return dataclasses.field(default=default, metadata={"help": text, **rules})


@dataclasses.dataclass(frozen=True, kw_only=True)
class SourceFlags:
    """How the words of a source are read, of every program that reads one; a prepared store has them read already."""

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


SOURCE_FLAGS = frozenset(field.name for field in dataclasses.fields(SourceFlags))


@dataclasses.dataclass(frozen=True, kw_only=True)
class NetworkFlags:
    """Which network is trained, and what of it, of every program that trains one."""

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


@dataclasses.dataclass(frozen=True)
class ExperimentConfig(NetworkFlags, SourceFlags):
    """One experiment: what `python -m experiments.NAME` takes. Fields with a help text are its flags."""

    name: str  # of the program: p_vs_nf
    task: str  # name of a `tasks.Task`: p_vs_nf
    data_dir: str | None = flag(
        None,
        "NIH folder as downloaded, class folders, a CSV of images, or a store by experiments.prepare; none: the "
        "embedded phantom",
        path=True,
    )
    seeds: int = flag(10, "number of runs, each with its own draw, split, weights and augmentation", lower=1)
    first_seed: int = flag(0, "seed of the first run; the next has the next number", lower=0, upper=4_000_000_000)
    epochs: int = flag(120, "passes over the training images", lower=1)
    batch_size: int = flag(64, "images a step", lower=1)
    learning_rate: float = flag(0.001, "of stochastic gradient descent", lower=0.0)
    momentum: float = flag(0.0, "of stochastic gradient descent, 0 to below 1", lower=0.0, upper=0.999999)
    negatives: str = flag(
        "auto",
        "negatives drawn for each run: a number, or auto for round(positives * 800 / 593), the poster's ratio",
    )
    val_fraction: float = flag(0.2, "share of the images used for validation, above 0 and below 1", lower=0, upper=1)
    split_by: str = flag(
        "patient",
        "patient keeps each patient on one side; image is the poster's protocol; both: patient, and the same seeds by "
        "image beside it (in OUT/arms), which shows how much leakage flatters; official is the data's own split (test "
        "is used for validation, and is the same in all runs)",
        choices=("patient", "image", "both", "official"),
    )
    view: str = flag("all", "projections used", choices=("all", "PA", "AP"))
    augment_bank: int = flag(0, "0: a fresh augmentation at every use; K: each image has K, computed once", lower=0)
    input: str = flag(
        "auto",
        "tfdata: a tf.data pipeline; resident: images on the device; auto: tfdata where TensorFlow is installed. "
        "All give the same numbers",
        choices=("auto", "tfdata", "resident"),
    )
    flip: bool = flag(True, "mirror training images left to right with probability 1/2")
    train_patients: int = flag(
        0, "train on this many patients of each run's training side, drawn anew for each seed; 0: on all", lower=0
    )
    hold_out_boxes: bool = flag(
        False,
        "leave the patients with a box around a pneumonia (NIH's BBox_List_2017.csv) out of every run's training, so "
        "that experiments.where_it_looks may score all boxes by all seeds; validation stays the same",
    )
    control: str = flag(
        "none",
        "shuffled_labels: training images get each other's labels, so that only chance and mistakes can be found",
        choices=("none", "shuffled_labels"),
    )
    floors: bool = flag(
        False,
        "also train what the network must beat, with the same seeds (in OUT/arms): shuffled labels, and a trunk of "
        "random weights. Takes three times as long; majority and metadata are always there",
    )
    wanted_sensitivity: float = flag(
        0.9, "a second threshold is chosen for it, on training images; the first is 0.5", lower=0.01, upper=1
    )
    prevalence: float = flag(
        0.013,
        "share of pneumonia for which PPV and NPV are given beside the images' own; 0.013 is NIH's",
        lower=0,
        upper=1,
    )
    lang: str = flag("en", "language of the report", choices=("en", "es"))
    seed_batch: int = flag(0, "seeds trained side by side as one program; 0: as many as memory allows", lower=0)
    dtype: str = flag(
        "float32",
        "of activations and the products that make them; bfloat16 is for GPUs. Parameters and update are float32",
        choices=("float32", "bfloat16"),
    )
    external_dir: str | None = flag(None, "second data set, evaluated only; as --data_dir", path=True)
    out: str | None = flag(None, "folder for the results; none: runs/NAME", path=True)
    overwrite: bool = flag(False, "replace a finished run in --out, or an interrupted one of another configuration")
    max_bad: float = flag(
        0.01,
        "share of images that may be unreadable and are left out; with more the data are refused",
        lower=0,
        upper=1,
    )


def experiment_of(flags: Any) -> ExperimentConfig:
    """The experiment of a program that runs several: of its `task`, with those of its flags that an experiment has."""
    names = {field.name for field in dataclasses.fields(ExperimentConfig)}
    shared = {field.name: getattr(flags, field.name) for field in dataclasses.fields(flags) if field.name in names}
    return ExperimentConfig(name=flags.task, **shared)


SHUFFLED_LABELS, RANDOM_TRUNK, SPLIT_BY_IMAGE = "shuffled_labels", "random_trunk", "split_by_image"  # arms


def run_path(config: ExperimentConfig) -> Path:
    """--out, or runs/NAME."""
    return Path(config.out or f"runs/{config.name}")


def arm_path(config: ExperimentConfig, name: str) -> Path:
    """Where an arm's files are."""
    return run_path(config) / "arms" / name


def moved_to(config: ExperimentConfig, folder: str | Path) -> ExperimentConfig:
    """The same run in another folder."""
    return dataclasses.replace(config, out=str(folder))


def without_arms(config: ExperimentConfig) -> ExperimentConfig:
    """The experiment's own run: split by patient where the other split is an arm."""
    return dataclasses.replace(config, split_by="patient") if config.split_by == "both" else config


def arms(config: ExperimentConfig) -> dict[str, ExperimentConfig]:
    """Name -> configuration of each further run that the experiment asks for; empty if it asks for none.

    An arm is a run like any other, with the same seeds, in OUT/arms/NAME, evaluated on the internal set alone: the
    controls of --floors, and the other split of --split_by=both. `experiments.compare` takes it, too.

    >>> list(arms(ExperimentConfig("p_vs_nf", "p_vs_nf", split_by="both")))
    ['split_by_image']
    """
    plain = dataclasses.replace(without_arms(config), floors=False, external_dir=None, overwrite=False)
    changes: dict[str, dict[str, Any]] = {}
    if config.floors:
        changes[SHUFFLED_LABELS] = {"control": "shuffled_labels"}
        changes[RANDOM_TRUNK] = {"weights": "random"}
    if config.split_by == "both":
        changes[SPLIT_BY_IMAGE] = {"split_by": "image"}
    return {
        name: moved_to(dataclasses.replace(plain, **change), arm_path(config, name)) for name, change in changes.items()
    }


def with_absolute_paths(config: ExperimentConfig) -> ExperimentConfig:
    """The same experiment wherever it is opened: data, weights and external data by their absolute paths."""

    def absolute(path: str | None) -> str | None:
        return str(Path(path).resolve()) if path else path

    return dataclasses.replace(
        config,
        data_dir=absolute(config.data_dir),
        weights=config.weights if config.weights in ("", "random") else str(Path(config.weights).resolve()),
        external_dir=absolute(config.external_dir),
    )


def in_checkout() -> bool:
    """Whether the working directory is this package's checkout, where `python -m experiments.NAME` runs."""
    return Path(__file__).resolve().parents[2] == Path.cwd()


def program(name: str) -> str:
    """What starts a program here: its module in a checkout, the installed command `cxrjax` anywhere else."""
    if not in_checkout():
        return f"cxrjax {name}"
    return "python -m weights.convert" if name == "convert_weights" else f"python -m experiments.{name}"


def command_line(config: ExperimentConfig) -> str:
    """The command line that makes the same run anew; what it does not name is at its default.

    >>> command_line(ExperimentConfig("p_vs_nf", "p_vs_nf", data_dir="my NIH", seeds=3, flip=False))  # in a checkout
    "python -m experiments.p_vs_nf --data_dir='my NIH' --seeds=3 --noflip"
    """
    # Repeated as it stands, --overwrite would remove what there is.
    return " ".join([program(config.name), *flag_words(dataclasses.replace(config, overwrite=False))])


def flag_words(config: Any) -> list[str]:
    """The flags that are not at their defaults, each as a word of a command line, of any dataclass with `flag` fields.

    >>> flag_words(SourceFlags(columns="sex=gender:m=M:w=F", masks="keep"))
    ['--masks=keep', '--columns=sex=gender:m=M:w=F']
    """
    words, own = [], vars(type(config))["__annotations__"]  # a program's own flags come before those that it shares
    for field in sorted(dataclasses.fields(config), key=lambda field: field.name not in own):
        value = getattr(config, field.name)
        if "help" not in field.metadata or value == field.default:
            continue
        if isinstance(value, bool):
            words.append(f"--{field.name}" if value else f"--no{field.name}")
        else:
            words.append(f"--{field.name}={shlex.quote(str(value))}")
    return words
