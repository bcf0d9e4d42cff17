"""Words, numbers, pages and plots; the only matplotlib and Jinja."""

from cxrjax.base import lazy_modules

lazy_modules(__name__)
