"""Whose image it is: precedence, spellings, placeholders; one truth in random spellings and names gives this truth."""

import random
import re

import numpy as np
import pytest
from PIL import Image

from cxrjax.base import InputError
from cxrjax.base.flags import SourceFlags
from cxrjax.data import load
from cxrjax.data.patients import COLUMN, HEADER, REGEX, by_pattern, resolve
from cxrjax.storage import store
from tests.data.dicom_files import dicom


def column(ids, what=COLUMN):
    """Of images whose names tell nothing."""
    blank = [""] * len(ids)
    return resolve([f"{i}.png" for i in range(len(ids))], {what: ids}, blank, blank)


def test_spellings_of_one_number_are_one_patient_and_told():
    ids, account = column(["00012", "12", "012", "12.0", "12 ", "12"])
    assert ids.tolist() == ["12"] * 6
    assert account._asdict() == {
        "images": 6, "patients": 1, "largest": 6, "unknown": 0, "rules": {COLUMN: 6},
        "notes": ["4 spellings taken as 1 patient(s), such as '00012', '012', '12', '12.0'"],
    }  # fmt: skip


@pytest.mark.parametrize(
    "texts", [["P012", "p12", "P-12", "patient 12"][:3], ["DOE^JOHN", "doe john", "DOE^JOHN^^^"], ["#7", "7,0", "07."]]
)
def test_further_spellings(texts):
    assert len(set(column(texts)[0])) == 1


@pytest.mark.parametrize(
    "texts", [["1.1", "1.10", "11"], ["12", "P12", "Q12"], ["a1", "a10", "a1b"], ["1335", "13350"]]
)
def test_what_are_not_spellings_of_one(texts):
    ids, account = column(texts)
    assert ids.tolist() == texts
    assert not account.notes


@pytest.mark.parametrize(
    "text",
    [
        "ANONYMOUS",
        "Anon.",
        "anónimo",
        "NaN",
        "N/A",
        "NA",
        "none",
        "Unknown",
        "No ID",
        "-",
        "?",
        "0",
        "0000",
        "-1",
        "^^",
    ],
)
def test_placeholders_are_unknown_and_told(text):
    ids, account = column([text, "7", "8", text])
    assert ids.tolist() == ["", "7", "8", ""]
    assert account.unknown == 2
    assert account.notes == [f"{COLUMN}: {text!r} (images: 2): no patient's id, taken as unknown"]


def test_numbers_from_zero_are_patients():
    assert column(["0", "0", "1", "2"])[0].tolist() == ["0", "0", "1", "2"]
    assert column(["0"] * 4 + ["1", "2"])[0].tolist() == [""] * 4 + ["1", "2"]


def test_one_id_for_over_half_of_many_images_is_unknown():
    ids, account = column(["4711"] * 7 + list("abcde"))
    assert ids.tolist() == [""] * 7 + list("abcde")
    assert "'4711' (images: 7): one id for over half of the images, taken as unknown" in account.notes[0]
    assert column(["4711"] * 6 + list("abcd"))[1].patients == 5  # of ten
    assert column(["4711"] * 6 + list("abcdef"))[1].patients == 7  # half


def test_ids_that_a_spreadsheet_has_rounded_are_unknown():
    ids, account = column(["1.23457E+11", "1.23457E+11", "5"])
    assert ids.tolist() == ["", "", "5"]
    assert "rounded" in account.notes[0]


def test_the_first_that_tells_counts():
    images = ["N/person1_a.png", "N/person2_b.png", "N/person3_c.png", "N/person4_d.png"]
    ids, account = resolve(
        images,
        {REGEX: ["x", "", "", ""], COLUMN: ["y", "ANON", "z", ""], HEADER: ["v", "w", "", ""]},
        ["N"] * 4,
        [""] * 4,
    )
    assert ids.tolist() == ["x", "w", "z", "N/person4"]
    assert account.rules == {REGEX: 1, HEADER: 1, COLUMN: 1, "file names as in Kermany et al.": 1}
    assert account.lines() == [
        "patients: 4 in 4 images (1 by --patient_regex, 1 by DICOM's PatientID, 1 by the table's column, "
        "1 by file names as in Kermany et al.); at most 1 each",
        "patients: the table's column: 'ANON' (images: 1): no patient's id, taken as unknown",
    ]


