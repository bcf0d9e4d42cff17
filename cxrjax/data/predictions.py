"""Scores of any model, from a table by image name; and what a data set's own table says of images, there or not."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from cxrjax.base import InputError
from cxrjax.base.flags import SourceFlags
from cxrjax.base.tasks import Task
from cxrjax.data import attributes, relabel
from cxrjax.data.load import find, naming
from cxrjax.data.phrases import Vocabulary
from cxrjax.data.sources import delimited, stem, table
from cxrjax.storage.store import is_store, open_store, patient_ids

log = logging.getLogger(__name__)

_WORDS = {"prob", "probability", "probabilities", "score", "pred", "prediction", "predicted", "logit", "p"}
_NAMED = 3  # images that a line names


def read(path: Path, parts: Sequence[Task], logits: bool = False) -> pd.DataFrame:
    """Scores by image: a row an image, index its name, a column for each task's positive finding, 0..1 f64.

    Columns are read by the vocabulary of labels, with or without a word such as prob or score beside the finding; of a
    single question a column may be called by such a word alone. What was read as what is logged.

    Args:
      path: of a CSV, gzip or not, with a column of images (Image Index, image, path, ...).
      parts: binary tasks that are asked.
      logits: the cells are log odds.

    Raises:
      InputError: no column of images or scores, two of one finding, an image twice, or a cell that is no score.
    """
    raw = delimited.read(path)
    chosen = table.find_columns(path, list(raw.columns), {})
    table.require_path(path, raw, chosen)
    columns = _columns(path, [name for name in raw.columns if name and name != chosen["path"]], parts)
    scores = pd.DataFrame({finding: _cells(path, name, raw[name], logits) for finding, name in columns.items()})
    scores.index = pd.Index([PurePosixPath(name.replace("\\", "/")).name for name in raw[chosen["path"]]], name="image")
    if scores.index.has_duplicates or scores.index.map(stem).has_duplicates:
        twice = scores.index[scores.index.map(stem).duplicated()][0]
        raise InputError(f"{path}: an image must have one row, {twice!r} has several")
    unread = [name for name in raw.columns if name and name not in {chosen["path"], *columns.values()}]
    told = ", ".join(f"{finding} from {name!r}" for finding, name in columns.items())
    log.info("%s: image from %r, %s; not read: %s", path, chosen["path"], told, ", ".join(unread) or "none")
    if missing := [task.positive.finding for task in parts if task.positive.finding not in columns]:
        log.warning("%s has no scores of %s", path, ", ".join(missing))
    return scores


def _columns(path: Path, names: list[str], parts: Sequence[Task]) -> dict[str, str]:
    """Finding of each task that has a column -> the column."""
    vocabulary, columns = Vocabulary(), dict[str, str]()
    wanted = [task.positive.finding for task in parts]
    for name in names:
        finding = _finding(name, vocabulary) or (wanted[0] if len(wanted) == 1 and name.lower() in _WORDS else None)
        if finding not in wanted:
            continue
        if finding in columns:
            raise InputError(f"{path} has several columns of {finding}: {columns[finding]!r} and {name!r}")
        columns[finding] = name
    if not columns:
        raise InputError(f"{path} has no column of scores of {' or '.join(wanted)}; it has {', '.join(names)}")
    return {finding: columns[finding] for finding in wanted if finding in columns}


def _finding(name: str, vocabulary: Vocabulary) -> str | None:
    """The finding that a column names, beside a word for scores or not."""
    words = [word for word in re.split(r"[\s_]+", name) if word.lower() not in _WORDS]
    return vocabulary.finding(name) or vocabulary.finding(" ".join(words))


def _cells(path: Path, name: str, cells: pd.Series, logits: bool) -> np.ndarray:
    values = pd.to_numeric(cells, errors="coerce")
    wrong = ~np.isfinite(values) if logits else ~values.between(0, 1)
    if wrong.any():
        rule = "finite log odds" if logits else "scores from 0 to 1 (--logits: log odds)"
        line, cell = cells.index[wrong][0], cells[wrong].iloc[0]
        raise InputError(f"{path}, line {line}: column {name!r} must hold {rule}, got {cell!r}")
    numbers = values.to_numpy(float)
    return np.asarray(1 / (1 + np.exp(-numbers)) if logits else numbers)


def listed(data_dir: str, flags: SourceFlags, labels: str | None = None) -> pd.DataFrame:
    """A row for each image that a source lists, on disk or not: `store.COLUMNS`; no image is decoded.

    Args:
      data_dir: of the source.
      flags: how its words are read.
      labels: table of other labels, see `relabel.replace`; None: the source's own.

    Raises:
      InputError: see `load.find`, `store.open_store` and `relabel.replace`.
    """
    rows = _listed(data_dir, flags)
    if not labels:
        return rows
    return rows.assign(labels=relabel.changed_labels(rows, Path(labels), naming(flags).vocabulary, "evaluation")[0])


def _listed(data_dir: str, flags: SourceFlags) -> pd.DataFrame:
    if is_store(Path(data_dir)):
        rows = open_store(data_dir).table
        return rows.assign(patient=patient_ids(rows))
    source = find(Path(data_dir), naming(flags))
    for note in source.notes:
        log.info("%s", note)
    rows = source.table.copy()
    by_name = {"sex": attributes.read_sex, "view": attributes.read_view}
    for column, reader in by_name.items():
        rows[column] = rows[column].map(reader(rows[column], source.meanings.get(column, {})))
    if source.patients:
        rows["patient"] = [
            by_rule or patient for by_rule, patient in zip(source.patients, rows["patient"], strict=True)
        ]
    return rows.assign(patient=patient_ids(rows))


def joined(scores: pd.DataFrame, rows: pd.DataFrame, place: str) -> pd.DataFrame:
    """Rows of the images that are scored and listed, with their scores; how many were scored, matched, unmatched is
    logged. Names fit whatever their folder, case and suffix.

    Args:
      scores: see `read`.
      rows: see `listed`.
      place: of the scores, for messages.

    Raises:
      InputError: no image is in both, or two listed images have one name.
    """
    keys = rows["image"].map(lambda name: stem(PurePosixPath(name).name))
    both = rows.assign(key=keys)[keys.isin(scores.index.map(stem))]
    if both["key"].duplicated().any():
        raise InputError(f"{place}: several listed images fit {both['image'][both['key'].duplicated()].iloc[0]!r}")
    if both.empty:
        raise InputError(
            f"{place} fits no image of the data: the table has {scores.index[0]!r}, the data {rows['image'].iloc[0]!r}"
        )
    unmatched = scores.index[~scores.index.map(stem).isin(both["key"])]
    some = f" ({', '.join(unmatched[:_NAMED])}, ...)" if len(unmatched) else ""
    log.info(
        "%s: %d rows scored, %d matched, %d unmatched%s; %d listed images without a score",
        place, len(scores), len(both), len(unmatched), some, len(rows) - len(both),
    )  # fmt: skip
    of_images = scores.set_axis(scores.index.map(stem))
    return both.join(of_images.rename(columns=lambda name: f"score {name}"), on="key").drop(columns="key")
