"""How fast is each network here, frozen and trained, and how fast is PyTorch's same network on the same work?

  python -m experiments.benchmark_networks --compare=torch
  python -m experiments.benchmark_networks --compare=torch --models=resnet50,vgg16 --batch_size=32 --image_size=448
  taskset -c 0 python -m experiments.benchmark_networks --compare=torch --clock=cpu     # where the cores are not idle

Of each network three parts: the trunk (what lies before the stages that are usually retrained, evaluation, random
crops), a step of the usual head (what enters it being ready), and a step of all layers from augmented pixels, with
BatchNorm as --batch_norm says on both sides; images/s, and the memory of arguments and temporaries of one program, in
PyTorch the peak on a GPU. Each network's parts run in turn with PyTorch's: torchvision's own definition (`pip install
--no-deps torchvision==0.28.0`), EfficientNet-Lite's of efficientnet_lite_pytorch. Weights
are random: speed does not depend on their values.
"""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING, Any

from cxrjax.base import InputError
from cxrjax.base.flags import flag

from . import _cli, _terminal, _timing

if TYPE_CHECKING:
    from cxrjax.models.model import Model
    from cxrjax.models.transfer import Network

# What a column is called, the part of `_benchmark_parts`, the stages that are retrained for it, and the steps of a
# timed call: as many as a call of the trainer has where one step takes little.
PARTS = (("trunk", "trunk", "head", 1), ("head step", "head", "head", 11), ("all-layers step", "step", "all", 1))
OTHER = "PyTorch"


@dataclasses.dataclass(frozen=True)
class BenchmarkConfig:
    """The flags of this program."""

    models: str = flag("", "networks, with commas; none: all but the variants of one (alexnet-caffe is alexnet's)")
    image_size: int = flag(0, "pixels a side of what the networks see; 0: each its own", lower=0, upper=512)
    batch_size: int = flag(0, "images a step; 0: 16 on CPU, 64 elsewhere", lower=0)
    batch_norm: str = flag("train", "BatchNorm where all layers are trained", choices=("frozen", "train"))
    dtype: str = flag("float32", "of the arithmetic", choices=("float32", "bfloat16"))
    compare: str = flag("none", "torch: time the same work in PyTorch in turn", choices=("none", "torch"))
    repeats: int = flag(5, "timed calls of each part, the median of which counts", lower=1)
    warmup: int = flag(1, "calls after the compiling one that are not counted", lower=0)
    clock: str = flag("wall", "cpu: processor time of all threads, on CPU alone", choices=("wall", "cpu"))
    out: str = flag(
        "runs/benchmark_networks", "folder for benchmark.json and benchmark.md, which are replaced", path=True
    )


def main(argv: list[str] | None = None) -> None:
    """Runs the benchmark from the command line; exits with status 2 after one line about the user's mistake."""
    with _cli.one_line_for_mistakes():
        config = _cli.parse(BenchmarkConfig(), __doc__ or "", argv)
        _terminal.show(run(config).rstrip("\n"))


def run(config: BenchmarkConfig) -> str:
    """Times everything, writes the files after each network, and returns the table.

    Raises:
      InputError: naming what is wrong with a flag.
    """
    models = choose(config.models)
    _timing.prepare_environment(config.compare)
    from cxrjax.base import files

    from . import _benchmark_parts, _benchmark_table

    on_cpu = _benchmark_parts.on_cpu()
    if config.clock == "cpu" and not on_cpu:
        raise InputError("--clock=cpu: JAX computes on a GPU, and processor time does not measure that")
    if config.compare == "torch":
        _check_torch(models)
    folder = _timing.make_folder(config.out)
    batch = config.batch_size or (16 if on_cpu else 64)
    rows: list[dict[str, Any]] = []
    for model in models:
        rows += _network(config, model, batch)
        results = {
            "config": dataclasses.asdict(config),
            "batch_size": batch,
            "environment": _benchmark_table.environment(),
            "rows": rows,
        }
        files.write_json(folder / "benchmark.json", results)
        files.write_text(folder / "benchmark.md", markdown(results))
    return f"{markdown(results)}\nwrote {folder / 'benchmark.json'} and benchmark.md\n"


def choose(text: str) -> list[Model]:
    """The networks of --models.

    Raises:
      InputError: if there is no such network.
    """
    from cxrjax.models import registry

    names = registry.names()
    usual = [name for name in names if not any(name.startswith(f"{other}-") for other in names)]
    chosen = dict.fromkeys(word.strip() for word in text.split(",")) if text else usual
    unknown = [name for name in chosen if name not in names]
    if unknown:
        raise InputError(f"--models must be of {','.join(names)}, got {unknown[0]!r}")
    return [registry.get(name) for name in chosen]


