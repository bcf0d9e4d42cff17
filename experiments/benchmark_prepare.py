"""How fast are images decoded and reduced here, beside a plain loop of Pillow on one core?

  python -m experiments.benchmark_prepare --source=NIH

The loop opens each file, converts it to grey and reduces it with the bilinear filter; `experiments.prepare` also checks
checksums, hashes, writes and commits. Both take the same files, in turn, each time. Two minutes on 2 CPU cores.
Expected there with 1024x1024 PNG files of NIH: 1.9 times the loop's images/s, below 200 MB.
"""

from __future__ import annotations

import dataclasses
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from cxrjax.base import InputError
from cxrjax.base.flags import flag

from . import _cli

if TYPE_CHECKING:
    from cxrjax.data.sources import Source


@dataclasses.dataclass(frozen=True)
class BenchmarkConfig:
    """The flags of this program."""

    source: str | None = flag(
        None, "folder as experiments.prepare takes it, with images that are not in archives", path=True
    )
    images: int = flag(350, "images a measurement; where there are fewer, they are used again", lower=1)
    repeats: int = flag(5, "measurements of each, the median of which counts", lower=1)
    workers: int = flag(0, "threads that decode; 0: one a core", lower=0)


def main(argv: list[str] | None = None) -> None:
    """Runs from the command line."""
    with _cli.one_line_for_mistakes():
        config = _cli.parse(BenchmarkConfig(), __doc__ or "", argv)
        if not config.source:
            raise InputError("--source must be given (--help lists the flags)")
        from cxrjax.data.load import find

        files = [file.path for file in find(Path(config.source)).files]
        if not files:
            raise InputError(f"--source={config.source} holds no image file outside archives")
        with _repeated(files, config.images) as source:
            loop, ours = _measure(source, config)
        for name, rates in (("loop of Pillow", loop), ("prepare", ours)):
            print(f"{name:15s} {statistics.median(rates):6.1f} images/s  ({min(rates):.1f} to {max(rates):.1f})")
        ratio = statistics.median(b / a for a, b in zip(loop, ours, strict=True))
        print(f"prepare / loop: {ratio:.2f}, median of {config.repeats} pairs; peak memory {_peak_megabytes():.0f} MB")


@contextmanager
def _repeated(files: list[Path], count: int) -> Iterator[Source]:
    """A folder of links to the files, each as often as need be; read once, so that no measurement waits for a disk."""
    from cxrjax.data.load import find

    with tempfile.TemporaryDirectory() as folder:
        for number in range(count):
            original = files[number % len(files)].resolve()
            original.read_bytes()
            (Path(folder) / f"{number:06d}{original.suffix}").symlink_to(original)
        yield find(Path(folder))


def _measure(source: Source, config: BenchmarkConfig) -> tuple[list[float], list[float]]:
    """Images/s of the loop and of prepare, in turn."""
    from PIL import Image

    from cxrjax.data.decode import Reduction
    from cxrjax.data.prepare import prepare

    loop, ours = [], []
    for _ in range(config.repeats):
        started = time.monotonic()
        for file in source.files:
            with Image.open(file.path) as image:
                image.convert("L").resize((256, 256), Image.Resampling.BILINEAR)
        loop.append(len(source.files) / (time.monotonic() - started))
        with tempfile.TemporaryDirectory() as folder:
            started = time.monotonic()
            prepare(source, Path(folder) / "store", Reduction(), max_bad=0, workers=config.workers)
            ours.append(len(source.files) / (time.monotonic() - started))
    return loop, ours


def _peak_megabytes() -> float:
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
