"""The usual table of runs: mean ± SD, intervals, differences from one row, published numbers, what must be known."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd

from cxrjax.base.tasks import Task
from cxrjax.report.figures import forest
from cxrjax.report.language import ENGLISH
from cxrjax.runs import sweep_tables
from cxrjax.runs.sweep import DONE, UNAVAILABLE, Outcome, Row
from cxrjax.runs.sweep_tables import Column, compared, measured

from ._rows import Shown

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclasses.dataclass(frozen=True)
class RunTable:
    """Rows of runs of one task.

    Attributes:
      rows: in order.
      title: behind that of the task.
      kind: what a row is, the head of the first column.
      base: name of the row that the others are compared with.
      published: the published numbers of the task, if there are any, are the first row.
      notes: lines that stand below, before those of the base's own summary.
      augmented: False where heads are solved on centre crops.
    """

    rows: Sequence[Row]
    title: str
    kind: str = "row"
    base: str = "base"
    published: bool = True
    notes: tuple[str, ...] = ()
    augmented: bool = True

    def frame(self, outcomes: Sequence[Outcome], task: Task) -> pd.DataFrame:
        """The published numbers, then a row for each outcome; columns of `sweep_tables.table`, shares 0..1."""
        rows = sweep_tables.table(outcomes, self.base)
        return sweep_tables.with_published(rows, task) if self.published else rows

    def markdown(self, rows: pd.DataFrame, task: Task, notes: Sequence[str] = ()) -> str:
        """The table as people read it, in percent, with what must be known beside it.

        Args:
          rows: see `frame`.
          task: of the runs.
          notes: further lines, of the data.
        """
        columns = [
            Column(self.kind, _label, undone=_label),
            Column("accuracy", _accuracy, undone=_status),
            measured("accuracy")[1],
            _share("fp_share"),
            _share("fn_share"),
            *measured("auroc"),
            compared("accuracy", self.base),
            compared("auroc", self.base),
            sweep_tables.RUNS,
        ]
        lines = [*self._below(rows), *self.notes, *notes]
        return sweep_tables.document(f"{task.title}: {self.title}", columns, rows, lines)

    def _below(self, rows: pd.DataFrame) -> list[str]:
        """What stands below the table, a line each."""
        ours = rows[~rows.apply(sweep_tables.is_published, axis=1)]
        banks = sorted({int(bank) for bank, note in zip(ours["augment_bank"], ours["note"], strict=True) if not note})
        augmentations = ", ".join(str(bank or "a fresh one at every use") for bank in banks)
        lines = [
            "Accuracy and AUROC are mean ± SD over runs; FP and FN are shares of all validation images, as in the "
            f"poster. Augmentations an image: {augmentations if self.augmented else 'none, heads are solved'}.",
            "Intervals of means and differences are the corrected resampled t of Nadeau and Bengio (2003), not widened "
            "for the number of rows. Differences are taken seed by seed; where the validation images of a seed differ, "
            "the interval is too wide rather than too narrow.",
        ]
        done = ours[ours["status"] == DONE]
        sizes = [(row["row"], f"{row['n_train']:.0f} and {row['n_val']:.0f}") for _, row in done.iterrows()]
        different = [f"{name} {size}" for place, (name, size) in enumerate(sizes) if not place or size != sizes[0][1]]
        lines += [f"Training and validation images of a run: {', '.join(different)}."] if sizes else []
        lines += [f"† {row['row']}: {row['note']}." for _, row in ours[ours["note"] != ""].iterrows()]
        base = "the base" if self.base == "base" else self.base
        lines += [f"Difference from {base}, {line}." for line in sweep_tables.cautions(ours, "row")]
        return lines + [f"{row['row']}: {row['reason']}." for _, row in ours[ours["reason"] != ""].iterrows()]

    def last_line(self, rows: pd.DataFrame, task: Task, minutes: float) -> str:
        """The table in a line."""
        done = {row["row"]: row for _, row in sweep_tables.done(rows).iterrows()}
        parts = []
        if self.base in done:
            accuracy, auroc = (sweep_tables.mean_sd(done[self.base], name) for name in ("accuracy", "auroc"))
            parts.append(f"{self.base} accuracy {accuracy}, AUROC {auroc}")
        published = task.published if self.published else None
        if published:
            percent = published.percent
            parts.append(f"{published.name} {percent['accuracy']} ± {percent['accuracy_sd']} %")
        if done:
            low, high = (extreme(done.values(), key=lambda row: float(row["accuracy"])) for extreme in (min, max))
            lowest, highest = (f"{ENGLISH.share(row['accuracy'])} ({row['row']})" for row in (low, high))
            parts.append(f"{self.kind}s from {lowest} to {highest}")
        count = f"{len(done)} of {len(rows) - bool(published)} rows"
        return f"{task.title}: {', '.join(parts)}, {count}, {minutes:.0f} min"

    def figure(self, rows: pd.DataFrame, task: Task) -> Figure | None:
        """Forest plot of the rows that are done; None if there is none."""
        done = sweep_tables.done(rows)
        series = [row for _, row in done.iterrows()]
        published = task.published if self.published else None
        title = f"{task.title}: {self.title}"
        return forest.rows_of_runs(series, sweep_tables.runs_of(done), published, title) if series else None

    def show(self, task: Task, outcomes: Sequence[Outcome], minutes: float) -> Shown:
        """The table in its forms."""
        rows = self.frame(outcomes, task)
        return Shown(
            sweep_tables.csv(rows),
            self.markdown(rows, task, sweep_tables.notes_of(outcomes, self.base)),
            self.figure(rows, task),
            self.last_line(rows, task, minutes),
        )


def _label(row: pd.Series) -> str:
    return f"{row['row']}: {row['label']}{' †' if row['note'] else ''}"


def _status(row: pd.Series) -> str:
    return str(row["reason"]).partition(":")[0] if row["status"] == UNAVAILABLE else str(row["status"])


def _accuracy(row: pd.Series) -> str:
    """Published numbers are in whole per cent."""
    if sweep_tables.is_published(row):
        return f"{100 * row['accuracy']:.0f} ± {100 * row['accuracy_sd']:.0f} %"
    return sweep_tables.mean_sd(row, "accuracy")


def _share(metric: str) -> Column:
    def cell(row: pd.Series) -> str:
        return f"{100 * row[metric]:.0f} %" if sweep_tables.is_published(row) else ENGLISH.share(row[metric])

    return Column({"fp_share": "FP", "fn_share": "FN"}[metric], cell)
