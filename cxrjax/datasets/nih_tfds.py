"""NIH ChestX-ray14 as a TensorFlow Datasets builder; importing this module registers it.

    import cxrjax.datasets.nih_tfds
    config = tfds.download.DownloadConfig(manual_dir="/data/NIH")  # as downloaded: table, lists, images or archives
    ds = tfds.load("nih_chest_xray14/256px", split="train", download_and_prepare_kwargs={"download_config": config})

Splits are `train` and `test`, the official ones. Where neither list is in the folder there is one split, `unsplit`
(TFDS reserves the name "all": `split="all"` reads every image either way).

With `builder_kwargs={"beam": True}`, or `tfds.builder(..., beam=True)`, Apache Beam makes the same examples: on the
engine that `DownloadConfig(beam_runner=..., beam_options=...)` names, whose workers must see the folder at the same
path and have `cxrjax[beam]` installed. On one machine Beam holds all examples in memory; the default streams them.
The records are in the same order, by hash of the name. If they are so many that TFDS cuts them into several files, it
cuts at other places under Beam and mixes files when it reads; `ReadConfig(interleave_cycle_length=1)` does not mix.

An archive is read once for each split. TFDS builds once: where images were added since,
`DownloadConfig(download_mode=tfds.GenerateMode.REUSE_CACHE_IF_EXISTS)` builds anew.
"""

from __future__ import annotations

import dataclasses
import io
import logging
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from PIL import Image

from cxrjax.datasets import nih
from cxrjax.datasets import source as sources
from cxrjax.datasets.decode import decode
from cxrjax.datasets.source import Bad, Entry, Source
from cxrjax.types import InputError, Reduction

try:
    import tensorflow_datasets as tfds
except ImportError as error:
    raise ImportError("cxrjax.datasets.nih_tfds needs TensorFlow Datasets: pip install 'cxrjax[tfds]'") from error

Example: TypeAlias = dict[str, Any]

VIEWS = ("AP", "PA")
SEXES = ("F", "M")
UNKNOWN = -1  # a view, sex or age that the table does not tell; TFDS reads it as "no label"
UNSPLIT = "unsplit"  # the split of a folder without the official lists

_CHUNK = 64  # image files that a Beam worker takes at once
_HOMEPAGE = "https://nihcc.app.box.com/v/ChestXray-NIHCC"
_DESCRIPTION = """
ChestX-ray14 of the NIH Clinical Center: 112,120 frontal chest radiographs of 30,805 patients with 14 findings, mined
from the reports, and 984 boxes that a radiologist drew. The official split keeps each patient on one side.

`labels` holds a 1 for each finding present, in the order of `builder.info.metadata["labels"]`; all 0 is "No Finding".
`boxes` are shares of the image. `age` is in years as the table tells; that of 2017 has typing errors above 120. An
unknown age, view or sex is -1.
"""
_CITATION = """
@inproceedings{wang2017chestxray,
  title = {ChestX-ray8: Hospital-scale Chest X-ray Database and Benchmarks on Weakly-Supervised Classification and
           Localization of Common Thorax Diseases},
  author = {Wang, Xiaosong and Peng, Yifan and Lu, Le and Lu, Zhiyong and Bagheri, Mohammadhadi and Summers, Ronald M.},
  booktitle = {2017 IEEE Conference on Computer Vision and Pattern Recognition (CVPR)},
  pages = {3462--3471},
  year = {2017},
  doi = {10.1109/CVPR.2017.369}
}
"""
_INSTRUCTIONS = f"""
Download from {_HOMEPAGE} into one folder and name it with `DownloadConfig(manual_dir=...)`:
  - Data_Entry_2017_v2020.csv (or Data_Entry_2017.csv),
  - the images: images/*.png, images_0NN/images/*.png or images_0NN.tar.gz, all or some of them,
  - train_val_list.txt and test_list.txt, for the official splits,
  - BBox_List_2017.csv, for the boxes.
"""

log = logging.getLogger(__name__)


@dataclasses.dataclass(eq=False)
class NihConfig(tfds.core.BuilderConfig):
    """Width and height of the images."""

    size: int = 256


