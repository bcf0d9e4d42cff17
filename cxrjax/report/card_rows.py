"""Tables of a run and of its analysis as rows of text, for `cxrjax.cards`."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from cxrjax.analysis import focus, groups, seed_figures
from cxrjax.analysis.schema import DreamRecord, MapRecord, RunTables
from cxrjax.metrics import registry
from cxrjax.report.numerals import DASH, count, difference, interval, mean_sd, number, p_value, percent, with_interval

# Name of a figure -> what a reader calls it.
LABELS = {
    "accuracy": "Accuracy",
    "fp_share": "False positives, share of all images",
    "fn_share": "False negatives, share of all images",
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
    "ppv": "PPV among these images",
    "npv": "NPV among these images",
    "ppv_at_prevalence": "PPV at the stated prevalence",
    "npv_at_prevalence": "NPV at the stated prevalence",
    "f1": "F1",
    "mcc": "Matthews correlation",
    "auroc": "AUROC",
    "auprc": "Average precision",
    "brier": "Brier score",
    "ece": "Expected calibration error",
    "calibration_slope": "Calibration slope",
    "calibration_intercept": "Calibration intercept",
    "calibration_in_the_large": "Calibration in the large",
}
FLOORS = {
    "network": "this network",
    "majority": "always the commoner class",
    "metadata": "metadata without any pixel",
    "shuffled_labels": "trained on shuffled labels",
    "random_trunk": "frozen layers of random weights",
}
VARIABLES = {"images": "images of the patient"}  # others are called as they are
_OF_SUBGROUPS = ("accuracy", "sensitivity", "specificity", "auroc")
STAGES = {
    "listed": "listed by the source",
    "not_present": "not there",
    "unreadable": "unreadable",
    "unlabelled": "without a label",
    "other_view": "of another view",
    "other_class": "of neither class",
    "eligible": "eligible",
    "not_drawn": "not drawn",
    "drawn": "in a run",
    "train_excluded": "of patients whom --train_patients or --hold_out_boxes leaves out",
    "train": "training",
    "val": "internal test",
}


def shares(values: pd.Series) -> str:
    """`PA 60.0 %, AP 30.0 %, unknown 10.0 %`, the commonest first."""
    found = values.replace("", "unknown").fillna("unknown").value_counts(normalize=True)
    return ", ".join(f"{name} {percent(share)}" for name, share in found.items()) or DASH


def on_training_images(training: pd.DataFrame) -> dict[str, str]:
    """Accuracy at 0.5 and AUROC of each seed's training images, mean ± SD."""
    table = seed_figures.at_half(training)
    return {name: mean_sd(name, float(table[name].mean()), float(table[name].std())) for name in ("accuracy", "auroc")}


