"""The tables that training leaves behind, and what an analysis makes of them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from cxrjax.base.config import ExperimentConfig


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
    """`RunTables.seeds` and, of the validation images: `registry.METRICS` at 0.5; auroc_low and auroc_high (95 %, by
    resampling patients); delong_low and delong_high; threshold (chosen on training images for the wanted sensitivity),
    sensitivity_chosen and specificity_chosen at it; train_sensitivity_chosen."""
    external_seeds: pd.DataFrame | None  # seed, n, and the same figures of the external set
    figures: pd.DataFrame
    """A row for each data (internal, external), rule (fixed: 0.5, chosen: each seed's threshold) and figure of
    `registry.METRICS`: mean, sd, low, high over seeds (Nadeau & Bengio; no interval for external), pooled over all
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
