"""Results -> files: tables, pictures, one self-contained HTML page."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from cxrjax import files, page, run_files, summary
from cxrjax.types import Results

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TRAIN_COLOUR, VAL_COLOUR = "#1f5fbf", "#2e8b3d"  # the poster's blue and green


def write(folder: Path, results: Results) -> None:
    """Writes every file of a run; summary.json comes last, its presence says that the run is finished."""
    run_files.write(folder, results.tables, results.analysis)
    files.write_json(folder / "environment.json", results.environment)
    curve = _png(learning_curve(results.tables.history, results.config.name))
    dream = page.png(results.dream)
    files.write_bytes(folder / "learning_curve.png", curve)
    files.write_bytes(folder / "dream.png", dream)
    files.write_text(folder / "report.html", html(results, curve, dream))
    files.write_json(folder / "summary.json", results.summary)


def learning_curve(history: pd.DataFrame, name: str) -> Figure:
    """Accuracy against epoch, training blue and validation green: mean over seeds, band of ± 1 SD, single seeds thin.

    Args:
      history: seed, epoch, split, loss, accuracy.
      name: of the experiment.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(7.2, 4.4), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    seeds = history["seed"].nunique()
    for split, colour, label in (("train", TRAIN_COLOUR, "training"), ("val", VAL_COLOUR, "validation")):
        runs = history[history["split"] == split].pivot(index="epoch", columns="seed", values="accuracy") * 100
        mean, sd = runs.mean(axis=1), runs.std(axis=1).fillna(0)
        axes.plot(runs.index, runs, color=colour, alpha=0.18, linewidth=0.7)
        axes.fill_between(runs.index, mean - sd, mean + sd, color=colour, alpha=0.15, linewidth=0)
        axes.plot(runs.index, mean, color=colour, linewidth=2, label=label)
    axes.set(
        xlabel="epoch",
        ylabel="accuracy (%)",
        title=f"{summary.title(name)}: mean of {seeds} run{'s' * (seeds > 1)}, band ± 1 SD",
    )
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(loc="lower right", frameon=False)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def html(results: Results, curve: bytes, dream: bytes) -> str:
    """The report as one HTML page with its pictures inside."""
    return page.render(
        "report.html.jinja",
        title=summary.title(results.config.name),
        summary=results.summary,
        seeds=results.analysis.seeds.to_dict("records"),
        config=dataclasses.asdict(results.config),
        environment=results.environment,
        curve=page.inline(curve),
        dream=page.inline(dream),
    )