def flow(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Stages; those that leave out nothing are left out."""
    return [
        {
            "stage": STAGES.get(row["stage"], row["stage"]),
            "excluded": bool(row["excluded"]),
            **{name: count(row[name]) for name in ("images", "positives", "negatives", "patients")},
        }
        for row in table.to_dict("records")
        if not (row["excluded"] and row["images"] == 0)
    ]


def partitions(tables: RunTables) -> list[dict[str, str]]:
    """Who is in training and in the internal test set: numbers a run, ages and shares over all runs' images."""
    rows = []
    for name, part in (("training", tables.training), ("internal test", tables.predictions)):
        known = part.drop(columns="patient").merge(tables.images, on="image", how="left", validate="many_to_one")
        runs = known.groupby("seed")
        age = groups.possible_age(known["age"])
        median, low, high = (age.quantile(q) for q in (0.5, 0.25, 0.75))
        rows.append(
            {
                "name": name,
                "images": count(runs.size().mean()),
                "patients": count(runs["patient"].nunique().mean()),
                "positives": f"{count(runs['label'].sum().mean())} ({percent(known['label'].mean())})",
                "age": DASH if math.isnan(median) else f"{median:.0f} ({low:.0f} to {high:.0f})",
                "age_unknown": percent(age.isna().mean()),
                "sex": shares(known["sex"]),
                "view": shares(known["view"]),
            }
        )
    return rows


def figures(table: pd.DataFrame, data: str, rule: str) -> dict[str, Any]:
    """Rows of `Analysis.figures` as text, by figure, and why some are undefined; of the chosen rule only decisions."""
    own = table[(table["data"] == data) & (table["rule"] == rule)]
    rows, reasons = {}, []
    for row in own.to_dict("records"):
        name = row["figure"]
        if rule == "chosen" and not registry.METRICS[name].is_decision:
            continue
        rows[name] = {
            "label": LABELS[name],
            "mean": mean_sd(name, row["mean"], row["sd"]),
            "runs": interval(name, row["low"], row["high"]),
            "pooled": number(name, row["pooled"]),
            "patients": interval(name, row["pooled_low"], row["pooled_high"]),
        }
        if row["undefined"]:
            reasons.append(f"{LABELS[name]}: {row['undefined']}")
    return {"rows": rows, "reasons": reasons}


def floors(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows of `Analysis.floors`."""
    rows = []
    for row in table.to_dict("records"):
        of = {
            name: {
                "value": mean_sd(name, row[name], row[f"{name}_sd"]),
                "difference": difference(name, *(row[f"{name}_difference{end}"] for end in ("", "_low", "_high"))),
            }
            for name in ("accuracy", "auroc")
        }
        rows.append(
            {
                "name": row["floor"],
                "label": FLOORS.get(row["floor"], row["floor"]),
                "note": row["note"],
                "outcome": _outcome(row["floor"], row["available"], row["beaten"]),
                **of,
            }
        )
    return rows


def _outcome(floor: str, available: bool, beaten: bool | None) -> str:
    """Whether a floor is beaten; one run, or differences that do not vary, cannot tell."""
    if floor == "network":
        return ""
    if not available:
        return "not run"
    return "cannot be told" if pd.isna(beaten) else "yes" if beaten else "no"


def leakage(table: pd.DataFrame | None) -> list[dict[str, str]]:
    """Rows of `Analysis.leakage`; none if there is none."""
    return [
        {
            "label": LABELS.get(row["figure"], "Validation images of patients also trained on"),
            "patient": number(row["figure"], row["patient"]),
            "image": number(row["figure"], row["image"]),
            "difference": difference(row["figure"], row["difference"], row["low"], row["high"]),
            "p": p_value(row["p"]),
        }
        for row in ([] if table is None else table.to_dict("records"))
    ]


def subgroups(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows of `Analysis.subgroups`."""
    return [
        {
            **{name: row[name] for name in ("group", "images", "patients", "positives", "undefined")},
            "variable": VARIABLES.get(row["variable"], row["variable"]),
            "small": bool(row["small"]),
            **{
                name: with_interval(name, *(row[f"{name}{end}"] for end in ("", "_low", "_high")))
                for name in _OF_SUBGROUPS
            },
        }
        for row in table.to_dict("records")
    ]


def extremes(table: pd.DataFrame) -> list[str]:
    """The groups, not small nor unknown, with the highest and the lowest AUROC: `view AP (0.812)`."""
    known = ~table["small"].astype(bool) & (table["group"] != groups.UNKNOWN)
    told = table[known].dropna(subset=["auroc"])
    if len(told) < 2:
        return []
    ends = told.loc[[told["auroc"].idxmax(), told["auroc"].idxmin()]]
    return [
        f"{VARIABLES.get(row['variable'], row['variable'])} {row['group']} ({row['auroc']:.3f})"
        for row in ends.to_dict("records")
    ]


def dreams(record: DreamRecord | None) -> list[str]:
    """How many dreams are classified as dreamt, a text for each parametrisation; none if nothing was dreamt."""
    return [
        f"{name}: {_percent(known['own_accuracy'])} by the network that dreamt them, "
        f"{_percent(known['transfer_accuracy'])} by the other seeds'"
        for name, known in (record.numbers if record else {}).items()
        if isinstance(known, dict) and "own_accuracy" in known
    ]


def _percent(share: float | None) -> str:
    return DASH if share is None else percent(share)


def maps(record: MapRecord | None) -> dict[str, Any] | None:
    """Methods, and how many of all figures beat every control and baseline; None if nothing was mapped."""
    if record is None:
        return None
    found = focus.verdicts(record.focus)
    return {
        "methods": list(dict.fromkeys(one.method for one in found)),
        "beating": sum(one.everything for one in found),
        "figures": len(found),
    }
