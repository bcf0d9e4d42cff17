"""Where the networks of a run look: verdicts in words, tables whose cells say what is not beaten."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from cxrjax.analysis import detection, map_tests
from cxrjax.analysis.agreement import SEEDS
from cxrjax.analysis.localisation import TRAINED, expected
from cxrjax.analysis.map_tests import Verdict
from cxrjax.analysis.tables import MapRecord, Results
from cxrjax.report import pages
from cxrjax.report.language import DASH, Language, each_reason, note
from cxrjax.report.pages import Section
from cxrjax.report.sections.dreams import english_inside


def maps(results: Results, t: Language) -> dict[str, Any] | None:
    """Summary, overlays, groups (a target each), agreement, reasons and notes; None without maps."""
    record = results.maps
    if record is None:
        return None
    verdicts = map_tests.verdicts(record.focus)
    positive = t(results.task.positive.title)
    return {
        "summary": _summary(verdicts, t),
        "overlays": _overlays(record, positive, t),
        "groups": _groups(record.focus, verdicts, t),
        "pairs": [(pair, _pair(*pair, t)) for pair in _pairs(record.agreement)],
        "agreement": _by_method(record.agreement, "network", "against"),
        "stable": (TRAINED, SEEDS),
        "boxes": _boxes(record),
        "reasons": _reasons(record, positive, t),
        "notes": [note(text, t) for text in record.numbers.get("notes", ())],
    }


def _overlays(record: MapRecord, positive: str, t: Language) -> dict[str, Any] | None:
    caption = t(
        "Validation radiographs with their boxes and, on top of them, the maps. The stronger the colour, the more the "
        "score depends on that place. Each map has its own scale."
    )
    alt = t(
        "Rows of chest radiographs with boxes around %(positive)s; columns: the image, then a map of each method over "
        "it",
        positive=positive,
    )
    picture = record.pictures.get("overlays")
    return None if picture is None else pages.embedded(picture, caption + english_inside(t), alt)


def _summary(verdicts: list[Verdict], t: Language) -> str:
    if not verdicts:
        return t("No map of the trained networks could be compared with a region.")
    return t(
        "%(n)s of %(all)s figures are shown to beat every control and every baseline. A map that does not beat them "
        "all may show the image or the architecture, not what the network learned.",
        n=t.count(sum(verdict.everything for verdict in verdicts)),
        all=t.count(len(verdicts)),
    )


def sentence(verdict: Verdict, table: pd.DataFrame, t: Language) -> str:
    """A verdict in words.

    Args:
      verdict: One of `map_tests.verdicts(table)`.
      table: `MapRecord.focus`.
      t: Language of the words.
    """
    same = (table["target"] == verdict.target) & (table["metric"] == verdict.metric)
    table = table[same & (table["method"] == verdict.method)]
    trained = table[table["network"] == TRAINED].iloc[0]
    ends = t.interval(t.number(trained["low"], 2), t.number(trained["high"], 2))
    value = t.number(trained["value"], 2) + ("" if ends == DASH else f" ({ends})")
    what = t.word("map_metric", f"{verdict.metric} {verdict.target}")
    sentences = [f"{t.word('method', verdict.method)}: {what} {value}."]
    beats = "beats_all" if verdict.everything else "beats"
    apart = (*verdict.below, *verdict.undecided)
    for names, key in (
        (verdict.beats, beats),
        ([name for name in verdict.not_beaten if name not in apart], "not_beaten"),
        (verdict.below, "below"),
        (verdict.undecided, "undecided"),
        (verdict.missing, "missing"),
    ):
        if names:
            sentences.append(t.word("map_verdict", key, names="; ".join(t.word("compared", name) for name in names)))
    if verdict.small:
        sentences.append(t("These are few patients (%(n)s).", n=t.count(table["patients"].min())))
    return " ".join(sentences)


def _groups(table: pd.DataFrame, verdicts: list[Verdict], t: Language) -> list[dict[str, Any]]:
    """Of each target its verdicts in words; of each figure networks in order, and rows of each method by network."""
    return [
        {
            "target": target,
            "verdicts": [sentence(verdict, table, t) for verdict in verdicts if verdict.target == target],
            "tables": [
                (metric, _ordered(list(part["network"].unique()), str(target)), _by_method(part, "network"))
                for metric, part in of_target.groupby("metric", sort=False)
            ],
        }
        for target, of_target in table.groupby("target", sort=False)
    ]


def _ordered(networks: Sequence[str], target: str) -> list[str]:
    """The trained one first, then what is expected beside it, then others."""
    first = [name for name in (TRAINED, *expected(target)) if name in networks]
    return first + [name for name in networks if name not in first]


def _by_method(table: pd.DataFrame, *keys: str) -> dict[str, dict[Any, dict[Any, Any]]]:
    """Method -> its rows, with their outcome, by one column or by several."""
    return {
        str(method): {
            tuple(row[key] for key in keys) if len(keys) > 1 else row[keys[0]]: row | {"outcome": _outcome(row)}
            for row in part.to_dict("records")
        }
        for method, part in table.groupby("method", sort=False)
    }


def _outcome(row: Mapping[Any, Any]) -> str:
    """Of a control or baseline: beaten, undecided (no interval), better than the network, or not beaten."""
    if row.get("beaten") is True:
        return "beaten"
    if math.isnan(row.get("difference_low", math.nan)):
        return "undecided"
    return "better" if row["difference_high"] < 0 else "not_beaten"


def _pairs(table: pd.DataFrame) -> list[tuple[str, str]]:
    """Columns of the table of agreement, network and against: the stability of the trained networks first."""
    pairs = list(dict.fromkeys(zip(table["network"], table["against"], strict=True)))
    return sorted(pairs, key=lambda pair: (pair[0] != TRAINED, pair[1] != SEEDS))  # stable


def _pair(network: str, against: str, t: Language) -> str:
    name = t.word("network", network if against == SEEDS else against)
    return t("%(name)s: over seeds", name=name) if against == SEEDS else t("beside: %(name)s", name=name)


def _boxes(record: MapRecord) -> dict[str, list[dict[str, Any]]]:
    """Measure of overlap -> a row for each method and network, with its cells by T."""
    table = record.boxes if record.boxes is not None else pd.DataFrame(columns=list(detection.COLUMNS))
    return {
        str(criterion): [
            {"method": method, "network": network, "cells": of_network.to_dict("records")}
            for (method, network), of_network in part.fillna({"method": ""}).groupby(["method", "network"], sort=False)
        ]
        for criterion, part in table.groupby("criterion", sort=False)
    }


def _reasons(record: MapRecord, positive: str, t: Language) -> list[str]:
    """What the tables' rows have to note, and how many of their maps are zero or constant: a line each with what it
    holds for."""
    holds_for: dict[str, list[str]] = {}
    for kind, table in (("zero_maps", record.focus), ("constant_maps", record.agreement)):
        for row in table.to_dict("records"):
            reasons = [] if pd.isna(row["note"]) else each_reason(str(row["note"]), t)
            if count := row[kind]:
                reasons.append(t.word(kind, "one" if count == 1 else "many", n=t.count(count)))
            for reason in dict.fromkeys(reasons):
                holds_for.setdefault(reason, []).append(
                    f"{t.word('method', row['method'])}, {_about(row, positive, t)}"
                )
    return [f"{'; '.join(dict.fromkeys(names))}: {reason}." for reason, names in holds_for.items()]


def _about(row: Mapping[Any, Any], positive: str, t: Language) -> str:
    """What a row compares, beside its method."""
    if "against" in row:
        return _pair(row["network"], row["against"], t)
    target = t.word("target", row["target"], positive=positive)
    return ", ".join([target, t.word("map_metric", row["metric"]), t.word("network", row["network"])])


MAPS = Section("looks", "Where it looks", maps)
