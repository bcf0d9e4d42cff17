"""Trees of arrays as Orbax checkpoints on disk; the only module that imports Orbax.

Orbax takes over two seconds to import, so that happens when a checkpoint is written, or read that is compressed.

Arrays lie on disk as they are in memory: random weights become 8 % smaller by Zstandard, and take three times as long
to read. 218 MB, the head of a seed: 0.68 s of processor time to write and 0.27 to read by Orbax, compressed 0.91 and
0.70; mapped they are not read but where they are used.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

from cxrjax.base import InputError, faults

log = logging.getLogger(__name__)

_DICT = 2  # Orbax's key type


def save_tree(folder: str | Path, tree: Any, overwrite: bool = False) -> None:
    """Writes a tree of arrays; the folder appears complete or not at all.

    Args:
      folder: to be made; its parents are made too.
      tree: dicts, lists, tuples and NamedTuples of JAX or NumPy arrays and scalars of any numeric dtype, none
        of length 0. Of typed PRNG keys, save `jax.random.key_data(key)`.
      overwrite: replaces the folder if there is one.

    Raises:
      InputError: if the folder exists and `overwrite` is False.
      OSError: naming the folder, also for what TensorStore could not write.
      ValueError: if an array is empty, which Orbax cannot store.
    """
    with replacing(folder, overwrite) as temporary:
        write(temporary, tree)


def load_tree(folder: str | Path, like: Any = None) -> Any:
    """Reads what `save_tree` wrote: the same values, shapes and dtypes, as NumPy arrays on this host.

    Nested dicts are mapped: their arrays are read-only, and lie in the files.

    Args:
      folder: of the checkpoint.
      like: a tree of the structure that was saved, of anything with a `.shape`; the result has its containers
        (NamedTuples) back. Without it NamedTuples return as dicts, tuples as lists, and empty ones as None.

    Raises:
      InputError: if the folder is missing, is no checkpoint or is damaged, or `like` has another structure or
        shape.
    """
    path = Path(folder).resolve()
    if not (path / "_METADATA").is_file():
        raise InputError(f"{folder}: must be a folder with an Orbax checkpoint, and there is none")
    try:
        result = _mapped(path) if like is None else None
        if result is None:
            result = _restored(path, like)
    except (OSError, ValueError, KeyError, TypeError) as error:
        first_line = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise InputError(f"{folder}: cannot be read: {first_line}") from error
    if like is not None:
        wanted = jax.tree_util.tree_leaves_with_path(like)
        for (path_in_tree, want), got in zip(wanted, jax.tree.leaves(result), strict=True):
            if np.shape(got) != np.shape(want):
                name = jax.tree_util.keystr(path_in_tree)
                raise InputError(f"{folder}: {name} must have shape {np.shape(want)}, got {np.shape(got)}")
    return result


def _mapped(path: Path) -> dict[str, Any] | None:
    """Nested dicts of arrays that lie in the files as in memory, Zarr 2 of one chunk; None of any other checkpoint."""
    tree: dict[str, Any] = {}
    for entry in json.loads((path / "_METADATA").read_text(encoding="utf-8"))["tree_metadata"].values():
        *parents, leaf = (key["key"] for key in entry["key_metadata"])
        description = path / ".".join([*parents, leaf]) / ".zarray"
        is_dicts = all(key["key_type"] == _DICT for key in entry["key_metadata"])
        if not is_dicts or entry["value_metadata"]["value_type"] != "np.ndarray" or not description.is_file():
            return None
        array = json.loads(description.read_text(encoding="utf-8"))
        shape = tuple(array["shape"])
        if array["compressor"] or array["filters"] or array["order"] != "C" or tuple(array["chunks"]) != shape:
            return None
        branch = tree
        for name in parents:
            branch = branch.setdefault(name, {})
        file = description.with_name(".".join("0" * len(shape)) or "0")
        branch[leaf] = np.asarray(np.memmap(file, np.dtype(array["dtype"]), "r")).reshape(shape)
    return tree


def _restored(path: Path, like: Any) -> Any:
    """Any checkpoint, by Orbax."""
    import orbax.checkpoint as ocp

    with _quiet(), _checkpointer() as checkpointer:
        metadata = checkpointer.metadata(path).item_metadata  # None where Orbax cannot read it
        if metadata is None:
            raise ValueError("the metadata or the data are damaged")
        tree = metadata.tree if like is None else like
        # Without a type Orbax restores the devices of the machine that saved, and warns.
        arguments = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), tree)
        return checkpointer.restore(path, ocp.args.PyTreeRestore(item=like, restore_args=arguments))


class Series:
    """Checkpoints of one training, by step, each whole or absent; the last two are kept.

    In the background writing goes on while training continues, which helps where training is an accelerator's work.
    """

    def __init__(self, folder: str | Path, background: bool = False, clean: bool = True) -> None:
        """Opens the folder, making it if need be; `clean` removes what a killed process left half-written."""
        import orbax.checkpoint as ocp

        options = ocp.CheckpointManagerOptions(
            max_to_keep=2,
            enable_async_checkpointing=background,
            cleanup_tmp_directories=clean,
            create=False,
            multiprocessing_options=_alone(),
        )
        self._folder = Path(folder).resolve()
        self._folder.mkdir(parents=True, exist_ok=True)
        with _quiet():
            self._manager = ocp.CheckpointManager(self._folder, options=options)

    def save(self, step: int, tree: Any) -> None:
        """Writes a tree of NumPy arrays, none of them empty."""
        import orbax.checkpoint as ocp

        with _quiet(), faults.naming(self._folder):
            self._manager.save(step, args=ocp.args.PyTreeSave(tree))

    def latest(self) -> Any:
        """The tree of the last step that can be read, in NumPy; None if there is none."""
        for step in sorted(self._manager.all_steps(), reverse=True):
            try:
                return load_tree(self._folder / str(step) / "default")
            except InputError as error:
                log.warning("left out: %s", error)
        return None

    def close(self) -> None:
        """Waits for what is being written."""
        with _quiet(), faults.naming(self._folder):
            self._manager.close()


def _checkpointer() -> Any:
    import orbax.checkpoint as ocp

    options = _alone()
    handler = ocp.PyTreeCheckpointHandler(use_ocdbt=False, use_compression=False, multiprocessing_options=options)
    return ocp.Checkpointer(handler, multiprocessing_options=options)


def _alone() -> Any:
    """Orbax without barriers: of several processes, the one that calls acts for itself."""
    import orbax.checkpoint as ocp

    if jax.process_count() == 1:
        return ocp.options.MultiprocessingOptions()
    index = jax.process_index()
    return ocp.options.MultiprocessingOptions(
        primary_host=index, active_processes={index}, barrier_sync_key_prefix=f"process{index}"
    )


def digest(tree: Any) -> str:
    """SHA-256 of a tree's names, types, shapes and bytes (little endian), in hex."""
    total = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        array = np.asarray(leaf)
        total.update(f"{jax.tree_util.keystr(path)} {array.dtype} {array.shape}\n".encode())
        total.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return total.hexdigest()


