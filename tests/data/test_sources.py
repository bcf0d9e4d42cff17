"""NIH and class folders as users have them: header spellings, layouts, modes, bad images."""

import os
import re
import subprocess
import sys
import tarfile

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from pydicom.uid import BasicTextSRStorage

from cxrjax.base import InputError
from cxrjax.base.tasks import PNEUMONIA_CLASSES
from cxrjax.data import classes, load, phantom
from cxrjax.data.decode import Reduction
from cxrjax.data.phrases import Vocabulary
from cxrjax.data.prepare import prepare
from cxrjax.data.sources import folder, nih, years
from cxrjax.storage import store
from tests.data.dicom_files import dicom

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
    assert list(nih.scan(root).table["labels"]) == ["Edema"]


def test_a_missing_column_is_named(tmp_path):
    root = nih_folder(tmp_path / "nih", HEADER_2017.replace("Finding Labels", "Kind"))
    with pytest.raises(InputError, match=r"lacks the column\(s\) label"):
        load.load(str(root))


def test_a_table_without_images_is_refused(tmp_path):
    with pytest.raises(InputError, match="none of the 2 images"):
        load.load(str(nih_folder(tmp_path / "nih", n=0)))


def test_a_missing_or_unknown_folder_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"nowhere does not exist"):
        load.load(str(tmp_path / "nowhere"))
    with pytest.raises(InputError, match=r"holds no image .PNG, JPEG"):
        load.load(str(tmp_path))
    tarred(tmp_path / "images_001.tar.gz", [])
    with pytest.raises(InputError, match=r"archives, which must be unpacked; .* beside Data_Entry_2017"):
        load.load(str(tmp_path))


@pytest.mark.parametrize("content", [b"", b"not an image", None])
def test_a_corrupt_image_is_named_or_left_out(tmp_path, content):
    root = nih_folder(tmp_path / "nih")
    bad = root / "images" / "00000001_000.png"
    bad.write_bytes(bad.read_bytes()[:150] if content is None else content)
    with pytest.raises(InputError, match=r"1 of 3 images .33.3 %. are bad.*--max_bad=0.01.*00000001_000\.png"):
        load.load(str(root))
    assert not list((tmp_path / "cache").rglob("images.npy"))
    images, about = load.load(str(root), max_bad=0.5)
    assert list(images.table["image"]) == ["00000000_000.png", "00000002_000.png"]
    np.testing.assert_array_equal(images.images[:, 0, 0], [0, 80])
    assert list(about.bad_images) == ["00000001_000.png"]
    with pytest.raises(InputError, match="1 of 3 images are bad"):  # what was allowed once is not allowed for ever
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
    with pytest.raises(InputError, match=r"holds no image .PNG, JPEG"):
        folder.scan_images(tmp_path, Vocabulary())


def test_train_val_test_above_the_classes(tmp_path):
    for name in (
        "train/normal/a.png",
        "val/PNEUMONIA/b.png",
        "test/PNEUMONIA/deep/c.bmp",
        "test/README.txt",
        ".x/d.png",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (9, 9)).save(path, format="PNG")
    table = folder.scan_images(tmp_path, Vocabulary()).table
    assert list(table["image"]) == ["test/PNEUMONIA/deep/c.bmp", "train/normal/a.png", "val/PNEUMONIA/b.png"]
    assert list(table["split"]) == ["test", "train", "val"]
    assert list(table["labels"]) == ["Pneumonia", "No Finding", "Pneumonia"]


def test_images_of_one_name_below_two_folders_are_two_patients(tmp_path):
    for name in ("train/NORMAL/pat1/image.png", "train/NORMAL/pat2/image.png", "test/NORMAL/pat4/image.png"):
        path = tmp_path / "set" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (9, 9)).save(path)
    (tmp_path / "list.csv").write_text(
        "path,label\nset/train/NORMAL/pat1/image.png,NORMAL\nset/test/NORMAL/pat4/image.png,NORMAL\n"
    )
    assert len(set(load.load(str(tmp_path / "set"))[0].table["patient"])) == 3
    assert len(set(load.load(str(tmp_path / "list.csv"))[0].table["patient"])) == 2


