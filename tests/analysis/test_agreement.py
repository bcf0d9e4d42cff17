"""Stability over seeds and likeness to controls, against loops over SciPy's correlation."""

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from cxrjax.analysis import agreement, localisation, map_tests
from tests.analysis import looks_cases as cases

SEEDS = 3


def maps_of(network="trained", strength=2.0):
    """Each seed maps two images of three."""
    where = cases.regions()
    chosen = [np.flatnonzero(np.arange(len(where.image)) % 3 != seed) for seed in range(SEEDS)]
    return [cases.maps(where, network, seed, strength, rows=rows) for seed, rows in enumerate(chosen)]


@pytest.fixture(scope="module")
def networks():
    return {name: maps_of(name) for name in ("trained", *localisation.CONTROLS)}


@pytest.fixture(scope="module")
def made(networks):
    return agreement.table([agreement.reduce(part) for parts in networks.values() for part in parts])


def flat(parts):
    """(seed, image) -> reduced map, and image -> patient."""
    found, patient = {}, {}
    for part in parts:
        reduced = agreement.reduce_maps(part.maps).reshape(len(part.maps), -1)
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
    expected = map_tests.interval(
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
    for control in localisation.CONTROLS:
        other, _ = flat(networks[control])
        values = {}
        for seed, image in own:
            values.setdefault(image, []).append(correlation(own[seed, image], other[seed, image]))
        check(row_of(made.table, "trained", control), values, patient)


def test_rows_and_notes(made):
    assert not made.notes
    pairs = list(zip(made.table["network"], made.table["against"], strict=True))
    assert pairs == [(n, "seeds") for n in ("trained", *localisation.CONTROLS)] + [
        ("trained", n) for n in localisation.CONTROLS
    ]
    assert (made.table["constant_maps"] == 0).all() and not made.table["small"].any()


def test_the_same_maps_agree_wholly_and_order_does_not_matter(networks):
    reduced = [agreement.reduce(part) for part in networks["trained"]]
    copies = [part._replace(network="random_head") for part in reversed(reduced)]
    row = row_of(agreement.table([*copies, *reduced]).table, "trained", "random_head")
    assert row["value"] == pytest.approx(1) and row["note"] == "same_in_every_patient"
    one, other = (agreement.table(parts).table for parts in (reduced, reduced[::-1]))
    pd.testing.assert_frame_equal(one, other)


def test_constant_maps_are_left_out_and_counted(networks):
    parts = [part._replace(maps=part.maps.copy()) for part in networks["trained"]]
    parts[0].maps[0] = 1  # its image has one more seed, so that no pair is left
    found = agreement.table([agreement.reduce(part) for part in [*parts, *networks["random_head"]]])
    row = row_of(found.table, "trained", "seeds")
    assert (row["images"], row["constant_maps"]) == (15, 1)
    assert row["note"].startswith("constant_left_out n=1")
    row = row_of(found.table, "trained", "random_head")
    assert (row["images"], row["constant_maps"]) == (16, 1)  # another seed still maps it
    zero = [agreement.reduce(part._replace(maps=np.zeros_like(part.maps))) for part in networks["trained"]]
    found = agreement.table(zero)
    assert found.table.empty
    assert found.notes[0] == "maps_constant method=gradient network=trained against=seeds"


def test_what_is_missing_is_told(networks):
    first = agreement.reduce(networks["trained"][0])
    found = agreement.table([first])
    assert found.table.empty
    assert found.notes == [
        "one_seed_an_image method=gradient network=trained",
        "maps_absent method=gradient networks=random_head,shuffled_labels,random_trunk",
    ]
    found = agreement.table([first, agreement.reduce(networks["random_head"][1])])
    assert "no_common_seed method=gradient network=trained against=random_head" in found.notes


def test_methods_stand_apart(networks):
    reduced = [agreement.reduce(part) for part in networks["trained"]]
    other = [part._replace(method="grad_cam", ranks=part.ranks[:, ::-1]) for part in reduced]
    table = agreement.table([*reduced, *other]).table
    assert list(table["method"]) == ["gradient", "grad_cam"]
    assert table["value"][0] == pytest.approx(table["value"][1])


def test_a_map_twice_is_refused(networks):
    part = agreement.reduce(networks["trained"][0])
    with pytest.raises(ValueError, match="got two of trained, gradient, 0, i01"):
        agreement.table([part, part])


def maps(n=4, side=21, seed=0):
    """Like rectified maps: half of the pixels are zero, hence ties."""
    rng = np.random.default_rng(seed)
    return np.maximum(rng.standard_normal((n, side, side)), 0).astype(np.float32)


def test_blocks_by_hand():
    """5 pixels in blocks of 2: two, two and one."""
    one = np.arange(25, dtype=np.float32).reshape(1, 5, 5)
    np.testing.assert_allclose(agreement.reduce_maps(one, 2)[0], [[3, 5, 6.5], [13, 15, 16.5], [20.5, 22.5, 24]])
    assert agreement.reduce_maps(np.ones((2, 227, 227), np.float32)).shape == (2, 57, 57)


def test_ranks_by_hand():
    reduced = np.array([[[0, 0], [3, 1]], [[5, 5], [5, 5]]], np.float32)
    np.testing.assert_array_equal(agreement.ranks(reduced), [[3, 3, 8, 6], [5, 5, 5, 5]])


def test_spearman_is_scipys():
    """Through blocks and 16-bit ranks, with ties; both in float64."""
    a, b = (agreement.reduce_maps(maps(seed=seed), 3) for seed in (0, 1))
    b[0] = a[0] + b[0]
    got = agreement.spearman(agreement.ranks(a), agreement.ranks(b))
    expected = [stats.spearmanr(x.ravel(), y.ravel()).statistic for x, y in zip(a, b, strict=True)]
    np.testing.assert_allclose(got, expected, atol=1e-12)
    assert got[0] > 0.5


def test_only_the_order_counts():
    a = agreement.reduce_maps(maps())
    rising, falling = (agreement.ranks(x) for x in (1e-20 * a**3, -a))
    np.testing.assert_allclose(agreement.spearman(agreement.ranks(a), rising), 1)
    np.testing.assert_allclose(agreement.spearman(agreement.ranks(a), falling), -1)


def test_mean_over_pairs_is_the_loops():
    ranks = agreement.ranks(agreement.reduce_maps(maps(5)))
    pairs = itertools.combinations(range(5), 2)
    expected = np.mean([agreement.spearman(ranks[[i]], ranks[[j]])[0] for i, j in pairs])
    assert agreement.mean_pairwise(ranks) == pytest.approx(expected, abs=1e-12)


def test_a_constant_map_has_no_order():
    ranks = agreement.ranks(np.concatenate([agreement.reduce_maps(maps(2), 3), np.ones((1, 7, 7), np.float32)]))
    np.testing.assert_array_equal(np.isnan(agreement.spearman(ranks, ranks)), [False, False, True])
    assert agreement.mean_pairwise(ranks) == pytest.approx(agreement.spearman(ranks[:1], ranks[1:2])[0])
    assert np.isnan(agreement.mean_pairwise(ranks[1:]))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: agreement.reduce_maps(np.ones((1, 4, 5))), r"maps must be \[n, side, side\], got \(1, 4, 5\)"),
        (lambda: agreement.reduce_maps(np.ones((1, 4, 4)), 0), "block must be 1 pixel or more, got 0"),
        (lambda: agreement.ranks(np.ones((1, 227, 227))), "at most 32,767 blocks a map, got 51529"),
        (lambda: agreement.spearman(np.ones((1, 4)), np.ones((1, 5))), "a and b must have the same shape"),
    ],
)
def test_what_does_not_fit_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
