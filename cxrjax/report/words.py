"""Reasons and notes in words: a code of `cxrjax.base.codes` is a key `code:NAME` of the catalogues `en.json` and
`es.json`, into which its values are put.
"""

from __future__ import annotations

from typing import Any

from cxrjax.base import codes
from cxrjax.metrics import registry
from cxrjax.report.language import Language, printable


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
