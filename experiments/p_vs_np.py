"""P vs NP: how well are radiographs with pneumonia told from all others, with or without other findings?

  python -m experiments.p_vs_np --data_dir=NIH_FOLDER --seeds=10

The poster reports an accuracy of 65 ± 5 %, false positives 13 %, false negatives 22 % of all validation images.
Expected on 1,173 NIH images with --epochs=60 --augment_bank=8: 64.6 ± 3.0 %, AUROC 0.698, in 33 minutes on 2 CPU cores.
Without --data_dir it runs on the embedded phantom, which needs no download.
"""

from cxrjax.base.config import ExperimentConfig

from . import _cli

CONFIG = ExperimentConfig(name="p_vs_np", task="p_vs_np")


def main(argv: list[str] | None = None) -> None:
    """Runs from the command line."""
    _cli.main(CONFIG, __doc__ or "", argv)


if __name__ == "__main__":
    main()
