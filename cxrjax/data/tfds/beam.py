"""Examples of NIH ChestX-ray14 by Apache Beam, for engines of many machines; imported when used."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

from cxrjax.data.sources import nih
from cxrjax.data.sources.base import Source
from cxrjax.data.tfds.examples import Example, examples, restrict

CHUNK = 64  # image files that a worker takes at once


def transform(folder: Path, split: str, size: int, n_archives: int) -> Any:
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
    whole = restrict(nih.scan(Path(folder)), split)
    chunks = [whole.files[start : start + CHUNK] for start in range(0, len(whole.files), CHUNK)]
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
    for name, example in examples(part, size):
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
