"""Several finished runs as one: common held-out images, figures by scikit-learn, what is refused, other images."""

import functools
import io
import json
import shutil

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy.special import expit, logit
from sklearn.metrics import accuracy_score, roc_auc_score

from cxrjax import load_run
from cxrjax.base import InputError, tasks
from cxrjax.base.config import ExperimentConfig
from cxrjax.data import predictions
from cxrjax.data.decode import decode
from cxrjax.runs import ensemble, run_folder, score_sets
from tests.experiments import commands
from tests.runs.handmade import RESOLVED

call = functools.partial(commands.call, "ensemble")
PATIENTS = 60  # two images each, a third of them positive


def held_out(patients, seeds, strength, seed=0):
    """As `RunTables.test`: scores of seeds that differ, patients of whom each has two images."""
    rng = np.random.default_rng(seed)
    names = [f"{patient:03d}_{number}.png" for patient in patients for number in range(2)]
    label = np.repeat([int(patient % 3 == 0) for patient in patients], 2)
    rows = {"image": names, "patient": [name[:3] for name in names], "label": label}
    scores = [expit(strength * (label - 0.5) + rng.normal(size=len(label))) for _ in range(seeds)]
    return pd.concat([pd.DataFrame({"seed": seed, **rows, "score": score}) for seed, score in enumerate(scores)])


def finished(folder, scored, training=(), task="p_vs_nf", sha="a", **fields):
    """The folder of a finished run, as far as an ensemble reads it."""
    config = ExperimentConfig(task, task, out=str(folder), **{"test": "boxes", "weights": "random"} | fields)
    trained_on = pd.DataFrame({"seed": 0, "image": training, "patient": [name[:3] for name in training]})
    with run_folder.claim(config, RESOLVED):
        seeds = sorted(set(scored["seed"]))
        shas = [f"{sha}{seed}" for seed in seeds]
        pd.DataFrame({"seed": seeds, "params_sha256": shas}).to_csv(folder / "results.csv", index=False)
        scored.to_csv(folder / "test_predictions.csv", index=False)
        trained_on.assign(label=0, score=0.5).to_csv(folder / "training_predictions.csv", index=False)
        (folder / "summary.json").write_text(json.dumps({"data": {}}))
    return folder


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """a: two seeds, patients 0 to 59; b: one seed, patients 10 to 69, trained on an image of patients 0 and 1."""
    root = tmp_path_factory.mktemp("runs")
    a = finished(root / "a", held_out(range(PATIENTS), 2, 1.5), ["100_0.png"])
    b = finished(root / "b", held_out(range(10, 70), 1, 2.5, 1), ["000_0.png", "001_7.png"], sha="b")
    return a, b


@pytest.fixture(scope="module")
def scores(runs):
    """[100, 3] log odds of the images that both held out, and their labels."""
    columns = []
    for run in runs:
        for _, rows in pd.read_csv(run / "test_predictions.csv", dtype={"patient": str}).groupby("seed"):
            columns.append(rows.set_index("image"))
    common = sorted(set(columns[0].index) & set(columns[-1].index))
    return logit(np.stack([rows.loc[common, "score"] for rows in columns], axis=1)), columns[0].loc[common, "label"]


def test_figures_are_those_of_the_common_images(runs, scores):
    """A run of two seeds weighs twice as much as one of one."""
    found = ensemble.evaluate(runs)
    odds, label = scores
    table = found.table.set_index(["scored_by", "metric"])
    a, b = map(str, runs)
    assert len(odds) == 100 and dict(table["networks"].xs("auroc", level=1)) == {a: 2, b: 1, "single": 3, "ensemble": 3}
    parts = {a: odds[:, :2].mean(axis=1), b: odds[:, 2], "ensemble": odds.mean(axis=1)}
    for name, figure, at in (("auroc", roc_auc_score, lambda x: x), ("accuracy", accuracy_score, lambda x: x > 0)):
        expected = {part: figure(label, at(values)) for part, values in parts.items()}
        expected["single"] = np.mean([figure(label, at(values)) for values in odds.T])
        for part, value in expected.items():
            row = table.loc[part, name]
            assert row["value"] == pytest.approx(value, abs=1e-6)
            assert np.isnan(row["low"]) if part == "single" else row["low"] < value < row["high"]
            if part == "ensemble":
                assert np.isnan(row["gain"])
            else:
                assert row["gain"] == pytest.approx(expected["ensemble"] - value, abs=1e-6)
                assert row["gain_low"] < row["gain"] < row["gain_high"]
    told = table["undefined"][table.index.isin(["accuracy", "auroc"], level=1)]
    assert (told == "").all() and set(found.table["finding"]) == {"Pneumonia"}


