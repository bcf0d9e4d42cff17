import jax
import numpy as np
import pytest

from cxrjax.training import plan

ROWS = np.arange(1000, 1700, dtype=np.int32)  # 700 images: 10 full batches of 64 and one of 60
KEY = jax.random.key(7)
# Most tests take epochs of 12 steps of 64 and banks of 4 slots: a program of another shape takes seconds to compile.


def as_numpy(p):
    return jax.tree.map(np.asarray, p)


@pytest.fixture(scope="module")
def epochs():
    return [as_numpy(plan.epoch(KEY, e, ROWS, 64, 12, 30)) for e in range(20)]


def test_each_image_once_an_epoch_and_the_rest_masked(epochs):
    for p in epochs:
        assert sorted(p.index[p.mask]) == list(ROWS)
        assert list(p.mask.sum(axis=1)) == [64] * 10 + [60, 0]


def test_order_and_augmentation_change_with_the_epoch_and_the_seed(epochs):
    other = as_numpy(plan.epoch(jax.random.key(8), 0, ROWS, 64, 12, 30))
    for p in (epochs[1], other):
        assert (p.index != epochs[0].index).mean() > 0.9
        assert (p.offset != epochs[0].offset).any(axis=-1).mean() > 0.9


def test_offsets_cover_0_to_29_evenly_and_half_are_flipped(epochs):
    offset = np.concatenate([p.offset[p.mask] for p in epochs])  # 14,000
    for axis in (0, 1):
        counts = np.bincount(offset[:, axis], minlength=30)
        assert len(counts) == 30
        # Expected 467 each, SD 21: 6 SD either way.
        assert (abs(counts - len(offset) / 30) < 6 * np.sqrt(len(offset) / 30)).all()
    assert abs(np.corrcoef(offset.T)[0, 1]) < 0.05
    flips = np.concatenate([p.flip[p.mask] for p in epochs])
    assert abs(flips.mean() - 0.5) < 6 * 0.5 / np.sqrt(len(flips))
    # Over epochs each image meets both, so the flip is not tied to the image.
    by_row = np.stack([p.flip[p.mask][np.argsort(p.index[p.mask])] for p in epochs])
    assert by_row.any(axis=0).all()


def test_augmentation_depends_on_seed_epoch_and_row_alone():
    """Not on the company it comes in: another set of images, other padding, another batch size."""
    few = ROWS[::7]
    alone = as_numpy(plan.epoch(KEY, 3, few, 10, 11, 30))
    among = as_numpy(plan.epoch(KEY, 3, ROWS, 64, 12, 30))
    place = {row: i for i, row in enumerate(among.index[among.mask])}
    for i, row in enumerate(alone.index[alone.mask]):
        assert (alone.offset[alone.mask][i] == among.offset[among.mask][place[row]]).all()
        assert alone.flip[alone.mask][i] == among.flip[among.mask][place[row]]
    # The order too: the few stand in the order in which they stand among the many.
    assert sorted(alone.index[alone.mask], key=place.get) == list(alone.index[alone.mask])


def test_more_padding_steps_change_nothing_else():
    short, long = (as_numpy(plan.epoch(KEY, 0, ROWS, 64, steps, 30)) for steps in (12, 15))
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a[short.mask], b[long.mask]), short, long)


def test_images_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"10 \* 64 for 700"):
        plan.epoch(KEY, 0, ROWS, 64, 10, 30)
    with pytest.raises(ValueError, match="1 image or more"):
        plan.epoch(KEY, 0, ROWS[:0], 64, 10, 30)


