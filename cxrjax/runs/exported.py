"""A finished run as files that need neither cxrjax nor Flax: a StableHLO program, and safetensors.

`write` makes them; `trained.load_run` reads them back.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from cxrjax.base import Array, InputError, Variables, __version__, files
from cxrjax.base.config import ExperimentConfig, question
from cxrjax.base.flags import flags_of
from cxrjax.base.numerics import pinned
from cxrjax.base.tasks import Task
from cxrjax.data.decode import Reduction
from cxrjax.models import foreign_files, transfer
from cxrjax.models.model import Preprocessing
from cxrjax.models.pretrained import Weights, WeightsInfo
from cxrjax.report import pages
from cxrjax.runs import run_folder, setup
from cxrjax.storage import checkpoint
from cxrjax.training.losses import Loss

if TYPE_CHECKING:
    from cxrjax.runs.trained import TrainedRun

ABOUT, PROGRAM, TRUNK = "export.json", "network.jax_export", "trunk.safetensors"
PLATFORMS = ("cpu", "cuda", "rocm", "tpu")
_FORMAT = 1  # of export.json; another one is refused
_PACKAGES = ("flatbuffers", "safetensors")  # the extra `export`


def is_export(folder: Path) -> bool:
    """True if the folder holds what `write` wrote; it appears whole or not at all."""
    return (folder / ABOUT).is_file()


@pinned()
def program(net: transfer.Network, loss: Loss) -> jax.export.Exported:
    """The whole network as one program: (trunk, head, images [B, source, source] u8) -> scores [B] f32, 0..1.

    Of many labels [B, K]. Trunk and head are flat dictionaries of arrays, `params/fc6/kernel`. Any B and each of
    `PLATFORMS` will do; the centre crop, equalisation and preprocessing are part of it.
    """

    @pinned()
    def scores(trunk: dict[str, Array], head: dict[str, Array], images: Array) -> jax.Array:
        pixels = net.trunk.prepared(jnp.asarray(images)[:, net.model.middle, net.model.middle])
        variables = transfer.merge(*(traverse_util.unflatten_dict(part, sep="/") for part in (trunk, head)))
        return loss.score(transfer.forward(net.model, variables, pixels).output)

    (batch,), side = jax.export.symbolic_shape("batch"), net.model.source
    shapes = jax.eval_shape(lambda: net.trunk.variables), net.model.variable_shapes(net.start)
    parts = (traverse_util.flatten_dict(part, sep="/") for part in shapes)
    return jax.export.export(jax.jit(scores), platforms=PLATFORMS)(
        *parts, jax.ShapeDtypeStruct((batch, side, side), np.uint8)
    )


def write(run: TrainedRun, out: Path, overwrite: bool = False) -> None:
    """Writes the program, the trunk's and each head's arrays, export.json and a README, all or nothing.

    Raises:
      InputError: if `out` exists (unless `overwrite`, and then if it holds something else), or a package is missing.
    """
    if missing := [name for name in _PACKAGES if importlib.util.find_spec(name) is None]:
        raise InputError(f"an export needs {' and '.join(missing)}: run `pip install {' '.join(missing)}`")
    with checkpoint.replacing(out, overwrite, ABOUT) as folder:
        folder.mkdir()
        made = program(run.net, Loss(run.task.is_multilabel))
        (folder / PROGRAM).write_bytes(made.serialize())
        _save(folder / TRUNK, run.net.trunk.variables)
        for seed in run.seeds:
            _save(folder / head_file(seed), run.head(seed))
        about = _about(run) | {"sha256": {file.name: foreign_files.sha256(file) for file in sorted(folder.iterdir())}}
        files.write_text(folder / "README.md", _readme(run.task, about))
        files.write_json(folder / ABOUT, about)


def head_file(seed: int) -> str:
    """Name of the file of a seed's head."""
    return f"seed_{seed:03}.safetensors"


def _save(file: Path, variables: Variables) -> None:
    import safetensors.numpy

    arrays = traverse_util.flatten_dict(variables, sep="/")
    safetensors.numpy.save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, file)


