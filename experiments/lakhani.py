"""How well do AlexNet and GoogLeNet tell tuberculosis, untrained and pretrained, with more augmentation, and together?

  python -m experiments.lakhani --data_dir=FOLDER                      Shenzhen, Montgomery or both, as released
  python -m experiments.lakhani --data_dir=KERMANY --task=p_vs_nf      children: pneumonia against normal

Lakhani & Sundaram (2017, Radiology 284:574) report an AUROC of 0.99 for their best ensemble (abstract), with 1,007
films of four sets, 150 of them held out. Two of the sets can be had. A row for each network, AlexNet and GoogLeNet
(here torchvision's, with BatchNorm), from random weights (untrained) and from ImageNet's (pretrained, in --weights_dir,
NAME-imagenet), without and with more augmentation (_more: turned by any angle, they by right angles; CLAHE). All
layers are trained, by --recipe=lakhani: SGD 0.001, momentum 0.9, the rate divided by 10 after each third of the steps.
A row whose weights are missing says so and is no failure.

All seeds hold the same --test share of each class out. Of the best two rows of both networks the weighted mean of their
probabilities is their ensemble, its weights chosen on validation images; DeLong's test compares the two. Beside stands
the floor "which hospital is it": each set has its own share of tuberculosis and its own scanner.

  default       seeds 1 x epochs 12 x rows 8: AlexNet 5, GoogLeNet 10 to 20 minutes a row, 2 CPU cores, 1,000 films
  in full       --seeds=10 --epochs=120, for a GPU

The first line is the estimate for this machine. Into --out go lakhani.csv, lakhani.md and lakhani.png, anew after every
row; the same command continues, and runs in --reuse stand for rows. Results: docs/results/lakhani.md.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from cxrjax.base.config import ExperimentConfig
from cxrjax.base.flags import flag
from cxrjax.base.recipes import RECIPES

from . import _rows

if TYPE_CHECKING:
    from cxrjax.runs.sweep import Source

    from ._lakhani import LakhaniTable

MORE = {"rotation": 180.0, "clahe": True}


@dataclasses.dataclass(frozen=True)
class LakhaniConfig(_rows.RowsConfig):
    """The flags of this program."""

    weights_dir: str = flag("weights", "folder of converted weights, NAME-imagenet of each network", path=True)
    test: str = flag("0.15", "images that every row holds out, as experiments.train takes it", path=True)


def main(argv: list[str] | None = None) -> None:
    """Runs from the command line."""
    defaults = LakhaniConfig(task="tuberculosis", out="runs/lakhani", seeds=1, epochs=12, augment_bank=0)
    _rows.main("lakhani", defaults, __doc__ or "", argv, table)


def table(flags: LakhaniConfig, base: ExperimentConfig, source: Source) -> LakhaniTable:
    """Two networks, untrained and pretrained, without and with more augmentation."""
    from cxrjax.models import registry
    from cxrjax.runs.sweep import Row, row_config

    from ._lakhani import LakhaniTable

    rows = []
    for model in (registry.ALEXNET, registry.GOOGLENET):
        changes = {"model": model.name, "recipe": "lakhani", "retrain_from": "all", **RECIPES["lakhani"]}
        changes["batch_norm"] = "frozen" if model is registry.ALEXNET else "train"  # AlexNet has none
        for start, weights in (("untrained", "random"), ("pretrained", f"{flags.weights_dir}/{model.name}-imagenet")):
            for end, label, more in (("", "", {}), ("_more", ", more augmentation", MORE)):
                name = f"{model.name}_{start}{end}"
                config = row_config(base, name, weights=weights, **(changes | more))
                rows.append(Row(name, f"{model.label}, {start}{label}", config))
    source.open(rows[0].config)
    title = "two networks and their ensemble (Lakhani & Sundaram 2017)"
    return LakhaniTable(rows, title, "network", rows[0].name, published=False)


if __name__ == "__main__":
    main()
