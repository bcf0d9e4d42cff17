"""Do the networks of a finished run look at the lungs, and where the finding is?

  python -m experiments.where_it_looks --run=runs/p_vs_nf

Maps of the log odds of the positive class (gradient, SmoothGrad, integrated gradients, Grad-CAM, occlusion) are made of
positive images (in the poster's tasks, those with pneumonia). Each seed explains only images of patients on whom it was
not trained. Measured are the share of a map's energy inside the lungs and inside boxes that radiologists drew, and how
often its maximum is there (pointing game); the same for dreams. Each figure is compared with baselines that need no
network (area, image centre, other patients' boxes) and with controls (a head of random weights; for a run with --floors
also shuffled labels and a random trunk; Adebayo et al. 2018), with 95 % intervals over patients. The agreement of maps
over seeds is measured, too. The report names each control that a map does not beat.

Maps are also cut into boxes, as Wang et al. (2017) did: the share of the radiologists' boxes that they find, and the
false positives per image, by IoBB and IoU.

Lungs are the phantom's own, masks of your own (--masks), or an estimate. Writes into RUN/maps: focus.csv,
agreement.csv, boxes.csv, metrics.csv (a row a map), numbers.json, overlays.png; the run's report is written again
with them. Ten seeds with their controls and all methods, 1,200 maps, took 45 minutes on 2 busy CPU cores; gradient and
grad_cam alone take 3. Expected on NIH: maps lie more in the lungs
than those of networks that have not learned the task, and hardly in the boxes.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from cxrjax.base import InputError
from cxrjax.base.flags import FinishedRunFlags, flag

from . import _cli, _terminal

_METHODS = ("gradient", "smooth_grad", "integrated_gradients", "grad_cam", "occlusion")


@dataclasses.dataclass(frozen=True)
class LooksConfig(FinishedRunFlags):
    """The flags of this program."""

    run: str | None = flag(None, "folder of a finished run", path=True)
    seeds: int = flag(0, "networks of so many seeds only; 0: all", lower=0)
    methods: str = flag(",".join(_METHODS), "maps, with commas; none: dreams alone")
    images: int = flag(8, "images of each seed, filled up with those without a box", lower=1)
    boxed: int = flag(16, "images with a box of each seed, at most", lower=0)
    masks: str | None = flag(
        None, "folder of lung masks, one image file for each radiograph; none: see above", path=True
    )
    dreams: bool = flag(True, "also measure where dreams of the positive class change the image")


def main(argv: list[str] | None = None) -> None:
    """Runs from the command line."""
    with _cli.one_line_for_mistakes():
        config = _cli.parse(LooksConfig(), __doc__ or "", argv)
        if not config.run:
            raise InputError("--run must be given: the folder of a finished run")
        methods = _methods(config.methods)
        if not methods and not config.dreams:
            raise InputError("--methods=none --nodreams leaves nothing to measure")
        from cxrjax.report import report
        from cxrjax.runs import explained, maps, results
        from cxrjax.runs.trained import load_run

        _cli.start()
        run = load_run(config.run, config.weights)
        seeds = run.seeds[: config.seeds or None]
        images = explained.select_images(run, seeds, config.images, config.boxed, config.masks)
        candidates, missing = maps.candidates(run, config.weights)
        map_results = maps.compute_maps(candidates, seeds, images, methods, config.dreams)
        maps.write(Path(config.run), images, map_results, missing, dataclasses.asdict(config))
        report.write_pages(run.folder, results.reopen(run.folder))
        _terminal.show("\n".join(maps.sentences(map_results)))
        _terminal.show(f"maps: {run.folder / 'maps'}; report: {run.folder / 'report.html'}")
        _terminal.show(maps.last_line(run.task.title, map_results))


def _methods(text: str) -> tuple[str, ...]:
    if text == "none":
        return ()
    if unknown := [name for name in text.split(",") if name not in _METHODS]:
        raise InputError(f"--methods must be of {','.join(_METHODS)}, or none, got {unknown[0]!r}")
    return tuple(dict.fromkeys(text.split(",")))


if __name__ == "__main__":
    main()
