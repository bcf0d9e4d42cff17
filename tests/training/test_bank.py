"""A bank in memory, on disk and rebuilt in part, against the trunk called image by image."""

import jax
import jax.numpy as jnp
import jaxlib
import numpy as np
import pytest

from cxrjax.base import devices
from cxrjax.models import transfer
from cxrjax.models.registry import ALEXNET
from cxrjax.storage import store
from cxrjax.training import bank, inputs
from cxrjax.training import plan as planning

ROWS = np.array([7, 2, 30, 11, 25], np.int32)


@jax.jit
def _sums(params, images):
    """[B, 227, 227] -> [B, 227] row sums: of integers, so exact; an offset and a flip both show."""
    weights = jnp.arange(227, dtype=jnp.float32)
    return jnp.einsum("bhw,w->bh", jnp.asarray(images, jnp.float32), weights) * params


TRUNK = transfer.Trunk(ALEXNET, _sums, jnp.float32(1), (227,), np.dtype(np.float32), "sums")


@pytest.fixture(scope="module")
def pipeline(noise):
    return inputs.Resident(jnp.asarray(noise), 227)


def expected(noise, slots):
    """[n, K, 227] by hand: crop, flip, sum."""
    plan = planning.bank(ROWS, slots, 30)
    out = np.zeros((*plan.mask.shape, 227), np.float32)
    for i, k in np.ndindex(*plan.mask.shape):
        y, x = np.asarray(plan.offset)[i, k]
        window = noise[ROWS[i], y : y + 227, x : x + 227].astype(np.float32)
        out[i, k] = (window[:, ::-1] if plan.flip[i, k] else window) @ np.arange(227, dtype=np.float32)
    return out


def cached(folder, images):
    return bank.Cache(folder, store.hash_rows(images, np.arange(len(images))))


@pytest.mark.parametrize("slots", [1, 3, pytest.param(70, marks=pytest.mark.slow)])
def test_entries_are_the_trunk_of_each_augmentation(noise, pipeline, slots):
    filled = bank.build(TRUNK, pipeline, ROWS, bank.Slots(slots), len(noise))
    index, slot = np.broadcast_arrays(ROWS[:, None], np.arange(slots)[None, :])
    np.testing.assert_allclose(bank.gather(filled, index, slot), expected(noise, slots), rtol=1e-6)


def test_centre_is_a_bank_of_one_slot(noise, pipeline):
    filled = bank.build(TRUNK, pipeline, ROWS, bank.CENTRE, len(noise))
    window = noise[ROWS, 14 : 14 + 227, 14 : 14 + 227].astype(np.float32) @ np.arange(227, dtype=np.float32)
    np.testing.assert_allclose(bank.gather(filled, ROWS, np.zeros_like(ROWS)), window, rtol=1e-6)


class Counting:
    """A pipeline that notes the rows of each plan."""

    def __init__(self, pipeline):
        self.pipeline, self.rows = pipeline, []

    def batches(self, plan):
        self.rows.append(np.unique(np.asarray(plan.index)).tolist())
        return self.pipeline.batches(plan)


def test_the_cache_gives_the_same_and_computes_once(noise, pipeline, tmp_path):
    cache = cached(tmp_path, noise)
    counting = Counting(pipeline)
    part = bank.build(TRUNK, counting, ROWS[:2], bank.Slots(3), len(noise), cache)
    whole = bank.build(TRUNK, counting, ROWS, bank.Slots(3), len(noise), cache)
    again = bank.build(TRUNK, counting, ROWS[::-1], bank.Slots(3), len(noise), cache)
    assert counting.rows == [[2, 7], [11, 25, 30]]
    fresh = bank.build(TRUNK, counting, ROWS, bank.Slots(3), len(noise))
    slot = np.arange(5) % 3
    for filled in (whole, again):
        np.testing.assert_array_equal(bank.gather(filled, ROWS, slot), bank.gather(fresh, ROWS, slot))
    np.testing.assert_array_equal(bank.gather(part, ROWS[:2], slot[:2]), bank.gather(fresh, ROWS[:2], slot[:2]))


