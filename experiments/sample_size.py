"""How do accuracy and AUROC grow with the number of training patients?

  python -m experiments.sample_size --data_dir=NIH_FOLDER

For each of --sizes, trains on so many of the patients on each run's training side: drawn anew for each run, a smaller
size being part of a larger one, the validation images the same at every size. A size that leaves a run without training
images of one class is told and left out.

What is held fixed: by default (--fix=steps) the number of steps of gradient descent, so that a size differs from all
patients in its patients alone; few patients are then seen in many epochs. With --fix=epochs fewer patients also mean
fewer steps, and a network that has not come to its end looks like one that lacks data: with 1/16 of the patients 30
epochs are some 30 steps. Learning rate and batch size are the same at every size in both, and each result is the last
epoch's.

The estimated time comes first. The same command continues an interrupted table; runs in --reuse of the same flags,
weights and data stand for sizes. Into --out go sample_size.csv, sample_size.md (to paste) and sample_size.png, written
anew after every size. A size that fails is told with its reason, the others go on, and the exit status is 2.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from cxrjax.base.config import ExperimentConfig
from cxrjax.base.flags import NetworkFlags, flag

from . import _rows

if TYPE_CHECKING:
    from cxrjax.runs.sweep import Source

    from ._sample_size import Design


@dataclasses.dataclass(frozen=True)
class SampleSizeConfig(_rows.RowsConfig, NetworkFlags):
    """The flags of this program."""

    sizes: str = flag(
        "1/16,1/8,1/4,1/2,all",
        "training patients: numbers, fractions of those that every run has, or all; comma-separated",
    )
    fix: str = flag("steps", "what all sizes have in common with all patients", choices=("steps", "epochs"))


def main(argv: list[str] | None = None) -> None:
    """Runs from the command line."""
    _rows.main("sample_size", SampleSizeConfig(out="runs/sample_size"), __doc__ or "", argv, table)


def table(flags: SampleSizeConfig, base: ExperimentConfig, source: Source) -> Design:
    """A row for each size."""
    from . import _sample_size

    base, _ = source.open(base)
    return _sample_size.design(base, source, flags.sizes, flags.fix)


if __name__ == "__main__":
    main()
