"""What the networks of a run dream of: pictures in order, and how far the networks agree on them."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np
import pandas as pd

from cxrjax.analysis.tables import DreamRecord, Results
from cxrjax.report import pages
from cxrjax.report.language import Language
from cxrjax.report.pages import Section

KINDS = ("poster", "seeds", "layers", "starts")  # of pictures, in the order of the page


def dreams(results: Results, t: Language) -> dict[str, Any]:
    """Pictures as `pages.embedded` gives them, rows of the table, and the first run's dream as base64."""
    record = results.dreams
    return {
        "pictures": [] if record is None else _pictures(results, record, t),
        "rows": [] if record is None else rows(record),
        "dream": pages.inline(pages.png(results.dream)),
    }


def _pictures(results: Results, record: DreamRecord, t: Language) -> list[dict[str, Any]]:
    task, seeds = results.task, record.transfer["dreamt_by"].unique().tolist()
    network = results.environment["network"]
    values = {
        "positive": t(task.positive.title), "short": task.positive.name,
        "other": t("the same output, lowered") if results.config.finding else task.negative.name,
        "seeds": ", ".join(map(str, seeds)), "n": t.count(len(seeds)), "layer": network["retrained"][0],
    }  # fmt: skip
    frozen = bool(network["frozen"])
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


def rows(record: DreamRecord) -> list[dict[Hashable, Any]]:
    """Of each parametrisation in the numbers: name, dreams (how many), own_accuracy and transfer_accuracy (0..1),
    stability (-1..1), dead (how many); NaN where JSON has null or nothing."""
    names = [name for name, value in record.numbers.items() if isinstance(value, dict) and "own_accuracy" in value]
    columns = ("own_accuracy", "transfer_accuracy", "stability", "dead")
    numbers = pd.DataFrame([record.numbers[name] for name in names], columns=columns, index=names, dtype=float)
    dreams = record.transfer.drop_duplicates(["parametrisation", "aim", "dreamt_by"])["parametrisation"].value_counts()
    numbers["dreams"] = [dreams.get(name, 0) for name in names]
    return numbers.rename_axis("name").reset_index().to_dict("records")


DREAMS = Section("dream", "Deep dream", dreams)