@pytest.mark.parametrize("pattern", [None, r"^P(\d+)_"])
def test_folder_and_table_agree_on_patients(tmp_path, pattern):
    """By pattern where it matches, else by the header; one name like Kermany's is no convention of the set."""
    names = {"P77_a.dcm": "4711", "other.dcm": "4712", "P78_b.dcm": "", "person9_c.dcm": ""}
    for i, (name, patient) in enumerate(names.items()):
        path = tmp_path / "set" / "NORMAL" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(dicom(np.roll(np.arange(256), i).reshape(16, 16), PatientID=patient))
    (tmp_path / "set" / "list.csv").write_text(
        "path,label\n" + "".join(f"NORMAL/{name},NORMAL\n" for name in sorted(names))
    )
    naming = load.Naming(patient=pattern and re.compile(pattern))
    found = []
    for place in (tmp_path / "set" / "list.csv", tmp_path / "set" / "NORMAL" / ".."):
        if place.is_dir():
            (tmp_path / "set" / "list.csv").unlink()
        out = tmp_path / f"out {place.name}"
        prepare(load.find(place.resolve(), naming), out, Reduction())
        found.append(store.open_store(out).table.set_index("image")["patient"].to_dict())
    assert found[0] == found[1]
    expected = ["77", "78", "4712", ""] if pattern else ["4711", "", "4712", ""]
    assert list(found[0].values()) == expected


def test_dicom_as_a_pacs_names_it(tmp_path):
    """By numbers and dots, beside a DICOMDIR, a report and files of other kinds."""
    image = dicom(np.arange(256).reshape(16, 16))
    for name, content in {
        "1.2.840.10008.1": image, "1.2.840.10008.2": image, "CR.1.2.3": image, "DICOMDIR": image, "notes.txt": b"x",
        "SR000": dicom(np.zeros((2, 2)), SOPClassUID=BasicTextSRStorage, PixelData=None, Rows=None, Columns=None),
    }.items():  # fmt: skip
        path = tmp_path / "set" / "NORMAL" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    out = tmp_path / "out"
    prepare(load.find(tmp_path / "set"), out, Reduction())
    assert list(store.open_store(out).table["image"]) == [
        "NORMAL/1.2.840.10008.1",
        "NORMAL/1.2.840.10008.2",
        "NORMAL/CR.1.2.3",
    ]
    bad = store.read_bad_images(out)
    bad = bad[bad["left_out"]]  # the others are too small to be chests
    assert bad[["image", "left_out", "reason"]].to_numpy().tolist() == [
        ["NORMAL/DICOMDIR", True, "is no image: a DICOM directory"],
        ["NORMAL/SR000", True, "is a DICOM file without an image"],
        ["NORMAL/notes.txt", True, "is no image: text"],
    ]


def test_linked_folders_are_read_once(tmp_path):
    (tmp_path / "set" / "NORMAL").mkdir(parents=True)
    (tmp_path / "else").mkdir()
    Image.new("L", (9, 9)).save(tmp_path / "else" / "a.png")
    (tmp_path / "set" / "NORMAL" / "link").symlink_to(tmp_path / "else")
    (tmp_path / "else" / "loop").symlink_to(tmp_path / "set" / "NORMAL")
    assert list(load.load(str(tmp_path / "set"))[0].table["image"]) == ["NORMAL/link/a.png"]


def test_names_that_are_no_text_are_escaped(tmp_path):
    (tmp_path / "set" / "NORMAL").mkdir(parents=True)
    for name in (b"M\xfcller.png", b"bad\xff.png"):
        path = os.fsencode(tmp_path / "set" / "NORMAL") + b"/" + name
        with open(path, "wb") as file:  # noqa: PTH123 - pathlib takes no bytes
            Image.new("L", (9, 9)).save(file, format="PNG")
    with open(os.fsencode(tmp_path / "set" / "NORMAL") + b"/bad\xff.png", "wb"):  # noqa: PTH123
        pass
    images, about = load.load(str(tmp_path / "set"), max_bad=0.5)
    assert list(images.table["image"]) == [r"NORMAL/M\udcfcller.png"]
    assert list(about.bad_images) == [r"NORMAL/bad\udcff.png"]


