"""The files of a run with many labels: a table of its findings, a page that leads to the report of each."""

from __future__ import annotations

from pathlib import Path

from cxrjax.analysis.tables import FindingsResults
from cxrjax.base import files


def write(folder: Path, results: FindingsResults) -> None:
    """Writes what concerns all findings; summary.json comes last, its presence says that the run is finished."""
    files.write_json(folder / "environment.json", results.environment)
    for name, table in (("findings", results.table), ("flow", results.flow)):
        files.write_text(folder / f"{name}.csv", table.to_csv(index=False, float_format="%.7g"))
    files.write_json(folder / "summary.json", results.summary)
