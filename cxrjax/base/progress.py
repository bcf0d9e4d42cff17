"""How far long work has come: stages that say what is done, how fast, and how long the rest will take.

    with progress.stage("trunk, bank of 4", len(images), "images") as bar:
        for batch in batches:
            bar.advance(len(batch), loss=0.41)

A library prints nothing: a stage logs a line every half minute and one at its end (level INFO), unless the program has
installed a display of its own.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import TypeAlias

log = logging.getLogger(__name__)

LOG_SECONDS = 30.0
_MEBIBYTE = 2**20


class Stage:
    """Work of a known size: what is done of it, how fast, and how long the rest will take."""

    def __init__(self, name: str, total: float, unit: str) -> None:
        """Begins to count.

        Args:
          name: what is done, for people: `trunk, bank of 4`.
          total: size of the work, at least 0; 0 if it is not known.
          unit: of `total`, in the plural: images, steps, bytes.
        """
        self.name, self.total, self.unit, self.done = name, total, unit, 0.0
        self.figures: dict[str, str] = {}
        self.update: Callable[[], None] = lambda: None  # of the display
        self._first: float | None = None  # done at `_since`
        self._since = self._seen = self.started = time.monotonic()

    def advance(self, amount: float = 1, **figures: float | str) -> None:
        """So much more is done.

        What was done up to the first call, and its time, count for no rate: the call that compiles is among it.

        Args:
          amount: in units of the total.
          **figures: so far, by name (`_` for a blank); a number is shown with three digits.
        """
        self.done, self._seen = self.done + amount, time.monotonic()
        if self._first is None:
            self._first, self._since = self.done, self._seen
        self.figures |= {k.replace("_", " "): v if isinstance(v, str) else f"{v:.3f}" for k, v in figures.items()}
        self.update()

    def skip(self, amount: float) -> None:
        """So much was done before, by an attempt that was interrupted: it counts for no rate."""
        self.done += amount
        self._first = None if self._first is None else self._first + amount
        self.update()

    @contextlib.contextmanager
    def aside(self) -> Iterator[None]:
        """The time of the body, which has stages of its own, does not count for this one."""
        began = time.monotonic()
        yield
        took = time.monotonic() - began
        self.started, self._since, self._seen = self.started + took, self._since + took, self._seen + took

    @property
    def rate(self) -> float | None:
        """Units a second; None before it can be known."""
        if self._first is None or self.done == self._first or self._seen == self._since:
            return None
        return (self.done - self._first) / (self._seen - self._since)

    @property
    def seconds_left(self) -> float | None:
        """At the rate so far; None before it can be known."""
        if self.rate is None or not self.total:
            return None
        return max(0.0, (self.total - self.done) / self.rate - (time.monotonic() - self._seen))

    def amount(self) -> str:
        """`288 of 858 images`; bytes in MiB."""
        size, unit = (_MEBIBYTE, "MiB") if self.unit == "bytes" else (1, self.unit)
        of = f" of {self.total / size:,.0f}" if self.total else ""
        return f"{int(self.done / size + 1e-6):,}{of} {unit}"

    def speed(self) -> str:
        """`13 images/s`; empty before it can be known."""
        if self.rate is None:
            return ""
        rate, unit = (self.rate / _MEBIBYTE, "MiB") if self.unit == "bytes" else (self.rate, self.unit)
        return f"{rate:,.0f} {unit}/s" if rate >= 10 else f"{rate:.2g} {unit}/s"

    def figures_line(self) -> str:
        """`loss 0.412, accuracy 78 %`."""
        return ", ".join(f"{name} {value}" for name, value in self.figures.items())

    def line(self) -> str:
        """Where the work stands, for a log."""
        share = f" ({100 * self.done / self.total:.0f} %)" if self.total else ""
        left = "" if self.seconds_left is None else f"{duration(self.seconds_left)} left"
        parts = [f"{self.name}: {self.amount()}{share}", self.speed(), left, self.figures_line()]
        return ", ".join(filter(None, parts))

    def last_line(self) -> str:
        """What was done in what time, for a log; without a rate, which would leave out the first call."""
        done = f"{self.name}: {self.amount()} in {duration(time.monotonic() - self.started)}"
        return ", ".join(filter(None, [done, self.figures_line()]))


Display: TypeAlias = Callable[[Stage], AbstractContextManager[Callable[[], None]]]
"""Shows a stage while its context lasts; what the context gives is called whenever the stage has advanced."""


@contextlib.contextmanager
def lines(stage: Stage) -> Iterator[Callable[[], None]]:
    """The display of a program that has none: a line of the log every half minute, and one at the end.

    A thread sees to it that a line comes also while one call computes for longer.
    """
    logged, one_at_a_time, ended = time.monotonic(), threading.Lock(), threading.Event()

    def update() -> None:
        nonlocal logged
        with one_at_a_time:
            if (now := time.monotonic()) - logged >= LOG_SECONDS and stage.done != stage.total:
                logged = now
                log.info("%s", stage.line())

    def watch() -> None:
        while not ended.wait(LOG_SECONDS / 10):
            update()

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield update
    finally:
        ended.set()
        watcher.join()
    log.info("%s", stage.last_line())


_displays: list[Display] = [lines]  # the last one shows


@contextlib.contextmanager
def shown_by(display: Display) -> Iterator[None]:
    """Stages that begin in the body are shown by this display."""
    _displays.append(display)
    try:
        yield
    finally:
        _displays.remove(display)


@contextlib.contextmanager
def stage(name: str, total: float, unit: str) -> Iterator[Stage]:
    """Work whose progress is shown while the body does it; arguments as of `Stage`."""
    bar = Stage(name, total, unit)
    with _displays[-1](bar) as bar.update:
        yield bar


def duration(seconds: float) -> str:
    """For people, coarser the longer it is.

    >>> duration(0.4), duration(42), duration(130), duration(5400)
    ('0 s', '42 s', '2 min', '1 h 30 min')
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
