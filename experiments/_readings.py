"""The ambiguity table: what the poster leaves open, one run for each reading, beside the published numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from cxrjax.base.config import ExperimentConfig
from cxrjax.base.tasks import Task
from cxrjax.models import registry
from cxrjax.models.pretrained import WeightsInfo
from cxrjax.report.figures import forest
from cxrjax.report.language import ENGLISH
from cxrjax.runs import sweep_tables
from cxrjax.runs.sweep import DONE, Outcome, Row, row_config
from cxrjax.runs.sweep_tables import Column, compared, measured

from ._sweep import Shown

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BASE = "base"
TITLE = "what the poster leaves open"


def rows(base: ExperimentConfig, info: WeightsInfo | None, conv1_seeds: int, conv1_epochs: int) -> list[Row]:
    """The base, and a row for each reading that differs from it, each in a folder below the base's `out`.

    Args:
      base: the usual reading.
      info: of its weights; None: random ones.
      conv1_seeds: at most so many where all layers are retrained, which takes long.
      conv1_epochs: and at most so many.
    """
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
    return [Row(name, label, c, _note(base, c), _unavailable(name, base, info)) for name, label, c in configs]


def _data_sets(info: WeightsInfo) -> str:
    """What weights were trained on, with commas."""
    return ", ".join(info.trained_on)


def _note(base: ExperimentConfig, config: ExperimentConfig) -> str:
    """How a row was trained otherwise than its reading alone asks for."""
    if (config.seeds, config.epochs, config.augment_bank) == (base.seeds, base.epochs, base.augment_bank):
        return ""
    return (
        f"runs × epochs are {config.seeds} × {config.epochs}, with a fresh augmentation at every use, unlike the other "
        "rows; its difference from the base, over the seeds that both have, is also that of these"
    )


def _unavailable(name: str, base: ExperimentConfig, info: WeightsInfo | None) -> str:
    *frozen, logits = registry.get(base.model).stages
    missing = [layer for layer in frozen if info is None or layer not in info.layers]
    if name != logits or not missing:
        return ""
    return f"weights not available: a frozen trunk up to {frozen[-1]} needs {', '.join(missing)}, not in {base.weights}"


def table(outcomes: Sequence[Outcome], task: Task) -> pd.DataFrame:
    """The published numbers, if any, then a row for each outcome; columns of `sweep_tables.table`, shares 0..1."""
    return sweep_tables.with_published(sweep_tables.table(outcomes, BASE), task)


def _reading(row: pd.Series) -> str:
    return f"{row['row']}: {row['label']}{' †' if row['note'] else ''}"


def _status(row: pd.Series) -> str:
    return str(row["reason"]).partition(":")[0] if row["status"] == "not available" else str(row["status"])


def _accuracy(row: pd.Series) -> str:
    """Published numbers are in whole per cent."""
    if sweep_tables.is_published(row):
        return f"{100 * row['accuracy']:.0f} ± {100 * row['accuracy_sd']:.0f} %"
    return sweep_tables.mean_sd(row, "accuracy")


def _share(metric: str) -> Column:
    def cell(row: pd.Series) -> str:
        return f"{100 * row[metric]:.0f} %" if sweep_tables.is_published(row) else ENGLISH.share(row[metric])

    return Column({"fp_share": "FP", "fn_share": "FN"}[metric], cell)


def markdown(rows: pd.DataFrame, task: Task, notes: Sequence[str] = ()) -> str:
    """The table as people read it, in percent, with what must be known beside it.

    Args:
      rows: see `table`.
      task: of the runs.
      notes: further lines, of the data.
    """
    columns = [
        Column("reading", _reading, undone=_reading),
        Column("accuracy", _accuracy, undone=_status),
        measured("accuracy")[1],
        _share("fp_share"),
        _share("fn_share"),
        *measured("auroc"),
        compared("accuracy", BASE),
        compared("auroc", BASE),
        sweep_tables.RUNS,
    ]
    return sweep_tables.document(f"{task.title}: {TITLE}", columns, rows, [*_below(rows), *notes])


def _below(rows: pd.DataFrame) -> list[str]:
    """What stands below the table, a line each."""
    own = rows[~rows.apply(sweep_tables.is_published, axis=1)]
    banks = sorted({int(bank) for bank, note in zip(own["augment_bank"], own["note"], strict=True) if not note})
    lines = [
        "Accuracy and AUROC are mean ± SD over runs; FP and FN are shares of all validation images, as in the poster. "
        + f"Augmentations an image: {', '.join(str(bank or 'a fresh one at every use') for bank in banks)}.",
        "Intervals of means and differences are the corrected resampled t of Nadeau and Bengio (2003), not widened for "
        "the number of rows. Differences are taken seed by seed; where the validation images of a seed differ, the "
        "interval is too wide rather than too narrow.",
    ]
    done = own[own["status"] == DONE]
    sizes = [(row["row"], f"{row['n_train']:.0f} and {row['n_val']:.0f}") for _, row in done.iterrows()]
    different = [f"{name} {size}" for place, (name, size) in enumerate(sizes) if not place or size != sizes[0][1]]
    lines += [f"Training and validation images of a run: {', '.join(different)}."] if sizes else []
    lines += [f"† {row['row']}: {row['note']}." for _, row in own[own["note"] != ""].iterrows()]
    lines += [f"Difference from the base, {line}." for line in sweep_tables.cautions(own, "row")]
    return lines + [f"{row['row']}: {row['reason']}." for _, row in own[own["reason"] != ""].iterrows()]


def notes(outcomes: Sequence[Outcome], info: WeightsInfo | None) -> list[str]:
    """What a reader must know of weights and data: the weights' layers, and the notes of the base's own summary."""
    lines = []
    if info:
        lines.append(
            f"{_data_sets(info)} weights of {info.layers[0]} to {info.layers[-1]} ({info.source}); retrained layers "
            "start from them where they are among these (never the last), else from random weights."
        )
    return lines + sweep_tables.notes_of(outcomes, BASE)


def last_line(rows: pd.DataFrame, task: Task, minutes: float) -> str:
    """The table in a line."""
    done = {row["row"]: row for _, row in sweep_tables.done(rows).iterrows()}
    parts = []
    if BASE in done:
        accuracy, auroc = (sweep_tables.mean_sd(done[BASE], name) for name in ("accuracy", "auroc"))
        parts.append(f"base accuracy {accuracy}, AUROC {auroc}")
    if task.published:
        percent = task.published.percent
        parts.append(f"{task.published.name} {percent['accuracy']} ± {percent['accuracy_sd']} %")
    if done:
        low, high = (extreme(done.values(), key=lambda row: float(row["accuracy"])) for extreme in (min, max))
        lowest, highest = (f"{ENGLISH.share(row['accuracy'])} ({row['row']})" for row in (low, high))
        parts.append(f"readings from {lowest} to {highest}")
    count = f"{len(done)} of {len(rows) - bool(task.published)} rows"
    return f"{task.title}: {', '.join(parts)}, {count}, {minutes:.0f} min"


def figure(rows: pd.DataFrame, task: Task) -> Figure | None:
    """Forest plot of the rows that are done; None if there is none."""
    done = sweep_tables.done(rows)
    series = [row for _, row in done.iterrows()]
    return forest.readings(series, sweep_tables.runs_of(done), task) if series else None


def show(task: Task, info: WeightsInfo | None, outcomes: list[Outcome], minutes: float) -> Shown:
    """The table in its forms."""
    rows = table(outcomes, task)
    return Shown(
        sweep_tables.csv(rows),
        markdown(rows, task, notes(outcomes, info)),
        figure(rows, task),
        last_line(rows, task, minutes),
    )
