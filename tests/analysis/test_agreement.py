"""Stability over seeds and likeness to controls, against loops over SciPy's correlation."""

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from cxrjax.analysis import agreement, looks, patient_means, similarity
from tests.analysis import looks_cases as cases

SEEDS = 3


def maps_of(network="trained", strength=2.0):
    """Each seed maps two images of three."""
    where = cases.regions()
    chosen = [np.flatnonzero(np.arange(len(where.image)) % 3 != seed) for seed in range(SEEDS)]
    return [cases.maps(where, network, seed, strength, rows=rows) for seed, rows in enumerate(chosen)]


@pytest.fixture(scope="module")
def networks():
    return {name: maps_of(name) for name in ("trained", *looks.CONTROLS)}


@pytest.fixture(scope="module")
def made(networks):
    return agreement.table([looks.reduce(part) for parts in networks.values() for part in parts])


def flat(parts):
    """(seed, image) -> reduced map, and image -> patient."""
    found, patient = {}, {}
    for part in parts:
        reduced = similarity.reduce_maps(part.maps).reshape(len(part.maps), -1)
        found |= {(int(s), i): m for s, i, m in zip(part.seed, part.image, reduced, strict=True)}
        patient |= dict(zip(part.image, part.patient, strict=True))
    return found, patient


def correlation(a, b):
    return stats.spearmanr(a, b).statistic


def row_of(table, network, against):
    (row,) = table[(table["network"] == network) & (table["against"] == against)].to_dict("records")
    return row


def check(row, values, patient):
    images = sorted(values)
    expected = patient_means.interval(
        np.array([np.mean(values[i]) for i in images]), np.array([patient[i] for i in images]), ends=(-1, 1)
    )
    np.testing.assert_allclose((row["value"], row["low"], row["high"]), expected[:3], atol=1e-9)
    assert row["images"] == len(images)


def test_stability_is_the_mean_over_pairs_of_seeds(networks, made):
    for network, parts in networks.items():
        own, patient = flat(parts)
        values = {}
        for image in patient:
            seeds = [seed for seed in range(SEEDS) if (seed, image) in own]
            pairs = itertools.combinations(seeds, 2)
            values[image] = [correlation(own[s, image], own[t, image]) for s, t in pairs]
        check(row_of(made.table, network, "seeds"), values, patient)


def test_likeness_to_a_control_is_of_the_same_seed_and_image(networks, made):
    own, patient = flat(networks["trained"])
    for control in looks.CONTROLS:
        other, _ = flat(networks[control])
        values = {}
        for seed, image in own:
            values.setdefault(image, []).append(correlation(own[seed, image], other[seed, image]))
        check(row_of(made.table, "trained", control), values, patient)


def test_rows_and_notes(made):
    assert not made.notes
    pairs = list(zip(made.table["network"], made.table["against"], strict=True))
    assert pairs == [(n, "seeds") for n in ("trained", *looks.CONTROLS)] + [("trained", n) for n in looks.CONTROLS]
    assert (made.table["constant_maps"] == 0).all() and not made.table["small"].any()


def test_the_same_maps_agree_wholly_and_order_does_not_matter(networks):
    reduced = [looks.reduce(part) for part in networks["trained"]]
    copies = [part._replace(network="random_head") for part in reversed(reduced)]
    row = row_of(agreement.table([*copies, *reduced]).table, "trained", "random_head")
    assert row["value"] == pytest.approx(1) and "the same in every image" in row["note"]
    one, other = (agreement.table(parts).table for parts in (reduced, reduced[::-1]))
    pd.testing.assert_frame_equal(one, other)


def test_constant_maps_are_left_out_and_counted(networks):
    parts = [part._replace(maps=part.maps.copy()) for part in networks["trained"]]
    parts[0].maps[0] = 1  # its image has one more seed, so that no pair is left
    found = agreement.table([looks.reduce(part) for part in [*parts, *networks["random_head"]]])
    row = row_of(found.table, "trained", "seeds")
    assert (row["images"], row["constant_maps"]) == (15, 1)
    assert row["note"].startswith("1 images left out, whose maps are constant")
    row = row_of(found.table, "trained", "random_head")
    assert (row["images"], row["constant_maps"]) == (16, 1)  # another seed still maps it
    zero = [looks.reduce(part._replace(maps=np.zeros_like(part.maps))) for part in networks["trained"]]
    found = agreement.table(zero)
    assert found.table.empty
    assert found.notes[0] == "gradient: the maps of trained and seeds are constant, which have no order."


def test_what_is_missing_is_told(networks):
    first = looks.reduce(networks["trained"][0])
    found = agreement.table([first])
    assert found.table.empty
    assert found.notes == [
        "gradient: no image was mapped by two seeds of trained, so stability is unknown.",
        "gradient: there are no maps of random_head, shuffled_labels, random_trunk.",
    ]
    found = agreement.table([first, looks.reduce(networks["random_head"][1])])
    assert "gradient: trained and random_head mapped no image with the same seed." in found.notes


def test_methods_stand_apart(networks):
    reduced = [looks.reduce(part) for part in networks["trained"]]
    other = [part._replace(method="grad_cam", ranks=part.ranks[:, ::-1]) for part in reduced]
    table = agreement.table([*reduced, *other]).table
    assert list(table["method"]) == ["gradient", "grad_cam"]
    assert table["value"][0] == pytest.approx(table["value"][1])


def test_a_map_twice_is_refused(networks):
    part = looks.reduce(networks["trained"][0])
    with pytest.raises(ValueError, match="got two of trained, gradient, seed 0, image i01"):
        agreement.table([part, part])
