"""An exported run: its README's lines in a process without cxrjax and Flax, and `load_run`, score as the run does."""

import json
import re
import shutil
import subprocess
import sys

import jax
import numpy as np
import pytest

from cxrjax import load_run
from cxrjax.base import InputError
from cxrjax.models import registry, transfer
from cxrjax.runs import exported
from cxrjax.training.losses import Loss
from tests.experiments import commands
from tests.models import narrow

pytest.importorskip("flatbuffers", reason="needs the extra export")
pytest.importorskip("safetensors", reason="needs the extra export")

CLOSE = 1e-6  # float32, the same products in one program in place of two

# What a user has who has JAX and NumPy alone; jax itself brings scipy and ml_dtypes.
ALONE = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"cxrjax", "experiments", "flax", "optax", "orbax", "pandas", "safetensors"}:
            raise ModuleNotFoundError(f"No module named {name!r}")
sys.meta_path.insert(0, Absent())
"""


@pytest.fixture(scope="module")
def images(small_phantom):
    return small_phantom.images[:5]


@pytest.fixture(scope="module")
def folder(small_run, tmp_path_factory):
    """The small run of two seeds (3 and 4), exported by the program; not to be changed."""
    out = tmp_path_factory.mktemp("export") / "made"
    assert commands.call("export", f"--run={small_run}", f"--out={out}") == 0
    return out


def scores_of_readme(folder, images):
    """What the README's lines give, [N, S] or [N, S, K], and their mean, run in a process of its own."""
    (code,) = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)
    np.save(folder / "images.npy", images)
    code = f"{ALONE}{code}\nnp.savez('scores.npz', scores=scores, mean=mean)"
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with np.load(folder / "scores.npz") as made:
        return np.moveaxis(made["scores"], 0, 1), made["mean"]


def test_the_lines_of_its_readme_score_as_the_run_does(folder, small_run, images, tmp_path):
    expected = load_run(small_run)(images)
    assert np.ptp(expected) > 50 * CLOSE and np.abs(expected[:, 0] - expected[:, 1]).min() > 50 * CLOSE
    scores, mean = scores_of_readme(shutil.copytree(folder, tmp_path / "copy"), images)
    np.testing.assert_allclose(scores, expected, atol=CLOSE, rtol=0)
    np.testing.assert_allclose(mean, expected.mean(axis=1), atol=CLOSE, rtol=0)


def test_load_run_scores_as_the_run_does(folder, small_run, images):
    run, before = load_run(folder), load_run(small_run)
    np.testing.assert_allclose(run(images), before(images), atol=CLOSE, rtol=0)
    assert (run.seeds, run.threshold, run.reduction, run.task) == (
        before.seeds, before.threshold, before.reduction, before.task,
    )  # fmt: skip
    kept = load_run(folder, keep=True)
    assert kept.head(3) is kept.head(3)


def test_image_files_are_scored_from_an_export(folder, small_run, small_phantom, tmp_path, capsys):
    from PIL import Image

    Image.fromarray(small_phantom.images[0]).save(tmp_path / "a.png")
    printed = []
    for run in (folder, small_run):
        capsys.readouterr()
        assert commands.call("predict", f"--run={run}", tmp_path / "a.png") == 0
        printed.append(capsys.readouterr().out)
    assert printed[0] == printed[1] and "a.png,0." in printed[0]


def test_it_names_no_place_of_the_machine(folder, small_run):
    text = (folder / "export.json").read_text() + (folder / "README.md").read_text()
    about = json.loads((folder / "export.json").read_text())
    assert about["config"]["data_dir"] == "store" and str(small_run.parent) not in text
    assert set(about["sha256"]) == {path.name for path in folder.iterdir()} - {"export.json", "README.md"}
    assert about["classes"]["P vs NF"] == {"positive": "pneumonia", "negative": "no finding"}


