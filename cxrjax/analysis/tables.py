"""The tables that training leaves behind, what an analysis makes of them, and both as CSV files of a run's folder.

Text of ours in a table is codes of `cxrjax.base.codes`; words are the report's.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from cxrjax.base import InputError, files, tasks
from cxrjax.base.config import ExperimentConfig, question
from cxrjax.base.tasks import Task

SCORED_BY_ALL = ("external", "test")  # sets that no seed was trained or validated on


class RunTables(NamedTuple):
    """What an evaluation starts from: all that training gave.

    Attributes:
      seeds: A row a seed: numbers of images, loss (nats) and train_accuracy of the last epoch, contaminated_share (of
        validation images, whose patient was trained on). In results.csv, with the metrics of `Analysis.seeds`.
      history: of each epoch; split is train or val
      predictions: validation images; score 0..1
      training: training images, the same columns: centre crop, no dropout, their own label
      images: every image of these two, once
      flow: From the source's list to the runs, a row a stage in order; excluded (bool): these images go no further;
        positives and negatives of the run's class, patients NaN where unknown; means over runs are not whole.
      external: the external set, columns as `predictions`; every seed scores every image
      test: images held out from every run (--test), likewise
      probe: validation images by a linear probe of the same frozen stages, columns as `predictions`, and its strength
        C; None: see `floors.no_probe`
    """

    seeds: pd.DataFrame
    history: pd.DataFrame
    predictions: pd.DataFrame
    training: pd.DataFrame
    images: pd.DataFrame
    flow: pd.DataFrame
    external: pd.DataFrame | None
    test: pd.DataFrame | None = None
    probe: pd.DataFrame | None = None

    @property
    def scored_by_all(self) -> dict[str, pd.DataFrame]:
        """The sets that every seed scores whole, by name: external, test."""
        return {name: table for name in SCORED_BY_ALL if (table := getattr(self, name)) is not None}


class Analysis(NamedTuple):
    """Metrics of a run; shares are 0..1, NaN is undefined.

    Attributes:
      seeds: `RunTables.seeds` and, of the validation images: every registered metric at 0.5; auroc_low and auroc_high
        (95 %, by resampling patients); delong_low and delong_high; threshold (chosen on training images for the wanted
        sensitivity), sensitivity_chosen and specificity_chosen at it; undefined (codes of why some of these are NaN,
        each with its column; or ""); train_sensitivity_chosen.
      external_seeds: seed, n, and the same metrics of the external set
      test_seeds: likewise of the images held out
      metrics: A row for each data (internal, external, test), rule (fixed: 0.5, chosen: each seed's threshold, prior:
        the share of positives in its training, where `scores.priors` has it) and
        registered metric: mean, sd, low, high over seeds (Nadeau & Bengio; low and high for internal alone), pooled
        over all seeds' scores with pooled_low and pooled_high (by resampling patients), undefined (codes of why one of
        these is NaN, and in how many seeds the metric is, which mean and sd leave out; or "").
      floors: What the network must beat on the same splits, a row each: floor (network, majority, film: view, sex and
        age, metadata: these and the follow-up number, probe, shuffled_labels, random_trunk), available (bool), note
        (code of why not, or of what it used); of each metric of `registry.FLOORS` the mean, _sd, and of network minus
        floor _difference, _difference_low, _difference_high, _p; beaten (bool: of AUROC, or of accuracy where the floor
        has no AUROC, the interval lies above 0; None where there is no interval); claim (what that interval supports,
        see `floors.claim`); undefined (codes of why one is NaN, each with its metric, or ""). The network has no
        difference from itself, and what is not available no number.
      leakage: --split_by=both: metric (contaminated_share and those of `registry.MAIN`), patient, image (means of the
        two splits), difference (image - patient), low, high, p, undefined (codes of why one is NaN, or "").
      subgroups: Of the validation images pooled over seeds: variable (view, sex, age, images: of the patient), group,
        images, patients, positives (each image once), small (bool: too few for a metric to mean much), of each metric
        of `registry.SUBGROUPS`: value, _low, _high (by resampling patients), undefined (codes of why one is NaN, or
        "").
      operating: Decisions at every threshold: data (internal, external), seed, threshold (0 to 1 in steps of 1/200),
        and the images of each kind; an image is called positive if its score lies above.
      calibration: Reliability, pooled: data, bin_low, bin_high, images and patients (each once), score (mean),
        positives (share), low, high (Wilson, of as many as there are patients); all four NaN where there is no image.
      ensemble: Of external and test, and each registered metric at 0.5: single (mean over the networks), ensemble (of
        their mean log odds, `ensemble.mean_log_odds`) with _low and _high; of those of `registry.FLOORS` gain (ensemble
        minus single) with gain_low and gain_high (both 95 %, by resampling patients); undefined (codes of why a figure
        or an end is NaN, or ""). None of one seed.
      errors: Validation images by how wrong they are on average, worst first: kind (false positive, false negative),
        score (mean over the seeds that validated it), seeds (how many), and what `RunTables.images` says.
    """

    seeds: pd.DataFrame
    external_seeds: pd.DataFrame | None
    metrics: pd.DataFrame
    floors: pd.DataFrame
    leakage: pd.DataFrame | None
    subgroups: pd.DataFrame
    operating: pd.DataFrame
    calibration: pd.DataFrame
    errors: pd.DataFrame
    test_seeds: pd.DataFrame | None = None
    ensemble: pd.DataFrame | None = None


@dataclasses.dataclass(frozen=True)
class Table:
    """A CSV file. `names`: its columns, or those before and behind the metrics; * marks text."""

    file: str
    names: str

    @property
    def columns(self) -> list[str]:
        """Their names."""
        return [name.removesuffix("*") for name in self.names.split()]

    @property
    def text(self) -> set[str]:
        """Those that are read as text."""
        return {name.removesuffix("*") for name in self.names.split() if name.endswith("*")}


_PREDICTIONS = "seed image* patient* label score"
TABLES = {  # field of `RunTables` or `Analysis` -> its file
    "history": Table("history", "seed epoch split* loss accuracy"),
    "predictions": Table("predictions", _PREDICTIONS),
    "training": Table("training_predictions", _PREDICTIONS),
    "images": Table("images", "image* patient* labels* view* age sex* followup"),
    "flow": Table("flow", "stage* excluded images positives negatives patients"),
    "external": Table("external_predictions", _PREDICTIONS),
    "test": Table("test_predictions", _PREDICTIONS),
    "probe": Table("probe_predictions", f"{_PREDICTIONS} strength"),
    "seeds": Table(
        "results",
        "seed n_train n_val positives_train positives_val loss train_accuracy best_epoch best_epoch_accuracy "
        "contaminated_share params_sha256*",
    ),
    "external_seeds": Table("external", "seed n"),
    "test_seeds": Table("test", "seed n"),
    "metrics": Table("metrics", "data* rule* metric* mean sd low high pooled pooled_low pooled_high undefined*"),
    "floors": Table("floors", "floor* available note* beaten claim* undefined*"),
    "leakage": Table("leakage", "metric* patient image difference low high p undefined*"),
    "subgroups": Table("subgroups", "variable* group* images patients positives small undefined*"),
    "ensemble": Table(
        "ensemble", "data* metric* single ensemble ensemble_low ensemble_high gain gain_low gain_high undefined*"
    ),
    "operating": Table("operating", "data* seed threshold true_pos false_pos false_neg true_neg"),
    "calibration": Table("calibration", "data* bin_low bin_high images patients score positives low high"),
    "errors": Table("errors", "kind* image* patient* labels* view* age sex* label score seeds"),
}
# Of `comparison.Comparison.metrics`, in whatever file a user asks for.
COMPARISON = Table("", "metric* a b difference low high statistic p seeds reason*")
# Text of the tables of `DreamRecord` and `MapRecord`.
_RECORDS = Table("", "parametrisation* aim* target* metric* method* network* against* note*")
_TEXT: set[str] = set().union(*(table.text for table in (COMPARISON, _RECORDS, *TABLES.values())))


class DreamRecord(NamedTuple):
    """What the networks of a run dream of; `experiments.deep_dream` makes it.

    Attributes:
      pictures: [H, W] u8 by kind: poster (first seed's positive neuron), seeds (rows: octaves and Fourier, of either
        class; columns: seeds), layers (rows: layers, columns: channels), starts (rows: mean radiograph and patients'
        images; columns: start, away from and towards the positive class, and the differences); [H, W, 3] for the last
        two at will.
      transfer: Dreams fed back as 8-bit images: parametrisation (octaves, fourier), aim (a class), dreamt_by (seed),
        seen_by (seed), score (log odds of the positive class), right (bool: classified as the class that was dreamt).
      numbers: settings; for each parametrisation: own_accuracy, transfer_accuracy (shares of dreams that the own, and
        the other seeds' networks classify as dreamt), dead (number of dreams without a gradient), stability (mean
        pairwise Spearman correlation of the seeds' dreams of the positive class).
    """

    pictures: dict[str, np.ndarray]
    transfer: pd.DataFrame
    numbers: dict[str, Any]


class MapRecord(NamedTuple):
    """Where the networks of a run look; `experiments.where_it_looks` makes it."""

    pictures: dict[str, np.ndarray]  # [H, W, 3] u8: overlays (rows: images with boxes; columns: image and methods)
    focus: pd.DataFrame  # `map_tests.Tests.table`
    agreement: pd.DataFrame  # `agreement.Agreement.table`
    numbers: dict[str, Any]  # settings, notes (codes of why something is absent), verdicts (`map_tests.Verdict`)
    boxes: pd.DataFrame | None = None  # `detection.table`; None in records of before


class Results(NamedTuple):
    """What an experiment found; `cxrjax.report` turns it into files."""

    config: ExperimentConfig
    environment: dict[str, Any]
    resolved: dict[str, Any]  # what followed from machine and files: input, seed_batch, hashes of weights and data
    summary: dict[str, Any]  # what summary.json holds
    tables: RunTables
    analysis: Analysis
    dream: np.ndarray  # [H, W] u8, what the first seed's positive neuron responds to
    pictures: dict[str, np.ndarray]  # image -> [256, 256] u8, of the errors that are shown
    dreams: DreamRecord | None = None
    maps: MapRecord | None = None

    @property
    def task(self) -> Task:
        """What the run asks."""
        return question(self.config)

    @property
    def flow(self) -> pd.DataFrame:
        """`RunTables.flow`."""
        return self.tables.flow

    @property
    def history(self) -> pd.DataFrame:
        """`RunTables.history`."""
        return self.tables.history


class FindingsResults(NamedTuple):
    """What an experiment with many labels found: results of each finding, as of a binary run, and what they share."""

    config: ExperimentConfig
    environment: dict[str, Any]
    resolved: dict[str, Any]
    summary: dict[str, Any]  # what summary.json holds
    findings: list[Results]
    flow: pd.DataFrame  # as `RunTables.flow`, of the task; positives carry any finding
    table: pd.DataFrame  # findings.csv: a row a finding

    @property
    def task(self) -> Task:
        """What the run asks."""
        return tasks.get(self.config.task)

    @property
    def history(self) -> pd.DataFrame:
        """`RunTables.history`, of all labels together."""
        return self.findings[0].tables.history


def write(folder: Path, tables: RunTables, analysis: Analysis) -> None:
    """Writes every table as a CSV file, seven digits a number; one that is None has no file, nor keeps one.

    Raises:
      ValueError: a column holds text that no table of `TABLES` says so of: it would come back as numbers.
    """
    for name, table in (tables._asdict() | analysis._asdict()).items():  # seeds of `Analysis` stand for both
        path = folder / f"{TABLES[name].file}.csv"
        if table is None:
            path.unlink(missing_ok=True)  # of an attempt that was interrupted, with other flags
            continue
        texts = {column for column in table if pd.api.types.infer_dtype(table[column], skipna=True) == "string"}
        if undeclared := texts - _TEXT:
            raise ValueError(f"TABLES[{name!r}] must mark as text {', '.join(sorted(undeclared))}")
        files.write_text(path, table.to_csv(index=False, float_format="%.7g"))


def read(folder: Path) -> RunTables:
    """The tables of a finished run, as `write` left them.

    Raises:
      InputError: a file or a column is missing, as in a run of another version, or a file is damaged.
    """
    optional, columns = (*SCORED_BY_ALL, "probe"), TABLES["seeds"].columns
    paths = {name: folder / f"{TABLES[name].file}.csv" for name in RunTables._fields}
    tables: dict[str, Any] = {
        name: read_table(path) if name not in optional or path.is_file() else None for name, path in paths.items()
    }
    return RunTables(**tables | {"seeds": read_table(paths["seeds"], columns)[columns]})


def read_table(path: Path, columns: list[str] | None = None) -> pd.DataFrame:
    """Any table of a run or of a record. Text stays as written ("00012", "", "NA"), an empty number is NaN.

    Args:
      path: of the CSV file.
      columns: that it must have.

    Raises:
      InputError: it is missing, damaged, or lacks a column.
    """
    try:
        names = pd.read_csv(path, nrows=0).columns
        text = [name for name in names if name in _TEXT]
        table = pd.read_csv(
            path,
            dtype=dict.fromkeys(text, str),
            keep_default_na=False,
            na_values={name: [""] for name in names if name not in text},
        )
    except FileNotFoundError as error:
        raise InputError(f"{path} is missing: the run is not whole, or of another version") from error
    except (ValueError, OSError) as error:
        raise InputError(f"{path} cannot be read as a table of a run: {error}") from error
    if missing := [name for name in columns or [] if name not in names]:
        raise InputError(f"{path} lacks the column(s) {', '.join(missing)}")
    return table