def _about(run: TrainedRun) -> dict[str, Any]:
    """export.json but for the hashes; of paths it has the last part, so that it tells of no machine."""
    model, task = run.net.model, run.task
    config = dataclasses.asdict(run.config)
    for field in flags_of(run.config):
        if field.metadata.get("path") and config[field.name]:
            config[field.name] = Path(config[field.name]).name
    try:
        weights = json.loads((run.folder / "environment.json").read_text(encoding="utf-8"))["weights"]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{run.folder / 'environment.json'} is damaged, or of another version: {error}") from error
    return {
        "format": _FORMAT,
        "note": "research software, not a medical device",
        "title": task.title,
        "classes": {part.title: _classes(part) for part in task.questions},  # of many labels in the order of the scores
        "seeds": list(run.seeds),
        "threshold": {"fixed": 0.5, "chosen": np.asarray(run.threshold).tolist()},
        "network": model.label,
        "input": {
            "side": model.source,
            "reduction": run.reduction._asdict(),
            "inside": {"crop": model.crop, "clahe": run.net.trunk.clahe, **dataclasses.asdict(model.preprocessing)},
        },
        "dtype": model.dtype,
        "platforms": list(PLATFORMS),
        "versions": {
            "cxrjax": __version__,
            **{n: importlib.metadata.version(n) for n in ("jax", "jaxlib", *_PACKAGES)},
        },
        "weights": weights,
        "config": config,
        "resolved": dataclasses.asdict(run.resolved),
    }


def _readme(task: Task, about: dict[str, Any]) -> str:
    labels = [part.positive.title for part in task.parts]
    shape = f"N, {len(labels)}" if labels else "N"
    return pages.markdown("export.md.jinja", about | _classes(task) | {"labels": labels, "shape": shape})


def _classes(task: Task) -> dict[str, str]:
    return {"positive": task.positive.title, "negative": task.negative.title}


def read(folder: Path) -> dict[str, Any]:
    """What `trained.TrainedRun` needs of an export, by the names of its fields.

    Raises:
      InputError: if a file is missing, damaged, or of another version.
    """
    try:
        about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
        if about["format"] != _FORMAT:
            raise ValueError(f"format must be {_FORMAT}, got {about['format']!r}")
        config, hashes = ExperimentConfig(**about["config"]), dict(about["sha256"])
        resolved, reduction = run_folder.Resolved(**about["resolved"]), Reduction(**about["input"]["reduction"])
        inside, chosen = about["input"]["inside"], about["threshold"]["chosen"]
        preprocessing = Preprocessing(tuple(inside["mean"]), tuple(inside["std"]), inside["range"], inside["channels"])
        seeds = tuple(map(int, about["seeds"]))
        arrays = [hashes[name] for name in (TRUNK, *map(head_file, seeds))]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{folder / ABOUT} is damaged, or of another version: {error}") from error
    trunk = _load(folder / TRUNK, hashes)
    info = WeightsInfo("export", TRUNK, arrays[0], config.model, tuple(trunk.get("params", {})), preprocessing)
    net = setup.build(config, Weights(trunk.get("params", {}), info, trunk.get("batch_stats", {})))
    if config.finding:  # its heads were made ones of two classes before they were written
        net, _ = transfer.of_logit(net, 0)
    head: Callable[[int], Variables] = lambda seed: _load(folder / head_file(seed), hashes)  # noqa: E731
    threshold = np.array(chosen) if question(config).is_multilabel else float(chosen)
    return {
        "config": config, "resolved": resolved, "seeds": seeds, "threshold": threshold, "net": net, "head": head,
        "reduction": reduction,
    }  # fmt: skip


def _load(file: Path, hashes: dict[str, str]) -> Variables:
    """Variables of one file, if it is as it was written."""
    foreign_files.require_hash(file, foreign_files.sha256(file), hashes[file.name])
    return traverse_util.unflatten_dict(foreign_files.load_safetensors(file), sep="/")
