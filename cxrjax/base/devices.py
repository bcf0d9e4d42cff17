"""Devices as a mesh with axes `seed` and `data`, one process or several; on one device a mesh of one.

Seeds are independent, so the axis `seed` costs no communication; over `data` the gradients of a batch are summed.
"""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import os
import re
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar, cast

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from cxrjax.base import InputError

F = TypeVar("F", bound=Callable[..., Any])

SEED, DATA = "seed", "data"
log = logging.getLogger(__name__)

_PROGRAM_FAULT = re.compile(
    r"Error \w+ persistent compilation cache entry for '(?P<program>[^'-]+).*?': "
    r"\w+: (?:\[Errno \d+\] )?(?P<reason>[^:]+)"
)
_PROCESS_VARIABLES = ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID")


def start(cache: Path | None) -> None:
    """Before the first computation: joins the other processes, if there are any, and keeps compiled programs.

    Args:
      cache: folder of the compiled programs; JAX_COMPILATION_CACHE_DIR, if set, is used instead. None: none.

    Raises:
      InputError: if only some of JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID are set, or one of
        the last two is no number.
    """
    given = {name: os.environ[name] for name in _PROCESS_VARIABLES if os.environ.get(name)}
    if given:
        missing = [name for name in _PROCESS_VARIABLES if name not in given]
        if missing:
            raise InputError(f"{', '.join(given)} set without {', '.join(missing)}; several processes need all three")
        address, *numbers = (given[name] for name in _PROCESS_VARIABLES)
        for name, number in zip(_PROCESS_VARIABLES[1:], numbers, strict=True):
            if not number.isdigit():
                raise InputError(f"{name} must be a whole number, got {number!r}")
        # Passed on by hand: JAX reads the address alone from the environment.
        jax.distributed.initialize(address, int(numbers[0]), int(numbers[1]))
    if cache and not jax.config.values["jax_compilation_cache_dir"]:
        jax.config.update("jax_compilation_cache_dir", str(cache))  # type: ignore[no-untyped-call]
        # A run has some 200 small programs, too: each takes 20 to 50 ms to compile, and a few to read.
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)  # type: ignore[no-untyped-call]
        _mend_programs(cache)


@contextlib.contextmanager
def programs_not_kept() -> Iterator[None]:
    """In the body no compiled program is read from a disk or written to one."""
    before = jax.config.values["jax_enable_compilation_cache"]
    jax.config.update("jax_enable_compilation_cache", False)  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        jax.config.update("jax_enable_compilation_cache", before)  # type: ignore[no-untyped-call]


def _mend_programs(cache: Path) -> None:
    """Tells once that compiled programs cannot be kept, in the place of JAX's warning for each of them.

    A program that a full disk cut short is removed, or JAX would stumble over it for ever: it writes none anew.
    """
    usual, reasons = warnings.showwarning, set[str]()

    def show(message: Warning | str, *rest: Any, **keywords: Any) -> None:
        fault = _PROGRAM_FAULT.match(str(message))
        if not fault:
            usual(message, *rest, **keywords)
            return
        with contextlib.suppress(OSError):
            for file in cache.glob(f"{fault['program']}-*-cache"):
                file.unlink()
        if fault["reason"] not in reasons:
            reasons.add(fault["reason"])
            log.warning("%s: compiled programs cannot be kept or read (%s); going on without", cache, fault["reason"])

    warnings.filterwarnings("always", _PROGRAM_FAULT.pattern)  # one for each, whatever its text
    warnings.showwarning = show


def is_first() -> bool:
    """True in the one process that writes a run's files."""
    return jax.process_index() == 0


def wait_for_all(what: str) -> None:
    """Returns when every process has come to the same place, told by its name."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(what)


def broadcast_flag(flag: bool) -> bool:
    """The first process's flag, in all of them: what depends on a clock must not part them."""
    if jax.process_count() == 1:
        return flag
    return bool(multihost_utils.broadcast_one_to_all(np.array(flag)))


def broadcast_json(value: dict[str, Any]) -> dict[str, Any]:
    """The first process's value, in all of them.

    Args:
      value: what JSON can hold, of any size; an array that is broadcast has one size everywhere, so that goes ahead.
    """
    if jax.process_count() == 1:
        return value
    text = json.dumps(value).encode()
    size = int(multihost_utils.broadcast_one_to_all(np.array(len(text))))
    padded_text = np.frombuffer(text.ljust(size)[:size], np.uint8)
    return dict(json.loads(np.asarray(multihost_utils.broadcast_one_to_all(padded_text)).tobytes()))


