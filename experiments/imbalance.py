"""Which remedy for imbalance helps, and what would the poster have gained by not undersampling?

  python -m experiments.imbalance --data_dir=NIH_FOLDER

Buda, Maki & Mazurowski (2018, Neural Networks 106:249) compare a baseline with seven remedies at equal numbers of
updates. Here on P vs NP, with every NP image (3.2 for each P in nih-2k), and with training's positives thinned until
there are 5, 10 and 20 (--ratios). Validation images, the same in all rows of a seed, keep the images' own ratio.

  baseline         training images as they are
  over, under      training's rarer class repeated, its commoner one thinned, until both are equally many
  over_2, under_2  two-phase training: half of the updates so (over_1, under_1), half on all training images, in which
                   the last layer alone is trained
  prior            thresholding: the baseline's scores called positive above the share of positives in training, which
                   is where y / p(class) is larger for them; nothing is trained
  over_prior, under_prior   the scores of over and under at that threshold

AUROC does not know a threshold: prior has the baseline's. Differences are from the baseline of the same ratio.

  default       seeds 3 x epochs 10 x rows 28, each 2 to 4 minutes on 2 CPU cores, some 70 minutes in all
  in full       --seeds=10 --epochs=60, each at most 30 minutes; --augment_bank=0 on a GPU

The first line is the estimate for this machine. Into --out go imbalance.csv, imbalance.md and imbalance.png, anew after
every row; the same command continues, and runs in --reuse stand for rows. Results: docs/results/imbalance.md.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from cxrjax.base import InputError
from cxrjax.base.config import ExperimentConfig
from cxrjax.base.flags import NetworkFlags, flag

from . import _rows

if TYPE_CHECKING:
    from cxrjax.runs.sweep import Row, Source

    from ._imbalance import ImbalanceTable

OVER, UNDER = {"sampling": "oversample"}, {"sampling": "undersample_training"}
RUNS: tuple[tuple[str, str, float, dict[str, Any]], ...] = (  # name, label, share of the updates, changes
    ("baseline", "baseline", 1, {}),
    ("over", "oversampling", 1, OVER),
    ("under", "undersampling", 1, UNDER),
    ("over_1", "first phase: oversampling", 0.5, OVER),
    ("over_2", "two-phase, oversampling", 0.5, {"start_from": "over_1", "trunk_factor": 0.0}),
    ("under_1", "first phase: undersampling", 0.5, UNDER),
    ("under_2", "two-phase, undersampling", 0.5, {"start_from": "under_1", "trunk_factor": 0.0}),
)


@dataclasses.dataclass(frozen=True)
class ImbalanceConfig(_rows.RowsConfig, NetworkFlags):
    """The flags of this program."""

    ratios: str = flag("0,5,10,20", "negatives for each positive in training, comma-separated; 0: as they are")


def main(argv: list[str] | None = None) -> None:
    """Runs from the command line."""
    defaults = ImbalanceConfig(task="p_vs_np", out="runs/imbalance", seeds=3, epochs=10)
    _rows.main("imbalance", defaults, __doc__ or "", argv, table)


def table(flags: ImbalanceConfig, base: ExperimentConfig, source: Source) -> ImbalanceTable:
    """The rows of every ratio, each with as many updates as the baseline of the images as they are."""
    from cxrjax.runs import sweep

    from ._imbalance import ImbalanceTable

    base, _ = source.open(dataclasses.replace(base, sampling="all", momentum=0.9))
    whole = sweep.dry_run(base, source)
    rows = [row for ratio in ratios(flags.ratios) for row in _rows_of(ratio, base, whole, source)]
    return ImbalanceTable(rows, "remedies for imbalance at equal numbers of updates", "method", published=False)


def ratios(text: str) -> list[float]:
    """The ratios of a flag, ascending, each once.

    Raises:
      InputError: if one is no number, or below 0.
    """
    try:
        values = sorted({float(word) for word in text.split(",")})
    except ValueError:
        values = []
    if not values or not all(0 <= value < float("inf") for value in values):
        raise InputError(f"--ratios must be numbers from 0 on with commas between them, got {text!r}")
    return values


def _rows_of(ratio: float, base: ExperimentConfig, whole: Any, source: Source) -> list[Row]:
    """The runs of a ratio; none is available where the data cannot have it."""
    from cxrjax.runs import sweep

    rows, prefix = [], f"{ratio:g}_" if ratio else "all_"
    for name, label, share, changes in RUNS:
        start = {"start_from": prefix + changes["start_from"]} if "start_from" in changes else {}
        config = sweep.row_config(base, prefix + name, train_ratio=ratio, **(changes | start))
        unavailable = ""
        try:
            config = dataclasses.replace(
                config, epochs=whole.epochs_of_equal_steps(sweep.dry_run(config, source), share)
            )
        except InputError as error:
            unavailable = f"not in these data: {error}"
        rows.append(sweep.Row(prefix + name, label, config, "", unavailable))
    return rows


if __name__ == "__main__":
    main()
