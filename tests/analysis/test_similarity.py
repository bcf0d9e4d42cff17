"""Rank correlation of maps against SciPy's, maps reduced by hand."""

import itertools

import numpy as np
import pytest
from scipy import stats

from cxrjax.analysis import similarity


def maps(n=4, side=21, seed=0):
    """Like rectified maps: half of the pixels are zero, hence ties."""
    rng = np.random.default_rng(seed)
    return np.maximum(rng.standard_normal((n, side, side)), 0).astype(np.float32)


def test_blocks_by_hand():
    """5 pixels in blocks of 2: two, two and one."""
    one = np.arange(25, dtype=np.float32).reshape(1, 5, 5)
    np.testing.assert_allclose(similarity.reduce_maps(one, 2)[0], [[3, 5, 6.5], [13, 15, 16.5], [20.5, 22.5, 24]])
    assert similarity.reduce_maps(np.ones((2, 227, 227), np.float32)).shape == (2, 57, 57)


def test_ranks_by_hand():
    reduced = np.array([[[0, 0], [3, 1]], [[5, 5], [5, 5]]], np.float32)
    np.testing.assert_array_equal(similarity.ranks(reduced), [[3, 3, 8, 6], [5, 5, 5, 5]])


def test_spearman_is_scipys():
    """Through blocks and 16-bit ranks, with ties; both in float64."""
    a, b = (similarity.reduce_maps(maps(seed=seed), 3) for seed in (0, 1))
    b[0] = a[0] + b[0]
    got = similarity.spearman(similarity.ranks(a), similarity.ranks(b))
    expected = [stats.spearmanr(x.ravel(), y.ravel()).statistic for x, y in zip(a, b, strict=True)]
    np.testing.assert_allclose(got, expected, atol=1e-12)
    assert got[0] > 0.5


def test_only_the_order_counts():
    a = similarity.reduce_maps(maps())
    rising, falling = (similarity.ranks(x) for x in (1e-20 * a**3, -a))
    np.testing.assert_allclose(similarity.spearman(similarity.ranks(a), rising), 1)
    np.testing.assert_allclose(similarity.spearman(similarity.ranks(a), falling), -1)


def test_mean_over_pairs_is_the_loops():
    ranks = similarity.ranks(similarity.reduce_maps(maps(5)))
    pairs = itertools.combinations(range(5), 2)
    expected = np.mean([similarity.spearman(ranks[[i]], ranks[[j]])[0] for i, j in pairs])
    assert similarity.mean_pairwise(ranks) == pytest.approx(expected, abs=1e-12)


def test_a_constant_map_has_no_order():
    ranks = similarity.ranks(np.concatenate([similarity.reduce_maps(maps(2), 3), np.ones((1, 7, 7), np.float32)]))
    np.testing.assert_array_equal(np.isnan(similarity.spearman(ranks, ranks)), [False, False, True])
    assert similarity.mean_pairwise(ranks) == pytest.approx(similarity.spearman(ranks[:1], ranks[1:2])[0])
    assert np.isnan(similarity.mean_pairwise(ranks[1:]))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: similarity.reduce_maps(np.ones((1, 4, 5))), r"maps must be \[n, side, side\], got \(1, 4, 5\)"),
        (lambda: similarity.reduce_maps(np.ones((1, 4, 4)), 0), "block must be 1 pixel or more, got 0"),
        (lambda: similarity.ranks(np.ones((1, 227, 227))), "at most 32,767 blocks a map, got 51529"),
        (lambda: similarity.spearman(np.ones((1, 4)), np.ones((1, 5))), "a and b must have the same shape"),
    ],
)
def test_what_does_not_fit_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
