"""Scores of another model, against scikit-learn on a folder in NIH's layout; and tables that are refused."""

import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.metrics import roc_auc_score

from cxrjax.base import tasks
from cxrjax.data import predictions
from tests.experiments.commands import call, mistake

FINDINGS = ("Effusion", "Pleural_Thickening", "Hernia")


@pytest.fixture(scope="module")
def nih(tmp_path_factory):
    """A table of 120 images of 50 patients, one of which is there."""
    folder, rng = tmp_path_factory.mktemp("nih"), np.random.default_rng(0)
    rows = []
    for number in range(120):
        labels = "|".join(name for name in FINDINGS[:2] if rng.random() < 0.4) or "No Finding"
        rows.append((f"{number:08d}_000.png", labels, 0, number % 50, 40 + number % 30, "FM"[number % 2], "PA"))
    names = [
        "Image Index",
        "Finding Labels",
        "Follow-up #",
        "Patient ID",
        "Patient Age",
        "Patient Gender",
        "View Position",
    ]
    pd.DataFrame(rows, columns=names).to_csv(folder / "Data_Entry_2017_v2020.csv", index=False)
    (folder / "images").mkdir()
    Image.new("L", (200, 200), 90).save(folder / "images" / "00000000_000.png")
    return folder


@pytest.fixture(scope="module")
def table(nih):
    """Scores of 110 of its images and of one that is not listed; Hernia, which nobody has, too."""
    listed = pd.read_csv(nih / "Data_Entry_2017_v2020.csv")["Finding Labels"][:110]
    rng = np.random.default_rng(1)
    scores = {"prob_Effusion": 0.5 * rng.random(110) + 0.3 * listed.str.contains("Effusion")}
    scores |= {"Pleural Thickening": rng.random(110).round(1), "Hernia score": rng.random(110), "note": "x"}
    rows = pd.DataFrame({"image": [f"a/{n:08d}_000.jpg" for n in range(110)], **scores})
    return pd.concat([rows, rows[:1].assign(image="unlisted.png")])


def test_aurocs_are_those_of_scikit_learn_and_what_is_undefined_is_said(nih, table, tmp_path, capsys):
    table.to_csv(tmp_path / "scores.csv", index=False)
    out = tmp_path / "out"
    words = [f"--predictions={tmp_path / 'scores.csv'}", f"--data_dir={nih}", f"--out={out}", "--prevalence=0.07"]
    assert call("evaluate", *words) == 0
    told = capsys.readouterr().err
    assert "111 rows scored, 110 matched, 1 unmatched (unlisted.png, ...)" in told
    assert "Pleural_Thickening from 'Pleural Thickening'" in told and "not read: note" in told
    assert "has no scores of Atelectasis" in told
    listed = pd.read_csv(nih / "Data_Entry_2017_v2020.csv")["Finding Labels"][:110]
    rows = pd.read_csv(out / "findings.csv").set_index("finding")
    for finding, column in (("Effusion", "prob_Effusion"), ("Pleural_Thickening", "Pleural Thickening")):
        reference = roc_auc_score(listed.str.contains(finding), table[column][:110].to_numpy()[:110])
        assert rows["auroc"][finding] == pytest.approx(reference, abs=1e-6)
        assert rows["auroc_low"][finding] < reference < rows["auroc_high"][finding]
    assert np.isnan(rows["auroc"]["Hernia"])
    assert json.loads((out / "summary.json").read_text())["findings"]["Hernia"]["auroc"] is None
    assert "no_positive_image" in pd.read_csv(out / "findings" / "Hernia" / "metrics.csv")["undefined"].tolist()
    page = (out / "report.html").read_text()
    assert "PPV at a prevalence of 7" in page and "1.3" not in page.split("prevalence of ")[1][:5]
    assert "not trained here" in page and "http" not in page.split("</style>")[1].replace("http://www.w3.org", "")


def test_other_labels_take_the_place_of_the_data_s_own(nih, table, tmp_path, capsys):
    table.to_csv(tmp_path / "scores.csv", index=False)
    listed = pd.read_csv(nih / "Data_Entry_2017_v2020.csv").set_index("Image Index")["Finding Labels"]
    changed = listed[:30].where(listed[:30].str.contains("Effusion"), "Effusion")
    changed.rename_axis("image").rename("label").to_csv(tmp_path / "labels.csv")
    words = (f"--predictions={tmp_path / 'scores.csv'}", f"--data_dir={nih}", f"--labels={tmp_path / 'labels.csv'}")
    assert call("evaluate", *words, "--positive=Effusion", f"--out={tmp_path / 'out'}") == 0
    assert "labels for evaluation of 30 of 120 images" in capsys.readouterr().err
    labels = pd.concat([changed, listed[30:]])[:110]
    reference = roc_auc_score(labels.str.contains("Effusion"), table["prob_Effusion"][:110])
    assert pd.read_csv(tmp_path / "out" / "findings.csv")["auroc"][0] == pytest.approx(reference, abs=1e-6)
    page = (tmp_path / "out" / "report.html").read_text()
    assert "labels.csv for the images that it names" in page and ">validation" not in page
    (tmp_path / "labels.csv").write_text("image,label\nother.png,Effusion\n")
    assert "fits no image of the data" in mistake(capsys, "evaluate", *words)


