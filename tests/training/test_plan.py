import jax
import numpy as np
import pytest

from cxrjax.training import plan

ROWS = np.arange(1000, 1700, dtype=np.int32)  # 700 images: 10 full batches of 64 and one of 60
KEY = jax.random.key(7)


def as_numpy(p):
    return plan.Plan(*map(np.asarray, p))


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
    short, long = (as_numpy(plan.epoch(KEY, 0, ROWS, 64, steps, 30)) for steps in (11, 15))
    for a, b in zip(short, long, strict=True):
        np.testing.assert_array_equal(a[short.mask], b[long.mask])


def test_images_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"10 \* 64 for 700"):
        plan.epoch(KEY, 0, ROWS, 64, 10, 30)
    with pytest.raises(ValueError, match="1 image or more"):
        plan.epoch(KEY, 0, ROWS[:0], 64, 10, 30)


@pytest.mark.parametrize("slots", [1, 2, 5, 8, 16, 30])
def test_bank_is_a_latin_hypercube_with_half_flipped(slots):
    p = as_numpy(plan.bank(ROWS[:50], slots, 30))
    i = np.arange(slots)
    for axis in (0, 1):
        one_each = np.sort(p.offset[..., axis], axis=1)  # stratum i is [30 i / K, 30 (i + 1) / K)
        assert (one_each >= np.floor(30 * i / slots)).all()
        assert (one_each < np.ceil(30 * (i + 1) / slots)).all()
    assert p.offset.min() >= 0
    assert p.offset.max() <= 29
    flipped = p.flip.sum(axis=1)
    assert set(flipped) <= {slots // 2, (slots + 1) // 2}


def test_bank_entry_depends_on_row_and_number_of_slots_alone():
    a, b = as_numpy(plan.bank(ROWS, 4, 30)), as_numpy(plan.bank(ROWS[100:103], 4, 30))
    np.testing.assert_array_equal(a.offset[100:103], b.offset)
    np.testing.assert_array_equal(a.flip[100:103], b.flip)


def test_epoch_with_a_bank_takes_offset_and_flip_from_it():
    p, entries = as_numpy(plan.epoch(KEY, 2, ROWS, 64, 11, 30, bank=5)), as_numpy(plan.bank(ROWS, 5, 30))
    row = p.index[p.mask] - ROWS[0]
    slot = p.slot[p.mask]
    np.testing.assert_array_equal(p.offset[p.mask], entries.offset[row, slot])
    np.testing.assert_array_equal(p.flip[p.mask], entries.flip[row, slot])
    assert set(slot) == set(range(5))


def test_centre_is_offset_14_in_order():
    p = plan.centre(ROWS[:70], 64, 14)
    np.testing.assert_array_equal(p.index[p.mask], ROWS[:70])
    assert (p.offset == 14).all()
    assert not p.flip.any()
    assert p.mask.sum() == 70


def test_offsets_are_the_networks():
    p, entries = plan.epoch(KEY, 0, ROWS, 64, 11, 9), plan.bank(ROWS, 3, 9)
    assert set(np.unique(p.offset)) == set(np.unique(entries.offset)) == set(range(9))
    assert (plan.centre(ROWS, 64, 4).offset == 4).all()


def test_jit_and_eager_agree():
    with jax.disable_jit():
        eager = as_numpy(plan.epoch(KEY, 1, ROWS[:20], 8, 3, 30))
    for a, b in zip(eager, as_numpy(plan.epoch(KEY, 1, ROWS[:20], 8, 3, 30)), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("slots", [None, 4])
def test_without_flip_nothing_else_changes(slots):
    on, off = (as_numpy(plan.epoch(KEY, 1, ROWS, 64, 11, 30, slots, flip)) for flip in (True, False))
    assert on.flip[on.mask].any()
    assert not off.flip.any()
    for name in ("index", "offset", "slot", "mask"):
        np.testing.assert_array_equal(getattr(on, name), getattr(off, name))
    assert not as_numpy(plan.bank(ROWS, 4, 30, flip=False)).flip.any()