@contextlib.contextmanager
def main_process_first() -> Iterator[None]:
    """The body runs in the first process, and in the others when that has ended: for files that all share.

    Raises:
      InputError: in the other processes, if the first one's body raised.
    """
    if not is_first() and not broadcast_flag(True):
        raise InputError("the first process stopped; its message says why")
    try:
        yield
    except BaseException:
        if is_first():
            broadcast_flag(False)
        raise
    if is_first():
        broadcast_flag(True)


def mesh(seeds: int, batch_size: int) -> Mesh:
    """All devices of all processes, split so that as few as possible idle.

    The axis `data` must divide the batch; of the splits that pad the seeds least, the one with most devices on `seed`
    is taken.
    """
    devices = np.array(jax.devices())
    count = len(devices)
    fitting = [n for n in range(1, count + 1) if count % n == 0 and batch_size % (count // n) == 0]
    on_seed = min(fitting, key=lambda n: (-(-seeds // n) * n, -n))
    return Mesh(devices.reshape(on_seed, count // on_seed), (SEED, DATA))


def padded(seeds: int, mesh: Mesh) -> int:
    """Number of seeds with the masked ones that fill the axis `seed`."""
    size: int = mesh.shape[SEED]
    return -(-seeds // size) * size


def put(mesh: Mesh, array: Any, *axes: Any) -> jax.Array:
    """An array over the mesh; `axes` name the mesh axes of its leading axes, as in PartitionSpec.

    Every process gives the whole array and keeps its devices' part.
    """
    sharding = NamedSharding(mesh, PartitionSpec(*axes))  # type: ignore[no-untyped-call]
    if jax.process_count() == 1:
        on_device: jax.Array = jax.device_put(array, sharding)
        return on_device
    whole = np.asarray(array)
    return jax.make_array_from_callback(whole.shape, sharding, lambda part: whole[part])


def fetch(tree: Any) -> Any:
    """A tree of arrays over the mesh as whole NumPy arrays, in every process."""
    if jax.process_count() == 1:
        return jax.tree.map(np.asarray, tree)
    return jax.tree.map(lambda x: multihost_utils.process_allgather(x, tiled=True), tree)


@contextlib.contextmanager
def precision(name: str) -> Iterator[None]:
    """Inside float32 products and convolutions are `float32`, whatever the device has; `default`: as JAX is set."""
    with jax.default_matmul_precision(name) if name != "default" else contextlib.nullcontext():
        yield


def float32_products() -> str:
    """How float32 products and convolutions are computed here: `float32`, or `TF32`, factors rounded to 10 bits."""
    chosen = jax.config.values["jax_default_matmul_precision"] or "default"
    if jax.default_backend() == "cpu" or chosen in ("float32", "highest"):
        return "float32"
    return "TF32" if chosen in ("default", "tensorfloat32", "high") else str(chosen)


@functools.cache
def convolution_options(training: bool = False) -> dict[str, str]:
    """Compiler options, for `jax.jit`, of programs whose time goes into convolutions.

    On CPU XLA of jaxlib 0.10 hands them to YNNPACK unless told not to; its own are faster. AlexNet's trunk, 64 images,
    2 CPU cores: 645 ms with YNNPACK, 485 without (PyTorch 463). Dense layers' gradients are faster with it: fc6's with
    respect to its input, one thread, 1233 ms without, 152 with; so where a network is `training` products are left
    to it.
    """
    options = {"xla_cpu_experimental_ynn_fusion_type": "LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT" if training else ""}
    if jax.default_backend() != "cpu":
        return {}
    try:
        jax.jit(lambda: 0, compiler_options=options)()
    except jax.errors.JaxRuntimeError:  # a jaxlib that does not know the option
        return {}
    return options


def jit_convolutions(*static: int) -> Callable[[F], F]:
    """Decorates with `jax.jit`, arguments `static` being static, with the `convolution_options` of the first call.

    The result's `lower` is that of `jax.jit`, to look at the program.
    """

    def decorate(function: F) -> F:
        @functools.cache
        def compiled() -> Any:
            return jax.jit(function, static_argnums=static, compiler_options=convolution_options())

        called: Any = functools.wraps(function)(lambda *args: compiled()(*args))
        called.lower = lambda *args: compiled().lower(*args)
        return cast(F, called)

    return decorate


def memory() -> int:
    """Bytes of one device's memory: what JAX may use of an accelerator's; on CPU the machine's or container's."""
    if jax.default_backend() != "cpu":
        stats = jax.local_devices()[0].memory_stats() or {}
        return int(stats.get("bytes_limit", 8 * 10**9))  # a small GPU's, where the driver does not tell
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = Path("/sys/fs/cgroup/memory.max")
    text = limit.read_text(encoding="utf-8").strip() if limit.is_file() else "max"
    return min(total, int(text)) if text.isdigit() else total
