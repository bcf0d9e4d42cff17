"""What the run is compared with: published numbers, floors, a split by image, groups of its images, other sets."""

from __future__ import annotations

from collections.abc import Callable

from cxrjax.analysis.tables import Results
from cxrjax.report import rows
from cxrjax.report.figures import Picture, forest
from cxrjax.report.language import Language
from cxrjax.report.pages import Section
from cxrjax.report.sections import scores


def _floors_figure(results: Results, t: Language) -> Picture:
    return forest.floors(results.analysis.floors, rows.estimates(results), t)


def _leakage_figure(results: Results, t: Language) -> Picture | None:
    return None if results.analysis.leakage is None else forest.leakage(results.analysis.leakage, t)


def _subgroups_figure(results: Results, metrics: tuple[str, ...], title: str, t: Language) -> Picture | None:
    overall = {name: rows.estimates(results)[name]["pooled"] for name in metrics}
    table = results.analysis.subgroups
    return forest.subgroups(table, overall, title, t) if len(table) else None


PUBLISHED: Section[Results] = Section(
    "poster", "The poster beside this run", lambda results, t: {} if results.task.published else None
)
RESULT: Section[Results] = Section(
    "result", "Result", lambda results, t: None if results.task.published else {}, template="poster.html.jinja"
)
FLOORS = Section("floors", "Floors", figures={"floors": _floors_figure})
LEAKAGE = Section("leakage", "Leakage", figures={"leakage": _leakage_figure})
_DECISIONS = ("sensitivity", "specificity")
SUBGROUPS = Section(
    "subgroups",
    "Subgroups",
    figures={
        "subgroups": lambda results, t: _subgroups_figure(results, ("auroc",), t("AUROC by subgroup"), t),
        "subgroups_decisions": lambda results, t: _subgroups_figure(
            results, _DECISIONS, t("Sensitivity (●), specificity (■)"), t
        ),
    },
)


def _figures_of(data: str) -> dict[str, Callable[[Results, Language], Picture | None]]:
    return {
        f"scores_{data}": lambda results, t: scores.histogram(results, data, t),
        f"confusion_{data}": lambda results, t: scores.confusion(results, data, t),
    }


def _external(results: Results, t: Language) -> dict[str, str | None]:
    enlarged = rows.enlarged(results.summary["data"].get("external_enlarged"), t)
    return {"data": "external", "source": results.config.external_dir, "enlarged": enlarged}


def _held_out(results: Results, t: Language) -> dict[str, str] | None:
    if results.tables.test is None:
        return None
    return {"data": "test", "source": f"--test={results.config.test}", "enlarged": ""}


EXTERNAL = Section("external", "External set", _external, figures=_figures_of("external"))
HELD_OUT = Section(
    "held_out", "Held-out images", _held_out, figures=_figures_of("test"), template="external.html.jinja"
)