class NihChestXray14(tfds.core.GeneratorBasedBuilder):
    """`nih_chest_xray14`: images, findings, boxes and what the table tells of the patient."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First release."}  # noqa: RUF012 - as TFDS declares it
    MANUAL_DOWNLOAD_INSTRUCTIONS = _INSTRUCTIONS
    BUILDER_CONFIGS = [  # noqa: RUF012 - the first is the default
        NihConfig(name="256px", description="Reduced to 256 pixels, anti-aliased bilinear.", size=256),
        NihConfig(name="1024px", description="1024 pixels, as released.", size=1024),
    ]

    def __init__(
        self,
        *,
        beam: bool = False,
        data_dir: str | os.PathLike[str] | None = None,
        config: str | NihConfig | None = None,
        version: str | None = None,
        file_format: str | None = None,
    ) -> None:
        """As every builder of TFDS.

        Args:
          beam: make the examples with Apache Beam.
          data_dir: where TFDS keeps its data sets.
          config: "256px" or "1024px".
          version: of the builder.
          file_format: of the records.
        """
        self._beam = beam
        super().__init__(data_dir=data_dir, config=config, version=version, file_format=file_format)

    def _info(self) -> tfds.core.DatasetInfo:
        size = self.builder_config.size
        box = {"bbox": tfds.features.BBoxFeature(), "finding": tfds.features.ClassLabel(names=nih.FINDINGS)}
        features = {
            "image": tfds.features.Image(shape=(size, size, 1), dtype=np.uint8, encoding_format="png"),
            "name": tfds.features.Text(),
            "labels": tfds.features.Tensor(shape=(len(nih.FINDINGS),), dtype=np.uint8),
            "patient": tfds.features.Scalar(np.int32),
            "view": tfds.features.ClassLabel(names=VIEWS),
            "age": tfds.features.Scalar(np.int32),
            "sex": tfds.features.ClassLabel(names=SEXES),
            "follow_up": tfds.features.Scalar(np.int32),
            "boxes": tfds.features.Sequence(box),
        }
        return tfds.core.DatasetInfo(
            builder=self,
            description=_DESCRIPTION,
            features=tfds.features.FeaturesDict(features),
            supervised_keys=("image", "labels"),
            homepage=_HOMEPAGE,
            citation=_CITATION,
            metadata=tfds.core.MetadataDict(labels=list(nih.FINDINGS)),
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
        source = nih.scan(Path(dl_manager.manual_dir))
        _check(source)
        for bad in source.problems:
            _tell(bad)
        return {split: self._generate_examples(source, split) for split in _splits(source)}

    def _generate_examples(self, source: Source, split: str) -> Any:
        """Examples of a split: an iterator, or a Beam transform that makes them."""
        size, part = self.builder_config.size, _restrict(source, split)
        if self._beam:
            return _transform(source.place, split, size, n_archives=len(part.archives))
        return _stream(part, split, size)


def _check(source: Source) -> None:
    """Refuses a table whose values have no place in the features, before hours of decoding."""
    table = source.table
    bad = table[~table["patient"].str.fullmatch(r"\d{1,9}")]  # an int32
    if len(bad):
        image, patient = bad.iloc[0][["image", "patient"]]
        raise InputError(f"{source.place}: the patient of {image} must be a number of up to 9 digits, not {patient!r}")
    found = set(table["labels"].str.split("|").explode()) | set(source.boxes["finding"])
    unknown = sorted(found - {*nih.FINDINGS, "No Finding"})
    if unknown:
        raise InputError(f"{source.place} names findings that ChestX-ray14 has not: {', '.join(map(repr, unknown))}")


def _splits(source: Source) -> list[str]:
    """The official splits that have images, or `UNSPLIT` where neither list is there."""
    if not any((source.place / name).is_file() for name in nih.LISTS):
        return [UNSPLIT]
    table = source.table
    if not source.archives:  # what an archive holds shows when it is read
        table = table[table["image"].isin({file.name for file in source.files})]
    lists = " or ".join(nih.LISTS)
    unlisted = int((table["split"] == "").sum())
    if unlisted:
        log.warning("%s: %d images are not in %s and go to no split", source.place, unlisted, lists)
    present = set(table["split"])
    splits = [split for split in nih.LISTS.values() if split in present]
    if not splits:
        raise InputError(f"{source.place}: no image is in {lists}; without these files all go to one split")
    for split in sorted(set(nih.LISTS.values()) - present):
        log.warning("%s: no image of the split %s is there; it is left out", source.place, split)
    return splits


def _restrict(source: Source, split: str) -> Source:
    """What of the source belongs to a split."""
    table = source.table if split == UNSPLIT else source.table[source.table["split"] == split]
    names = set(table["image"])
    files = [file for file in source.files if file.name in names]
    archives = source.archives if len(files) < len(names) else []  # whoever has unpacked them may have kept them
    return source._replace(table=table, files=files, archives=archives, patients=[], problems=[], listed={})


def _stream(source: Source, split: str, size: int) -> Iterator[tuple[str, Example]]:
    """Examples of a split, one in memory at a time.

    Raises:
      InputError: at the end, if there was none.
    """
    some = False
    for name, example in _examples(source, size):
        if example is not None:
            some = True
            yield name, example
    if not some:
        raise InputError(
            f"{source.place}: none of the {len(source.table)} images of the split {split} is there and can be decoded"
        )


def _examples(source: Source, size: int) -> Iterator[tuple[str, Example | None]]:
    """Every image that is found, in the order of the source, with its example; None if it cannot be decoded."""
    rows = source.table.set_index("image", drop=False)
    boxes = dict(iter(source.boxes.groupby("image")))
    for item in sources.entries(source, _Fresh()):
        if isinstance(item, Bad):
            _tell(item)
        elif isinstance(item, Entry):
            pixels = _pixels(item, size)
            row = rows.loc[item.image].to_dict()
            yield item.image, None if pixels is None else _example(pixels, row, boxes.get(item.image))


def _tell(bad: Bad) -> None:
    """Logs it; as a warning only what is lost, for a folder may hold a second copy of every image."""
    log.log(logging.WARNING if bad.left_out else logging.INFO, "%s (%s): %s", bad.image, bad.origin, bad.reason)


class _Fresh:
    """Ledger of a build, which always starts anew."""

    def has(self, image: str, stamp: str) -> bool:
        return False

    def ended(self, archive: str, stamp: str) -> set[str] | None:
        return None


def _pixels(entry: Entry, size: int) -> np.ndarray | None:
    try:
        content = entry.content if isinstance(entry.content, bytes) else sources.read(entry.content)
        return decode(content, entry.image, Reduction(size)).pixels
    except InputError as error:
        log.warning("left out: %s %s", entry.origin, error)
        return None


def _example(pixels: np.ndarray, row: dict[Any, Any], boxes: pd.DataFrame | None) -> Example:
    """One example.

    Args:
      pixels: [size, size] u8.
      row: of the table.
      boxes: of this image, `store.BOX_COLUMNS`.
    """
    findings = row["labels"].split("|")
    return {
        "image": _png(pixels),
        "name": row["image"],
        "labels": np.array([finding in findings for finding in nih.FINDINGS], np.uint8),
        "patient": int(row["patient"]),
        "view": row["view"] if row["view"] in VIEWS else UNKNOWN,
        "age": UNKNOWN if pd.isna(row["age"]) else int(row["age"]),
        "sex": row["sex"] if row["sex"] in SEXES else UNKNOWN,
        "follow_up": int(row["followup"]),
        "boxes": [] if boxes is None else [_box(box) for _, box in boxes.iterrows()],
    }


def _png(pixels: np.ndarray) -> bytes:
    """Encoded here, as TFDS would take 0.30 s for 1024 x 1024 pixels: this takes 0.04 s and 17 % more bytes."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG", compress_level=1)
    return stream.getvalue()


