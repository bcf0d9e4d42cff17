"""Lung fields: how well the estimate finds the phantom's, what it must not depend on, and masks read from files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from cxrjax.base import InputError
from cxrjax.data.phantom import Phantom, phantom
from cxrjax.interpret import lungs


@pytest.fixture(scope="module")
def drawn() -> Phantom:
    return phantom(12, seed=3)


@pytest.fixture(scope="module")
def masks(drawn: Phantom) -> np.ndarray:
    return lungs.estimate(drawn.images)


def dice(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return 2 * (a & b).sum((1, 2)) / (a.sum((1, 2)) + b.sum((1, 2)))


def test_the_estimate_finds_the_phantoms_lungs(drawn: Phantom, masks: np.ndarray):
    """The module's docstring has the measurement on more patients; the bars are a little below it."""
    assert masks.shape == drawn.images.shape and masks.dtype == bool
    scores = dice(masks, drawn.lungs)
    assert scores.mean() > 0.85 and scores.min() > 0.75
    assert abs(masks.mean() / drawn.lungs.mean() - 1) < 0.1


def test_one_smooth_region_a_side(masks: np.ndarray):
    for mask in masks:
        regions, n = ndimage.label(mask)
        assert n == 2 and ndimage.binary_fill_holes(mask).sum() == mask.sum()
        assert min(np.bincount(regions.ravel())[1:]) > 0.02 * mask.size


def test_the_same_whatever_the_other_images(drawn: Phantom, masks: np.ndarray):
    np.testing.assert_array_equal(lungs.estimate(drawn.images[[5, 2]]), masks[[5, 2]])


def test_brightness_and_contrast_matter_little(drawn: Phantom, masks: np.ndarray):
    """Not exactly: grey values are rounded anew, and black edges are known by a fixed grey value."""
    for gain, offset in ((0.7, 30), (0.25, 0)):
        other = (drawn.images[:6] * gain + offset).astype(np.uint8)
        assert dice(lungs.estimate(other), masks[:6]).min() > 0.95


def test_an_opacity_is_not_cut_out(drawn: Phantom, masks: np.ndarray):
    """A soft white ball of 36 pixels in the middle of the right lung, on images without finding."""
    rows = np.flatnonzero(drawn.table["labels"] == "No Finding")[:4]
    y, x = np.mgrid[:256, :256]
    white = drawn.images[rows].astype(np.float32)
    balls = np.zeros(white.shape, bool)
    for image, ball, mask in zip(white, balls, masks[rows], strict=True):
        cy, cx = ndimage.center_of_mass(mask[:, :128])
        ball[:] = (y - cy) ** 2 + (x - cx) ** 2 < 14**2
        image += 90 * np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / (2 * 12**2))
    found = lungs.estimate(np.clip(white, 0, 255).astype(np.uint8))
    assert dice(found, masks[rows]).min() > 0.9
    assert ((found & balls).sum((1, 2)) / balls.sum((1, 2))).min() > 0.9


@pytest.mark.parametrize("grey", [0, 128, 255])
def test_an_empty_image_has_the_usual_outline(grey: int):
    (mask,) = lungs.estimate(np.full((1, 256, 256), grey, np.uint8))
    assert 0.1 < mask.mean() < 0.4


def test_no_images_have_no_masks():
    assert lungs.estimate(np.zeros((0, 256, 256), np.uint8)).shape == (0, 256, 256)


@pytest.mark.parametrize("side", [128, 96])
def test_smaller_images_have_smaller_masks(drawn: Phantom, masks: np.ndarray, side: int):
    """A multiple of 64 and none; the outline is the same but for what averaging to 64 x 64 changes."""
    image = Image.fromarray(drawn.images[0]).resize((side, side), Image.Resampling.BOX)
    (small,) = lungs.estimate(np.asarray(image)[None])
    want = np.asarray(Image.fromarray(masks[0]).resize((side, side)))
    assert small.shape == (side, side)
    assert 2 * (small & want).sum() / (small.sum() + want.sum()) > 0.95


