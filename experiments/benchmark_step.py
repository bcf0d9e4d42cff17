"""How fast is a training step here, and how near to what the device can do; how fast is PyTorch beside it?

  python -m experiments.benchmark_step --compare=torch
  python -m experiments.benchmark_step --compare=torch --seeds=1,10 --dtype=bfloat16      # on a GPU
  python -m experiments.benchmark_step --compare=torch --parts=step --protocol --epochs=60
  python -m experiments.benchmark_step --compare=torch --model=resnet50 --retrain_from=all --batch_norm=train

Five minutes on 2 idle CPU cores, ten beside PyTorch; the protocol adds ten. Expected beside PyTorch eager on 2 CPU
cores: a whole step (batch 64, fresh augmentation, AlexNet from fc6) at least as fast, a head step 1.7 times, the
ten-seed protocol with 16 augmentations an image 4 times. Images are random pixels, on the device: the time does not
depend on what they show, nor on the values of the weights. Needs neither TensorFlow nor a network.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from cxrjax.base import InputError
from cxrjax.base.flags import NetworkFlags, flag

from . import _cli, _terminal, _timing

if TYPE_CHECKING:
    from cxrjax.models.transfer import Network

    from ._benchmark_parts import Setting
    from ._timing import Work

    Other = Callable[[str, Setting], Work]  # part -> that part in PyTorch


@dataclasses.dataclass(frozen=True)
class BenchmarkConfig(NetworkFlags):
    """The flags of this program."""

    batch_sizes: str = flag("64", "images a step, one or more numbers with commas")
    seeds: str = flag("1", "networks trained side by side, one or more numbers with commas")
    parts: str = flag("trunk,head,step,dream,evaluation", "what to time, with commas")
    dtype: str = flag("float32", "of the arithmetic", choices=("float32", "bfloat16"))
    compare: str = flag("none", "torch: time the same work in PyTorch in turn", choices=("none", "torch"))
    torch_compile: str = flag(
        "auto", "also time PyTorch under torch.compile; auto: on a GPU", choices=("auto", "yes", "no")
    )
    repeats: int = flag(7, "timed calls of each part, the median of which counts", lower=5)
    warmup: int = flag(2, "calls after the compiling one that are not counted", lower=1)
    steps: int = flag(0, "steps in a timed call; 0: 11 on CPU, 16 elsewhere, as in training", lower=0)
    matrix_side: int = flag(0, "of the matrix product that is the ceiling; 0: 2048 on CPU, 8192 elsewhere", lower=0)
    copy_mib: int = flag(0, "of the copy that is the ceiling; 0: 256 on CPU, 2048 elsewhere", lower=0)
    weights: str = flag("random", "converted weights, or 'random': speed does not depend on the values", path=True)
    protocol: bool = flag(False, "also time the poster's protocol: whole bank and some epochs, extrapolated")
    protocol_seeds: int = flag(10, "networks of the protocol", lower=1)
    train_images: int = flag(648, "of the protocol", lower=1)
    val_images: int = flag(162, "of the protocol", lower=1)
    epochs: int = flag(120, "of the protocol", lower=1)
    measured_epochs: int = flag(5, "timed epochs of the protocol, after the first one", lower=5)
    augment_bank: int = flag(16, "augmentations an image in the protocol, computed once; 0: fresh ones", lower=0)
    out: str = flag("runs/benchmark_step", "folder for benchmark.json and benchmark.md, which are replaced", path=True)


def main(argv: list[str] | None = None) -> None:
    """Runs the benchmark from the command line; exits with status 2 after one line about the user's mistake."""
    with _cli.one_line_for_mistakes():
        config = _cli.parse(BenchmarkConfig(), __doc__ or "", argv)
        _terminal.show(run(config).rstrip("\n"))


