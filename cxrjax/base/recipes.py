"""Recipes: how long and how to train, as flags, and named sets of them. Nothing is imported but the standard library.

To add one, add an entry to `RECIPES`; to add what recipes say, a field to `Recipe`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

from cxrjax.base import InputError
from cxrjax.base.flags import TRAINING, flag

AUTO = -1  # --augment_bank=auto until the run knows its data and its device (`runs.setup.with_bank`)
BANK = 16  # augmentations an image where auto takes a bank
PROBED = 4000  # training images up to which each run has a linear probe among its floors; a seed takes seconds
HEADS = ("own", "linear")
LOSSES = ("cross_entropy", "class_weights", "w_cel")
OPTIMIZERS = ("sgd", "adamw")
SCHEDULES = ("constant", "step", "cosine")

RECIPES: Mapping[str, Mapping[str, Any]] = {
    "poster": {},
    # Lakhani & Sundaram 2017, Radiology 284:574. Momentum is the default of what they trained with (Caffe by DIGITS).
    "lakhani": {"momentum": 0.9, "schedule": "step"},
    # Rajpurkar et al. 2017, arXiv:1711.05225: Adam, all layers. They divide the rate by 10 where the validation loss
    # stops falling and keep the best epoch; here the rate stays and the last epoch counts, so that validation images
    # choose nothing.
    "chexnet": {"optimizer": "adamw", "batch_size": 16, "retrain_from": "all"},
    # What a trial in PyTorch on other patients took; docs/results/best.md has what it reaches.
    "finetune": {
        "learning_rate": 0.01, "momentum": 0.9, "weight_decay": 5e-4, "schedule": "cosine", "warmup_epochs": 2,
        "trunk_factor": 0.5, "clip_norm": 5.0, "epochs": 20, "retrain_from": "all",
    },
    "probe": {"head": "linear", "epochs": 1},
}  # fmt: skip
"""Name -> the flags in which it differs from the defaults, which are the poster's; other topics' flags, too."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a network is trained; the defaults are the poster's."""

    GROUP: ClassVar[str] = TRAINING

    recipe: str = flag(
        "poster", "a named set of other flags; flags given explicitly come first:  " + "; ".join(
            f"{name} {' '.join(f'--{flag_name}={value}' for flag_name, value in fields.items()) or '(the defaults)'}"
            for name, fields in RECIPES.items()
        ),
        choices=tuple(RECIPES),
    )  # fmt: skip
    head: str = flag(
        "own",
        "what is trained from --retrain_from on. own: the network's own stages, by gradient descent; linear: one "
        "dense layer instead of them, fitted as an L2 logistic regression on centre crops. Its strength is "
        "chosen by cross-validation over training patients",
        choices=HEADS,
    )
    epochs: int = flag(120, "passes over the training images", lower=1)
    batch_size: int = flag(64, "images per step", lower=1)
    optimizer: str = flag(
        "sgd", "sgd: stochastic gradient descent; adamw: Adam with decoupled weight decay", choices=OPTIMIZERS
    )
    learning_rate: float = flag(0.001, "learning rate, above 0", lower=0.0)
    momentum: float = flag(0.0, "momentum of stochastic gradient descent, 0 to below 1", lower=0.0, upper=0.999999)
    schedule: str = flag(
        "constant",
        "schedule of the learning rate. step: divided by 10 after each third of the steps; cosine: falls to 0 along "
        "half a cosine",
        choices=SCHEDULES,
    )
    warmup_epochs: int = flag(0, "epochs in which the learning rate first rises linearly", lower=0)
    weight_decay: float = flag(
        0.0,
        "weight decay; not for biases and for scale and shift of BatchNorm. sgd: added to the gradient (L2); adamw: "
        "multiplied by the learning rate and subtracted from the weights",
        lower=0.0,
    )
    clip_norm: float = flag(
        0.0, "largest norm of the gradient of a step; a larger gradient is scaled down to it. 0: no limit", lower=0.0
    )
    trunk_factor: float = flag(
        1.0,
        "factor on the learning rate of retrained stages that start from pretrained weights; stages that start from "
        "random weights use the learning rate itself",
        lower=0.0,
    )
    loss: str = flag(
        "cross_entropy",
        "loss over two classes, or summed over the sigmoids of many labels. class_weights: each class is weighted by "
        "the other one's share of the training images (CheXNet); w_cel: positives and negatives have equal total "
        "weight, over all labels of a batch (Wang et al. 2017)",
        choices=LOSSES,
    )
    augment_bank: int = 0  # K: each training image has K augmentations, computed once; 0: a fresh one at every use
    flip: bool = flag(True, "mirror training images left to right with probability 1/2")
    rotation: float = flag(
        0.0,
        "rotate training images about the centre by up to this many degrees in either direction",
        lower=0.0,
        upper=180.0,
    )
    scale: float = flag(
        0.0,
        "enlarge or reduce training images by up to this share; 0.1: by factors from 0.9 to 1.1",
        lower=0.0,
        upper=0.9,
    )
    brightness: float = flag(
        0.0,
        "multiply the grey values of training images by a factor from 1 - x to 1 + x; 0.2: from 0.8 to 1.2",
        lower=0.0,
        upper=1.0,
    )
    clahe: bool = flag(
        False,
        "equalise every image that the network sees, in training and in evaluation, by contrast-limited adaptive "
        "histogram equalisation (CLAHE, 8 x 8 tiles, limit 2)",
    )

    @property
    def preset(self) -> Mapping[str, Any]:
        """What the flags of its recipe are unless they are given."""
        return RECIPES[self.recipe]


@dataclasses.dataclass(frozen=True, kw_only=True)
class RecipeFlags(Recipe):
    """A recipe of a program, in which what depends on the machine may be open."""

    GROUP: ClassVar[str] = TRAINING

    augment_bank: int = flag(
        AUTO,
        "K: each training image has K augmentations, which pass the frozen layers once for all epochs and seeds; 0: a "
        f"fresh one at every use. auto: {BANK} where layers are frozen, the device is a CPU, --epochs are more than "
        f"{BANK} (or it would cost more than it saves) and the bank takes at most a quarter of the disk that is free "
        f"for CXRJAX_CACHE; else 0. {BANK} gave what fresh ones give (docs/results/bank.md)",
        lower=0,
        words={"auto": AUTO},
    )


def check(recipe: Recipe) -> None:
    """Refuses what contradicts itself.

    Raises:
      InputError: naming flag, rule and value.
    """
    if recipe.head == "linear":
        for field in dataclasses.fields(Recipe):
            value, free = getattr(recipe, field.name), ("recipe", "head", "clahe")
            wanted = RECIPES["probe"].get(field.name, field.default)
            if field.name not in free and value not in (wanted, AUTO if field.name == "augment_bank" else wanted):
                raise InputError(f"--{field.name}={value}: --head=linear is solved, not stepped: it must be {wanted}")
    if recipe.learning_rate <= 0:
        raise InputError(f"--learning_rate must be above 0, got {recipe.learning_rate:g}")
    if recipe.momentum and recipe.optimizer != "sgd":
        raise InputError(f"--momentum={recipe.momentum:g} is of --optimizer=sgd, not of {recipe.optimizer}")
    if recipe.warmup_epochs >= recipe.epochs:
        raise InputError(f"--warmup_epochs must be below --epochs={recipe.epochs}, got {recipe.warmup_epochs}")
