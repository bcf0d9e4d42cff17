"""The report's languages: messages are English in the code, and `LANGUAGE.json` has them in another language.

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
from collections.abc import Mapping
from pathlib import Path
from typing import Any

DASH = "–"  # where a figure is undefined
_SIGNS = {"en": (".", ","), "es": (",", ".")}  # decimal sign, between thousands; es as in Argentina


@dataclasses.dataclass(frozen=True, eq=False)
class Language:
    """Words and signs of one language.

    >>> ENGLISH("%(n)s images", n=ENGLISH.count(1234))
    '1,234 images'
    """

    code: str  # as in <html lang>
    messages: Mapping[str, str]  # English -> this language; empty for English
    retold: Mapping[str, str]  # the same of sentences that reach the report with their values already in them

    def __call__(self, message: str, **values: Any) -> str:
        """A message in this language, with its values; one that is not known stays English."""
        text = self.messages.get(message, message)
        return text % values if values else text

    def plural(self, one: str, many: str, n: float, **values: Any) -> str:
        """`one` if n is 1, else `many`; both know n."""
        return self(one if n == 1 else many, n=self.count(n), **values)

    def either(self, one: str, many: str, n: float) -> str:
        """`one` if n is 1, else `many`, without values: as gettext's ngettext."""
        return self(one if n == 1 else many)

    def retell(self, text: str) -> str:
        """A sentence that an analysis wrote in English, perhaps with numbers in it, or several parted by "; "."""
        if text in self.retold:
            return self.retold[text]
        parts = "; ".join(map(self._again, text.split("; ")))
        return self._again(text) if parts == text else parts

    def _again(self, text: str) -> str:
        """The words for the sentence of `retold` that became `text`, with the same values; else the text itself."""
        for known, pattern in _patterns(self).items():
            if found := pattern.fullmatch(text):
                values = {name: self._value(value) for name, value in found.groupdict().items()}
                return self.retold[known] % values if values else self.retold[known]
        return text

    def _value(self, text: str) -> str:
        """A number, or a word that is known."""
        return re.sub(r"(?<=\d)\.(?=\d)", self.decimal, self.retold.get(text, text))

    @property
    def decimal(self) -> str:
        """The decimal sign."""
        return _SIGNS[self.code][0]

    def number(self, value: float | None, digits: int = 3) -> str:
        """0.8181 -> 0.818; a dash for None and NaN."""
        if value is None or math.isnan(value):
            return DASH
        text = f"{value:,.{digits}f}"
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

    def _signs(self, text: str) -> str:
        point, comma = _SIGNS[self.code]
        return text.translate(str.maketrans(".,-", f"{point}{comma}−"))


ENGLISH = Language("en", {}, {})


@functools.cache
def language(code: str) -> Language:
    """English, or the language of a catalogue beside this module."""
    if code == ENGLISH.code:
        return ENGLISH
    known = json.loads((Path(__file__).parent / f"{code}.json").read_text(encoding="utf-8"))
    return Language(code, known["messages"], known["retold"])


@functools.cache
def _patterns(language: Language) -> dict[str, re.Pattern[str]]:
    """Each sentence of `retold` as a pattern of the texts that it may become."""
    return {known: re.compile(pattern(known)) for known in language.retold}


def pattern(sentence: str) -> str:
    """What a sentence may become, as a regular expression.

    >>> pattern("%(n)s %% of them")
    '(?P<n>.+)\\\\ %\\\\ of\\\\ them'
    """
    if not (parts := re.split(r"%\((\w+)\)s", sentence))[1:]:
        return re.escape(sentence)
    fixed = [re.escape(part.replace("%%", "%")) for part in parts[::2]]
    return "".join(f"{text}(?P<{name}>.+)" for text, name in zip(fixed, parts[1::2], strict=False)) + fixed[-1]


def message(text: str) -> str:
    """Marks a text that is translated elsewhere, so that it is found for the catalogue."""
    return text


def printable(text: Any) -> str:
    """A text of the user's data on one line, without characters that XML and fonts do not know.

    >>> printable("PA\\x00 view")
    'PA� view'
    """
    return "".join("\ufffd" if unicodedata.category(c) in ("Cc", "Cs") else c for c in str(text))
