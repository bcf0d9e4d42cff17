"""HTML pages out of templates: one self-contained file each, every inserted text escaped."""

from __future__ import annotations

import base64
import functools
import io
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd
from PIL import Image

from cxrjax.reporting.language import DASH, Language

_TEMPLATES = jinja2.FileSystemLoader(Path(__file__).parent)


def render(template: str, *, language: Language, **values: Any) -> str:
    """A page of this package's template of that name; a value that the template needs and does not get is an error.

    Texts in `{% trans %}` and `_()` come out in the language. Filters: `percent` 0.445 -> 44.5, `share` 0.445 -> 44.5
    %, `decimal` 0.8181 -> 0.818, `count` 1234 -> 1,234, each a dash for None and NaN; `unbroken` keeps ± and % on the
    line of their numbers.
    """
    return environment(language).get_template(template).render(language=language, **values)


@functools.cache
def environment(language: Language) -> jinja2.Environment:
    """How templates become pages of a language: every text that is put in is escaped."""
    made = jinja2.Environment(
        loader=_TEMPLATES, extensions=["jinja2.ext.i18n"], autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    made.policies["ext.i18n.trimmed"] = True
    made.install_gettext_callables(language, language.either)  # type: ignore[attr-defined]
    made.filters["percent"] = lambda x: DASH if pd.isna(x) else language.percent(x)
    made.filters["share"] = lambda x: DASH if pd.isna(x) else language.share(x)
    made.filters["decimal"] = lambda x: DASH if pd.isna(x) else language.number(x)
    made.filters["count"] = lambda x: DASH if pd.isna(x) else language.count(x)
    made.filters["unbroken"] = lambda text: text.replace(" ± ", "\u00a0±\u00a0").replace(" %", "\u00a0%")
    return made


def png(image: np.ndarray) -> bytes:
    """An image [H, W] or [H, W, 3] u8 as a PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="PNG")
    return buffer.getvalue()


def jpeg(image: np.ndarray) -> bytes:
    """An image [H, W] u8 as a JPEG file, a tenth of its PNG, for the eye alone."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="JPEG", quality=88)
    return buffer.getvalue()


def inline(picture: bytes) -> str:
    """A picture file as base64, for the inside of a page."""
    return base64.b64encode(picture).decode()
