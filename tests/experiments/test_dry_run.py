"""--dry_run: what is said is what a run would do, and nothing is written anywhere."""

import re

import pandas as pd
import pytest
from PIL import Image

from cxrjax.base.config import ExperimentConfig
from cxrjax.data import prepare
from cxrjax.runs import cost, run_folder
from tests.experiments.commands import call, mistake
from tests.models.narrow import ALEXNET
from tests.runs.handmade import RESOLVED

SMALL = ("--weights=random", "--seeds=2", "--epochs=2", "--small_ok")
RUN = (*SMALL, f"--model={ALEXNET.name}", "--out=out")


@pytest.fixture
def films(tmp_path, small_phantom):
    """Class folders that are not prepared yet, of three patients in ten images each."""
    for i, (labels, pixels) in enumerate(zip(small_phantom.table["labels"], small_phantom.images, strict=True)):
        folder = tmp_path / "films" / ("PNEUMONIA" if "Pneumonia" in labels else "NORMAL")
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / f"person{i // 2}_{i}.png")
    return tmp_path / "films"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """The working directory, where results would go, and no time taken for speeds."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cost, "measure", lambda *_: cost.Speed(1e11, 1e11))


def there(folder):
    return {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in folder.rglob("*")}


def said(capsys, *argv):
    """What a program says, name -> text, and exits with 0."""
    capsys.readouterr()
    assert call(*argv, "--dry_run") == 0
    first, *lines = capsys.readouterr().out.splitlines()
    assert first == "dry run: nothing is trained or written"
    pairs, name = {}, ""
    for line in lines:
        if match := re.match(r"  ( {0,2}\S.*?)  +(\S.*)", line):
            name, text = match[1].strip(), match[2]
            pairs[name] = text
        else:
            pairs[name] += f" {line.strip()}"
    return pairs


@pytest.mark.parametrize(
    "program",
    [
        ("p_vs_nf", *RUN, "--floors"),
        ("train", "--positive=Pneumonia", "--negative=rest", *RUN, "--head=linear", "--epochs=1"),
        ("readings", *RUN, "--rows=base,no_flip"),
        ("sample_size", *RUN, "--sizes=1/2,all"),
    ],
    ids=lambda words: words[0],
)
def test_nothing_is_written_of_data_that_are_prepared_or_not(program, small_store, films, tmp_path, capsys):
    before = there(tmp_path)
    for data in (small_store, films):
        lines = said(capsys, *program, f"--data_dir={data}")
        assert ("not prepared yet" in lines["data"]) == (data == films)
        assert {"memory", "disk", "first run"} <= lines.keys()
        assert "time" in lines or "estimated time" in lines
    assert there(tmp_path) == before and not (tmp_path / "cache").exists()


def test_what_is_said_is_what_a_run_does(small_run, small_store, capsys):
    """Beside a finished run of the same flags."""
    words = (*RUN, f"--data_dir={small_store}", "--retrain_from=fc8", "--first_seed=3", "--augment_bank=1")
    lines = said(capsys, "p_vs_nf", *words, "--epochs=1", "--batch_size=16")
    first = pd.read_csv(small_run / "results.csv").iloc[0]
    sides = re.findall(r"(\d+) P and (\d+) NF of", lines["first run"])
    assert [sum(map(int, side)) for side in sides] == [first["n_train"], first["n_val"]]
    assert lines["runs"] == "2 runs, seeds 3 to 4" and "fc8 retrained" in lines["network"]
    assert lines["files"] == "out, new"
    assert "1 epochs of" in lines["recipe"] and "of 16 images" in lines["recipe"]


def test_room_by_hand(small_store, capsys):
    """Of AlexNet from fc6, two classes; fc6 reads 9,216 numbers. Both are float32."""
    parameters = (9216 + 1) * 4096 + (4096 + 1) * 4096 + (4096 + 1) * 2
    images = len(pd.read_csv(small_store / "table.csv"))
    words = ("--weights=random", "--seeds=2", "--small_ok", "--augment_bank=16", f"--data_dir={small_store}")
    lines = said(capsys, "p_vs_nf", *words)
    checkpoints, activations = map(float, re.findall(r"(?:checkpoints|activations) (\d+\.\d+) GB", lines["disk"]))
    assert checkpoints == pytest.approx(2 * 4 * parameters / 1e9, abs=0.005)  # told in hundredths
    assert 0 < activations <= images * 17 * 9216 * 4 / 1e9 + 0.005


def test_an_interrupted_run_would_go_on_and_a_finished_one_is_refused(small_store, capsys):
    words = (*RUN, f"--data_dir={small_store}", "--augment_bank=0", "--retrain_from=fc8")
    config = ExperimentConfig(
        "p_vs_nf", "p_vs_nf", data_dir=str(small_store), weights="random", seeds=2, epochs=2, small_ok=True,
        model=ALEXNET.name, out="out", augment_bank=0, retrain_from="fc8",
    )  # fmt: skip
    with run_folder.claim(config, RESOLVED) as folder:
        pass
    error = mistake(capsys, "p_vs_nf", *words, "--dry_run")
    assert "an interrupted run of another configuration: device (was" in error and "data_sha256" in error
    assert "removes what is there" in said(capsys, "p_vs_nf", *words, "--overwrite")["files"]
    (folder / "resolved.json").unlink()
    (folder / "checkpoints" / "seed_000").mkdir(parents=True)
    (folder / "summary.json").touch()
    assert "holds a finished run" in mistake(capsys, "p_vs_nf", *words, "--dry_run")
    assert "removes what is there" in said(capsys, "p_vs_nf", *words, "--overwrite")["files"]
    assert (folder / "summary.json").exists()


def test_preparing_says_what_it_finds_and_how_far_it_is(films, tmp_path, monkeypatch, capsys):
    before = there(tmp_path)
    words = ("prepare", f"--source={films}", "--out=store", "--size=64")
    lines = said(capsys, *words)
    assert there(tmp_path) == before
    assert lines["files"] == "store, new"
    with monkeypatch.context() as patch:  # interrupted before the store is put together
        patch.setattr(prepare, "_place", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        assert call(*words) == 130
    before = there(tmp_path)
    resumed = said(capsys, *words)
    assert there(tmp_path) == before
    assert call(*words) == 0
    images = len(pd.read_csv("store/table.csv"))
    assert f": {images} images, " in lines["source"] and lines["source"] == resumed["source"]
    assert resumed["files"] == f"store, an interrupted attempt has read {images} of the images and would go on"
    assert "holds a finished store" in mistake(capsys, *words, "--dry_run")
    assert "of other settings" not in said(capsys, *words, "--overwrite")["files"]
