"""Which files are images, by what they hold; class folders at any level; masks and copies beside images."""

import io
import logging
import tarfile

import numpy as np
import pytest
from PIL import Image, ImageOps

from cxrjax.base import InputError
from cxrjax.data import decode, load, screening
from cxrjax.data.decode import Reduction
from cxrjax.data.phrases import Unread, Vocabulary
from cxrjax.data.prepare import prepare
from cxrjax.data.sources import folder, image_files
from cxrjax.runs import predict
from cxrjax.storage import store
from tests.data.dicom_files import dicom


def content(kind, shift=0):
    stream = io.BytesIO()
    Image.fromarray(np.arange(shift, shift + 900).astype(np.uint8).reshape(30, 30)).save(stream, kind)
    return stream.getvalue()


def put(root, **files):
    """Files by name; "__" is a dot, "_s_" a slash."""
    for name, data in files.items():
        path = root / name.replace("__", ".").replace("_s_", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return root


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "BMP", "JPEG2000", "WEBP", "GIF", "PPM"])
def test_an_image_is_known_by_its_first_bytes(kind):
    assert image_files.is_image(content(kind)[:132])


def test_dicom_is_known_by_its_preamble_and_text_never_by_its_letters():
    assert image_files.is_image(dicom(np.zeros((2, 2))))
    assert not any(
        image_files.is_image(text) for text in (b"BMW is a car", b"P2 is a patient", b"", b"GIF", b"RIFF1234WAVE")
    )


def test_files_are_read_whatever_their_names_and_what_is_passed_over_is_listed_by_reason(tmp_path, caplog):
    a, b, c, d, e = (content("JPEG", 20 * i) for i in range(1, 6))
    root = put(
        tmp_path / "set", NORMAL_s_a__jfif=a, NORMAL_s_b__jpe=b, NORMAL_s_c__jpeg__bak=c, NORMAL_s_d=d,
        NORMAL_s_e__JPG=e, PNEUMONIA_s_f__dat=content("PNG"), PNEUMONIA_s_Thumbs__db=b"\xd0\xcf\x11\xe0",
        PNEUMONIA_s_n__txt=b"words", PNEUMONIA_s_more__zip=b"PK\x03\x04", PNEUMONIA_s_empty=b"",
    )  # fmt: skip
    (root / "PNEUMONIA" / ".DS_Store").write_bytes(b"x")
    (root / "NORMAL" / "gone").symlink_to("nowhere")
    outcome = prepare(load.find(root), tmp_path / "out", Reduction())
    assert (outcome.images, outcome.bad, outcome.passed_over) == (6, 0, 6)
    bad = store.read_bad_images(tmp_path / "out")
    bad = bad[bad["left_out"]]  # the others are equal pixels under two labels
    assert bad["passed_over"].all()
    assert dict(zip(bad["image"], bad["reason"], strict=True)) == {
        "NORMAL/gone": "is no image: a link to nothing",
        "PNEUMONIA/.DS_Store": "is a hidden file",
        "PNEUMONIA/Thumbs.db": "is no image: an office file or Windows' thumbnails",
        "PNEUMONIA/empty": "is no image: an empty file",
        "PNEUMONIA/more.zip": "is no image: a ZIP archive or office file",
        "PNEUMONIA/n.txt": "is no image: text",
    }
    assert not store.read_about(tmp_path / "out").bad_images
    with caplog.at_level(logging.WARNING):
        assert len(predict.gather([root])) == 6
    assert "files passed over: 1 (is " in caplog.text


@pytest.mark.parametrize("name", ["a.dcm", "a.tif", "a.png", "a.bmp"])
def test_a_wrong_suffix_makes_no_difference(tmp_path, name):
    for kind in ("PNG", "JPEG", "BMP"):
        expected = decode.decode(content(kind), "a").pixels
        np.testing.assert_array_equal(decode.decode(content(kind), name).pixels, expected)
    named = decode.decode(dicom(np.arange(256).reshape(16, 16)), name).pixels
    np.testing.assert_array_equal(named, decode.decode(dicom(np.arange(256).reshape(16, 16)), "a.dcm").pixels)


def test_an_image_that_its_suffix_promises_is_lost_and_not_passed_over(tmp_path):
    root = put(tmp_path / "set", NORMAL_s_a__png=b"", NORMAL_s_b__png=content("PNG"))
    with pytest.raises(InputError, match="1 of 2 images"):
        prepare(load.find(root), tmp_path / "out", Reduction())


@pytest.mark.parametrize(("name", "kind"), [("1_0.PNG", "PNG"), ("1_0.jpg", "JPEG")])
def test_members_of_archives_are_found_whatever_the_case_of_their_names_and_their_suffix(tmp_path, name, kind):
    """As files in a folder are; a note that shares the name of an image is none."""
    header = "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position\n"
    root = put(tmp_path / "set", Data_Entry_2017__csv=f"{header}1_0.png,Mass,0,1,50,M,PA\n".encode())
    with tarfile.open(root / "images_001.tar.gz", "w:gz") as tar:
        for member, data in (("1_0.txt", b"a note"), (name, content(kind))):
            info = tarfile.TarInfo(f"images/{member}")
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    outcome = prepare(load.find(root), tmp_path / "out", Reduction())
    assert (outcome.images, outcome.bad) == (1, 0)
    assert list(store.open_store(tmp_path / "out").table["image"]) == ["1_0.png"]


