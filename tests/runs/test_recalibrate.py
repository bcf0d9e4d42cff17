"""A run at another hospital, from class folders to the file that predict takes."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy import special

from cxrjax import load_run
from cxrjax.base.flags import LocalFlags
from cxrjax.runs import recalibrate
from tests.experiments.commands import call, mistake


@pytest.fixture(scope="module")
def hospital(small_phantom, tmp_path_factory):
    """Class folders of the images that `small_run` does not know."""
    root = tmp_path_factory.mktemp("hospital")
    for name in ("Pneumonia", "No Finding"):
        (root / name).mkdir()
    table = small_phantom.table[45:]
    for image, labels, pixels in zip(table["image"], table["labels"], small_phantom.images[45:], strict=True):
        folder = root / ("Pneumonia" if "Pneumonia" in labels else labels)
        if folder.is_dir():
            Image.fromarray(pixels).save(folder / image)
            Image.fromarray(np.roll(pixels, 9, axis=1)).save(folder / f"turned_{image}")
    return root


def test_a_run_is_recalibrated_and_predict_uses_it(small_run, hospital, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("CXRJAX_CACHE", str(tmp_path / "cache"))
    out, images = tmp_path / "out", sorted((hospital / "Pneumonia").iterdir())
    assert call("recalibrate", f"--run={small_run}", f"--labels={hospital}", "--n=8", "--draws=2", f"--out={out}") == 0
    record = json.loads((out / "recalibration.json").read_text())
    scored = pd.read_csv(out / "scores.csv")
    pixels = np.stack([np.asarray(Image.open(path)) for path in images])
    scores = load_run(small_run)(pixels).mean(axis=1)
    by_name = scored.assign(image=[name.split("/")[-1] for name in scored["image"]]).set_index("image")["score"]
    assert by_name[[path.name for path in images]].to_numpy() == pytest.approx(scores, abs=1e-6)
    assert (record["n"], record["positives"]) == (len(scored), len(images))
    page = (out / "report.html").read_text()
    assert f"{len(scored)} images of" in page and "Platt scaling" in page

    words = [f"--run={small_run}", f"--recalibration={out / 'recalibration.json'}", "--threshold=chosen"]
    assert call("predict", *words, f"--out={tmp_path / 'p.csv'}", *images) == 0
    predicted = pd.read_csv(tmp_path / "p.csv")
    expected = special.expit(record["intercept"] + record["slope"] * special.logit(scores.astype(float)))
    assert predicted["score"].to_numpy() == pytest.approx(expected, abs=1e-5)
    assert (predicted["decision"] == (expected > record["threshold"])).all()

    other = tmp_path / "other.json"
    other.write_text(json.dumps(record | {"params_sha256": {"3": "0" * 64}}))
    line = mistake(capsys, "predict", f"--run={small_run}", f"--recalibration={other}", images[0])
    assert "for other networks than those of" in line


def test_images_and_patients_of_the_run_are_left_out(small_run, hospital, monkeypatch, tmp_path, caplog):
    monkeypatch.setenv("CXRJAX_CACHE", str(tmp_path / "cache"))
    run, flags = load_run(small_run), LocalFlags(labels=str(hospital))
    every = recalibrate.local_scores(run, flags)
    known = pd.read_csv(small_run / "images.csv")
    known.loc[0, "image"] = every["image"][0]
    known.loc[1, "patient"] = every["patient"][1]
    folder = shutil.copytree(small_run, tmp_path / "run")
    known.to_csv(folder / "images.csv", index=False)
    left = recalibrate.local_scores(run._replace(folder=folder), flags)
    assert list(left["image"]) == [*every["image"][(every["patient"] != every["patient"][1]) & (every.index > 0)]]
    assert "are left out" in caplog.text


def test_classes_that_do_not_overlap_have_an_auroc_without_ends(small_run, tmp_path):
    label = np.arange(40) % 2
    names = [f"{i:02}" for i in range(40)]
    scored = pd.DataFrame({"image": names, "patient": names, "label": label, "score": 0.2 + 0.5 * label})
    written = recalibrate.write(tmp_path, load_run(small_run), "place", scored, (8,), 2)
    assert json.loads(written.read_text())["auroc"] == {"value": 1.0, "low": None, "high": None}
    assert "AUROC 1.000" in (tmp_path / "report.html").read_text()
