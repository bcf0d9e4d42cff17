"""The data types that modules share: NamedTuples and frozen dataclasses, no logic.

Axes: B batch, S seeds, N images, T steps, H W C image, K classes. Label 1 is pneumonia.
Nothing is imported at run time but the standard library, so that command lines can be parsed at once.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from pathlib import Path

    import jax
    import numpy as np
    import pandas as pd

Array: TypeAlias = "jax.Array | np.ndarray"
Params: TypeAlias = "dict[str, dict[str, Array]]"  # layer -> {"kernel", "bias"}


class InputError(ValueError):
    """A mistake in what the user gave (a flag, a file, a folder): one clear line, exit status 2."""


class Plan(NamedTuple):
    """What happens at every step of an epoch; pipelines only execute it. See `cxrjax.plan`."""

    index: Array  # type: ignore[assignment]  # [T, B] i32, row of the store; hides tuple.index on purpose
    offset: Array  # [T, B, 2] i32, (y, x) of the crop, 0..29
    flip: Array  # [T, B] bool, mirrored left to right
    slot: Array  # [T, B] i32, entry of the augmentation bank, -1: fresh
    mask: Array  # [T, B] bool, False where padded


class Batch(NamedTuple):
    """One step's examples. `image` is what enters the head: pixels u8, or the trunk's activations f32."""

    image: Array  # [B, 227, 227] u8, or [B, ...] f32
    label: Array  # [B] i32
    mask: Array  # [B] bool


class TrainState(NamedTuple):
    """Everything that training one seed carries from step to step."""

    step: Array  # [] i32, number of steps that held at least one example
    params: Params  # of the head
    opt_state: Any
    key: Array  # [] typed PRNG key of dropout; step t uses fold_in(key, t)


class Schedule(NamedTuple):
    """How long and how to train."""

    epochs: int
    batch_size: int
    learning_rate: float
    momentum: float
    augment_bank: int
    flip: bool = True  # mirrored with probability 1/2


class SeedData(NamedTuple):
    """The images of one run."""

    seed: int
    train: np.ndarray  # [n] i32, rows of the store
    val: np.ndarray  # [v] i32
    taught: np.ndarray | None = None  # [n] i32, label with which each of `train` is trained; None: its own


class Metrics(NamedTuple):
    """Sums over examples; two of them merge by addition. See `cxrjax.metrics`."""

    loss_sum: Array  # [] f32, nats
    correct: Array  # [] i32
    false_pos: Array  # [] i32
    false_neg: Array  # [] i32
    count: Array  # type: ignore[assignment]  # [] i32; hides tuple.count on purpose


class ImageStore(NamedTuple):
    """Reduced radiographs and what is known of them; row i of both belongs together."""

    images: np.ndarray  # [N, size, size] u8, a memory map, size 256 unless asked; 0 is black
    table: pd.DataFrame  # [N] image, patient, labels, view, age, sex, followup, split
    folder: Path | None = None  # of a store on disk, which may hold more: `store.read_bad_images`, `read_boxes`


class Cohort(NamedTuple):
    """The images of one run, sorted by name."""

    index: np.ndarray  # type: ignore[assignment]  # [N] i32, row of the store
    label: np.ndarray  # [N] i32, 1 is pneumonia
    patient: np.ndarray  # [N] str


class Split(NamedTuple):
    """Positions within a Cohort."""

    train: np.ndarray  # [n_train] i32
    val: np.ndarray  # [n_val] i32


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """What the weights expect of a pixel: `(value / 255 * range - mean) / std`, channels in `channels` order."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    range: float  # 1 for torchvision, 255 for caffe
    channels: Literal["RGB", "BGR"]


@dataclasses.dataclass(frozen=True)
class WeightsInfo:
    """The small JSON beside an Orbax checkpoint of converted weights."""

    source: str
    file: str  # base name of the file that was read
    sha256: str
    variant: Literal["torchvision", "caffe"]
    layers: tuple[str, ...]  # present, in order
    preprocessing: Preprocessing


class Details(NamedTuple):
    """What the header of an image says; "" where it says nothing."""

    patient: str
    age: str  # as written, 058Y
    sex: str
    view: str


