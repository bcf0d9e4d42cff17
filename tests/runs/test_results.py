"""Results out of a finished run's folder: the report once more, without training."""

import functools
import io
import json
import shutil

import numpy as np
import pandas as pd
import pytest

from cxrjax.analysis import tables as run_files
from cxrjax.base import InputError
from cxrjax.base.config import RANDOM_TRUNK, SHUFFLED_LABELS, SPLIT_BY_IMAGE
from cxrjax.report import cards
from cxrjax.runs import draws, explained, results, run_folder
from cxrjax.runs.trained import load_run
from cxrjax.storage.store import About, open_store, read_about, write_store
from tests.experiments import commands

call = functools.partial(commands.call, "report")

NOWHERE = About("nowhere", {}, {}, {})
KEPT = ("predictions.csv", "training_predictions.csv", "history.csv", "images.csv", "flow.csv", "config.json")


@pytest.fixture
def copy(small_run, tmp_path):
    """A run that may be changed, moved to another place."""
    return shutil.copytree(small_run, tmp_path / "moved")


def test_the_report_of_a_run_is_the_same_once_more(copy):
    before = {path.name: path.read_bytes() for path in copy.glob("*.csv")}
    told = json.loads((copy / "summary.json").read_text())
    assert call(f"--run={copy}") == 0
    again = {path.name: path.read_bytes() for path in copy.glob("*.csv")}
    assert set(again) == set(before)
    for name in KEPT[:-1]:
        assert again[name] == before[name], name
    for name in set(before) - set(KEPT):  # scores were written with seven digits
        pd.testing.assert_frame_equal(pd.read_csv(copy / name), _table(before[name]), rtol=2e-3)
    now = json.loads((copy / "summary.json").read_text())
    assert now.keys() == told.keys()
    assert (now["data"], now["minutes"], now["notes"]) == (told["data"], told["minutes"], told["notes"])


def _table(content):
    return pd.read_csv(io.BytesIO(content))


def test_a_run_of_an_earlier_version_is_analysed_anew(copy):
    """It told no reason in these tables."""
    for name in ("results", "floors"):
        table = pd.read_csv(copy / f"{name}.csv").drop(columns="undefined")
        table.to_csv(copy / f"{name}.csv", index=False)
    assert call(f"--run={copy}") == 0
    for name in ("results", "floors"):
        table = run_files.read_table(copy / f"{name}.csv", ["undefined"])
        assert "metric=" in " ".join(table["undefined"])  # two seeds of four epochs leave some metric undefined


def test_language_threshold_and_prevalence_change_the_report_alone(copy, capsys):
    before = {name: (copy / name).read_bytes() for name in KEPT}
    low, high = {}, {}
    for wanted, found in ((0.5, low), (1.0, high)):
        assert call(f"--run={copy}", "--lang=es", f"--wanted_sensitivity={wanted}", "--prevalence=0.3") == 0
        found.update(pd.read_csv(copy / "results.csv").to_dict("list"))
    assert '<html lang="es">' in (copy / "report.html").read_text()
    assert (np.array(low["threshold"]) > np.array(high["threshold"])).all()
    assert high["train_sensitivity_chosen"] == [1, 1]
    assert high["ppv_at_prevalence"] != high["ppv"]
    assert {name: (copy / name).read_bytes() for name in KEPT} == before
    lines = capsys.readouterr().out.splitlines()
    assert (
        lines[-1] == f"report: {copy / 'report.html'}" and sum(line.startswith(" this network ") for line in lines) == 2
    )


