"""Labels as hospitals and data sets write them -> labels as `base.tasks.state` reads them, by one vocabulary.

A label is understood whole or not at all: every word of it must name a finding, say that it is absent or uncertain, or
only where, how much or of what kind it is. What is not understood stops with one line, and is never given a meaning.

    >>> written = pd.Series(["['infiltrates', 'pneumonia']", "Normal", "CXR3"])
    >>> read(written, Vocabulary({"CXR3": "Pneumonia"}), "table.csv").labels
    ['Infiltration|Pneumonia', 'No Finding', 'Pneumonia']
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from cxrjax.base import InputError
from cxrjax.base.tasks import ABSENT, OPEN
from cxrjax.data import vocabulary as words
from cxrjax.data.phrases import Item, Unread, Vocabulary
from cxrjax.data.vocabulary import fold

_NAMED = 6  # spellings that an error names
_WIDTH = 48  # letters of a column of the printed table
BLANK = "(blank)"


class Spelling(NamedTuple):
    """What was written for a label, what it was read as, and on how many images."""

    written: str  # of a 0/1 column NAME=VALUE
    read: str  # as `tasks.state` reads it; "" is unknown
    images: int


class Reading(NamedTuple):
    """The labels of a source."""

    labels: list[str]  # [N] as `tasks.state` reads them; "" is unknown
    columns: dict[str, pd.Series]  # name of a 0/1 column, or "" -> [N] as written
    readings: dict[tuple[str, str], str]  # name, as written -> as read

    def spellings(self, rows: np.ndarray) -> tuple[Spelling, ...]:
        """As written, as read, and how many of these rows, [N] bool; most frequent first."""
        counts = [
            Spelling(_shown(name, text), self.readings[name, text], images)
            for name, column in self.columns.items()
            for text, images in _counted(column[rows])
        ]
        return tuple(sorted(counts, key=lambda spelling: (-spelling.images, spelling.written)))


def _shown(name: str, text: str) -> str:
    return f"{name}={text or BLANK}" if name else text or BLANK


def read(written: pd.Series, vocabulary: Vocabulary, place: str) -> Reading:
    """Labels of texts.

    Args:
      written: [N] str, "" where there is none.
      vocabulary: how words are read.
      place: where they stand, for messages.

    Raises:
      InputError: naming those that are not understood, how many images have each, and the flag that settles it.
    """
    readings: dict[tuple[str, str], str] = {}
    faults: Counter[str] = Counter()
    for text, images in _counted(written):
        try:
            readings["", text] = vocabulary.read(text)
        except Unread as error:
            _note(faults, error, text, images)
    _refuse(faults, vocabulary, place)
    return Reading([readings["", text] for text in written.tolist()], {"": written}, readings)


def _counted(written: pd.Series) -> list[tuple[str, int]]:
    """Texts and how many there are of each, most frequent first."""
    return sorted(Counter(written.tolist()).items(), key=lambda item: (-item[1], item[0]))


def binary_columns(table: pd.DataFrame, vocabulary: Vocabulary, place: str) -> dict[str, str]:
    """0/1 columns that are named as a finding -> this finding; "" of all where they are alternatives (`one_hot`).

    Raises:
      InputError: naming columns that are named as a finding, too, and hold other values, or deny it.
    """
    read = {str(column): _named(str(column), vocabulary) for column in table.columns if column}
    is_0_or_1 = {name: is_binary(unexplained(table[name], vocabulary)) for name in read}
    findings = {name: finding for name, finding in read.items() if finding and is_0_or_1[name]}
    if one_hot(table, [name for name in findings if vocabulary.finding(name)]) is not None:
        return dict.fromkeys((name for name in read if is_binary(table[name])), "")
    lost = {
        name: table[name].unique()[:_NAMED]
        for name, finding in read.items()
        if name not in findings and finding is not None and not table[name].map(Vocabulary.is_missing).all()
    }
    if findings and lost:
        shown = "; ".join(f"{name!r} holds {', '.join(map(repr, values))}" for name, values in lost.items())
        raise InputError(
            f"{place}: columns named as findings are not understood: {shown}; --classes=VALUE=unknown (or =NAME) says "
            f"what a value means, --columns=label={next(iter(findings))!r} takes one column alone"
        )
    return findings


def _named(column: str, vocabulary: Vocabulary) -> str | None:
    """The one finding that a column is named as, kinds of it too; "" of one that is denied, or of several."""
    try:
        read = vocabulary.strict.read(column) or None
    except Unread as error:
        return "" if error.contradiction else None
    return "" if read and not {"|", ABSENT}.isdisjoint(read) else read


def unexplained(values: pd.Series, vocabulary: Vocabulary) -> pd.Series:
    """Values of which the user's `classes` say nothing."""
    return values[[vocabulary.entry(text) is None for text in values]]


