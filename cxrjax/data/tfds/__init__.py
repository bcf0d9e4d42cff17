"""NIH ChestX-ray14 as a TensorFlow Datasets builder; importing this module registers it.

    import cxrjax.data.tfds
    config = tfds.download.DownloadConfig(manual_dir="/data/NIH")  # as downloaded: table, lists, images or archives
    ds = tfds.load("nih_chest_xray14/256px", split="train", download_and_prepare_kwargs={"download_config": config})

Splits are `train` and `test`, the official ones. Where neither list is in the folder there is one split, `unsplit`
(TFDS reserves the name "all": `split="all"` reads every image either way).

With `builder_kwargs={"beam": True}`, or `tfds.builder(..., beam=True)`, Apache Beam makes the same examples: on the
engine that `DownloadConfig(beam_runner=..., beam_options=...)` names, whose workers must see the folder at the same
path and have the extra `beam` installed. On one machine Beam holds all examples in memory; the default streams them.
The records are in the same order, by hash of the name. If they are so many that TFDS cuts them into several files, it
cuts at other places under Beam and mixes files when it reads; `ReadConfig(interleave_cycle_length=1)` does not mix.

An archive is read once for each split. TFDS builds once: where images were added since,
`DownloadConfig(download_mode=tfds.GenerateMode.REUSE_CACHE_IF_EXISTS)` builds anew.
"""

from __future__ import annotations

import dataclasses
import logging
import os
from pathlib import Path
from typing import Any

import numpy as np

from cxrjax.base import InputError, tasks
from cxrjax.base.config import install_command
from cxrjax.data.sources import Source, nih
from cxrjax.data.tfds.examples import SEXES, UNSPLIT, VIEWS, beam_examples, log_bad, plain_examples, restrict

try:
    import tensorflow_datasets as tfds
except ImportError as error:
    raise ImportError(f"cxrjax.data.tfds needs TensorFlow Datasets: `{install_command('tfds')}`") from error


_HOMEPAGE = "https://nihcc.app.box.com/v/ChestXray-NIHCC"
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

    pkg_dir_path = tfds.core.as_path(__file__).parent  # where README.md and CITATIONS.bib lie
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
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(features),
            supervised_keys=("image", "labels"),
            homepage=_HOMEPAGE,
            metadata=tfds.core.MetadataDict(labels=list(nih.FINDINGS)),
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
        source = nih.scan(Path(dl_manager.manual_dir))
        _check(source)
        for bad in source.problems:
            log_bad(bad)
        return {split: self._generate_examples(source, split) for split in _splits(source)}

    def _generate_examples(self, source: Source, split: str) -> Any:
        """Examples of a split: an iterator, or a Beam transform that makes them."""
        size, part = self.builder_config.size, restrict(source, split)
        if self._beam:
            return beam_examples(source.place, split, size, n_archives=len(part.archives))
        return plain_examples(part, split, size)


def _check(source: Source) -> None:
    """Refuses a table whose values have no place in the features, before hours of decoding."""
    table = source.table
    bad = table[~table["patient"].str.fullmatch(r"\d{1,9}")]  # an int32
    if len(bad):
        image, patient = bad.iloc[0][["image", "patient"]]
        raise InputError(f"{source.place}: the patient of {image} must be a number of up to 9 digits, not {patient!r}")
    is_open = table["labels"].map(lambda labels: tasks.state(labels, "any other") is None)
    if is_open.any():
        image, labels = table[is_open].iloc[0][["image", "labels"]]
        raise InputError(f"{source.place}: {image} must have a complete list of findings, got {labels!r}")
    findings = set(table["labels"].map(tasks.present).explode().dropna()) | set(source.boxes["finding"])
    unknown = sorted(findings - {*nih.FINDINGS, "No Finding"})
    if unknown:
        raise InputError(f"{source.place} names findings that ChestX-ray14 has not: {', '.join(map(repr, unknown))}")


def _splits(source: Source) -> list[str]:
    """The official splits that have images, or `UNSPLIT` where neither list is there."""
    if not any(nih.find_file(source.place, name) for name in nih.LISTS):
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