def test_other_pixels_under_the_same_names_never_enter_an_old_report(copy, caplog, small_store, tmp_path):
    """Nor those of a store that has lost an image: the report goes without pictures, dreams are refused."""
    tables = run_files.read(copy)
    worst = tables.predictions["image"].iloc[0]
    store, about = open_store(small_store), read_about(small_store)
    others = np.array(store.images)
    others[store.table["image"] == worst, 0, 0] ^= 1  # one pixel of one image
    kept = (store.table["image"] != worst).to_numpy()
    write_store(tmp_path / "changed", store.table, others, about)
    write_store(tmp_path / "fewer", store.table[kept].reset_index(drop=True), store.images[kept], about)
    assert results.reopen(copy).pictures
    config = json.loads((copy / "config.json").read_text())
    for name, message in (("changed", "not those that the run was trained on"), ("fewer", f"{worst} among them")):
        (copy / "config.json").write_text(json.dumps(config | {"data_dir": str(tmp_path / name)}))
        caplog.clear()
        assert results.reopen(copy).pictures == {}
        assert message in caplog.text
        with pytest.raises(InputError, match=message):
            explained.select_images(load_run(copy), (3,), 1, 0, None)


def test_without_its_images_the_report_has_no_pictures(copy, caplog):
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | {"data_dir": str(copy / "gone")}))
    found = results.reopen(copy)
    assert found.pictures == {}
    assert "goes without pictures" in caplog.text


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (None, "must be the folder of a finished run, and there is no such folder"),
        ("summary.json", "this one was interrupted or is under way"),
        ("images.csv", "images.csv is missing"),
        ("environment.json", "holds a damaged run, or one of another version"),
    ],
)
def test_what_is_no_whole_run_is_one_line_and_exit_status_2(copy, capsys, damage, message):
    place = copy
    if damage is None:
        place = copy / "nowhere"
    else:
        (copy / damage).unlink()
    assert call(f"--run={place}") == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: ") and message in error
    with pytest.raises(InputError):
        results.reopen(place)


@pytest.mark.slow
def test_arms_are_runs_of_their_own_and_stand_beside_the_network(run_small):
    """All four runs, and the report out of the folders of all."""
    folder = run_small(floors=True, split_by="both", augment_bank=1)
    floors = pd.read_csv(folder / "floors.csv").set_index("floor")
    leakage = pd.read_csv(folder / "leakage.csv").set_index("metric")
    for name in (SHUFFLED_LABELS, RANDOM_TRUNK, SPLIT_BY_IMAGE):
        arm = folder / "arms" / name
        assert run_folder.is_finished(arm)
        own = pd.read_csv(arm / "results.csv")
        if name in floors.index:
            assert floors["accuracy"][name] == pytest.approx(own["accuracy"].mean(), abs=1e-6)
        else:
            assert leakage["image"]["accuracy"] == pytest.approx(own["accuracy"].mean(), abs=1e-6)
    draws = [
        set(pd.concat([pd.read_csv(place / f"{name}predictions.csv") for name in ("", "training_")])["image"])
        for place in (folder, folder / "arms" / SPLIT_BY_IMAGE)
    ]
    assert draws[0] == draws[1]
    again = results.reopen(folder)
    assert again.analysis.floors["available"].all()
    assert again.analysis.leakage is not None


def test_a_split_of_unknown_patients_is_called_by_image(run_small, small_phantom, tmp_path, caplog):
    """And a run with patients left out knows its images."""
    table = small_phantom.table[:45].reset_index(drop=True)
    unknown = np.arange(45) < 23
    write_store(
        tmp_path / "s", table.assign(patient=table["patient"].mask(unknown, "")), small_phantom.images[:45], NOWHERE
    )
    with caplog.at_level("INFO", "cxrjax"):
        folder = run_small(data_dir=str(tmp_path / "s"), seeds=1, train_patients=8, augment_bank=1)
    name = "patient (23 of 45 images: patient unknown)"
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["split_by"] == name and draws.split_name(load_run(folder).config, 23, 45) == name
    assert draws.split_name(load_run(folder).config, 45, 45) == "image (patients unknown)"
    assert "patients_unknown n=23 of=45" in summary["notes"]
    assert summary["data"]["largest_patient"] == table["patient"][~unknown].value_counts().max()
    assert "patient unknown" in caplog.text
    assert pd.read_csv(folder / "results.csv")["contaminated_share"].isna().all()  # it cannot be told; never 0
    opened = results.reopen(folder)
    assert opened.pictures
    for page in (cards.model_card(opened), cards.claim(opened)):
        assert "a patient may be on both sides" in page
        assert "none is on both sides" not in page.lower().replace("no patient", "none")
