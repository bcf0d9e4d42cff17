"""The configuration of an experiment: its fields are the flags of the command line.

Nothing is imported at run time but the standard library, so that command lines can be parsed at once.
"""

from __future__ import annotations

import dataclasses
import re
import shlex
from pathlib import Path
from typing import Any

from cxrjax.base import InputError, tasks
from cxrjax.base.flags import (
    DATA,
    EVALUATION,
    MACHINE,
    OUTPUT,
    TRAINING,
    NetworkFlags,
    SamplingFlags,
    SourceFlags,
    flag,
    flag_words,
)
from cxrjax.base.recipes import RecipeFlags
from cxrjax.base.tasks import Task


@dataclasses.dataclass(frozen=True)
class ExperimentConfig(SamplingFlags, RecipeFlags, NetworkFlags, SourceFlags):
    """One experiment: what `python -m experiments.NAME` takes. Fields with a help text are its flags."""

    name: str  # of the program: p_vs_nf
    task: str  # name of a `tasks.Task`: p_vs_nf, Effusion vs rest
    finding: str = ""  # of a task of many labels: what these results are of; "": of all
    data_dir: str | None = flag(
        None,
        "NIH folder as downloaded, class folders, a CSV of images, or a store made by experiments.prepare; none: the "
        "built-in phantom",
        path=True,
        group=DATA,
    )
    seeds: int = flag(
        10, "number of runs; each has its own draw, split, initial weights and augmentation", lower=1, group=TRAINING
    )
    first_seed: int = flag(
        0, "seed of the first run; the following runs count up from it", lower=0, upper=4_000_000_000, group=TRAINING
    )
    input: str = flag(
        "auto",
        "tfdata: a tf.data pipeline; resident: all images in device memory; auto: tfdata if TensorFlow is installed. "
        "All give the same numbers",
        choices=("auto", "tfdata", "resident"),
        group=MACHINE,
    )
    start_from: str = flag(
        "",
        "folder of a finished run of the same network. The retrained layers of each seed start from those of the same "
        "seed there. All but the last layer then use --trunk_factor times the learning rate; with 0 only the "
        "last layer is trained",
        path=True,
        group=TRAINING,
    )
    control: str = flag(
        "none",
        "shuffled_labels: shuffles the labels of the training images. A result better than chance then points to a "
        "mistake in the method",
        choices=("none", "shuffled_labels"),
        group=EVALUATION,
    )
    floors: bool = flag(
        False,
        "also train two floors that the network must beat, with the same seeds (in OUT/arms): shuffled labels and a "
        "random trunk. Takes three times as long. The floors majority class and metadata are always computed",
        group=EVALUATION,
    )
    wanted_sensitivity: float = flag(
        0.9,
        "sensitivity for which a second threshold is chosen, on training images; the first threshold is 0.5",
        lower=0.01,
        upper=1,
        group=EVALUATION,
    )
    prevalence: float = flag(
        0.013,
        "prevalence of pneumonia for which PPV and NPV are also given; 0.013 is that of NIH ChestX-ray14",
        lower=0,
        upper=1,
        group=EVALUATION,
    )
    lang: str = flag("en", "language of the report", choices=("en", "es"), group=OUTPUT)
    seed_batch: int = flag(
        0, "seeds trained together in one program; 0: as many as memory allows", lower=0, group=MACHINE
    )
    dtype: str = flag(
        "float32",
        "type of activations and matrix products; bfloat16 is for GPUs. Parameters and updates are float32",
        choices=("float32", "bfloat16"),
        group=MACHINE,
    )
    precision: str = flag(
        "default",
        "precision of float32 products and convolutions. default: JAX's default, which on a GPU is TF32 (factors "
        "rounded to 10 bits); float32: full precision, slower on GPUs. A CPU has no TF32",
        choices=("default", "float32"),
        group=MACHINE,
    )
    external_dir: str | None = flag(
        None, "second data set, used for evaluation only; same forms as --data_dir", path=True, group=EVALUATION
    )
    out: str | None = flag(None, "folder for the results; none: runs/NAME", path=True, group=OUTPUT)
    overwrite: bool = flag(
        False, "replace a finished run in --out, or an interrupted one with another configuration", group=OUTPUT
    )
    max_bad: float = flag(
        0.01,
        "largest share of unreadable images; they are left out. With more, the data are refused",
        lower=0,
        upper=1,
        group=DATA,
    )


