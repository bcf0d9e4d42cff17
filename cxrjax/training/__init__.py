"""The engine: recipes and optimisers, plan, bank, inputs, step, loop, groups of seeds; outlines of
lungs. All modules are public."""

from cxrjax.base import lazy_modules

lazy_modules(__name__)
