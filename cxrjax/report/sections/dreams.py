"""What the networks of a run dream of: pictures in order, and how far the networks agree on them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from cxrjax.analysis.schema import DreamRecord, Results
from cxrjax.base import tasks
from cxrjax.report import pages
from cxrjax.report.language import Language
from cxrjax.report.pages import Section

KINDS = ("poster", "seeds", "layers", "starts")  # of pictures, in the order of the page


def dreams(results: Results, t: Language) -> dict[str, Any]:
    """Pictures as `pages.embedded` gives them, rows of the table, and the first run's dream as base64."""
    record = results.dreams
    return {
        "pictures": [] if record is None else _pictures(results, record, t),
        "rows": [] if record is None else rows(record, t),
        "dream": pages.inline(pages.png(results.dream)),
    }


def _pictures(results: Results, record: DreamRecord, t: Language) -> list[dict[str, Any]]:
    task, seeds = tasks.get(results.config.task), record.transfer["dreamt_by"].unique().tolist()
    values = {
        "positive": t(task.positive.title), "short": task.positive.name, "other": task.negative.name,
        "seeds": ", ".join(map(str, seeds)), "n": t.count(len(seeds)), "layer": results.config.retrain_from,
    }  # fmt: skip
    frozen = bool(results.environment["network"]["frozen"])
    return [
        pages.embedded(
            picture,
            t.word("dream_caption", kind, **values) + _addition(kind, picture, frozen, values, t),
            t.word("dream_alt", kind, **values),
        )
        for kind in KINDS
        if (picture := record.pictures.get(kind)) is not None
    ]


def _addition(kind: str, picture: np.ndarray, frozen: bool, values: dict[str, str], t: Language) -> str:
    """What a caption adds where it holds."""
    addition = ""
    if kind == "poster" and picture.shape[1] > 1.5 * picture.shape[0]:
        addition += " " + t("Beside it the same of the other experiment.")
    if kind == "layers" and frozen:
        addition += " " + t("Layers before %(layer)s are frozen: all runs share them.", **values)
    return addition + english_inside(t)


def english_inside(t: Language) -> str:
    """A warning of another language's page that words drawn into a picture are English; empty in English."""
    return "" if t.code == "en" else " " + t("Words in the picture are English.")


def rows(record: DreamRecord, t: Language) -> list[dict[str, str]]:
    """A row for each parametrisation in the numbers: name, dreams, own, transfer (percent), stability, dead."""
    return [
        {
            "name": t.word("parametrisation", name),
            "dreams": t.count(len(_dreams_of(record, name))),
            "own": t.percent(_number(numbers, "own_accuracy")),
            "transfer": t.percent(_number(numbers, "transfer_accuracy")),
            "stability": t.number(_number(numbers, "stability"), 2),
            "dead": t.count(_number(numbers, "dead")),
        }
        for name, numbers in record.numbers.items()
        if isinstance(numbers, dict) and "own_accuracy" in numbers
    ]


def _dreams_of(record: DreamRecord, parametrisation: str) -> Any:
    table = record.transfer[record.transfer["parametrisation"] == parametrisation]
    return table[["aim", "dreamt_by"]].drop_duplicates()


def _number(numbers: dict[str, Any], name: str) -> float:
    """NaN where JSON has null or nothing."""
    value = numbers.get(name)
    return math.nan if value is None else float(value)


DREAMS = Section("dream", "Deep dream", dreams)
