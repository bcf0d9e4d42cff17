"""Where the networks of a run look: verdicts in words, tables whose cells say what is not beaten."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pandas as pd

from cxrjax.analysis import map_tests
from cxrjax.analysis.agreement import SEEDS
from cxrjax.analysis.localisation import TRAINED, expected
from cxrjax.analysis.map_tests import Verdict
from cxrjax.analysis.tables import MapRecord, Results
from cxrjax.base import tasks
from cxrjax.report import pages, words
from cxrjax.report.language import DASH, Language
from cxrjax.report.pages import Section
from cxrjax.report.sections.dreams import english_inside


def maps(results: Results, t: Language) -> dict[str, Any] | None:
    """Summary, overlays, groups (a target each), agreement, reasons and notes; None without maps."""
    record = results.maps
    if record is None:
        return None
    verdicts = map_tests.verdicts(record.focus)
    positive = t(tasks.get(results.config.task).positive.title)
    return {
        "summary": _summary(verdicts, t),
        "overlays": _overlays(record, positive, t),
        "groups": _groups(record.focus, verdicts, positive, t),
        "agreement": _agreement(record.agreement, t),
        "reasons": _reasons(record, positive, t),
        "notes": [words.note(note, t) for note in record.numbers.get("notes", ())],
    }


def _overlays(record: MapRecord, positive: str, t: Language) -> dict[str, Any] | None:
    caption = t(
        "Radiographs of the validation images with their boxes, and maps laid over them: the stronger the colour, the "
        "more the score depends on the place. Two maps are not on one scale."
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
        "%(n)s of %(all)s figures are shown to beat every control and every baseline. Of a map that is not, nobody can "
        "say that it shows what was learned, and not the image or the architecture.",
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


def _groups(table: pd.DataFrame, verdicts: list[Verdict], positive: str, t: Language) -> list[dict[str, Any]]:
    """Of each target its name, verdicts and tables."""
    return [
        {
            "name": t.word("target", target, positive=positive),
            "verdicts": [sentence(verdict, table, t) for verdict in verdicts if verdict.target == target],
            "tables": [_table(part, str(figure), t) for figure, part in of_target.groupby("metric", sort=False)],
        }
        for target, of_target in table.groupby("target", sort=False)
    ]


def _table(part: pd.DataFrame, figure: str, t: Language) -> dict[str, Any]:
    """Of one figure of one target: name, columns, rows of (method, images, patients, cells)."""
    present = set(part["network"])
    names = [name for name in (TRAINED, *expected(str(part["target"].iloc[0]))) if name in present]
    names += [name for name in part["network"].unique() if name not in names]
    rows = []
    for method, of_method in part.groupby("method", sort=False):
        by_network = {row["network"]: row for row in of_method.to_dict("records")}
        trained = by_network.get(TRAINED)
        rows.append(
            {
                "method": t.word("method", method),
                "images": t.count(trained["images"]) if trained else DASH,
                "patients": t.count(trained["patients"]) if trained else DASH,
                "cells": [_cell(by_network[name], t) if name in by_network else None for name in names],
            }
        )
    return {
        "metric": t.word("map_metric", figure),
        "columns": [t.word("network", name) for name in names],
        "rows": rows,
    }


def _cell(row: dict[Any, Any], t: Language) -> dict[str, Any]:
    """Value with its interval; of others than the trained network the difference with its, and a word."""
    interval = t.interval(t.number(row["low"]), t.number(row["high"]))
    cell = {"value": t.number(row["value"]), "interval": interval, "few": row["small"] is True}
    if row["network"] == TRAINED:
        return cell | {"difference": "", "word": "", "beaten": True}
    ends = t.interval(t.signed(row["difference_low"]), t.signed(row["difference_high"]))
    if row["beaten"] is True:
        word = t("beaten")
    elif ends == DASH:
        word = t("not shown to be beaten: no interval")
    else:
        word = t("not beaten: it is better") if row["difference_high"] < 0 else t("not beaten")
    difference = {"difference": t.signed(row["difference"]), "difference_interval": ends}
    return cell | difference | {"word": word, "beaten": row["beaten"] is True}


def _agreement(table: pd.DataFrame, t: Language) -> dict[str, Any]:
    """Columns and rows (method, cells) of `agreement.table`, the stability of the trained networks first."""
    pairs = list(dict.fromkeys(zip(table["network"], table["against"], strict=True)))
    pairs.sort(key=lambda pair: (pair[0] != TRAINED, pair[1] != SEEDS))  # stable
    rows = []
    for method, of_method in table.groupby("method", sort=False):
        by_pair = {(row["network"], row["against"]): row for row in of_method.to_dict("records")}
        stable = by_pair.get((TRAINED, SEEDS))
        cells = [_alike(by_pair[pair], stable, t) if pair in by_pair else None for pair in pairs]
        rows.append({"method": t.word("method", method), "cells": cells})
    return {"columns": [_pair(*pair, t) for pair in pairs], "rows": rows}


def _pair(network: str, against: str, t: Language) -> str:
    name = t.word("network", network if against == SEEDS else against)
    return t("%(name)s: over seeds", name=name) if against == SEEDS else t("beside: %(name)s", name=name)


def _alike(row: dict[Any, Any], stable: dict[Any, Any] | None, t: Language) -> dict[str, Any]:
    """A control that is as like the network as its own other seeds is said to be so in words."""
    control = row["network"] == TRAINED and row["against"] != SEEDS
    return {
        "value": t.signed(row["value"], 2),
        "interval": t.interval(t.signed(row["low"], 2), t.signed(row["high"], 2)),
        "few": row["small"] is True,
        "same": control and stable is not None and row["value"] >= stable["value"],
    }


def _reasons(record: MapRecord, positive: str, t: Language) -> list[str]:
    """What the tables' rows have to note, a line each with what it holds for."""
    holds_for: dict[str, list[str]] = {}
    for row in record.focus.to_dict("records"):
        names = [
            t.word("method", row["method"]), t.word("target", row["target"], positive=positive),
            t.word("map_metric", row["metric"]), t.word("network", row["network"]),
        ]  # fmt: skip
        zeros = t.plural(
            "%(n)s map is zero everywhere and counts as uniform", "%(n)s maps are zero everywhere and count as uniform",
            row["zero_maps"],
        )  # fmt: skip
        _hold(holds_for, names, [*_notes(row, t), *([zeros] if row["zero_maps"] > 0 else [])])
    for row in record.agreement.to_dict("records"):
        names = [t.word("method", row["method"]), _pair(row["network"], row["against"], t)]
        constant = t.plural(
            "%(n)s map is constant and is left out", "%(n)s maps are constant and are left out", row["constant_maps"]
        )
        _hold(holds_for, names, [*_notes(row, t), *([constant] if row["constant_maps"] > 0 else [])])
    return [f"{'; '.join(dict.fromkeys(names))}: {note}." for note, names in holds_for.items()]


def _hold(holds_for: dict[str, list[str]], names: list[str], notes: Iterable[str]) -> None:
    for note in dict.fromkeys(notes):
        holds_for.setdefault(note, []).append(", ".join(names))


def _notes(row: dict[Any, Any], t: Language) -> list[str]:
    return [] if pd.isna(row["note"]) else words.each_reason(str(row["note"]), t)


MAPS = Section("looks", "Where it looks", maps)
