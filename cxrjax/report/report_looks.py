"""Where the networks of a run look, for the report: verdicts in words, tables whose cells say what is not beaten."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import Any

import pandas as pd

from cxrjax.analysis import focus
from cxrjax.analysis.agreement import SEEDS
from cxrjax.analysis.focus import Verdict
from cxrjax.analysis.looks import BOX, LUNGS, TRAINED, expected
from cxrjax.analysis.schema import MapRecord
from cxrjax.report.language import DASH, Language, message, printable
from cxrjax.report.report_dreams import shown

METHODS = {
    "gradient": message("gradient"),
    "smooth_grad": "SmoothGrad",
    "integrated_gradients": message("integrated gradients"),
    "grad_cam": "Grad-CAM",
    "occlusion": message("occlusion"),
    "dream": message("what a dream changes"),
}
NETWORKS = {
    TRAINED: message("this network"),
    "random_head": message("head of random weights"),
    "shuffled_labels": message("trained on shuffled labels"),
    "random_trunk": message("trunk of random weights"),
    "area": message("the same everywhere (area share)"),
    "centre": message("the image's centre (centre prior)"),
    "mean_box": message("mean box of other patients"),
}
TARGETS = {BOX: message("Boxes around a pneumonia"), LUNGS: message("Lungs")}
FIGURES = {"energy": message("Share of the map's energy inside"), "pointing": message("Pointing game")}
_WHAT = {
    (BOX, "energy"): message("share of the map inside the box"),
    (BOX, "pointing"): message("share of maps with their maximum inside the box"),
    (LUNGS, "energy"): message("share of the map inside the lungs"),
    (LUNGS, "pointing"): message("share of maps with their maximum inside the lungs"),
}


def looks(record: MapRecord | None, t: Language) -> dict[str, Any] | None:
    """What the section shows, see the functions below; None without maps."""
    if record is None:
        return None
    found = focus.verdicts(record.focus)
    overlays = record.pictures.get("overlays")
    caption = t(
        "Radiographs of the validation images with their boxes, and maps laid over them: the stronger the colour, the "
        "more the score depends on the place. Two maps are not on one scale."
    )
    alt = t(
        "Rows of chest radiographs with boxes around pneumonias; columns: the image, then a map of each method over it"
    )
    return {
        "summary": _summary(found, t),
        "verdicts": _further(record, found, t),
        "overlays": None if overlays is None else shown(overlays, caption, alt),
        "groups": _groups(record.focus, found, t),
        "agreement": _agreement(record.agreement, t),
        "reasons": _reasons(record, t),
        "notes": [_retold(note, t) for note in record.numbers.get("notes", ())],
    }  # fmt: skip


def _name(names: dict[str, str], key: object, t: Language) -> str:
    return t(names[str(key)]) if key in names else printable(key)


def _summary(found: list[Verdict], t: Language) -> str:
    if not found:
        return t("No map of the trained networks could be compared with a region.")
    whole = sum(one.everything for one in found)
    return t(
        "%(n)s of %(all)s figures are shown to beat every control and every baseline. Of a map that is not, nobody can "
        "say that it shows what was learned, and not the image or the architecture.",
        n=t.count(whole),
        all=t.count(len(found)),
    )


def _told(verdict: Verdict, table: pd.DataFrame, t: Language) -> str:
    """A verdict in the words of `focus.verdicts`."""
    keys = {"target": verdict.target, "figure": verdict.figure, "method": verdict.method}
    own = table[(table[list(keys)] == pd.Series(keys)).all(axis=1)]
    trained = own[own["network"] == TRAINED].iloc[0]
    what = _name({f"{a} {b}": text for (a, b), text in _WHAT.items()}, f"{verdict.target} {verdict.figure}", t)
    span = _span(trained["low"], trained["high"], t, 2)
    value = t.number(trained["value"], 2) + ("" if span == DASH else f" ({span})")
    said = [f"{_name(METHODS, verdict.method, t)}: {what} {value}."]
    undecided = (*verdict.below, *verdict.undecided)
    for names, sentence in (
        (
            verdict.beats,
            message("It beats all of: %(names)s.") if verdict.everything else message("It beats %(names)s."),
        ),
        ([name for name in verdict.not_beaten if name not in undecided], message("It does not beat %(names)s.")),
        (verdict.below, message("It does not beat, but lies below %(names)s.")),
        (verdict.undecided, message("It is not shown to beat %(names)s: there is no interval.")),
        (verdict.missing, message("It was not compared with %(names)s.")),
    ):
        if names:
            said.append(
                t(sentence, names="; ".join(t.retell(focus.NAMES.get(name, printable(name))) for name in names))
            )
    if verdict.small:
        said.append(t("These are few patients (%(n)s).", n=t.count(own["patients"].min())))
    return " ".join(said)


def _further(record: MapRecord, found: Iterable[Verdict], t: Language) -> list[dict[str, Any]]:
    """Verdicts of the record that its table does not give; others differ in the last digit of a number at most."""
    told = {_beginning(one.text) for one in found}
    texts = [str(text) for text in record.numbers.get("verdicts", ())]
    return [_retold(text, t) for text in texts if _beginning(text) not in told]


def _beginning(text: str) -> str:
    return re.split(r"\d", text, maxsplit=1)[0]


def _retold(text: object, t: Language) -> dict[str, Any]:
    """A sentence of the record: text, and whether it stays English on a page of another language."""
    told = t.retell(printable(text))
    return {"text": told, "english": t.code != "en" and told == text}


def _groups(table: pd.DataFrame, found: list[Verdict], t: Language) -> list[dict[str, Any]]:
    """Of each target its name, verdicts and tables: figure, columns, rows of (method, images, patients, cells)."""
    return [
        {
            "name": _name(TARGETS, target, t),
            "verdicts": [_told(one, table, t) for one in found if one.target == target],
            "tables": [_table(part, str(figure), t) for figure, part in own.groupby("figure", sort=False)],
        }
        for target, own in table.groupby("target", sort=False)
    ]


def _table(part: pd.DataFrame, figure: str, t: Language) -> dict[str, Any]:
    present = set(part["network"])
    names = [name for name in (TRAINED, *expected(str(part["target"].iloc[0]))) if name in present]
    names += [name for name in part["network"].unique() if name not in names]
    rows = []
    for method, own in part.groupby("method", sort=False):
        by_network = {row["network"]: row for row in own.to_dict("records")}
        trained = by_network.get(TRAINED)
        rows.append(
            {
                "method": _name(METHODS, method, t),
                "images": t.count(trained["images"]) if trained else DASH,
                "patients": t.count(trained["patients"]) if trained else DASH,
                "cells": [_cell(by_network[name], t) if name in by_network else None for name in names],
            }
        )
    return {
        "figure": _name(FIGURES, figure, t),
        "columns": [_name(NETWORKS, name, t) for name in names],
        "rows": rows,
    }


def _cell(row: dict[Any, Any], t: Language) -> dict[str, Any]:
    """Value with its interval; of others than the trained network the difference with its, and a word."""
    cell = {"value": t.number(row["value"]), "interval": _span(row["low"], row["high"], t), "few": row["small"] is True}
    if row["network"] == TRAINED:
        return cell | {"difference": "", "word": "", "beaten": True}
    span = _span(row["difference_low"], row["difference_high"], t, signed=True)
    if row["beaten"] is True:
        word = t("beaten")
    elif span == DASH:
        word = t("not shown to be beaten: no interval")
    else:
        word = t("not beaten: it is better") if row["difference_high"] < 0 else t("not beaten")
    difference = {"difference": t.signed(row["difference"]), "difference_interval": span}
    return cell | difference | {"word": word, "beaten": row["beaten"] is True}


def _agreement(table: pd.DataFrame, t: Language) -> dict[str, Any]:
    """Columns and rows (method, cells) of `agreement.table`, the stability of the trained networks first."""
    pairs = list(dict.fromkeys(zip(table["network"], table["against"], strict=True)))
    pairs.sort(key=lambda pair: (pair[0] != TRAINED, pair[1] != SEEDS))  # stable
    rows = []
    for method, own in table.groupby("method", sort=False):
        known = {(row["network"], row["against"]): row for row in own.to_dict("records")}
        stable = known.get((TRAINED, SEEDS))
        cells = [_alike(known[pair], stable, t) if pair in known else None for pair in pairs]
        rows.append({"method": _name(METHODS, method, t), "cells": cells})
    return {"columns": [_pair(*pair, t) for pair in pairs], "rows": rows}


def _pair(network: str, against: str, t: Language) -> str:
    name = _name(NETWORKS, network if against == SEEDS else against, t)
    return t("%(name)s: over seeds", name=name) if against == SEEDS else t("beside: %(name)s", name=name)


def _alike(row: dict[Any, Any], stable: dict[Any, Any] | None, t: Language) -> dict[str, Any]:
    """A control that is as like the network as its own other seeds is said to be so in words."""
    control = row["network"] == TRAINED and row["against"] != SEEDS
    same = control and stable is not None and row["value"] >= stable["value"]
    return {
        "value": t.signed(row["value"], 2), "interval": _span(row["low"], row["high"], t, 2, signed=True),
        "few": row["small"] is True, "same": same,
        "word": t("no less alike than over seeds") if same else "",
    }  # fmt: skip


def _reasons(record: MapRecord, t: Language) -> list[str]:
    """What the tables' rows have to note, a line each with what it holds for."""
    found: dict[str, list[str]] = {}
    for table, zeros in ((record.focus, "zero_maps"), (record.agreement, "constant_maps")):
        for row in table.to_dict("records"):
            keys = [_name(METHODS, row["method"], t)]
            if zeros == "zero_maps":
                keys += [
                    _name(TARGETS, row["target"], t),
                    _name(FIGURES, row["figure"], t),
                    _name(NETWORKS, row["network"], t),
                ]
            else:
                keys.append(_pair(row["network"], row["against"], t))
            notes = [] if pd.isna(row["note"]) else [note for note in str(row["note"]).split("; ") if note]
            told = [t.retell(printable(re.sub("^(value|difference): ", "", note))) for note in notes]
            if row[zeros] > 0:
                told.append(_zeros(zeros, row[zeros], t))
            for note in dict.fromkeys(told):
                found.setdefault(note, []).append(", ".join(keys))
    return [f"{'; '.join(dict.fromkeys(names))}: {note}." for note, names in found.items()]


def _zeros(kind: str, count: float, t: Language) -> str:
    if kind == "zero_maps":
        return t.plural(
            "%(n)s map is zero everywhere and counts as uniform",
            "%(n)s maps are zero everywhere and count as uniform",
            count,
        )
    return t.plural("%(n)s map is constant and is left out", "%(n)s maps are constant and are left out", count)


def _span(low: float, high: float, t: Language, digits: int = 3, signed: bool = False) -> str:
    """Both ends of an interval; a dash without one."""
    if math.isnan(low) or math.isnan(high):
        return DASH
    write = t.signed if signed else t.number
    return t("%(low)s to %(high)s", low=write(low, digits), high=write(high, digits))
