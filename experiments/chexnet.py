"""CheXNet: DenseNet-121 with all layers retrained tells the 14 findings of ChestX-ray14 (Rajpurkar et al. 2017).

  python -m experiments.chexnet --data_dir=NIH_FOLDER --test=0.2 --seeds=1 --epochs=10
  python -m experiments.train --task=pneumonia --loss=class_weights --recipe=chexnet --model=densenet121 ...

The second command is its pneumonia task with the weighted loss. Adam's rate 0.001, batches of 16, mirrored images, the
unweighted sum of 14 sigmoids; its AUROCs (random split by patient, mean 0.841) and those of Wang et al. (official
split, 0.745) stand beside ours. A published CheXNet on these images: `experiments.compare RUN SCORES.csv --set=test`.
DenseNet-121 needs converted ImageNet weights (docs/reference/networks.md); --model takes any network whose weights are
at hand.
86,524 images on one GPU, on paper: docs/explanation/scale.md.
"""

from cxrjax.base.config import ExperimentConfig

from . import _cli

CONFIG = ExperimentConfig(name="chexnet", task="chestxray14", recipe="chexnet", model="densenet121")


def main(argv: list[str] | None = None) -> None:
    """Runs from the command line."""
    _cli.main(CONFIG, __doc__ or "", argv)


if __name__ == "__main__":
    main()
