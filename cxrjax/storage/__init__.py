"""What stays on disk.

Public: `store` (prepared images: `open_store`, `write_store`), `checkpoint` (the only Orbax), `array_cache`.
"""

from cxrjax.base import lazy_modules

lazy_modules(__name__)
