"""Intervals of means: against a loop over resampled rows, and against simulated sets whose mean is known."""

import math

import numpy as np
import pytest
from scipy import stats

from cxrjax.analysis import patient_means
from cxrjax.metrics import bootstrap


def test_draws_are_of_patients_with_all_their_images(monkeypatch):
    """What goes into BCa equals resampled and left-out rows."""
    rng = np.random.default_rng(0)
    patient, value = rng.integers(0, 12, 30), rng.random(30)
    names = np.unique(patient)
    seen = []
    monkeypatch.setattr(bootstrap, "bca", lambda draws, level: seen.append(draws) or (0.0, 1.0, ""))
    patient_means.interval(value, patient, draws=50)
    times = bootstrap.multiplicities(np.random.default_rng(0), len(names), 50)
    for d in range(50):
        rows = np.concatenate(
            [np.flatnonzero(patient == p) for p, k in zip(names, times[d], strict=True) for _ in range(k)]
        )
        assert seen[0].replicates[d] == pytest.approx(value[rows].mean())
    np.testing.assert_allclose(seen[0].jackknife, [value[patient != p].mean() for p in names])


def test_an_image_a_patient_and_no_bca_is_students_t(monkeypatch):
    monkeypatch.setattr(bootstrap, "bca", lambda draws, level: (math.nan, math.nan, "too skewed"))
    value = np.random.default_rng(0).random(8)
    found = patient_means.interval(value, np.arange(8))
    expected = stats.t.interval(0.95, 7, value.mean(), stats.sem(value))
    np.testing.assert_allclose(found[:3], [value.mean(), *expected])
    assert found.reason == "Student's t in place of BCa: too skewed"


def test_an_image_twice_weighs_no_patient_of_its_own():
    """The same values, each image copied: as many patients, so no narrower interval, which copies by image would be."""
    value = np.random.default_rng(0).random(20)
    one = patient_means.interval(value, np.arange(20))
    copied = patient_means.interval(np.repeat(value, 4), np.repeat(np.arange(20), 4))
    np.testing.assert_allclose(copied[:3], one[:3])
    freely = patient_means.interval(np.repeat(value, 4), np.arange(80))
    assert freely.high - freely.low < 0.6 * (one.high - one.low)


def test_the_interval_holds_the_mean_as_often_as_it_says():
    """200 sets of 30 patients with 2 images each, alike by 0.5: of 0.95, the SD of the count allows 0.90 to 0.99."""
    rng = np.random.default_rng(0)
    held = []
    for _ in range(200):
        value = 0.5 + 0.1 * (np.repeat(rng.standard_normal(30), 2) + rng.standard_normal(60)) / math.sqrt(2)
        found = patient_means.interval(value, np.repeat(np.arange(30), 2), draws=1000)
        held.append(found.low <= 0.5 <= found.high)
    assert 0.90 <= np.mean(held) <= 0.99


def test_rounding_of_means_over_seeds_moves_no_end():
    """Thirds are not exact: in another order the sums differ in their last bit, and many draws equal the figure."""
    value = np.array([0, 1, 2, 0, 1, 3, 0, 1, 2, 1, 0, 3]) / 3
    patient = np.arange(12)
    expected = patient_means.interval(value, patient)
    for seed in range(20):
        shifted = value + 1e-14 * np.random.default_rng(seed).standard_normal(12)
        np.testing.assert_allclose(patient_means.interval(shifted, patient)[:3], expected[:3], atol=1e-9)


def test_ends_and_repetition():
    value = np.array([0, 0, 0, 1.0])
    found = patient_means.interval(value, np.arange(4))
    assert (found.value, found.low) == (0.25, 0) and found.high < 1.0001
    assert found == patient_means.interval(value[::-1], np.arange(4)[::-1])
    assert patient_means.interval(value, np.arange(4), ends=(-1, 1)).low < 0


def test_without_spread_or_patients_there_is_no_interval():
    one = patient_means.interval(np.array([0.1, 0.2]), np.array(["p", "p"]))
    assert one.value == pytest.approx(0.15) and math.isnan(one.low) and one.reason == "all images are of one patient"
    same = patient_means.interval(np.ones(3), np.arange(3))
    assert same.value == 1 and math.isnan(same.high) and same.reason == "the figure is the same in every patient"
    alike = patient_means.interval(np.array([0, 1, 0, 1, 1, 0.0]), np.array([0, 0, 1, 1, 2, 2]))
    assert alike.value == 0.5 and math.isnan(alike.low) and alike.reason == same.reason


@pytest.mark.parametrize(
    ("value", "patient"), [([], []), ([0.5, np.nan], [0, 1]), ([0.5, 0.5], [0])], ids=["none", "nan", "patients"]
)
def test_what_does_not_fit_is_named(value, patient):
    with pytest.raises(ValueError, match="value must hold a finite figure of each of one or more images"):
        patient_means.interval(np.array(value), np.array(patient))
