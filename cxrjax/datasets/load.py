"""`--data_dir` to an ImageStore: told apart, prepared into the cache once, opened."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from cxrjax.datasets import decode, folder, nih
from cxrjax.store import is_store, label_counts, open_store, read_about, write_store
from cxrjax.types import About, ImageStore, InputError

log = logging.getLogger(__name__)


def cache_dir() -> Path:
    """Where prepared stores are kept: CXRJAX_CACHE, else ~/.cache/cxrjax."""
    return Path(os.environ.get("CXRJAX_CACHE") or Path.home() / ".cache" / "cxrjax")


def load(data_dir: str | None, skip_bad_images: bool = False) -> tuple[ImageStore, About]:
    """Opens a data set; a raw one is reduced to 256x256 into the cache first, and found there the next time.

    Args:
      data_dir: NIH folder, folder of class folders or prepared store; None is the embedded phantom.
      skip_bad_images: leave out images that cannot be read instead of refusing the data.

    Raises:
      InputError: if the folder is missing or of no known kind, or an image is bad.
    """
    if data_dir is None:
        return _load_phantom()
    source = Path(data_dir)
    if not source.is_dir():
        raise InputError(f"--data_dir={data_dir} is not a folder")
    if is_store(source):
        return open_store(source), read_about(source)
    if nih.find_table(source):
        table, paths, listed = nih.scan(source)
    elif folder.class_folders(source):
        table, paths, listed = folder.scan(source)
    else:
        raise InputError(
            f"--data_dir={data_dir} holds neither Data_Entry_2017*.csv (NIH) nor folders named "
            f"{' and '.join(folder.CLASSES)} nor a prepared store"
        )
    prepared = cache_dir() / "stores" / f"{source.resolve().name}-{_fingerprint(table, paths, skip_bad_images)}"
    if not is_store(prepared):
        log.info("reducing %d images of %s to 256x256 into %s", len(paths), source, prepared)
        _prepare(prepared, table, paths, About(str(data_dir), listed, {}), skip_bad_images)
    return open_store(prepared), read_about(prepared)


def _fingerprint(table: pd.DataFrame, paths: list[Path], skip_bad_images: bool) -> str:
    """Changes with any row of the table and with any image's place, size or time."""
    digest = hashlib.sha256(f"{skip_bad_images}\n{table.to_csv()}".encode())
    for path in paths:
        stat = path.stat()
        digest.update(f"{path.resolve()} {stat.st_size} {stat.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:16]


def _prepare(prepared: Path, table: pd.DataFrame, paths: list[Path], about: About, skip_bad_images: bool) -> None:
    bad = about.bad_images

    def images() -> Iterator[np.ndarray | None]:
        for name, image in zip(table["image"], decode.read_images(paths), strict=True):
            if isinstance(image, np.ndarray):
                yield image
            elif skip_bad_images:
                bad[name] = str(image)
                yield None
            else:
                raise InputError(f"{image} (--skip_bad_images leaves such images out)") from image

    write_store(prepared, table, images(), about)


def _load_phantom() -> tuple[ImageStore, About]:
    from cxrjax.datasets import phantom

    made = phantom.phantom()
    return ImageStore(made.images, made.table), About("phantom", label_counts(made.table), {})
