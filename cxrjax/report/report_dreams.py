"""What the networks of a run dream of, for the report: pictures in order, and how far the networks agree on them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from cxrjax.analysis.schema import DreamRecord, Results
from cxrjax.base import tasks
from cxrjax.report import page
from cxrjax.report.language import Language, message, printable

# Kind of picture -> caption and alternative text, in the order of the page.
KINDS = {
    "poster": (
        message("What raises the pneumonia neuron of the first run's network, by gradient ascent from noise."),
        message("A pattern, drawn by the network itself, that raises the pneumonia neuron of the first run"),
    ),
    "seeds": (
        message(
            "The same of every run, from the same noise. Rows: the neuron of pneumonia (P) and that of the other class "
            "(%(other)s), each written as octaves of pixels and as a Fourier spectrum; columns: seeds %(seeds)s."
        ),
        message("A grid of patterns that raise either neuron, a column for each of %(n)s runs"),
    ),
    "layers": (
        message(
            "Single channels of several layers of the first run's network, a row for each layer and way of writing."
        ),
        message("A grid of patterns that raise single channels, fine ones of early layers and larger ones of late"),
    ),
    "starts": (
        message(
            "Radiographs, changed in small steps by the first run's network: the mean of its validation images and "
            "single patients'. Columns: start, dreamt away from and towards pneumonia, and what each has changed (red: "
            "brighter, blue: darker)."
        ),
        message(
            "Rows of chest radiographs: as they are, dreamt away from and towards pneumonia, and both differences"
        ),
    ),
}  # fmt: skip
WAYS = {"octaves": message("octaves of pixels"), "fourier": message("Fourier spectrum")}


def dreams(results: Results, t: Language) -> dict[str, Any] | None:
    """`pictures` as `shown` gives them, and `rows` of the table; None where nothing was dreamt."""
    record = results.dreams
    if record is None:
        return None
    seeds = record.transfer["dreamt_by"].unique().tolist()
    values = {
        "other": tasks.get(results.config.task).negative.name,
        "seeds": ", ".join(map(str, seeds)),
        "n": t.count(len(seeds)),
        "layer": results.config.retrain_from,
    }
    pictures = [
        shown(picture, t(caption, **values) + _further(kind, picture, values, t), t(alt, **values))
        for kind, (caption, alt) in KINDS.items()
        if (picture := record.pictures.get(kind)) is not None
    ]
    return {"pictures": pictures, "rows": _rows(record, t)}


def _further(kind: str, picture: np.ndarray, values: dict[str, str], t: Language) -> str:
    """What a caption adds where it holds."""
    if kind == "poster" and picture.shape[1] > 1.5 * picture.shape[0]:
        return " " + t("Beside it the same of the other experiment.")
    if kind == "layers" and values["layer"] != "conv1":
        return " " + t("Layers before %(layer)s are frozen: all runs share them.", **values)
    return ""


def shown(picture: np.ndarray, caption: str, alt: str) -> dict[str, Any]:
    """A picture as the page's `picture` macro takes it: source (base64), width, height (pixels), caption, alt."""
    fitted = page.fitted(picture)
    return {
        "source": page.inline(fitted.file), "width": fitted.width, "height": fitted.height,
        "caption": caption, "alt": alt,
    }  # fmt: skip


def _rows(record: DreamRecord, t: Language) -> list[dict[str, str]]:
    """A row for each parametrisation in the numbers: name, dreams, own, transfer, stability, dead."""
    rows = []
    for name, known in record.numbers.items():
        if not isinstance(known, dict) or "own_accuracy" not in known:
            continue
        seen = record.transfer[record.transfer["parametrisation"] == name]
        rows.append(
            {
                "name": t(WAYS[name]) if name in WAYS else printable(name),
                "dreams": t.count(len(seen[["aim", "dreamt_by"]].drop_duplicates())),
                "own": t.percent(_known(known, "own_accuracy")),
                "transfer": t.percent(_known(known, "transfer_accuracy")),
                "stability": t.number(_known(known, "stability"), 2),
                "dead": t.count(_known(known, "dead")),
            }
        )
    return rows


def _known(numbers: dict[str, Any], name: str) -> float:
    """NaN where JSON has null or nothing."""
    value = numbers.get(name)
    return math.nan if value is None else float(value)
