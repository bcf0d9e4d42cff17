"""A data set at a glance, before anything is trained on it.

  python -m experiments.describe --data_dir=DIR

Counts P, NP and NF (images and patients) by view, sex, age, follow-up and official split, and the findings that come
with pneumonia; warns where such metadata tell the classes apart; lists what is missing, bad or there twice; shows some
images of each class. Into --out go describe.html (everything on one page), contact_*.png, describe.json, classes.csv,
groups.csv, findings.csv, images_a_patient.csv and duplicates.csv; they replace those of an earlier description, and
other files there stay. 2 s for 1,000 images, 10 s and more (by the disk) for all of NIH, once prepared.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from cxrjax.base.flags import SourceFlags, flag

from . import _cli, _terminal


@dataclasses.dataclass(frozen=True)
class DescribeConfig(SourceFlags):
    """The flags of this program."""

    data_dir: str | None = flag(
        None,
        "NIH folder as downloaded, class folders, a CSV of images, or a store by experiments.prepare; none: the "
        "embedded phantom",
        path=True,
    )
    out: str = flag("runs/describe", "folder for the page and its tables, whose former version is replaced", path=True)
    seed: int = flag(0, "of the draw of the images that are shown", lower=0)
    max_bad: float = flag(
        0.01, "share of images that may be bad and are left out; with more the data are refused", lower=0, upper=1
    )


def main(argv: list[str] | None = None) -> None:
    """Runs from the command line."""
    with _cli.one_line_for_mistakes():
        config = _cli.parse(DescribeConfig(), __doc__ or "", argv)
        from cxrjax.data.load import load
        from cxrjax.runs import describe

        out = Path(config.out)
        # In the data the pictures would be taken for radiographs the next time, or a store's table replaced.
        _cli.refuse_out(out, {"data_dir": config.data_dir})
        store, about = load(config.data_dir, config.max_bad, None, config)
        description = describe.describe(store, about)
        sheets = describe.contact_sheets(store, config.seed)
        describe.write(out, description, sheets)
        _terminal.show(describe.sentence(description, out / "describe.html"))


if __name__ == "__main__":
    main()
