"""Dreams of a small finished run: one call as one by one, fed back to every network, written with its report."""

import dataclasses
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from cxrjax.base import InputError
from cxrjax.interpret import dream, objectives
from cxrjax.models import transfer
from cxrjax.runs import dream_pages, dreams, run_folder
from cxrjax.runs.trained import load_run
from cxrjax.storage.store import open_store
from experiments import deep_dream

OCTAVES = dream.Ascent(iterations=2, octaves=1)
SHORT = dreams.Setting({"octaves": OCTAVES, "fourier": dataclasses.replace(dream.FOURIER, iterations=2)})


@pytest.fixture(scope="module")
def run(small_run):
    return load_run(small_run)


@pytest.fixture(scope="module")
def heads(run):
    return dreams.load_heads(run)


@pytest.fixture(scope="module")
def made(heads):
    return dreams.classes(heads, dreams.OCTAVES, SHORT)


def test_layers_of_one_seed_are_its_own(run, heads):
    assert heads.seeds == run.seeds == (3, 4)
    for place, seed in enumerate(heads.seeds):
        expected = transfer.layers(run.net, run.head(seed))
        assert jax.tree.all(jax.tree.map(lambda a, b: np.array_equal(a, b), heads.of(place), expected))


def test_one_call_dreams_for_every_seed_and_class(run, heads, made):
    assert made.image.shape == (4, 227, 227)
    start = dream.noise(jax.random.key(0))[None]
    for i, (label, place) in enumerate([(1, 0), (1, 1), (0, 0), (0, 1)]):
        params = (heads.of(place), objectives.one_hot(run.net, "fc8", label))
        alone = dream.dream(objectives.channel_objective(run.net), params, start, OCTAVES)
        np.testing.assert_allclose(made.scores[i, 0], alone.scores[0, 0], rtol=1e-3, atol=1e-5)
        assert np.abs(np.asarray(made.image[i] - alone.image[0])).mean() < 0.1  # of 24 that it moved
    assert made.scores[:, -1].mean() > made.scores[:, 0].mean()  # steps of 12 grey levels may overshoot in one


def test_dreams_fed_back_are_judged_by_hand(run, heads, made):
    found = dreams.transfer(heads, made, dreams.OCTAVES)
    assert len(found) == 4 * 2
    row = found[(found["aim"] == "NF") & (found["dreamt_by"] == 4) & (found["seen_by"] == 3)].iloc[0]
    pixels = np.asarray(made.image[3].round().astype(jnp.uint8))
    logits = run.net.head(run.head(3), run.net.trunk(pixels[None]))[0][0]
    assert row["score"] == pytest.approx(float(logits[1] - logits[0]), rel=1e-3, abs=1e-4)
    assert row["right"] == (logits[1] <= logits[0])


def test_numbers_are_shares_of_own_and_other_networks(made):
    rows = [("octaves", aim, a, b, 0.0, a == b or aim == "P") for aim in ("P", "other") for a in (3, 4) for b in (3, 4)]
    seen = pd.DataFrame(rows, columns=["parametrisation", "aim", "dreamt_by", "seen_by", "score", "right"])
    found = dreams.numbers(made, seen)
    assert (found["own_accuracy"], found["transfer_accuracy"], found["dead"]) == (1.0, 0.5, 0)
    assert -1 <= found["stability"] <= 1
    twice = made._replace(image=made.image[jnp.array([0, 0, 2, 3])])
    assert dreams.numbers(twice, seen)["stability"] == pytest.approx(1)


def test_radiographs_move_both_ways(heads):
    images = np.random.default_rng(0).uniform(60, 200, (2, 227, 227)).astype(np.float32)
    changed = dreams.radiographs(heads, images, SHORT)
    start, away, towards = changed.scores
    assert (away < start).all()
    assert (start < towards).all()
    size = np.sqrt(((changed.towards - images) ** 2).mean((1, 2)))
    assert (size > 1).all()
    assert (size < 5).all()  # two steps of 2 grey levels


def test_radiographs_are_the_undecided_ones_or_those_named(run):
    wanted = dream_pages.Wanted(0, ("conv2",), 1, 2, (), SHORT)
    start, names = dream_pages._chosen(run, 3, wanted)
    known = pd.read_csv(run.folder / "predictions.csv").query("seed == 3").reset_index(drop=True)
    for label, some in ((1, names[1:3]), (0, names[3:])):
        own = known[known["label"] == label]
        nearest = own["image"][(own["score"] - 0.5).abs().sort_values(kind="stable").index[:2]]
        assert [name.split(":")[0] for name in some] == list(nearest)
    pixels = open_store(Path(run.config.data_dir)).images[:, 14:241, 14:241]
    places = dict(zip(open_store(Path(run.config.data_dir)).table["image"], range(len(pixels)), strict=True))
    np.testing.assert_allclose(start[0], np.mean([pixels[places[name]] for name in known["image"]], 0), atol=1e-3)
    last = sorted(places)[-1]
    start, names = dream_pages._chosen(run, 3, wanted._replace(images=(last,)))
    assert len(names) == 2
    np.testing.assert_array_equal(start[1], pixels[places[last]])
    with pytest.raises(InputError, match=r"--images must name images of the run's data, got 'nobody.png'"):
        dream_pages._chosen(run, 3, wanted._replace(images=("nobody.png",)))


@pytest.mark.slow
def test_the_program_writes_everything(small_run, tmp_path, capsys):
    folder = tmp_path / "run"
    shutil.copytree(small_run, folder)
    flags = ["--iterations=1", "--octaves=1", "--fourier_iterations=2", "--channels=2", "--layers=conv2,fc7"]
    deep_dream.main([f"--run={folder}", "--patients=1", *flags])
    names = {path.name for path in (folder / "dreams").iterdir()}
    assert names == {
        "poster.png", "seeds.png", "layers.png", "starts.png", "ascent.gif", "transfer.csv", "numbers.json",
    }  # fmt: skip
    found = run_folder.read_dreams(folder)
    assert set(found.transfer["aim"]) == {"P", "NF"}
    assert found.numbers["settings"]["octaves"]["iterations"] == 1
    assert 'id="dream"' in (folder / "report.html").read_text()
    assert capsys.readouterr().out.splitlines()[-1].startswith("P vs NF: dreams in octaves: classified as dreamt by")


def test_a_layer_that_the_network_lacks_is_one_line_and_exit_status_2(small_run, capsys):
    with pytest.raises(SystemExit) as stop:
        deep_dream.main([f"--run={small_run}", "--layers=conv2,conv9"])
    assert stop.value.code == 2
    assert "--layers must be one of conv1, conv2" in capsys.readouterr().err.strip()
