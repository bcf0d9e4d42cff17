"""What a program shows while it works: a live bar a stage on a terminal, plain lines elsewhere, nothing if quiet."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from cxrjax.base import progress

from . import _terminal

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress
    from rich.text import Text

    from cxrjax.report.terminal import Table

_UPDATES = 4  # of the bars, a second
_WIDE = 160  # columns of a table in a file


_running: list[contextlib.ExitStack] = []  # what the programs that run have begun to show


@contextlib.contextmanager
def screen() -> Iterator[None]:
    """A program runs: at the end of the body, however it ends, the terminal and the log are as they were."""
    with contextlib.ExitStack() as stack:
        _running.append(stack)
        stack.callback(_running.remove, stack)
        yield


def show(quiet: bool) -> None:
    """From now on the program shows messages and progress; if quiet, errors alone.

    Bars only where standard error is a terminal that can move its cursor; `rich` is imported there alone.
    """
    if not _running:  # flags are read by no program
        return
    logger, stack = logging.getLogger("cxrjax"), _running[-1]
    stack.callback(_restore, logger, logger.handlers, logger.level, logger.propagate)
    logger.handlers = [_Messages()]
    logger.setLevel(logging.ERROR if quiet else logging.INFO)
    logger.propagate = False  # absl puts a handler of its own on the root logger
    if quiet or not sys.stderr.isatty():
        return
    from rich.console import Console

    console = Console(stderr=True)
    if console.is_interactive:
        bars = Bars(console)
        stack.callback(bars.stop)
        stack.enter_context(progress.shown_by(bars))


def _restore(logger: logging.Logger, handlers: list[logging.Handler], level: int, propagate: bool) -> None:
    logger.handlers, logger.level, logger.propagate = handlers, level, propagate


class _Messages(logging.Handler):
    """Plain lines with the time of day, above the bars if there are any."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))

    def emit(self, record: logging.LogRecord) -> None:
        """Writes a message."""
        _terminal.show(self.format(record), sys.stderr)  # as it is now: bars stand in for it


class Bars:
    """A live bar for each stage that is going on; that of an outermost stage stays on the screen."""

    def __init__(self, console: Console) -> None:
        """Bars on a console."""
        self._console = console
        self._live: Progress | None = None
        self._open = 0

    @contextlib.contextmanager
    def __call__(self, stage: progress.Stage) -> Iterator[Callable[[], None]]:
        """See `cxrjax.base.progress.Display`."""
        live = self._live = self._live or self._started()
        task = live.add_task(stage.name, total=stage.total or None, stage=stage)
        self._open += 1
        try:
            yield lambda: live.update(task, completed=stage.done)
        finally:
            self._open -= 1
            if self._open:
                live.remove_task(task)
            else:
                self.stop()

    def stop(self) -> None:
        """Leaves the terminal as it was, below the bars."""
        if self._live:
            self._live.stop()
        self._live, self._open = None, 0

    def _started(self) -> Progress:
        from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskProgressColumn, TextColumn
        from rich.table import Column

        class Rest(ProgressColumn):
            """Rate, time left and figures of the stage."""

            def render(self, task: Task) -> Text:
                from rich.text import Text

                stage: progress.Stage = task.fields["stage"]
                left = stage.seconds_left
                told = [stage.speed(), "" if left is None else f"{progress.duration(left)} left", stage.figures_line()]
                return Text(", ".join(filter(None, told)), no_wrap=True, overflow="ellipsis")

        live = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=20),
            TaskProgressColumn(),
            Rest(table_column=Column(ratio=1, no_wrap=True)),
            console=self._console,
            refresh_per_second=_UPDATES,
            redirect_stdout=sys.stdout.isatty(),  # what goes to a file is no message
            expand=True,
        )
        live.start()
        return live


def result(table: Table) -> None:
    """Prints a table on standard output: on a terminal as wide as that is, elsewhere as plain text."""
    from rich import box
    from rich.console import Console
    from rich.table import Table as Lines

    is_terminal = sys.stdout.isatty()
    console = Console(force_terminal=is_terminal, width=None if is_terminal else _WIDE)
    lines = Lines(
        title=table.title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0)
    )
    for place, name in enumerate(table.columns):
        lines.add_column(name, justify="right" if place else "left", header_style="default", no_wrap=not place)
    for row in table.rows:
        lines.add_row(*row)
    with console.capture() as captured:
        console.print(lines, markup=False, highlight=False)
    shown = [line.rstrip() for line in captured.get().rstrip().splitlines()]
    _terminal.show("\n".join([*shown, *table.notes]))
