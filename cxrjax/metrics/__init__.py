"""Figures of scores and labels, and their uncertainty: JAX, NumPy and SciPy alone."""

from cxrjax.base import lazy_modules

lazy_modules(__name__)
