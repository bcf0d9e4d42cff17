"""What the run is compared with: floors, a split by image, groups of its images, an external set."""

from __future__ import annotations

from typing import Any

from cxrjax.analysis.floors import TRAINED
from cxrjax.analysis.tables import Results
from cxrjax.metrics import registry
from cxrjax.report import rows
from cxrjax.report.figures import Picture, forest
from cxrjax.report.language import Language
from cxrjax.report.pages import Section
from cxrjax.report.rows import Numbers
from cxrjax.report.sections import scores

_CALIBRATION = ("brier", "ece", "calibration_slope", "calibration_intercept", "calibration_in_the_large")


def floors(results: Results, t: Language) -> dict[str, Any]:
    """The network and what it must beat; `missing` says whether --floors would train more of them."""
    table = results.analysis.floors
    trained = table[table["floor"].isin(TRAINED)]["available"].all()
    return {"rows": rows.records(table), "missing": not trained}


def _floors_figure(results: Results, t: Language) -> Picture:
    return forest.floors(results.analysis.floors, at_half(results), t)


def at_half(results: Results) -> dict[Any, dict[Any, Any]]:
    """Rows of `Analysis.metrics` of the validation images at threshold 0.5, by metric."""
    table = results.analysis.metrics
    table = table[(table["data"] == "internal") & (table["rule"] == "fixed")]
    return table.set_index("metric").to_dict("index")


def leakage(results: Results, t: Language) -> dict[str, Any]:
    """What a split by image adds; no row where it was not measured."""
    return {"rows": rows.records(results.analysis.leakage)}


def _leakage_figure(results: Results, t: Language) -> Picture | None:
    return None if results.analysis.leakage is None else forest.leakage(results.analysis.leakage, t)


def subgroups(results: Results, t: Language) -> dict[str, Any]:
    """Rows of each variable's groups, and the names of their metrics."""
    groups = results.analysis.subgroups.groupby("variable", sort=False)
    variables = [rows.records(part) for _, part in groups]
    return {"metrics": registry.shown_in(registry.SUBGROUPS), "variables": variables}


def _subgroups_figure(results: Results, metrics: tuple[str, ...], title: str, t: Language) -> Picture | None:
    overall = {name: at_half(results)[name]["pooled"] for name in metrics}
    table = results.analysis.subgroups
    return forest.subgroups(table, overall, title, t) if len(table) else None


def external(results: Results, t: Language) -> dict[str, Any]:
    """All metrics of the external set, and those of calibration beside the internal ones; without a set none."""
    if results.analysis.external_seeds is None:
        return {"fixed": {}}
    inside = rows.metrics(results, "internal", "fixed", Numbers(t))
    outside = scores.all_metrics(results, "external", t)
    shift = [(inside[name], outside["fixed"][name]) for name in _CALIBRATION]
    return {**outside, "shift": shift}


FLOORS = Section("floors", "Floors", floors, {"floors": _floors_figure})
LEAKAGE = Section("leakage", "Leakage", leakage, {"leakage": _leakage_figure})
_DECISIONS = ("sensitivity", "specificity")
SUBGROUPS = Section(
    "subgroups",
    "Subgroups",
    subgroups,
    {
        "subgroups": lambda results, t: _subgroups_figure(results, ("auroc",), t("AUROC by subgroup"), t),
        "subgroups_decisions": lambda results, t: _subgroups_figure(
            results, _DECISIONS, t("Sensitivity (●), specificity (■)"), t
        ),
    },
)
EXTERNAL = Section(
    "external",
    "External set",
    external,
    {
        "scores_external": lambda results, t: scores.histogram(results, "external", t),
        "confusion_external": lambda results, t: scores.confusion(results, "external", t),
    },
)
