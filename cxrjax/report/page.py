"""HTML pages out of templates: one self-contained file each, every inserted text escaped."""

from __future__ import annotations

import base64
import functools
import io
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
import numpy as np
import pandas as pd
from PIL import Image

from cxrjax.report.language import DASH, Language

_TEMPLATES = jinja2.FileSystemLoader(Path(__file__).parent)
_WIDTH, _BYTES = 1600, 500_000  # of a picture in a page, at most


class Fitted(NamedTuple):
    """A picture as a page embeds it."""

    file: bytes  # JPEG
    width: int  # pixels
    height: int


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


def jpeg(image: np.ndarray, quality: int = 88) -> bytes:
    """An image [H, W] or [H, W, 3] u8 as a JPEG file, a tenth of its PNG, for the eye alone."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="JPEG", quality=quality)
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