def test_a_rule_fills_the_gaps_of_a_higher_one_only_where_the_two_agree():
    """CheXpert's paths tell all, a column a part in ids of its own: spelled as there, or left unknown."""
    images = [f"train/patient{i // 2:05d}/study1/view{i % 2 + 1}_frontal.jpg" for i in range(12)]
    agreeing = ["" if i % 2 else str(100 + i // 2) for i in range(12)]
    ids, _ = resolve(images, {COLUMN: agreeing}, [""] * 12, [""] * 12)
    assert ids.tolist() == [str(100 + i // 2) for i in range(12)]
    disagreeing = ["" if i % 2 else str(100 + i // 4) for i in range(12)]
    ids, account = resolve(images, {COLUMN: disagreeing}, [""] * 12, [""] * 12)
    assert ids.tolist() == disagreeing and account.unknown == 6
    told = "patients: file names as in CheXpert (images: 6) is not used: it groups the images differently"
    assert any(line.startswith(told) for line in account.lines())


def test_where_nothing_tells_it_is_said():
    ids, account = column(["", ""])
    assert ids.tolist() == ["", ""]
    assert account.lines()[0].startswith("patients: unknown, so splits are by image: no --patient_regex")


@pytest.mark.parametrize(
    ("pattern", "patient"),
    [
        (r"^(\d+)_", "77"),
        (r"_(?P<x>..)_(?P<patient>\w+)\.", "smith"),
        (r"7+", "77"),
        (r"^ward(\d)/", "3"),  # not in the file's name, so in the whole
    ],
)
def test_patient_by_regular_expression(pattern, patient):
    assert by_pattern(["ward3/77_PA_smith.png", "x"], re.compile(pattern)) == [patient, ""]


def test_a_pattern_that_tells_nothing_or_nobody_apart_is_refused():
    images = [f"Patient_{i}/IM-0001-0001.jpeg" for i in range(12)]
    with pytest.raises(InputError, match=r"--patient_regex must fit names.*'nothing' fits none, such as 'Patient_0/IM"):
        by_pattern(images, re.compile("nothing"))
    with pytest.raises(
        InputError, match=r"--patient_regex must tell patients apart: 'IM-.*' gives 12 of 12 images to '0001'"
    ):
        by_pattern(images, re.compile(r"IM-(\d+)"))


def spelled_id(rng, number, kind):
    if kind == "number":
        return rng.choice(["{}", "{:05d}", "{:08d}", "{}.0", " {} ", "{:03d}.00"]).format(number)
    if kind == "prefix":
        return rng.choice(["P{}", "p{:04d}", "P-{}", "P {:02d} "]).format(number)
    name = f"DOE{chr(65 + number // 26 % 26)}{chr(65 + number % 26)}^JOHN{number // 676 * 'X'}"
    return rng.choice([name, name.lower(), name.replace("^", " "), f" {name}^^"])


PLACEHOLDERS = ("ANONYMOUS", "nan", "", "-", "None", "unknown", "N/A")


def written_in_a_column(rng, truth):
    """Ids in random spellings, some of them placeholders; the truth of which is that nobody knows."""
    kind = rng.choice(["number", "prefix", "name"])
    ids = [spelled_id(rng, number + 1, kind) for number in truth]
    hidden = {i for i in range(len(ids)) if rng.random() < 0.1}
    ids = [rng.choice(PLACEHOLDERS) if i in hidden else text for i, text in enumerate(ids)]
    blank = [""] * len(ids)
    images = [f"{i}.png" for i in range(len(ids))]
    return images, {rng.choice([COLUMN, HEADER]): ids}, blank, blank, hidden


def written_in_names(rng, truth):
    """By the convention of a data set or a viewer, in class folders or not."""
    shots = [truth[:i].count(number) for i, number in enumerate(truth)]
    of_class = [rng.choice(["NORMAL", "PNEUMONIA"]) for _ in truth]
    style = rng.choice(["chexpert", "mimic", "nih", "kermany", "pacs", "names", "numbered", "index", "hash"])
    names = []
    for number, shot, label in zip(truth, shots, of_class, strict=True):
        names.append({
            "chexpert": f"{label}/patient{number:05d}/study{shot + 1}/view1_frontal.jpg",
            "mimic": f"{label}/p{10 + number % 10}/p1{number:07d}/s5{shot:07d}/{rng.randrange(10**9):x}.jpg",
            "nih": f"{label}/{number + 1:08d}_{shot:03d}.png",
            "kermany": f"PNEUMONIA/person{number}_{rng.choice(['virus', 'bacteria'])}_{rng.randrange(999)}.jpeg",
            "pacs": f"{label}/Patient_{number + 100}/Thorax_PA/IM-0001-{shot + 1:04d}.jpeg",
            "names": f"{label}/DOE_{'ABCDEFGHIJ'[number % 10]}{'KLMNOPQRST'[number // 10 % 10]}/CR/IM{shot:06d}.dcm",
            "numbered": f"{label}/p{number + 100:03d}/{rng.randrange(10**9)}.png",
            "index": f"{label}/{label.title()}-{rng.randrange(10**6)}.png",
            "hash": f"{label}/{rng.randrange(16**32):032x}.dicom",
        }[style])  # fmt: skip
    depth = rng.choice([0, 1])
    folders = [name.split("/")[0] * depth for name in names]
    return names, {}, folders, [name.split("/")[0] for name in names], set()


@pytest.mark.parametrize("block", range(5))
def test_one_truth_in_random_spellings_gives_this_truth_or_is_unknown(block):
    """500 sets in all: two images have one id exactly if they are of one patient."""
    complete = 0
    for seed in range(100 * block, 100 * block + 100):
        rng = random.Random(seed)
        truth = [rng.randrange(rng.choice([5, 20, 60])) for _ in range(rng.randint(12, 60))]
        images, written, folders, labels, hidden = rng.choice([written_in_a_column, written_in_names])(rng, truth)
        ids, account = resolve(images, written, folders, labels)
        named = np.flatnonzero(ids != "")
        pairs = {(truth[i], ids[i]) for i in named}
        assert len(pairs) == len({number for number, _ in pairs}) == len({text for _, text in pairs}), (
            seed,
            images,
            written,
        )
        assert account.unknown == len(images) - len(named)
        assert not hidden.intersection(named)
        complete += len(named) == len(images) - len(hidden)
    assert complete > 50  # of 100, in which indices and hashes tell nobody


def source_with(place, names, header="", rows=()):
    """Small images of these names, and a table of them if it has a header."""
    for i, name in enumerate(names):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((9, 9), i, np.uint8)).save(place / name, format="PNG")
    if header:
        (place / "table.csv").write_text("\n".join([header, *rows, ""]))
    return str(place)


def test_a_table_with_one_patient_in_five_spellings(tmp_path):
    names = [f"x{i}.png" for i in range(6)]
    rows = [f"x{i}.png,NORMAL,{text}" for i, text in enumerate(["00012", "12", "012", "12.0", "12 ", "ANON"])]
    images, about = load.load(source_with(tmp_path / "set", names, "path,label,patient", rows))
    assert list(images.table["patient"]) == ["12"] * 5 + [""]
    assert (about.patients["patients"], about.patients["unknown"]) == (1, 1)
    assert "patients: 4 spellings taken as 1 patient(s), such as '00012', '012', '12', '12.0'" in about.notes


def test_folders_of_patients_as_a_viewer_exports(tmp_path):
    names = [f"{['NORMAL', 'PNEUMONIA'][i % 2]}/Patient_{i}/Thorax_PA/IM-0001-0001.png" for i in range(12)]
    images, about = load.load(source_with(tmp_path / "set", names))
    assert dict(zip(images.table["image"], images.table["patient"], strict=True)) == {
        name: name.split("/")[1] for name in names
    }
    assert "patients: 12 in 12 images (12 by folders named after patients); at most 1 each" in about.notes
    with pytest.raises(InputError, match="--patient_regex must tell patients apart"):
        load.load(str(tmp_path / "set"), flags=SourceFlags(patient_regex=r"IM-(\d+)"))
    renamed, _ = load.load(str(tmp_path / "set"), flags=SourceFlags(patient_regex=r"Patient_(\d+)"))
    assert set(renamed.table["patient"]) == {str(i) for i in range(12)}


def test_sex_and_view_of_a_table_and_what_the_user_says_of_them(tmp_path):
    values = [("Mujer", "PA"), ("Hombre", "1"), ("M", "posteroanterior"), ("F", "L"), ("", "AP supine")]
    rows = [f"x{i}.png,NORMAL,{sex},{view}" for i, (sex, view) in enumerate(values)]
    place = source_with(tmp_path / "set", [f"x{i}.png" for i in range(5)], "path,label,sex,proj", rows)
    images, about = load.load(place, flags=SourceFlags(columns="view=proj"))
    assert list(images.table["sex"]) == ["F", "M", "M", "F", ""]
    assert list(images.table["view"]) == ["PA", "", "PA", "LATERAL", "AP"]
    assert "sex: 'Mujer' is F (1), 'Hombre' is M (1), M (1), F (1); unknown: none (1)" in about.notes
    images, _ = load.load(place, flags=SourceFlags(columns="view=proj:1=AP,sex=sex:m=F"))
    assert list(images.table["sex"]) == ["F", "M", "F", "F", ""]
    assert list(images.table["view"]) == ["PA", "AP", "PA", "LATERAL", "AP"]


def test_views_of_chexpert(tmp_path):
    rows = ["a.png,NORMAL,Frontal,AP", "b.png,NORMAL,Frontal,PA", "c.png,NORMAL,Lateral,"]
    place = source_with(tmp_path / "set", ["a.png", "b.png", "c.png"], "path,label,Frontal/Lateral,AP/PA", rows)
    assert list(load.load(place)[0].table["view"]) == ["AP", "PA", "LATERAL"]


def test_headers_of_dicom_tell_patient_and_sex(tmp_path):
    """M alone is male, as the standard has it; an anonymous patient is none."""
    for i, patient in enumerate(["012", "12", "ANONYMOUS"]):
        path = tmp_path / "set" / "NORMAL" / f"{i}.dcm"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(dicom(np.roll(np.arange(256), i).reshape(16, 16), PatientID=patient, PatientSex="M"))
    table = load.load(str(tmp_path / "set"))[0].table
    assert list(table["patient"]) == ["12", "12", ""]
    assert list(table["sex"]) == ["M"] * 3


def test_a_store_without_patients_opens(tmp_path):
    images, _ = load.load(source_with(tmp_path / "set", ["NORMAL/COVID-1.png", "NORMAL/COVID-2.png"]))
    assert list(store.open_store(images.folder).table["patient"]) == ["", ""]
    assert store.read_about(images.folder).patients["unknown"] == 2


def test_real_sets_are_read_by_their_conventions(shared):
    """Kermany's names, with the class before them: each class counts its own."""
    for name, patients in (("kermany-1k", 901), ("kermany-mini", 115)):
        source = load.find(shared / name)
        ids, account = resolve(list(source.table["image"]), {}, source.folders, list(source.table["labels"]))
        assert (account.patients, account.unknown) == (patients, 0)
        assert {text.split("/")[0] for text in ids} == {"NORMAL", "PNEUMONIA"}
