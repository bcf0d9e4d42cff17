"""What --help shows: the description, then the flags under their headings, as wide as the terminal.

Programs are named as they start where the user is: by module in a checkout, by the command `cxrjax` elsewhere.
"""

from __future__ import annotations

import dataclasses
import importlib
import re
import shutil
import textwrap
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from cxrjax.base.config import in_checkout
from cxrjax.base.flags import GROUPS, groups_of, written

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

NARROWEST, WIDEST = 80, 110
_NAMES = 24  # columns of the names of flags


def page(configs: Sequence[DataclassInstance], description: str) -> str:
    """What --help shows.

    Args:
      configs: with their defaults; their fields made by `flags.flag` are the flags.
      description: paragraphs, and indented lines, each of which stays a line.
    """
    columns = width()
    groups: dict[str, list[str]] = {heading: [] for heading in ("", *GROUPS)}
    for config in configs:
        preset = getattr(config, "preset", {})
        for heading, fields in groups_of(config).items():
            for field in fields:
                groups[heading] += _flag(field, preset.get(field.name, getattr(config, field.name)), columns)
    lines = [*_filled(_as_started_here(description.strip()), columns)]
    for heading, flags in groups.items():
        lines += [heading.capitalize() or "This program", *flags, ""] if flags else []
    return "\n".join(lines).rstrip()


def width() -> int:
    """Columns to fill: the terminal's, within what is easily read."""
    return min(WIDEST, max(NARROWEST, shutil.get_terminal_size((WIDEST, 0)).columns))


def columned(name: str, text: str, names: int, columns: int) -> list[str]:
    """Lines of a name and what it is, in two columns; a name that is too long has a line of its own."""
    first = f"  {name}".ljust(names)
    rest = " " * names
    if not first.endswith(" "):
        return [first, *_wrapped(text, columns, rest, rest)]
    return _wrapped(text, columns, first, rest)


def _flag(field: dataclasses.Field[Any], default: Any, columns: int) -> list[str]:
    rules = field.metadata
    text = rules["help"]
    if "names" in rules:
        module, function = rules["names"].split(":")
        text += " " + ", ".join(getattr(importlib.import_module(module), function)())
    of = f"of {', '.join(rules['choices'])}; " if "choices" in rules else ""
    usual = (
        ("no", "yes")[default] if isinstance(default, bool) else written(field, "none" if default is None else default)
    )
    name = f"--[no]{field.name}" if default is True else f"--{field.name}"
    if "short" in rules:
        name = f"-{rules['short']}, --{field.name}"
    return columned(name, _as_started_here(f"{text} ({of}default: {usual or 'none'})"), _NAMES, columns)


def _filled(text: str, columns: int) -> Iterator[str]:
    """Lines: paragraphs are filled; an indented line stays one, with those that continue it further to the right, and
    what does not fit hangs below its second column, if it has one."""
    for paragraph in text.split("\n\n"):
        entries: list[str] = []
        for line in paragraph.splitlines():
            indent, before = _indent(line), _indent(entries[-1]) if entries else -1
            if entries and (indent > before > 0 or (not indent and not before)):
                entries[-1] += f" {line.strip()}"
            else:
                entries.append(line)
        for entry in entries:
            second = re.match(r" +\S.*?\S {2,}(?=\S)", entry)
            if not entry.startswith(" ") or (second and second.end() <= _NAMES):
                yield from _wrapped(entry, columns, "", " " * second.end() if second else "")
            else:
                yield entry  # a command, to be copied
        yield ""


def _wrapped(text: str, columns: int, first: str, rest: str) -> list[str]:
    """Lines that begin so; names with hyphens stay whole."""
    return textwrap.wrap(text, columns, initial_indent=first, subsequent_indent=rest, break_on_hyphens=False)


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _as_started_here(text: str) -> str:
    """A text that names programs by their module, as in a checkout, with the command that works where the user is."""
    if in_checkout():
        return text
    text = text.replace("weights.convert", "experiments.convert_weights")
    return re.sub(r"(?:python -m )?experiments\.(\w+)", r"cxrjax \1", text)
