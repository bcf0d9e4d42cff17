"""Any source of radiographs -> a store that every experiment takes as --data_dir.

  python -m experiments.prepare --source=DIR --out=STORE

DIR is one of: NIH ChestX-ray14 as downloaded, all or part (Data_Entry_2017*.csv with images/, images_0NN/images/ or
images_0NN.tar.gz, which are not unpacked); class folders (NORMAL/, PNEUMONIA/, also above or below train/, val/,
test/); a table of images with paths and labels, or one 0/1 column a finding, or the folder it lies in; a folder of
images without labels; one image. PNG, JPEG, TIFF, BMP, JPEG 2000, WebP and DICOM, whatever their names. Some 160 NIH
images/s on 2 CPU cores. The same command goes on with an interrupted preparation. It ends with a table of what was read
as what; a label that is not understood stops it. STORE then holds images.npy, table.csv, about.json, bad_images.csv
(left out or doubtful), boxes.csv where known, and contact_sheet.png, which shows at a glance whether all is well.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from cxrjax.base import InputError
from cxrjax.base.flags import DryRunFlags, SourceFlags, flag

if TYPE_CHECKING:
    from cxrjax.data.crop import Region
    from cxrjax.data.prepare import Outcome
    from cxrjax.data.sources import Source

from . import _cli, _terminal


@dataclasses.dataclass(frozen=True)
class PrepareConfig(DryRunFlags, SourceFlags):
    """The flags of this program."""

    source: str | None = flag(None, "folder or file with the images; never changed", path=True)
    out: str | None = flag(None, "folder of the store that is made", path=True)
    size: int = flag(
        256,
        "width and height of the prepared images. A network with --image_size=C needs round(C * 256 / 224); AlexNet "
        "needs 256",
        lower=16,
        upper=4096,
    )
    fit: str = flag(
        "stretch",
        "stretch: the whole image, aspect ratio not kept, as in the poster; pad: aspect ratio kept, padded with "
        "black; crop: the central square",
        choices=("stretch", "pad", "crop"),
    )
    filter: str = flag(
        "bilinear", "filter for the reduction: anti-aliased bilinear, or box (area mean)", choices=("bilinear", "box")
    )
    range: str = flag(
        "robust",
        "grey range of images that have more than 8 bits and no window. robust: ignores the few pixels far from the "
        "others, such as markers; full: from the smallest to the largest value",
        choices=("robust", "full"),
    )
    crop: str = flag(
        "none",
        "lungs: first crops each image to the square around its lungs plus 5 %, as outlined by "
        "cxrjax.interpret.lungs. An image without lungs is kept whole, counted and listed. Boxes are then left "
        "out",
        choices=("none", "lungs"),
    )
    max_bad: float = flag(0.01, "largest share of bad images; they are left out and listed", lower=0, upper=1)
    workers: int = flag(0, "decoding threads; 0: one per core", lower=0)
    overwrite: bool = flag(False, "replace a finished store in --out, or an interrupted one with other settings")


def main(argv: list[str] | None = None) -> None:
    """Runs from the command line."""
    with _cli.one_line_for_mistakes("; the same command continues"):
        config = _cli.parse(PrepareConfig(), __doc__ or "", argv)
        if not config.source or not config.out:
            raise InputError("--source and --out must be given (--help lists the flags)")
        from cxrjax.data import load
        from cxrjax.data.decode import Reduction
        from cxrjax.data.prepare import prepare

        source = load.find(Path(config.source), load.naming(config))
        out = Path(config.out)
        reduction = Reduction(config.size, config.fit, config.filter, config.range, config.crop)
        if config.dry_run:
            from cxrjax.runs import forecast

            _cli.show_forecast(forecast.of_preparation(source, out, reduction, config.overwrite))
            return
        outcome = prepare(
            source, out, reduction, config.max_bad, config.workers, config.overwrite, _region(config.crop)
        )
        if outcome is None:
            raise InputError(f"{out} was made by another process meanwhile")
        _terminal.show("\n".join(_account(source, outcome, out)))


def _region(name: str) -> Region | None:
    """What images are cut to; jax is imported for nothing else here."""
    if name == "none":
        return None
    from cxrjax.interpret import lungs

    _cli.start()
    return lungs.REGIONS[name]


def _account(source: Source, outcome: Outcome, out: Path) -> list[str]:
    """Lines about what was read as what, and what became of it."""
    from cxrjax.data import labels

    has_labels = any(source.listed)
    doubts = ", ".join(f"{count} {code}" for code, count in sorted(outcome.doubts.items()))
    doubtful = f"{outcome.doubtful} doubtful{f' ({doubts})' if doubts else ''}"
    return [
        *(labels.lines(source.spellings) if has_labels else []),
        *outcome.notes,
        f"{out}: {outcome.images} images of {source.kind} {source.place}, {outcome.bad} bad, {doubtful}, "
        f"{outcome.passed_over} files passed over (bad_images.csv, contact_sheet.png), {outcome.read} read in "
        f"{outcome.seconds:.0f} s{'' if has_labels else '; no image has a label'}",
    ]


if __name__ == "__main__":
    main()