NETWORKS = [
    pytest.param(name, marks=() if registry.get(name) in narrow.NETWORKS else pytest.mark.slow)
    for name in registry.names()
]


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_is_exported_for_every_platform_and_any_number_of_images(name):
    """Only traced and lowered; other tests compute."""
    made = exported.program(transfer.build_transfer_model(None, "head", model=registry.get(name)), Loss())
    assert made.platforms == exported.PLATFORMS == ("cpu", "cuda", "rocm", "tpu")
    assert [str(aval) for aval in made.out_avals] == ["float32[batch]"]


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("seed_004.safetensors", b"no tensors", "seed_004.safetensors: SHA-256 must be "),
        ("seed_004.safetensors", None, "seed_004.safetensors"),
        ("trunk.safetensors", b"", "trunk.safetensors"),
        ("export.json", b"{}", "export.json is damaged, or of another version: 'format'"),
        ("export.json", b'{"format": 2}', "format must be 1, got 2"),
    ],
)
def test_a_damaged_export_is_one_line(folder, tmp_path, images, file, content, message):
    copy = shutil.copytree(folder, tmp_path / "copy")
    (copy / file).unlink() if content is None else (copy / file).write_bytes(content)
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        load_run(copy)(images)
    assert "\n" not in str(caught.value)


def test_nothing_half_written_remains(small_run, folder, tmp_path, monkeypatch, capsys):
    def full(file, variables):
        if file.name == "seed_004.safetensors":
            raise OSError(28, "No space left on device")
        file.write_bytes(b"x")

    out = shutil.copytree(folder, tmp_path / "out")
    monkeypatch.setattr(exported, "_save", full)
    for place, further in ((tmp_path / "new", ()), (out, ("--overwrite",))):
        error = commands.mistake(capsys, "export", f"--run={small_run}", f"--out={place}", *further)
        assert "No space left on device" in error
    assert [path.name for path in tmp_path.iterdir() if path.name != "cache"] == ["out"]
    assert (out / "seed_004.safetensors").stat().st_size > 1


def test_an_earlier_export_alone_is_replaced(small_run, folder, tmp_path, capsys):
    out = shutil.copytree(folder, tmp_path / "out")
    (out / "old").touch()
    assert commands.call("export", f"--run={small_run}", f"--out={out}", "--overwrite") == 0
    assert not (out / "old").exists()
    (tmp_path / "thesis").mkdir()
    error = commands.mistake(capsys, "export", f"--run={small_run}", f"--out={tmp_path / 'thesis'}", "--overwrite")
    assert "this is something else" in error
    assert "is an export already" in commands.mistake(capsys, "export", f"--run={out}", f"--out={tmp_path / 'x'}")


def test_a_missing_package_is_named(small_run, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(exported, "_PACKAGES", ("flatbuffers", "no_such_package"))
    error = commands.mistake(capsys, "export", f"--run={small_run}", f"--out={tmp_path / 'x'}")
    assert "pip install no_such_package" in error and not (tmp_path / "x").exists()


def test_of_many_labels_all_and_each(run_of, images, tmp_path):
    """The whole run has a column a finding; one finding of it is a network of two classes."""
    folder = run_of("chestxray14")
    whole, finding = load_run(folder), load_run(folder / "findings" / "Effusion")
    assert whole(images).shape == (5, 2, 14)
    for run, out in ((whole, tmp_path / "whole"), (finding, tmp_path / "finding")):
        exported.write(run, out)
        opened, (scores, _) = load_run(out), scores_of_readme(out, images)
        for made in (opened(images), scores):
            np.testing.assert_allclose(made, run(images), atol=CLOSE, rtol=0)
        np.testing.assert_array_equal(opened.threshold, run.threshold)
        assert opened.task is run.task


def test_equalised_probes_and_whole_networks(run_small, images, tmp_path):
    """CLAHE, a linear head, and a network without a frozen stage, each in one program for any number of images."""
    for name, fields in {
        "clahe": {"clahe": True},
        "probe": {"head": "linear", "retrain_from": "fc6", "batch_size": 64, "recipe": "probe"},
        "whole": {"retrain_from": "conv1"},
    }.items():
        folder = run_small(seeds=1, **fields)
        exported.write(load_run(folder), tmp_path / name)
        network = jax.export.deserialize(bytearray((tmp_path / name / exported.PROGRAM).read_bytes()))
        from safetensors.numpy import load_file

        trunk, head = (load_file(tmp_path / name / file) for file in (exported.TRUNK, exported.head_file(0)))
        expected = load_run(folder)(images)[:, 0]
        np.testing.assert_allclose(load_run(tmp_path / name)(images)[:, 0], expected, atol=CLOSE, rtol=0)
        for n in (5, 1):
            np.testing.assert_allclose(network.call(trunk, head, images[:n]), expected[:n], atol=CLOSE, rtol=0)