class Reduction(NamedTuple):
    """How an image of any size becomes a square one."""

    size: int = 256  # pixels
    fit: str = "stretch"  # stretch: the whole image, without its aspect; pad: with black; crop: the central square
    filter: str = "bilinear"  # Pillow's anti-aliased bilinear, or box (area)


class About(NamedTuple):
    """Where a store's images come from; written beside them as `about.json`."""

    source: str  # the folder as the user gave it, or "phantom"
    listed: dict[str, int]  # label as written -> images with it in the source's table, present or not
    made: dict[str, Any]  # size, fit, filter and versions of what decoded the images; empty if drawn
    bad_images: dict[str, str]  # image -> why it was left out; from `bad_images.csv`


class Weights(NamedTuple):
    """Pretrained parameters and what they are; `params` holds only the layers that are present."""

    params: Params
    info: WeightsInfo


class RunTables(NamedTuple):
    """What an evaluation starts from: all that training gave, each a CSV file in the run's folder."""

    seeds: pd.DataFrame
    """A row a seed: seed, n_train, n_val, positives_train, positives_val, loss (nats) and train_accuracy of the last
    epoch, best_epoch, best_epoch_accuracy, contaminated_share (of validation images, whose patient was trained on),
    params_sha256. In results.csv, with the figures of `Analysis.seeds`."""
    history: pd.DataFrame  # seed, epoch, split (train or val), loss, accuracy
    predictions: pd.DataFrame  # validation images: seed, image, patient, label, score (0..1)
    training: pd.DataFrame  # training images, the same columns: centre crop, no dropout, their own label
    images: pd.DataFrame  # every image of these two, once: image, patient, labels, view, age, sex, followup
    flow: pd.DataFrame
    """From the source's list to the runs, a row a stage in order: stage, excluded (bool, these images go no further),
    images, positives, negatives (of the run's class), patients (NaN where unknown); means over runs are not whole."""
    external: pd.DataFrame | None  # the external set, columns as `predictions`; every seed scores every image


class Analysis(NamedTuple):
    """Figures of a run, each table a CSV file in its folder; shares are 0..1, NaN is undefined."""

    seeds: pd.DataFrame
    """`RunTables.seeds` and, of the validation images: `performance.NAMES` at 0.5; auroc_low and auroc_high (95 %, by
    resampling patients); delong_low and delong_high; threshold (chosen on training images for the wanted sensitivity),
    sensitivity_chosen and specificity_chosen at it; train_sensitivity_chosen."""
    external_seeds: pd.DataFrame | None  # seed, n, and the same figures of the external set
    figures: pd.DataFrame
    """A row for each data (internal, external), rule (fixed: 0.5, chosen: each seed's threshold) and figure of
    `performance.NAMES`: mean, sd, low, high over seeds (Nadeau & Bengio; no interval for external), pooled over all
    seeds' scores with pooled_low and pooled_high (by resampling patients), undefined (why pooled or its interval is
    NaN, and in how many seeds the figure is, which mean and sd leave out; or "")."""
    floors: pd.DataFrame
    """What the network must beat on the same splits, a row each: floor (network, majority, metadata, shuffled_labels,
    random_trunk), available (bool), note (why not, or what it used), accuracy, accuracy_sd, auroc, auroc_sd; of network
    minus floor accuracy_difference, accuracy_difference_low, accuracy_difference_high, accuracy_p, and the same of
    auroc; beaten (bool: of AUROC, or of accuracy where the floor has no AUROC, the interval lies above 0; None where
    there is no interval)."""
    leakage: pd.DataFrame | None
    """--split_by=both: figure (contaminated_share, accuracy, fp_share, fn_share, sensitivity, specificity, auroc),
    patient, image (means of the two splits), difference (image - patient), low, high, p."""
    subgroups: pd.DataFrame
    """Of the validation images pooled over seeds: variable (view, sex, age, images: of the patient), group, images,
    patients, positives (each image once), small (bool: too few for a figure to mean much), of each of accuracy,
    sensitivity, specificity, auroc: value, _low, _high (by resampling patients), undefined (why one is NaN, or "")."""
    operating: pd.DataFrame
    """Decisions at every threshold: data (internal, external), seed, threshold (0 to 1 in steps of 1/200), true_pos,
    false_pos, false_neg, true_neg; an image is called positive if its score lies above."""
    calibration: pd.DataFrame
    """Reliability, pooled: data, bin_low, bin_high, images and patients (each once), score (mean), positives (share),
    low, high (Wilson, of as many as there are patients)."""
    errors: pd.DataFrame
    """Validation images by how wrong they are on average, worst first: kind (false positive, false negative), image,
    patient, labels, view, age, sex, label, score (mean over the seeds that validated it), seeds (how many)."""


