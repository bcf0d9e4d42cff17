"""The report's languages: messages are English in the code, and `LANGUAGE.json` has them in another language.

Words for codes that tables hold (floors, stages, reasons) are in every catalogue, `en.json` too, as `KIND:CODE`; into
those of `cxrjax.base.codes`, `code:NAME`, their values are put.
As in gettext, a message with values is a %-format string (`"%(n)s images"`), one without is plain text. A `Language` is
called like a translator and passed as `t`, so that whoever writes a sentence stays pure.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import re
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cxrjax.base import codes
from cxrjax.metrics import registry

DASH = "–"  # where a figure is undefined
_SURE = 4  # further digits of a figure that are the same however it was computed: 5.7499998 is 5.75 and becomes 5.8
_SIGNS = {"en": (".", ","), "es": (",", ".")}  # decimal sign, between thousands; es as in Argentina


@dataclasses.dataclass(frozen=True, eq=False)
class Language:
    """Words and signs of one language.

    >>> ENGLISH("%(n)s images", n=ENGLISH.count(1234))
    '1,234 images'
    """

    code: str  # as in <html lang>
    messages: Mapping[str, str]  # English, or KIND:CODE -> this language
    minus: str = "−"

    def __call__(self, message: str, **values: Any) -> str:
        """A message in this language, with its values; one that is not known stays English."""
        text = self.messages.get(message, message)
        return text % values if values else text

    def word(self, kind: str, code: object, **values: Any) -> str:
        """The words for a code; one that no catalogue knows stays as it is.

        >>> ENGLISH.word("floor", "majority"), ENGLISH.word("view", "oblique")
        ('majority class', 'oblique')
        """
        key = f"{kind}:{code}"
        return self(key, **values) if key in self.messages else printable(code)

    def plural(self, one: str, many: str, n: float, **values: Any) -> str:
        """`one` if n is 1, else `many`; both know n."""
        return self(one if n == 1 else many, n=self.count(n), **values)

    def either(self, one: str, many: str, n: float) -> str:
        """`one` if n is 1, else `many`, without values: as gettext's ngettext."""
        return self(one if n == 1 else many)

    @property
    def decimal(self) -> str:
        """The decimal sign."""
        return _SIGNS[self.code][0]

    def number(self, value: float | None, digits: int = 3) -> str:
        """0.8181 -> 0.818; a dash for None and NaN."""
        if value is None or math.isnan(value):
            return DASH
        text = f"{round(value, digits + _SURE):,.{digits}f}"
        return self._signs(text.removeprefix("-") if not float(text.replace(",", "")) else text)

    def signed(self, value: float | None, digits: int = 3) -> str:
        """As `number`, with its sign."""
        text = self.number(value, digits)
        return f"+{text}" if value and value > 0 and any(c in "123456789" for c in text) else text

    def percent(self, share: float | None) -> str:
        """0.4451 -> 44.5"""
        return self.number(None if share is None else 100 * share, 1)

    def share(self, share: float | None) -> str:
        """0.4451 -> 44.5 %"""
        return self.percent(share) + (" %" if share is not None and not math.isnan(share) else "")

    def count(self, value: float | None) -> str:
        """1234 -> 1,234; a mean that is not whole has one digit more."""
        return self.number(value, 0 if value is None or math.isnan(value) or value == round(value) else 1)

    def interval(self, low: str, high: str) -> str:
        """Both ends, as written; a dash where one is missing."""
        return DASH if DASH in (low, high) else self("%(low)s to %(high)s", low=low, high=high)

    def listed(self, parts: Sequence[str]) -> str:
        """`a, b and c`"""
        if len(parts) < 2:
            return "".join(parts)
        return self("%(first)s and %(last)s", first=", ".join(parts[:-1]), last=parts[-1])

    def _signs(self, text: str) -> str:
        point, comma = _SIGNS[self.code]
        return text.translate(str.maketrans(".,-", f"{point}{comma}{self.minus}"))


@functools.cache
def language(code: str) -> Language:
    """The language of a catalogue beside this module."""
    return Language(code, json.loads((Path(__file__).parent / f"{code}.json").read_text(encoding="utf-8")))


def printable(text: Any) -> str:
    """A text of the user's data on one line, without characters that XML and fonts do not know.

    >>> printable("PA\\x00 view")
    'PA� view'
    """
    return "".join("\ufffd" if unicodedata.category(c) in ("Cc", "Cs") else c for c in str(text))


ENGLISH = language("en")


def each_reason(text: str, t: Language) -> list[str]:
    """A sentence for each code of a text; one tagged with a metric begins with its name."""
    if not _holds_codes(text):
        return [printable(text)] if text else []
    sentences = []
    for code, values in codes.parse(text):
        sentence = t.word("code", code, **{key: _value(key, value, t) for key, value in values.items()})
        metric = registry.METRICS.get(values.get("metric", ""))
        sentences.append(f"{t(metric.label)}: {sentence}" if metric else sentence)
    return sentences


def reasons(text: str, t: Language) -> str:
    """All codes of a text in one line, e.g. of a column `undefined`; "" if there is none."""
    return "; ".join(each_reason(text, t))


def _holds_codes(text: str) -> bool:
    return re.split("[ ;]", text, maxsplit=1)[0] in codes.CODES


def _value(key: str, value: str, t: Language) -> str:
    """A value of a code as people read it."""
    if key == "share":
        return t.number(100 * float(value), 0)
    if key in ("value", "needed", "free"):
        return f"{float(value):g}".replace(".", t.decimal)
    if key in ("error", "folder", "file", "test"):
        return printable(value)
    return ", ".join(t.word("name", name) for name in value.split(","))


def note(text: str, t: Language) -> dict[str, Any]:
    """A note beside the metrics: text, and whether it stays English on a page of another language.

    Args:
      text: Codes with their values, or an English sentence.
      t: Language of the page.
    """
    return {"text": reasons(text, t), "english": t.code != "en" and not _holds_codes(text)}
