"""Each table of a data set by hand, the contact sheets, the page's escaping, and the command line to its files."""

import functools
import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from cxrjax.report.figures import sheets
from cxrjax.report.figures.sheets import DARK, LINE, LINES, MARGIN, TILE
from cxrjax.runs import describe
from cxrjax.storage.store import COLUMNS, About, ImageStore, label_counts, open_store, write_store
from tests.experiments import commands

call = functools.partial(commands.call, "describe")

ATTACK = "<img src=x onerror=alert(1)>"
# image, patient, labels, view, age, sex, followup, split
ROWS = [
    ("a.png", "1", "Pneumonia", "AP", 17.9, "M", 0, "train"),
    ("b.png", "1", "Edema|Pneumonia", "AP", 18.0, "M", 1, "train"),
    ("c.png", "2", "No Finding", "PA", 80.0, "F", 0, "test"),
    ("d.png", "3", "Edema", "", 412.0, "", 5, ""),
    ("e.png", "4", "", "PA", np.nan, "F", 21, ""),
    ("f.png", "4", "No Finding", "PA", 120.0, "F", 6, "test"),
]


def table_of(rows):
    return pd.DataFrame(rows, columns=list(COLUMNS))


def store_of(rows, size=16):
    """A store in memory; every image has its row's number in every pixel."""
    images = np.broadcast_to(np.arange(len(rows), dtype=np.uint8)[:, None, None], (len(rows), size, size))
    return ImageStore(images.copy(), table_of(rows))


def about_of(table, bad=None, listed=None):
    return About("somewhere", label_counts(table) if listed is None else listed, {}, bad or {})


def described(rows, **about):
    store = store_of(rows)
    return describe.describe(store, about_of(store.table, **about))


def row_of(table, **where):
    """The one row whose columns are so."""
    found = table[np.logical_and.reduce([table[name] == value for name, value in where.items()])]
    assert len(found) == 1, where
    return found.iloc[0].to_dict()


def many(number, view, labels="Pneumonia", start=0, **other):
    """Images of as many patients."""
    known = {"view": view, "age": 50.0, "sex": "F", "followup": 0, "split": "", **other}
    names = [f"{start + i:04d}" for i in range(number)]
    return [(f"{name}.png", name, labels, *known.values()) for name in names]


def test_classes_by_hand():
    listed = {"Pneumonia": 2, "Edema|Pneumonia": 1, "No Finding": 7, "Edema": 1, "": 1}
    found = describe.class_counts(table_of(ROWS), listed)
    assert found.to_numpy().tolist() == [
        ["P", 2, 1, 3, 1],
        ["NP", 3, 3, 8, 5],
        ["NF", 2, 2, 7, 5],
        ["other", 1, 1, 1, 0],
        ["unlabelled", 1, 1, 1, 0],
        ["all", 6, 4, 12, 6],
    ]
    assert list(found.columns) == ["class", "images", "patients", "listed", "missing"]


def test_missing_is_unknown_where_nothing_is_listed():
    found = describe.class_counts(table_of(ROWS), {})
    assert found[["listed", "missing"]].isna().all(axis=None)
    assert list(found["images"]) == [2, 3, 2, 1, 1, 6]


def test_groups_by_hand():
    found = describe.group_counts(table_of(ROWS))
    groups = {name: list(part["group"]) for name, part in found.groupby("variable")}
    assert groups == {
        "view": ["AP", "PA", "unknown"],
        "sex": ["F", "M", "unknown"],
        "age": ["0-17", "18-39", "80+", "outside 0-120", "unknown"],
        "follow-up": ["0 or unknown", "1-5", "6-20", "21+"],
        "split": ["test", "train", "unknown"],
    }
    assert row_of(found, variable="view", group="PA") == {
        "variable": "view", "group": "PA", "images": 3, "patients": 2, "P": 0, "NP": 2, "NF": 2, "other": 0,
        "unlabelled": 1, "share_P": 0.0, "share_NP": pytest.approx(2 / 3), "share_NF": 1.0, "share_other": 0.0,
    }  # fmt: skip
    assert row_of(found, variable="age", group="80+")["images"] == 2
    assert row_of(found, variable="age", group="0-17")["share_P"] == 0.5
    assert row_of(found, variable="age", group="outside 0-120")["other"] == 1
    assert row_of(found, variable="follow-up", group="1-5")["images"] == 2
    assert row_of(found, variable="split", group="train")["P"] == 2