def test_images_of_one_class_have_a_report_without_auroc(nih, tmp_path):
    listed = pd.read_csv(nih / "Data_Entry_2017_v2020.csv")
    names = listed["Image Index"][~listed["Finding Labels"].str.contains("Effusion")]
    names.to_frame().assign(Effusion=0.3).to_csv(tmp_path / "scores.csv", index=False)
    words = (f"--predictions={tmp_path / 'scores.csv'}", f"--data_dir={nih}", f"--out={tmp_path / 'out'}")
    assert call("evaluate", *words, "--positive=Effusion") == 0
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["mean_auroc"] is None


def test_two_tables_are_compared_on_the_images_that_both_score(nih, table, tmp_path, capsys):
    table.to_csv(tmp_path / "a.csv", index=False)
    worse = table[5:].assign(prob_Effusion=table["prob_Effusion"][5:].to_numpy()[::-1]).drop(columns="Hernia score")
    worse.to_csv(tmp_path / "b.csv", index=False)
    out = tmp_path / "compared.csv"
    assert call("compare", tmp_path / "a.csv", tmp_path / "b.csv", f"--data_dir={nih}", f"--out={out}") == 0
    told = capsys.readouterr()
    assert "a.csv: 111 rows scored, 110 matched" in told.err and "b.csv: 106 rows scored, 105 matched" in told.err
    assert "On the 105 images that both scored" in told.out
    rows = pd.read_csv(out).set_index(["finding", "metric"])
    assert set(rows.index.levels[0]) == {"Effusion", "Pleural_Thickening"}
    effusion = pd.read_csv(nih / "Data_Entry_2017_v2020.csv")["Finding Labels"][5:110].str.contains("Effusion")
    areas = [roc_auc_score(effusion, side["prob_Effusion"][:105]) for side in (table[5:], worse)]
    row = rows.loc[("Effusion", "auroc")]
    assert (row["a"], row["b"], row["difference"]) == pytest.approx((*areas, areas[1] - areas[0]), abs=1e-6)
    assert row["low"] < row["difference"] < row["high"] < 0
    assert rows.loc[("Pleural_Thickening", "auroc_delong"), "difference"] == 0


def test_one_question_takes_a_column_of_scores_and_log_odds(tmp_path):
    (tmp_path / "scores.csv").write_text("image,logit\na.png,0\nb.png,-2\n")
    part = tasks.get("p_vs_nf")
    scores = predictions.read(tmp_path / "scores.csv", part.questions, logits=True)
    assert scores["Pneumonia"].tolist() == pytest.approx([0.5, 1 / (1 + np.exp(2))])


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("name,Effusion\n1.png,0.2\n", "lacks the column(s) path"),
        ("image,Effusions seen\n1.png,0.2\n", "no column of scores of Effusion"),
        ("image,Effusion\n00000001_000.png,1.2\n", "line 2: column 'Effusion' must hold scores from 0 to 1"),
        ("image,Effusion\n00000001_000.png,nan\n", "must hold scores from 0 to 1 (--logits: log odds), got 'nan'"),
        ("image,Effusion\n00000001_000.png,0.1\n00000001_000.png,0.2\n", "an image must have one row"),
        ("image,Effusion\nother.png,0.1\n", "fits no image of the data: the table has 'other.png'"),
        ("image,Effusion,prob_Effusion\n00000001_000.png,0.1,0.2\n", "several columns of Effusion"),
    ],
)
def test_bad_tables_are_refused_in_one_line(nih, tmp_path, capsys, text, line):
    (tmp_path / "scores.csv").write_text(text)
    given = (f"--predictions={tmp_path / 'scores.csv'}", f"--data_dir={nih}", f"--out={tmp_path / 'out'}")
    assert line in mistake(capsys, "evaluate", *given, "--positive=Effusion")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("program", "words"),
    [("evaluate", "--predictions={a} --data_dir={b}"), ("recalibrate", "--run={b} --labels={b}"),
     ("ensemble", "--runs={b},{b}"), ("describe", "--data_dir={b}")],
)  # fmt: skip
def test_no_program_replaces_files_of_a_run(program, words, tmp_path, capsys):
    (tmp_path / "run").mkdir()
    for name in ("run/config.json", "a"):
        (tmp_path / name).write_text("{}")
    given = words.format(a=tmp_path / "a", b=tmp_path / "b").split()
    assert "run holds a run, whose files are never changed" in mistake(
        capsys, program, *given, f"--out={tmp_path / 'run'}"
    )


def test_tables_of_runs_take_one_question(capsys):
    for program in ("readings", "sample_size"):
        assert "has many labels" in mistake(capsys, program, "--task=chestxray14")
        assert "the task must be one of" in mistake(capsys, program, "--task=nothing")
