"""A run from configuration to files, and what is done with a finished one.

Public: `experiment` (`run`), `setup` (check, open, build, resolve), `draws` (images of each run), `run_folder`,
`tables`, `results` (a finished run once more), `findings` (of a task of many labels), `trained` (`load_run`,
`TrainedRun`), `exported` (a run as StableHLO and safetensors), `predict` (image files), `ensemble` (several runs),
`evaluate` (any model's scores), `score_sets` (two of them compared), `recalibrate`, `describe`, `dreams`, `maps`,
`explained`, `sweep`, `sweep_tables`, `cost`, `forecast` (what would be done), `cache` (what it holds, and its removal),
`self_test` (of an installation). Internal: `dream_pages`, `notes`, `prepared`, `scoring`, `starts` (heads that training
starts from).
"""

from cxrjax.base import lazy_modules

lazy_modules(__name__)