def run(config: BenchmarkConfig) -> str:
    """Times everything, writes the files and returns the table.

    Raises:
      InputError: naming what is wrong with a flag.
    """
    batches, seeds = _cli.counts("batch_sizes", config.batch_sizes), _cli.counts("seeds", config.seeds)
    if config.lse_r and config.compare == "torch":
        raise InputError(
            f"--lse_r={config.lse_r:g} cannot be combined with --compare=torch, whose networks take the mean"
        )
    folder = _timing.make_folder(config.out)
    _timing.prepare_environment(config.compare)
    from cxrjax.base import files

    from . import _benchmark_parts, _benchmark_table, _ceilings
    from ._timing import say

    weights = _benchmark_parts.load_weights(config.weights, config.model)
    net = _benchmark_parts.network(
        weights, config.retrain_from, config.dtype, config.image_size, config.batch_norm, config.lse_r
    )
    parts = _benchmark_parts.choose(config.parts, net)
    others = _others(config)
    on_cpu = _benchmark_parts.on_cpu()
    say("ceilings: a large matrix product, a large copy")
    ceilings = _ceilings.measure(
        config.matrix_side or (2048 if on_cpu else 8192), config.copy_mib or (256 if on_cpu else 2048)
    )
    # 648 images are 11 steps, which the trainer puts into one call (at most 16). With fewer, what a call takes once
    # (copying the parameters into the loop, fresh memory for gradients) weighs more than in training.
    steps = config.steps or (11 if on_cpu else 16)
    rows: list[dict[str, Any]] = []
    for batch in batches:
        for count in seeds:
            chosen = _benchmark_parts.setting(net, batch, count, steps)
            for part in parts:
                if part in _benchmark_parts.OF_SEEDS or count == seeds[0]:
                    rows += _part(config, part, chosen, ceilings, others)
    protocol = _protocol(config, net, batches[0]) if config.protocol else None
    results = _benchmark_table.content(config, ceilings, rows, protocol, net)
    table = _benchmark_table.markdown(results)
    files.write_json(folder / "benchmark.json", results)
    files.write_text(folder / "benchmark.md", table)
    return f"{table}\nwrote {folder / 'benchmark.json'} and benchmark.md\n"


def _others(config: BenchmarkConfig) -> dict[str, Other]:
    """PyTorch's programs by name."""
    if config.compare == "none":
        return {}
    from . import _benchmark_torch as theirs

    device = theirs.prepare()
    compilers = {"PyTorch eager": theirs.eager}
    if config.torch_compile == "yes" or (config.torch_compile == "auto" and device == "cuda"):
        compilers["torch.compile"] = theirs.compiled

    def other(compiler: Any) -> Other:
        return lambda part, chosen: theirs.work(part, chosen, device, compiler)

    return {name: other(compiler) for name, compiler in compilers.items()}


def _part(
    config: BenchmarkConfig, part: str, chosen: Setting, ceilings: dict[str, float], others: dict[str, Other]
) -> list[dict[str, Any]]:
    """Rows of one part: cxrjax and PyTorch's programs in turn."""
    import jax

    from . import _benchmark_parts, _benchmark_table, _ceilings, _gpus
    from ._timing import interleave, ratio, say

    own = _benchmark_table.OWN
    works = {own: _benchmark_parts.work(part, chosen)}
    works.update({name: build(part, chosen) for name, build in others.items()})
    say(f"{part}: batch {chosen.batch}, seeds {chosen.seeds}, {', '.join(works)}")
    timings = interleave(works, config.warmup, config.repeats)
    need = _benchmark_parts.count(part, chosen)
    ceiling = _ceilings.Ceiling(ceilings[config.dtype], ceilings["copy"])
    images, gpu = _benchmark_parts.images_a_step(part, chosen), _gpus.of_kind(jax.devices()[0].device_kind)
    predicted = None if gpu is None else _gpus.shortest(gpu, config.dtype, need.flops, need.bytes)
    rows = []
    for name, timing in timings.items():
        compared = ratio(timing, timings[own]) if name != own else None
        rows.append(
            _benchmark_table.row(
                part, chosen.batch, chosen.seeds, name, images, timing, need, ceiling, compared, predicted
            )
        )
        say(f"{part}: {name} {1e3 * timing.median_s:.3g} ms a step")
    return rows


def _protocol(config: BenchmarkConfig, net: Network, batch: int) -> dict[str, Any]:
    from . import _benchmark_parts, _benchmark_protocol

    sizes = _benchmark_protocol.Sizes(
        config.protocol_seeds, config.train_images, config.val_images, config.epochs, config.augment_bank,
        config.measured_epochs,
    )  # fmt: skip
    chosen = _benchmark_parts.setting(net, batch, 1, 1)
    if config.compare == "none":
        return _benchmark_protocol.measure(chosen, sizes, None)
    from . import _benchmark_torch as theirs

    return _benchmark_protocol.measure(chosen, sizes, theirs.PlainEpoch(chosen, sizes, theirs.prepare()))


if __name__ == "__main__":
    main()