def classes_of(*names, vocabulary=None):
    return [tuple(place) for place in folder.classify(list(names), vocabulary or Vocabulary())]


def test_class_folders_at_any_level_above_or_below_splits():
    assert classes_of("chest/train/NORMAL/a", "chest/Viral Pneumonia/Validation/b", "chest/healthy/p1/c") == [
        ("NORMAL", "train"), ("Viral Pneumonia", "val"), ("healthy", ""),
    ]  # fmt: skip


def test_a_folder_of_the_data_set_is_no_class_and_one_that_contradicts_is_told():
    assert classes_of("Pneumonia/NORMAL/a", "Pneumonia/PNEUMONIA/b") == [("NORMAL", ""), ("PNEUMONIA", "")]
    assert classes_of("PNEUMONIA/normal/a", "NORMAL/b")[0] == ("PNEUMONIA/normal", "")
    with pytest.raises(ValueError, match="No Finding and Pneumonia"):
        Vocabulary().read("PNEUMONIA/normal")


@pytest.mark.parametrize(
    ("levels", "refused"),
    [
        ("negative positive", "negative"), ("no yes", "no"), ("0 1", "0 1"), ("control case", "control"), ("n y", "n"),
        ("confirmed|ruled out", "ruled out"), ("suspected confirmed", "suspected"), ("not sure|sure", "not sure"),
        ("non-covid19 covid19", "non-covid19"), ("p0 p1", ""), ("Patient No 1|Patient No 2", ""), ("0 1 2", ""),
        ("VIRUS BACTERIA", ""), ("2019 2020", ""),
    ],
)  # fmt: skip
def test_a_folder_below_a_class_that_may_deny_it_is_never_passed_over(levels, refused):
    levels = levels.split("|" if "|" in levels else " ")
    classes = {level: classes_of(*(f"PNEUMONIA/{name}/x/a" for name in levels))[i] for i, level in enumerate(levels)}
    for level, (written, _) in classes.items():
        if level in refused.split(" " if len(refused) == 3 else "|"):
            with pytest.raises(Unread):
                Vocabulary().read(written)
        else:
            assert Vocabulary().read(written) == "Pneumonia"


def test_a_folder_above_a_class_may_deny_it_and_affirmed_normality_is_unclear():
    assert classes_of("no/PNEUMONIA/a", "NORMAL/positive/b") == [("no/PNEUMONIA", ""), ("NORMAL/positive", "")]


def test_folders_below_a_class_that_are_not_read_are_told(tmp_path):
    put(tmp_path, **{f"PNEUMONIA_s_{name}_s_a__png": content("PNG") for name in ("site1", "VIRUS")})
    assert "subfolders of class folders are not read as labels: VIRUS/ (1), site1/ (1)" in load.find(tmp_path).notes[0]


def test_folders_beside_class_folders_are_labels_and_images_beside_them_are_none():
    assert classes_of("NORMAL/a", "train/COVID/b", "COVID/x/c", "logo", "train/d") == [
        ("NORMAL", ""), ("COVID", "train"), ("COVID", ""), ("", ""), ("", "train"),
    ]  # fmt: skip
    assert classes_of("p1/a", "p2/b") == [("", ""), ("", "")]


def radiograph(rng):
    """Grey and smooth, as no mask is."""
    image = np.cumsum(np.cumsum(rng.normal(size=(64, 64)), 0), 1)
    return Image.fromarray(np.uint8(255 * (image - image.min()) / np.ptp(image)))


def save(image, path, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)


def circle():
    y, x = np.mgrid[:64, :64]
    return Image.fromarray(np.uint8(255 * ((y - 32) ** 2 + (x - 32) ** 2 < 400)))


def test_masks_heat_maps_and_copies_are_named_and_left_out_unless_asked_for(tmp_path):
    rng = np.random.default_rng(0)
    for i in range(8):
        place, image = tmp_path / "set" / ("Normal" if i % 2 else "Pneumonia"), radiograph(rng)
        save(image, place / "images" / f"{i}.png")
        save(circle(), place / "masks" / f"{i}.jpg", quality=75)
        save(ImageOps.autocontrast(image, 2), place / "enhanced" / f"{i}.png")
        save(ImageOps.colorize(radiograph(rng), "red", "yellow", "blue"), place / "cam" / f"{i}.png")
        save(circle(), place / "images" / f"{i}_mask.png")
    source = load.find(tmp_path / "set")
    assert {file.path.parent.name for file in source.files} == {"images"} and len(source.files) == 8
    assert {bad.reason for bad in source.problems} == {
        "lies in masks/, which holds masks (few grey levels)",
        "lies in *_mask, which holds masks (few grey levels)",
        "lies in enhanced/, which holds processed images (judging by its name) with the same names as images/",
        "lies in cam/, which holds colour images with the same names as images/",
    }
    assert all(bad.passed_over for bad in source.problems)
    assert len(load.find(tmp_path / "set", load.Naming(keep_masks=True)).files) == 40


