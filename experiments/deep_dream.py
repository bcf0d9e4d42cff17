"""What do the networks of a finished run respond to?

  python -m experiments.deep_dream --run=runs/p_vs_nf
  python -m experiments.deep_dream --run=runs/p_vs_nf,runs/p_vs_np      # the poster's figure: both side by side

Raises the neuron of the positive class (pneumonia in the poster's tasks), and that of the other class, of every seed's
network by gradient ascent from noise, in both ways to write an image: octaves of pixels (MATLAB's deepDreamImage, the
poster's) and a spectrum with jitter, rotation and scale (Olah et al. 2017). Then single channels of several layers, and
images that are dreamt away from and towards the positive class: the mean of the run's validation images and some
patients'. Dreams are fed back to all networks: does the dream of one seed convince the others?

Writes into RUN/dreams of each run: poster.png, seeds.png, layers.png, starts.png, ascent.gif, transfer.csv,
numbers.json; and of two runs poster.png holds both. The run's report is written again with them. Ten seeds from fc6
take 5 minutes on 2 CPU cores and 6 GB of memory; dreams show what a network responds to, not what a disease looks like.
"""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path
from typing import TYPE_CHECKING

from cxrjax.base import InputError
from cxrjax.base.flags import FinishedRunFlags, flag

from . import _cli, _terminal

if TYPE_CHECKING:
    from cxrjax.runs.dreams import Setting


@dataclasses.dataclass(frozen=True)
class DreamConfig(FinishedRunFlags):
    """The flags of this program."""

    run: str | None = flag(None, "folder of a finished run, or two with a comma between them", path=",")
    seeds: int = flag(0, "dream with the networks of so many seeds only; 0: all", lower=0)
    iterations: int = flag(10, "of each octave (MATLAB's NumIterations)", lower=1)
    octaves: int = flag(
        3,
        "number of image sizes, from the network's own (AlexNet: 227 pixels) upwards (MATLAB's PyramidLevels)",
        lower=1,
        upper=6,
    )
    scale: float = flag(1.4, "factor from one size to the next (MATLAB's PyramidScale)", lower=1.0, upper=3.0)
    fourier_iterations: int = flag(96, "iterations of the dreams in frequency space", lower=1)
    colour: bool = flag(False, "dream in colour; none: grey, one channel given to all three")
    layers: str = flag("", "layers of which channels are dreamt, with commas; none: the network's usual ones")
    channels: int = flag(
        8,
        "number of channels of each layer: those that raise the positive class most, or the first ones",
        lower=1,
        upper=64,
    )
    patients: int = flag(2, "number of radiographs of each class to change, besides the mean image", lower=0, upper=20)
    images: str = flag("", "names of the radiographs to change instead, separated by commas")
    key: int = flag(0, "of the noise and the transformations", lower=0)


def main(argv: list[str] | None = None) -> None:
    """Runs from the command line."""
    with _cli.one_line_for_mistakes():
        config = _cli.parse(DreamConfig(), __doc__ or "", argv)
        folders = [Path(name) for name in (config.run or "").split(",") if name]
        if not 1 <= len(folders) <= 2:
            raise InputError("--run must be given: the folder of a finished run, or two with a comma between them")
        from cxrjax.report import report
        from cxrjax.runs import dream_pages, results
        from cxrjax.runs.trained import load_run

        _cli.start()
        runs = [load_run(folder, config.weights) for folder in folders]
        layers = tuple(config.layers.split(",")) if config.layers else runs[0].net.model.dreamt
        for run, layer in itertools.product(runs, layers):
            run.net.model.check_stage(layer, "--layers")
        wanted = dream_pages.Wanted(
            config.seeds, layers, config.channels, config.patients,
            tuple(name for name in config.images.split(",") if name), _setting(config),
        )  # fmt: skip
        all_results = [dream_pages.make(run, wanted) for run in runs]
        firsts = [(of_run.run.task.title, of_run.first) for of_run in all_results]
        for of_run in all_results:
            dream_pages.write(of_run, firsts)
        for run, of_run in zip(runs, all_results, strict=True):
            report.write_pages(run.folder, results.reopen(run.folder))
            _terminal.show(f"dreams: {run.folder / 'dreams'}; report: {run.folder / 'report.html'}")
            _terminal.show(dream_pages.last_line(of_run))


def _setting(config: DreamConfig) -> Setting:
    from cxrjax.interpret import dream
    from cxrjax.runs import dreams

    octaves = dream.Ascent(iterations=config.iterations, octaves=config.octaves, scale=config.scale)
    fourier = dataclasses.replace(dream.FOURIER, iterations=config.fourier_iterations)
    return dreams.Setting({dreams.OCTAVES: octaves, dreams.FOURIER: fourier}, config.colour, config.key)


if __name__ == "__main__":
    main()
