"""How long do the dreams of many seeds take here, and by a loop over them in PyTorch?

  python -m experiments.benchmark_dream --compare=torch

The pneumonia neuron of each of --seeds networks, retrained from fc6, is raised from noise with the defaults of
`cxrjax.interpret.dream` (three octaves of ten iterations), all in one call; PyTorch makes the same steps one network
after the other, channels last, gradients of the image alone. In turn, so that a drift of the machine's speed meets
both. The time does not depend on the values of the weights, which are random. Four minutes on 2 idle CPU cores;
expected: PyTorch takes 1.16 times as long.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from cxrjax.base.flags import flag

from . import _cli, _terminal, _timing

if TYPE_CHECKING:
    from ._timing import Work


@dataclasses.dataclass(frozen=True)
class BenchmarkConfig:
    """The flags of this program."""

    seeds: int = flag(10, "networks that dream", lower=1)
    iterations: int = flag(10, "of each octave", lower=1)
    octaves: int = flag(3, "image sizes", lower=1)
    scale: float = flag(1.4, "from one size to the next", lower=1.0)
    compare: str = flag("none", "torch: time the same dreams in PyTorch in turn", choices=("none", "torch"))
    repeats: int = flag(5, "timed calls, the median of which counts", lower=5)
    out: str = flag("runs/benchmark_dream", "folder for benchmark.json, which is replaced", path=True)


def main(argv: list[str] | None = None) -> None:
    """Runs the benchmark from the command line; exits with status 2 after one line about the user's mistake."""
    with _cli.one_line_for_mistakes():
        config = _cli.parse(BenchmarkConfig(), __doc__ or "", argv)
        _terminal.show(run(config))


def run(config: BenchmarkConfig) -> str:
    """Times the dreams, writes the figures and returns a line about them.

    Raises:
      InputError: if PyTorch is asked for and not installed, or the folder cannot be made.
    """
    folder = _timing.make_folder(config.out)
    _timing.prepare_environment(config.compare)
    import jax

    from cxrjax.base import files

    from ._timing import interleave, ratio, say

    works = {"cxrjax": _own(config)}
    if config.compare == "torch":
        works["PyTorch"] = _theirs(config)
    say(f"{config.seeds} dreams of {config.octaves} x {config.iterations} iterations: {', '.join(works)}")
    timings = interleave(works, 0, config.repeats)
    found: dict[str, Any] = {
        "config": dataclasses.asdict(config),
        "device": jax.devices()[0].device_kind,
        "seconds": {name: timing.step_s for name, timing in timings.items()},
        "median_s": {name: timing.median_s for name, timing in timings.items()},
    }
    line = f"{config.seeds} dreams: cxrjax {timings['cxrjax'].median_s:.1f} s"
    if "PyTorch" in timings:
        compared = ratio(timings["PyTorch"], timings["cxrjax"])
        found["ratio"] = compared._asdict()
        line += f", PyTorch {timings['PyTorch'].median_s:.1f} s, {compared.median_of_repeats:.2f} times as long"
    files.write_json(folder / "benchmark.json", found)
    return f"{line}; wrote {folder / 'benchmark.json'}"


def _own(config: BenchmarkConfig) -> Work:
    import jax
    import jax.numpy as jnp

    from cxrjax.interpret import dream, objectives
    from cxrjax.models import transfer

    from ._benchmark_parts import initial_key
    from ._timing import Work

    net = transfer.build_transfer_model(None, "fc6")
    heads = jax.jit(jax.vmap(net.initial))(jnp.stack([initial_key(seed) for seed in range(config.seeds)]))
    params = (transfer.layers(net, heads), objectives.class_logit(net, 1))
    objective, start = objectives.channel_objective(net), jnp.broadcast_to(_start(), (config.seeds, *_start().shape))
    axes = (transfer.seed_axes(net), None)
    ascent = dream.Ascent(iterations=config.iterations, octaves=config.octaves, scale=config.scale)
    return Work(lambda: dream.dream(objective, params, start, ascent, axes), jax.block_until_ready, 1)


def _start() -> Any:
    """The noise that both sides begin with, [227, 227] f32."""
    import jax

    from cxrjax.interpret import dream

    return dream.noise(jax.random.key(0))


def _theirs(config: BenchmarkConfig) -> Work:
    import jax
    import numpy as np
    import torch

    from cxrjax.interpret import dream
    from cxrjax.models import transfer

    from . import _benchmark_torch, _torch_networks, _torch_reference
    from ._benchmark_parts import initial_key
    from ._timing import Work

    device = _benchmark_torch.prepare()
    net = transfer.build_transfer_model(None, "fc6")
    initial = jax.jit(net.initial)
    trunk, heads = None, []
    for seed in range(config.seeds):
        params = transfer.layers(net, initial(initial_key(seed)))
        trunk, head = _torch_networks.cut(_torch_networks.filled(net.model, params, device), net.model, "fc6")
        heads.append(head.eval().requires_grad_(False))
    program = _torch_reference.program(trunk, net.model, device, _benchmark_torch.eager)
    start = torch.from_numpy(np.array(_start())).to(device)
    sizes = dream.octave_sizes(len(start), config.octaves, config.scale)

    def run() -> Any:
        return [_torch_reference.dream_octaves(program, head, start, sizes, config.iterations) for head in heads]

    return Work(run, _benchmark_torch.wait, 1)


if __name__ == "__main__":
    main()
