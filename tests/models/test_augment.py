import jax
import jax.numpy as jnp
import numpy as np

from cxrjax.models import augment, registry
from cxrjax.training import inputs, plan, tf_input


def test_crop_flip_moves_the_pixels_it_says(noise):
    offset = np.array([[0, 0], [29, 29], [3, 17], [3, 17]], np.int32)
    out = np.asarray(augment.crop_flip(noise[:4], offset, np.array([False, False, False, True]), 227))
    for i, (y, x) in enumerate(offset):
        expected = noise[i, y : y + 227, x : x + 227]
        np.testing.assert_array_equal(out[i], expected[:, ::-1] if i == 3 else expected)


def test_a_crop_is_as_large_as_the_network_takes(noise):
    small = noise[:2, :48, :48]
    offset, flip = np.array([[0, 8], [5, 2]], np.int32), np.array([False, True])
    out = np.asarray(augment.crop_flip(small, offset, flip, 40))
    np.testing.assert_array_equal(out[0], small[0, :40, 8:48])
    np.testing.assert_array_equal(out[1], small[1, 5:45, 2:42][:, ::-1])
    planned = plan.epoch(jax.random.key(1), 0, np.arange(2, dtype=np.int32), 2, 1, 9)
    (streamed,), (resident,) = (
        tf_input.TfData(small, 40).batches(planned),
        inputs.Resident(jnp.asarray(small), 40).batches(planned),
    )
    np.testing.assert_array_equal(streamed, resident)


def test_normalise_equals_the_torchvision_recipe_by_hand():
    """(x / 255 - mean) / std for R, G, B, worked out by hand for three greys."""
    out = np.asarray(augment.normalise(np.array([[[0, 255, 128]]], np.uint8), registry.TORCHVISION))
    np.testing.assert_allclose(out[0, 0, 0], [-2.117904, -2.035714, -1.804444], atol=2e-6)
    np.testing.assert_allclose(out[0, 0, 1], [2.248908, 2.428571, 2.640000], atol=2e-6)
    np.testing.assert_allclose(out[0, 0, 2], [0.074065, 0.205182, 0.426492], atol=2e-6)


def test_normalise_for_caffe_subtracts_the_mean_of_blue_first():
    out = np.asarray(augment.normalise(np.array([[[200]]], np.uint8), registry.CAFFE))
    np.testing.assert_allclose(out[0, 0, 0], 200 - np.array([104.00698793, 116.66876762, 122.67891434]), rtol=1e-6)


def test_pipelines_give_identical_pixels(noise):
    """tf.data equals resident, exactly, also in order, with a partial last batch and with a bank's offsets."""
    rows = np.arange(3, 38, dtype=np.int32)
    for planned in (
        plan.epoch(jax.random.key(1), 0, rows, 8, 6, 30),
        plan.epoch(jax.random.key(1), 0, rows, 8, 6, 30, bank=3),
    ):
        resident = list(inputs.Resident(jnp.asarray(noise), 227).batches(planned))
        streamed = list(tf_input.TfData(noise, 227).batches(planned))
        assert len(resident) == len(streamed) == 6
        for a, b in zip(resident, streamed, strict=True):
            assert b.dtype == np.uint8
            np.testing.assert_array_equal(np.asarray(a), b)


def test_pipeline_reads_a_memory_map(noise, tmp_path):
    np.save(tmp_path / "x.npy", noise)
    planned = plan.centre(np.array([5, 1], np.int32), 2, 14)
    (out,) = tf_input.TfData(np.load(tmp_path / "x.npy", mmap_mode="r"), 227).batches(planned)
    np.testing.assert_array_equal(out, noise[[5, 1], 14:241, 14:241])
