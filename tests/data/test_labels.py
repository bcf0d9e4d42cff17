"""Labels as people and data sets write them; one truth in 500 random spellings."""

import csv
import gzip
import itertools
import random
import re
import shlex

import numpy as np
import pandas as pd
import pytest

from cxrjax.base import InputError, tasks
from cxrjax.base.flags import SourceFlags
from cxrjax.base.tasks import state
from cxrjax.data import labels, load, vocabulary
from cxrjax.data.phrases import Unread, Vocabulary
from cxrjax.data.sources import delimited, table
from cxrjax.data.sources.nih import FINDINGS


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("Pneumonia", "Pneumonia"),
        ("Infiltration | Pneumonia", "Infiltration|Pneumonia"),
        ("infiltration|pneumonia", "Infiltration|Pneumonia"),
        ("Infiltration;Pneumonia", "Infiltration|Pneumonia"),
        ("Effusion, Pneumonia", "Effusion|Pneumonia"),
        ("Effusion/Pneumonia", "Effusion|Pneumonia"),
        ("Effusion Pneumonia", "Effusion|Pneumonia"),
        ("Mass and Nodules", "Mass|Nodule"),
        ("['infiltrates', 'pneumonia']", "Infiltration|Pneumonia"),
        ("['infiltrates' 'pneumonia']", "Infiltration|Pneumonia"),  # as NumPy prints it
        ('["Mass","Nodule"]', "Mass|Nodule"),
        ("{'Effusion'}", "Effusion"),
        ("‘Effusion’, “Mass”", "Effusion|Mass"),
        ('Effusion, "Mass"', "Effusion|Mass"),
        ("PLEURAL-THICKENING", "Pleural_Thickening"),
        ("PleuralThickening", "Pleural_Thickening"),
        ("pleural effusion", "Effusion"),
        ("Pulmonary oedema", "Edema"),
        ("left pleural effusion", "Effusion"),
        ("Neumonía", "Pneumonia"),
        ("Pneumonia/Viral/COVID-19", "Pneumonia"),
        ("Pneumonia/Bacterial/E.Coli", "Pneumonia"),
        ("Viral Pneumonia", "Pneumonia"),
        ("pneumonia_bacterial", "Pneumonia"),
        ("Pneumonia (viral)", "Pneumonia"),
        ("COVID-19, pneumonia", "Pneumonia"),
        ("Pneumonia|pneumonia", "Pneumonia"),
        ("NORMAL", "No Finding"),
        ("Healthy", "No Finding"),
        ("no findings", "No Finding"),
        ("NoFinding", "No Finding"),
        ("normal chest X-ray", "No Finding"),
        ("No Finding|Support Devices", "No Finding|Support Devices"),
        ("no pneumonia", "-Pneumonia"),
        ("pneumonia: absent", "-Pneumonia"),
        ("Pneumonia; no effusion", "Pneumonia|-Effusion"),
        ("?pneumonia", ""),
        ("possible pneumonia", ""),
        ("Mass|possible pneumonia", "Mass|?"),
        ("Mass?, Nodule?", ""),
        ("Effusion present, pneumonia absent", "Effusion|-Pneumonia"),
        ("Pneumonia/Viral/MERS-CoV", "Pneumonia"),
        ("Pneumonia/Viral/SARS-CoV-2", "Pneumonia"),
        ("COVID19Pneumonia", "Pneumonia"),
        ("viralPneumonia", "Pneumonia"),
        ("Effusion_and_Mass", "Effusion|Mass"),
        ("Pneumonia-with-Effusion", "Pneumonia|Effusion"),
        ("nan", ""),
        ("n/a", ""),
        ("", ""),
        ("[]", ""),
    ],
)
def test_a_label_is_read_whole(written, read):
    assert Vocabulary().read(written) == read


