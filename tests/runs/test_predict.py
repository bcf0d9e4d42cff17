"""Images from the command line to a table of scores."""

import functools
import io
import json
import shutil

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from cxrjax import load_run
from cxrjax.base import tasks
from cxrjax.data.decode import Reduction, decode
from cxrjax.interpret import lungs
from cxrjax.metrics import discrimination
from cxrjax.runs import predict
from experiments import _cli
from experiments import predict as program
from tests.data.dicom_files import dicom, written
from tests.data.test_screening import colour_photo
from tests.experiments import commands

call = functools.partial(commands.call, "predict")

DISCLAIMER = "research software, not a medical device"


@pytest.fixture(scope="module")
def folder(small_phantom, tmp_path_factory):
    """Three radiographs, one of them below; a photo, a tiny one, a blank one, a text that says it is a PNG; notes."""
    root = tmp_path_factory.mktemp("images")
    (root / "sub").mkdir()
    for name, image in zip(("a.png", "b.bmp", "sub/c.png"), small_phantom.images, strict=False):
        Image.fromarray(image).save(root / name)
    colour_photo().save(root / "photo.jpg")
    Image.fromarray(small_phantom.images[0]).resize((100, 100)).save(root / "tiny.png")
    Image.new("L", (256, 256), 90).save(root / "white.png")
    (root / "text.png").write_text("no image")
    (root / "notes.txt").write_text("not looked at")
    return root


@pytest.fixture(scope="module")
def scores(small_run, small_phantom):
    """[3, S] of the three radiographs, by the library."""
    return load_run(small_run)(small_phantom.images[:3]).astype(float)


def test_a_folder_becomes_a_table(small_run, folder, scores, capsys):
    assert call(f"--run={small_run}", folder) == 0
    output = capsys.readouterr()
    told = output.err.strip().splitlines()[-1]
    assert told == f"3 predicted, 4 refused; {DISCLAIMER}"
    assert DISCLAIMER not in output.out
    table = pd.read_csv(io.StringIO(output.out), keep_default_na=False)
    assert list(table.columns) == list(predict.COLUMNS) == ["image", "score", "sd", "decision", "refused"]
    names = ["a.png", "b.bmp", "photo.jpg", "sub/c.png", "text.png", "tiny.png", "white.png"]
    assert list(table["image"]) == [str(folder / name) for name in names]
    good = table[table["refused"] == ""]
    assert list(good["image"]) == [str(folder / name) for name in ("a.png", "b.bmp", "sub/c.png")]
    np.testing.assert_allclose(good["score"].astype(float), scores.mean(axis=1), atol=1e-6)  # six decimals
    np.testing.assert_allclose(good["sd"].astype(float), abs(scores[:, 0] - scores[:, 1]) / np.sqrt(2), atol=1e-6)
    bad = table[table["refused"] != ""]
    assert (bad[["score", "sd", "decision"]] == "").all(axis=None)
    for reason, start in zip(
        bad["refused"], ("is in colour", "is not an image", "has 100 x 100", "is blank"), strict=True
    ):
        assert reason.startswith(start)


def test_what_is_read_otherwise_than_a_header_has_it_is_told(small_run, small_phantom, tmp_path, capsys):
    """A window with a decimal comma; the score is that of the window with a point."""
    scores = []
    for name, width in (("point", "256.0"), ("comma", "256,0")):
        window = {"WindowCenter": "128", "WindowWidth": "1" * 16}
        content = written(dicom(small_phantom.images[0], bits=8, **window), "1" * 16, width)
        (tmp_path / f"{name}.dcm").write_bytes(content)
        assert call(f"--run={small_run}", tmp_path / f"{name}.dcm") == 0
        output = capsys.readouterr()
        scores.append(pd.read_csv(io.StringIO(output.out))["score"][0])
        assert ("WindowWidth has a decimal comma and was read as 256" in output.err) == (name == "comma")
    assert scores[0] == scores[1]


def test_decisions_follow_the_threshold(small_run, folder, scores, tmp_path, capsys):
    """Flags may stand behind the images."""
    mean = np.sort(scores.mean(axis=1))
    out = tmp_path / "out.csv"
    argv = (folder / "a.png", folder / "b.bmp", f"--run={small_run}", folder / "sub", f"--out={out}")
    assert call(*argv, f"--threshold={(mean[0] + mean[1]) / 2}") == 0
    table = pd.read_csv(out)
    assert list(table["decision"]) == list((scores.mean(axis=1) > mean[0]).astype(int))
    assert table["refused"].isna().all()
    assert capsys.readouterr().out == ""


def test_decisions_at_the_runs_own_threshold(small_run, folder, scores, tmp_path):
    """It is the mean over seeds of those that were chosen on training images."""
    out = tmp_path / "out.csv"
    assert call(folder, f"--run={small_run}", "--threshold=chosen", f"--out={out}") == 0
    chosen = pd.read_csv(small_run / "results.csv")["threshold"].mean()
    decided = pd.read_csv(out)["decision"].dropna()
    assert list(decided) == list((scores.mean(axis=1) > chosen).astype(int))