@pytest.mark.parametrize(
    ("images", "told"),
    [
        (np.zeros((256, 256), np.uint8), r"images .* got uint8 \[256, 256\]"),
        (np.zeros((1, 128, 256), np.uint8), r"images .* got uint8 \[1, 128, 256\]"),
        (np.zeros((1, 256, 256), np.float32), r"images .* got float32 \[1, 256, 256\]"),
    ],
)
def test_other_images_are_refused(images: np.ndarray, told: str):
    with pytest.raises(ValueError, match=told):
        lungs.estimate(images)


def save(path: Path, size: int = 256, value: int = 255, mode: str = "L") -> np.ndarray:
    """The lower left quarter is lung; returned at 256 x 256."""
    pixels = np.zeros((size, size), np.uint8)
    pixels[size // 2 :, : size // 2] = value
    Image.fromarray(pixels).convert(mode).save(path)
    quarter = np.zeros((256, 256), bool)
    quarter[128:, :128] = True
    return quarter


@pytest.mark.parametrize(
    ("file", "size", "value", "mode"),
    [
        ("a.png", 256, 1, "L"),
        ("a.png", 1024, 255, "1"),
        ("a_mask.png", 64, 2, "L"),
        ("a.PNG", 512, 255, "RGBA"),
        ("a.jpg", 512, 200, "L"),
        ("a.bmp", 256, 255, "RGB"),
        ("a.tif", 256, 1, "I;16"),
    ],
)
def test_masks_of_any_size_and_format(tmp_path: Path, file: str, size: int, value: int, mode: str):
    quarter = save(tmp_path / file, size, value, mode)
    found, positions = lungs.read_masks(tmp_path, ["z.png", "a.png"])
    np.testing.assert_array_equal(found, quarter[None])
    assert found.dtype == bool and positions.dtype == np.int32 and positions.tolist() == [1]


def test_masks_stand_in_the_order_of_the_names(tmp_path: Path):
    quarter = save(tmp_path / "a.png")
    Image.fromarray((~quarter).astype(np.uint8)).save(tmp_path / "b_mask.png")
    save(tmp_path / "b.png")  # the radiograph itself beside its mask
    found, positions = lungs.read_masks(tmp_path, ["b.png", "c.png", "a.png"])
    np.testing.assert_array_equal(found, np.stack([~quarter, quarter]))
    assert positions.tolist() == [0, 2]


def test_errors_name_file_rule_and_value(tmp_path: Path):
    with pytest.raises(InputError, match=r"must be a folder, got .*none"):
        lungs.read_masks(tmp_path / "none", ["a.png"])
    with pytest.raises(InputError, match=r"must hold a mask for one of 2 radiographs, got none .*a_mask\.png"):
        lungs.read_masks(tmp_path, ["a.png", "b.png"])
    (tmp_path / "a.png").write_text("no image")
    with pytest.raises(InputError, match=r"a\.png must be a PNG, .* got UnidentifiedImageError"):
        lungs.read_masks(tmp_path, ["a.png"])
    save(tmp_path / "a.png", value=0)
    with pytest.raises(InputError, match=r"a\.png must mark some lung"):
        lungs.read_masks(tmp_path, ["a.png"])
    save(tmp_path / "a.bmp")
    with pytest.raises(InputError, match=r"one mask for each radiograph, got a\.bmp and a\.png"):
        lungs.read_masks(tmp_path, ["a.png"])


def test_a_damaged_mask_and_an_empty_jpeg_are_refused(tmp_path: Path):
    save(tmp_path / "a.png")
    whole = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"a\.png must be a PNG, "):
        lungs.read_masks(tmp_path, ["a.png"])
    save(tmp_path / "b.jpg", value=0)
    with pytest.raises(InputError, match=r"b\.jpg must mark some lung"):
        lungs.read_masks(tmp_path, ["b.png"])
