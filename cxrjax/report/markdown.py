"""Markdown files out of templates: every inserted text is escaped, so that no name breaks a table or becomes HTML.

CommonMark with GitHub's tables: a backslash takes its meaning from ASCII punctuation, an entity from < > &.
"""

from __future__ import annotations

import functools
import re
import textwrap
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

_TEMPLATES = jinja2.FileSystemLoader(Path(__file__).parent)
_ENTITIES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
# Within a word an underscore means nothing, so that file names stay readable.
_PUNCTUATION = re.compile(r"[\\`*{}\[\]#|~!$^]|(?<![^\W_])_|_(?![^\W_])")
# What makes a list, a heading or a line only where it begins one; a minus before a digit is a number's.
_BEGINNING = re.compile(r" ?(?:[-+=](?![\d.])|\d{1,9}(?=[.)](?:\s|$)))")


def escape(text: str) -> str:
    r"""Text that Markdown shows as it is, on one line, in a table's cell or out of it.

    White space becomes one space; what has no picture of its own (control and bidirectional characters, halves of
    surrogate pairs) is shown as \uXXXX.

    >>> escape("a|b <script> `x` file_1.png")
    'a\\|b &lt;script&gt; \\`x\\` file_1.png'
    """
    seen = "".join(c if c.isprintable() else " " if c.isspace() else f"\\u{ord(c):04x}" for c in text)
    line = re.sub(" +", " ", seen)
    begun = _BEGINNING.match(line)
    # A digit takes no backslash; the point or bracket after it does.
    at = begun.end() - (not begun[0][-1].isdecimal()) if begun else None
    parts = [line] if at is None else [line[:at], line[at:]]
    return "\\".join(_PUNCTUATION.sub(r"\\\g<0>", part).translate(_ENTITIES) for part in parts)


def code(text: str) -> Markup:
    """Text in the letters of code; escaped only, where it holds what a code span cannot in every place."""
    plain = text.isprintable() and text.strip() == text != "" and not set("`|") & set(text)
    return Markup(f"`{text}`" if plain else escape(text))


def block(text: str) -> Markup:
    """Lines of code, each indented by four spaces, so that nothing in them can end the block."""
    seen = "".join(c if c.isprintable() or c == "\n" else f"\\u{ord(c):04x}" for c in text)
    return Markup(textwrap.indent(seen, "    ", lambda line: True))


def one_line(text: Markup) -> Markup:
    """What a template wrote over several lines, for a table's cell."""
    return Markup(" ".join(text.split()))


def render(template: str, **values: Any) -> str:
    """A file of this package's template of that name; a value that the template needs and does not get is an error.

    Every value is escaped, and None is a dash. Filters: `code`, `block`, `one_line`. Of blank lines one stays.
    """
    text = _environment().get_template(template).render(**values)
    return re.sub(r"\n{3,}", "\n\n", text).rstrip("\n") + "\n"


@functools.cache
def _environment() -> jinja2.Environment:
    """One for all, so that each template is compiled once."""
    made = jinja2.Environment(
        loader=_TEMPLATES,
        autoescape=True,  # for what it makes of macros' results; what it would do to text, `_shown` has done
        finalize=_shown,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters |= {"code": code, "block": block, "one_line": one_line}
    return made


def _shown(value: Any) -> Markup:
    if isinstance(value, Markup):
        return value
    return Markup(escape("–" if value is None else str(value)))
