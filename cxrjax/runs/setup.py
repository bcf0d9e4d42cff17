"""An experiment before training: flags are checked, data and network opened, what is open is resolved."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
from collections.abc import Callable
from pathlib import Path

import jax
import jaxlib
import numpy as np
import pandas as pd

from cxrjax.base import InputError, devices, recipes, tasks
from cxrjax.base.codes import code
from cxrjax.base.config import ExperimentConfig, arms, names_file
from cxrjax.base.recipes import Recipe
from cxrjax.base.tasks import Task
from cxrjax.data import classes, copies, matching, relabel
from cxrjax.data.load import load, naming
from cxrjax.models import pretrained, registry, transfer
from cxrjax.models.model import LINEAR, Model
from cxrjax.models.pretrained import Weights
from cxrjax.runs import run_folder, starts
from cxrjax.runs.draws import Cohorts
from cxrjax.runs.run_folder import Resolved
from cxrjax.storage.store import About, ImageStore, hash_rows
from cxrjax.training import bank, inputs, seed_batches, tf_input

log = logging.getLogger(__name__)

_BANK_SHARE = 4  # of the free disk: another bank for --floors' random trunk, checkpoints and more must fit beside it


class ImageHashes:
    """SHA-256 of a store's images; each is computed once."""

    def __init__(self, store: ImageStore) -> None:
        """Nothing is read yet."""
        self._images = store.images
        self._known: dict[int, bytes] = {}

    def of(self, rows: np.ndarray) -> dict[int, bytes]:
        """Row of the store -> SHA-256 of its pixels."""
        self._known |= hash_rows(self._images, np.array([row for row in rows if int(row) not in self._known], int))
        return {int(row): self._known[int(row)] for row in rows}


def check(config: ExperimentConfig) -> None:
    """Refuses values that no flag rule catches.

    Raises:
      InputError: naming flag, rule and value.
    """
    is_multilabel, match = tasks.get(config.task).is_multilabel, matching.variables(config.match)
    for name, default in (("negatives", "auto"), ("sampling", "undersample")):
        if getattr(config, name) != default and (is_multilabel or match):
            why = "takes all labelled images" if is_multilabel else f"--match={config.match} draws as many as positives"
            raise InputError(f"--{name}={getattr(config, name)}: {config.task} {why}")
    if config.sampling == "all" and config.negatives not in ("auto", "all"):
        raise InputError(f"--sampling=all takes every negative, so --negatives must be auto, got {config.negatives}")
    for name in ("train_ratio", "start_from"):
        if is_multilabel and getattr(config, name):
            raise InputError(
                f"--{name}={getattr(config, name)} is for tasks of two classes; {config.task} has many labels"
            )
    if config.start_from and (config.head == "linear" or arms(config)):
        raise InputError(
            f"--start_from={config.start_from} cannot be combined with --floors, --split_by=both or --head=linear"
        )
    if match and is_multilabel:
        raise InputError(
            f"--match={config.match}: {config.task} takes all labelled images, so there is no draw to match"
        )
    if config.labels_for != "both" and not config.labels:
        raise InputError(f"--labels_for={config.labels_for} needs --labels: a table of other labels")
    names_file(config.test)  # refuses a share that is none
    if not 0 < config.val_fraction < 1:
        raise InputError(f"--val_fraction must be above 0 and below 1, got {config.val_fraction:g}")
    recipes.check(config)
    if config.image_size and config.image_size < 224:
        raise InputError(f"--image_size must be 0 or from 224 to 512, got {config.image_size}")
    places = {Path(place).resolve() for place in (config.data_dir, config.external_dir) if place}
    if config.data_dir and config.external_dir and len(places) == 1:
        raise InputError(f"--external_dir={config.external_dir} must be another set than --data_dir={config.data_dir}")
    if config.model:
        registry.get(config.model)
    if config.input == "tfdata":
        tf_input.require_tensorflow()


