"""What the run is compared with: published numbers, floors, a split by image, groups of its images,
an external set; and in one sentence how often it is right, and what it does not beat."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from cxrjax.analysis.tables import Results
from cxrjax.base.tasks import Published
from cxrjax.metrics import registry
from cxrjax.report import rows
from cxrjax.report.figures import Picture, forest
from cxrjax.report.language import Language, reasons
from cxrjax.report.pages import Section
from cxrjax.report.sections import scores


def verdict(results: Results, t: Language) -> str:
    """One or two sentences. A floor that is not beaten comes first: then accuracy says little."""
    network, *floors = results.analysis.floors.to_dict("records")
    compared = [row for row in floors if not pd.isna(row["beaten"])]
    missing = [row for row in floors if pd.isna(row["beaten"])]
    accuracy = _upper(_accuracy(results, t))
    if first := _not_beaten([row for row in compared if not row["beaten"]], network, t):
        return f"{_upper(first)}. {accuracy}."
    if not compared:
        return t("%(accuracy)s; from these runs it cannot be told whether it beats its floors.", accuracy=accuracy)
    sentence = t(
        "%(accuracy)s; it beats %(floors)s", accuracy=accuracy, floors=t.listed([_name(row, t) for row in compared])
    )
    if missing:
        names = t.listed([_name(row, t) for row in missing])
        sentence += t(" (there is no comparison with %(floors)s)", floors=names)
    return f"{sentence}."


def _accuracy(results: Results, t: Language) -> str:
    """How many images are called rightly, with its interval, and the published number."""
    row = rows.estimates(results)["accuracy"]
    runs, published = len(results.analysis.seeds), results.task.published
    low, high = ("pooled_low", "pooled_high") if runs == 1 else ("low", "high")
    sentence = t.plural(
        "in %(n)s run the network classifies %(accuracy)s of the validation images correctly (95 %% interval %(low)s "
        "to %(high)s)",
        "over %(n)s runs the network classifies %(accuracy)s of the validation images correctly (95 %% interval "
        "%(low)s to %(high)s)",
        runs, accuracy=t.share(row["mean"]), low=t.percent(row[low]), high=t.percent(row[high]),
    )  # fmt: skip
    if results.config.data_dir is None:
        sentence = t("on drawn phantoms, not on patients, %(values)s", values=sentence)
    if results.config.control == "shuffled_labels":
        sentence = t("as a control, trained on shuffled labels, %(values)s", values=sentence)
    comparable = published and {"accuracy", "accuracy_sd"} <= set(published.percent)
    return f"{sentence}, {_beside(published, row, t)}" if published and comparable else sentence


def _beside(published: Published, row: Mapping[Any, Any], t: Language) -> str:
    """Where the published mean lies as seen from the interval."""
    accuracy, sd = published.percent["accuracy"], published.percent["accuracy_sd"]
    if row["high"] * 100 < accuracy:
        place = "below"
    elif row["low"] * 100 > accuracy:
        place = "above"
    else:
        place = "unknown" if math.isnan(row["low"]) else "near"
    return t.word("published", place, accuracy=t.count(accuracy), sd=t.count(sd))


def _not_beaten(floors: list[dict[Any, Any]], network: dict[Any, Any], t: Language) -> str:
    """Floors above the network, and those from which it does not differ beyond chance; "" if there is none."""
    above: list[str] = []
    near: list[str] = []
    for row in floors:
        name = "accuracy" if math.isnan(row["auroc"]) else "auroc"
        comparison = t(
            "%(floor)s (%(figure)s %(its)s against %(network)s, network minus floor %(difference)s, 95 %% interval "
            "%(low)s to %(high)s)",
            floor=_name(row, t), figure=t(registry.METRICS[name].label),
            its=t.number(row[name]), network=t.number(network[name]), difference=t.signed(row[f"{name}_difference"]),
            low=t.signed(row[f"{name}_difference_low"]), high=t.signed(row[f"{name}_difference_high"]),
        )  # fmt: skip
        (above if row[f"{name}_difference_high"] < 0 else near).append(comparison)
    parts = []
    if above:
        parts.append(t("the network does worse than %(floors)s", floors=t.listed(above)))
    if near:
        parts.append(t("the network is not shown to be better than %(floors)s", floors=t.listed(near)))
    return "; ".join(parts)


def _name(row: dict[Any, Any], t: Language) -> str:
    if row["floor"] == "metadata" and row["available"]:
        return t.word("verdict_floor", "metadata_of", used=reasons(row["note"], t))
    return t.word("verdict_floor", row["floor"])


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]


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
EXTERNAL = Section(
    "external",
    "External set",
    lambda results, t: {"enlarged": rows.enlarged(results.summary["data"].get("external_enlarged"), t)},
    figures={
        "scores_external": lambda results, t: scores.histogram(results, "external", t),
        "confusion_external": lambda results, t: scores.confusion(results, "external", t),
    },
)