@pytest.mark.parametrize(
    "written",
    [
        "COVID-19", "virus", "opacity", "abnormal", "negative", "1", "1.0", "Pneumnia", "no acute disease",
        "pneumonia ruled out", "post-pneumonia scar", "pneumonia -", "-Pneumonia", "pneumonia or edema", "not normal",
        "no viral pneumonia", "no effusion, pneumonia", "no effusion or pneumonia", "no effusion pneumonia",
        "possible mass, nodule", "viral edema", "pneumonia!", "肺炎", "mass and nodule absent", "mass/nodule negative",
        "Mass & Nodule: absent", "mass, nodule suspected", "mass, nodule?", "pneumonia, negative", "pneumonia/0",
        "pneumonia/ruled out", "effusion_and_-mass",
    ],
)  # fmt: skip
def test_a_label_that_is_not_understood_whole_is_never_given_a_meaning(written):
    with pytest.raises(Unread) as error:
        Vocabulary().read(written)
    assert error.value.parts and all(part in written for part in error.value.parts)


@pytest.mark.parametrize("written", ["No Finding|Pneumonia", "Normal pneumonia", "pneumonia; no pneumonia"])
def test_a_contradiction_is_told(written):
    with pytest.raises(InputError, match=re.escape(f"'{written}' (1 image, which says ")):
        labels.read(pd.Series([written]), Vocabulary(), "table.csv")


def test_what_is_not_understood_is_one_line_with_counts_the_nearest_finding_and_flags():
    written = pd.Series(["COVID"] * 3 + ["Efusion|Mass"] * 2 + [f"x{i}y" for i in range(9)] + ["Pneumonia"])
    with pytest.raises(InputError) as error:
        labels.read(written, Vocabulary(), "table.csv")
    line = str(error.value)
    assert line.startswith(
        "table.csv: 11 labels are not understood: 'COVID' (3 images), 'Efusion' (2 images, perhaps Eff"
    )
    assert "and 5 more; --classes=COVID=Pneumonia" in line and "--other_findings=keep" in line and "\n" not in line


def test_what_the_user_says_stands_above_all():
    read = Vocabulary(
        {"CXR1": "Effusion|Mass", "1.0": "normal", "Edema": "unknown", "?": "Pneumonia", "b,c": "Foo"}
    ).read
    assert [read(text) for text in ("cxr1", "1", "1,0", "Edema", "Mass|edema", "?", "B,c", "foo")] == [
        "Effusion|Mass", "No Finding", "No Finding", "", "Mass|?", "Pneumonia", "Foo", "Foo",
    ]  # fmt: skip
    assert load._pairs("classes", 'A=b,"c,d=e=f"') == {"A": "b", "c,d": "e=f"}


def read_by_flag(classes):
    return load.naming(SourceFlags(classes=classes)).vocabulary.read("A")


@pytest.mark.parametrize(
    ("classes", "read"),
    [
        ("A=Viral Pneumonia", "Pneumonia"), ("A=Pneumonia/Viral", "Pneumonia"), ("A=-Pneumonia", "-Pneumonia"),
        ('"A=Pneumonia,Effusion"', "Pneumonia|Effusion"), ("A=Mass|no pneumonia", "Mass|-Pneumonia"),
        ("A=possible mass", ""), ("A=COVID-19", "COVID-19"), ("A=Scoliosis|Mass", "Scoliosis|Mass"),
        ("A=Abnormal,B=Mass", "Abnormal"), ("A=Mass,A=Mass", "Mass"),
    ],
)  # fmt: skip
def test_what_the_user_says_is_read_as_labels_are(classes, read):
    assert read_by_flag(classes) == read


@pytest.mark.parametrize(
    ("classes", "why"),
    [
        ("A=Pnuemonia", "'Pnuemonia' is no known finding, perhaps Pneumonia?"),
        ("A=pneumonia ruled out", "no known finding"), ("A=not sure", "no known finding"), ("A=0", "no known finding"),
        ("A=No Finding|Mass", "says No Finding and Mass"), ("A=Mass,a=Nodule", "gives 'A' two meanings"),
        ("A=Mass,A=Nodule", "gives 'A' two meanings"),
    ],
)  # fmt: skip
def test_what_the_user_says_is_refused_where_it_is_unclear(classes, why):
    with pytest.raises(InputError, match=re.escape(why)):
        read_by_flag(classes)