def test_other_pixels_weights_slots_or_types_are_other_entries(noise, pipeline, tmp_path):
    counting = Counting(pipeline)
    changed = noise.copy()
    changed[7, 0, 0] ^= 1
    bank.build(TRUNK, counting, ROWS, bank.Slots(3), len(noise), cached(tmp_path, noise))
    bank.build(TRUNK, counting, ROWS, bank.Slots(3), len(noise), cached(tmp_path, changed))
    assert counting.rows[1:] == [[7]]
    bank.build(TRUNK._replace(identity="other"), counting, ROWS, bank.Slots(3), len(noise), cached(tmp_path, noise))
    bank.build(TRUNK, counting, ROWS, bank.Slots(4), len(noise), cached(tmp_path, noise))
    bank.build(TRUNK, counting, ROWS, bank.CENTRE, len(noise), cached(tmp_path, noise))
    assert counting.rows[2:] == [sorted(ROWS.tolist())] * 3


def test_rows_are_resident_where_they_fit(noise, pipeline, tmp_path):
    filled = bank.build(TRUNK, pipeline, ROWS, bank.Slots(3), len(noise), cached(tmp_path, noise))
    size = len(ROWS) * 3 * 227 * 4
    mesh = devices.mesh(1, 1)
    assert bank.on_device(filled, size - 1, mesh) is filled
    resident = bank.on_device(filled, size, mesh)
    assert isinstance(resident.features, jax.Array)
    np.testing.assert_array_equal(bank.gather(resident, ROWS, ROWS % 3), bank.gather(filled, ROWS, ROWS % 3))


def test_a_row_that_is_not_there_is_named(noise, pipeline):
    filled = bank.build(TRUNK, pipeline, ROWS, bank.Slots(1), len(noise))
    with pytest.raises(KeyError, match="row 3 of the store"):
        bank.gather(filled, np.array([7, 3]), np.array([0, 0]))


def test_another_compiler_or_convolution_library_is_another_entry(noise, pipeline, tmp_path, monkeypatch):
    """They round otherwise, so a run after an upgrade must not mix its numbers with those of before."""
    counting = Counting(pipeline)
    cache = cached(tmp_path, noise)
    bank.build(TRUNK, counting, ROWS, bank.Slots(1), len(noise), cache)
    monkeypatch.setattr(jaxlib, "__version__", "0.0.1")
    bank.build(TRUNK, counting, ROWS, bank.Slots(1), len(noise), cache)
    monkeypatch.setattr(devices, "convolution_options", lambda: {"library": "other"})
    bank.build(TRUNK, counting, ROWS, bank.Slots(1), len(noise), cache)
    bank.build(TRUNK, counting, ROWS, bank.Slots(1), len(noise), cache)
    assert len(counting.rows) == 3


def test_other_amounts_are_other_entries(noise, pipeline, tmp_path):
    """By every digit of a limit, and the images are varied."""
    counting, cache = Counting(pipeline), cached(tmp_path, noise)
    limits = [(), (("rotation", 10.0),), (("rotation", 10.0000001),), (("scale", 10.0),), (("rotation", 10.0),)]
    features = []
    for limit in limits:
        slots = bank.Slots(3, planning.Variation(limits=limit))
        filled = bank.build(TRUNK, counting, ROWS, slots, len(noise), cache)
        features.append(bank.gather(filled, ROWS, np.zeros_like(ROWS)))
    assert len(counting.rows) == 4
    np.testing.assert_array_equal(features[1], features[4])
    assert np.abs(features[0] - features[1]).max() > 1
    assert str(bank.Slots(3)) == "bank of 3"  # names folders of before
    assert str(bank.Slots(3, planning.Variation(flip=False))) == "bank of 3, none flipped"
