"""A run's tables -> every figure, interval and comparison of its report."""

from cxrjax.base import lazy_modules

lazy_modules(__name__)