def test_a_folder_keeps_its_meaning_whatever_an_entry_means():
    vocabulary = load.naming(SourceFlags(classes="COVID=Viral Pneumonia")).vocabulary
    assert vocabulary.read("Viral Pneumonia") == vocabulary.read("COVID") == "Pneumonia"


def test_abnormal_is_not_nearly_normal():
    with pytest.raises(InputError, match=r"'ABNORMAL' \(1 image\)"):
        labels.read(pd.Series(["ABNORMAL"]), Vocabulary(), "table.csv")


def test_what_is_kept_is_one_finding_however_it_is_spelled_and_never_denies_what_it_may_mean():
    read = Vocabulary(other_findings="keep").read
    assert [read(text) for text in ("COVID-19", "covid 19|Mass", "Scoliosis", "scoliosis.")] == [
        "COVID-19", "Mass|COVID-19", "Scoliosis", "Scoliosis",
    ]  # fmt: skip
    for written in ("pneumonia ruled out", "-Pneumonia", "Pneumonia, negative", "effusion, pneumonia absent"):
        assert state(read(written), "Pneumonia") is None


@pytest.mark.parametrize(
    ("uncertain", "read"), [("unknown", "Mass|?"), ("positive", "Mass|Pneumonia"), ("negative", "Mass|-Pneumonia")]
)
def test_an_uncertain_finding_is_what_the_flag_says(uncertain, read):
    assert Vocabulary(uncertain=uncertain).read("Mass; possible pneumonia") == read


def test_findings_of_registered_tasks_are_known(monkeypatch):
    assert Vocabulary().finding("cat") is None
    cat = tasks.LabelClass("Cat", "cat", "contains", "Cat")
    task = tasks.Task("cats", "Cats", "?", cat, cat, (1, 1))
    monkeypatch.setitem(tasks.TASKS, "cats", task)
    assert Vocabulary().read("cats | Mass") == "Cat|Mass"


def test_every_synonym_is_read_as_its_finding_and_no_two_findings_share_one():
    for finding, synonyms in vocabulary.SYNONYMS.items():
        for spelling in (finding, *synonyms):
            for written in (spelling, spelling.upper(), spelling.replace(" ", "_")):
                assert Vocabulary().read(written) == finding
    names = [vocabulary.fold(name) for finding, others in vocabulary.SYNONYMS.items() for name in (finding, *others)]
    assert len(names) == len(set(names))


def columns_of(**cells):
    return {name.replace("_", " "): pd.Series(values) for name, values in cells.items()}


def test_columns_of_0_and_1_say_nothing_of_what_they_leave_blank():
    cells = columns_of(
        No_Finding=["1.0", "", "", "0", ""], Pneumonia=["", "1.0", "-1.0", "0", "nan"], Mass=["", "", "1", "1", ""]
    )
    findings = labels.binary_columns(pd.DataFrame(cells), Vocabulary(), "t.csv")
    reading = labels.read_columns(cells, findings, Vocabulary(), "t.csv")
    assert reading.labels == ["No Finding", "Pneumonia|?", "Mass|?", "Mass|-Pneumonia", ""]
    assert [state(text, "Pneumonia") for text in reading.labels] == [False, True, None, False, None]
    spelled = {s.written: (s.read, s.images) for s in reading.spellings(np.ones(5, bool))}
    assert spelled["Pneumonia=-1.0"] == ("", 1) and spelled["Pneumonia=0"] == ("-Pneumonia", 1)
    assert spelled["Mass=(blank)"] == ("", 3)


def test_columns_of_0_and_1_that_contradict_themselves_are_refused():
    cells = columns_of(No_Finding=["1", "1"], Pneumonia=["1", "0"])
    with pytest.raises(InputError, match=r"'No Finding=1, Pneumonia=1' \(1 image, which says No Finding and Pneumonia"):
        labels.read_columns(cells, {name: name for name in cells}, Vocabulary(), "t.csv")


