"""Do two finished runs differ by more than chance?

  python -m experiments.compare runs/a runs/b

For accuracy, fp_share, fn_share, sensitivity, specificity (shares) and auroc of the seeds that both runs have: the mean
of each run, the difference b - a, its 95 % interval, t and p by the corrected resampled t-test (Nadeau & Bengio 2003),
since runs share images. Where a seed validated the same images in both runs, DeLong's paired test of AUROC, by patient,
as well: auroc_delong, whose p is twice the median of the seeds'. Lines below the table say how the runs differ and what
that means for the tests. Runs of different questions (P vs NF, P vs NP) or data, or without a common seed, are refused.
The differences of several figures are several tests: choose the one that counts before looking. Takes some seconds.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from cxrjax.base import InputError
from cxrjax.base.flags import flag

from . import _cli, _terminal


@dataclasses.dataclass(frozen=True)
class CompareConfig:
    """The flags of this program, and its arguments."""

    out: str | None = flag(
        None, "CSV file for the table, replaced if there is one; none: it is only printed", path=True
    )
    runs: tuple[str, ...] = ()


def main(argv: list[str] | None = None) -> None:
    """Runs from the command line."""
    with _cli.one_line_for_mistakes():
        config = _cli.parse(CompareConfig(), __doc__ or "", argv, arguments="runs")
        if len(config.runs) != 2:
            raise InputError(f"two folders of finished runs must be given, got {len(config.runs)} (--help tells more)")
        from cxrjax.analysis import comparison
        from cxrjax.base import devices, files
        from cxrjax.data.load import cache_dir
        from cxrjax.report import rows
        from cxrjax.runs import results

        a, b = (Path(run) for run in config.runs)
        if config.out and any(Path(config.out).resolve().is_relative_to(run.resolve()) for run in (a, b)):
            raise InputError(f"--out={config.out} lies in one of the runs, whose files are never changed")
        devices.start(cache_dir() / "programs")
        compared = comparison.compare(results.read_compared(a), results.read_compared(b))
        if config.out:
            files.write_text(Path(config.out), compared.metrics.to_csv(index=False, float_format="%.7g"))
        show = _terminal.show if config.out else print  # without --out it is all there is
        show(rows.comparison(compared, str(a), str(b)))


if __name__ == "__main__":
    main()