def write(path: Path, tree: Any) -> None:
    """Writes a tree of arrays to a path that does not exist yet."""
    # Orbax knows arrays, not NumPy's scalars; on this host it stores no sharding.
    arrays = jax.tree.map(np.asarray, jax.device_get(tree))
    with faults.naming(path), _quiet(), _checkpointer() as checkpointer:
        checkpointer.save(path.resolve(), arrays)


@contextlib.contextmanager
def replacing(folder: str | Path, overwrite: bool, marker: str = "_METADATA") -> Iterator[Path]:
    """Yields a path that does not exist yet; what is written there becomes `folder` if nothing was raised.

    A folder without `marker` is not replaced: it may be somebody's work under a mistyped name.
    """
    path = Path(folder).resolve()
    if path.exists() and not overwrite:
        raise InputError(f"{folder}: exists already; remove it, or ask to overwrite it")
    if path.exists() and not (path / marker).exists():
        raise InputError(f"{folder}: only a folder of the same kind is overwritten, and this is something else")
    # A sibling, because a rename works within one file system only. It also holds what Orbax leaves when it fails.
    temporary = path.with_name(f".{path.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)  # of a run that was killed
    try:
        with faults.naming(path):
            temporary.mkdir(parents=True)
            yield temporary / "new"
            if path.exists():
                path.rename(temporary / "old")
            (temporary / "new").rename(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Holds back what Orbax logs through absl: ten lines a checkpoint, and warnings of what we raise anyway."""
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
