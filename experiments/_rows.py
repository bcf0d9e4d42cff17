"""Tables of runs: rows are changes of one configuration. A new table is a header and a list of rows: see `networks.py`.

The estimate first, then row by row, the table written after each.
"""

from __future__ import annotations

import dataclasses
import functools
import io
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeVar

from cxrjax.base import InputError, did_you_mean, tasks
from cxrjax.base.config import ExperimentConfig, experiment_of
from cxrjax.base.flags import DATA, OUTPUT, TRAINING, DryRunFlags, SizeFlags, SourceFlags, flag

from . import _cli, _terminal

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from cxrjax.base.tasks import Task
    from cxrjax.runs.sweep import Outcome, Row, Source


@dataclasses.dataclass(frozen=True)
class RowsConfig(SizeFlags, DryRunFlags, SourceFlags):
    """The flags that every table of runs has."""

    task: str = flag("p_vs_nf", "question of every row, of two classes, as experiments.train takes it")
    data_dir: str | None = flag(
        None, "data as experiments.p_vs_nf takes them; none: the embedded phantom", path=True, group=DATA
    )
    seeds: int = flag(10, "runs of each row", lower=1, group=TRAINING)
    epochs: int = flag(30, "passes over the training images", lower=1, group=TRAINING)
    augment_bank: int = flag(
        4, "0: a fresh augmentation at every use; K: each image has K, computed once", lower=0, group=TRAINING
    )
    rows: str = flag("", "names of some rows, comma-separated; none: all. Others that are finished are shown, too")
    reuse: str = flag("", "folders of finished runs, comma-separated, that may stand for rows", path=",")
    out: str = flag("", "folder for the table, and one folder a row below it", path=True, group=OUTPUT)


Config = TypeVar("Config", bound=RowsConfig)


class Shown(NamedTuple):
    """A table in its forms."""

    csv: str
    markdown: str
    figure: Figure | None  # None where no row is done
    last: str  # a line


class Table(Protocol):
    """Rows, and how they are shown; `_run_table.RunTable` is the usual one."""

    @property
    def rows(self) -> Sequence[Row]:
        """In the order in which they are run."""
        ...

    def show(self, task: Task, outcomes: Sequence[Outcome], minutes: float) -> Shown:
        """State of the rows, and minutes since the start -> the table."""
        ...


def main(
    name: str,
    config: Config,
    description: str,
    argv: list[str] | None,
    table_of: Callable[[Config, ExperimentConfig, Source], Table],
) -> None:
    """Runs a table from the command line and exits: 0, or 2 after a mistake of the user's or where a row failed.

    Args:
      name: of the table's files.
      config: flags with their defaults.
      description: what --help shows above the flags.
      argv: arguments without the program's name; None: the process's.
      table_of: flags, the experiment that they ask for, and data and weights -> the table.
    """
    with _cli.one_line_for_mistakes("; the same command continues"):
        flags = _cli.parse(config, description, argv)
        task = binary(flags.task)
        from cxrjax.base import devices
        from cxrjax.runs import cost, forecast, sweep

        reuse = sweep.gather(word for word in map(str.strip, flags.reuse.split(",")) if word)
        _cli.start(keep=not flags.dry_run)
        source = sweep.Source(make=not flags.dry_run)
        table = table_of(flags, experiment_of(flags), source)
        chosen = choose(flags.rows, [row.name for row in table.rows])
        planned = sweep.plan_rows(table.rows, source, reuse)
        plan = [row for row in planned if row.row.name in chosen or row.status == sweep.DONE]
        if flags.dry_run:
            with devices.programs_not_kept():
                _cli.show_forecast(forecast.of_table(plan, source, cost.measure()))
            return
        del source
        run(plan, make_folder(flags.out), name, functools.partial(table.show, task))


def binary(name: str) -> tasks.Task:
    """The task of two classes of this name.

    Raises:
      InputError: if there is none, or it has many labels.
    """
    task = tasks.get(name)
    if task.is_multilabel:
        raise InputError(f"--task={name} has many labels; this table is of one question: --task='FINDING vs rest'")
    return task


def choose(names: str, rows: Sequence[str]) -> tuple[str, ...]:
    """The rows that --rows names, comma-separated, in the order of the table; all if it is empty.

    Raises:
      InputError: if a name is unknown.
    """
    asked = {name.strip() for name in names.split(",") if name.strip()} or set(rows)
    if unknown := sorted(asked - set(rows)):
        raise InputError(f"--rows must be of {','.join(rows)}, got {unknown[0]!r}{did_you_mean(unknown[0], rows)}")
    return tuple(name for name in rows if name in asked)


def make_folder(out: str) -> Path:
    """The folder for the table.

    Raises:
      InputError: if it cannot be one.
    """
    try:
        Path(out).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--out={out} must be a folder, or be made one: {error.strerror}") from error
    return Path(out)


def run(plan: list[Outcome], folder: Path, name: str, show: Callable[[list[Outcome], float], Shown]) -> None:
    """Runs what is left; writes NAME.csv, NAME.md and NAME.png before the first row and after each; prints the table.

    Args:
      plan: the rows.
      folder: for the table.
      name: of its files.
      show: state of all rows, and minutes since the start -> the table.

    Raises:
      InputError: at the end, if a row failed.
    """
    from cxrjax.base import devices
    from cxrjax.runs import cost, forecast, sweep, sweep_tables

    started = time.monotonic()
    if any(row.status == sweep.WAITING for row in plan):
        speed = cost.measure()
        first_lines = "\n".join(f"{name:16s} {text}" for name, text in forecast.rows(plan, speed))
    else:
        speed, first_lines = None, "every row is finished or cannot be run; nothing is trained"
    outcomes, first = plan, devices.is_first()
    if first:
        _terminal.show(first_lines)
        _write(folder, name, show(outcomes, 0.0))
    for outcomes in sweep.run(plan, speed) if speed else ():
        if first:
            _write(folder, name, show(outcomes, (time.monotonic() - started) / 60))
    if first:
        shown = show(outcomes, (time.monotonic() - started) / 60)
        _terminal.show(f"\n{shown.markdown}\n{folder / name}.md, .csv, .png\n{shown.last}")
    outcomes, _ = sweep_tables.read_all(outcomes)
    failed = [f"{outcome.row.name}: {outcome.reason}" for outcome in outcomes if outcome.status == sweep.FAILED]
    if failed:
        raise InputError(f"{len(failed)} of {len(outcomes)} rows failed: {'; '.join(failed)}")


def _write(folder: Path, name: str, shown: Shown) -> None:
    from cxrjax.base import files

    files.write_text(folder / f"{name}.csv", shown.csv)
    files.write_text(folder / f"{name}.md", shown.markdown)
    if shown.figure:
        picture = io.BytesIO()
        shown.figure.savefig(picture, format="png")
        files.write_bytes(folder / f"{name}.png", picture.getvalue())
