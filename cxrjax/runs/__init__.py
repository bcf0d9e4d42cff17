"""A run from configuration to files, and what is done with a finished one."""

from cxrjax.base import lazy_modules

lazy_modules(__name__)