def is_binary(values: pd.Series) -> bool:
    """True of a column of 1 (true, yes), 0 (false, no), -1 (uncertain) and blanks, not of blanks alone."""
    states = {_state(text) for text in values.unique()}
    return "" not in states and states != {"missing"}


def one_hot(table: pd.DataFrame, findings: Collection[str]) -> pd.Series | None:
    """The one column of each row that is 1, where 0/1 columns are alternatives as class folders are.

    That is so where every row that is not blank has one 1, and some of the columns are no known findings (Normal,
    COVID, Pneumonia): they are labels that must be understood, for else their images would deny the findings.

    Args:
      table: all columns that have no other meaning.
      findings: 0/1 columns that are named as findings and nothing else.

    Returns:
      [N] names of columns, "" of a row that is blank; None where columns say something of one finding each.
    """
    columns = [str(name) for name in table.columns if name and is_binary(table[name])]
    if set(columns) <= set(findings):
        return None
    states = np.array([table[name].map({text: _state(text) for text in table[name].unique()}) for name in columns])
    is_one, is_blank = states == "present", (states == "missing").all(0)
    if not (is_blank | (is_one.sum(0) == 1)).all() or not np.isin(states[:, ~is_blank], ("present", "absent")).all():
        return None
    return pd.Series(np.where(is_blank, "", np.array(columns)[is_one.argmax(0)]), dtype=str)


def _state(text: str) -> str:
    """present, absent, uncertain or missing, as a cell of a 0/1 column says; "" for any other text."""
    value = fold(text)
    if value in words.ONES:
        return "present"
    if value in words.ZEROS:
        return "absent"
    if value in words.UNCERTAIN:
        return "uncertain"
    return "missing" if Vocabulary.is_missing(text) else ""


def read_columns(
    columns: Mapping[str, pd.Series], findings: Mapping[str, str], vocabulary: Vocabulary, place: str
) -> Reading:
    """Labels of 0/1 columns (CheXpert, VinDr): what no column says is unknown, unless the image has no finding.

    Args:
      columns: name -> [N] str: 1, 0, -1 (uncertain) or blank (unknown), or what --classes names.
      findings: name -> finding.
      vocabulary: how words are read.
      place: where they stand, for messages.

    Raises:
      InputError: if no finding stands beside a finding, naming how many images have each.
    """
    items = {
        (name, text): vocabulary.entry(text) or vocabulary.item(findings[name], _said_of(name, text, vocabulary))
        for name, column in columns.items()
        for text in column.unique()
    }
    rows = list(zip(*columns.values(), strict=True))
    faults: Counter[str] = Counter()
    by_row: dict[tuple[str, ...], str] = {}
    for row, images in Counter(rows).items():
        cells = list(zip(columns, row, strict=True))
        try:
            by_row[row] = _row([items[cell] for cell in cells], vocabulary)
        except Unread as error:
            _note(faults, error, ", ".join(_shown(name, text) for name, text in cells if text), images)
    _refuse(faults, vocabulary, place, columns=True)
    readings = {cell: _row([item], vocabulary).removesuffix(f"|{OPEN}") for cell, item in items.items()}
    return Reading([by_row[row] for row in rows], dict(columns), readings)


