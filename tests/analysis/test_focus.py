"""Tables of where networks look: means and pairs by hand, what is absent, what is said."""

import numpy as np
import pandas as pd
import pytest

from cxrjax.analysis import focus, looks, patient_means
from tests.analysis import looks_cases as cases


def run(strengths, target="box", seeds=3, patients=12):
    """Rows of networks of the given strengths; each seed validates two images of three."""
    where = cases.regions(patients=patients, target=target)
    parts = [looks.baselines(where)]
    for network, strength in strengths.items():
        for seed in range(seeds):
            rows = np.flatnonzero(np.arange(len(where.image)) % 3 != seed)
            parts.append(looks.figures(cases.maps(where, network, seed, strength, rows=rows), where))
    return pd.concat(parts, ignore_index=True)


ALL = {"trained": 9.0, "random_head": 0.0, "shuffled_labels": 0.5, "random_trunk": 1.0}


@pytest.fixture(scope="module")
def rows():
    return run(ALL)


@pytest.fixture(scope="module")
def made(rows):
    return focus.table(rows)


def row_of(table, figure, network):
    (row,) = table[(table["figure"] == figure) & (table["network"] == network)].to_dict("records")
    return row


def by_image(rows, network, figure):
    return rows[rows["network"] == network].groupby("image")[figure].mean()


@pytest.mark.parametrize("figure", looks.FIGURES)
def test_values_and_pairs_are_means_over_images_of_means_over_seeds(rows, made, figure):
    assert not made.notes
    networks = made.table[made.table["figure"] == figure]["network"]
    assert list(networks) == ["trained", *looks.CONTROLS, *looks.BASELINES]
    trained = by_image(rows, "trained", figure)
    patient = rows.drop_duplicates("image").set_index("image")["patient"][trained.index].to_numpy(str)
    for network in networks:
        row, own = row_of(made.table, figure, network), by_image(rows, network, figure)
        assert (row["images"], row["patients"], row["small"], row["zero_maps"]) == (16, 12, False, 0)
        expected = patient_means.interval(own.to_numpy(), patient)
        np.testing.assert_allclose((row["value"], row["low"], row["high"]), expected[:3], atol=1e-12)
        if network != "trained":
            expected = patient_means.interval((trained - own).to_numpy(), patient, ends=(-1, 1))
            got = row["difference"], row["difference_low"], row["difference_high"]
            np.testing.assert_allclose(got, expected[:3], atol=1e-12)
            assert row["beaten"] is (row["difference_low"] > 0)
    assert row_of(made.table, figure, "trained")["beaten"] is None
    assert np.isnan(row_of(made.table, figure, "trained")["difference"])


def test_a_strong_map_beats_all_and_a_weak_one_does_not(made):
    energy = made.table[(made.table["figure"] == "energy") & (made.table["network"] != "trained")]
    assert energy["beaten"].all()
    weak = focus.table(run(ALL | {"trained": 0.0, "random_head": 9.0})).table
    assert not row_of(weak, "energy", "random_head")["beaten"] and not row_of(weak, "energy", "area")["beaten"]


def test_the_order_of_rows_does_not_matter(rows, made):
    shuffled = focus.table(rows.sample(frac=1, random_state=0)).table
    keys = ["figure", "network"]
    one, other = (t.sort_values(keys, ignore_index=True) for t in (made.table, shuffled))
    pd.testing.assert_frame_equal(one, other)


def test_equal_maps_differ_by_nothing_and_are_not_beaten(rows):
    own = rows[rows["network"] == "trained"]
    found = focus.table(pd.concat([own, own.assign(network="random_head")]))
    row = row_of(found.table, "energy", "random_head")
    assert row["difference"] == 0 and row["beaten"] is False and np.isnan(row["difference_low"])
    assert row["note"] == "difference: the figure is the same in every image"
    (first, _) = focus.verdicts(found.table)
    assert first.not_beaten == first.undecided == ("random_head",) and not first.everything
    assert "not shown to beat a head of random weights: there is no interval" in first.text