def test_a_folder_beside_class_folders_that_is_no_class_is_refused_with_the_flags_that_settle_it(tmp_path):
    for name in ("NORMAL/a", "COVID/a", "COVID/b", "NORMAL/p1/a"):
        (tmp_path / "set" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (9, 9)).save(tmp_path / "set" / f"{name}.png")
    with pytest.raises(InputError, match=r"not understood: 'COVID' \(2 images\); --classes=COVID=Pneumonia .*=keep"):
        load.find(tmp_path / "set")
    for vocabulary, label in (
        (Vocabulary({"covid": "Pneumonia"}), "Pneumonia"),
        (Vocabulary({"COVID": "unknown"}), ""),
        (Vocabulary(other_findings="keep"), "COVID"),
    ):
        table = load.find(tmp_path / "set", load.Naming(vocabulary)).table
        assert list(table["labels"]) == [label, label, "No Finding", "No Finding"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("058Y", 58),
        ("58", 58),
        ("58.0", 58),
        ("011M", 0),
        ("036M", 3),
        ("104W", 2),
        ("013D", 0),
        ("800D", 2),
        ("40yrs", 40),
        ("41 years", 41),
        ("8mons", 0),
        ("30 months", 2),
        ("50-60", np.nan),
        (">89", np.nan),
        ("40 rs", np.nan),
        ("ANONYMIZED", np.nan),
        ("REDACTED", np.nan),
        ("", np.nan),
        ("9" * 400, np.nan),
        ("inf", np.nan),
    ],
)
def test_ages(text, expected):
    np.testing.assert_equal(years(pd.Series([text])).to_list(), [expected])


def test_dicom_in_class_folders_tells_patient_view_age_and_sex(tmp_path):
    for name in ("NORMAL/one.dcm", "PNEUMONIA/IM00001", "PNEUMONIA/three.dcm"):
        path = tmp_path / "set" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.roll(np.arange(256), len(name)).reshape(16, 16)
        path.write_bytes(dicom(pixels, **({"PatientID": ""} if "three" in name else {})))
    table = load.load(str(tmp_path / "set"))[0].table
    assert list(table["image"]) == ["NORMAL/one.dcm", "PNEUMONIA/IM00001", "PNEUMONIA/three.dcm"]
    assert list(table["patient"]) == ["4711", "4711", ""]
    assert set(table["view"]) == {"PA"}
    assert set(table["age"]) == {58}
    assert set(table["sex"]) == {"F"}


def listed(root, text):
    root.mkdir(exist_ok=True)
    for i in range(3):
        Image.fromarray(np.full((256, 256), 40 * i, np.uint8)).save(root / f"{i}.png")
    (root / "list.csv").write_text(text)
    return root


def test_a_table_of_images(tmp_path):
    root = listed(
        tmp_path / "set", "Path,Label,Patient,View,Age,Sex\n2.png,Normal,p,ap,061Y,Male\n0.png,Edema|Pneumonia,,,,\n"
    )
    for place in (root, root / "list.csv"):
        images, _ = load.load(str(place))
        np.testing.assert_array_equal(images.images[:, 0, 0], [80, 0])
        assert images.table.iloc[0].to_list() == ["2.png", "p", "No Finding", "AP", 61, "M", 0, ""]
        assert list(images.table["labels"]) == ["No Finding", "Edema|Pneumonia"]
        assert list(images.table["patient"]) == ["p", ""]