def open_network(
    config: ExperimentConfig, load_weights: Callable[[str], Weights] = pretrained.load_weights
) -> tuple[ExperimentConfig, Weights | None]:
    """The configuration with the network, its weights and the first retrained stage named, and the weights.

    Raises:
      InputError: if the weights are missing, damaged or another network's, the network has no such stage or no
        BatchNorm or pooling that could be had otherwise, or nothing is frozen of which a bank could be made.
    """
    place = config.weights or f"weights/{config.model or registry.ALEXNET.name}-imagenet"
    weights = None if place == "random" else load_weights(place)
    model = weights.model if weights else registry.get(config.model or registry.ALEXNET.name)
    if config.model not in ("", model.name):
        raise InputError(f"--model={config.model} is not the network of --weights={place}, which is {model.name}")
    model = model.with_pooling(config.lse_r)
    start = model.first_retrained(config.retrain_from, "--retrain_from")
    first = start
    if config.head == "linear":
        model, first = model.with_linear_head(start), LINEAR
    if start == model.stages[0] and config.augment_bank > 0:
        raise InputError(
            f"--augment_bank={config.augment_bank} needs frozen layers, and --retrain_from={config.retrain_from} "
            "leaves none"
        )
    if config.batch_norm == "train" and "batch_stats" not in model.variable_shapes(first):
        raise InputError(f"--batch_norm=train: {model.label} has no BatchNorm from {start} on")
    retrained = set(model.between(first, model.logits)) - {model.logits}
    if (
        config.trunk_factor != 1
        and not config.start_from
        and not retrained.intersection(weights.params if weights else ())
    ):
        raise InputError(
            f"--trunk_factor={config.trunk_factor:g}: no retrained stage starts from pretrained weights "
            f"(--retrain_from={start}, --weights={place})"
        )
    return dataclasses.replace(config, model=model.name, weights=place, retrain_from=start), weights


def model_of(config: ExperimentConfig, weights: Weights | None) -> Model:
    """The network of a configuration, see `open_network`, at its size and with its pooling."""
    model = weights.model if weights else registry.get(config.model)
    return model.resized(config.image_size).with_pooling(config.lse_r)


def external_set(external: ImageStore, store: ImageStore, cohorts: Cohorts, task: Task) -> tuple[ImageStore, int]:
    """The external set as it may be evaluated, and how many of its images are copies of those of the runs.

    A copy, by its pixels or resized or recompressed (`copies.find`), loses its labels: it is in no class.

    Args:
      external: as it was opened.
      store: of the runs.
      cohorts: of all runs, who were trained or validated on.
      task: of the runs.

    Raises:
      InputError: if every image is a copy, or none is in a class of a task of two.
    """
    matches = copies.find(store.images, external.images, cohorts.rows)
    is_copy = matches.rows >= 0
    if is_copy.all():
        raise InputError(
            f"--external_dir: all of its {len(is_copy)} images are also in these runs, so the set is not external"
        )
    if is_copy.any():
        row = int(np.flatnonzero(is_copy)[0])
        log.warning(
            "external set: %d of %d images are left out, because they are also in these runs (%d unchanged, the "
            "others resized or recompressed); %s is %s",
            is_copy.sum(), len(is_copy), matches.same_pixels.sum(), external.table["image"].iloc[row],
            store.table["image"].iloc[matches.rows[row]],
        )  # fmt: skip
    table = external.table.assign(labels=external.table["labels"].mask(is_copy, ""))
    classes.refuse_absent(table["labels"], task, "--external_dir")
    return external._replace(table=table), int(is_copy.sum())


def open_data(config: ExperimentConfig, side: int, make: bool = True) -> tuple[ImageStore, About]:
    """The data of an experiment, with the labels of --labels.

    Args:
      config: of the experiment.
      side: width and height of the images in pixels.
      make: see `load.load`.

    Raises:
      InputError: see `load.load` and `relabel.replace`.
    """
    store, about = load(config.data_dir, config.max_bad, side, config, make)
    if not config.labels:
        return store, about
    return relabel.replace(store, about, Path(config.labels), naming(config).vocabulary, config.labels_for)


def build(config: ExperimentConfig, weights: Weights | None) -> transfer.Network:
    """The network, cut into trunk and head; with --start_from its logits alone count as fresh."""
    net = transfer.build_transfer_model(
        weights,
        config.retrain_from,
        num_classes=tasks.get(config.task).outputs,
        model=registry.get(config.model),
        dtype=config.dtype,
        image_size=config.image_size,
        batch_norm=config.batch_norm,
        clahe=config.clahe,
        linear=config.head == "linear",
        lse_r=config.lse_r,
    )
    return net._replace(fresh=(net.model.logits,)) if config.start_from else net


def recipe(config: ExperimentConfig) -> Recipe:
    """How long and how to train."""
    return Recipe(**{field.name: getattr(config, field.name) for field in dataclasses.fields(Recipe)})


