"""Does every program compile for a GPU that is not here, into what kernels and memory, and how fast could it be?

  make compile_for DEVICE=h100-sxm
  python -m experiments.compile_for --device=a100-sxm-80 --models=alexnet --dtypes=float32

Needs no GPU: JAX's compiler for CUDA, 250 MB to download, lies in a folder of its own (`make .gpu-compiler`), which
other programs do not see. AlexNet takes some 5 minutes on 2 CPU cores. Everything printed is *predicted by the
compiler, not measured*: that a program compiles, its memory and its kernels are facts, its shortest time is a bound
from the makers' figures of a GPU. Expected: every program compiles and fits. Exit status 1: one does not.
"""

from __future__ import annotations

import dataclasses
import sys
import time
from typing import TYPE_CHECKING, Any

from cxrjax.base import InputError
from cxrjax.base.flags import flag

from . import _cli, _gpus, _terminal, _timing

if TYPE_CHECKING:
    from ._compile_programs import Sizes
    from ._compiled import Program, Result

DTYPES = ("float32", "bfloat16")
_COLUMNS = (
    *("network", "program", "dtype", "GFLOP", "MB moved", "at least ms", "bound by", "kernels", "library calls"),
    *("arguments GB", "donated GB", "temporaries GB", "peak GB", "of the memory", "compiled in s"),
)


@dataclasses.dataclass(frozen=True)
class CompileConfig:
    """The flags of this program."""

    device: str = flag("h100-sxm", "GPU to compile for", choices=tuple(_gpus.GPUS))
    models: str = flag("", "networks, with commas; none: all but the variants of one")
    dtypes: str = flag(",".join(DTYPES), "of the arithmetic, with commas")
    batch_size: int = flag(64, "images a step", lower=1)
    seeds: int = flag(10, "networks trained side by side", lower=1)
    train_images: int = flag(711, "of each seed, of the whole run (nih-2k's P vs NF)", lower=1)
    val_images: int = flag(178, "of each seed, of the whole run", lower=1)
    epochs: int = flag(120, "of the whole run", lower=1)
    augment_bank: int = flag(16, "augmentations an image in the bank", lower=1)
    memory_gb: float = flag(0.0, "of a GPU with less memory than the table's; 0: the table's", lower=0)
    minutes: float = flag(0.0, "no further program is begun after so many, and those left are named; 0: all", lower=0)
    compiler: str = flag(".gpu-compiler", "folder of the compiler's packages", path=True)
    out: str = flag("runs/compile_for", "folder for DEVICE.json and DEVICE.md, which are replaced", path=True)


def main(argv: list[str] | None = None) -> None:
    """Compiles from the command line; exits with status 2 after one line about the user's mistake, and with status 1
    if a program does not compile or has no room."""
    with _cli.one_line_for_mistakes():
        config = _cli.parse(CompileConfig(), __doc__ or "", argv)
        text, faults = run(config)
        _terminal.show(text.rstrip("\n"))
    if faults:
        _terminal.show("\n".join(faults), sys.stderr)
        sys.exit(1)


def run(config: CompileConfig) -> tuple[str, list[str]]:
    """Compiles everything and writes the files after each program.

    Returns:
      The tables, and a line for each program that does not compile or has no room.

    Raises:
      InputError: naming what is wrong with a flag.
    """
    dtypes = tuple(dict.fromkeys(word.strip() for word in config.dtypes.split(",")))
    if unknown := [name for name in dtypes if name not in DTYPES]:
        raise InputError(f"--dtypes must be of {','.join(DTYPES)}, got {unknown[0]!r}")
    from . import _compiled

    packages = _compiled.prepare(config.compiler)
    folder = _timing.make_folder(config.out)
    from cxrjax.base import files

    from . import _compile_programs, benchmark_networks

    models, gpu, memory = benchmark_networks.choose(config.models), _gpus.GPUS[config.device], usable(config)
    sizes = _compile_programs.Sizes(
        config.batch_size, config.seeds, config.train_images, config.val_images, config.augment_bank
    )
    rows: list[tuple[Program, Result]] = []
    target, faults, started = _compiled.device(gpu), list[str](), time.monotonic()
    for model in models:
        for dtype in dtypes:
            for program in _compile_programs.of(model, dtype, sizes):
                name = f"{program.model}, {program.name}, {dtype}"
                if rows and config.minutes and time.monotonic() - started > 60 * config.minutes:
                    _timing.say(f"{name}: not compiled, --minutes={config.minutes:g} are over")
                    continue
                result = _compiled.compile_program(program, target)
                rows.append((program, result))
                _timing.say(f"{name}: {result.fault or f'{result.seconds:.0f} s'}")
                if not _compiled.fits(result, memory):
                    faults.append(f"{name}: {result.fault or f'{result.peak / 1e9:.1f} GB of {memory / 1e9:.1f}'}")
                text = markdown(config, packages, rows, sizes)
                files.write_text(folder / f"{config.device}.md", text)
                files.write_json(folder / f"{config.device}.json", content(config, packages, rows))
    return f"{text}\nwrote {folder / config.device}.json and .md\n", faults


