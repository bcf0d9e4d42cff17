"""Lung fields: the network that is shipped, what its outlines must not depend on, and masks read from files."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from cxrjax.base import InputError
from cxrjax.data.phantom import Phantom, phantom
from cxrjax.interpret import lungs

SHIPPED = Path(lungs.__file__).parent / lungs.WEIGHTS


@pytest.fixture(scope="module")
def drawn() -> Phantom:
    return phantom(12, seed=3)


@pytest.fixture(scope="module")
def masks(drawn: Phantom) -> np.ndarray:
    return lungs.estimate(drawn.images)


def dice(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return 2 * (a & b).sum((1, 2)) / (a.sum((1, 2)) + b.sum((1, 2)))


def test_shipped_weights_are_small_float16_and_those_that_were_measured():
    content = SHIPPED.read_bytes()
    assert len(content) <= 1_000_000 and hashlib.sha256(content).hexdigest() == lungs.SHA256
    with np.load(SHIPPED, allow_pickle=False) as arrays:
        assert {arrays[name].dtype for name in arrays.files} == {np.dtype(np.float16)}
        assert sum(arrays[name].size for name in arrays.files) <= 300_000


def test_other_weights_are_refused(monkeypatch):
    monkeypatch.setattr(lungs, "SHA256", "0" * 64)
    with pytest.raises(InputError, match=r"lungs\.npz of cxrjax must have SHA-256 000000000000\.\.\., got "):
        lungs._shipped.__wrapped__()


def test_the_phantoms_lungs_are_seen(drawn: Phantom, masks: np.ndarray):
    """No phantom was in the training; the bars are a little below what docs/lungs.md measures on more."""
    assert masks.shape == drawn.images.shape and masks.dtype == bool
    scores = dice(masks, drawn.lungs)
    assert scores.mean() > 0.83 and scores.min() > 0.75


def test_peoples_outlines_are_met(shared: Path):
    """A floor alone: these films were trained on; docs/lungs.md has the measurement on films that were not."""
    folder = shared / "lung-masks"
    paths = sorted((folder / "images").iterdir())[::12]
    outlines, _ = lungs.read_masks(folder / "masks", [path.name for path in paths])
    images = np.stack([np.asarray(Image.open(path)) for path in paths])
    assert dice(lungs.estimate(images), outlines).mean() > 0.93


def test_at_most_two_regions_without_holes(masks: np.ndarray):
    for mask in masks:
        regions, n = ndimage.label(mask)
        assert 1 <= n <= 2 and ndimage.binary_fill_holes(mask).sum() == mask.sum()
        assert min(np.bincount(regions.ravel())[1:]) > 0.01 * mask.size


def test_regions_by_hand():
    """Of three regions the two largest, a hole filled; below a hundredth of the image nothing is a lung."""
    mask = np.zeros((100, 100), bool)
    mask[10:60, 10:40] = mask[10:60, 60:80] = mask[80:95, 10:20] = mask[90:95, 90:95] = True
    mask[30:35, 20:25] = False
    expected = np.zeros_like(mask)
    expected[10:60, 10:40] = expected[10:60, 60:80] = True
    np.testing.assert_array_equal(lungs._two_largest(mask), expected)
    small = np.zeros_like(mask)
    small[:9, :11] = True
    assert not lungs._two_largest(small).any() and not lungs._two_largest(np.zeros_like(mask)).any()


def test_the_same_whatever_the_other_images(drawn: Phantom, masks: np.ndarray):
    """Also across two calls of the network: there are more images than go into one."""
    np.testing.assert_array_equal(lungs.estimate(drawn.images[[9, 2]]), masks[[9, 2]])


def test_brightness_and_contrast_matter_little(drawn: Phantom, masks: np.ndarray):
    """Not exactly: grey values are rounded anew."""
    for gain, offset in ((0.7, 30), (0.4, 0)):
        other = (drawn.images[:6] * gain + offset).astype(np.uint8)
        assert dice(lungs.estimate(other), masks[:6]).min() > 0.95


def test_a_mirrored_image_has_about_the_mirrored_mask(drawn: Phantom, masks: np.ndarray):
    """It was trained with mirrored films, which makes it so about, not exactly."""
    assert dice(lungs.estimate(drawn.images[:6, :, ::-1]), masks[:6, :, ::-1]).min() > 0.9


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
def test_an_empty_image_has_no_lungs(grey: int):
    assert not lungs.estimate(np.full((1, 256, 256), grey, np.uint8)).any()
    assert lungs.box(np.full((256, 256), grey, np.uint8)) is None


def test_the_box_is_around_the_mask(drawn: Phantom, masks: np.ndarray):
    left, top, right, bottom = np.array(lungs.box(drawn.images[0])) * 256
    y, x = np.nonzero(masks[0])
    assert (left, top, right, bottom) == (x.min(), y.min(), x.max() + 1, y.max() + 1)


def test_no_images_have_no_masks():
    assert lungs.estimate(np.zeros((0, 256, 256), np.uint8)).shape == (0, 256, 256)


@pytest.mark.parametrize("side", [128, 96, 400])
def test_images_of_other_sides_have_masks_of_theirs(drawn: Phantom, masks: np.ndarray, side: int):
    """The outline is the same but for what resizing changes."""
    image = Image.fromarray(drawn.images[0]).resize((side, side), Image.Resampling.BILINEAR)
    (mask,) = lungs.estimate(np.asarray(image)[None])
    assert mask.shape == (side, side)
    assert dice(mask[None], np.asarray(Image.fromarray(masks[0]).resize((side, side)))[None])[0] > 0.95


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
