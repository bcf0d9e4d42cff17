"""The run itself: its images, its curves, its worst errors, every seed, and how to make it again."""

from __future__ import annotations

import dataclasses
from typing import Any

from cxrjax.analysis.curves import shown_errors
from cxrjax.analysis.tables import FindingsResults, Results
from cxrjax.base import tasks
from cxrjax.base.config import ExperimentConfig, command_line
from cxrjax.report import pages, rows
from cxrjax.report.figures import Picture, curves, scores
from cxrjax.report.language import Language, printable, reasons
from cxrjax.report.pages import Section

_NO_FLAGS = ("name", "task", "finding")  # fields of a configuration that are no flags


def flow(results: Results | FindingsResults, t: Language) -> dict[str, Any]:
    """Stages of the flow in order, each with its counts as lines; which of them part at the end."""
    stages = rows.records(scores.stages_shown(results.flow))
    boxes = [row | {"counts": scores.counts(row, _positive(results, t), t)} for row in stages]
    data = results.summary["data"]
    return {"data": data, "boxes": boxes, "sides": scores.SIDES, "enlarged": rows.enlarged(data.get("enlarged"), t)}


def _positive(results: Results | FindingsResults, t: Language) -> str:
    return t("with a finding") if results.task.is_multilabel else results.task.positive.name


def _flow_figure(results: Results | FindingsResults, t: Language) -> Picture:
    return scores.flow(results.flow, _positive(results, t), t)


def learning(results: Results | FindingsResults, t: Language) -> dict[str, Any]:
    """Whether the curve is of many labels, whose loss is shown: accuracy is that of rare findings' negatives; and what
    --augment_bank=auto took."""
    augmentation = reasons(results.resolved.get("augmentation", ""), t)
    return {"together": tasks.get(results.config.task).is_multilabel, "augmentation": augmentation}


def _learning_curve(results: Results | FindingsResults, t: Language) -> Picture | None:
    if results.config.head == "linear":
        return None
    task = tasks.get(results.config.task)
    return curves.learning_curve(results.history, task.title, t, of_loss=task.is_multilabel)


def errors(results: Results, t: Language) -> dict[str, Any]:
    """Of each kind the number of errors, and the most confident ones; pictures of these as base64."""
    table = results.analysis.errors
    shown = table[table["image"].isin(shown_errors(table))]
    kinds = {
        kind: (int((table["kind"] == kind).sum()), rows.records(shown[shown["kind"] == kind]))
        for kind in ("false positive", "false negative")
    }
    return {"kinds": kinds, "pictures": {name: pages.inline(pages.jpeg(x)) for name, x in results.pictures.items()}}


def reproduce(results: Results | FindingsResults, t: Language) -> dict[str, Any]:
    """The command, every flag, and what the metrics were computed with: machine, versions, hashes, minutes."""
    return {
        "command": printable(command_line(results.config)),
        "flags": flags(results.config),
        "facts": facts(results, t),
    }


def flags(config: ExperimentConfig) -> list[tuple[str, Any, bool]]:
    """Every flag: its name, its value and whether this is its default."""
    values = {field: getattr(config, field.name) for field in dataclasses.fields(config) if field.name not in _NO_FLAGS}
    return [(field.name, value, value == field.default) for field, value in values.items()]


def facts(results: Results | FindingsResults, t: Language) -> list[tuple[str, str]]:
    """Name and value of what the metrics were computed with: machine, versions, hashes, minutes."""
    environment, weights = dict(results.environment), results.environment["weights"] or {}
    packages = environment.pop("packages")
    resolved = {name: value for name, value in results.resolved.items() if name != "augmentation"}  # told in words
    del environment["weights"], environment["network"]
    named = {
        t("minutes since the last start"): t.number(results.summary["minutes"], 1),
        **{str(name): value for name, value in (environment | resolved).items()},
        **{f"weights: {name}": value for name, value in weights.items() if not isinstance(value, dict)},
        t("packages"): ", ".join(f"{name} {version}" for name, version in packages.items()),
    }
    return [(name.replace("_", " "), rows.text(value)) for name, value in named.items()]


FLOW = Section("flow", "Images and patients", flow, {"flow": _flow_figure})
LEARNING = Section("learning", "Learning curve", learning, {"learning_curve": _learning_curve})
ERRORS = Section("errors", "Most confident errors", errors)
EVERY_RUN = Section(
    "runs",
    "Every run",
    figures={"per_seed": lambda results, t: curves.per_seed(results.analysis.seeds, t)},
)
REPRODUCE = Section("reproduce", "How to make this run again", reproduce)
SOURCES: Section[Results | FindingsResults] = Section("sources", "Sources")
LIMITS: Section[Results | FindingsResults] = Section("limits", "Limits")