def test_every_variable_counts_every_image(small_phantom):
    found = describe.group_counts(small_phantom.table)
    sums = found.groupby("variable").sum(numeric_only=True)
    assert (sums["images"] == len(small_phantom.table)).all()
    assert (sums["images"] == sums["P"] + sums["NP"] + sums["unlabelled"]).all()
    assert (sums["NP"] == sums["NF"] + sums["other"]).all()
    np.testing.assert_allclose(sums[["share_P", "share_NP", "share_NF", "share_other"]], 1)


def test_findings_by_hand():
    found = describe.findings(table_of([*ROWS, ("g.png", "9", "Edema|Edema|Mass", "", np.nan, "", 0, "")]))
    columns = ["finding", "images", "patients", "alone", "in_P", "share_of_P", "in_NP", "share_of_NP"]
    assert list(found.columns) == columns
    assert found.to_numpy().tolist() == [
        ["Pneumonia", 2, 1, 1, 2, 1.0, 0, 0.0],
        ["Edema", 3, 3, 1, 1, 0.5, 2, 0.5],
        ["No Finding", 2, 2, 2, 0, 0.0, 2, 0.5],
        ["Mass", 1, 1, 0, 0, 0.0, 1, 0.25],
    ]


def test_without_pneumonia_nothing_has_a_share_of_it():
    found = describe.findings(table_of(ROWS[2:]))
    assert found["share_of_P"].isna().all()
    assert list(found["share_of_NP"]) == [2 / 3, 1 / 3]


def test_images_a_patient_by_hand():
    patients = np.repeat(["a", "b", "c", "d", "e", "f", "g"], [1, 2, 3, 5, 6, 10, 11])
    found = describe.images_a_patient(pd.DataFrame({"patient": patients}))
    assert found.to_numpy().tolist() == [["1", 1, 1], ["2", 1, 2], ["3-5", 2, 8], ["6-10", 2, 16], ["11+", 1, 11]]


def test_equal_images_are_found_wherever_they_lie():
    store = store_of(ROWS)
    for copy, original in ((3, 0), (5, 2), (4, 2)):
        store.images[copy] = store.images[original]
    found = describe.duplicates(store)
    assert found.to_numpy().tolist() == [
        [0, "a.png", "1", "Pneumonia", True, True],
        [0, "d.png", "3", "Edema", True, True],
        [1, "c.png", "2", "No Finding", True, True],
        [1, "e.png", "4", "", True, True],
        [1, "f.png", "4", "No Finding", True, True],
    ]
    made = describe.describe(store, about_of(store.table))
    assert describe.summary(made)["duplicates"] == {"groups": 2, "images": 5, "across_patients": 2, "across_labels": 2}
    assert any("2 group(s) of identical images have different patients" in note for note in describe.notes(made))


def test_equal_images_of_one_patient_cross_nothing():
    store = store_of([row for row in ROWS if row[1] in "14"])
    store.images[1] = store.images[0]
    found = describe.duplicates(store)
    assert list(found["image"]) == ["a.png", "b.png"]
    assert not found["across_patients"].any()
    assert found["across_labels"].all()
    store.images[1, 15, 15] += 1
    assert describe.duplicates(store).empty


def test_equal_images_of_a_store_on_disk_are_found_across_chunks(small_phantom, tmp_path, monkeypatch):
    monkeypatch.setattr("cxrjax.storage.store._ROWS_AT_ONCE", 3)
    table, images = small_phantom.table[:8], small_phantom.images[[0, 1, 2, 3, 4, 5, 6, 1]]
    write_store(tmp_path / "store", table, images, about_of(table))
    assert list(describe.duplicates(open_store(tmp_path / "store"))["image"]) == list(table["image"][[1, 7]])


