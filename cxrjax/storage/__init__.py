"""What stays on disk: checkpoints (the only Orbax), a cache of arrays, the image store."""

from cxrjax.base import lazy_modules

lazy_modules(__name__)
