"""Rows of `benchmark_step` and how they look: one row a part, sizes and program; JSON and a Markdown table."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import os
import platform
from pathlib import Path
from typing import Any, cast

import jax

from cxrjax.models import transfer
from cxrjax.models.transfer import Network, RetrainedHead

from ._ceilings import Ceiling, Count
from ._timing import Ratio, Timing

OWN = "cxrjax"
_PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy", "torch", "torchvision")
_COLUMNS = (
    *(
        "part",
        "batch",
        "seeds",
        "program",
        "ms a step",
        "images/s",
        "compile s",
        "GFLOP",
        "MB",
        "floor ms (predicted)",
        "bound by",
    ),
    *("share of the ceiling", "time / cxrjax's (median of ratios)"),
)


def row(
    part: str, batch: int, seeds: int, program: str, images: int, timing: Timing, need: Count,
    ceiling: Ceiling, ratio: Ratio | None, predicted_s: float | None = None,
) -> dict[str, Any]:  # fmt: skip
    """One row: times in ms a step, the roofline as measured and as predicted from the makers' figures of a GPU that
    `_gpus` knows, and for PyTorch how many times as long it took."""
    floor_s = need.floor(ceiling)
    arithmetic = need.flops / ceiling.flops_per_s >= need.bytes / ceiling.bytes_per_s
    return {
        "part": part,
        "batch": batch,
        "seeds": seeds,
        "program": program,
        "ms": 1e3 * timing.median_s,
        "ms_min": 1e3 * min(timing.step_s),
        "ms_max": 1e3 * max(timing.step_s),
        "images_per_s": images / timing.median_s,
        "first_call_s": timing.first_s,
        "compile_s": timing.compile_s,
        "steps_a_call": timing.steps,
        "step_s": list(timing.step_s),
        "flops": need.flops,
        "bytes": need.bytes,
        "floor_ms": 1e3 * floor_s,
        "predicted_ms": None if predicted_s is None else 1e3 * predicted_s,
        "bound_by": "arithmetic" if arithmetic else "traffic",
        "share": floor_s / timing.median_s,
        "ratio_of_medians": ratio.of_medians if ratio else None,
        "median_of_ratios": ratio.median_of_repeats if ratio else None,
    }


def environment() -> dict[str, Any]:
    """Device, processor, cores and versions."""
    return {
        "device": jax.devices()[0].device_kind,
        "backend": jax.default_backend(),
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "python": platform.python_version(),
        **{name: _version(name) for name in _PACKAGES},
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def content(
    config: Any, ceilings: dict[str, float], rows: list[dict[str, Any]], protocol: dict[str, Any] | None, net: Network
) -> dict[str, Any]:
    """What benchmark.json holds."""
    return {
        "config": dataclasses.asdict(config),
        "network": transfer.facts(net.model, None, cast(RetrainedHead, net.head).start),
        "environment": environment(),
        "ceilings": ceilings,
        "rows": rows,
        "protocol": protocol,
    }


def markdown(results: dict[str, Any]) -> str:
    """The table that people read."""
    ceilings, config, network = results["ceilings"], results["config"], results["network"]
    lines = [
        f"{title(results['environment'])}; {network['label']} of {network['crop']} pixels, {config['dtype']}, "
        f"retrained from {network['retrained'][0]}, median (fastest-slowest) of {config['repeats']}.",
        "",
        "Ceilings: " + ", ".join(_ceiling(name, value) for name, value in ceilings.items()) + ".",
        "",
        f"| {' | '.join(_COLUMNS)} |",
        "|---" * len(_COLUMNS) + "|",
        *(_line(found) for found in results["rows"]),
    ]
    if results["protocol"]:
        lines += ["", protocol_line(results["protocol"])]
    return "\n".join(lines) + "\n"


def title(where: dict[str, Any]) -> str:
    """Device and versions, of `environment`."""
    device = where["device"] if where["backend"] != "cpu" else f"{where['processor']}, {where['cores']} cores"
    versions = ", ".join(f"{name} {where[name]}" for name in _PACKAGES if where[name])
    return f"Benchmark on {device}; {versions}"


def _ceiling(name: str, value: float) -> str:
    if name == "copy":
        return f"copy {value / 1e9:,.1f} GB/s (read and written)"
    return f"matrix product {name} {value / 1e9:,.0f} GFLOP/s"


def _line(found: dict[str, Any]) -> str:
    ratio = found["ratio_of_medians"]
    cells = [
        found["part"],
        str(found["batch"]),
        str(found["seeds"]),
        found["program"],
        f"{found['ms']:.3g} ({found['ms_min']:.3g}-{found['ms_max']:.3g})",
        f"{found['images_per_s']:,.1f}",
        f"{found['compile_s']:.1f}",
        f"{found['flops'] / 1e9:.2f}",
        f"{found['bytes'] / 1e6:,.0f}",
        f"{found['floor_ms']:.3g}" + (f" ({found['predicted_ms']:.3g})" if found.get("predicted_ms") else ""),
        found["bound_by"],
        f"{found['share']:.0%}",
        "1" if ratio is None else f"{ratio:.2f} ({found['median_of_ratios']:.2f})",
    ]
    return f"| {' | '.join(cells)} |"


def protocol_line(found: dict[str, Any]) -> str:
    """What a person wants to know of the protocol."""
    own = found["cxrjax"]
    what = f"{found['slots']} augmentations an image" if found["slots"] else "fresh augmentation"
    text = (
        f"Protocol, {found['seeds']} seeds, {found['train']} + {found['val']} images, {found['epochs']} epochs, "
        f"{what}: "
        f"cxrjax {own['total_s'] / 60:.1f} min (bank and compilation {own['bank_and_compile_s']:.0f} s, "
        f"extrapolated from {len(own['epoch_s'])} epochs)"
    )
    if "torch" in found:
        text += (
            f", a PyTorch loop over seeds {found['torch']['total_s'] / 60:.1f} min: {found['ratio']:.1f} times as long "
            f"({found['ratio_without_torch_validation']:.1f} without its validation)"
        )
    return f"{text}."
