"""How many local images does a run need to be right at another hospital?

  python -m experiments.recalibrate --run=runs/p_vs_nf --labels=CLASS_FOLDERS

At another hospital a network may rank films well and call nearly all of them positive. From n local images with labels
(--n, drawn several times, patient by patient) slope and intercept of its log odds (Platt scaling) and a threshold are
fitted; the gain in accuracy, sensitivity, specificity, Brier score and calibration error is measured on the images of
all other local patients, with its interval. Into --out go report.html, gains.csv, fits.csv, the scores, and
recalibration.json, fitted on all local images, which experiments.predict takes: --recalibration=FILE.

The images lie in --labels (class folders, a table with paths and labels) or in --data_dir, with other labels from
--labels. 1,000 films of Kermany et al. 2018 and a run of two seeds took a minute on 2 CPU cores.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from cxrjax.base import InputError
from cxrjax.base.flags import FinishedRunFlags, LocalFlags, flag

from . import _cli, _terminal


@dataclasses.dataclass(frozen=True)
class RecalibrateConfig(LocalFlags, FinishedRunFlags):
    """The flags of this program."""

    run: str | None = flag(None, "folder of a finished run of two classes, or OUT/findings/NAME", path=True)
    n: str = flag("20,50,100", "numbers of local images, with commas")
    draws: int = flag(20, "how often each number is drawn", lower=1)
    out: str = flag("runs/recalibrate", "folder for the report and its tables, which replace earlier ones", path=True)


def main(argv: list[str] | None = None) -> None:
    """Runs from the command line."""
    with _cli.one_line_for_mistakes():
        config = _cli.parse(RecalibrateConfig(), __doc__ or "", argv)
        place = config.data_dir or config.labels
        if not config.run or not place:
            raise InputError("--run, and --labels or --data_dir must be given (--help lists the flags)")
        sizes, out = _cli.counts("n", config.n), Path(config.out)
        _cli.refuse_out(out, {"run": config.run, "data_dir": config.data_dir, "labels": config.labels})
        from cxrjax.runs import recalibrate, trained

        _cli.start()
        run = trained.load_run(config.run, config.weights)
        if run.task.is_multilabel:
            raise InputError(
                f"{config.run} has many labels; give the folder of one finding: {config.run}/findings/NAME"
            )
        scored = recalibrate.local_scores(run, config)
        written = recalibrate.write(out, run, place, scored, sizes, config.draws)
        _terminal.show(f"report: {out / 'report.html'}\nfor experiments.predict: --recalibration={written}")


if __name__ == "__main__":
    main()