@pytest.mark.parametrize("values", [["1", "0", "-9"], ["0", "1", "2"], ["0.08", "0.5", "1"], ["large", "", "small"]])
def test_a_column_named_as_a_finding_that_holds_anything_else_is_refused_unless_told(values):
    cells = pd.DataFrame(columns_of(No_Finding=["1", "0", "0"], Pneumonia=values))
    with pytest.raises(
        InputError, match=rf"t.csv: columns named as findings .* 'Pneumonia' holds '{values[0]}', .*--c"
    ):
        labels.binary_columns(cells, Vocabulary(), "t.csv")
    entries = Vocabulary(dict.fromkeys(values, "unknown"))
    assert labels.binary_columns(cells, entries, "t.csv").keys() == {"No Finding", "Pneumonia"}


def test_a_column_of_a_kind_says_that_a_finding_is_there_and_never_that_it_is_not():
    cells = columns_of(Viral_Pneumonia=["1", "0", "0"], Effusion=["0", "1", "0"])
    findings = labels.binary_columns(pd.DataFrame(cells), Vocabulary(), "t.csv")
    reading = labels.read_columns(cells, findings, Vocabulary(), "t.csv")
    assert reading.labels == ["Pneumonia|-Effusion", "Effusion|?", "-Effusion"]
    with pytest.raises(InputError, match="'No Pneumonia' holds '1', '0'"):
        labels.binary_columns(pd.DataFrame(columns_of(No_Pneumonia=["1", "0"], Mass=["1", "0"])), Vocabulary(), "t.csv")


