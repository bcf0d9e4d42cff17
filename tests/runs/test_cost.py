"""What a run needs, counted by hand, and the time that follows; how fast a machine is, is not tested."""

from dataclasses import replace

import numpy as np
import pytest

from cxrjax.base.config import ExperimentConfig
from cxrjax.runs import cost, roofline

SIZES = cost.Sizes(np.array([130, 120]), np.array([30, 40]), 200, 250)
CONFIG = ExperimentConfig("p_vs_nf", "p_vs_nf", epochs=5, batch_size=64, augment_bank=4)
FC6, FC7, FC8 = (2 * n for n in (9216 * 4096, 4096 * 4096, 4096 * 2))  # FLOPs forward, one image
CONVOLUTIONS = 2 * sum(layer.multiply_adds for layer in roofline.layers("torchvision") if layer.name.startswith("conv"))


def test_a_frozen_trunk_with_a_bank():
    """200 images x 4 slots and 250 centre crops; 2 runs x 5 epochs x 3 steps; 70 validation images x 6."""
    got = cost.work(CONFIG, SIZES)
    assert got.convolution == (200 * 4 + 250) * CONVOLUTIONS
    params = sum(layer.params for layer in roofline.layers("torchvision") if layer.name.startswith("fc"))
    # Forward and weight gradients of three layers, input gradients of two, and the update.
    step = 64 * (2 * (FC6 + FC7 + FC8) + FC7 + FC8) + 2 * params
    assert got.dense == 2 * 5 * 3 * step + 70 * 6 * (FC6 + FC7 + FC8)


def test_fresh_augmentations_go_through_the_trunk_at_every_use():
    got = cost.work(replace(CONFIG, augment_bank=0), SIZES)
    assert got.convolution == (5 * 250 + 250) * CONVOLUTIONS


def test_frozen_dense_layers_count_as_dense():
    got = cost.work(replace(CONFIG, retrain_from="fc8"), SIZES)
    assert got.convolution == (200 * 4 + 250) * CONVOLUTIONS
    step = 64 * 2 * FC8 + 2 * (4096 * 2 + 2)
    assert got.dense == (200 * 4 + 250) * (FC6 + FC7) + 2 * 5 * 3 * step + 70 * 6 * FC8


def test_of_all_layers_the_convolutions_are_trained_too():
    got = cost.work(replace(CONFIG, retrain_from="conv1", augment_bank=0), SIZES)
    times = (got.convolution - 70 * 6 * CONVOLUTIONS) / (2 * 5 * 3 * 64 * CONVOLUTIONS)
    assert 2.8 < times / cost._BACKWARD < 3.0  # forward, and two gradients, of conv1 one
    assert got.dense == cost.work(CONFIG, SIZES).dense


def test_seconds():
    assert cost.seconds(cost.Work(100.0, 30.0), cost.Speed(10.0, 3.0)) == pytest.approx(cost.START_SECONDS + 20)


@pytest.mark.slow
def test_speeds_are_measured():
    speed = cost.measure()
    assert speed.convolution > 0 and speed.dense > 0
    assert "measured now" in cost.told(speed)
