"""The engine: plan, bank, inputs, step, loop, groups of seeds."""

from cxrjax.base import lazy_modules

lazy_modules(__name__)
