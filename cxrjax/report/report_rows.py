"""Rows of the report's tables: figures of a run under their names, as a reader wants them written."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

from cxrjax.analysis.schema import Results
from cxrjax.base.config import ExperimentConfig
from cxrjax.metrics import registry
from cxrjax.report.language import DASH, Language, message

# Figure -> its name, and whether it is written in percent.
NAMES = {
    "accuracy": (message("accuracy (%)"), True),
    "fp_share": (message("FP, share of all images (%)"), True),
    "fn_share": (message("FN, share of all images (%)"), True),
    "sensitivity": (message("sensitivity (%)"), True),
    "specificity": (message("specificity (%)"), True),
    "ppv": (message("PPV in these images (%)"), True),
    "npv": (message("NPV in these images (%)"), True),
    "ppv_at_prevalence": (message("PPV at a prevalence of %(prevalence)s (%%)"), True),
    "npv_at_prevalence": (message("NPV at a prevalence of %(prevalence)s (%%)"), True),
    "f1": (message("F1"), False),
    "mcc": (message("Matthews correlation"), False),
    "auroc": (message("AUROC"), False),
    "auprc": (message("AUPRC (average precision)"), False),
    "brier": (message("Brier score"), False),
    "ece": (message("expected calibration error"), False),
    "calibration_slope": (message("calibration slope (1 is ideal)"), False),
    "calibration_intercept": (message("calibration intercept (0 is ideal)"), False),
    "calibration_in_the_large": (message("calibration in the large (0 is ideal)"), False),
}
_POSTER = ("accuracy", "fp_share", "fn_share", "sensitivity", "specificity", "auroc")
_AT_PREVALENCE = ("ppv_at_prevalence", "npv_at_prevalence")


class Row(NamedTuple):
    """A figure of one set of images, written out; a dash where there is none."""

    key: str
    name: str
    fixed: str  # at 0.5: mean ± SD over the runs
    interval: str  # of this mean
    pooled: str  # of all runs' scores together, at 0.5
    pooled_interval: str
    chosen: str  # at the chosen thresholds: mean ± SD
    chosen_interval: str


def name_of(key: str, config: ExperimentConfig, t: Language) -> str:
    """A figure's name, with its unit."""
    if key in _AT_PREVALENCE:
        return t(NAMES[key][0], prevalence=t.share(config.prevalence))
    return t(NAMES[key][0])


def figures(results: Results, data: str, t: Language) -> list[Row]:
    """A row for each of `NAMES`.

    Args:
      results: of the run.
      data: internal or external.
      t: of the words.
    """
    table = results.analysis.figures
    by_rule = {
        rule: own.set_index("figure").to_dict("index") for rule, own in table[table["data"] == data].groupby("rule")
    }
    rows = []
    for key, (_, percent) in NAMES.items():
        one, other = by_rule["fixed"][key], by_rule["chosen"][key]
        depends = registry.METRICS[key].is_decision
        rows.append(
            Row(
                key,
                name_of(key, results.config, t),
                _plus_minus(one, percent, t),
                _to(one["low"], one["high"], percent, t),
                _write(one["pooled"], percent, t),
                _to(one["pooled_low"], one["pooled_high"], percent, t),
                _plus_minus(other, percent, t) if depends else DASH,
                _to(other["low"], other["high"], percent, t) if depends else DASH,
            )
        )
    return rows


def undefined(results: Results, data: str, t: Language) -> list[str]:
    """What is undefined, or has no interval, and why: a line a reason, with the figures it holds for."""
    table = results.analysis.figures
    table = table[(table["data"] == data) & (table["undefined"] != "")]
    found: dict[str, list[str]] = {}
    for row in table.to_dict("records"):
        names = found.setdefault(t.retell(row["undefined"]), [])
        name = name_of(row["figure"], results.config, t)
        if name not in names:
            names.append(name)
    return [f"{', '.join(names)}: {reason}." for reason, names in found.items()]


def poster(results: Results, rows: Iterable[Row], t: Language) -> list[dict[str, str]]:
    """The poster's figures beside the run's: name, poster, run, interval."""
    given = results.summary["poster_percent"] or {}
    told = {key: t.count(value) for key, value in given.items() if key in _POSTER}
    if "accuracy" in told:
        told["accuracy"] += f" ± {t.count(given['accuracy_sd'])}"
    return [
        {"name": row.name, "poster": told.get(row.key, DASH), "run": row.fixed, "interval": row.interval}
        for row in rows
        if row.key in _POSTER
    ]


def leakage(results: Results, t: Language) -> list[dict[str, Any]]:
    """Rows of `Analysis.leakage` with names: name, patient, image, difference, interval, p."""
    table = results.analysis.leakage
    rows = []
    for row in [] if table is None else table.to_dict("records"):
        percent = NAMES.get(row["figure"], ("", True))[1]
        contaminated = row["figure"] == "contaminated_share"
        name = t("validation images of patients trained on (%)") if contaminated else t(NAMES[row["figure"]][0])
        difference = t.signed(100 * row["difference"], 1) if percent else t.signed(row["difference"])
        interval = _to(row["low"], row["high"], percent, t)
        sides = {side: _write(row[side], percent, t) for side in ("patient", "image")}
        rows.append({"name": name, **sides, "difference": difference, "interval": interval, "p": p_value(row["p"], t)})
    return rows


def p_value(p: float, t: Language) -> str:
    """0.0004 -> < 0.001"""
    return f"< {t.number(0.001)}" if p < 0.001 else t.number(p)


def _write(value: float, percent: bool, t: Language) -> str:
    return t.percent(value) if percent else t.number(value)


def _plus_minus(row: dict[Any, Any], percent: bool, t: Language) -> str:
    """Mean ± SD, the mean alone of one run."""
    mean = _write(row["mean"], percent, t)
    return mean if math.isnan(row["sd"]) else f"{mean} ± {_write(row['sd'], percent, t)}"


def _to(low: float, high: float, percent: bool, t: Language) -> str:
    """Both ends of an interval."""
    if math.isnan(low) or math.isnan(high):
        return DASH
    return t("%(low)s to %(high)s", low=_write(low, percent, t), high=_write(high, percent, t))
