"""How much do the poster's open readings change the result?

  python -m experiments.readings --data_dir=NIH_FOLDER

The poster does not say which layers were retrained, whether one patient may be in training and validation at once,
which views were used, and more. Trains one row for each reading (--rows picks some), beside the poster's numbers:

  base      from fc6, split by patient, all views, mirrored at random, ImageNet weights
  fc8       only the last layer retrained; needs pretrained weights of all layers, else "weights not available"
  conv1     all layers retrained; no bank can serve it, so fewer seeds and epochs, and marked so
  image     split by image: a patient may be on both sides
  pa        PA view only
  no_flip   never mirrored
  random    a trunk of random weights in the place of the pretrained one

fc8 and conv1 are AlexNet's: another network's rows are called after its last and first stage. A row that would be the
base once more is left out.

In all else a row is the base. The estimated time comes first: arithmetic counted for each row, at speeds measured on
this machine. Each row is a run in a folder below --out; the same command continues an interrupted table, and finished
rows are kept. A row that a run in --reuse, or one of its arms, has trained with the same flags, weights and data is
taken from there. Into --out go readings.csv, readings.md (to paste) and readings.png, written anew after every row. A
row that fails is told with its reason, the others go on, and the exit status is 2.
"""

from __future__ import annotations

import dataclasses
import functools

from cxrjax.base.config import experiment_of
from cxrjax.base.flags import NetworkFlags, SizeFlags, SourceFlags, flag

from . import _cli, _sweep


@dataclasses.dataclass(frozen=True)
class ReadingsConfig(SizeFlags, NetworkFlags, SourceFlags):
    """The flags of this program."""

    task: str = flag("p_vs_nf", "question whose readings are compared, of two classes, as experiments.train takes it")
    data_dir: str | None = flag(None, "data as experiments.p_vs_nf takes them; none: the embedded phantom", path=True)
    seeds: int = flag(10, "runs of each row", lower=1)
    epochs: int = flag(30, "passes over the training images", lower=1)
    augment_bank: int = flag(4, "0: a fresh augmentation at every use; K: each image has K, computed once", lower=0)
    conv1_seeds: int = flag(2, "runs of the row of all layers (conv1), at most --seeds", lower=1)
    conv1_epochs: int = flag(10, "epochs of the row of all layers (conv1), at most --epochs", lower=1)
    rows: str = flag("", "names of some rows, comma-separated; none: all. Others that are finished are shown, too")
    reuse: str = flag("", "folders of finished runs, comma-separated, that may stand for rows", path=",")
    out: str = flag("runs/readings", "folder for the table, and one folder a row below it", path=True)


def main(argv: list[str] | None = None) -> None:
    """Runs from the command line."""
    with _cli.one_line_for_mistakes("; the same command continues"):
        config = _cli.parse(ReadingsConfig(), __doc__ or "", argv)
        task = _sweep.binary(config.task)
        _cli.log_to_stderr()
        from cxrjax.base import devices
        from cxrjax.data.load import cache_dir
        from cxrjax.runs import sweep

        from . import _readings

        reuse = _sweep.reused(config.reuse)
        devices.start(cache_dir() / "programs")
        base, source = sweep.open_source(experiment_of(config))
        info = source.weights.info if source.weights else None
        rows = _readings.rows(base, info, config.conv1_seeds, config.conv1_epochs)
        chosen = _sweep.choose(config.rows, [row.name for row in rows])
        planned = sweep.plan_rows(rows, source, reuse)
        plan = [row for row in planned if row.row.name in chosen or row.status == sweep.DONE]
        del source
        show = functools.partial(_readings.show, task, info)
        _sweep.run(plan, _sweep.make_folder(config.out), "readings", show)


if __name__ == "__main__":
    main()
