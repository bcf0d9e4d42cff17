"""Does a deeper network, or a larger image, tell pneumonia better, on the same images?

  python -m experiments.networks --data_dir=NIH_FOLDER --head=linear
  python -m experiments.networks --data_dir=NIH_FOLDER

A row for every network, with its ImageNet weights from --weights_dir (NAME-imagenet, as `python -m weights.convert`
writes them), and for each of --sizes; the same seeds, draws, splits and plan. Differences are from AlexNet's row, seed
by seed. A row whose weights are missing, or whose images are smaller than it asks for, says so and is no failure.

--head=own retrains each network's usual last layers (AlexNet's and VGG16's three dense ones, one layer of the others)
by SGD with momentum 0.9, so that the heads differ, too. --head=linear solves the same logistic regression on each
network's frozen stages: its rows differ in network and size alone.

  default       seeds 3 x epochs 15 x rows 9, each 1 to 30 minutes on 2 CPU cores (VGG16 16); --head=linear 1 to 10
  in full       --seeds=10 --epochs=120 --augment_bank=0, for a GPU

The first line is the estimate for this machine. Into --out go networks.csv, networks.md and networks.png, anew after
every row; the same command continues, and runs in --reuse stand for rows. Results: docs/results/networks.md.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from cxrjax.base import InputError
from cxrjax.base.config import ExperimentConfig
from cxrjax.base.flags import flag
from cxrjax.base.recipes import HEADS

from . import _cli, _rows

if TYPE_CHECKING:
    from cxrjax.runs.sweep import Source

    from ._run_table import RunTable


@dataclasses.dataclass(frozen=True)
class NetworksConfig(_rows.RowsConfig):
    """The flags of this program."""

    weights_dir: str = flag("weights", "folder of converted weights, NAME-imagenet of each network", path=True)
    sizes: str = flag("", "pixels a side that every network sees besides its own, comma-separated: 320,448")
    head: str = flag("own", "what is trained: see above", choices=HEADS)


def main(argv: list[str] | None = None) -> None:
    """Runs from the command line."""
    _rows.main("networks", NetworksConfig(out="runs/networks", seeds=3, epochs=15), __doc__ or "", argv, table)


def table(flags: NetworksConfig, base: ExperimentConfig, source: Source) -> RunTable:
    """A row for each network and size."""
    from cxrjax.models import registry
    from cxrjax.runs.sweep import Row, row_config

    from ._run_table import RunTable

    trained = {"epochs": 1, "augment_bank": 0} if flags.head == "linear" else {"momentum": 0.9}
    rows = []
    for size in (0, *(_cli.counts("sizes", flags.sizes) if flags.sizes else ())):
        for model in map(registry.get, registry.names()):
            name, pixels = f"{model.name}_{size}" if size else model.name, size or model.crop
            changes = {"model": model.name, "weights": f"{flags.weights_dir}/{model.name}-imagenet", "image_size": size}
            config = row_config(base, name, head=flags.head, **trained, **changes)
            rows.append(Row(name, f"{model.label}, {pixels} pixels", config, "", _too_small(config, source)))
    source.open(rows[0].config)
    return RunTable(rows, "depth and resolution", "network", registry.ALEXNET.name, augmented=flags.head == "own")


def _too_small(config: ExperimentConfig, source: Source) -> str:
    """Why no image of the data is as large as the row asks for; "" if they are."""
    from cxrjax.models import registry

    if not config.image_size:
        return ""
    side = registry.get(config.model).resized(config.image_size).source
    try:
        enlarged = source.data(config, side).about.enlarged
    except InputError as error:
        return f"images too small: {error}"
    return f"images too small: {side} pixels a side would be enlargements" if enlarged.get("images") else ""


if __name__ == "__main__":
    main()