def test_images_that_a_run_was_trained_on_are_left_out_and_told(runs, caplog):
    """Of a's images 4 are of patients whom b was trained on (one image of whom is in no test), 16 more are not b's."""
    caplog.set_level("INFO", "cxrjax")
    common = ensemble.evaluate(runs).common["Pneumonia"]
    assert (common.trained_on, common.others) == (4, 16 + 20)
    assert "100 images of 50 patients, 32 positive" in caplog.text and "4 of patients that a run was" in caplog.text


def test_an_image_whose_patient_another_run_was_trained_on_is_left_out(runs, tmp_path):
    """Though that run held it out."""
    b = finished(tmp_path / "b", held_out(range(10, 70), 1, 2.5, 1), ["020_9.png"], sha="b")
    common = ensemble.evaluate([runs[0], b]).common["Pneumonia"]
    assert len(common.names) == 98 and not {"020_0.png", "020_1.png"} & set(common.names)


def test_the_folder_is_what_other_programs_read(runs, scores, tmp_path, capsys):
    out = tmp_path / "both"
    assert call(f"--runs={runs[0]},{runs[1]}", f"--out={out}") == 0
    shown = capsys.readouterr().out
    odds, label = scores
    best = roc_auc_score(label, odds.mean(axis=1))
    assert f"{best:.3f}" in next(line for line in shown.splitlines() if line.split()[:1] == ["ensemble"])
    read = predictions.read(out / "predictions.csv", [tasks.get("p_vs_nf")])
    np.testing.assert_allclose(logit(read["Pneumonia"].loc[label.index]), odds.mean(axis=1), atol=1e-4)
    record = json.loads((out / "ensemble.json").read_text())
    assert [run["folder"] for run in record["runs"]] == [str(run) for run in runs]
    assert record["runs"][1]["params_sha256"] == {"0": "b0"} and record["task"] == "p_vs_nf"
    assert record["findings"] == {"Pneumonia": {"images": 100, "left_out_trained_on": 4, "left_out_others": 36}}
    assert len(pd.read_csv(out / "ensemble.csv")) == 4 * 6


FINDINGS = [part.positive.finding for part in tasks.get("chestxray14").parts]


@pytest.fixture(scope="module")
def of_findings(tmp_path_factory):
    """Two runs of 14 findings; of Effusion no image of patient 4 is known."""
    root, folders = tmp_path_factory.mktemp("findings"), []
    for number in range(2):
        folder = root / f"run{number}"
        with run_folder.claim(ExperimentConfig("c", "chestxray14", out=str(folder), test="boxes"), RESOLVED):
            (folder / "summary.json").write_text(json.dumps({"data": {}}))
        for k, name in enumerate(FINDINGS):
            scored = held_out(range(30), 1, 2.0, 20 * number + k)
            if name == "Effusion":
                scored = scored[scored["patient"] != "004"]
            finished(folder / "findings" / name, scored, task="chestxray14", sha=f"{number}", finding=name)
        folders.append(folder)
    return folders


def test_many_labels_are_asked_one_by_one(of_findings):
    """Whole runs of 14 findings: a block and a column each; a finding alone is a run of two classes."""
    found = ensemble.evaluate(of_findings)
    assert list(found.table["finding"].unique()) == FINDINGS
    assert list(ensemble.predictions(found).columns) == ["image", "patient", *FINDINGS]
    alone = ensemble.evaluate([folder / "findings" / FINDINGS[0] for folder in of_findings])
    of_first = found.table[found.table["finding"] == FINDINGS[0]].reset_index(drop=True)
    pd.testing.assert_frame_equal(
        alone.table.drop(columns="scored_by"), of_first.drop(columns="scored_by"), check_exact=True
    )


def test_a_run_of_many_labels_is_compared_finding_by_finding(of_findings, tmp_path):
    """With a table, which has two of them, and with another run, which has all; each finding on its own images."""
    table, out = held_out(range(2, 30), 1, 1.0, 99), tmp_path / "out.csv"
    table = table.assign(Effusion=table["score"], Hernia=1 - table["score"])[["image", "Effusion", "Hernia"]]
    table.to_csv(tmp_path / "table.csv", index=False)
    assert commands.call("compare", of_findings[0], tmp_path / "table.csv", "--set=test", f"--out={out}") == 0
    found = pd.read_csv(out).set_index(["finding", "metric"])[["a", "b", "difference"]]
    assert set(found.index.get_level_values("finding")) == {"Effusion", "Hernia"}
    for finding in ("Effusion", "Hernia"):
        run = pd.read_csv(of_findings[0] / "findings" / finding / "test_predictions.csv")
        both = run.merge(table, on="image")
        assert len(both) == (54 if finding == "Effusion" else 56)
        areas = [roc_auc_score(both["label"], both[column]) for column in ("score", finding)]
        assert found.loc[finding, "auroc"].tolist() == pytest.approx([*areas, areas[1] - areas[0]], abs=1e-6)
    compared = score_sets.compare(*of_findings, "test", None, None)
    assert list(compared) == FINDINGS