def usable(config: CompileConfig) -> int:
    """Bytes that programs have."""
    return int(_gpus.JAX_SHARE * config.memory_gb * 1e9) or _gpus.GPUS[config.device].usable()


def content(config: CompileConfig, packages: str, rows: list[tuple[Program, Result]]) -> dict[str, Any]:
    """What DEVICE.json holds."""
    named = [{"model": p.model, "program": p.name, "dtype": p.dtype, **r._asdict()} for p, r in rows]
    return {"config": dataclasses.asdict(config), "packages": packages, "cuda": _gpus.CUDA, "rows": named}


def markdown(config: CompileConfig, packages: str, rows: list[tuple[Program, Result]], sizes: Sizes) -> str:
    """The tables that people read."""
    import jax

    gpu = _gpus.GPUS[config.device]
    lines = [
        f"**Predicted by the compiler, not measured.** {gpu.kind}, CUDA {_gpus.CUDA}, cuDNN {_gpus.CUDNN}; jax "
        f"{jax.__version__}, {packages}.",
        "",
        f"The shortest time is that of the FLOPs at {gpu.tf32 / 1e12:.0f} TFLOP/s (float32 by TF32) or "
        f"{gpu.bfloat16 / 1e12:.0f} (bfloat16), or of the bytes at {gpu.bandwidth / 1e12:.2f} TB/s; of several steps a "
        f"call, of one step. The share is of the {100 * _gpus.JAX_SHARE:.0f} % of the memory that JAX takes.",
        "",
        f"| {' | '.join(_COLUMNS)} |",
        "|---" * len(_COLUMNS) + "|",
        *(f"| {' | '.join(_cells(config, program, result))} |" for program, result in rows),
        "",
        *_whole(config, rows, sizes),
    ]
    return "\n".join(lines).rstrip("\n") + "\n"


def _cells(config: CompileConfig, program: Program, result: Result) -> list[str]:
    gpu, name = _gpus.GPUS[config.device], [program.model, program.name, program.dtype]
    if result.fault:
        return [*name, f"does not compile: {result.fault}", *[""] * (len(_COLUMNS) - len(name) - 1)]
    seconds = _gpus.shortest(gpu, program.dtype, result.flops, result.bytes)
    calls = ", ".join(f"{count} {target.strip('_').replace('$', ' ')}" for target, count in result.libraries.items())
    sizes = (result.arguments, result.aliased, result.temporaries, result.peak)
    return [
        *name,
        f"{result.flops / 1e9:,.1f}",
        f"{result.bytes / 1e6:,.0f}",
        f"{1e3 * seconds:.3g}",
        "traffic" if seconds * gpu.bandwidth <= result.bytes * 1.0001 else "arithmetic",
        str(result.kernels),
        calls,
        *(f"{size / 1e9:.2f}" for size in sizes),
        f"{result.peak / usable(config):.1%}",
        f"{result.seconds:.0f}",
    ]


def _whole(config: CompileConfig, rows: list[tuple[Program, Result]], sizes: Sizes) -> list[str]:
    """What AlexNet's whole run takes at least, where trunk and head steps compile."""
    from . import _compile_programs

    gpu, lines = _gpus.GPUS[config.device], []
    for dtype in dict.fromkeys(program.dtype for program, _ in rows):
        times = {
            program.name.split(" of ")[0].split(",")[0]: _gpus.shortest(gpu, dtype, result.flops, result.bytes)
            for program, result in rows
            if (program.model, program.dtype) == ("alexnet", dtype) and not result.fault
        }
        if not {_compile_programs.TRUNK, _compile_programs.HEAD} <= times.keys():
            continue
        images = (sizes.train + sizes.val) * (sizes.slots + 1)
        bank = images / sizes.batch * times[_compile_programs.TRUNK]
        steps = config.epochs * sizes.steps * times[_compile_programs.HEAD]
        lines.append(
            f"Whole run, AlexNet, {dtype}: {sizes.seeds} seeds x {config.epochs} epochs, bank of {sizes.slots}, "
            f"{sizes.train} + {sizes.val} images: at least {bank + steps:.2g} s (bank {bank:.2g} s, steps {steps:.2g} "
            "s; validation, start and compilation not counted)."
        )
    return lines


if __name__ == "__main__":
    main()
