"""A run's tables -> every metric, interval and comparison of its report.

Public: `analyse` (all of it), `tables` (records, columns, reading and writing), `comparison` (of two runs),
`evaluation` (of any model's scores), and what each table is made by: `scores`, `curves`, `floors`, `subgroups`,
`ensemble`, `recalibration` (at another hospital), `localisation`, `detection`, `map_tests`, `agreement`.
"""

from cxrjax.base import lazy_modules

lazy_modules(__name__)
