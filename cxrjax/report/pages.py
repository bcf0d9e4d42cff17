"""Pages out of Jinja templates: self-contained HTML, and Markdown, every inserted text escaped; pictures in them.

Markdown is CommonMark with GitHub's tables: a backslash takes its meaning from ASCII punctuation, an entity from < > &.
"""

from __future__ import annotations

import base64
import dataclasses
import functools
import io
import re
import textwrap
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import jinja2
import numpy as np
from markupsafe import Markup
from PIL import Image

from cxrjax.metrics import registry
from cxrjax.report import rows
from cxrjax.report.figures import Picture
from cxrjax.report.language import DASH, Language, reasons
from cxrjax.report.rows import CARD, Numbers

_TEMPLATES = jinja2.FileSystemLoader([Path(__file__).parent / "templates", Path(__file__).parent / "sections"])
R = TypeVar("R")
_WIDTH, _BYTES = 1600, 500_000  # of a picture in a page, at most
_ENTITIES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
# Within a word an underscore means nothing, so that file names stay readable.
_PUNCTUATION = re.compile(r"[\\`*{}\[\]#|~!$^]|(?<![^\W_])_|_(?![^\W_])")
# What makes a list, a heading or a line only where it begins one; a minus before a digit is a number's.
_BEGINNING = re.compile(r" ?(?:[-+=](?![\d.])|\d{1,9}(?=[.)](?:\s|$)))")


class Fitted(NamedTuple):
    """A picture as a page embeds it."""

    file: bytes  # JPEG
    width: int  # pixels
    height: int


def html(template: str, language: Language, values: Mapping[str, Any]) -> Markup:
    """HTML out of a template of this package by its name (NAME.jinja), or out of a template's text.

    Texts in `{% trans %}` and `_()` come out in the language. Filters: `percent` 0.445 -> 44.5, `share` 0.445 -> 44.5
    %, `decimal` 0.8181 -> 0.818, `signed` 0.8181 -> +0.818, `count` 1234 -> 1,234, each a dash for None and NaN;
    `unbroken` keeps ± and % on the line of their numbers. Functions: `numbers` (see `Numbers`), `word`, `reasons`,
    `shown_in`, `ends`, and of `rows` `outcome`, `records`, `metrics`, `undefined` and
    `ensemble`.

    Raises:
      jinja2.UndefinedError: the template needs a value that it does not get.
    """
    templates = html_templates(language)
    named = template.endswith(".jinja")
    page = templates.get_template(template) if named else templates.from_string(template)
    return Markup(page.render(values, language=language))


@functools.cache
def html_templates(language: Language) -> jinja2.Environment:
    """How templates become pages of a language: every text that is put in is escaped."""
    templates = _environment(Numbers(language), extensions=["jinja2.ext.i18n"])
    templates.policies["ext.i18n.trimmed"] = True
    templates.install_gettext_callables(language, language.either)  # type: ignore[attr-defined]
    templates.filters |= {
        "percent": language.percent,
        "share": language.share,
        "decimal": language.number,
        "count": language.count,
        "signed": language.signed,
        "unbroken": lambda text: text.replace(" ± ", "\u00a0±\u00a0").replace(" %", "\u00a0%"),
    }
    return templates


def _environment(numbers: Numbers, **settings: Any) -> jinja2.Environment:
    """What both kinds of pages share: how templates are read, and what they call to write values and rows of metrics,
    words of codes, and reasons."""
    templates = jinja2.Environment(
        loader=_TEMPLATES,
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        **settings,
    )
    templates.globals |= {
        "numbers": numbers,
        "word": numbers.t.word,
        "reasons": functools.partial(reasons, t=numbers.t),
        "outcome": rows.outcome,
        "records": rows.records,
        "metrics": functools.partial(rows.metrics, numbers=numbers),
        "undefined": functools.partial(rows.undefined, numbers=numbers),
        "ensemble": functools.partial(rows.ensemble, numbers=numbers),
        "shown_in": registry.shown_in,
        "ends": numbers.t.interval,
    }
    return templates


def markdown(template: str, values: Mapping[str, Any]) -> str:
    """Markdown out of a template of this package, by its name.

    Every value is escaped, and None is a dash. Filters: `code`, `block`, `one_line`; functions as in `html`. Of blank
    lines one stays.

    Raises:
      jinja2.UndefinedError: the template needs a value that it does not get.
    """
    text = _markdown_templates().get_template(template).render(values)
    return re.sub(r"\n{3,}", "\n\n", text).rstrip("\n") + "\n"


