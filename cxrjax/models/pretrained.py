"""Pretrained weights: what they are, from a state dict, matched with a network, saved and loaded.

Ours are float32 NumPy, convolutions HWIO, dense kernels [in, out]. Where a dense stage reads a flattened map (row by
row, channels last), kernels from channels-first networks have their rows permuted. From files: `convert`.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from flax import traverse_util

from cxrjax.base import InputError, Params, Variables
from cxrjax.base.config import program
from cxrjax.models import foreign_files, registry, sources
from cxrjax.models.foreign_files import refuse_misfits
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
    trained_on: tuple[str, ...] = ("ImageNet",)  # data sets, see `sources.IMAGES_OF`

    @property
    def licence(self) -> str:
        """Of the weights, by whoever made them."""
        return sources.SOURCES[self.source].licence if self.source in sources.SOURCES else ""

    def has_seen(self, images: str) -> bool:
        """Whether the weights were trained on images of that data set, under whatever name."""
        return any(sources.IMAGES_OF.get(name) == images for name in self.trained_on)


class NoWeights(InputError):
    """There is no such folder of weights."""


def collections(params: Params, batch_stats: Params) -> Variables:
    """Flax collections of both; without BatchNorm of the parameters alone, as they are hashed and saved."""
    return {"params": params, **({"batch_stats": batch_stats} if batch_stats else {})}


class Weights(NamedTuple):
    """Pretrained variables and what they are; they hold only the stages that are present."""

    params: Params
    info: WeightsInfo
    batch_stats: Params = {}  # noqa: RUF012 - never written to; running statistics, where there is BatchNorm

    @property
    def variables(self) -> Variables:
        """Both collections; of networks without BatchNorm the parameters alone."""
        return collections(self.params, self.batch_stats)

    @property
    def model(self) -> Model:
        """The network that they are for, with the preprocessing that they expect."""
        return dataclasses.replace(registry.get(self.info.model), preprocessing=self.info.preprocessing)


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
    try:
        return foreign_files.convert(file, _newer(state, model), state_names(model), model, "OIHW")
    except InputError:
        others = [registry.get(name) for name in registry.names() if name != model.name]
        fitting = [m.name for m in others if foreign_files.fits(_newer(state, m), state_names(m), m)]
        if not fitting:
            raise
        raise InputError(f"{file}: is not of model {model.name}, but fits {' or '.join(fitting)}") from None


def _newer(state: Mapping[str, np.ndarray], model: Model) -> dict[str, np.ndarray]:
    return {model.newer_name(name): array for name, array in state.items()}


def state_names(model: Model) -> dict[tuple[str, ...], str]:
    """What a PyTorch state dict calls each of a network's arrays, (collection, stage, ..., leaf) -> its name."""
    paths = traverse_util.flatten_dict(model.variable_shapes())
    return {path: f"{model.foreign_name('.'.join(path[1:-1]))}.{_STATE_NAMES[path[-1]]}" for path in paths}


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
    if folder.is_file():
        raise InputError(
            f"{folder}: must be a folder of weights, got a file; `{program('convert_weights')} --file={folder}`, with "
            "--model and --source, makes one of it"
        )
    if not folder.is_dir():
        model = folder.name.removesuffix("-imagenet")
        network = f" --model={model}" if model in sources.models() else ""
        raise NoWeights(
            f"{folder}: no such folder of weights; `{program('convert_weights')}{network} --out={folder}` makes it"
        )
    info = read_info(folder / INFO_FILE)
    params = checkpoint.load_tree(folder / PARAMS_FOLDER)
    if not isinstance(params, dict) or sorted(params) != sorted(info.layers):
        raise InputError(
            f"{folder}: {INFO_FILE} must name the layers that are there, got {', '.join(info.layers)} "
            f"where the checkpoint holds {', '.join(params)}"
        )
    statistics = folder / STATISTICS_FOLDER
    batch_stats = checkpoint.load_tree(statistics) if statistics.is_dir() else {}
    return Weights({layer: params[layer] for layer in info.layers}, info, batch_stats)


def read_info(file: Path) -> WeightsInfo:
    """What weights are, from their `weights.json`.

    Raises:
      InputError: if it is missing or damaged.
    """
    try:
        fields = json.loads(file.read_text(encoding="utf-8"))
        fields["layers"] = tuple(fields["layers"])
        # Once there was nothing else. A name that nothing knows would pass for images that no run has.
        fields["trained_on"] = sources.data_sets(",".join(fields.get("trained_on", ["ImageNet"])))
        if not fields["trained_on"]:
            raise ValueError("trained_on must name a data set")
        pixels = fields["preprocessing"]
        pixels |= {"mean": tuple(pixels["mean"]), "std": tuple(pixels["std"])}
        if "variant" in fields:  # as written before networks had names
            variant = fields.pop("variant")
            fields["model"] = {"torchvision": "alexnet", "caffe": "alexnet-caffe"}.get(variant, variant)
        registry.get(fields["model"])
        return WeightsInfo(**{**fields, "preprocessing": Preprocessing(**pixels)})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{file}: must describe the weights beside it: {error}") from error
