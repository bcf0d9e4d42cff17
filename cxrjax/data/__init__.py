"""Radiographs and what is known of them.

Public: `load` (any data set -> an image store), `sources`, `labels`, `prepare`, `classes` (of a task), `cohort`
(draws and splits), `matching`, `thinning`, `held_out`, `relabel`, `predictions` (any model's scores), `decode`,
`dicom`, `screening`, `copies`, `phantom`, `tfds` (needs TensorFlow Datasets). Internal: `phrases` and `vocabulary` (of
labels), `attributes`, `conventions`, `patients`, `reading`, `crop`, `store_table`, `contact_sheet`, `grey`, `jpeg`,
`tiff`.
"""

from cxrjax.base import lazy_modules

lazy_modules(__name__)
