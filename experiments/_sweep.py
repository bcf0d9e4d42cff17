"""What the tables of runs have in common: the estimate first, then row by row, the table written after each."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from cxrjax.base import InputError, tasks

from . import _terminal

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from cxrjax.runs.sweep import KnownRun, Outcome


class Shown(NamedTuple):
    """A table in its forms."""

    csv: str
    markdown: str
    figure: Figure | None  # None where no row is done
    last: str  # a line


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
        raise InputError(f"--rows must be of {','.join(rows)}, got {unknown[0]!r}")
    return tuple(name for name in rows if name in asked)


def reused(folders: str) -> list[KnownRun]:
    """Runs of the flag --reuse, and their arms.

    Raises:
      InputError: if a folder is not that of a finished run.
    """
    from cxrjax.runs import sweep

    return sweep.gather(word for word in map(str.strip, folders.split(",")) if word)


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
    from cxrjax.runs import cost, sweep, sweep_tables

    started = time.monotonic()
    if any(row.status == sweep.WAITING for row in plan):
        speed = cost.measure()
        forecast = sweep.forecast(plan, speed)
    else:
        speed, forecast = None, "every row is finished or cannot be run; nothing is trained"
    outcomes, first = plan, devices.is_first()
    if first:
        _terminal.show(forecast)
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