REFUSED = {
    "alone": (lambda root, a: [a], "two finished runs or more"),
    "twice": (lambda root, a: [a, a], "seed 0 of"),
    "question": (
        lambda root, a: [a, finished(root / "x", held_out(range(9), 1, 1.0), task="p_vs_np", sha="x")],
        "no ensemble of both",
    ),
    "nothing held out": (
        lambda root, a: [a, finished(root / "x", held_out(range(9), 1, 1.0), sha="x", test="")],
        "held no images out",
    ),
    "other images": (
        lambda root, a: [a, finished(root / "x", held_out(range(200, 209), 1, 1.0), ["000_0.png"], sha="x")],
        "no image was held out by all of",
    ),
    "other labels": (
        lambda root, a: [a, finished(root / "x", held_out(range(9), 1, 1.0).assign(label=1), sha="x")],
        "another label or patient of 12 held-out images, 001_0.png among them",
    ),
    "other patients": (
        lambda root, a: [a, finished(root / "x", held_out(range(9), 1, 1.0).assign(patient="7"), sha="x")],
        "another label or patient of 18 held-out images",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_one_ensemble_is_one_line(name, runs, tmp_path, capsys):
    make, message = REFUSED[name]
    folders = ",".join(map(str, make(tmp_path, runs[0])))
    assert message in commands.mistake(capsys, "ensemble", f"--runs={folders}", f"--out={tmp_path / 'out'}")
    assert not (tmp_path / "out").exists()


@pytest.fixture
def of_other_images(small_run, small_phantom, tmp_path):
    """An ensemble of a run and of the same networks that read padded images; and a film that is not square."""
    padded = shutil.copytree(small_run, tmp_path / "padded")
    summary = json.loads((padded / "summary.json").read_text())
    summary["data"]["made"] = {"size": 256, "fit": "pad", "filter": "box"}
    (padded / "summary.json").write_text(json.dumps(summary))
    hashes = pd.read_csv(small_run / "results.csv").set_index("seed")["params_sha256"]
    shas = {str(seed): sha256 for seed, sha256 in hashes.items()}
    record = [{"folder": str(run), "params_sha256": shas} for run in (small_run, padded)]
    (tmp_path / "both").mkdir()
    (tmp_path / "both" / "ensemble.json").write_text(json.dumps({"runs": record}))
    Image.fromarray(small_phantom.images[0][:160]).save(tmp_path / "wide.png")
    (tmp_path / "text.png").write_text("no image")
    return tmp_path / "both", padded, tmp_path


def test_other_images_are_scored_by_all_networks(of_other_images, small_run, capsys):
    """Each run reads files as its own images were read; a refused image has no score."""
    both, padded, images = of_other_images
    single = []
    for run in map(load_run, (small_run, padded)):
        single.append(run(decode((images / "wide.png").read_bytes(), "wide.png", run.reduction).pixels[None])[0])
    capsys.readouterr()
    assert commands.call("predict", f"--ensemble={both}", images / "wide.png", images / "text.png") == 0
    table = pd.read_csv(io.StringIO(capsys.readouterr().out))
    assert list(table.columns) == ["image", "score", "sd", "decision", "refused"]
    networks = np.concatenate(single).astype(float)
    assert not np.allclose(single[0], single[1], atol=1e-4)
    assert table["score"][0] == pytest.approx(expit(logit(networks).mean()), abs=1e-6)
    assert table["sd"][0] == pytest.approx(networks.std(ddof=1), abs=1e-6)
    assert table["decision"][0] == float(table["score"][0] > 0.5)
    assert table.loc[1, ["score", "sd", "decision"]].isna().all() and table["refused"][1].startswith("is not an image")


def test_a_run_that_was_trained_anew_is_refused(of_other_images):
    both, padded, _ = of_other_images
    results = pd.read_csv(padded / "results.csv")
    results.assign(params_sha256=["0" * 64, *results["params_sha256"][1:]]).to_csv(padded / "results.csv", index=False)
    with pytest.raises(InputError, match="no longer the run of"):
        ensemble.load(both)
    with pytest.raises(InputError, match=r"holds no ensemble\.json"):
        ensemble.load(padded)
