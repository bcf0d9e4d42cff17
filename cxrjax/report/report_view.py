"""What the parts of the report show, made ready for their templates."""

from __future__ import annotations

import dataclasses
import math
from pathlib import PurePath
from typing import Any

import pandas as pd

from cxrjax.analysis import errors as wrong
from cxrjax.analysis.floors import TRAINED
from cxrjax.analysis.schema import Results
from cxrjax.base import tasks
from cxrjax.base.config import ExperimentConfig
from cxrjax.report import page, verdict
from cxrjax.report.figures import flow as flow_figure
from cxrjax.report.figures import forest
from cxrjax.report.language import DASH, Language, message, printable
from cxrjax.report.report_rows import p_value

KINDS = {
    "false positive": message("False positives: called pneumonia, labelled without"),
    "false negative": message("False negatives: labelled pneumonia, not called so"),
}
_OWN = ("name", "task")  # fields of a configuration that are no flags


def question(config: ExperimentConfig, t: Language) -> str:
    """What the run asks, in words."""
    return t(tasks.get(config.task).question)


def flow(table: pd.DataFrame, t: Language) -> list[dict[str, Any]]:
    """Boxes of the flow diagram in order: stage, name, counts (lines), excluded, side (training or validation)."""
    return [
        {
            "stage": row["stage"],
            "name": t(flow_figure.STAGES[row["stage"]]),
            "counts": flow_figure.counts(row, t),
            "excluded": bool(row["excluded"]),
            "side": row["stage"] in flow_figure.SIDES,
        }
        for row in flow_figure.shown(table).to_dict("records")
    ]


def floors(results: Results, t: Language) -> list[dict[str, str]]:
    """Rows of `Analysis.floors` as text: name, note, accuracy, auroc, difference, interval, p (of AUROC), beaten."""
    rows = []
    for row in results.analysis.floors.to_dict("records"):
        available, network = bool(row["available"]), row["floor"] == "network"
        note = row["note"]
        if row["floor"] == "metadata" and available:
            note = verdict.used(note, t)
        beaten = row["beaten"]
        rows.append(
            {
                "name": t(forest.FLOORS[row["floor"]]),
                "note": t.retell(note),
                "accuracy": _plus_minus(t.percent(row["accuracy"]), t.percent(row["accuracy_sd"])),
                "auroc": _plus_minus(t.number(row["auroc"]), t.number(row["auroc_sd"])),
                "difference": t.signed(row["auroc_difference"]),
                "interval": _to(t.signed(row["auroc_difference_low"]), t.signed(row["auroc_difference_high"]), t),
                "p": p_value(row["auroc_p"], t),
                "beaten": DASH if network or pd.isna(beaten) else t("yes") if beaten else t("no"),
            }
        )
    return rows


def not_trained(table: pd.DataFrame) -> bool:
    """Whether `Analysis.floors` lacks one that --floors trains."""
    return not table[table["floor"].isin(TRAINED)]["available"].all()


def subgroups(table: pd.DataFrame, t: Language) -> list[dict[str, Any]]:
    """Rows of `Analysis.subgroups` as text; `place` numbers the variables."""
    rows: list[dict[str, Any]] = []
    place = {variable: number for number, variable in enumerate(table["variable"].unique())}
    for row in table.to_dict("records"):
        variable = str(row["variable"])
        told = {"variable": t(forest.VARIABLES.get(variable, variable)), "group": t.retell(printable(row["group"]))}
        told |= {name: t.count(row[name]) for name in ("images", "patients", "positives")}
        for name in ("accuracy", "sensitivity", "specificity"):
            told[name] = t.percent(row[name])
            told[f"{name}_interval"] = _to(t.percent(row[f"{name}_low"]), t.percent(row[f"{name}_high"]), t)
        told["auroc"] = t.number(row["auroc"])
        told["auroc_interval"] = _to(t.number(row["auroc_low"]), t.number(row["auroc_high"]), t)
        rows.append({**told, "place": place[row["variable"]], "small": bool(row["small"])})
    return rows


def seeds(table: pd.DataFrame, t: Language) -> list[dict[Any, Any]]:
    """Rows of `Analysis.seeds`, with `interval` of AUROC as text."""
    return [
        row | {"interval": _to(t.number(row["auroc_low"]), t.number(row["auroc_high"]), t)}
        for row in table.to_dict("records")
    ]


