"""Files of published weights -> `Weights`: any source, strictly, without running code from a file.

See `foreign_files`, `torch_files`. The command line is `python -m weights.convert`.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Collection
from pathlib import Path

from cxrjax.base import InputError, Params, Variables
from cxrjax.models import foreign_files, numpy_pickle, pretrained, registry, sources, torch_files
from cxrjax.models.model import Model
from cxrjax.models.pretrained import Weights, WeightsInfo
from cxrjax.models.sources import File


def read(
    source: str,
    file: str | Path,
    sha256: str | None = None,
    *,
    model: str | None = None,
    trained_on: Collection[str] = (),
) -> Weights:
    """Reads a file of published weights with a record of what it was.

    Args:
      source: who made the file, see `sources.SOURCES`.
      file: a Flax pickle, of which the published one alone is opened; a state dict, `.pth` or `.safetensors`; or see
        `read_caffe`. One that is named as the published file must have its SHA-256.
      sha256: hexadecimal; if given, another file is refused. Required for a pickled .npy.
      model: name of the network; None: the source's first.
      trained_on: data sets, see `sources.IMAGES_OF`; (): what the source was trained on.

    Raises:
      InputError: naming the file and what is wrong with it, or if nothing says what it was trained on.
    """
    origin = sources.find(source)
    network = registry.get(origin.network(model))
    trained_on = tuple(trained_on) or origin.trained_on
    if not trained_on:
        raise InputError(
            f"{source}: trained_on must name the data sets that {file} was trained on, which no file of it says: some "
            f"of {', '.join(sources.IMAGES_OF)}"
        )
    digest = foreign_files.sha256(file)
    if sha256:
        foreign_files.require_hash(file, digest, sha256)
    published = origin.files[network.name]
    if published and (origin.layout == "flax" or Path(file).name == Path(published.path).name):
        foreign_files.require_hash(file, digest[: len(published.sha256)], published.sha256)
    if origin.layout == "caffe":
        variables: Variables = {"params": read_caffe(file, sha256)}
    elif published and origin.layout == "flax":
        variables = {"params": _read_flax(file, published, network)}
    else:
        variables = read_state_dict(file, network)
    params = variables["params"]
    info = WeightsInfo(source, Path(file).name, digest, network.name, tuple(params), network.preprocessing, trained_on)
    return Weights(params, info, variables.get("batch_stats", {}))


def _read_flax(file: str | Path, published: File, model: Model) -> Params:
    """The convolutions of a network, in its order, from Flax's params, a pickle that is opened if its hash is right."""
    data = foreign_files.read_bytes(file)
    foreign_files.require_hash(file, hashlib.sha256(data).hexdigest(), published.sha256)
    modules = numpy_pickle.unpickle(file, io.BytesIO(data))[published.part]
    arrays = {f"{module}.{kind}": array for module, kinds in modules.items() for kind, array in kinds.items()}
    stages = [stage for stage in model.stages if stage not in model.dense]
    names = {("params", s, kind): f"Conv_{i}.{kind}" for i, s in enumerate(stages) for kind in ("kernel", "bias")}
    return foreign_files.convert(file, arrays, names, model, "HWIO")["params"]


def read_state_dict(file: str | Path, model: Model | None = None) -> Variables:
    """All stages from a PyTorch state dict, `.pth` (read without PyTorch) or `.safetensors`.

    Args:
      file: the last stage may have any number of classes.
      model: the network; None: AlexNet.

    Raises:
      InputError: if the file cannot be read, or naming what is missing, unknown or mis-shaped.
    """
    load = foreign_files.load_safetensors if Path(file).suffix == ".safetensors" else torch_files.load_torch
    return pretrained.from_state_dict(load(file), model, file)


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
    caffe_layout = conv1 is not None and conv1.shape == foreign_files.file_shape(ours, "OIHW")
    return foreign_files.convert(file, arrays, names, model, "OIHW" if caffe_layout else "HWIO")["params"]