def device() -> str:
    """What numbers are computed with, as in `Resolved`."""
    return f"{jax.device_count()} x {jax.devices()[0].device_kind}, jaxlib {jaxlib.__version__}"


def weights_digest(weights: Weights | None) -> str | None:
    """SHA-256 of pretrained parameters."""
    return None if weights is None else transfer.digest(weights.variables)


def data_digest(hashes: dict[int, bytes], table: pd.DataFrame, test: np.ndarray) -> str:
    """SHA-256 of the images that take part, their labels and patients, and which of them are held out.

    Args:
      hashes: see `ImageHashes.of`.
      table: of the store.
      test: rows that are held out, `Cohorts.test`.
    """
    rows = sorted(hashes)
    digest = hashlib.sha256(b"".join(hashes[row] for row in rows))
    digest.update(table.iloc[rows].to_csv(index=False).encode())
    digest.update("\n".join(table["image"].iloc[test]).encode())
    return digest.hexdigest()


def with_bank(
    config: ExperimentConfig, net: transfer.Network, cohorts: Cohorts, cache: bank.Cache
) -> tuple[ExperimentConfig, str]:
    """The configuration with --augment_bank=auto as a number, and a code that says why; "" if nothing was open.

    The number is the one with which an interrupted run began, else that of `_bank`; in all processes the same. It does
    not depend on what else is trained: seed i of many equals seed i alone, but where the disk is short.

    Args:
      config: with the network named, see `open_network`.
      net: see `build`.
      cohorts: of all runs.
      cache: of activations.
    """
    if config.augment_bank != recipes.AUTO:
        return config, ""
    slots, why = run_folder.bank_of(config), ""
    if slots is None:
        why = _bank(config, net, np.unique(np.concatenate(cohorts.train)), cache)
        slots = recipes.BANK if why.startswith("bank ") else 0
    chosen = devices.broadcast_json({"slots": slots, "why": why})
    return dataclasses.replace(config, augment_bank=chosen["slots"]), chosen["why"]


def _bank(config: ExperimentConfig, net: transfer.Network, rows: np.ndarray, cache: bank.Cache) -> str:
    """The code `bank` if these training images are to have one, else the code of what speaks against it."""
    slots, epochs = recipes.BANK, config.epochs
    if config.head == "linear":
        return code("no_bank_linear")
    if not net.trunk.identity:
        return code("no_bank_frozen")
    if jax.default_backend() != "cpu":  # the poster's fresh augmentation takes half a minute for ten seeds on an H100
        return code("no_bank_device")
    if epochs <= slots:  # the frozen layers would see more images, not fewer
        return code("no_bank_epochs", slots=slots, epochs=epochs)
    needed, free = bank.demand(net.trunk, rows, bank.Slots(slots, inputs.variation(recipe(config))), cache)
    if needed > free / _BANK_SHARE:
        return code("no_bank_room", slots=slots, needed=f"{needed / 1e9:.1f}", free=f"{free / 1e9:.1f}")
    return code("bank", slots=slots)


def resolve(
    config: ExperimentConfig,
    net: transfer.Network,
    weights_sha256: str | None,
    data_sha256: str,
    augmentation: str = "",
    images_bytes: int = 0,
) -> Resolved:
    """What the user left open: as an interrupted run had it, else as this machine suggests; in all processes the same.

    Args:
      config: with a number as its bank, see `with_bank`.
      net: see `build`.
      weights_sha256: see `weights_digest`.
      data_sha256: see `data_digest`.
      augmentation: code of `with_bank`.
      images_bytes: of the store.
    """
    before = run_folder.recall(config)
    pipeline = config.input
    if pipeline == "auto":
        pipeline = before.input if before else inputs.default_pipeline(images_bytes)
    if config.seed_batch:
        seed_batch = config.seed_batch
    else:
        seed_batch = before.seed_batch if before else seed_batches.default_seed_batch(net, recipe(config), config.seeds)
    resolved = Resolved(
        input=pipeline,
        seed_batch=min(seed_batch, config.seeds),
        device=device(),
        weights_sha256=weights_sha256,
        data_sha256=data_sha256,
        augmentation=before.augmentation if before else augmentation,
        start_sha256=starts.digest(config),
    )
    return Resolved(**devices.broadcast_json(dataclasses.asdict(resolved)))