class DreamRecord(NamedTuple):
    """What the networks of a run dream of; `experiments.deep_dream` makes it."""

    pictures: dict[str, np.ndarray]
    """[H, W] u8 by kind: poster (first seed's pneumonia neuron), seeds (rows: octaves and Fourier, of either class;
    columns: seeds), layers (rows: layers, columns: channels), starts (rows: mean radiograph and patients' images;
    columns: start, away from and towards pneumonia, and the differences); [H, W, 3] for the last two at will."""
    transfer: pd.DataFrame
    """Dreams fed back as 8-bit images: parametrisation (octaves, fourier), aim (P or the negative class), dreamt_by
    (seed), seen_by (seed), score (log odds of pneumonia), right (bool: classified as the class that was dreamt)."""
    numbers: dict[str, Any]
    """settings; for each parametrisation: own_accuracy, transfer_accuracy (shares of dreams that the own, and the other
    seeds' networks classify as dreamt), dead (number of dreams without a gradient), stability (mean pairwise Spearman
    correlation of the seeds' dreams of pneumonia)."""


class MapRecord(NamedTuple):
    """Where the networks of a run look; `experiments.where_it_looks` makes it. Columns: `analysis.looks`."""

    pictures: dict[str, np.ndarray]  # [H, W, 3] u8: overlays (rows: images with boxes; columns: image and methods)
    focus: pd.DataFrame  # share of map energy inside lungs and boxes, pointing game, against baselines and controls
    agreement: pd.DataFrame  # similarity of maps over seeds and to controls
    numbers: dict[str, Any]  # settings, notes (why something is absent), verdicts (list of str, English)


class Results(NamedTuple):
    """What an experiment found; `cxrjax.report` turns it into files."""

    config: ExperimentConfig
    environment: dict[str, Any]
    settled: dict[str, Any]  # what followed from machine and files: input, seed_batch, hashes of weights and data
    summary: dict[str, Any]  # what summary.json holds
    tables: RunTables
    analysis: Analysis
    dream: np.ndarray  # [H, W] u8, what the first seed's pneumonia neuron responds to
    pictures: dict[str, np.ndarray]  # image -> [256, 256] u8, of the errors that are shown
    dreams: DreamRecord | None = None
    maps: MapRecord | None = None


def flag(default: Any, text: str, **rules: Any) -> Any:
    """A field that is also a flag: its help text and the rules of its value (choices, lower, upper)."""
    return dataclasses.field(default=default, metadata={"help": text, **rules})


@dataclasses.dataclass(frozen=True)
class ExperimentConfig:
    """One experiment: what `python -m experiments.NAME` takes. Fields with a help text are its flags."""

    name: str  # p_vs_nf
    negative_class: Literal["NP", "NF"]
    data_dir: str | None = flag(
        None,
        "NIH folder as downloaded, class folders, a CSV of images, or a store by experiments.prepare; none: the "
        "embedded phantom",
    )
    weights: str = flag("weights/alexnet-imagenet", "converted weights, or 'random' for none")
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
    retrain_from: str = flag("fc6", "first layer that is retrained", choices=("fc6", "fc7", "fc8", "conv1"))
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
    external_dir: str | None = flag(None, "second data set, evaluated only; as --data_dir")
    out: str | None = flag(None, "folder for the results; none: runs/NAME")
    overwrite: bool = flag(False, "replace a finished run in --out, or an interrupted one of another configuration")
    max_bad: float = flag(
        0.01,
        "share of images that may be unreadable and are left out; with more the data are refused",
        lower=0,
        upper=1,
    )