def test_a_clear_difference_is_told_in_one_sentence():
    rows = [*many(40, "AP"), *many(60, "PA", start=40), *many(80, "PA", "No Finding", 100)]
    rows += many(20, "AP", "No Finding", 180) + many(40, "AP", "Edema", 200)
    made = described(rows)
    assert list(made.differences["variable"]) == ["view"]
    assert row_of(made.differences, group="AP") == {
        "variable": "view", "group": "AP", "share_P": 0.4, "share_NF": 0.2, "share_NP": pytest.approx(60 / 140),
    }  # fmt: skip
    (note,) = describe.notes(made)
    assert note.startswith("View: “AP” is 40 % of P, 20 % of NF, 43 % of NP. ")


@pytest.mark.parametrize(
    ("n", "negatives_in_ap", "clear"),
    [
        (100, 41, False),  # 9 points
        (400, 164, False),  # 9 points, however sure
        (100, 35, False),  # 15 points, but 2.14 standard errors: pooled 0.425, error 0.0699
        (100, 30, True),  # 20 points, 2.89 standard errors: pooled 0.4, error 0.0693
    ],
)
def test_a_difference_must_be_large_and_beyond_chance(n, negatives_in_ap, clear):
    rows = [*many(n // 2, "AP"), *many(n // 2, "PA", start=n // 2)]
    rows += many(negatives_in_ap, "AP", "No Finding", n)
    rows += many(n - negatives_in_ap, "PA", "No Finding", n + negatives_in_ap)
    assert (not described(rows).differences.empty) is clear


def test_the_error_of_a_difference_weighs_each_class_by_its_patients():
    """0.5 of 20 P, 0.24 of 200 NF: pooled (10 + 48) / 220, error 0.1033, 2.52 of them."""
    for negatives_in_ap, clear in ((48, True), (49, False)):
        rows = [*many(10, "AP"), *many(10, "PA", start=10), *many(negatives_in_ap, "AP", "No Finding", 20)]
        rows += many(200 - negatives_in_ap, "PA", "No Finding", 20 + negatives_in_ap)
        assert (not described(rows).differences.empty) is clear


def test_patients_count_in_a_difference_not_their_images():
    """100 + 100 images would do (see above), of 10 + 10 patients they do not."""
    rows = [*many(50, "AP"), *many(50, "PA"), *many(30, "AP", "No Finding"), *many(70, "PA", "No Finding")]
    ten = [(f"{i}.png", f"{labels}{i % 10}", labels, *rest) for i, (_, _, labels, *rest) in enumerate(rows)]
    assert described(ten).differences.empty


def test_split_is_no_warning():
    rows = [*many(100, "AP", split="train"), *many(100, "AP", "No Finding", 100, split="test")]
    assert described(rows).differences.empty


def test_a_store_without_labels_has_undefined_shares():
    rows = [(image, patient, "", *rest) for image, patient, _, *rest in ROWS]
    made = described(rows)
    assert made.groups[["share_P", "share_NP", "share_NF", "share_other"]].isna().all(axis=None)
    assert made.findings.empty
    assert made.differences.empty
    found = describe.summary(made)
    assert found["classes"]["P"] == {"images": 0, "patients": 0, "listed": 0, "missing": 0}
    assert found["notes"][-1] == "6 image(s) have no label and belong to no class."
    page = describe.html(made, {})
    assert "No image has a label." in page
    assert "nan" not in page.lower()
    assert list(describe.contact_sheets(store_of(rows), 0)) == ["unlabelled"]


def test_bad_images_come_from_the_store_or_from_about(small_phantom, tmp_path):
    made = described(ROWS, bad={"z.png": "cut short"})
    assert made.bad.to_numpy().tolist() == [["z.png", "z.png", True, False, "cut short"]]
    write_store(tmp_path / "store", small_phantom.table[:3], small_phantom.images[:3], about_of(small_phantom.table))
    store = open_store(tmp_path / "store")
    assert describe.bad_images(store, about_of(store.table)).empty
    (tmp_path / "store" / "bad_images.csv").write_text("image,origin,left_out,reason\nx,y,True,r\nv,w,False,s\n")
    found = describe.summary(describe.describe(store, about_of(store.table)))
    assert (found["left_out"], found["doubtful"]) == (1, 1)


def test_drawn_images_depend_on_seed_and_names_alone(small_phantom):
    table = small_phantom.table
    member = describe.members(table["labels"])["NP"]
    rows = sheets.contact_rows(table, member, 0)
    names = table["image"].to_numpy(str)
    assert len(set(rows)) == sheets.COLUMNS * sheets.ROWS
    assert member[rows].all()
    assert list(names[rows]) == sorted(names[rows])
    mirrored = sheets.contact_rows(table[::-1].reset_index(drop=True), member[::-1], 0)
    assert list(names[::-1][mirrored]) == list(names[rows])
    assert set(sheets.contact_rows(table, member, 1)) != set(rows)


def test_the_seed_decides_which_images_are_shown(small_phantom):
    store = ImageStore(small_phantom.images, small_phantom.table)
    first, again, other = (describe.contact_sheets(store, seed) for seed in (0, 0, 1))
    assert list(first) == ["P", "NF", "other"]
    for name in first:
        assert (first[name] == again[name]).all()
    assert (first["NF"] != other["NF"]).any()


@pytest.mark.parametrize("size", [16, 256])
def test_a_tile_shows_its_image_above_its_caption(size):
    store = store_of(many(8, "AP"), size)
    store.images[:] = np.arange(100, 108, dtype=np.uint8)[:, None, None]
    sheet = sheets.contact_sheet(store.images, store.table, np.array([0, 7, 1, 2, 3, 4, 5]), "title")
    top, pitch = MARGIN + 2 * LINE, TILE + MARGIN
    assert sheet.shape[1] == sheets.COLUMNS * pitch + MARGIN
    tile = sheet[top : top + TILE, MARGIN + pitch :][:, :TILE]
    assert (tile == 107).all()
    below = sheet[top + TILE :][: LINE * LINES, MARGIN:][:, :TILE]
    assert below.max() > 200  # text
    second = top + TILE + MARGIN + LINE * LINES
    assert (sheet[second : second + TILE, MARGIN:][:, :TILE] == 105).all()
    assert (sheet[second : second + TILE, MARGIN + pitch :] == DARK).all()


@pytest.mark.parametrize(
    ("row", "lines"),
    [
        (("x/a.png", "", "Pneumonia", "AP", 58.0, "F", 0, ""), ["a.png", "AP, 58, F", "Pneumonia"]),
        (("a.png", "", "", "", np.nan, "", 0, ""), ["a.png", "view ?, age ?, sex ?", "no label"]),
        (
            ("person1129_bacteria_3070.jpeg", "", "Edema|Effusion|Pneumonia", "PA", 3.0, "M", 0, ""),
            ["person1129_bacteria_", "3070.jpeg", "PA, 3, M", "Edema, Effusion, ", "Pneumonia"],
        ),
        (("a\nb.png", "", "Edema", "AP", 3.0, "M", 0, ""), ["a?b.png", "AP, 3, M", "Edema"]),
    ],
)
def test_caption_by_hand(row, lines):
    assert sheets.caption(table_of([row]).iloc[0], sheets.font()) == lines


def test_a_caption_stays_below_its_tile():
    row = ("W" * 200 + ".png", "", "|".join(["Pleural_Thickening" * 3] * 9), "L" * 99, 3.0, "M" * 99, 0, "")
    font = sheets.font()
    lines = sheets.caption(table_of([row]).iloc[0], font)
    assert len(lines) == LINES
    assert max(font.getlength(line.rstrip()) for line in lines) <= TILE
    assert [line.endswith("…") for line in lines] == [False, True, True, False, True]


def test_what_is_known_of_no_image_is_one_sentence_on_the_page():
    """As of class folders: nothing but labels. Then with the view, in which the classes do not differ."""
    nothing = {"view": "", "age": np.nan, "sex": ""}
    page = describe.html(described(many(3, **nothing) + many(3, labels="No Finding", start=3, **nothing)), {})
    assert "Not known for any image: view, sex, age, follow-up and split." in page
    assert "<td>unknown</td>" not in page and "Each percentage" not in page
    nothing["view"] = "PA"
    page = describe.html(described(many(3, **nothing) + many(3, labels="No Finding", start=3, **nothing)), {})
    assert "Not known for any image: sex, age, follow-up and split." in page
    assert "<td>PA</td>" in page and "P differs clearly from NF or NP in none of them" in page
    assert "at the top of the page" not in page
    assert "A note at the top of the page says where" in describe.html(
        described(many(30, "AP") + many(30, "PA", "No Finding", 30)), {}
    )


def test_text_of_the_data_stays_text_on_the_page():
    rows = [(ATTACK, ATTACK, ATTACK, ATTACK, 50.0, ATTACK, 0, ATTACK)]
    store = ImageStore(np.zeros((2, 16, 16), np.uint8), table_of(rows * 2))
    about = About(ATTACK, {ATTACK: 2}, {"size": 16, "fit": ATTACK, "filter": ATTACK}, {ATTACK: ATTACK})
    made = describe.describe(store, about)
    page = describe.html(made, {"P": b"png"})
    assert "<img src=x" not in page
    assert page.count("&lt;img src=x onerror=alert(1)&gt;") >= 10
    describe.contact_sheets(store, 0)


def test_a_long_list_is_cut_on_the_page():
    bad = {f"z{i:04d}.png": "cut short" for i in range(describe.SHOWN + 1)}
    page = describe.html(described(ROWS, bad=bad), {})
    assert page.count("cut short") == describe.SHOWN
    assert "The first 100 of 101" in page


@pytest.fixture(scope="module")
def prepared(small_phantom, tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "store"
    table = small_phantom.table
    about = About("<hospital>", {**label_counts(table), "Pneumonia": 1000}, {}, {})
    write_store(folder, table, small_phantom.images, about)
    return folder


FILES = {
    "describe.html", "describe.json", "contact_p.png", "contact_nf.png", "contact_other.png", "classes.csv",
    "groups.csv", "findings.csv", "images_a_patient.csv", "duplicates.csv",
}  # fmt: skip


def test_command_line_to_files(prepared, tmp_path, capsys):
    out = tmp_path / "deep" / "out"
    out.mkdir(parents=True)
    (out / "mine.txt").write_text("mine")
    (out / "contact_unlabelled.png").write_text("of an earlier data set")
    assert call(f"--data_dir={prepared}", f"--out={out}") == 0
    last = capsys.readouterr().out.splitlines()[-1]
    table = open_store(prepared).table
    member = describe.members(table["labels"])
    assert last.startswith(f"describe: {len(table)} images of 60 patients; {member['P'].sum()} P, ")
    assert last.endswith(f"page: {out / 'describe.html'}")
    assert {path.name for path in out.iterdir()} == FILES | {"mine.txt"}
    found = json.loads((out / "describe.json").read_text())
    classes = pd.read_csv(out / "classes.csv").set_index("class")
    assert found["classes"]["P"]["missing"] == classes.loc["P", "missing"] > 900
    page = (out / "describe.html").read_text()
    assert page.count("data:image/png;base64,") == 3
    assert "http" not in page
    assert "&lt;hospital&gt;" in page
    with Image.open(out / "contact_p.png") as sheet:
        assert sheet.size[0] == np.asarray(sheet).shape[1] == 948
