"""The run itself: its images, its curves, its worst errors, every seed, and how to make it again."""

from __future__ import annotations

import dataclasses
import math
from pathlib import PurePath
from typing import Any

import pandas as pd

from cxrjax.analysis import errors as worst
from cxrjax.analysis.schema import Results
from cxrjax.base import tasks
from cxrjax.base.config import ExperimentConfig, command_line
from cxrjax.metrics import registry
from cxrjax.report import pages, rows
from cxrjax.report.figures import Picture, curves, scores
from cxrjax.report.language import Language, printable
from cxrjax.report.pages import Section
from cxrjax.report.rows import Numbers

KINDS = ("false positive", "false negative")
_NO_FLAGS = ("name", "task")  # fields of a configuration that are no flags


def flow(results: Results, t: Language) -> dict[str, Any]:
    """Boxes of the flow diagram in order: name, counts (lines), excluded, side (training or validation)."""
    table = scores.stages_shown(results.tables.flow)
    positive = tasks.get(results.config.task).positive.name
    return {
        "data": results.summary["data"],
        "boxes": [
            {
                "name": t.word("stage", row["stage"]),
                "counts": scores.counts(row, positive, t),
                "excluded": bool(row["excluded"]),
                "side": row["stage"] in scores.SIDES,
            }
            for row in table.to_dict("records")
        ],
    }


def _flow_figure(results: Results, t: Language) -> Picture:
    return scores.flow(results.tables.flow, tasks.get(results.config.task).positive.name, t)


def _learning_curve(results: Results, t: Language) -> Picture:
    return curves.learning_curve(results.tables.history, tasks.get(results.config.task).title, t)


def errors(results: Results, t: Language) -> dict[str, Any]:
    """The most confident errors of each kind: title, number (of all such errors), images to show."""
    table = results.analysis.errors
    shown = table[table["image"].isin(worst.shown(table))]
    positive = t(tasks.get(results.config.task).positive.title)
    return {
        "kinds": [
            {
                "title": t.word("error", kind, positive=positive),
                "number": int((table["kind"] == kind).sum()),
                "images": [_error(row, results, t) for row in shown[shown["kind"] == kind].to_dict("records")],
            }
            for kind in KINDS
        ]
    }


def _error(row: dict[Any, Any], results: Results, t: Language) -> dict[str, Any]:
    picture = results.pictures.get(row["image"])
    unknown = t("unknown")
    return {
        "image": PurePath(row["image"]).name,
        "picture": None if picture is None else pages.inline(pages.jpeg(picture)),
        "labels": str(row["labels"]).replace("|", ", ") or t("no label"),
        "score": t.number(row["score"], 2),
        "view": row["view"] or unknown,
        "age": unknown if pd.isna(row["age"]) else t.count(row["age"]),
        "sex": row["sex"] or unknown,
        "patient": row["patient"],
        "seeds": int(row["seeds"]),
    }


def every_run(results: Results, t: Language) -> dict[str, Any]:
    """Names of the main metrics, and of each run its row in `Analysis.seeds` and these metrics as cells."""
    names, numbers = registry.shown_in(registry.MAIN), Numbers(t)
    table = results.analysis.seeds
    with_interval = [name for name in names if f"{name}_low" in table]
    titles = {
        name: t("%(metric)s, 95 %% interval", metric=numbers.short(name)) if name in with_interval
        else numbers.short(name) for name in names
    }  # fmt: skip
    return {
        "titles": list(titles.values()),
        "seeds": [
            (
                row,
                [
                    {
                        "value": numbers.value(name, row[name]),
                        "interval": numbers.interval(
                            name, row.get(f"{name}_low", math.nan), row.get(f"{name}_high", math.nan)
                        ),
                    }
                    for name in names
                ],
            )
            for row in table.to_dict("records")
        ],
    }


def reproduce(results: Results, t: Language) -> dict[str, Any]:
    """The command, every flag, and what the metrics were computed with: machine, versions, hashes, minutes."""
    return {
        "command": printable(command_line(results.config)),
        "flags": flags(results.config),
        "facts": facts(results, t),
    }


def flags(config: ExperimentConfig) -> list[dict[str, Any]]:
    """Every flag: its name, its value and whether this is its default."""
    return [
        {
            "name": field.name,
            "value": getattr(config, field.name),
            "usual": getattr(config, field.name) == field.default,
        }
        for field in dataclasses.fields(config)
        if field.name not in _NO_FLAGS
    ]


def facts(results: Results, t: Language) -> list[tuple[str, str]]:
    """Name and value of what the metrics were computed with: machine, versions, hashes, minutes."""
    environment, weights = dict(results.environment), results.environment["weights"] or {}
    packages = environment.pop("packages")
    del environment["weights"], environment["network"]
    named = {
        t("minutes since the last start"): t.number(results.summary["minutes"], 1),
        **{str(name): value for name, value in (environment | results.settled).items()},
        **{f"weights: {name}": value for name, value in weights.items() if not isinstance(value, dict)},
        t("packages"): ", ".join(f"{name} {version}" for name, version in packages.items()),
    }
    return [(name.replace("_", " "), rows.text(value)) for name, value in named.items()]


def sources(results: Results, t: Language) -> dict[str, Any]:
    """What the section of sources depends on."""
    return {"network": results.environment["network"], "maps": results.maps is not None}


FLOW = Section("flow", "Images and patients", flow, {"flow": _flow_figure})
LEARNING = Section("learning", "Learning curve", figures={"learning_curve": _learning_curve})
ERRORS = Section("errors", "Most confident errors", errors)
EVERY_RUN = Section(
    "runs",
    "Every run",
    every_run,
    {"per_seed": lambda results, t: curves.per_seed(results.analysis.seeds, t)},
)
REPRODUCE = Section("reproduce", "How to make this run again", reproduce)
SOURCES = Section("sources", "Sources", sources)
LIMITS = Section("limits", "Limits")
