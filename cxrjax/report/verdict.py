"""A run's answer in words: how often it is right, beside the poster and beside what it must beat."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from cxrjax.analysis.schema import Results
from cxrjax.report.language import Language, message

FLOORS = {
    "majority": message("always calling the more frequent class"),
    "metadata": message("metadata alone"),
    "shuffled_labels": message("a network trained on shuffled labels"),
    "random_trunk": message("a network on a trunk of random weights"),
}
USED = {
    "view": message("view"),
    "sex": message("sex"),
    "age": message("age"),
    "followup": message("follow-up number"),
}


def verdict(results: Results, t: Language) -> str:
    """One or two sentences. A floor that is not beaten comes first: then accuracy says little.

    Args:
      results: of the run.
      t: of the words.
    """
    network, *others = results.analysis.floors.to_dict("records")
    compared = [row for row in others if not pd.isna(row["beaten"])]
    first = _not_beaten([row for row in compared if not row["beaten"]], network, t)
    accuracy = _accuracy(results, t)
    if first:
        return f"{_upper(first)}. {_upper(accuracy)}."
    if not compared:
        return t(
            "%(accuracy)s; from these runs it cannot be told whether it beats its floors.", accuracy=_upper(accuracy)
        )
    told = t(
        "%(accuracy)s; it beats %(floors)s",
        accuracy=_upper(accuracy),
        floors=listed([_name(r, t) for r in compared], t),
    )
    missing = [row for row in others if pd.isna(row["beaten"])]
    if missing:
        told += t(" (there is no comparison with %(floors)s)", floors=listed([_name(row, t) for row in missing], t))
    return f"{told}."


def _accuracy(results: Results, t: Language) -> str:
    """How many images are called rightly, with its interval, and the poster's figure."""
    figures = results.analysis.figures.set_index(["data", "rule", "figure"])
    row = figures.to_dict("index")["internal", "fixed", "accuracy"]
    runs, poster = len(results.analysis.seeds), results.summary["poster_percent"]
    values = {"accuracy": t.share(row["mean"]), "low": t.percent(row["low"]), "high": t.percent(row["high"])}
    if runs == 1:
        values |= {"low": t.percent(row["pooled_low"]), "high": t.percent(row["pooled_high"])}
    told = t.plural(
        "in %(n)s run the network classifies %(accuracy)s of the validation images correctly (95 %% interval %(low)s "
        "to %(high)s)",
        "over %(n)s runs the network classifies %(accuracy)s of the validation images correctly (95 %% interval "
        "%(low)s to %(high)s)",
        runs, **values,
    )  # fmt: skip
    if results.config.data_dir is None:
        told = t("on drawn phantoms, not on patients, %(told)s", told=told)
    if results.config.control == "shuffled_labels":
        told = t("as a control, trained on shuffled labels, %(told)s", told=told)
    return told if not poster else f"{told}, {_beside(poster, row, t)}"


def _beside(poster: dict[str, float], row: dict[Any, Any], t: Language) -> str:
    """Where the poster's mean lies as seen from the interval."""
    values = {"accuracy": t.count(poster["accuracy"]), "sd": t.count(poster["accuracy_sd"])}
    if row["high"] * 100 < poster["accuracy"]:
        return t("below the poster's %(accuracy)s ± %(sd)s %%", **values)
    if row["low"] * 100 > poster["accuracy"]:
        return t("above the poster's %(accuracy)s ± %(sd)s %%", **values)
    if math.isnan(row["low"]):
        return t("where the poster has %(accuracy)s ± %(sd)s %%", **values)
    return t("not clearly different from the poster's %(accuracy)s ± %(sd)s %%", **values)


def _not_beaten(rows: list[dict[Any, Any]], network: dict[Any, Any], t: Language) -> str:
    """Floors above the network, and those from which it does not differ beyond chance; "" if there is none."""
    above: list[str] = []
    near: list[str] = []
    for row in rows:
        name = "accuracy" if math.isnan(row["auroc"]) else "auroc"
        told = t(
            "%(floor)s (%(figure)s %(its)s against %(network)s, network minus floor %(difference)s, 95 %% interval "
            "%(low)s to %(high)s)",
            floor=_name(row, t), figure="AUROC" if name == "auroc" else t("accuracy"),
            its=t.number(row[name]), network=t.number(network[name]), difference=t.signed(row[f"{name}_difference"]),
            low=t.signed(row[f"{name}_difference_low"]), high=t.signed(row[f"{name}_difference_high"]),
        )  # fmt: skip
        (above if row[f"{name}_difference_high"] < 0 else near).append(told)
    parts = []
    if above:
        parts.append(t("the network does worse than %(floors)s", floors=listed(above, t)))
    if near:
        parts.append(t("the network is not shown to be better than %(floors)s", floors=listed(near, t)))
    return "; ".join(parts)


def _name(row: dict[Any, Any], t: Language) -> str:
    if row["floor"] == "metadata" and row["available"]:
        return t("metadata alone (%(used)s)", used=used(row["note"], t))
    return t(FLOORS[row["floor"]])


def used(note: str, t: Language) -> str:
    """What the metadata floor used, from its note in `Analysis.floors`."""
    return ", ".join(t(USED.get(name, name)) for name in note.split(", "))


def listed(parts: list[str], t: Language) -> str:
    """a, b and c."""
    if len(parts) < 2:
        return "".join(parts)
    return t("%(first)s and %(last)s", first=", ".join(parts[:-1]), last=parts[-1])


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]