def test_columns_that_are_alternatives_are_told_as_such(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("path,Normal,Pneumonia_viral,Other\na.png,1,0,0\nb.png,0,1,0\nc.png,,,\n,,,\n")
    source = load.find(path)
    assert list(source.table["labels"]) == ["No Finding", "Pneumonia", ""]
    assert source.notes[0] == "t.csv: path from 'path', labels: which is 1: 'Normal', 'Pneumonia_viral', 'Other'"


def test_what_settles_a_contradiction_settles_it():
    written = "['normal', 'suboptimal study']"
    with pytest.raises(InputError) as error:
        labels.read(pd.Series([written]), Vocabulary(other_findings="keep"), "t.csv")
    assert "other_findings" not in str(error.value)
    flag = shlex.split(re.search(r"--classes=(.*) \(or", str(error.value))[1])[0]
    assert load.naming(SourceFlags(classes=flag, other_findings="keep")).vocabulary.read(written) == ""
    cells = columns_of(No_Finding=["1"], Pneumonia=["1"])
    with pytest.raises(InputError, match="--columns=label=NAME takes one column") as error:
        labels.read_columns(cells, {name: name for name in cells}, Vocabulary(), "t.csv")
    assert "--classes" not in str(error.value)


def test_the_printed_table_is_cut_and_says_so():
    spellings = [labels.Spelling(f"s{i}", "Pneumonia|-Mass", 30 - i) for i in range(25)]
    spellings.append(labels.Spelling("", "", 1))
    shown = labels.lines(spellings)
    assert shown[0].split("  ")[0] == "as written" and shown[1].split() == ["s0", "Pneumonia,", "no", "Mass", "30"]
    assert shown[-1] == "and 6 more spellings of 41 images (about.json)"
    assert labels.lines(spellings[-1:])[-1].split() == ["(blank)", "unknown", "1"]


# One truth, 500 tables.
NAMES = {"Pleural_Thickening": ["pleural thickening"], "Effusion": ["pleural effusion", "effusions"],
         "Infiltration": ["infiltrates", "Lung infiltrate"], "Pneumonia": ["viral pneumonia", "Pneumonia (bacterial)"],
         "Edema": ["pulmonary oedema"], "Cardiomegaly": ["Enlarged heart"], "Nodule": ["nodules"],
         "No Finding": ["normal", "HEALTHY", "no findings", "NoFinding", "No_Finding"]}  # fmt: skip
UNCLEAR = ["COVID", "pneumonia ruled out", "opacity", "no effusion, mass", "x|No Finding", "Pneumonia -", "abnormal"]


def spelled(rng, finding):
    """One finding as somebody may write it."""
    text = rng.choice([finding, finding, *NAMES.get(finding, [])])
    text = rng.choice([str, str.upper, str.lower, str.title])(text)
    return rng.choice([text, text.replace(" ", "_"), text.replace("_", " "), f" {text} "])


def a_list(rng, findings):
    """A list of findings as somebody may write it."""
    parts = [spelled(rng, finding) for finding in findings]
    if rng.random() < 0.3:
        quote = rng.choice("'\"")
        return f"[{rng.choice([', ', ',', ' ']).join(quote + part.strip() + quote for part in parts)}]"
    return rng.choice(["|", " | ", ";", ", ", "/", " & ", " and "]).join(parts)


def one_column(rng, truth):
    return ["labels"], [[a_list(rng, findings)] for findings in truth]


def binary(rng, truth):
    """One column a finding; what is absent is 0, or left blank."""
    names = rng.sample(FINDINGS, 14)
    yes, no = rng.choice([("1", "0"), ("1.0", "0.0"), ("True", "False"), ("yes", "no")])
    rows = [
        [str(int("No Finding" in found)), *(yes if name in found else rng.choice([no, no, ""]) for name in names)]
        for found in truth
    ]
    return ["No Finding", *(rng.choice([name, name.lower(), name.replace("_", " ")]) for name in names)], rows


def write(rng, path, names, rows):
    """A table of images as a program or a person may save it."""
    order = rng.sample(range(len(names)), len(names))
    header = [rng.choice([names[i], names[i].upper(), names[i].title()]) for i in order]
    separator = rng.choice([",", ";", "\t"])
    with open(path, "w", newline="", encoding="utf-8") as file:  # noqa: PTH123
        writer = csv.writer(file, delimiter=separator, quoting=rng.choice([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]))
        writer.writerow(header)
        for row in rows:
            writer.writerow([row[i] for i in order])
            if rng.random() < 0.1:
                writer.writerow([""] * len(names))
    content = path.read_text(encoding="utf-8")
    content = rng.choice(["", "\ufeff"]) + content.replace("\r\n", rng.choice(["\n", "\r\n"]))
    name = rng.choice(["t.csv", "T.CSV", "t.tsv", "t.csv.gz", "t.tsv.gz"])
    data = content.encode(rng.choice(["utf-8", "utf-16"]) if not content.startswith("\ufeff") else "utf-8")
    path.unlink()
    (path.parent / name).write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    return path.parent / name


def labels_in(path, whole):
    """Labels of a table, by its images' order; of the whole source, or of the table alone, which is faster."""
    if whole:
        return list(load.find(path).table["labels"])
    raw, vocabulary = delimited.read(path), Vocabulary()
    chosen = table.find_columns(path, list(raw.columns), {})
    binary = table.label_columns(path, raw, chosen, vocabulary)
    return table.read_labels(path, raw[raw[chosen["path"]] != ""], chosen, binary, vocabulary).labels


def test_one_truth_in_500_spellings_is_this_truth_or_a_refusal_that_names_the_spelling(tmp_path):
    rng = random.Random(0)
    (tmp_path / "x").mkdir()
    for i in range(12):
        (tmp_path / "x" / f"{i}.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    refused = 0
    for case in range(500):
        truth = [rng.sample(FINDINGS, rng.randint(1, 3)) if rng.random() < 0.7 else ["No Finding"] for _ in range(12)]
        is_binary = case % 4 == 0
        names, rows = (binary if is_binary else one_column)(rng, truth)
        unclear = rng.choice(UNCLEAR) if case % 5 == 1 and not is_binary else ""
        if unclear:
            rows[rng.randrange(12)][0] = unclear
        rows = [[f"{i}.png", *row] for i, row in enumerate(rows)]
        path = write(rng, tmp_path / "x" / "raw", [rng.choice(["Path", "Image Index", "file_name"]), *names], rows)
        if unclear:
            refused += 1
            with pytest.raises(InputError) as error:
                labels_in(path, case % 10 == 1)
            assert unclear.split("|")[0].casefold() in str(error.value).casefold()
        else:
            for findings, text in itertools.zip_longest(truth, labels_in(path, case % 10 == 0)):
                assert set(tasks.present(text)) == set(findings), (path.read_bytes(), text)
                said = {state(text, name) for name in FINDINGS if name not in findings}
                assert said <= ({False, None} if is_binary and findings != ["No Finding"] else {False})
        path.unlink()
    assert refused == 75
