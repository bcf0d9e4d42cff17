"""Timing works side by side: first call apart, warm-up, then one repeat of each in turn, the order alternating."""

from __future__ import annotations

import importlib.util
import logging
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from cxrjax.base import InputError
from cxrjax.base.config import install_command

log = logging.getLogger("cxrjax.benchmark")


def make_folder(out: str) -> Path:
    """The folder of a benchmark's results.

    Raises:
      InputError: if it cannot be one.
    """
    try:
        Path(out).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--out={out} cannot be made a folder: {error.strerror}") from error
    return Path(out)


def prepare_environment(compare: str) -> None:
    """Lets two frameworks share a machine; must come before either is imported.

    JAX would take three quarters of a GPU's memory for itself. OpenMP's threads, which PyTorch's CPU kernels use,
    may spin on for a while after each parallel region and take the cores from XLA's threads: with the policy ACTIVE
    head steps of both sides took 1.4 times as long as with PASSIVE (one run each, 2 busy CPU cores).
    """
    if compare == "none":
        return
    if importlib.util.find_spec("torch") is None:
        raise InputError(f"--compare=torch: PyTorch is not installed; run `{install_command('torch')}`")
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("KMP_BLOCKTIME", "0")


class Work(NamedTuple):
    """Something to time: `steps` steps a call."""

    run: Callable[[], Any]  # does it once and returns what is to be waited for
    wait: Callable[[Any], Any]  # returns when that is computed
    steps: int


class Timing(NamedTuple):
    """What one work took."""

    first_s: float  # first call: tracing, compilation and one run
    steps: int  # a call
    step_s: tuple[float, ...]  # seconds a step, one number a repeat, after warm-up

    @property
    def median_s(self) -> float:
        """Median seconds a step."""
        return statistics.median(self.step_s)

    @property
    def compile_s(self) -> float:
        """What the first call took beyond a usual one."""
        return max(0.0, self.first_s - self.median_s * self.steps)


def say(text: str) -> None:
    """A line of progress on standard error."""
    log.info("%s", text)


Clock: TypeAlias = Callable[[], float]
"""Seconds: `time.perf_counter`, or `time.process_time`, which other programs on the same cores do not lengthen."""


def clock(work: Work, now: Clock = time.perf_counter) -> float:
    """Seconds from the call to the moment its results are there."""
    start = now()
    work.wait(work.run())
    return now() - start


def interleave(works: dict[str, Work], warmup: int, repeats: int, now: Clock = time.perf_counter) -> dict[str, Timing]:
    """Times works in turn, so that a drift of the machine's speed meets all of them alike.

    Args:
      works: by name.
      warmup: calls after the first one that are not counted.
      repeats: calls that are; the order of the works is turned round from one to the next.
      now: what seconds are read from.
    """
    first = {name: clock(work, now) for name, work in works.items()}
    for work in works.values():
        for _ in range(warmup):
            clock(work)
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for repeat in range(repeats):
        for name in list(works) if repeat % 2 == 0 else reversed(list(works)):
            seconds[name].append(clock(works[name], now) / works[name].steps)
    return {name: Timing(first[name], work.steps, tuple(seconds[name])) for name, work in works.items()}


class Ratio(NamedTuple):
    """How many times as long the other takes."""

    of_medians: float
    median_of_repeats: float  # of the ratios within each repeat, which drift does not touch


def ratio(other: Timing, own: Timing) -> Ratio:
    """Above 1: `own` is the faster one."""
    each = [a / b for a, b in zip(other.step_s, own.step_s, strict=True)]
    return Ratio(other.median_s / own.median_s, statistics.median(each))