def _said_of(name: str, text: str, vocabulary: Vocabulary) -> str:
    """`_state`; no viral pneumonia may be a bacterial one."""
    state = _state(text)
    return "missing" if state == "absent" and not vocabulary.finding(name) else state


def _row(items: list[Item], vocabulary: Vocabulary) -> str:
    """Labels of one row of 0/1 columns; an image without a finding has nothing that is unknown."""
    if any(words.NO_FINDING in item.present for item in items):
        items = [item._replace(is_open=False) for item in items]
    return vocabulary.join(items)


def _note(faults: Counter[str], error: Unread, text: str, images: int) -> None:
    """Counts what is not understood, or a text that contradicts itself."""
    for fault in error.parts or [f"{text}\0, which says {error.contradiction}"]:
        faults[fault] += images


def _refuse(faults: Counter[str], vocabulary: Vocabulary, place: str, columns: bool = False) -> None:
    """Stops at faults; what settles a contradiction is no other finding, but what the whole text or row means."""
    if not faults:
        return
    ordered = sorted(faults.items(), key=lambda item: (-item[1], item[0]))
    named = []
    first = {bool(fault.partition("\0")[2]): fault.partition("\0")[0] for fault, _ in reversed(ordered)}
    for fault, images in ordered[:_NAMED]:
        text, _, contradiction = fault.partition("\0")
        why = contradiction or vocabulary.near(text)
        named.append(f"{text!r} ({images} {'image' if images == 1 else 'images'}{why})")
    more = f" and {len(ordered) - _NAMED} more" if len(ordered) > _NAMED else ""
    advice = []
    if False in first:
        advice.append(
            f"--classes={_pair(first[False], words.PNEUMONIA)} (or =No Finding, =unknown, ...) says what one means, "
            "--other_findings=keep takes each as a finding of its own"
        )
    if True in first and columns:
        advice.append("rows that contradict themselves must be corrected, or --columns=label=NAME takes one column")
    elif True in first:
        advice.append(
            f"--classes={_pair(first[True], 'unknown')} (or =NAME) says what a contradiction means as a whole"
        )
    are = "1 label is" if len(ordered) == 1 else f"{len(ordered)} labels are"
    raise InputError(f"{place}: {are} not understood: {', '.join(named)}{more}; {'; '.join(advice)}")


def _pair(text: str, means: str) -> str:
    """An entry of --classes, as a shell takes it."""
    pair = f"{text}={means}"
    quoted = pair.replace('"', '""')
    return shlex.quote(f'"{quoted}"' if set(pair) & set(',"') else pair)


def plain(labels: str) -> str:
    """Labels for people: `Infiltration|Pneumonia`, `no Edema`, `unknown`."""
    items = [f"no {item.removeprefix(ABSENT)}" if item.startswith(ABSENT) else item for item in labels.split("|")]
    return ", ".join("others unknown" if item == OPEN else item for item in items) if labels else "unknown"


def lines(spellings: Sequence[Spelling], most: int = 20) -> list[str]:
    """A table for people: as written, read as, images; its first `most` rows."""
    shown = [("as written", "read as", "images")]
    shown += [(_short(s.written or BLANK), _short(plain(s.read)), str(s.images)) for s in spellings[:most]]
    widths = [max(len(row[column]) for row in shown) for column in range(3)]
    rows = [f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c:>{widths[2]}}".rstrip() for a, b, c in shown]
    left = spellings[most:]
    more = f"and {len(left)} more spellings of {sum(s.images for s in left)} images (about.json)"
    return [*rows, more] if left else rows


def _short(text: str) -> str:
    return text if len(text) <= _WIDTH else text[: _WIDTH - 3] + "..."