@pytest.mark.parametrize(("slots", "offsets"), [(1, 30), (5, 9), (8, 30), (30, 30)])
def test_bank_is_a_latin_hypercube_with_half_flipped(slots, offsets):
    p = as_numpy(plan.bank(ROWS[:50], slots, offsets))
    i = np.arange(slots)
    for axis in (0, 1):
        one_each = np.sort(p.offset[..., axis], axis=1)  # stratum i is [n i / K, n (i + 1) / K) of n offsets
        assert (one_each >= np.floor(offsets * i / slots)).all()
        assert (one_each < np.ceil(offsets * (i + 1) / slots)).all()
    assert p.offset.min() >= 0
    assert p.offset.max() <= offsets - 1
    flipped = p.flip.sum(axis=1)
    assert set(flipped) <= {slots // 2, (slots + 1) // 2}


def test_bank_entry_depends_on_row_and_number_of_slots_alone():
    a, b = as_numpy(plan.bank(ROWS, 4, 30)), as_numpy(plan.bank(ROWS[100:103], 4, 30))
    np.testing.assert_array_equal(a.offset[100:103], b.offset)
    np.testing.assert_array_equal(a.flip[100:103], b.flip)


def test_epoch_with_a_bank_takes_offset_and_flip_from_it():
    p, entries = as_numpy(plan.epoch(KEY, 2, ROWS, 64, 12, 30, bank=4)), as_numpy(plan.bank(ROWS, 4, 30))
    row = p.index[p.mask] - ROWS[0]
    slot = p.slot[p.mask]
    np.testing.assert_array_equal(p.offset[p.mask], entries.offset[row, slot])
    np.testing.assert_array_equal(p.flip[p.mask], entries.flip[row, slot])
    assert set(slot) == set(range(4))


def test_centre_is_offset_14_in_order():
    p = plan.centre(ROWS[:70], 64, 14)
    np.testing.assert_array_equal(p.index[p.mask], ROWS[:70])
    assert (p.offset == 14).all()
    assert not p.flip.any()
    assert p.mask.sum() == 70


def test_offsets_are_the_networks():
    assert set(np.unique(plan.epoch(KEY, 0, ROWS, 64, 12, 9).offset)) == set(range(9))
    assert (plan.centre(ROWS, 64, 4).offset == 4).all()


@pytest.mark.slow  # seconds of tiny programs
def test_jit_and_eager_agree():
    with jax.disable_jit():
        eager = as_numpy(plan.epoch(KEY, 1, ROWS[:20], 8, 3, 30))
    jax.tree.map(np.testing.assert_array_equal, eager, as_numpy(plan.epoch(KEY, 1, ROWS[:20], 8, 3, 30)))


@pytest.mark.parametrize("slots", [None, 4])
def test_without_flip_nothing_else_changes(slots):
    on, off = (as_numpy(plan.epoch(KEY, 1, ROWS, 64, 12, 30, slots, plan.Variation(flip))) for flip in (True, False))
    assert on.flip[on.mask].any()
    assert not off.flip.any()
    for name in ("index", "offset", "slot", "mask"):
        np.testing.assert_array_equal(getattr(on, name), getattr(off, name))
    assert not as_numpy(plan.bank(ROWS, 4, 30, plan.Variation(flip=False))).flip.any()


VARIED = plan.Variation(limits=(("rotation", 10.0), ("brightness", 0.2)))


@pytest.mark.parametrize("slots", [None, 4])
def test_amounts_are_uniform_within_their_limits_and_change_nothing_else(slots):
    plain, varied = (as_numpy(plan.epoch(KEY, 1, ROWS, 64, 12, 30, slots, v)) for v in (plan.PLAIN, VARIED))
    jax.tree.map(np.testing.assert_array_equal, plain, varied._replace(amounts={}))
    for name, limit in VARIED.limits:
        shares = varied.amounts[name][varied.mask] / limit
        assert abs(np.quantile(shares, [0, 0.25, 0.5, 0.75, 1]) - [-1, -0.5, 0, 0.5, 1]).max() < 0.1
    drawn = np.stack([varied.amounts[name][varied.mask] for name, _ in VARIED.limits])
    assert abs(np.corrcoef(drawn)[0, 1]) < 0.15
    alone = as_numpy(plan.epoch(KEY, 1, ROWS, 64, 12, 30, slots, plan.Variation(limits=VARIED.limits[1:])))
    np.testing.assert_array_equal(alone.amounts["brightness"], varied.amounts["brightness"])


def test_amounts_change_with_epoch_seed_and_image_and_are_a_banks_slots():
    first, others = (
        [as_numpy(plan.epoch(jax.random.key(seed), e, ROWS, 64, 12, 30, None, VARIED)) for seed, e in pairs]
        for pairs in ([(7, 0)], [(7, 1), (8, 0)])
    )
    angles = [p.amounts["rotation"][p.mask][np.argsort(p.index[p.mask])] for p in first + others]
    assert len(np.unique(angles)) > 0.99 * 3 * len(ROWS)
    entries = as_numpy(plan.bank(ROWS, 4, 30, VARIED))
    for name, limit in VARIED.limits:  # one in each of 4 strata
        strata = np.floor((entries.amounts[name] / limit + 1) * 2).astype(int)
        np.testing.assert_array_equal(np.sort(strata, axis=1), np.tile(np.arange(4), (len(ROWS), 1)))
    p = as_numpy(plan.epoch(KEY, 2, ROWS, 64, 12, 30, 4, VARIED))
    drawn = entries.amounts["rotation"][p.index[p.mask] - ROWS[0], p.slot[p.mask]]
    np.testing.assert_array_equal(p.amounts["rotation"][p.mask], drawn)


@pytest.mark.parametrize("slots", [None, 16])
def test_a_repeated_image_has_other_augmentations_and_its_first_use_stays(slots):
    repeated = np.concatenate([ROWS[:40], ROWS[:15], ROWS[:15], ROWS[3:4]])
    once, often = (
        as_numpy(plan.epoch(KEY, 4, rows, 64, 12, 30, slots, VARIED)) for rows in (ROWS[:40], repeated[::-1].copy())
    )
    assert sorted(often.index[often.mask]) == sorted(repeated)

    def uses(p, row):
        here = p.mask & (p.index == row)
        drawn = np.column_stack([p.offset[here], p.flip[here], p.amounts["rotation"][here]])
        return {tuple(values) for values in drawn}

    for row in ROWS[:40]:
        assert uses(once, row) <= uses(often, row)
    distinct = [len(uses(often, row)) for row in ROWS[:15]]
    assert sum(distinct) > 46 - (2 if slots is None else 12)  # two uses may draw one slot of 16
    if slots is None:  # else amounts do not tell uses apart
        angles, first = (list(p.amounts["rotation"][p.mask]) for p in (often, once))
        assert sorted(first, key=angles.index) == first
    # A use's place in the order is its own: the first 15 stand apart from their repetitions.
    assert (np.diff(often.index[often.mask]) == 0).mean() < 0.2


def test_padding_uses_no_row():
    """Padding holds row 0: an image in row 0 keeps its first use."""
    a, b = (as_numpy(plan.epoch(KEY, 0, np.arange(5, dtype=np.int32), 64, steps, 30)) for steps in (12, 15))
    jax.tree.map(lambda x, y: np.testing.assert_array_equal(x[a.mask], y[b.mask]), a, b)


def test_oversampling_uses_each_image_and_evens_the_classes():
    """As imbalanced-learn's RandomOverSampler counts, but each image of the rarer class as often as any other."""
    rng = np.random.default_rng(0)
    for seed, (positives, negatives) in enumerate([(3, 20), (20, 3), (7, 7), (1, 50), (13, 40)]):
        label = rng.permutation(np.repeat([1, 0], [positives, negatives])).astype(np.int32)
        places = plan.oversample(label, seed)
        uses = np.bincount(places, minlength=len(label))
        most = max(positives, negatives)
        assert np.bincount(label[places]).tolist() == [most, most]
        np.testing.assert_array_equal(places[: len(label)], np.arange(len(label)))
        for side in (0, 1):
            assert np.ptp(uses[label == side]) <= 1
        assert uses[label == (positives < negatives)].max() == -(-most // min(positives, negatives))
    many = [tuple(plan.oversample(label, seed)) for seed in range(5)]
    assert len(set(many)) == 5  # the rest falls to other images
    assert many[3] == tuple(plan.oversample(label, 3))
