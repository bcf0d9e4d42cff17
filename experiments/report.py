"""The report of a finished run once more: in another language, for another threshold or prevalence.

  python -m experiments.report --run=runs/p_vs_nf --lang=es --wanted_sensitivity=0.95

Reads the tables of the run's folder, analyses them anew and replaces its figures and pages; nothing is trained, and
predictions, checkpoints and histories stay. What is not given stays as the run had it. Some ten seconds.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from cxrjax.base import InputError
from cxrjax.base.config import ExperimentConfig, finding_path
from cxrjax.base.flags import flag

from . import _cli, _display, _terminal

_AS_BEFORE = "; none: as the run had it"
_TEXTS = {field.name: field.metadata.get("help") for field in dataclasses.fields(ExperimentConfig)}


@dataclasses.dataclass(frozen=True)
class ReportConfig:
    """The flags of this program."""

    run: str | None = flag(None, "folder of a finished run", path=True)
    lang: str | None = flag(None, f"{_TEXTS['lang']}{_AS_BEFORE}", choices=("en", "es"))
    wanted_sensitivity: float | None = flag(
        None, f"{_TEXTS['wanted_sensitivity']}{_AS_BEFORE}", kind=float, lower=0.01, upper=1
    )
    prevalence: float | None = flag(None, f"{_TEXTS['prevalence']}{_AS_BEFORE}", kind=float, lower=0, upper=1)


def main(argv: list[str] | None = None) -> None:
    """Runs from the command line."""
    with _cli.one_line_for_mistakes():
        config = _cli.parse(ReportConfig(), __doc__ or "", argv)
        if not config.run:
            raise InputError("--run must be given: the folder of a finished run")
        from cxrjax.analysis.tables import FindingsResults
        from cxrjax.report import report, terminal
        from cxrjax.runs import findings

        _cli.start()
        folder = Path(config.run)
        given = {name: value for name, value in dataclasses.asdict(config).items() if name != "run"}
        reopened = findings.reopen_any(folder, **{name: value for name, value in given.items() if value is not None})
        for of_finding in reopened.findings if isinstance(reopened, FindingsResults) else ():
            report.write(finding_path(folder, of_finding.config.finding), of_finding)
        report.write(folder, reopened)
        _display.result(terminal.result(reopened.summary))
        _terminal.show(f"{terminal.answer(reopened)}\n\nreport: {folder / 'report.html'}")


if __name__ == "__main__":
    main()
