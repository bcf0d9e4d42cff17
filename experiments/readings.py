"""How much do the poster's open readings change the result?

  python -m experiments.readings --data_dir=NIH_FOLDER

The poster does not say which layers were retrained, whether one patient may be in training and validation at once,
which views were used, and more. Trains one row for each reading (--rows picks some), beside the poster's numbers:

  base      from fc6, split by patient, all views, mirrored at random, ImageNet weights
  fc8       only the last layer retrained; needs pretrained weights of all layers, else "weights not available"
  conv1     all layers retrained; no bank can serve it, so fewer seeds and epochs, and marked so
  image     split by image: a patient may be on both sides
  pa        PA view only
  no_flip   never mirrored
  random    a trunk of random weights in the place of the pretrained one

fc8 and conv1 are AlexNet's: another network's rows are called after its last and first stage. A row that would be the
base once more is left out.

In all else a row is the base. The estimated time comes first: arithmetic counted for each row, at speeds measured on
this machine. Each row is a run in a folder below --out; the same command continues an interrupted table, and finished
rows are kept. A row that a run in --reuse, or one of its arms, has trained with the same flags, weights and data is
taken from there. Into --out go readings.csv, readings.md (to paste) and readings.png, written anew after every row. A
row that fails is told with its reason, the others go on, and the exit status is 2.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from cxrjax.base.config import ExperimentConfig
from cxrjax.base.flags import NetworkFlags, flag

from . import _rows

if TYPE_CHECKING:
    from cxrjax.models.pretrained import WeightsInfo
    from cxrjax.runs.sweep import Row, Source

    from ._run_table import RunTable

BASE = "base"


@dataclasses.dataclass(frozen=True)
class ReadingsConfig(_rows.RowsConfig, NetworkFlags):
    """The flags of this program."""

    conv1_seeds: int = flag(2, "runs of the row of all layers (conv1), at most --seeds", lower=1)
    conv1_epochs: int = flag(10, "epochs of the row of all layers (conv1), at most --epochs", lower=1)


def main(argv: list[str] | None = None) -> None:
    """Runs from the command line."""
    _rows.main("readings", ReadingsConfig(out="runs/readings"), __doc__ or "", argv, table)


def table(flags: ReadingsConfig, base: ExperimentConfig, source: Source) -> RunTable:
    """The base, and a row for each reading."""
    from ._run_table import RunTable

    base, weights = source.open(base)
    info = weights.info if weights else None
    readings = rows(base, info, flags.conv1_seeds, flags.conv1_epochs)
    return RunTable(readings, "what the poster leaves open", "reading", notes=_weights_note(info))


def rows(base: ExperimentConfig, info: WeightsInfo | None, conv1_seeds: int, conv1_epochs: int) -> list[Row]:
    """The base, and a row for each reading that differs from it, each in a folder below the base's `out`.

    Args:
      base: the usual reading.
      info: of its weights; None: random ones.
      conv1_seeds: at most so many where all layers are retrained, which takes long.
      conv1_epochs: and at most so many.
    """
    from cxrjax.models import registry
    from cxrjax.runs.sweep import Row, row_config

    model = registry.get(base.model)
    few = {"seeds": min(conv1_seeds, base.seeds), "epochs": min(conv1_epochs, base.epochs)}
    weights = "random weights" if info is None else f"{_data_sets(info)} weights"
    readings: list[tuple[str, str, dict[str, Any]]] = [
        (BASE, f"from {base.retrain_from}, by patient, all views, mirrored, {weights}", {}),
        (model.logits, f"only {model.logits} retrained", {"retrain_from": model.logits}),
        (model.stages[0], "all layers retrained", {"retrain_from": model.stages[0], "augment_bank": 0, **few}),
        ("image", "split by image", {"split_by": "image"}),
        ("pa", "PA view only", {"view": "PA"}),
        ("no_flip", "never mirrored", {"flip": False}),
        ("random", "random weights (one trunk for all runs)", {"weights": "random"}),
    ]
    different = [row for row in readings if row[0] == BASE or any(getattr(base, k) != v for k, v in row[2].items())]
    configs = [(name, label, row_config(base, name, **changes)) for name, label, changes in different]
    *frozen, logits = model.stages
    missing = ", ".join(layer for layer in frozen if info is None or layer not in info.layers)
    why = f"weights not available: a frozen trunk up to {frozen[-1]} needs {missing}, not in {base.weights}"
    return [Row(name, label, c, _note(base, c), why * (name == logits and bool(missing))) for name, label, c in configs]


def _data_sets(info: WeightsInfo) -> str:
    """What weights were trained on, with commas."""
    return ", ".join(info.trained_on)


def _weights_note(info: WeightsInfo | None) -> tuple[str, ...]:
    if info is None:
        return ()
    return (
        f"{_data_sets(info)} weights of {info.layers[0]} to {info.layers[-1]} ({info.source}); retrained layers "
        "start from them where they are among these (never the last), else from random weights.",
    )


def _note(base: ExperimentConfig, config: ExperimentConfig) -> str:
    """How a row was trained otherwise than its reading alone asks for."""
    if (config.seeds, config.epochs, config.augment_bank) == (base.seeds, base.epochs, base.augment_bank):
        return ""
    return (
        f"runs × epochs are {config.seeds} × {config.epochs}, with a fresh augmentation at every use, unlike the other "
        "rows; its difference from the base, over the seeds that both have, is also that of these"
    )


if __name__ == "__main__":
    main()
