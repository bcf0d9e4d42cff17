"""The ambiguity table: what the poster leaves open, one run for each reading, beside the poster's numbers."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from cxrjax.base import tasks
from cxrjax.base.config import ExperimentConfig
from cxrjax.base.types import InputError
from cxrjax.models import registry
from cxrjax.models.pretrained import WeightsInfo
from cxrjax.report.figures import sweeps
from cxrjax.report.language import DASH, ENGLISH
from cxrjax.report.pages import escape
from cxrjax.runs import sweep_tables
from cxrjax.runs.sweep import DONE, Outcome, Row

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BASE, POSTER = "base", "poster"
NAMES = (BASE, "fc8", "conv1", "image", "pa", "no_flip", "random")


def rows(base: ExperimentConfig, info: WeightsInfo | None, conv1_seeds: int, conv1_epochs: int) -> list[Row]:
    """A row for each of `NAMES`, each in a folder below the base's `out`.

    Args:
      base: the usual reading.
      info: of its weights; None: random ones.
      conv1_seeds: at most so many where all layers are retrained, which takes long.
      conv1_epochs: and at most so many.
    """
    few = {"seeds": min(conv1_seeds, base.seeds), "epochs": min(conv1_epochs, base.epochs)}
    weights = "random weights" if info is None else "ImageNet weights"
    readings: list[tuple[str, str, dict[str, Any]]] = [
        (BASE, f"from fc6, by patient, all views, mirrored, {weights}", {}),
        ("fc8", "only fc8 retrained", {"retrain_from": "fc8"}),
        ("conv1", "all layers retrained", {"retrain_from": "conv1", "augment_bank": 0, **few}),
        ("image", "split by image", {"split_by": "image"}),
        ("pa", "PA view only", {"view": "PA"}),
        ("no_flip", "never mirrored", {"flip": False}),
        ("random", "random weights (one trunk for all runs)", {"weights": "random"}),
    ]
    found = []
    for name, label, changes in readings:
        config = dataclasses.replace(base, floors=False, out=str(Path(base.out or "") / name), **changes)
        found.append(Row(name, label, config, _note(base, config), _unavailable(name, base, info)))
    return found


def _note(base: ExperimentConfig, config: ExperimentConfig) -> str:
    """How a row was trained otherwise than its reading alone asks for."""
    if (config.seeds, config.epochs, config.augment_bank) == (base.seeds, base.epochs, base.augment_bank):
        return ""
    return (
        f"runs × epochs are {config.seeds} × {config.epochs}, with a fresh augmentation at every use, unlike the other "
        "rows; its difference from the base, over the seeds that both have, is also that of these"
    )


def _unavailable(name: str, base: ExperimentConfig, info: WeightsInfo | None) -> str:
    frozen = registry.ALEXNET.between("conv1", "fc7")
    missing = [layer for layer in frozen if info is None or layer not in info.layers]
    if name != "fc8" or not missing:
        return ""
    return f"weights not available: a frozen trunk up to fc7 needs {', '.join(missing)}, not in {base.weights}"


def choose(names: str) -> tuple[str, ...]:
    """The rows of a flag, in the order of the table; all if it is empty.

    Raises:
      InputError: if a name is unknown.
    """
    asked = {name.strip() for name in names.split(",") if name.strip()} or set(NAMES)
    unknown = sorted(asked - set(NAMES))
    if unknown:
        raise InputError(f"--rows must be of {','.join(NAMES)}, got {unknown[0]!r}")
    return tuple(name for name in NAMES if name in asked)


def table(outcomes: Sequence[Outcome], task: str) -> pd.DataFrame:
    """The published numbers, if any, then a row for each outcome; columns of `sweep_tables.table`, shares 0..1."""
    made = sweep_tables.table(outcomes, BASE)
    published = tasks.get(task).published
    if published is None:
        return made
    poster = {
        "row": POSTER, "label": "as published", "status": DONE, "reason": "", "note": "", "folder": "",
        "seeds": published.runs, "epochs": published.epochs, "augment_bank": 0, "caution": "",
        **{name: value / 100 for name, value in published.percent.items()},
    }  # fmt: skip
    first = pd.DataFrame([poster], columns=made.columns).astype(made.dtypes)
    return pd.concat([first, made], ignore_index=True)


def markdown(made: pd.DataFrame, task: str, notes: Sequence[str] = ()) -> str:
    """The table as people read it, in percent, with what must be known beside it.

    Args:
      made: see `table`.
      task: p_vs_nf or p_vs_np.
      notes: further lines, of the data.
    """
    head = ["reading", "accuracy", "95 % interval", "FP", "FN", "AUROC", "95 % interval",
            "accuracy − base", "AUROC − base", "runs × epochs"]  # fmt: skip
    body = sweep_tables.markdown(head, [_cells(row) for _, row in made.iterrows()])
    return f"### {tasks.get(task).title}: what the poster leaves open\n\n{body}\n\n{_below(made, notes)}\n"


def _cells(row: pd.Series) -> list[str]:
    mark = " †" if row["note"] else ""
    name = f"{row['row']}: {row['label']}{mark}"
    if row["status"] != DONE:
        told = row["reason"].partition(":")[0] if row["status"] == "not available" else row["status"]
        return [name, told, *[DASH] * 8]
    if row["row"] == POSTER:  # in whole per cent
        mean, sd, fp, fn = (f"{100 * row[name]:.0f}" for name in ("accuracy", "accuracy_sd", "fp_share", "fn_share"))
        figures = [f"{mean} ± {sd} %", DASH, f"{fp} %", f"{fn} %", *[DASH] * 4]
    else:
        figures = [
            sweep_tables.mean_sd(row, "accuracy"),
            sweep_tables.interval(row, "accuracy"),
            ENGLISH.share(row["fp_share"]),
            ENGLISH.share(row["fn_share"]),
            sweep_tables.mean_sd(row, "auroc"),
            sweep_tables.interval(row, "auroc"),
            sweep_tables.difference(row, "accuracy"),
            sweep_tables.difference(row, "auroc"),
        ]
    return [name, *figures, f"{row['seeds']} × {row['epochs']}"]


def _below(made: pd.DataFrame, notes: Sequence[str]) -> str:
    """What stands below the table, a line each."""
    own = made[made["row"] != POSTER]
    banks = sorted({int(bank) for bank, note in zip(own["augment_bank"], own["note"], strict=True) if not note})
    told = [
        "Accuracy and AUROC are mean ± SD over runs; FP and FN are shares of all validation images, as in the poster. "
        + f"Augmentations an image: {', '.join(str(bank or 'a fresh one at every use') for bank in banks)}.",
        "Intervals of means and differences are the corrected resampled t of Nadeau and Bengio (2003), not widened for "
        "the number of rows. Differences are taken seed by seed; where the validation images of a seed differ, the "
        "interval is too wide rather than too narrow.",
    ]
    done = own[own["status"] == DONE]
    sizes = [(row["row"], f"{row['n_train']:.0f} and {row['n_val']:.0f}") for _, row in done.iterrows()]
    different = [f"{name} {size}" for place, (name, size) in enumerate(sizes) if not place or size != sizes[0][1]]
    told += [f"Training and validation images of a run: {', '.join(different)}."] if sizes else []
    told += [f"† {row['row']}: {row['note']}." for _, row in own[own["note"] != ""].iterrows()]
    told += [f"Difference from the base, {line}." for line in sweep_tables.cautions(own, "row")]
    told += [f"{row['row']}: {row['reason']}." for _, row in own[own["reason"] != ""].iterrows()]
    return "\n".join(f"- {escape(line)}" for line in [*told, *notes])


def notes(outcomes: Sequence[Outcome], info: WeightsInfo | None) -> list[str]:
    """What a reader must know of weights and data: the weights' layers, and the notes of the base's own summary."""
    told = []
    if info:
        told.append(
            f"ImageNet weights of {info.layers[0]} to {info.layers[-1]} ({info.source}); retrained layers start from "
            "them where they are among these (never fc8), else from random weights."
        )
    base = sweep_tables.read_all(outcomes)[1].get(BASE)
    return told + (base.notes if base else [])


def last_line(made: pd.DataFrame, task: str, minutes: float) -> str:
    """The table in a line."""
    published = tasks.get(task).published
    known = {row["row"]: row for row in _own(made)}
    told = []
    if BASE in known:
        accuracy, auroc = (sweep_tables.mean_sd(known[BASE], name) for name in ("accuracy", "auroc"))
        told.append(f"base accuracy {accuracy}, AUROC {auroc}")
    if published:
        told.append(f"{published.name} {published.percent['accuracy']} ± {published.percent['accuracy_sd']} %")
    if known:
        low, high = (extreme(known.values(), key=lambda row: float(row["accuracy"])) for extreme in (min, max))
        told.append(
            f"readings from {ENGLISH.share(low['accuracy'])} ({low['row']}) to "
            f"{ENGLISH.share(high['accuracy'])} ({high['row']})"
        )
    rows = f"{len(known)} of {len(made) - bool(published)} rows"
    return f"{tasks.get(task).title}: {', '.join(told)}, {rows}, {minutes:.0f} min"


def _own(made: pd.DataFrame) -> list[pd.Series]:
    """The rows that are done, without the poster's."""
    return [row for _, row in made.iterrows() if row["status"] == DONE and row["row"] != POSTER]


def figure(made: pd.DataFrame, task: str) -> Figure | None:
    """Forest plot of the rows that are done; None if there is none."""
    done = _own(made)
    runs = [sweep_tables.read(Path(row["folder"])).seeds for row in done]
    return sweeps.readings(done, runs, tasks.get(task)) if done else None