ANY = "train"  # name of the program that runs any task
_PRESETS = ("p_vs_nf", "p_vs_np", "chestxray14")  # tasks with a program of their name


def experiment_of(flags: Any) -> ExperimentConfig:
    """The experiment of a program that runs several: of its `task`, with those of its flags that an experiment has."""
    names = {field.name for field in dataclasses.fields(ExperimentConfig)}
    shared = {field.name: getattr(flags, field.name) for field in dataclasses.fields(flags) if field.name in names}
    return ExperimentConfig(name=flags.task if flags.task in _PRESETS else ANY, **shared)


SHUFFLED_LABELS, RANDOM_TRUNK, SPLIT_BY_IMAGE = "shuffled_labels", "random_trunk", "split_by_image"  # arms


def question(config: ExperimentConfig) -> Task:
    """The binary task of these results; of a task of many labels, if no finding is named, the task."""
    return tasks.get(config.task, config.finding)


def questions(config: ExperimentConfig) -> list[ExperimentConfig]:
    """The configuration of each finding's results, of a task of many labels; of others the one configuration."""
    parts = tasks.get(config.task).parts
    return [dataclasses.replace(config, finding=part.positive.finding) for part in parts] or [config]


WAYS_TO_TEST = OFFICIAL, BOXES = "official", "boxes"  # --test, beside a share and a file


def run_path(config: ExperimentConfig) -> Path:
    """--out, or runs/NAME, of the program of any task runs/TASK."""
    name = re.sub(r"\W+", "_", config.task).lower() if config.name == ANY else config.name
    return Path(config.out or f"runs/{name}")


def result_path(config: ExperimentConfig) -> Path:
    """Where the results are: the run's folder, or one for each finding of a task of many labels below it."""
    return finding_path(run_path(config), config.finding)


def finding_path(folder: Path, finding: str) -> Path:
    """Where the results of a finding are in a run's folder; "": the folder."""
    return folder / "findings" / finding if finding else folder


def question_paths(folder: Path, config: ExperimentConfig) -> dict[ExperimentConfig, Path]:
    """Where the tables of each question of a run are, whose folder may have been moved."""
    if config.finding:
        return {config: folder}
    return {of: finding_path(folder, of.finding) for of in questions(config)}


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


def test_share(test: str) -> float | None:
    """The share of --test, above 0 and below 1; None if it is none.

    >>> test_share("0.2"), test_share("official"), test_share("list.txt")
    (0.2, None, None)

    Raises:
      InputError: if it is another number.
    """
    try:
        share = float(test)
    except ValueError:
        return None
    if not 0 < share < 1:
        raise InputError(f"--test must be a share above 0 and below 1, got {test}")
    return share


def names_file(test: str) -> bool:
    """Whether --test is the name of a file."""
    return test not in ("", *WAYS_TO_TEST) and test_share(test) is None


def with_absolute_paths(config: ExperimentConfig) -> ExperimentConfig:
    """The same experiment wherever it is opened: data, weights and external data by their absolute paths."""

    def absolute(path: str | None) -> str | None:
        return str(Path(path).resolve()) if path else path

    return dataclasses.replace(
        config,
        data_dir=absolute(config.data_dir),
        weights=config.weights if config.weights in ("", "random") else str(Path(config.weights).resolve()),
        external_dir=absolute(config.external_dir),
        labels=absolute(config.labels),
        start_from=absolute(config.start_from) or "",
        test=str(Path(config.test).resolve()) if names_file(config.test) else config.test,
    )


def in_checkout() -> bool:
    """Whether the working directory is this package's checkout, where `python -m experiments.NAME` runs."""
    return Path(__file__).resolve().parents[2] == Path.cwd()


def install_command(extra: str) -> str:
    """What installs an optional part: into the checkout, or beside the package that is installed.

    >>> install_command("tf")  # in a checkout
    'pip install -e ".[tf]"'
    """
    return f'pip install -e ".[{extra}]"' if in_checkout() else f'pip install "cxrjax[{extra}]"'


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
    words = flag_words(dataclasses.replace(config, overwrite=False))
    task = [f"--task={shlex.quote(config.task)}"] if config.name == ANY else []
    return " ".join([program(config.name), *task, *words])
