"""Maps of a small run and its controls: from maps to tables, and the program that writes them."""

import dataclasses
import shutil

import jax
import numpy as np
import pandas as pd
import pytest

from cxrjax.analysis import localisation
from cxrjax.interpret import saliency
from cxrjax.models import transfer
from cxrjax.report.figures import sheets
from cxrjax.runs import explained, run_folder
from cxrjax.runs import maps as looking
from cxrjax.runs.trained import load_run
from cxrjax.storage.store import BOX_COLUMNS
from experiments import where_it_looks

QUICK = ("gradient", "grad_cam")


@pytest.fixture(scope="module")
def run(small_run):
    return load_run(small_run)


@pytest.fixture(scope="module")
def seen(run):
    return explained.select_images(run, run.seeds, 3, 0, None)


@pytest.fixture(scope="module")
def found(run, seen):
    known, _ = looking.candidates(run, None)
    return looking.compute_maps(known, run.seeds, seen, QUICK, dreams=False)


def test_controls_are_the_first_weights_and_what_the_run_trained(run):
    known, notes = looking.candidates(run, None)
    assert [one.name for one in known] == ["trained", "random_head"]
    assert len(notes) == 2
    assert notes[0] == "no_control network=shuffled_labels"
    first = known[1].head(3)
    assert not np.allclose(first["params"]["fc8"]["kernel"], run.head(3)["params"]["fc8"]["kernel"])
    assert np.abs(first["params"]["fc8"]["kernel"]).max() <= run.net.model.width("fc7") ** -0.5


def test_a_figure_is_that_of_its_map(run, seen, found):
    row = found.metrics.query("network == 'trained' and method == 'gradient' and target == 'lungs'").iloc[0]
    place = list(seen.image).index(row["image"])
    direction = np.array([-1.0, 1.0], np.float32)
    layers = transfer.layers(run.net, run.head(int(row["seed"])))
    made = saliency.METHODS["gradient"](jax.random.key(0), run.net, layers, seen.pixels[[place]], direction)[0]
    share = float(np.asarray(made)[seen.lungs.masks[place]].sum() / np.asarray(made).sum())
    assert row["energy"] == pytest.approx(share, rel=1e-3)


def test_tables_hold_every_network_method_and_figure(found):
    keys = set(zip(found.focus["method"], found.focus["network"], found.focus["metric"], strict=True))
    networks = ("trained", "random_head", "area", "centre")
    assert keys == {(m, n, f) for m in QUICK for n in networks for f in ("energy", "pointing")}
    assert set(found.focus["target"]) == {"lungs"}
    assert len(found.verdicts) == 4
    against = set(found.agreement["against"])
    assert "random_head" in against
    assert found.shown == {}  # no box


def test_maps_are_cut_into_boxes_where_boxes_were_drawn(run, seen, found):
    assert found.boxes.empty
    rows = [(name, "Pneumonia", 0.25, 0.25, 0.5, 0.5) for name in seen.image]
    table = pd.DataFrame(rows, columns=list(BOX_COLUMNS))
    masks = localisation.box_masks(table, list(seen.image), seen.side, seen.pixels.shape[1]).masks
    boxed = seen._replace(boxes=localisation.Regions("box", seen.image, seen.patient, masks), box_table=table)
    known, _ = looking.candidates(run, None)
    boxes = looking.compute_maps(known[:1], run.seeds[:1], boxed, ("gradient",), dreams=False).boxes
    assert set(boxes["network"]) == {"trained", "area", "centre", "mean_box"}
    mean = boxes[(boxes["network"] == "mean_box") & (boxes["overlap"] == 0.9)]  # all boxes are the same
    assert (mean["accuracy"] == 1).all() and (mean["false_positives"] == 0).all()


def test_dreams_are_measured_against_the_mean_lungs(run, seen):
    known, _ = looking.candidates(run, None)
    rows = looking._dreams(known[:1], run.seeds[:1], seen.mean_lungs)
    assert set(rows["network"]) == {"trained", "area", "centre"}
    own = rows[rows["network"] == "trained"].iloc[0]
    assert own["area"] == pytest.approx(seen.mean_lungs.mean())
    assert 0 < own["energy"] < 1
    assert set(rows["method"]) <= {looking.DREAM, ""}
    assert list(rows["target"].unique()) == [localisation.LUNGS]


def test_overlays_outline_boxes_as_they_lie_in_the_crop():
    pixels, heat = np.full((1, 227, 227), 90, np.uint8), np.eye(227, dtype=np.float32)
    boxes = pd.DataFrame([("a", "Pneumonia", 24 / 256, 34 / 256, 50 / 256, 60 / 256)], columns=BOX_COLUMNS)
    names = np.array(["a"])
    images = explained.ExplainedImages(names, names, pixels, 256, {3: np.array([0])}, None, None, boxes, [])
    picture = looking.overlays(images, looking.MapResults(None, None, None, None, [], {"a": {"gradient": heat}}))
    tiles = [sheets.overlay(pixels[0], values, [(10, 20, 50, 60)]) for values in (np.zeros((227, 227)), heat)]
    np.testing.assert_array_equal(picture, sheets.sheet([tiles], ["a"], ["", "gradient"], 230))


@pytest.mark.slow
def test_the_program_writes_everything(small_run, tmp_path, capsys):
    folder = tmp_path / "run"
    shutil.copytree(small_run, folder)
    where_it_looks.main([f"--run={folder}", "--methods=gradient,grad_cam", "--images=2", "--nodreams"])
    assert {path.name for path in (folder / "maps").iterdir()} == {
        "focus.csv", "agreement.csv", "boxes.csv", "metrics.csv", "numbers.json",
    }  # fmt: skip
    maps = run_folder.read_maps(folder)
    assert maps.boxes.empty and "Are the boxes found?" not in (folder / "report.html").read_text()
    assert maps.numbers["settings"]["images"] == 2
    assert "no_control network=random_trunk" in maps.numbers["notes"]
    assert 'id="looks"' in (folder / "report.html").read_text()
    assert "metrics beat all controls and baselines" in capsys.readouterr().out.splitlines()[-1]


def test_the_program_takes_every_method():
    assert tuple(saliency.METHODS) == where_it_looks._METHODS


def test_moved_runs_find_their_controls(run, tmp_path):
    moved = run._replace(folder=tmp_path, config=dataclasses.replace(run.config, out="elsewhere"))
    _, notes = looking.candidates(moved, None)
    assert len(notes) == 2