def test_anything_is_accepted_if_asked(small_run, folder, tmp_path):
    """Only what cannot be read is refused then."""
    assert call(f"--run={small_run}", "--accept_anything", f"--out={tmp_path / 'x.csv'}", "--", folder) == 0
    table = pd.read_csv(tmp_path / "x.csv")
    assert list(table["refused"].dropna()) == ["is not an image of a known format"]
    assert table["score"].notna().sum() == 6
    assert table["decision"].notna().sum() == 6


def test_files_are_reduced_as_the_runs_own_were(small_run, small_phantom, tmp_path):
    """A wide image, whose run's store was padded: not stretched as by default."""
    run = shutil.copytree(small_run, tmp_path / "run")
    summary = json.loads((run / "summary.json").read_text())
    summary["data"]["made"] = {"size": 256, "fit": "pad", "filter": "box"}
    (run / "summary.json").write_text(json.dumps(summary))
    Image.fromarray(np.tile(small_phantom.images[0], 2)).save(tmp_path / "wide.png")
    loaded = load_run(run)
    assert loaded.reduction == Reduction(256, "pad", "box", "full")  # the only range before it was recorded
    pixels = decode((tmp_path / "wide.png").read_bytes(), "wide.png", loaded.reduction).pixels
    score = predict.predict([loaded], [tmp_path / "wide.png"])["score"].item()
    assert score == pytest.approx(loaded(pixels[None]).mean(), abs=1e-6)
    assert load_run(small_run).reduction == Reduction()


def test_files_are_cut_to_the_lungs_where_the_runs_own_were(small_run, small_phantom, tmp_path):
    run = shutil.copytree(small_run, tmp_path / "run")
    summary = json.loads((run / "summary.json").read_text())
    summary["data"]["made"] = {"size": 256, "crop": "lungs", "range": "robust"}
    (run / "summary.json").write_text(json.dumps(summary))
    Image.fromarray(small_phantom.images[0]).save(tmp_path / "a.png")
    loaded = load_run(run)
    assert loaded.reduction == Reduction(crop="lungs")
    pixels = decode((tmp_path / "a.png").read_bytes(), "a.png", loaded.reduction, lungs.box).pixels
    assert (pixels != small_phantom.images[0]).mean() > 0.5
    score = predict.predict([loaded], [tmp_path / "a.png"])["score"].item()
    assert score == pytest.approx(loaded(pixels[None]).mean(), abs=1e-6)


def test_all_refused_is_no_mistake(small_run, folder, capsys):
    assert call(f"--run={small_run}", folder / "tiny.png") == 0
    output = capsys.readouterr()
    assert output.out.splitlines()[1].endswith("tiny.png,,,,has 100 x 100 pixels; each side must have at least 128")
    assert "0 predicted, 1 refused" in output.err


class OneSeed:
    """Stands for a run of one seed: the score is the upper left pixel."""

    seeds = (0,)
    reduction = Reduction()
    task = tasks.get("p_vs_nf")

    def __call__(self, images):
        return images[:, :1, 0].astype(np.float32) / 255


def test_blocks_keep_the_order_and_one_seed_has_no_sd(folder, small_phantom, monkeypatch):
    paths = predict.gather([folder / "sub", folder, folder / "a.png"])
    whole = predict.predict([OneSeed()], paths)
    monkeypatch.setattr(predict, "BLOCK", 2)
    pd.testing.assert_frame_equal(predict.predict([OneSeed()], paths), whole)
    assert [paths.index(path) for path in paths if path.name == "c.png"] == [0, 0]
    good = whole[whole["refused"] == ""]
    corners = small_phantom.images[[2, 0, 1, 2, 0], 0, 0] / 255
    np.testing.assert_allclose(good["score"], corners, rtol=1e-6)
    assert whole["sd"].isna().all()


def test_a_folder_that_cannot_be_read_is_a_row(monkeypatch, folder):
    fault = predict.Bad("locked", "locked", "folder cannot be read: Permission denied")
    monkeypatch.setattr(predict, "images_under", lambda place: ([], [fault]))
    table = predict.predict([OneSeed()], predict.gather([folder]))
    assert table[["image", "refused"]].to_numpy().tolist() == [["locked", "folder cannot be read: Permission denied"]]


def test_the_threshold_is_that_of_the_experiments():
    assert float(program.PredictConfig().threshold) == discrimination.THRESHOLD


def test_arguments_go_where_they_are_asked_for():
    parsed = _cli.parse(program.PredictConfig(), "", ["a", "--run=r", "b", "--", "--c"], arguments="images")
    assert (parsed.images, parsed.run) == (("a", "b", "--c"), "r")
