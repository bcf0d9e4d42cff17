"""What a reader of a run must know beside its metrics, as codes with their values: see `cxrjax.base.codes`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePath
from typing import Any

import pandas as pd

from cxrjax.base.codes import code
from cxrjax.base.config import ExperimentConfig, question
from cxrjax.base.flags import thins_training
from cxrjax.data.conventions import CONVENTIONS
from cxrjax.models.pretrained import Weights

_FAR_OFF, _FAR_OFF_IMAGES = 0.1, 3  # of the images wanted for validation; a split misses by fewer where it can
_NIH = next(convention.pattern for convention in CONVENTIONS if convention.name.startswith("NIH"))


def seen_by_weights(weights: Weights | None, images: Iterable[str]) -> dict[str, Any] | None:
    """Values of the code `weights_have_seen`, if pretrained weights were trained on NIH's images and some of these are
    NIH's by their names.

    Args:
      weights: None: random ones.
      images: names of files, of all sets of the run.
    """
    if weights is None or not weights.info.has_seen("NIH"):
        return None
    is_nih = [bool(_NIH.match(PurePath(name).name)) for name in images]
    names = ",".join(weights.info.trained_on)
    return {"n": sum(is_nih), "of": len(is_nih), "trained_on": names} if any(is_nih) else None


def of_run(config: ExperimentConfig, data: dict[str, Any], seeds: pd.DataFrame) -> list[str]:
    """What a reader must know beside the metrics, as codes with their values: see `cxrjax.base.codes`.

    Args:
      config: Configuration of the run.
      data: As `count_data` gives it.
      seeds: `Analysis.seeds`.
    """
    task, codes = question(config), []
    listed, present = data["listed"], data["present"]
    positive, others = (side.name for side in task.counted[:2])
    if config.control == "shuffled_labels":
        codes.append(code("shuffled_labels"))
    if config.data_dir is None:
        codes.append(code("phantom"))
    if listed[positive] + listed[others] > present[positive] + present[others]:
        counts = {"n": present[positive], "of": listed[positive], "positive": positive}
        other_counts = {"others_n": present[others], "others_of": listed[others], "others": others}
        codes.append(code("partly_present", **counts, **other_counts))
    negatives = int((seeds["n_train"] + seeds["n_val"] - seeds["positives_train"] - seeds["positives_val"]).iloc[0])
    drawn = not task.is_multilabel and config.view == "all" and not thins_training(config)
    if drawn and negatives == present[task.negative.name]:
        codes.append(code("all_negatives", n=negatives, negative=task.negative.name))
    if config.sampling == "oversample":
        codes.append(code("oversampled"))
    if config.train_ratio:
        codes.append(code("train_ratio", ratio=f"{config.train_ratio:g}"))
    if config.sampling == "undersample_training":
        codes.append(code("undersampled"))
    if config.start_from:
        codes.append(code("started_from", run=PurePath(config.start_from).name))
    codes += _of_split(config, data, seeds)
    if data.get("relabelled"):
        codes.append(code("relabelled", file=PurePath(config.labels or "").name, **data["relabelled"]))
    if data.get("external_copies"):
        codes.append(code("external_copies", n=data["external_copies"], of=data["external_images"]))
    if data.get("seen_by_weights"):
        codes.append(code("weights_have_seen", **data["seen_by_weights"]))
    return codes


def _of_split(config: ExperimentConfig, data: dict[str, Any], seeds: pd.DataFrame) -> list[str]:
    """What a reader must know of the split."""
    codes = []
    if data["patients_unknown"]:
        codes.append(code("patients_unknown", n=data["patients_unknown"], of=data["images"]))
    if (share := seeds["contaminated_share"].mean()) > 0:
        codes.append(code("patients_on_both_sides", by=config.split_by, share=f"{share:.3g}"))
    if config.test:
        codes.append(code("held_out", test=config.test))
    if config.match:
        pairs = int((seeds["n_train"] + seeds["n_val"]).iloc[0]) // 2
        codes.append(code("matched", used=config.match, n=pairs, of=data["present"][question(config).positive.name]))
    if not thins_training(config) and config.labels_for == "both":  # else training has lost images
        images, val = (seeds[["n_train", "n_val"]].sum(axis=1).mean(), seeds["n_val"].mean())
        wanted = config.val_fraction * images
        if abs(val - wanted) > max(_FAR_OFF * wanted, _FAR_OFF_IMAGES):
            shares = {"wanted": f"{config.val_fraction:.3g}", "share": f"{val / images:.3g}"}
            codes.append(code("split_off", **shares, largest=data["largest_patient"]))
    return codes
