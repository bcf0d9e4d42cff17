"""Copies are found by pixels and by looks, other patients are none: on made images, and on real ones where they are."""

import io
import re

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from cxrjax.data import copies
from cxrjax.data.decode import decode
from cxrjax.data.sources.folder import images_under
from cxrjax.storage import store

SIZES = (128, 200, 256, 512, 1024)


def resaved(pixels, size=128, quality=75):
    """A copy as another data set would have it, reduced to 256 pixels again as by `prepare`."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).resize((size, size), Image.Resampling.BILINEAR).save(buffer, "JPEG", quality=quality)
    return decode(buffer.getvalue(), "x.jpg").pixels


def brighter(pixels):
    return np.minimum(pixels.astype(int) + 40, 255).astype(np.uint8)


def gamma(pixels):
    return (255 * (pixels / 255) ** 0.7).astype(np.uint8)


def harder(pixels):
    return np.asarray(ImageEnhance.Contrast(Image.fromarray(pixels)).enhance(1.4))


def test_equal_pixels_are_found_by_their_hash(noise):
    others = np.concatenate([noise[7:9], 255 - noise[3:4], noise[:1]])
    result = copies.find(noise, others)
    assert result.rows.tolist() == [7, 8, -1, 0]
    assert result.same_pixels.tolist() == [True, True, False, True]
    assert result.similarity[:2].tolist() == [1, 1]


def marked(pixels):
    marked = pixels.copy()
    marked[5:21, 5:31] = 255
    return marked


@pytest.mark.parametrize("change", [resaved, brighter, gamma, harder, marked])
def test_changed_copies_are_found_by_their_looks(small_phantom, change):
    images = small_phantom.images
    result = copies.find(images, np.stack([change(image) for image in images[:20]]))
    np.testing.assert_array_equal(result.rows, np.arange(20))
    assert not result.same_pixels.any()
    assert (result.similarity > copies.SIMILAR).all()


def test_stores_of_two_sizes_are_compared(small_phantom):
    images = small_phantom.images[:30]
    larger = np.stack([np.asarray(Image.fromarray(image).resize((512, 512))) for image in images])
    np.testing.assert_array_equal(copies.find(images, larger[5:]).rows, np.arange(5, 30))
    np.testing.assert_array_equal(copies.find(larger, images[5:]).rows, np.arange(5, 30))


def test_only_the_rows_that_count_are_looked_at(small_phantom):
    images = np.concatenate([small_phantom.images[:10], small_phantom.images[:10]])
    assert copies.find(images, images[3:5]).rows.tolist() == [3, 4], "the first of equal ones"
    assert copies.find(images, images[3:5], np.array([13, 2])).rows.tolist() == [13, -1]
    assert copies.find(images, brighter(images[3:5]), np.array([13, 2])).rows.tolist() == [13, -1]
    assert copies.find(images, images[3:5], np.array([], int)).rows.tolist() == [-1, -1]
    assert copies.find(images, images[:0]).rows.tolist() == []


def test_other_patients_and_other_films_of_a_patient_are_no_copies(small_phantom):
    assert (copies.find(small_phantom.images[:40], small_phantom.images[40:]).rows == -1).all()


def test_blank_images_are_copies_of_equal_pixels_alone():
    blank = np.full((3, 64, 64), 100, np.uint8)
    blank[1, :, 32:] += 1
    result = copies.find(blank, blank[[1, 1]] + np.array([0, 50], np.uint8)[:, None, None])
    assert result.rows.tolist() == [1, -1]
    assert np.isfinite(copies.fingerprints(blank)).all()


def test_parts_give_what_the_whole_gives(small_phantom, tmp_path, monkeypatch):
    """A memory map read in blocks of 7 against one block."""
    np.save(tmp_path / "images.npy", small_phantom.images)
    others = np.stack([resaved(image) for image in small_phantom.images[10:40]])
    whole = copies.find(small_phantom.images, others)
    monkeypatch.setattr(copies, "_BLOCK", 7)
    parts = copies.find(np.load(tmp_path / "images.npy", mmap_mode="r"), others)
    np.testing.assert_array_equal(parts.rows, whole.rows)
    np.testing.assert_allclose(parts.similarity, whole.similarity, atol=1e-6)  # other order of sums


def real(folder, step=1):
    """Pixels of real images, and whose each is."""
    paths = images_under(folder)[0][::step]
    # NIH: 00012345_003; Kermany: person12_bacteria_7, IM-7-0001.
    patients = [re.sub(r"_.*|-0001.*", "", path.name) for path in paths]
    return np.stack([decode(path.read_bytes(), path.name).pixels for path in paths]), np.array(patients)


@pytest.mark.parametrize("folder", ["nih-2k", "kermany-1k"])
def test_real_copies_are_found_and_nothing_else(shared, folder):
    """Every 20th; all below."""
    images, patients = real(shared / folder, 20)
    _, first = np.unique(patients, return_index=True)
    others = np.setdiff1d(np.arange(len(images)), first)  # further films of the same patients
    assert (copies.find(images[first], images[others]).rows == -1).all()
    assert (copies.find(images[first[::2]], images[first[1::2]]).rows == -1).all()
    for number, image in enumerate(images):
        result = copies.find(images, resaved(image, SIZES[number % len(SIZES)])[None])
        assert result.rows.tolist() == [number]


@pytest.mark.slow
def test_all_real_images(shared):
    """No match between sets nor between patients; 99 % of the copies at each size. Measured: 0.81, 0.979."""
    sets = [real(shared / folder) for folder in ("nih-2k", "kermany-1k")]
    assert (copies.find(sets[0][0], sets[1][0]).rows == -1).all()
    for images, patients in sets:
        prints = copies.fingerprints(images)
        alike = np.argwhere(prints @ prints.T > copies.SIMILAR)
        assert all(patients[a] == patients[b] for a, b in alike)
        assert sum(a < b for a, b in alike) <= 1, "NIH has one film twice: 00002658_001 and _002"
        for size in SIZES:
            rows = copies.find(images, np.stack([resaved(image, size) for image in images[::3]])).rows
            assert (rows == np.arange(len(images))[::3]).mean() >= 0.99


def test_a_dicom_file_is_found_beside_the_png_of_the_same_film(shared):
    """NIH's own DICOM sample shows a film of nih-2k."""
    names = ("00000001_000.png", "00000002_000.png", "00000003_000.png")
    paths = [path for path in (shared / "nih-2k" / "images" / name for name in names) if path.is_file()]
    nih = np.stack([decode(path.read_bytes(), path.name).pixels for path in paths])
    path = shared / "dicom" / "dx_mono2_8bit_nih.dcm"
    result = copies.find(nih, decode(path.read_bytes(), path.name).pixels[None])
    assert [paths[row].name for row in result.rows] == ["00000002_000.png"]
    assert not result.same_pixels[0]


def test_rows_are_those_of_a_store(small_store, small_phantom):
    images = store.open_store(small_store).images
    assert copies.find(images, small_phantom.images[44:46]).rows.tolist() == [44, -1]
