from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

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


def amounts(n=4, **limits):
    """Of each augmentation n amounts from -limit to limit."""
    return {name: np.linspace(-limit, limit, n, dtype=np.float32) for name, limit in limits.items()}


@pytest.mark.parametrize("limits", [{"rotation": 15}, {"scale": 0.2}, {"rotation": 170, "scale": 0.5}])
def test_rotation_and_scale_equal_scipy(noise, limits):
    """Noise shows an error of 0.01 pixel; one grey is what rounding after float32 may move."""
    images, drawn = noise[:4, 14:91, :60], amounts(**limits)
    out = np.asarray(augment.vary(images, drawn)).astype(int)
    for i, image in enumerate(images):
        angle, share = (drawn.get(name, np.zeros(4))[i] for name in ("rotation", "scale"))
        cos, sin = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
        matrix = np.array([[cos, sin], [-sin, cos]]) / (1 + share)
        centre = (np.array(image.shape) - 1) / 2
        expected = ndimage.affine_transform(
            image.astype(float), matrix, centre - matrix @ centre, order=1, mode="nearest"
        )
        assert abs(out[i] - expected).max() <= 0.51


def test_a_quarter_turn_is_counter_clockwise_and_a_larger_scale_enlarges(noise):
    image = noise[0, :64, :64]
    (turned,) = np.asarray(augment.vary(image[None], {"rotation": np.array([90], np.float32)})).astype(int)
    assert abs(turned - np.rot90(image)).max() <= 1  # its cosine is 4e-8
    spot = np.zeros((1, 65, 65), np.uint8)
    spot[:, 28:37, 28:37] = 200
    (enlarged,) = np.asarray(augment.vary(spot, {"scale": np.array([0.5], np.float32)}))
    assert (enlarged > 100).sum() == 13**2  # 9 pixels a side, 1.5 times


def test_brightness_by_hand():
    image = np.tile(np.array([[[0, 10, 101, 255]]], np.uint8), (3, 1, 1))
    out = np.asarray(augment.vary(image, {"brightness": np.array([-0.5, 0, 0.25], np.float32)}))
    np.testing.assert_array_equal(out[:, 0], [[0, 5, 50, 128], [0, 10, 101, 255], [0, 12, 126, 255]])


def test_amounts_of_0_change_nothing_and_images_do_not_meet(noise):
    images = noise[:4, :50, :50]
    np.testing.assert_array_equal(augment.vary(images, amounts(**dict.fromkeys(augment.AUGMENTATIONS, 0))), images)
    drawn = amounts(rotation=10, scale=0.1, brightness=0.2)
    alone = augment.vary(images[2:3], {name: values[2:3] for name, values in drawn.items()})
    # Other batches are other programs, whose last bits may round a grey otherwise.
    assert abs(np.asarray(augment.vary(images, drawn))[2].astype(int) - alone[0]).max() <= 1


@pytest.mark.parametrize("name", ["even", "odd"])
def test_clahe_equals_opencv(name):
    golden = np.load(Path(__file__).parents[1] / "golden" / "clahe.npz")
    out = np.asarray(augment.clahe(np.stack([golden[name], golden[name][::-1], golden[name]])))
    # Weights between tiles in float32: on 64 real radiographs of 227 x 227 one grey in 0.03 % of the pixels.
    off = abs(out[0].astype(int) - golden[f"{name}_equalised"])
    assert off.max() <= 1
    assert (off > 0).mean() <= 0.002
    np.testing.assert_array_equal(out[-1], out[0])
