"""P vs NF: how well are radiographs with pneumonia told from those without any finding?

  python -m experiments.p_vs_nf --data_dir=NIH_FOLDER --seeds=10

The poster reports an accuracy of 83 ± 7 %, false positives 7 %, false negatives 9 % of all validation images.
Expected on 1,173 NIH images with --epochs=60 --augment_bank=8: 73.2 ± 3.2 %, AUROC 0.818, in some 17 minutes on
2 idle CPU cores; with --epochs=120 74.5 ± 3.9 %, 0.836.
On a CPU each training image has 16 augmentations, computed once (--augment_bank=auto). The first line estimates the
time.
Without --data_dir it runs on the embedded phantom, which needs no download.
"""

from cxrjax.base.config import ExperimentConfig

from . import _cli

CONFIG = ExperimentConfig(name="p_vs_nf", task="p_vs_nf")


def main(argv: list[str] | None = None) -> None:
    """Runs from the command line."""
    _cli.main(CONFIG, __doc__ or "", argv)


if __name__ == "__main__":
    main()
