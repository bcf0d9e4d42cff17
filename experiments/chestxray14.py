"""Which of the 14 findings of ChestX-ray14 does a radiograph show?

  python -m experiments.chestxray14 --data_dir=NIH_FOLDER --seeds=3 --epochs=30 --augment_bank=4

All labelled images, a sigmoid and a report for each finding, the split by patient with rare findings spread evenly.
CheXNet's 14 AUROCs (random split by patient) have a mean of 0.841, those of Wang et al. (official split) of 0.745.
"""

from cxrjax.base.config import ExperimentConfig

from . import _cli

CONFIG = ExperimentConfig(name="chestxray14", task="chestxray14")


def main(argv: list[str] | None = None) -> None:
    """Runs from the command line."""
    _cli.main(CONFIG, __doc__ or "", argv)


if __name__ == "__main__":
    main()
