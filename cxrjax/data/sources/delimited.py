"""A table as text: CSV, TSV and the like, whatever their separator or compression; never cut, never guessed."""

from __future__ import annotations

import codecs
import csv
import gzip
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from cxrjax.base import InputError

if TYPE_CHECKING:
    import _csv

SUFFIXES = (".csv", ".tsv")  # of files that are taken for tables where they lie in a folder; also with .gz
OTHER_SUFFIXES = (".xlsx", ".xls", ".xlsm", ".ods", ".numbers", ".parquet", ".feather", ".sav", ".dta")
_SEPARATORS = ",;\t|"
_OTHER_KINDS = {  # first bytes -> what it is
    b"PK\x03\x04": "a spreadsheet or other ZIP file (.xlsx, .ods)",
    b"\xd0\xcf\x11\xe0": "an Excel file (.xls)",
    b"PAR1": "a Parquet file",
}
_BOMS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
_SAMPLE = 200  # rows that tell the separator
_HEAD = 1000  # bytes that tell UTF-16
_MAX_CELL = 1_000_000  # characters
LINE = "line"  # name of the index: where a row ends in the file, from 1


class RaggedRow(InputError):
    """A row has more or fewer fields than the header."""

    def __init__(self, message: str, header: list[str]) -> None:
        """`header` has the names of the columns."""
        super().__init__(message)
        self.header = header


def is_table(path: Path) -> bool:
    """True by the name: .csv, .tsv, also .gz, in any case."""
    return path.name.lower().removesuffix(".gz").endswith(SUFFIXES)


def read(path: Path) -> pd.DataFrame:
    """A table as text, cells without blanks around them, "" where empty.

    The separator is the one of `,` `;` tab `|` at which header and rows have equally many fields; UTF-8 or UTF-16 with
    a byte order mark, plain or gzip. Rows without any text are kept: what they lack is for the caller to tell.

    Returns:
      A column for each name of the header; nameless ones are kept under "". The index is the line in the file.

    Raises:
      InputError: if it is no such table, a name stands twice in its header, or a row has more or fewer fields.
    """
    try:
        lines = text_of(path).splitlines(keepends=True)
        if lines and lines[0].strip().lower().startswith("sep="):  # Excel's own
            lines[0] = "\n"
        separator = _separator(lines)
        header, rows = _rows(path, lines, separator)
    except (OSError, EOFError, zlib.error, csv.Error) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{path} cannot be read as a table: {reason}") from error
    _refuse_repeated(path, header)
    cells = [row for _, row in rows]
    return pd.DataFrame(cells, pd.Index([line for line, _ in rows], name=LINE), header, dtype=str)


def text_of(path: Path) -> str:
    """A text file: by its byte order mark, else UTF-8; gzip is unpacked.

    Raises:
      InputError: if it is of another encoding, or no text.
    """
    content = path.read_bytes()
    if content[:2] == b"\x1f\x8b":
        content = gzip.decompress(content)
    for start, kind in _OTHER_KINDS.items():
        if content.startswith(start):
            raise InputError(f"{path} cannot be read as a table: it is {kind}; save it as CSV")
    encoding = next((name for bom, name in _BOMS.items() if content.startswith(bom)), "utf-8")
    if encoding == "utf-8" and content[:_HEAD].count(0) > len(content[:_HEAD]) / 4:
        raise InputError(
            f"{path} cannot be read as a table: it looks like UTF-16 without a byte order mark; save it as UTF-8"
        )
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        byte = f"{content[error.start]:#04x}"
        raise InputError(
            f"{path} cannot be read as a table: line {line} is no UTF-8 (byte {byte}); save it as UTF-8"
        ) from error


def _separator(lines: list[str]) -> str:
    """Of those that part the header, one at which the rows have as many fields, and of these the most."""
    scores = {}
    for separator in _SEPARATORS:
        sample = [row for row in _parse(lines[: 2 * _SAMPLE], separator, strict=False) if any(row)][:_SAMPLE]
        fields = len(sample[0]) if sample else 0
        if fields > 1:
            scores[separator] = (sum(len(row) == fields for row in sample) / len(sample), fields)
    return max(scores, key=lambda separator: scores[separator]) if scores else ","


def _parse(lines: list[str], separator: str, strict: bool = True) -> _csv.Reader:
    return csv.reader(lines, delimiter=separator, skipinitialspace=True, strict=strict)


def _rows(path: Path, lines: list[str], separator: str) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """The header, and each row with the line where it ends."""
    csv.field_size_limit(_MAX_CELL)
    reader = _parse(lines, separator)
    header: list[str] = []
    rows = []
    for row in reader:
        cells = list(map(str.strip, row))
        if not header:
            header = cells if any(cells) else []
            continue
        rows.append((reader.line_num, _fitted(path, reader.line_num, cells, header)))
    if not header:
        raise InputError(f"{path} cannot be read as a table: it is empty")
    return header, rows


def _fitted(path: Path, line: int, cells: list[str], header: list[str]) -> list[str]:
    """A row of as many cells as the header; only nameless columns at the end may be left away."""
    if len(cells) == len(header):
        return cells
    named = max((i + 1 for i, name in enumerate(header) if name), default=0)
    if len(cells) > len(header) or (named > len(cells) and any(cells)):
        than = "more" if len(cells) > len(header) else "fewer"
        raise RaggedRow(
            f"{path}, line {line}: a row must have the {len(header)} fields of the header, this one has {than}: "
            f"{len(cells)} ({', '.join(map(repr, cells[:4]))}{', ...' if len(cells) > 4 else ''}); "
            "text that holds the separator must be in quotes",
            header,
        )
    return cells + [""] * (len(header) - len(cells))


def _refuse_repeated(path: Path, header: list[str]) -> None:
    names = [name.casefold() for name in header if name]
    repeated = [name for name in header if names.count(name.casefold()) > 1]
    if repeated:
        raise InputError(f"{path} has two columns of one name: {' and '.join(map(repr, repeated[:2]))}; rename one")
