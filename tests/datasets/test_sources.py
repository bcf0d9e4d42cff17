"""NIH and class folders as users have them: header spellings, layouts, modes, bad images."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from cxrjax import store
from cxrjax.datasets import decode, folder, load, nih
from cxrjax.types import InputError

HEADER_2017 = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y],\n"
)
HEADER_2020 = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Sex,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]\n"
)


def nih_folder(root, header=HEADER_2017, layout="images", n=3, end=","):
    labels = ["Pneumonia", "No Finding", "Effusion|Infiltration"]
    ages = ["058Y", "011M", "42"]
    lines = [
        f"{i:08d}_000.png,{labels[i % 3]},{i},{i // 2},{ages[i % 3]},M,PA,2682,2749,0.143,0.143{end}\n"
        for i in range(n + 2)
    ]
    (root / layout).mkdir(parents=True)
    (root / "Data_Entry_2017.csv").write_text(header + "".join(lines))
    for i in range(n):
        Image.fromarray(np.full((256, 256), 40 * i, np.uint8)).save(root / layout / f"{i:08d}_000.png")
    return root


@pytest.mark.parametrize(("header", "end"), [(HEADER_2017, ","), (HEADER_2020, "")])
@pytest.mark.parametrize("layout", ["images", "images_001/images", "."])
def test_nih_layouts_and_headers(tmp_path, header, end, layout):
    images, about = load.load(str(nih_folder(tmp_path / "nih", header, layout, end=end)))
    assert list(images.table.columns) == list(store.COLUMNS)
    assert list(images.table["image"]) == [f"{i:08d}_000.png" for i in range(3)]
    assert list(images.table["patient"]) == ["0", "0", "1"]
    assert list(images.table["age"]) == [58, 0, 42]  # 58 years, 11 months, 42 years
    assert list(images.table["followup"]) == [0, 1, 2]
    np.testing.assert_array_equal(images.images[:, 0, 0], [0, 40, 80])
    assert sum(about.listed.values()) == 5  # two are not downloaded


def test_of_two_tables_the_newer_is_read(tmp_path):
    root = nih_folder(tmp_path / "nih")
    (root / "Data_Entry_2017_v2020.csv").write_text(HEADER_2020 + "00000001_000.png,Edema,0,9,30,F,AP,1,1,1,1\n")
    table, _, _ = nih.scan(root)
    assert list(table["labels"]) == ["Edema"]


def test_a_missing_column_is_named(tmp_path):
    root = nih_folder(tmp_path / "nih", HEADER_2017.replace("Finding Labels", "Label"))
    with pytest.raises(InputError, match="lacks the column 'Finding Labels'"):
        load.load(str(root))


def test_a_table_without_images_is_refused(tmp_path):
    with pytest.raises(InputError, match="none of the 2 images"):
        load.load(str(nih_folder(tmp_path / "nih", n=0)))


def test_a_missing_or_unknown_folder_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"nowhere is not a folder"):
        load.load(str(tmp_path / "nowhere"))
    with pytest.raises(InputError, match="neither Data_Entry"):
        load.load(str(tmp_path))


@pytest.mark.parametrize("content", [b"", b"not an image", None])
def test_a_corrupt_image_is_named_or_left_out(tmp_path, content):
    root = nih_folder(tmp_path / "nih")
    bad = root / "images" / "00000001_000.png"
    bad.write_bytes(bad.read_bytes()[:150] if content is None else content)
    with pytest.raises(InputError, match=r"00000001_000\.png cannot be read.*--skip_bad_images"):
        load.load(str(root))
    assert not list((tmp_path / "cache").rglob("images.npy"))  # nothing half-written stays
    images, about = load.load(str(root), skip_bad_images=True)
    assert list(images.table["image"]) == ["00000000_000.png", "00000002_000.png"]
    np.testing.assert_array_equal(images.images[:, 0, 0], [0, 80])
    assert list(about.bad_images) == ["00000001_000.png"]
    with pytest.raises(InputError, match="cannot be read"):  # what was skipped once is not skipped for ever
        load.load(str(root))


def test_a_prepared_store_is_found_again_until_an_image_changes(tmp_path):
    root = nih_folder(tmp_path / "nih")
    load.load(str(root))
    first = list((tmp_path / "cache").rglob("images.npy"))
    load.load(str(root))
    assert list((tmp_path / "cache").rglob("images.npy")) == first
    Image.fromarray(np.full((300, 300), 9, np.uint8)).save(root / "images" / "00000002_000.png")
    assert load.load(str(root))[0].images[2, 0, 0] == 9
    assert load.load(str(first[0].parent))[0].images[2, 0, 0] == 80  # a store is a data_dir itself


def test_class_folders(tmp_path):
    for name, label in (
        ("NORMAL/IM-0001-0001.jpeg", 10),
        ("PNEUMONIA/person7_virus_1.jpeg", 90),
        ("PNEUMONIA/person7_virus_2.png", 200),
    ):
        path = tmp_path / "set" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((50, 70, 3), label, np.uint8)).save(path)
    images, _ = load.load(str(tmp_path / "set"))
    assert list(images.table["labels"]) == ["No Finding", "Pneumonia", "Pneumonia"]
    assert images.table["patient"].nunique() == 2
    assert images.images.shape == (3, 256, 256)


def test_an_empty_class_folder_is_refused(tmp_path):
    (tmp_path / "NORMAL").mkdir()
    with pytest.raises(InputError, match="no PNG or JPEG image"):
        folder.scan(tmp_path)


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
def test_grey_in_any_8_bit_mode_is_the_same_grey(tmp_path, mode):
    grey = np.random.default_rng(0).integers(0, 256, (256, 256), dtype=np.uint8)
    Image.fromarray(grey).convert(mode).save(tmp_path / "x.png")
    np.testing.assert_array_equal(decode.read_image(tmp_path / "x.png"), grey)


def test_sixteen_bits_are_refused_not_clipped(tmp_path):
    Image.fromarray(np.full((256, 256), 40_000, np.uint16)).save(tmp_path / "x.png")
    with pytest.raises(InputError, match=r"8 bits a channel.*I;16"):
        decode.read_image(tmp_path / "x.png")


def test_originals_reduce_to_the_256_pixel_release_exactly(shared):
    """Five of the originals are RGBA, a quirk of the release."""
    originals = sorted((shared / "nih-originals" / "images").glob("*.png"))
    both = [p for p in originals if (shared / "nih-mini" / "images" / p.name).exists()]
    assert len(both) > 10
    for path in both:
        with Image.open(shared / "nih-mini" / "images" / path.name) as small:
            np.testing.assert_array_equal(decode.read_image(path), np.asarray(small))


def test_real_mini_set_is_what_it_says(shared):
    table, paths, _ = nih.scan(shared / "nih-mini")
    assert len(table) == len(paths) == 1173
    assert table["patient"].nunique() == 955
    assert table["age"].between(0, 120).all()
    assert pd.unique(table["view"]).tolist() == ["PA", "AP"] or set(table["view"]) == {"PA", "AP"}
