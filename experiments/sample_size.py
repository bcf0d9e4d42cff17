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
import functools

from cxrjax.base.config import experiment_of
from cxrjax.base.flags import NetworkFlags, SizeFlags, SourceFlags, flag

from . import _cli, _sweep


@dataclasses.dataclass(frozen=True)
class SampleSizeConfig(SizeFlags, NetworkFlags, SourceFlags):
    """The flags of this program."""

    task: str = flag("p_vs_nf", "question that is run at each size, of two classes, as experiments.train takes it")
    data_dir: str | None = flag(None, "data as experiments.p_vs_nf takes them; none: the embedded phantom", path=True)
    sizes: str = flag(
        "1/16,1/8,1/4,1/2,all",
        "training patients: numbers, fractions of those that every run has, or all; comma-separated",
    )
    fix: str = flag("steps", "what all sizes have in common with all patients", choices=("steps", "epochs"))
    seeds: int = flag(10, "runs of each size", lower=1)
    epochs: int = flag(30, "passes over the training images of all patients", lower=1)
    augment_bank: int = flag(4, "0: a fresh augmentation at every use; K: each image has K, computed once", lower=0)
    reuse: str = flag("", "folders of finished runs, comma-separated, that may stand for sizes", path=",")
    out: str = flag("runs/sample_size", "folder for the table, and one folder a size below it", path=True)


def main(argv: list[str] | None = None) -> None:
    """Runs from the command line."""
    with _cli.one_line_for_mistakes("; the same command continues"):
        config = _cli.parse(SampleSizeConfig(), __doc__ or "", argv)
        task = _sweep.binary(config.task)
        _cli.log_to_stderr()
        from cxrjax.base import devices
        from cxrjax.data.load import cache_dir
        from cxrjax.runs import sweep

        from . import _sample_size

        reuse = _sweep.reused(config.reuse)
        devices.start(cache_dir() / "programs")
        base, source = sweep.open_source(experiment_of(config))
        design = _sample_size.design(base, source, config.sizes, config.fix)
        plan = sweep.plan_rows(design.rows, source, reuse)
        del source
        show = functools.partial(_sample_size.show, task, config.fix, design)
        _sweep.run(plan, _sweep.make_folder(config.out), "sample_size", show)


if __name__ == "__main__":
    main()
