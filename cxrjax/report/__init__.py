"""Words, numbers, pages and plots; the only matplotlib and Jinja.

Public: `report` (`write`), `sections` (the ordered list, `register`), `pages` (`Section`), `figures`, `cards`,
`language`, `terminal`. Internal: `comparison_page`, `evaluation_page`, `rows`.
"""

from cxrjax.base import lazy_modules

lazy_modules(__name__)
