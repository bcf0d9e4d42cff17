"""Tables of images as programs and people save them: never cut, never guessed."""

import gzip

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from cxrjax.base import InputError
from cxrjax.base.tasks import PNEUMONIA_CLASSES
from cxrjax.data import classes, labels, load
from cxrjax.data.decode import Reduction
from cxrjax.data.phrases import Vocabulary
from cxrjax.data.prepare import prepare
from cxrjax.data.sources import delimited, nih, table
from cxrjax.storage import store


def folder_of(root, names=("a.png", "b.png"), **files):
    """A folder with images and text files; "__" in a name is a dot."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.arange(900, dtype=np.uint8).reshape(30, 30)).save(root / name, format="PNG")
    for name, content in files.items():
        data = content if isinstance(content, bytes) else content.encode()
        (root / name.replace("__", ".")).write_bytes(data)
    return root


def labels_of(place, **naming):
    found = load.find(place, load.Naming(**naming)).table
    return dict(zip(found["image"], found["labels"], strict=True))


WRITTEN = "path,label\na.png,Effusion\nb.png,Normal\n"
READ = {"a.png": "Effusion", "b.png": "No Finding"}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.csv", WRITTEN.encode()),
        ("T.CSV", WRITTEN.replace("\n", "\r\n").encode()),
        ("t.tsv", WRITTEN.replace(",", "\t").encode()),
        ("t.csv.gz", gzip.compress(WRITTEN.encode(), mtime=0)),
        ("t.csv", WRITTEN.replace(",", ";").encode()),
        ("t.csv", WRITTEN.replace(",", " | ").encode()),
        ("t.csv", b"sep=;\n" + WRITTEN.replace(",", ";").encode()),
        ("t.csv", WRITTEN.encode("utf-8-sig")),
        ("t.csv", WRITTEN.encode("utf-16")),
        ("t.csv", b'"path", "label"\na.png, "Effusion"\nb.png,Normal\n'),
        ("t.csv", b"path,label,\na.png,Effusion,\nb.png,Normal\n"),  # a nameless column at the end
        ("t.csv", b"path;label;age\na.png;Effusion;12,5\nb.png;Normal;7,0\n"),
        ("t.csv", b"path,label\na.png,Effusion|Effusion\nb.png,Normal\n"),
    ],
)
def test_a_table_is_read_as_it_was_saved(tmp_path, name, content):
    root = folder_of(tmp_path / "set")
    (root / name).write_bytes(content)
    assert labels_of(root) == READ


@pytest.mark.parametrize("row", [1, 2, 5])
def test_a_row_of_more_fields_than_the_header_is_an_error_wherever_it_stands(tmp_path, row):
    lines = ["path,label", *["a.png,Effusion"] * 5]
    lines[row] = "a.png,Effusion, Pneumonia"
    root = folder_of(tmp_path / "set", t__csv="\n".join(lines))
    with pytest.raises(
        InputError, match=rf"t.csv, line {row + 1}: .* the 2 fields of the header, this one has more: 3"
    ):
        load.find(root)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"path,label,view\na.png,Effusion\n", "line 2: .* the 3 fields of the header, this one has fewer: 2"),
        (b'path,label\na.png,"Effusion\nb.png,Normal\n', "cannot be read as a table: unexpected end of data"),
        (b"path,label,Path\na.png,Effusion,b.png\n", "two columns of one name: 'path' and 'Path'"),
        (b"path,label\nM\xfcller.png,NORMAL\n", r"line 2 is no UTF-8 \(byte 0xfc\)"),
        (WRITTEN.encode("utf-16-le"), "it looks like UTF-16 without a byte order mark"),
        (b"PK\x03\x04", "it is a spreadsheet or other ZIP file .*save it as CSV"),
        (b"", "it is empty"),
        (b"path,filename,label\na.png,b.png,Mass\n", r"may be the path: 'path' and 'filename' \(--columns=path"),
        (b"path,label,Diagnosis\na.png,Mass,Mass\n", "may be the label: 'label' and 'Diagnosis'"),
        (b"path,label,patient,Patient ID\na.png,Mass,1,2\n", "may be the patient: 'patient' and 'Patient ID'"),
        (b"path,label\na.png,1\nb.png,0\n", r"understood: '0' \(1 image\), '1' \(1 image\).*--classes=0=Pneum"),
        (b"path,Pneumonia\na.png,bacterial\n", r"lacks the column\(s\) label; it has path, Pneumonia"),
        (b"path,age\na.png,1\n", r"lacks the column\(s\) label; it has path, age; --columns=label=NAME"),
    ],
)  # fmt: skip
def test_a_table_that_may_be_read_in_two_ways_or_in_none_is_refused(tmp_path, content, told):
    root = folder_of(tmp_path / "set", t__csv=content)
    with pytest.raises(InputError, match=told):
        load.find(root)


def test_the_user_says_which_of_two_columns(tmp_path):
    root = folder_of(tmp_path / "set", t__csv="path,filename,label,dx\nx,a.png,Mass,Edema\ny,b.png,Mass,Hernia\n")
    assert labels_of(root, columns={"path": "filename", "label": "DX"}) == {"a.png": "Edema", "b.png": "Hernia"}


def test_a_table_of_another_kind_is_named_and_of_two_tables_none_is_guessed(tmp_path):
    root = folder_of(tmp_path / "set", labels__xlsx=b"PK\x03\x04")
    with pytest.raises(InputError, match=r"holds labels.xlsx, which is not read: save it as CSV"):
        load.find(root)
    folder_of(root, t__csv=WRITTEN, u__tsv=WRITTEN.replace(",", "\t"))
    with pytest.raises(InputError, match=r"several tables of images: t.csv and u.tsv; give one of them"):
        load.find(root)
    folder_of(root, ["NORMAL/c.png"])
    source = load.find(root)
    assert source.kind == "class folders"
    unread = "a table in a format that is not read: save it as CSV"
    assert f"the class folders NORMAL are used, not t.csv, u.tsv, labels.xlsx ({unread})" in source.notes
    (root / "u.tsv").unlink()
    source = load.find(root)
    used = f"the table t.csv is used, not the class folders NORMAL; labels.xlsx (not used: {unread})"
    assert source.kind == "table" and used in source.notes
    assert [bad.image for bad in source.problems if bad.passed_over] == ["labels.xlsx"]


def test_a_table_that_fits_but_for_a_row_is_no_reason_to_take_another(tmp_path):
    root = folder_of(tmp_path / "set", old__csv=WRITTEN, train__csv=WRITTEN + "c.png,Mass,Edema\n")
    with pytest.raises(InputError, match=r"train.csv, line 4: a row must have the 2 fields"):
        load.find(root)
    (root / "train.csv").write_text("Exported,on Monday\n\n" + WRITTEN + "c.png,x,y\n")
    source = load.find(root)
    assert labels_of(root) == READ and "the table old.csv is used, not train.csv (not used: " in source.notes[0]
    (root / "train.csv").write_text(WRITTEN.replace("label", "Diagnosen"))
    assert "train.csv lacks the column(s) label" in load.find(root).notes[0]


def test_rows_without_a_path_are_passed_over_and_counted(tmp_path):
    root = folder_of(tmp_path / "set", t__csv=WRITTEN + ",\n\n ,Mass\nnan,nan\n")
    source = load.find(root)
    assert list(source.table["image"]) == list(READ)
    assert "4 rows without a path passed over" in source.notes


def test_what_the_rows_of_an_image_tell_differently_is_unknown(tmp_path):
    header = "path,label,patient,sex,age,split,view\n"
    rows = "a.png,Mass,p1,F,40,train,PA\na.png,Mass,p2,M,50,test,\nb.png,Mass,,F,,train,\nb.png,Mass,p3,F,50,,AP\n"
    source = load.find(folder_of(tmp_path / "set", t__csv=header + rows))
    read = (
        source.table.astype(object).fillna("")[["labels", "patient", "sex", "age", "split", "view"]].to_numpy().tolist()
    )
    assert read == [["Mass", "", "", "", "", "PA"], ["Mass", "p3", "F", "50", "train", "AP"]]
    assert "listed as 'p1' and as 'p2': its patient is unknown" in source.problems[0].reason
    told = "1 images are listed with several patients, 1 images are listed with several ages"
    assert any(note.startswith(told) for note in source.notes)


def test_a_file_behind_links_is_one_image(tmp_path):
    root = folder_of(tmp_path / "set", ["x/a.png"], t__csv="path,label\nx/a.png,Mass\nlink/a.png,Edema\n")
    (root / "link").symlink_to(root / "x")
    assert labels_of(root) == {"x/a.png": ""}


def test_one_file_of_nih_is_one_image_in_whatever_case_it_is_listed(tmp_path):
    header = "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position\n"
    rows = "1_0.png,Mass,0,1,50,F,PA\n1_0.PNG,Edema,0,1,50,F,PA\n"
    root = folder_of(tmp_path / "set", ["images/1_0.png"], Data_Entry_2017__csv=header + rows, images_002__zip="x")
    source = load.find(root)
    assert labels_of(root) == {"1_0.png": ""} and len(source.files) == 1
    assert [bad.image for bad in source.problems if bad.passed_over] == ["images_002.zip"]


@pytest.mark.parametrize("start", ["/home/someone/data", r"C:\Users\me\data", "~/data", "/data/set/deep"])
def test_an_absolute_path_of_another_machine_is_the_image_whose_place_it_ends_with(tmp_path, start):
    root = folder_of(tmp_path / "set", ["a.png", "x/b.png"])
    (root / "t.csv").write_text(f"path,label\n{start}/a.png,Mass\n{start}/x/b.png,Edema\n{start}/y/b.png,Edema\n")
    assert [file.stamp == "missing" for file in load.find(root).files] == [False, False, True]


def test_one_file_is_one_image_however_it_is_written(tmp_path):
    rows = "path,label\na.png,Mass\nA.PNG,Normal\nB,Edema\n./b.png,oedema\n"
    source = load.find(folder_of(tmp_path / "set", t__csv=rows))
    assert dict(zip(source.table["image"], source.table["labels"], strict=True)) == {"a.png": "", "B": "Edema"}
    assert len(source.files) == 2 and "1 images are listed with several labels" in " ".join(source.notes)


def test_an_image_listed_with_several_labels_is_unknown_and_told(tmp_path):
    rows = "path,label\na.png,Effusion\nb.png,Mass\n./a.png,Normal\nb.png,\nb.png,mass\n"
    source = load.find(folder_of(tmp_path / "set", t__csv=rows))
    assert list(source.table["labels"]) == ["", "Mass"]
    assert {bad.image: bad.reason for bad in source.problems} == {
        "a.png": "listed as 'Effusion' and as 'No Finding': its label is unknown",
        "b.png": "duplicate name: the table's first row of it is used",
    }
    assert "1 images are listed with several labels, which are unknown (bad_images.csv)" in source.notes
    assert sum(spelling.images for spelling in source.spellings) == 1


@pytest.mark.parametrize(
    "written",
    ["x/A.png", r"x\A.png", "./x//A.png", "X/a.PNG", "x/A", "A.png", "set/x/A.png", "/elsewhere/set/x/A.png"],
)
def test_a_path_means_the_one_image_that_ends_so(tmp_path, written):
    root = folder_of(tmp_path / "set", ["x/A.png", "b.png"], t__csv=f"path,label\n{written},Mass\nb.png,Normal\n")
    source = load.find(root)
    assert [file.path for file in source.files] == [root / "x" / "A.png", root / "b.png"]
    assert not any("in no row" in note for note in source.notes)


@pytest.mark.parametrize("written", ["a.jpg", "x/a.jpg", "A", "y/a.png", "../a.png"])
def test_a_path_that_may_mean_several_images_or_none_is_missing(tmp_path, written):
    root = folder_of(tmp_path / "set", ["x/a.png", "z/a.png"], t__csv=f"path,label\n{written},Mass\n")
    assert load.find(root).files[0].stamp == "missing"


def test_images_beside_the_tables_that_are_in_no_row_are_told(tmp_path):
    root = folder_of(tmp_path / "set", ["a.png", "b.png", "c.png"], t__csv=WRITTEN)
    assert "1 images beside those of the table are in no row: c.png, ..." in load.find(root).notes


def test_0_1_columns_are_labels_and_what_is_not_read_is_told(tmp_path):
    rows = "Path,Sex,Pneumonia,No Finding,Score\na.png,F,1.0,,3\nb.png,M,-1.0,,2\nc.png,M,,1.0,2\n"
    root = folder_of(tmp_path / "set", t__csv=rows)
    assert labels_of(root) == {"a.png": "Pneumonia|?", "b.png": "", "c.png": "No Finding"}
    assert labels_of(root, vocabulary=Vocabulary(uncertain="negative"))["b.png"] == "-Pneumonia"
    note = load.find(root).notes[0]
    assert note.endswith("labels from the 0/1 column(s) 'Pneumonia', 'No Finding'; not read: Score")


ONE_HOT = (
    "imagen,edad,Normal,Pneumonia,COVID,Subset\na.png,30,1,0,0,Training\nb.png,40,0,0,1,dev\nc.png,50,0,1,0,test set\n"
)


def test_columns_of_alternatives_are_labels_that_must_be_understood_one_and_all(tmp_path):
    root = folder_of(tmp_path / "set", ["a.png", "b.png", "c.png"], t__csv=ONE_HOT)
    with pytest.raises(InputError, match=r"'COVID' \(1 image\); --classes=COVID=Pneumonia"):
        load.find(root)
    kept = load.find(root, load.Naming(Vocabulary(other_findings="keep"))).table
    assert list(kept["labels"]) == ["No Finding", "COVID", "Pneumonia"]
    assert list(kept["split"]) == ["train", "val", "test"] and list(kept["age"]) == ["30", "40", "50"]
    assert list(labels_of(root, vocabulary=Vocabulary({"covid": "Pneumonia"})).values())[1] == "Pneumonia"


def test_lists_of_the_official_split_as_windows_saves_them_and_rows_that_lack(tmp_path):
    (tmp_path / "train_val_list.txt").write_bytes("\ufeffa.png\r\n\r\nb.png\r\n".encode())
    assert nih.read_split(tmp_path) == {"a.png": "train", "b.png": "train"}


NIH = "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position\n"


def test_nih_images_are_found_whatever_the_case_of_their_suffix_and_others_are_told(tmp_path):
    names = ["images/0_0.PNG", "images/0_1.png", "images_001/images/1_0.Png", "images/9_9.png"]
    rows = "".join(f"{name},Infiltrates;Mass,0,1,50,M,PA\n" for name in ("0_0.png", "0_1.png", "1_0.png", "2_0.png"))
    old = {"Data_Entry_2017__csv": NIH + rows.replace("Mass", "Edema")}
    root = folder_of(
        tmp_path / "set", names, Data_Entry_2017_v2020__CSV=NIH + rows, **old, Train_Val_List__txt="0_0.png\n7_7.png\n"
    )
    (root / "images" / "notes.txt").write_text("notes")
    source = load.find(root)
    assert [file.name for file in source.files] == ["0_0.png", "0_1.png", "1_0.png"]
    assert set(source.table["labels"]) == {"Infiltration|Mass"}
    assert {bad.image: bad.reason for bad in source.problems if bad.passed_over} == {
        "9_9.png": "is in no row of the table", "notes.txt": "is no image: text",
    }  # fmt: skip
    assert any("1 images of train_val_list.txt and test_list.txt are in no row" in note for note in source.notes)
    assert source.notes[0] == "the table Data_Entry_2017_v2020.CSV is used, not Data_Entry_2017.csv"
    assert source.spellings == (("Infiltrates;Mass", "Infiltration|Mass", 3),)


@pytest.mark.parametrize(
    ("name", "naming", "counts"),
    [
        ("B01", {}, (6, 6, 6)),
        ("B02", {}, (3, 3, 0)),
        (
            "B02",
            {"vocabulary": Vocabulary({"1.0": "Pneumonia", "0.0": "No Finding"}), "columns": {"label": "Pneumonia"}},
            (3, 3, 3),
        ),
        ("B06", {}, (6, 6, 6)),
        ("B08", {}, (9, 3, 1)),
        ("B22", {}, (6, 6, 6)),
    ],
)
def test_shown_inputs(shared, tmp_path, caplog, name, naming, counts):
    source = load.find(shared / "bug-inputs" / name, load.Naming(**naming))
    outcome = prepare(source, tmp_path / "out", Reduction())
    assert (outcome.images, outcome.bad) == (12, 0)
    read = classes.count(store.label_counts(store.open_store(tmp_path / "out").table), PNEUMONIA_CLASSES)
    assert tuple(read.values()) == counts
    about = store.read_about(tmp_path / "out")
    assert about.spellings and about.notes[: len(source.notes)] == list(source.notes)
    with caplog.at_level("INFO"):
        load.load(str(tmp_path / "out"))
    assert all(line in caplog.text for line in [*labels.lines(source.spellings), *source.notes])


def test_the_shown_input_with_a_comma_that_is_not_quoted(shared):
    with pytest.raises(InputError, match=r"table.csv, line 2: .* this one has more: 3"):
        load.find(shared / "bug-inputs" / "B04")


def test_columns_of_a_flag_with_what_their_values_mean():
    from cxrjax.base.flags import SourceFlags

    naming = load.naming(SourceFlags(columns="label=dx,sex=gender:m=M:w=F"))
    assert naming.columns == {"label": "dx", "sex": "gender"} and naming.meanings == {"sex": {"m": "M", "w": "F"}}
    assert set(table.KNOWN) >= naming.columns.keys()


def test_a_nameless_column_is_kept_and_lines_are_numbered(tmp_path):
    (tmp_path / "t.csv").write_text('a,,\n1,2,3\n"x\ny",,\n')
    raw = delimited.read(tmp_path / "t.csv")
    pd.testing.assert_index_equal(raw.index, pd.Index([2, 4], name="line"))
    assert list(raw.columns) == ["a", "", ""] and raw.iloc[1, 0] == "x\ny"
