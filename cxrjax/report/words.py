"""Reasons and notes in words: a code of `cxrjax.base.codes` is a key `code:NAME` of the catalogues `en.json` and
`es.json`, into which its values are put.
"""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from cxrjax.analysis.comparison import Comparison
from cxrjax.base import codes
from cxrjax.metrics import registry
from cxrjax.report.language import ENGLISH, Language, printable


def each_reason(text: str, t: Language) -> list[str]:
    """A sentence for each code of a text; one tagged with a metric begins with its name."""
    if text.split(" ")[0] not in codes.CODES:
        return [printable(text)] if text else []  # a sentence
    sentences = []
    for code, values in codes.parse(text):
        sentence = t.word("code", code, **{key: _value(key, value, t) for key, value in values.items()})
        metric = registry.METRICS.get(values.get("metric", ""))
        sentences.append(f"{t(metric.label)}: {sentence}" if metric else sentence)
    return sentences


def reasons(text: str, t: Language) -> str:
    """All codes of a text in one line, e.g. of a column `undefined`; "" if there is none."""
    return "; ".join(each_reason(text, t))


def _value(key: str, value: str, t: Language) -> str:
    """A value of a code as people read it."""
    if key == "share":
        return t.number(100 * float(value), 0)
    if key == "value":
        return f"{float(value):g}".replace(".", t.decimal)
    return ", ".join(t.word("name", name) for name in value.split(","))


def note(text: str, t: Language) -> dict[str, Any]:
    """A note beside the metrics: text, and whether it stays English on a page of another language.

    Args:
      text: Codes with their values, or an English sentence.
      t: Language of the page.
    """
    if text.split(" ")[0] in codes.CODES:
        return {"text": reasons(text, t), "english": False}
    return {"text": printable(text), "english": t.code != "en"}


def comparison(compared: Comparison, a: str, b: str) -> str:
    """Two runs side by side, for a terminal: shares in percent, other metrics as they are.

    Args:
      compared: Tests of the two runs.
      a: Name of the one.
      b: Name of the other.
    """
    rows = []
    for row in compared.metrics.to_dict("records"):
        name = str(row["metric"])
        ends = [_terminal(row[end], name, "+") for end in ("low", "high")]
        rows.append(
            {
                "": name,
                "a": _terminal(row["a"], name),
                "b": _terminal(row["b"], name),
                "b - a": _terminal(row["difference"], name, "+"),
                "95 % interval": "-" if ends == ["-", "-"] else " to ".join(ends),
                "t": "-" if math.isnan(row["statistic"]) else f"{row['statistic']:.2f}",
                "p": "-" if math.isnan(row["p"]) else f"{row['p']:.2g}",
                "seeds": row["seeds"],
            }
        )
    undefined = compared.metrics[compared.metrics["reason"] != ""]
    pairs = zip(undefined["metric"], undefined["reason"], strict=True)
    lines = [f"{name}: {reasons(reason, ENGLISH)}" for name, reason in pairs]
    lines += [reasons(note, ENGLISH) for note in compared.notes]
    return "\n".join([f"a: {a}", f"b: {b}", "", pd.DataFrame(rows).to_string(index=False), "", *lines])


def _terminal(value: float, metric: str, sign: str = "") -> str:
    if math.isnan(value):
        return "-"
    is_share = metric in registry.METRICS and registry.METRICS[metric].is_share
    return f"{100 * value:{sign}.1f} %" if is_share else f"{value:{sign}.3f}"