def _check_torch(models: list[Model]) -> None:
    """Refuses networks that PyTorch cannot build here before anything is timed."""
    import torch

    from . import _torch_networks

    with torch.device("meta"):
        for model in models:
            _torch_networks.build(model)


def _network(config: BenchmarkConfig, model: Model, batch: int) -> list[dict[str, Any]]:
    """Rows of one network: its parts, cxrjax's and PyTorch's in turn."""
    from . import _benchmark_parts

    weights, rows = _benchmark_parts.random_weights(model), []
    for title, part, retrain_from, steps in PARTS:
        net = _benchmark_parts.network(weights, retrain_from, config.dtype, config.image_size, config.batch_norm)
        rows += _part(config, title, part, net, (batch, steps))
    return rows


def _part(config: BenchmarkConfig, title: str, part: str, net: Network, sizes: tuple[int, int]) -> list[dict[str, Any]]:
    """Rows of one part; `sizes` are images a step and steps a call."""
    from . import _benchmark_parts, _benchmark_table

    batch, steps = sizes
    chosen = _benchmark_parts.setting(net, batch, 1, steps)
    works = {_benchmark_table.OWN: _benchmark_parts.work(part, chosen)}
    memory: dict[str, float | None] = {_benchmark_table.OWN: _benchmark_parts.memory(part, chosen)}
    if config.compare == "torch":
        from . import _benchmark_torch as theirs

        works[OTHER] = theirs.work(part, chosen, theirs.prepare(), theirs.eager)
    now = time.process_time if config.clock == "cpu" else time.perf_counter
    timings = _timing.interleave(works, config.warmup, config.repeats, now)
    if config.compare == "torch":
        memory[OTHER] = theirs.peak_memory(works[OTHER])
    rows = []
    for name, timing in timings.items():
        ratio = _timing.ratio(timing, timings[_benchmark_table.OWN])
        _timing.say(f"{net.model.name}, {title}: {name} {1e3 * timing.median_s:.3g} ms a step")
        rows.append(
            {
                "model": net.model.name,
                "image_size": net.model.crop,
                "part": title,
                "program": name,
                "ms": 1e3 * timing.median_s,
                "images_per_s": batch / timing.median_s,
                "memory_mb": memory[name],
                "ratio_of_medians": ratio.of_medians if name == OTHER else None,
                "median_of_ratios": ratio.median_of_repeats if name == OTHER else None,
                "step_s": list(timing.step_s),
            }
        )
    return rows


def markdown(results: dict[str, Any]) -> str:
    """The tables that people read: networks down, parts across."""
    from . import _benchmark_table

    config, rows = results["config"], results["rows"]
    clock = {"wall": "wall-clock time", "cpu": "processor time of all threads"}[config["clock"]]
    conditions = (
        f"{_benchmark_table.title(results['environment'])}; {results['batch_size']} images a step, {config['dtype']}, "
        f"BatchNorm of the all-layers step: {config['batch_norm']}; {clock}, medians of {config['repeats']} calls in "
        "turn. A ratio is PyTorch's time / cxrjax's; memory is that of one program's arguments and temporaries."
    )
    times = _table(rows, [("ms", "ms"), ("ratio_of_medians", "ratio")])
    others = (_table(rows, [field]) for field in (("images_per_s", "images/s"), ("memory_mb", "MB")))
    return "\n\n".join([conditions, times, *others]) + "\n"


def _table(rows: list[dict[str, Any]], fields: list[tuple[str, str]]) -> str:
    """Some numbers of each part and program, a line for each network; a column without any number is left out."""
    cells: dict[str, dict[str, str]] = {}
    for row in rows:
        for field, unit in fields:
            if row[field] is not None:
                program = "" if field == "ratio_of_medians" else f"{row['program']}, "
                cells.setdefault(row["model"], {})[f"{row['part']}: {program}{unit}"] = _number(row[field])
    columns = list(dict.fromkeys(column for line in cells.values() for column in line))
    lines = [["network", *columns], ["---"] * (len(columns) + 1)]
    lines += [[name, *(line.get(column, "") for column in columns)] for name, line in cells.items()]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _number(value: float) -> str:
    return f"{value:.3g}" if value < 100 else f"{value:,.0f}"


if __name__ == "__main__":
    main()
