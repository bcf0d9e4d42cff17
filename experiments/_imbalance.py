"""The table of remedies for imbalance: eight methods a ratio, three of which read other rows at another threshold."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from cxrjax.analysis import scores, tables
from cxrjax.base.tasks import Task
from cxrjax.metrics import registry
from cxrjax.report.figures import lines
from cxrjax.runs import sweep_tables
from cxrjax.runs.sweep import Outcome
from cxrjax.runs.sweep_tables import Read

from ._run_table import RunTable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

METHODS = (  # name, label, run whose scores it reads, whether at the threshold of the priors
    ("baseline", "baseline", "baseline", False),
    ("over", "oversampling", "over", False),
    ("under", "undersampling", "under", False),
    ("over_2", "two-phase, oversampling", "over_2", False),
    ("under_2", "two-phase, undersampling", "under_2", False),
    ("prior", "thresholding", "baseline", True),
    ("over_prior", "oversampling, thresholding", "over", True),
    ("under_prior", "undersampling, thresholding", "under", True),
)
_AXIS = "negatives for each positive in training"
_PRIOR = (
    "Thresholding (Buda et al. 2018): a score is called positive above the share of positives on the training side "
    "before any resampling, where the class with the larger y / p(class) is the positive one; others are read at 0.5. "
    "A network trained on classes made equal has its prior at 0.5 already."
)
_UPDATES = (
    "Every method makes the same number of updates, to the nearest epoch; two-phase training half of them on the "
    "resampled images and half on all, the last layer alone. Validation keeps the images' own ratio."
)


class ImbalanceTable(RunTable):
    """Methods by ratio, differences from the baseline of the same ratio."""

    def frame(self, outcomes: Sequence[Outcome], task: Task) -> pd.DataFrame:
        """Columns of `sweep_tables.table`, with method, and ratio (of the baseline's training images, mean)."""
        outcomes, runs = sweep_tables.read_all(outcomes)
        prefixes = dict.fromkeys(outcome.row.name.partition("_")[0] for outcome in outcomes)
        parts = [_of_ratio(prefix, {outcome.row.name: outcome for outcome in outcomes}, runs) for prefix in prefixes]
        return pd.concat(parts, ignore_index=True)

    def markdown(self, rows: pd.DataFrame, task: Task, notes: Sequence[str] = ()) -> str:
        """See `RunTable.markdown`."""
        ratios = rows.dropna(subset="ratio").groupby("prefix", sort=False)["ratio"].first()
        told = [f"{prefix}: {ratio:.1f} negatives for each positive in training." for prefix, ratio in ratios.items()]
        whole = dataclasses.replace(self, base="baseline", notes=(_UPDATES, _PRIOR, *told))
        return RunTable.markdown(whole, rows, task, notes)

    def last_line(self, rows: pd.DataFrame, task: Task, minutes: float) -> str:
        """The baseline and the best AUROC of each ratio."""
        done, parts = sweep_tables.done(rows), []
        for prefix, of_ratio in done.groupby("prefix", sort=False):
            best = of_ratio.sort_values("auroc").iloc[-1]
            parts.append(f"{prefix}: AUROC at most {best['auroc']:.3f} ({best['method']})")
        return f"{task.title}: {'; '.join([*parts, f'{len(done)} of {len(rows)} rows'])}, {minutes:.0f} min"

    def figure(self, rows: pd.DataFrame, task: Task) -> Figure | None:
        """AUROC and accuracy against the ratio, a line a method; None if no row is done."""
        done = sweep_tables.done(rows).dropna(subset="ratio")
        return lines.against(done, "ratio", "method", _AXIS, task) if len(done) else None


def _of_ratio(prefix: str, outcomes: Mapping[str, Outcome], runs: Mapping[str, Read]) -> pd.DataFrame:
    """The methods of a ratio whose runs were asked for."""
    baseline = runs.get(f"{prefix}_baseline")
    shown, reads = [], dict[str, Read]()
    for name, label, of_run, at_prior in METHODS:
        outcome, read = outcomes.get(f"{prefix}_{of_run}"), runs.get(f"{prefix}_{of_run}")
        if outcome is None or (at_prior and not baseline):
            continue
        row = outcome.row._replace(name=f"{prefix}_{name}", label=label)
        shown.append(outcome._replace(row=row))
        if read and outcome.folder:
            reads[row.name] = at_priors(outcome.folder, read, priors(baseline)) if at_prior and baseline else read
    table = sweep_tables.table_of(shown, reads, f"{prefix}_baseline")
    table.insert(0, "prefix", prefix)
    table.insert(1, "method", table["row"].str.removeprefix(f"{prefix}_"))
    table.insert(2, "ratio", (1 / priors(baseline) - 1).mean() if baseline else float("nan"))
    return table


def priors(read: Read) -> pd.Series:
    """Share of positives in training, by seed."""
    return read.seeds["positives_train"] / read.seeds["n_train"]


def at_priors(folder: Path, read: Read, thresholds: pd.Series) -> Read:
    """A run whose decisions are those at these thresholds, by seed."""
    predictions = tables.read_table(folder / "predictions.csv", ["seed", "patient", "label", "score"])
    scored = scores.score(predictions, {"prior": thresholds}, registry.NIH_PREVALENCE).by_rule["prior"]
    names = [name for name in registry.shown_in(registry.MAIN) if registry.METRICS[name].is_decision]
    return read._replace(seeds=read.seeds.assign(**{name: scored[name] for name in names}))
