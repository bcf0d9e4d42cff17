"""What a run needs, counted by hand, and the time that follows; how fast a machine is, is not tested."""

from dataclasses import replace

import numpy as np
import pytest

from cxrjax.base.config import ExperimentConfig
from cxrjax.base.recipes import RECIPES
from cxrjax.models.registry import ALEXNET
from cxrjax.runs import cost

SIZES = cost.Sizes(np.array([130, 120]), np.array([30, 40]), 200, 250)
CONFIG = ExperimentConfig("p_vs_nf", "p_vs_nf", epochs=5, batch_size=64, augment_bank=4)
# FLOPs forward, one image: outputs of a layer by weights of each.
FC6, FC7, FC8 = (2 * n for n in (9216 * 4096, 4096 * 4096, 4096 * 2))
CONVOLUTIONS = 2 * (
    56**2 * 64 * 363 + 27**2 * 192 * 1600 + 13**2 * 384 * 1728 + 13**2 * 256 * 3456 + 13**2 * 256 * 2304
)
PARAMETERS = 9216 * 4096 + 4096 + 4096 * 4096 + 4096 + 4096 * 2 + 2
# The compiler leaves out products with padding, up to 9 % of all.
WITHOUT_PADDING = pytest.approx(0.955, abs=0.05)
# It also counts dropout's random bits and the loss.
CLOSE = 0.02


def test_a_frozen_trunk_with_a_bank():
    """200 images x 4 slots and 250 centre crops; 2 runs x 5 epochs x 3 steps; 70 validation images x 6."""
    got = cost.work(CONFIG, SIZES)
    assert got.convolution / ((200 * 4 + 250) * CONVOLUTIONS) == WITHOUT_PADDING
    # Forward and weight gradients of three layers, input gradients of two, and the update.
    step = 64 * (2 * (FC6 + FC7 + FC8) + FC7 + FC8) + 2 * PARAMETERS
    assert got.dense == pytest.approx(2 * 5 * 3 * step + 70 * 6 * (FC6 + FC7 + FC8), rel=CLOSE)


def test_fresh_augmentations_go_through_the_trunk_at_every_use():
    got, banked = cost.work(replace(CONFIG, augment_bank=0), SIZES), cost.work(CONFIG, SIZES)
    assert got.convolution / banked.convolution == pytest.approx((5 * 250 + 250) / (200 * 4 + 250))
    assert got.dense == banked.dense


def test_frozen_dense_layers_count_as_dense():
    got = cost.work(replace(CONFIG, retrain_from="fc8"), SIZES)
    assert got.convolution / ((200 * 4 + 250) * CONVOLUTIONS) == WITHOUT_PADDING
    step = 64 * 2 * FC8 + 2 * (4096 * 2 + 2)
    assert got.dense == pytest.approx((200 * 4 + 250) * (FC6 + FC7) + 2 * 5 * 3 * step + 70 * 6 * FC8, rel=CLOSE)


def test_of_all_layers_the_convolutions_are_trained_too():
    got = cost.work(replace(CONFIG, retrain_from="conv1", augment_bank=0), SIZES)
    forward = cost.trunk_flops(replace(ALEXNET, num_classes=2), "fc6")
    times = (got.convolution - 70 * 6 * forward) / (2 * 5 * 3 * 64 * forward)
    assert 2.8 < times / cost._BACKWARD < 3.0  # forward, and two gradients, of conv1 one
    assert got.dense == pytest.approx(cost.work(CONFIG, SIZES).dense)


def test_another_network_has_its_own_numbers():
    """Twice the classes: twice the last layer, and nothing else; a smaller crop: fewer places for the same kernels."""
    two, four = (cost.head_flops(replace(ALEXNET, num_classes=n), "fc8", 1) for n in (2, 4))
    assert four / two == pytest.approx(2, rel=CLOSE)
    whole, half = (cost.trunk_flops(replace(ALEXNET, crop=crop), "fc6") for crop in (227, 127))
    assert half < 0.4 * whole


def test_what_the_cache_holds_is_not_counted():
    got = cost.work(CONFIG, SIZES, missing=(10, 30))
    assert got.convolution / ((10 * 4 + 30) * CONVOLUTIONS) == WITHOUT_PADDING
    assert got.dense == cost.work(CONFIG, SIZES).dense
    fresh = replace(CONFIG, augment_bank=0)  # of which nothing is ever kept but centre crops
    assert cost.work(fresh, SIZES, missing=(0, 0)).convolution == pytest.approx(5 * 250 * CONVOLUTIONS, rel=0.1)


def test_a_solved_head_needs_the_centre_crops_alone():
    got = cost.work(replace(CONFIG, **RECIPES["probe"], augment_bank=0), SIZES)
    assert got.convolution / (250 * CONVOLUTIONS) == WITHOUT_PADDING and got.dense == 0


def test_outputs_and_optimiser_are_the_runs():
    many, adamw = replace(CONFIG, task="chestxray14"), replace(CONFIG, optimizer="adamw")
    usual = cost.work(CONFIG, SIZES)
    fc8 = 2 * 5 * 3 * (64 * 3 * FC8 + 2 * 4096 * 2) + 70 * 6 * FC8  # forward, two gradients and the update
    assert cost.work(many, SIZES).dense - usual.dense == pytest.approx(6 * fc8, rel=0.1)  # 14 outputs, not 2
    steps = 2 * 5 * 3 * cost.step_flops(replace(ALEXNET, num_classes=2), "fc6", 64)
    assert cost.work(adamw, SIZES).dense - usual.dense == pytest.approx(steps * (cost._ADAMW - 1))


def test_seconds():
    expected = cost.START_SECONDS + 3 * cost.SEED_SECONDS + 20
    assert cost.seconds(cost.Work(100.0, 30.0), cost.Speed(10.0, 3.0), 3) == pytest.approx(expected)


@pytest.mark.slow
def test_speeds_are_measured():
    speed = cost.measure()
    assert speed.convolution > 0 and speed.dense > 0
    assert "measured now" in cost.explain(speed)