@pytest.mark.parametrize(
    ("text", "columns", "told"),
    [
        ("path:label\n0.png:NORMAL\n", {}, r"list.csv lacks the column.s. path; it has path:label"),
        ("path,label\n0.png,NORMAL\n", {"label": "dignosis"}, r"lacks the column.s. dignosis"),
        ("path,label\n", {}, "holds no row"),
        ("", {}, "cannot be read as a table"),
        (b"path,label\nM\xfcller.png,NORMAL\n", {}, "cannot be read as a table"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(tmp_path, text, columns, told):
    root = listed(tmp_path / "set", "")
    (root / "list.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError, match=told):
        load.find(root, load.Naming(columns=columns))


def test_odd_tables(tmp_path):
    """A byte order mark; a column of our name beside the one that is meant; a path that no file can have."""
    root = listed(tmp_path / "set", "")
    (root / "list.csv").write_text(
        "\ufeffpath,label,dx,followup\n0.png,x,NORMAL,inf\n1.png,x,PNEUMONIA,2\na\0b.png,x,NORMAL,\n"
    )
    source = load.find(root, load.Naming(columns={"label": "dx"}))
    assert list(source.table["labels"]) == ["No Finding", "Pneumonia", "No Finding"]
    assert list(source.table["followup"]) == [0, 2, 0]


def test_of_two_tables_one_must_be_given(tmp_path):
    root = listed(tmp_path / "set", "path,label\n0.png,NORMAL\n")
    (root / "more.csv").write_text("path,label\n1.png,NORMAL\n")
    with pytest.raises(InputError, match=r"holds several tables of images: list.csv and more.csv; give one of them"):
        load.find(root)
    assert len(load.find(root / "more.csv").table) == 1


def test_a_table_with_other_names(tmp_path):
    root = listed(tmp_path / "set", "place,said,who\n0.png,1,a\n1.png,0,b\n")
    naming = load.Naming(
        Vocabulary({"1": "Pneumonia", "0": "No Finding"}), {"path": "place", "label": "said", "patient": "who"}
    )
    table = load.find(root, naming).table
    assert list(table["labels"]) == ["Pneumonia", "No Finding"]
    assert list(table["patient"]) == ["a", "b"]
    with pytest.raises(InputError, match=r"lacks the column.s. path; it has place, said, who .--columns=path=NAME"):
        load.find(root / "list.csv")
    with pytest.raises(InputError, match=r"lacks the column.s. nobody"):
        load.find(root / "list.csv", load.Naming(columns={**naming.columns, "patient": "nobody"}))


def test_images_without_labels_are_no_negatives(tmp_path):
    (tmp_path / "set").mkdir()
    Image.new("L", (300, 300)).save(tmp_path / "set" / "a.png")
    for place in (tmp_path / "set", tmp_path / "set" / "a.png"):
        table = load.load(str(place))[0].table
        assert list(table["labels"]) == [""]
        assert classes.count(store.label_counts(table), PNEUMONIA_CLASSES) == {
            "P": 0, "NP": 0, "NF": 0,
        }  # fmt: skip


def tarred(path, names, mode="w:gz"):
    with tarfile.open(path, mode) as tar:
        for name in names:
            tar.add(name, f"images/{name.name}")


@pytest.mark.parametrize(("suffix", "mode"), [(".tar.gz", "w:gz"), (".tgz", "w:gz"), (".tar", "w")])
def test_archives_give_what_the_folder_gives(tmp_path, suffix, mode):
    """Two archives in the other order than the table, and one image unpacked already."""
    plain = nih_folder(tmp_path / "plain", n=5)
    names = sorted((plain / "images").iterdir())
    packed = tmp_path / "packed"
    (packed / "images").mkdir(parents=True)
    (packed / "Data_Entry_2017.csv").write_bytes((plain / "Data_Entry_2017.csv").read_bytes())
    tarred(packed / f"images_001{suffix}", names[3:], mode)
    tarred(packed / "images" / f"images_002{suffix}", names[:2], mode)
    (packed / "images" / names[2].name).write_bytes(names[2].read_bytes())
    one, two = (load.load(str(place))[0] for place in (plain, packed))
    np.testing.assert_array_equal(one.images, two.images)
    pd.testing.assert_frame_equal(one.table, two.table)


def test_official_split_and_boxes(tmp_path):
    root = nih_folder(tmp_path / "nih")
    (root / "train_val_list.txt").write_text("00000000_000.png\n00000001_000.png\n")
    (root / "test_list.txt").write_text("00000002_000.png\n")
    (root / "BBox_List_2017.csv").write_text(
        "Image Index,Finding Label,Bbox [x,y,w,h],,,\n"
        "00000000_000.png,Infiltrate,512,256,128,64.0\nelsewhere.png,Mass,1,2,3,4\n"
    )
    load.load(str(root))
    (prepared,) = (tmp_path / "cache" / "stores").glob("nih-*")
    assert list(store.open_store(prepared).table["split"]) == ["train", "train", "test"]
    boxes = store.read_boxes(prepared)
    assert boxes.to_numpy().tolist() == [["00000000_000.png", "Infiltration", 0.5, 0.25, 0.125, 0.0625]]


def test_real_mini_set_is_what_it_says(shared):
    source = nih.scan(shared / "nih-mini")
    table = source.table[source.table["image"].isin([file.name for file in source.files])]
    assert len(table) == len(source.files) == 1173
    assert table["patient"].nunique() == 955
    assert table["age"].between(0, 120).all()
    assert pd.unique(table["view"]).tolist() == ["PA", "AP"] or set(table["view"]) == {"PA", "AP"}


def test_an_image_in_both_lists_is_refused(tmp_path):
    root = nih_folder(tmp_path / "nih")
    for name in nih.LISTS:
        (root / name).write_text("00000000_000.png\n")
    with pytest.raises(InputError, match=r"00000000_000.png is in both train_val_list.txt and test_list.txt"):
        nih.scan(root)


def test_archives_of_what_is_unpacked_are_not_read(tmp_path):
    root = nih_folder(tmp_path / "nih", n=5)
    table = root / "Data_Entry_2017.csv"
    table.write_text("".join(table.read_text().splitlines(keepends=True)[:-2]))  # those that are nowhere
    (root / "images_001.tar.gz").write_bytes(b"not even an archive")
    images, about = load.load(str(root))
    assert len(images.table) == 5
    assert not about.bad_images


def test_the_embedded_phantom_is_drawn_once_and_cannot_be_changed(monkeypatch):
    drawn = []
    monkeypatch.setattr(phantom, "phantom", lambda *_, draw=phantom.phantom, **__: drawn.append(draw(2)) or drawn[-1])
    phantom.embedded.cache_clear()
    try:
        (first, about), (second, _) = load.load(None), load.load(None)
    finally:
        phantom.embedded.cache_clear()
    assert len(drawn) == 1
    assert first.images is second.images and not first.images.flags.writeable
    assert about.source == "phantom"
    first.table["labels"] = "changed"
    assert "changed" not in set(second.table["labels"])


def test_a_source_is_prepared_in_the_size_that_is_asked_for(tmp_path):
    nih_folder(tmp_path / "nih")
    assert load.load(str(tmp_path / "nih"))[0].images.shape[1:] == (256, 256)
    small, _ = load.load(str(tmp_path / "nih"), size=48)
    assert small.images.shape[1:] == (48, 48)
    assert load.load(str(small.folder), size=48)[0].images.shape == small.images.shape
    assert load.load(str(small.folder), size=None)[0].images.shape == small.images.shape


def test_modules_are_imported_where_posix_is_not_there():
    names = "cxrjax.data.load", "cxrjax.data.prepare", "cxrjax.data.dicom.worker", "cxrjax.storage.array_cache"
    code = f"import sys; sys.modules.update(fcntl=None, resource=None); import {', '.join(names)}"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_columns_that_are_named_where_there_is_no_table_are_refused(tmp_path):
    columns = load.Naming(columns={"label": "Foo"})
    with pytest.raises(InputError, match=r"--columns=label=... names a column .* is: NIH folder"):
        load.find(nih_folder(tmp_path / "nih"), columns)
    Image.new("L", (9, 9)).save(tmp_path / "a.png")
    with pytest.raises(InputError, match="is: images without labels"):
        load.find(tmp_path / "a.png", columns)


def test_findings_of_boxes_are_read_as_labels_are(tmp_path):
    root = nih_folder(tmp_path / "nih")
    (root / "BBox_List_2017.csv").write_text("Image,Finding,x,y,w,h\n00000000_000.png,Blob,1,2,3,4\n")
    with pytest.raises(InputError, match="'Blob'"):
        load.find(root)
    for vocabulary, finding in ((Vocabulary(other_findings="keep"), "Blob"), (Vocabulary({"Blob": "Mass"}), "Mass")):
        assert list(load.find(root, load.Naming(vocabulary)).boxes["finding"]) == [finding]
