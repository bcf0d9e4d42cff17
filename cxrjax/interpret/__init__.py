"""What a network responds to and where it looks.

Public: `objectives` (what is raised or explained), `dream` with `dream_parts`, `saliency` with `grad_cam`,
`lungs` (where the lungs are).
"""

from cxrjax.base import lazy_modules

lazy_modules(__name__)
