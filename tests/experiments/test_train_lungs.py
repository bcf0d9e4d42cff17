"""`train_lungs`: folds by patient, tables and pictures, what resumes, what is refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from cxrjax.data.phantom import phantom
from cxrjax.training import outlines
from experiments import _lung_films, _lung_folds, train_lungs
from tests.experiments.commands import mistake


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """12 phantom films of 64 pixels, two of each of 6 patients, of two groups of adults and one of children."""
    folder = tmp_path_factory.mktemp("lungs")
    drawn = phantom(12, seed=2)
    (folder / "images").mkdir()
    (folder / "masks").mkdir()
    rows = []
    for i in range(12):
        for kind, pixels in (("images", drawn.images[i]), ("masks", drawn.lungs[i].astype(np.uint8) * 255)):
            Image.fromarray(pixels[::4, ::4]).save(folder / kind / f"{i}.png")
        rows.append((str(i), f"p{i // 2}", ("adult PA", "adult AP", "child")[i // 4]))
    pd.DataFrame(rows, columns=["name", "patient", "group"]).to_csv(folder / "sources.csv", index=False)
    return folder


@pytest.fixture
def folder(whole, tmp_path) -> Path:
    return shutil.copytree(whole, tmp_path / "films")


@pytest.fixture
def trained(monkeypatch) -> list[int]:
    """In place of training random weights; the number of films of each training."""
    sizes: list[int] = []

    def train(images, masks, steps, seed, tick):
        assert images.shape == masks.shape == (len(images), 128, 128) and masks.max() <= 1
        sizes.append(len(images))
        tick(steps, 0.5)
        return outlines.initial(seed)

    monkeypatch.setattr(outlines, "train", train)
    monkeypatch.setattr(_lung_folds, "phantom", lambda patients, seed: phantom(2, seed))
    return sizes


def test_folds_keep_patients_whole_and_groups_spread(whole):
    films = _lung_films.read(whole)
    folds = films.folds(3, 0)
    assert set(folds) == {0, 1, 2}
    by_patient = pd.DataFrame({"patient": films.patient, "fold": folds, "group": films.group})
    assert (by_patient.groupby("patient")["fold"].nunique() == 1).all()
    assert by_patient.groupby("fold").size().eq(4).all()
    assert by_patient.groupby("group")["fold"].nunique().ge(2).all()
    assert (folds == films.folds(3, 0)).all() and (folds != films.folds(3, 1)).any()


def test_what_is_done_is_not_done_again(folder, tmp_path, trained, capsys):
    words = [f"--masks={folder}", "--folds=3", "--steps=2", f"--out={tmp_path / 'out'}"]
    train_lungs.main(words)
    assert trained == [8, 8, 8, 12]
    shown = capsys.readouterr().out
    assert "| adult, all | 8 | 4 |" in shown and "| all | 12 | 6 |" in shown and "phantom" in shown
    out = tmp_path / "out"
    made = {"fold_0.npz", "fold_1.npz", "fold_2.npz", "lungs.npz", "lungs.json", "dice.csv", "dice.md"}
    assert {path.name for path in out.iterdir()} == made | {"worst.jpg", "worst_films.jpg"}
    table = pd.read_csv(out / "dice.csv")
    assert len(table) == 12 and table["dice"].between(0, 1).all()
    before = (out / "dice.csv").read_bytes()
    (out / "fold_1.npz").unlink()
    train_lungs.main(words)
    assert trained[4:] == [8] and (out / "dice.csv").read_bytes() == before
    with pytest.raises(SystemExit) as stop:
        train_lungs.main([*words, "--seed=1"])
    assert stop.value.code == 2
    assert "holds trainings of other seed (was 0, now 1)" in capsys.readouterr().err


def test_the_picture_without_films_shows_outlines_alone():
    mask = np.zeros((64, 64), bool)
    mask[20:40, 20:40] = True
    film = np.full((64, 64), 77, np.uint8)
    blank, shown = (np.asarray(_lung_films.picture([("x", f, mask, mask)])) for f in (None, film))
    middle = (16 + 236 // 2, 2 + 236 // 2)
    assert (blank[middle] == 255).all() and (shown[middle] == 77).all()


def test_dice_by_hand():
    a, b = np.zeros((2, 2, 2), bool), np.zeros((2, 2, 2), bool)
    a[0, 0] = b[0, :, 0] = True
    assert _lung_folds.dice(a, b).tolist() == [0.5, 1.0]


def save(path: Path, size: tuple[int, int], value: int = 255) -> None:
    Image.fromarray(np.full(size, value, np.uint8)).save(path)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda at: (at / "sources.csv").unlink(), "sources.csv is no file"),
        (
            lambda at: (at / "sources.csv").write_text("name,patient\n1,2\n"),
            "must have the columns name, patient, group",
        ),
        (lambda at: (at / "masks" / "3.png").unlink(), "masks must hold 3.png, which sources.csv lists"),
        (lambda at: (at / "images" / "3.png").unlink(), "images must hold 3.png, which sources.csv lists"),
        (lambda at: save(at / "images" / "x.png", (64, 64)), "must have a row for images/x.png"),
        (
            lambda at: save(at / "masks" / "3.png", (64, 32)),
            "64 x 64 pixels, as the others, got 32 x 64",
        ),
        (lambda at: save(at / "masks" / "3.png", (64, 64), 0), "3.png must mark some lung"),
        (lambda at: (at / "images" / "3.png").write_text("no image"), "3.png must be a PNG image"),
        (
            lambda at: (at / "sources.csv").write_text("name,patient,group\n1,a,b\n1,a,b\n"),
            "must name each film once, got 1 twice",
        ),
    ],
)
def test_bad_folders_are_one_line(folder, tmp_path, spoil, message, capsys):
    spoil(folder)
    assert message in mistake(capsys, "train_lungs", f"--masks={folder}", f"--out={tmp_path / 'out'}")
    assert not (tmp_path / "out").exists()