def _box(box: pd.Series) -> Example:
    """A box within the image; TFDS refuses one that rounding pushed over its edge."""
    sides = (box["y"], box["x"], box["y"] + box["height"], box["x"] + box["width"])
    return {"bbox": tfds.features.BBox(*(float(np.clip(side, 0, 1)) for side in sides)), "finding": box["finding"]}


def _transform(folder: Path, split: str, size: int, n_archives: int) -> Any:
    """A Beam transform that makes the examples of a split.

    The pipeline holds the folder's name, and a worker lists what is in it: with the table and the files of all 112,120
    images inside, it would have 5 MB, and 34 MB with archives, where Dataflow accepts 20 as JSON.
    """
    try:
        import apache_beam as beam
    except ImportError as error:
        raise ImportError("beam=True needs Apache Beam: pip install 'cxrjax[beam]'") from error
    return (
        beam.Create([str(folder.absolute())])
        | "List" >> beam.FlatMap(_parts, split)
        | "Spread" >> beam.Reshuffle()
        | "Decode" >> beam.FlatMap(_decoded, size)
        # Only archives can hold an image twice, and grouping moves all pixels between workers.
        | "Group" >> (beam.GroupByKey() if n_archives > 1 else beam.Map(_alone))
        | "First" >> beam.FlatMap(_first)
    )


def _parts(folder: str, split: str) -> Iterator[tuple[int, Source]]:
    """Cuts a split into sources of some files or one archive each, numbered in the order of the whole."""
    whole = _restrict(nih.scan(Path(folder)), split)
    chunks = [whole.files[start : start + _CHUNK] for start in range(0, len(whole.files), _CHUNK)]
    for number, files in enumerate(chunks):
        yield number, _part(whole._replace(files=files, archives=[]), {file.name for file in files})
    in_archives = set(whole.table["image"]) - {file.name for file in whole.files}
    for number, archive in enumerate(whole.archives, len(chunks)):
        yield number, _part(whole._replace(files=[], archives=[archive]), in_archives)


def _part(source: Source, names: set[str]) -> Source:
    table, boxes = (table[table["image"].isin(names)] for table in (source.table, source.boxes))
    return source._replace(table=table, boxes=boxes)


Found: TypeAlias = tuple[int, Example | None]  # number of the part, example


def _decoded(numbered: tuple[int, Source], size: int) -> Iterator[tuple[str, Found]]:
    number, part = numbered
    for name, example in _examples(part, size):
        yield name, (number, example)


def _alone(named: tuple[str, Found]) -> tuple[str, list[Found]]:
    name, found = named
    return name, [found]


def _first(named: tuple[str, Iterable[Found]]) -> Iterator[tuple[str, Example]]:
    """Of images of one name that of the first part, as without Beam; none if that one cannot be decoded."""
    name, found = named
    _, example = min(found, key=lambda numbered: numbered[0])
    if example is not None:
        yield name, example
