"""Tests of where networks look: means and pairs by hand, what is absent, intervals against resampled rows."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from cxrjax.analysis import localisation, map_tests
from cxrjax.metrics import bootstrap, limits
from tests.analysis import looks_cases as cases


def run(strengths, target="box", seeds=3, patients=12):
    """Rows of networks of the given strengths; each seed validates two images of three."""
    where = cases.regions(patients=patients, target=target)
    parts = [localisation.baselines(where)]
    for network, strength in strengths.items():
        for seed in range(seeds):
            rows = np.flatnonzero(np.arange(len(where.image)) % 3 != seed)
            parts.append(localisation.score_maps(cases.maps(where, network, seed, strength, rows=rows), where))
    return pd.concat(parts, ignore_index=True)


ALL = {"trained": 9.0, "random_head": 0.0, "shuffled_labels": 0.5, "random_trunk": 1.0}


@pytest.fixture(scope="module")
def rows():
    return run(ALL)


@pytest.fixture(scope="module")
def made(rows):
    return map_tests.table(rows)


def row_of(table, metric, network):
    (row,) = table[(table["metric"] == metric) & (table["network"] == network)].to_dict("records")
    return row


def by_image(rows, network, metric):
    return rows[rows["network"] == network].groupby("image")[metric].mean()


@pytest.mark.parametrize("metric", localisation.METRICS)
def test_values_and_pairs_are_means_over_images_of_means_over_seeds(rows, made, metric):
    assert not made.notes
    networks = made.table[made.table["metric"] == metric]["network"]
    assert list(networks) == ["trained", *localisation.CONTROLS, *localisation.BASELINES]
    trained = by_image(rows, "trained", metric)
    patient = rows.drop_duplicates("image").set_index("image")["patient"][trained.index].to_numpy(str)
    for network in networks:
        row, own = row_of(made.table, metric, network), by_image(rows, network, metric)
        assert (row["images"], row["patients"], row["small"], row["zero_maps"]) == (16, 12, False, 0)
        expected = map_tests.interval(own.to_numpy(), patient)
        np.testing.assert_allclose((row["value"], row["low"], row["high"]), expected[:3], atol=1e-12)
        if network != "trained":
            expected = map_tests.interval((trained - own).to_numpy(), patient, ends=(-1, 1))
            got = row["difference"], row["difference_low"], row["difference_high"]
            np.testing.assert_allclose(got, expected[:3], atol=1e-12)
            assert row["beaten"] is (row["difference_low"] > 0)
    assert row_of(made.table, metric, "trained")["beaten"] is None
    assert np.isnan(row_of(made.table, metric, "trained")["difference"])


def test_a_strong_map_beats_all_and_a_weak_one_does_not(made):
    energy = made.table[(made.table["metric"] == "energy") & (made.table["network"] != "trained")]
    assert energy["beaten"].all()
    weak = map_tests.table(run(ALL | {"trained": 0.0, "random_head": 9.0})).table
    assert not row_of(weak, "energy", "random_head")["beaten"] and not row_of(weak, "energy", "area")["beaten"]


def test_the_order_of_rows_does_not_matter(rows, made):
    shuffled = map_tests.table(rows.sample(frac=1, random_state=0)).table
    keys = ["metric", "network"]
    one, other = (t.sort_values(keys, ignore_index=True) for t in (made.table, shuffled))
    pd.testing.assert_frame_equal(one, other)


def test_equal_maps_differ_by_nothing_and_are_not_beaten(rows):
    own = rows[rows["network"] == "trained"]
    found = map_tests.table(pd.concat([own, own.assign(network="random_head")]))
    row = row_of(found.table, "energy", "random_head")
    assert row["difference"] == 0 and row["beaten"] is False and np.isnan(row["difference_low"])
    assert row["note"] == "same_in_every_patient column=difference"
    (first, _) = map_tests.verdicts(found.table)
    assert first.not_beaten == first.undecided == ("random_head",) and not first.everything


def test_pairs_are_of_the_same_seed(rows):
    """A control that has but one seed stands beside that seed of the trained network."""
    fewer = rows[(rows["network"] != "random_head") | (rows["seed"] == 1)]
    row = row_of(map_tests.table(fewer).table, "energy", "random_head")
    own = rows[(rows["network"] == "trained") & (rows["seed"] == 1)].set_index("image")["energy"]
    other = rows[(rows["network"] == "random_head") & (rows["seed"] == 1)].set_index("image")["energy"]
    assert row["difference"] == pytest.approx((own - other).mean())
    assert row["images"] == len(own) == 11
    assert row["note"].startswith("maps_without_pair n=11 of=32")


def test_what_is_missing_is_told_and_no_zero():
    found = map_tests.table(run({"trained": 9.0, "random_head": 0.0}, target="lungs"))
    assert set(found.table["network"]) == {"trained", "random_head", "area", "centre"}
    assert found.notes == ["not_compared method=gradient target=lungs networks=shuffled_labels,random_trunk"]
    first, _ = map_tests.verdicts(found.table)
    assert first.missing == ("shuffled_labels", "random_trunk") and not first.everything
    assert first.beats == ("random_head", "area", "centre") and not first.not_beaten
    without = map_tests.table(run({"random_head": 0.0}))
    assert without.table.empty and map_tests.verdicts(without.table) == []
    assert without.notes == ["no_trained_maps method=gradient target=box"]


def test_a_control_without_a_common_image_is_told(rows):
    apart = rows.assign(seed=rows["seed"].where(rows["network"] != "random_head", rows["seed"] + 10))
    found = map_tests.table(apart)
    assert "random_head" not in set(found.table["network"])
    assert found.notes[0] == "no_common_metric method=gradient target=box metric=energy network=random_head"


def test_empty_masks_and_zero_maps_are_counted():
    where = cases.regions()
    where.masks[4] = False
    own = cases.maps(where)
    own.maps[[1, 2]] = 0
    found = map_tests.table(pd.concat([localisation.score_maps(own, where), localisation.baselines(where)])).table
    row = row_of(found, "energy", "trained")
    assert (row["images"], row["zero_maps"]) == (15, 2)
    assert row["note"] == "outside_crop n=1"
    assert row_of(found, "energy", "area")["zero_maps"] == 0


def test_verdicts(made):
    first, second = map_tests.verdicts(made.table)
    assert (first.target, first.metric, first.method, second.metric) == ("box", "energy", "gradient", "pointing")
    assert first.everything and first.beats == (*localisation.CONTROLS, *localisation.BASELINES)
    changed = made.table.copy()
    changed.loc[changed["network"] == "area", ["beaten", "difference_low", "difference_high"]] = [False, -0.1, 0.1]
    changed.loc[changed["network"] == "centre", ["beaten", "difference_low", "difference_high"]] = [False, -0.2, -0.1]
    first = map_tests.verdicts(changed)[0]
    assert not first.everything and first.not_beaten == ("area", "centre") and first.below == ("centre",)
    assert not first.undecided and not first.missing


def test_few_patients_are_flagged():
    found = map_tests.table(run(ALL, patients=9))
    assert found.table["small"].all()
    first, _ = map_tests.verdicts(found.table)
    assert first.small


def test_what_does_not_fit_is_named(rows):
    with pytest.raises(ValueError, match="got none of zero"):
        map_tests.table(rows.drop(columns="zero"))
    with pytest.raises(ValueError, match="each map once, got two of box, , area, -1, i00"):
        map_tests.table(pd.concat([rows, rows.iloc[:1]]))


def test_draws_are_of_patients_with_all_their_images(monkeypatch):
    """What goes into BCa equals resampled and left-out rows."""
    rng = np.random.default_rng(0)
    patient, value = rng.integers(0, 12, 30), rng.random(30)
    names = np.unique(patient)
    seen = []
    monkeypatch.setattr(limits, "bca", lambda draws, level: seen.append(draws) or (0.0, 1.0, ""))
    map_tests.interval(value, patient, draws=50)
    times = bootstrap.multiplicities(np.random.default_rng(0), len(names), 50)
    for d in range(50):
        rows = np.concatenate(
            [np.flatnonzero(patient == p) for p, k in zip(names, times[d], strict=True) for _ in range(k)]
        )
        assert seen[0].replicates[d] == pytest.approx(value[rows].mean())
    np.testing.assert_allclose(seen[0].jackknife, [value[patient != p].mean() for p in names])


def test_an_image_a_patient_and_no_bca_is_students_t(monkeypatch):
    monkeypatch.setattr(limits, "bca", lambda draws, level: (math.nan, math.nan, "too_skewed share=0.99"))
    value = np.random.default_rng(0).random(8)
    found = map_tests.interval(value, np.arange(8))
    expected = stats.t.interval(0.95, 7, value.mean(), stats.sem(value))
    np.testing.assert_allclose(found[:3], [value.mean(), *expected])
    assert found.reason == "student_t; too_skewed share=0.99"


def test_an_image_twice_weighs_no_patient_of_its_own():
    """The same values, each image copied: as many patients, so no narrower interval, which copies by image would be."""
    value = np.random.default_rng(0).random(20)
    one = map_tests.interval(value, np.arange(20))
    copied = map_tests.interval(np.repeat(value, 4), np.repeat(np.arange(20), 4))
    np.testing.assert_allclose(copied[:3], one[:3])
    freely = map_tests.interval(np.repeat(value, 4), np.arange(80))
    assert freely.high - freely.low < 0.6 * (one.high - one.low)


def test_the_interval_holds_the_mean_as_often_as_it_says():
    """200 sets of 30 patients with 2 images each, alike by 0.5: of 0.95, the SD of the count allows 0.90 to 0.99."""
    rng = np.random.default_rng(0)
    held = []
    for _ in range(200):
        value = 0.5 + 0.1 * (np.repeat(rng.standard_normal(30), 2) + rng.standard_normal(60)) / math.sqrt(2)
        found = map_tests.interval(value, np.repeat(np.arange(30), 2), draws=1000)
        held.append(found.low <= 0.5 <= found.high)
    assert 0.90 <= np.mean(held) <= 0.99


def test_rounding_of_means_over_seeds_moves_no_end():
    """Thirds are not exact: in another order the sums differ in their last bit, and many draws equal the figure."""
    value = np.array([0, 1, 2, 0, 1, 3, 0, 1, 2, 1, 0, 3]) / 3
    patient = np.arange(12)
    expected = map_tests.interval(value, patient)
    for seed in range(20):
        shifted = value + 1e-14 * np.random.default_rng(seed).standard_normal(12)
        np.testing.assert_allclose(map_tests.interval(shifted, patient)[:3], expected[:3], atol=1e-9)


def test_ends_and_repetition():
    value = np.array([0, 0, 0, 1.0])
    found = map_tests.interval(value, np.arange(4))
    assert (found.value, found.low) == (0.25, 0) and found.high < 1.0001
    assert found == map_tests.interval(value[::-1], np.arange(4)[::-1])
    assert map_tests.interval(value, np.arange(4), ends=(-1, 1)).low < 0


def test_without_spread_or_patients_there_is_no_interval():
    one = map_tests.interval(np.array([0.1, 0.2]), np.array(["p", "p"]))
    assert one.value == pytest.approx(0.15) and math.isnan(one.low) and one.reason == "one_patient"
    same = map_tests.interval(np.ones(3), np.arange(3))
    assert same.value == 1 and math.isnan(same.high) and same.reason == "same_in_every_patient"
    alike = map_tests.interval(np.array([0, 1, 0, 1, 1, 0.0]), np.array([0, 0, 1, 1, 2, 2]))
    assert alike.value == 0.5 and math.isnan(alike.low) and alike.reason == same.reason


@pytest.mark.parametrize(
    ("value", "patient"), [([], []), ([0.5, np.nan], [0, 1]), ([0.5, 0.5], [0])], ids=["none", "nan", "patients"]
)
def test_values_that_do_not_fit_are_named(value, patient):
    with pytest.raises(ValueError, match="value must hold a finite value of each of one or more images"):
        map_tests.interval(np.array(value), np.array(patient))
