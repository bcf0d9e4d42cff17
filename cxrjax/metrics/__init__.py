"""Metrics of scores and labels, and their uncertainty: JAX, NumPy and SciPy alone.

Public: `registry` (all metrics at once, `register`), `discrimination`, `calibration`, `bootstrap`, `cells`, `delong`,
`resampled_t`, `limits` (intervals from draws). Internal: `arguments` (what they take).
"""

from cxrjax.base import lazy_modules

lazy_modules(__name__)
