"""Cutting images to a region: the square by hand and for any region, pixels, and a store that is made so."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from PIL import Image

from cxrjax.base import InputError
from cxrjax.data import crop, load
from cxrjax.data.decode import Reduction, decode
from cxrjax.data.prepare import prepare
from cxrjax.storage.store import open_store

CROPPED = Reduction(64, crop="lungs")


def upper_left(whole: np.ndarray) -> crop.Box | None:
    """The quarter; of a dark image nothing."""
    assert whole.shape == (crop.SIDE, crop.SIDE) and whole.dtype == np.uint8
    return (0.0, 0.0, 0.5, 0.5) if whole.mean() > 60 else None


@pytest.fixture
def film() -> Image.Image:
    """200 wide, 100 high, no two columns alike."""
    return Image.fromarray(np.random.default_rng(0).integers(30, 255, (100, 200)).astype(np.uint8))


def png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def test_the_square_by_hand():
    """80 x 40 pixels at (20, 30) of 200 x 200: side 88, of the middle (60, 50); moved into the image at the corner."""
    assert crop.around((0.1, 0.15, 0.5, 0.35), 200, 200) == (16, 6, 104, 94)
    assert crop.around((0.0, 0.0, 0.4, 0.2), 200, 200) == (0, 0, 88, 88)
    assert crop.around((0.6, 0.8, 1.0, 1.0), 200, 200) == (112, 112, 200, 200)


def test_any_region_is_inside_of_its_square_and_that_inside_of_the_image():
    rng = np.random.default_rng(1)
    for _ in range(200):
        width, height = (int(n) for n in rng.integers(20, 400, 2))
        left, right = np.sort(rng.random(2))
        top, bottom = np.sort(rng.random(2))
        x0, y0, x1, y1 = crop.around((left, top, right, bottom), width, height)
        assert 0 <= x0 <= x1 <= width and 0 <= y0 <= y1 <= height
        assert (
            x0 <= left * width + 1 and right * width - 1 <= x1 and y0 <= top * height + 1 and bottom * height - 1 <= y1
        )
        assert x1 - x0 == y1 - y0 or x1 - x0 == width or y1 - y0 == height


def test_pixels_are_those_of_the_square(film: Image.Image):
    """The quarter is 100 x 50: a square of 110, cut at the height of 100."""
    decoded = decode(png(film), "a.png", CROPPED, upper_left)
    expected = film.crop((0, 0, 110, 100)).resize((64, 64), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(decoded.pixels, np.asarray(expected))
    assert decoded.notes == () and decoded.side == 100


def test_what_has_no_region_is_kept_whole_and_noted(film: Image.Image):
    dark = Image.fromarray(np.asarray(film) // 8)
    decoded = decode(png(dark), "a.png", CROPPED, upper_left)
    np.testing.assert_array_equal(decoded.pixels, decode(png(dark), "a.png", Reduction(64)).pixels)
    assert decoded.notes == (crop.NOT_FOUND,)


def test_a_crop_needs_its_function_and_the_other_way_round(film: Image.Image):
    for reduction, find in ((CROPPED, None), (Reduction(64), upper_left)):
        with pytest.raises(ValueError, match=r"find must be given where reduction\.crop is not none"):
            decode(png(film), "a.png", reduction, find)


def test_a_store_says_that_it_is_cropped_and_counts_the_others(tmp_path, film: Image.Image):
    source = tmp_path / "films"
    source.mkdir()
    film.resize((300, 300)).save(source / "a.png")
    Image.fromarray(np.asarray(film.resize((300, 300))) // 8).save(source / "b.png")
    outcome = prepare(load.find(source), tmp_path / "store", CROPPED, find=upper_left)
    assert "crop: 1 of 2 images cut to the lungs, 1 kept whole as none were seen" in outcome.notes
    about = json.loads((tmp_path / "store" / "about.json").read_text())
    assert about["made"]["crop"] == "lungs" and Reduction.recorded(about["made"], 64) == CROPPED
    assert crop.NOT_FOUND in (tmp_path / "store" / "bad_images.csv").read_text()
    store = open_store(tmp_path / "store")
    expected = decode((source / "a.png").read_bytes(), "a.png", CROPPED, upper_left).pixels
    np.testing.assert_array_equal(store.images[0], expected)
    with pytest.raises(InputError, match=r"--size=128 --crop=lungs"):
        load.load(str(tmp_path / "store"), size=128)
