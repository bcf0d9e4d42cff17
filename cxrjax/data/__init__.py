"""Radiographs and what is known of them: sources, decoding, preparation, cohorts."""

from cxrjax.base import lazy_modules

lazy_modules(__name__)