def test_pairs_are_of_the_same_seed(rows):
    """A control that has but one seed stands beside that seed of the trained network."""
    fewer = rows[(rows["network"] != "random_head") | (rows["seed"] == 1)]
    row = row_of(focus.table(fewer).table, "energy", "random_head")
    own = rows[(rows["network"] == "trained") & (rows["seed"] == 1)].set_index("image")["energy"]
    other = rows[(rows["network"] == "random_head") & (rows["seed"] == 1)].set_index("image")["energy"]
    assert row["difference"] == pytest.approx((own - other).mean())
    assert row["images"] == len(own) == 11
    assert row["note"].startswith("only 11 of the trained network's 32 maps have one beside them")


def test_what_is_missing_is_told_and_no_zero():
    found = focus.table(run({"trained": 9.0, "random_head": 0.0}, target="lungs"))
    assert set(found.table["network"]) == {"trained", "random_head", "area", "centre"}
    assert found.notes == [
        "gradient, lungs: not compared with shuffled_labels, random_trunk, of which there are no maps."
    ]
    first, _ = focus.verdicts(found.table)
    assert first.missing == ("shuffled_labels", "random_trunk") and not first.everything
    assert first.beats == ("random_head", "area", "centre") and not first.not_beaten
    assert "not compared with a network trained on shuffled labels; a trunk of random weights" in first.text
    without = focus.table(run({"random_head": 0.0}))
    assert without.table.empty and focus.verdicts(without.table) == []
    assert without.notes == ["gradient, box: there are no maps of the trained network, so nothing is compared."]


def test_a_control_without_a_common_image_is_told(rows):
    apart = rows.assign(seed=rows["seed"].where(rows["network"] != "random_head", rows["seed"] + 10))
    found = focus.table(apart)
    assert "random_head" not in set(found.table["network"])
    assert found.notes[0].startswith("gradient, box, energy: random_head has no figure of an image that the trained")


def test_empty_masks_and_zero_maps_are_counted():
    where = cases.regions()
    where.masks[4] = False
    own = cases.maps(where)
    own.maps[[1, 2]] = 0
    found = focus.table(pd.concat([looks.figures(own, where), looks.baselines(where)])).table
    row = row_of(found, "energy", "trained")
    assert (row["images"], row["zero_maps"]) == (15, 2)
    assert row["note"] == "1 images left out, whose region lies outside the crop"
    assert row_of(found, "energy", "area")["zero_maps"] == 0


def test_verdicts_in_words(made):
    first, second = focus.verdicts(made.table)
    assert (first.target, first.figure, first.method, second.figure) == ("box", "energy", "gradient", "pointing")
    assert first.everything and first.beats == (*looks.CONTROLS, *looks.BASELINES)
    row = row_of(made.table, "energy", "trained")
    ends = f"{row['value']:.2f} ({row['low']:.2f} to {row['high']:.2f})"
    assert first.text.startswith(f"gradient: share of the map inside the box {ends}. It beats all of: a head of random")
    changed = made.table.copy()
    changed.loc[changed["network"] == "area", ["beaten", "difference_low", "difference_high"]] = [False, -0.1, 0.1]
    changed.loc[changed["network"] == "centre", ["beaten", "difference_low", "difference_high"]] = [False, -0.2, -0.1]
    first = focus.verdicts(changed)[0]
    assert not first.everything and first.not_beaten == ("area", "centre") and first.below == ("centre",)
    assert "It does not beat a map that is the same everywhere. It does not beat, but lies below a map of" in first.text


def test_few_patients_are_flagged():
    found = focus.table(run(ALL, patients=9))
    assert found.table["small"].all()
    first, _ = focus.verdicts(found.table)
    assert first.small and first.text.endswith("These are few patients (9).")


def test_what_does_not_fit_is_named(rows):
    with pytest.raises(ValueError, match="got none of zero"):
        focus.table(rows.drop(columns="zero"))
    with pytest.raises(ValueError, match="each map once, got two of box, , area, -1, i00"):
        focus.table(pd.concat([rows, rows.iloc[:1]]))