@functools.cache
def _markdown_templates() -> jinja2.Environment:
    """One for all, so that each template is compiled once. What `autoescape` would do to text, `_shown` has done."""
    templates = _environment(CARD, finalize=_shown, keep_trailing_newline=True)
    templates.filters |= {"code": code, "block": block, "one_line": one_line}
    return templates


def _shown(value: Any) -> Markup:
    if isinstance(value, Markup):
        return value
    return Markup(escape(DASH if value is None else str(value)))


def escape(text: str) -> str:
    r"""Text that Markdown shows as it is, on one line, in a table's cell or out of it.

    White space becomes one space; what has no picture of its own (control and bidirectional characters, halves of
    surrogate pairs) is shown as \uXXXX.

    >>> escape("a|b <script> `x` file_1.png")
    'a\\|b &lt;script&gt; \\`x\\` file_1.png'
    """
    visible = "".join(c if c.isprintable() else " " if c.isspace() else f"\\u{ord(c):04x}" for c in text)
    line = re.sub(" +", " ", visible)
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
    visible = "".join(c if c.isprintable() or c == "\n" else f"\\u{ord(c):04x}" for c in text)
    return Markup(textwrap.indent(visible, "    ", lambda line: True))


def one_line(text: Markup) -> Markup:
    """What a template wrote over several lines, for a table's cell."""
    return Markup(" ".join(text.split()))


def png(image: np.ndarray) -> bytes:
    """An image [H, W] or [H, W, 3] u8 as a PNG file."""
    return _file(image, format="PNG")


def jpeg(image: np.ndarray, quality: int = 88) -> bytes:
    """An image [H, W] or [H, W, 3] u8 as a JPEG file, a tenth of its PNG, for the eye alone."""
    return _file(image, format="JPEG", quality=quality)


def _file(image: np.ndarray, format: str, quality: int = 0) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format=format, quality=quality)
    return buffer.getvalue()


def fitted(image: np.ndarray, width: int = _WIDTH, most: int = _BYTES) -> Fitted:
    """An image [H, W] or [H, W, 3] u8 as a JPEG file for a page: scaled down to `width`, then to `most` bytes.

    Noise takes half a byte a pixel and more, so a sheet of many dreams first loses quality (85 to 75), then size.

    Raises:
      ValueError: the image is of another shape or type, or has no pixel.
    """
    if image.dtype != np.uint8 or image.ndim not in (2, 3) or image.shape[2:] not in ((), (3,)) or not image.size:
        raise ValueError(f"image must be [H, W] or [H, W, 3] u8 with pixels, got {image.shape} {image.dtype}")
    scale, quality = min(1.0, width / image.shape[1]), 85
    while True:
        size = max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))
        small = image if scale == 1 else np.asarray(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS))
        file = jpeg(small, quality)
        if len(file) <= most or size == (1, 1):
            return Fitted(file, *size)
        scale, quality = (scale, 75) if quality > 75 else (0.85 * scale, 75)


def inline(picture: bytes) -> str:
    """A picture file as base64, for the inside of a page."""
    return base64.b64encode(picture).decode()


def embedded(picture: np.ndarray, caption: str, alt: str) -> dict[str, Any]:
    """A picture [H, W] or [H, W, 3] u8 for the macro `picture`: source (base64), width, height, caption, alt."""
    file, width, height = fitted(picture)
    return {"source": inline(file), "width": width, "height": height, "caption": caption, "alt": alt}


@dataclasses.dataclass(frozen=True)
class Section(Generic[R]):
    """One section of the report: what it shows, in which words, and the figures in it."""

    key: str
    """Its anchor in the page."""
    title: str
    """English; as every message it has its translations in `LANGUAGE.json`, or stays English."""
    context: Callable[[R, Language], Mapping[str, Any] | None] = lambda results, t: {}
    """Values for the template, numbers written out; None: there is nothing to say, and no section."""
    figures: Mapping[str, Callable[[R, Language], Picture | None]] = dataclasses.field(default_factory=dict)
    """Name of each figure -> how it is drawn; None where the results do not allow it."""
    template: str = ""
    """Name of a template of this package (NAME.jinja; "": KEY.html.jinja), or a Jinja template's text. Beside what
    `context` gives it has `title`, `results`, `config`, `task`, `positive` (the positive class, for people), `half`
    (0.5, written out) and `drawn` (figures by name); `{% import "macros.html.jinja" as m with context %}` brings tables
    and plots."""
