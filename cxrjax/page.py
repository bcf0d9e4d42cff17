"""HTML pages out of templates: one self-contained file each, every inserted text escaped."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd
from PIL import Image

_TEMPLATES = jinja2.FileSystemLoader(Path(__file__).parent)


def render(template: str, **values: Any) -> str:
    """A page of this package's template of that name; a value that the template needs and does not get is an error.

    Filters: `percent` 0.445 -> 44.5, `share` 0.445 -> 44.5 %, `decimal` 0.8181 -> 0.818, `count` 1234 -> 1,234; each
    gives a dash for None and NaN.
    """
    environment = jinja2.Environment(
        loader=_TEMPLATES, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    environment.filters["percent"] = lambda x: "–" if pd.isna(x) else f"{100 * x:.1f}"
    environment.filters["share"] = lambda x: "–" if pd.isna(x) else f"{100 * x:.1f} %"
    environment.filters["decimal"] = lambda x: "–" if pd.isna(x) else f"{x:.3f}"
    environment.filters["count"] = lambda x: "–" if pd.isna(x) else f"{x:,}"
    return environment.get_template(template).render(**values)


def png(image: np.ndarray) -> bytes:
    """An image [H, W] or [H, W, 3] u8 as a PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="PNG")
    return buffer.getvalue()


def inline(picture: bytes) -> str:
    """A PNG file as base64, for the inside of a page."""
    return base64.b64encode(picture).decode()
