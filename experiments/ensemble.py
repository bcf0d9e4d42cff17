"""What do the networks of several runs say together, and is that more than the best of them says alone?

  python -m experiments.ensemble --runs=runs/alexnet,runs/vgg16 --out=runs/both
  python -m experiments.predict --ensemble=runs/both IMAGE_OR_FOLDER ... > scores.csv

The runs answer one question and were trained with --test; their networks, recipes and seeds may differ. The score of
the ensemble is expit of the mean of the log odds of all networks of all runs. It is computed of the images that every
run held out; an image of a patient that one of the runs was trained on is left out, which is told. For each run (its
networks as one), for single networks (mean) and for the ensemble the table has AUROC and accuracy at 0.5, and what the
ensemble gains over each, with 95 % intervals by 2,000 draws of patients. The run that is best on these images was
chosen on them, so the gain over it is rather too small.

Into --out go ensemble.csv (further metrics, too), predictions.csv (the scores, as experiments.evaluate and
experiments.compare take them) and ensemble.json (the runs and the SHA-256 of their networks). Takes some seconds.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from cxrjax.base import InputError
from cxrjax.base.flags import flag

from . import _cli, _terminal


@dataclasses.dataclass(frozen=True)
class EnsembleConfig:
    """The flags of this program."""

    runs: str | None = flag(None, "folders of finished runs, parted by commas", path=",")
    out: str | None = flag(None, "folder for the ensemble, whose files replace earlier ones", path=True)


def main(argv: list[str] | None = None) -> None:
    """Runs from the command line."""
    with _cli.one_line_for_mistakes():
        config = _cli.parse(EnsembleConfig(), __doc__ or "", argv)
        if not config.runs or not config.out:
            raise InputError("--runs and --out must be given (--help lists the flags)")
        folders, out = [Path(folder) for folder in config.runs.split(",")], Path(config.out)
        _cli.refuse_out(out, {})
        if any(out.resolve().is_relative_to(folder.resolve()) for folder in folders):
            raise InputError(f"--out={out} lies in one of the runs, whose files are never changed")
        from cxrjax.report import terminal
        from cxrjax.runs import ensemble

        _cli.start()
        made = ensemble.evaluate(folders)
        ensemble.write(out, made)
        _terminal.show(terminal.ensemble(made.table))


if __name__ == "__main__":
    main()