def test_patients_whose_images_have_the_same_names_are_no_copies_and_blank_masks_say_nothing(tmp_path):
    rng = np.random.default_rng(0)
    for i in range(12):
        for name in ("IM-1.png", "IM-2.png", "IM-3.png"):
            save(radiograph(rng), tmp_path / "set" / ("Normal" if i % 2 else "Pneumonia") / f"p{i}" / name)
    save(Image.new("L", (64, 64)), tmp_path / "set" / "Normal" / "blank" / "IM-1.png")
    for patient in ("twin 1", "twin 2"):  # two names that are shared prove nothing
        for name in ("IM-8.png", "IM-9.png"):
            save(radiograph(np.random.default_rng(1)), tmp_path / "set" / "Normal" / patient / name)
    source = load.find(tmp_path / "set")
    assert len(source.files) == 41 and not source.problems


def few_values(rng):
    return Image.fromarray(rng.integers(0, 3, (64, 64), np.uint8))


@pytest.mark.parametrize(
    ("image", "other", "draw"),
    [
        ("images/{}/{}.png", "masks/{}/{}.png", lambda _: circle()),
        ("{}/{}.png", "masks/{}/{}.png", lambda _: circle()),
        ("{}/img/{}.png", "{}/seg/{}.png", few_values),
        ("{}/img/{}.png", "{}/ROI/{}.png", few_values),
        ("{}/{}.png", "{}/heatmaps/{}.png", radiograph),
        ("{}/{}.png", "{}/mask_{}.png", lambda _: circle()),
        ("{}/x{}_image.png", "{}/x{}_GradCAM.png", radiograph),
        ("{}/{}.png", "enhanced/{}/{}.png", radiograph),
        ("{}/{}.png", "{}/thumbs/{}.png", None),
        ("{}/{}.png", "chest_xray/{}/{}.png", None),
    ],
)
def test_of_equal_names_in_two_trees_or_levels_one_is_left_out(tmp_path, image, other, draw):
    rng = np.random.default_rng(0)
    for i in range(8):
        shown, label = radiograph(rng), "NORMAL" if i % 2 else "PNEUMONIA"
        save(shown, tmp_path / image.format(label, i))
        save(draw(rng) if draw else shown.resize((32, 32)), tmp_path / other.format(label, i))
    source = load.find(tmp_path)
    assert {str(file.path) for file in source.files} == {
        str(tmp_path / image.format("NORMAL" if i % 2 else "PNEUMONIA", i)) for i in range(8)
    }
    assert len(source.problems) == 8 and all(bad.passed_over for bad in source.problems)


def test_other_views_of_the_same_names_stay(tmp_path):
    rng = np.random.default_rng(0)
    for i in range(8):
        for place in ("NORMAL", "NORMAL/lateral"):
            save(radiograph(rng), tmp_path / place / f"{i}.png")
    assert len(load.find(tmp_path).files) == 16


def test_empty_and_hidden_folders_are_told(tmp_path):
    for name in ("NORMAL", ".PNEUMONIA", "__MACOSX"):
        save(circle(), tmp_path / name / "a.png")
    (tmp_path / "PNEUMONIA").mkdir()
    source = load.find(tmp_path)
    assert {bad.image: bad.reason for bad in source.problems} == {
        ".PNEUMONIA": "is a hidden folder", "__MACOSX": "is a hidden folder", "PNEUMONIA": "is an empty folder"
    }  # fmt: skip


@pytest.mark.parametrize("name", ["NORMAL.zip", "images_001.tar.gz", "a.7z"])
def test_archives_are_named_with_what_to_do(tmp_path, name):
    (tmp_path / name).write_bytes(b"PK\x03\x04")
    for place in (tmp_path, tmp_path / name):
        with pytest.raises(InputError, match=rf"{tmp_path}.* must be unpacked; only NIH's images_0NN.tar.gz"):
            load.find(place)


def test_real_radiographs_have_many_grey_levels_and_masks_few(shared):
    for name, few in (("images", False), ("masks", True)):
        for path in sorted((shared / "lung-masks" / name).iterdir())[::8]:
            share = screening.few_levels(np.asarray(Image.open(path).convert("L")))
            assert (share > screening.FEW_LEVELS) == few


def test_the_masks_of_a_real_set_are_left_out(shared, tmp_path):
    for path in sorted((shared / "lung-masks" / "images").iterdir())[:6]:
        for level in ("images", "masks"):
            target = tmp_path / "set" / "NORMAL" / level / path.name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(shared / "lung-masks" / level / path.name)
    source = load.find(tmp_path / "set")
    assert {file.path.parent.name for file in source.files} == {"images"}
    assert len(source.problems) == 6
