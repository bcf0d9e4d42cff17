"""JAX's compiler for GPUs where there is no GPU: a program compiled for one, and what can be read off the result."""

from __future__ import annotations

import collections
import contextlib
import importlib.metadata
import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from cxrjax.base import InputError

from ._gpus import Gpu

_PACKAGES = ("jax-cuda12-plugin", "jax-cuda12-pjrt", "nvidia-cuda-nvcc-cu12")
_NVCC, NVCC_VERSION = "nvidia/cuda_nvcc", "12.9.86"
PLATFORM = "cuda"
# Instructions that launch nothing.
_SILENT = {
    "parameter",
    "constant",
    "tuple",
    "get-tuple-element",
    "bitcast",
    "while",
    "call",
    "conditional",
    "after-all",
}
_COMPUTATION = re.compile(r"^(ENTRY )?%([\w.-]+) \(.*\{$")
_INSTRUCTION = re.compile(r"^ +(?:ROOT )?%[\w.-]+ = (?:\([^=]*?\)|\S+) ([\w-]+)\(")


class Program(NamedTuple):
    """Something to compile."""

    model: str
    dtype: str
    name: str
    lower: Callable[..., Any]  # as of `jax.jit`'s result
    arguments: tuple[Any, ...]  # arrays as shapes and types
    static: tuple[Any, ...] = ()  # arguments before them
    single: Program | None = None  # one step of several, whose work is counted; None: the same


class Result(NamedTuple):
    """What became of a program; bytes and FLOPs of a call, or of a step of several."""

    seconds: float  # of compilation
    fault: str = ""  # why it does not compile; then all else is 0
    arguments: int = 0
    aliased: int = 0  # of them, given up for results
    temporaries: int = 0
    peak: int = 0
    kernels: int = 0  # launched, calls of libraries included
    libraries: dict[str, int] = {}  # noqa: RUF012 - target of the call -> how many; never changed
    flops: float = 0.0
    bytes: float = 0.0


def prepare(folder: str) -> str:
    """Makes the compiler's packages importable and leaves JAX on the CPU; must come before jax is imported.

    Returns:
      Names and versions of the packages.

    Raises:
      InputError: if a package is not there, or of another version than jax is.
    """
    found = {d.name.lower().replace("_", "-"): d.version for d in importlib.metadata.distributions(path=[folder])}
    lacking = [name for name in _PACKAGES if name not in found]
    if lacking:
        raise InputError(f"--compiler={folder} lacks {', '.join(lacking)}; {_install(folder)}")
    jax_version = importlib.metadata.version("jax")
    if found[_PACKAGES[0]] != jax_version:
        raise InputError(
            f"--compiler={folder} is of jax {found[_PACKAGES[0]]}, here is {jax_version}; {_install(folder)}"
        )
    os.environ["JAX_PLATFORMS"] = "cpu"
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    flags = os.environ.get("XLA_FLAGS", "")
    os.environ["XLA_FLAGS"] = f"{flags} --xla_gpu_cuda_data_dir={Path(folder).resolve() / _NVCC}".strip()
    sys.path.append(str(Path(folder).resolve()))
    with _quiet():
        import jax

        jax.devices()
    return ", ".join(f"{name} {found[name]}" for name in _PACKAGES)


def _install(folder: str) -> str:
    versions = (importlib.metadata.version("jax"), importlib.metadata.version("jax"), NVCC_VERSION)
    packages = " ".join(f"{name}=={version}" for name, version in zip(_PACKAGES, versions, strict=True))
    return f"`pip install --no-deps --upgrade --target={folder} {packages}` (a checkout's `make .gpu-compiler`)"


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps what the compiler's libraries say on standard error, that there is no GPU, from the terminal."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def device(gpu: Gpu) -> Any:
    """A GPU to compile for."""
    from jax.experimental import topologies

    with _quiet():
        return topologies.get_topology_desc("gpu", "cuda", topology="1x1x1", target_config=gpu.description()).devices[0]


def compile_program(program: Program, target: Any) -> Result:
    """Compiles a program for a device and reads off the result."""
    import jax

    sharding = jax.sharding.SingleDeviceSharding(target)

    def placed(x: Any) -> Any:
        return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding)

    start = time.perf_counter()
    try:
        with _quiet():
            lowered = program.lower(*program.static, *jax.tree.map(placed, program.arguments))
            compiled = lowered.compile()
    except jax.errors.JaxRuntimeError as error:
        return Result(time.perf_counter() - start, _first_line(error))
    counted = _read(lowered, compiled, time.perf_counter() - start)
    if program.single is None:
        return counted
    step = compile_program(program.single, target)
    if step.fault:
        return step
    return counted._replace(
        flops=step.flops, bytes=step.bytes, kernels=step.kernels, seconds=counted.seconds + step.seconds
    )


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0][:200]


def _read(lowered: Any, compiled: Any, seconds: float) -> Result:
    """FLOPs are counted before the compiler optimises (library calls hide theirs), all else after it."""
    import jax
    from jaxlib import _jax

    def count(module: Any) -> Any:
        return _jax.hlo_module_cost_analysis(jax.devices()[0].client, module)

    used, text = compiled.memory_analysis(), compiled.as_text()
    calls = collections.Counter(re.findall(r'custom_call_target="(__cu[^"]+)"', text))
    return Result(
        seconds,
        arguments=used.argument_size_in_bytes,
        aliased=used.alias_size_in_bytes,
        temporaries=used.temp_size_in_bytes,
        peak=used.peak_memory_in_bytes,
        kernels=kernels(text),
        libraries=dict(sorted(calls.items())),
        flops=count(lowered.compiler_ir("hlo").as_hlo_module())["flops"],
        bytes=count(compiled.runtime_executable().hlo_modules()[0])["bytes accessed"],
    )


def kernels(text: str) -> int:
    """Kernels that one call of an optimised module launches; those of a loop's body as often as it is gone through.

    Args:
      text: of the module, as XLA prints it.
    """
    launched, loops, entry = collections.Counter[str](), list[tuple[str, str, int]](), ""
    here = ""
    for line in text.splitlines():
        if header := _COMPUTATION.match(line):
            here = header[2]
            entry = here if header[1] else entry
        elif instruction := _INSTRUCTION.match(line):
            launched[here] += instruction[1] not in _SILENT
            if called := re.search(r"(?:body|to_apply)=%([\w.-]+)", line) if instruction[1] in _SILENT else None:
                trips = re.search(r'known_trip_count":\{"n":"(\d+)"', line)
                loops.append((here, called[1], int(trips[1]) if trips else 1))

    def total(name: str) -> int:
        return launched[name] + sum(times * total(inner) for outer, inner, times in loops if outer == name)

    return total(entry)


def fits(result: Result, memory: int) -> bool:
    """Whether a program compiles and has room in so many bytes."""
    return not result.fault and result.peak <= memory