def errors(results: Results, t: Language) -> list[dict[str, Any]]:
    """The most confident errors of each kind: title, number (of all such errors), images to show."""
    table = results.analysis.errors
    shown = table[table["image"].isin(wrong.shown(table))]
    return [
        {
            "title": t(title),
            "number": int((table["kind"] == kind).sum()),
            "images": [_error(row, results, t) for row in shown[shown["kind"] == kind].to_dict("records")],
        }
        for kind, title in KINDS.items()
    ]


def _error(row: dict[Any, Any], results: Results, t: Language) -> dict[str, Any]:
    picture = results.pictures.get(row["image"])
    unknown = t("unknown")
    return {
        "image": PurePath(row["image"]).name,
        "picture": None if picture is None else page.inline(page.jpeg(picture)),
        "labels": str(row["labels"]).replace("|", ", ") or t("no label"),
        "score": t.number(row["score"], 2),
        "view": row["view"] or unknown,
        "age": unknown if pd.isna(row["age"]) else t.count(row["age"]),
        "sex": row["sex"] or unknown,
        "patient": row["patient"],
        "seeds": int(row["seeds"]),
    }


def operating(results: Results, t: Language) -> dict[str, Any]:
    """What the page's script needs to give all decisions at any threshold: see `threshold.js`."""
    table = results.analysis.operating
    sets = {}
    for data, own in table.groupby("data"):
        counts = {
            name: own.pivot(index="seed", columns="threshold", values=name)
            for name in ("true_pos", "false_pos", "false_neg", "true_neg")
        }
        sets[str(data)] = {
            "positives": (counts["true_pos"] + counts["false_neg"]).iloc[:, 0].tolist(),
            "negatives": (counts["false_pos"] + counts["true_neg"]).iloc[:, 0].tolist(),
            "true_pos": counts["true_pos"].to_numpy().tolist(),
            "false_pos": counts["false_pos"].to_numpy().tolist(),
        }
    return {
        "steps": table["threshold"].nunique() - 1,
        "decimal": t.decimal,
        "dash": DASH,
        "sets": sets,
        "texts": {
            "told": t(
                "Threshold %(threshold)s: sensitivity %(sensitivity)s, specificity %(specificity)s of validation "
                "images."
            ),
            "natural": t(
                "Of 1000 such images, %(positives)s with pneumonia: %(found)s are found, %(missed)s are missed; "
                "%(alarms)s of the %(negatives)s others are called pneumonia, too."
            ),
            "wrong": t("The prevalence must be a number from 0 to 100."),
            "some": t("(%(n)s of %(all)s runs)"),
        },
    }


def means(figures: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Set of images -> figure -> mean over the runs at 0.5: what the table of the slider begins with."""
    fixed = figures[figures["rule"] == "fixed"]
    return {str(data): dict(zip(own["figure"], own["mean"], strict=True)) for data, own in fixed.groupby("data")}


def chosen(results: Results) -> float:
    """The mean of the runs' chosen thresholds, as a step of `Analysis.operating`; NaN if there is none."""
    mean = float(results.analysis.seeds["threshold"].clip(0, 1).mean())  # below 0: whatever the score
    steps = results.analysis.operating["threshold"].nunique() - 1
    return math.nan if math.isnan(mean) else round(mean * steps) / steps


def flags(config: ExperimentConfig) -> list[dict[str, Any]]:
    """Every flag: its name, its value and whether this is its default."""
    return [
        {
            "name": field.name,
            "value": getattr(config, field.name),
            "usual": getattr(config, field.name) == field.default,
        }
        for field in dataclasses.fields(config)
        if field.name not in _OWN
    ]


def facts(results: Results, t: Language) -> list[tuple[str, str]]:
    """Name and value of what the figures were computed with: machine, versions, hashes, minutes."""
    environment, weights = dict(results.environment), results.environment["weights"] or {}
    packages = environment.pop("packages")
    environment.pop("weights")
    environment.pop("network")
    minutes = t.number(results.summary["minutes"], 1)
    found = {
        t("minutes since the last start"): minutes,
        **{str(name): value for name, value in (environment | results.settled).items()},
        **{f"weights: {name}": value for name, value in weights.items() if not isinstance(value, dict)},
        t("packages"): ", ".join(f"{name} {version}" for name, version in packages.items()),
    }
    return [(name.replace("_", " "), _value(value)) for name, value in found.items()]


def _value(value: object) -> str:
    if value is None:
        return DASH
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else printable(value)


def _plus_minus(mean: str, sd: str) -> str:
    return mean if sd == DASH else f"{mean} ± {sd}"


def _to(low: str, high: str, t: Language) -> str:
    return DASH if DASH in (low, high) else t("%(low)s to %(high)s", low=low, high=high)
