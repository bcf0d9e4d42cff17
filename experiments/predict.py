"""What do the networks of a finished run, or of several as one, say of these images?

  python -m experiments.predict --run=runs/p_vs_nf IMAGE_OR_FOLDER ... > scores.csv
  python -m experiments.predict --ensemble=runs/both IMAGE_OR_FOLDER ... > scores.csv

Research software, not a medical device: no output of it may be used to care for a patient.

Takes image files (PNG, JPEG, TIFF, BMP, JPEG 2000, WebP, DICOM) and folders, of which all images below are taken. The
CSV has a row an image: image; score, probability of the run's positive class, mean over its seeds; sd, over the seeds
(empty for one seed); decision, 1 (positive) where the score is above --threshold, else 0; refused, empty or the reason.
Of a run with many labels: image; findings, those above --threshold; the score of each finding, by its name; refused.
One finding alone, as of a run of two classes: --run=OUT/findings/NAME.
With --ensemble=FOLDER of experiments.ensemble the score is expit of the mean of the log odds of all networks of its
runs, sd is over these networks, and the columns are the same.

Refused is what cannot be read and, unless --accept_anything, what is no radiograph by the rules of
cxrjax/data/screening.py: a side below 128 pixels, more than 10 % of the pixels in colour, blank or nearly so, few grey
levels as a mask has, half of it missing, striped, inverted.
A hand or a grey photograph passes. An image that the run was trained on scores better than a new one. With ten seeds
from fc6, on 2 CPU cores that others used, too, one image took 8 s and 1 GB of memory; of a run whose checkpoints are
compressed, as earlier versions wrote them, 34 s.
"""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from cxrjax.base import InputError
from cxrjax.base.flags import FinishedRunFlags, flag

from . import _cli, _terminal

if TYPE_CHECKING:
    import numpy as np


@dataclasses.dataclass(frozen=True)
class PredictConfig(FinishedRunFlags):
    """The flags of this program, and its arguments."""

    run: str | None = flag(None, "folder of a finished run", path=True)
    ensemble: str | None = flag(None, "folder that experiments.ensemble wrote, in place of --run", path=True)
    out: str | None = flag(None, "CSV file, replaced if there is one; none: standard output", path=True)
    threshold: str = flag(
        "0.5",
        "score above which an image is called positive: a number (0.5 in the poster), or chosen: the threshold that "
        "the run chose on its training images for its --wanted_sensitivity; for an ensemble, the mean over its "
        "networks",
    )
    recalibration: str | None = flag(
        None,
        "file written by experiments.recalibrate: scores are recalibrated for that hospital, and --threshold=chosen "
        "is the threshold in it",
        path=True,
    )
    accept_anything: bool = flag(False, "score what is no radiograph by these rules, too")
    images: tuple[str, ...] = ()


def main(argv: list[str] | None = None) -> None:
    """Runs from the command line."""
    with _cli.one_line_for_mistakes():
        config = _cli.parse(PredictConfig(), __doc__ or "", argv, arguments="images")
        _check(config)
        from cxrjax.runs import ensemble, predict, recalibrate, trained

        threshold: float | np.ndarray | None = _threshold(config.threshold)
        images = predict.gather(config.images)
        _refuse(config.out, [image for image in images if isinstance(image, Path)])
        _cli.start()
        if config.ensemble:
            runs = ensemble.load(Path(config.ensemble))
        else:
            runs = [trained.load_run(config.run or "", config.weights)]
        moved = recalibrate.read(Path(config.recalibration), runs[0]) if config.recalibration else None
        if threshold is None:
            threshold = moved.threshold if moved else predict.chosen_threshold(runs)
        table = predict.predict(runs, images, threshold, config.accept_anything, recalibrate=moved)
        _write(config.out, table.to_csv(index=False, float_format="%.6f", lineterminator="\n"))
        refused = int((table["refused"] != "").sum())
        counts = f"{len(table) - refused} predicted, {refused} refused"
        _terminal.show(f"{counts}; research software, not a medical device", sys.stderr)


def _check(config: PredictConfig) -> None:
    """Refuses flags that do not go together."""
    if config.run and config.ensemble:
        raise InputError("give --run or --ensemble, not both")
    if not (config.run or config.ensemble) or not config.images:
        raise InputError("--run or --ensemble and at least one image or folder must be given (--help lists the flags)")
    if config.ensemble and config.recalibration:
        raise InputError("--recalibration goes with --run; it was made for the networks of one run")
    if config.ensemble and config.weights:
        raise InputError("--weights goes with --run; the runs of an ensemble have weights of their own")


def _threshold(text: str) -> float | None:
    """A number from 0 to 1; None: the run's chosen one."""
    if text == "chosen":
        return None
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise InputError(f"--threshold must be a number from 0 to 1, or chosen, got {text!r}")
    return value


def _refuse(out: str | None, images: list[Path]) -> None:
    """Refuses what would replace an image, or fail after the work."""
    if not out:
        return
    if Path(out).resolve() in {image.resolve() for image in images}:
        raise InputError(f"--out={out} is one of the images")
    if Path(out).is_dir() or not Path(out).absolute().parent.is_dir():
        raise InputError(f"--out={out} must be a file in a folder that exists")


def _write(out: str | None, text: str) -> None:
    from cxrjax.base import faults, files

    if out:
        files.write_text(Path(out), text)
        return
    with faults.naming("standard output"):
        sys.stdout.write(text)
        sys.stdout.flush()


if __name__ == "__main__":
    main()
