"""Do two finished runs, or any two sets of scores, differ by more than chance?

  python -m experiments.compare runs/a runs/b --html=a_and_b.html
  python -m experiments.compare runs/a other_model.csv
  python -m experiments.compare model_a.csv model_b.csv --data_dir=NIH_FOLDER

Two runs: for accuracy, fp_share, fn_share, sensitivity, specificity (shares) and auroc of the seeds that both have: the
mean of each run, the difference b - a, its 95 % interval, t and p by the corrected resampled t-test (Nadeau & Bengio
2003), since runs share images. Where a seed validated the same images in both runs, DeLong's paired test of AUROC, by
patient, as well: auroc_delong, whose p is twice the median of the seeds'. Lines below the table say how the runs differ
and what that means for the tests. Runs of different questions (P vs NF, P vs NP) or data, or without a common seed, are
refused.

A table of scores (CSV, also .gz, as experiments.evaluate takes it) stands beside a run, whose images, labels and
question count, or beside another table, with labels from --data_dir. On the images that both have: every metric at 0.5,
its difference with its interval by 2,000 draws of patients, and DeLong's test; of many labels for each finding. With
--set=test or external two runs are compared so, too. How many rows fit an image is told.

--html writes two runs as one page, in the language of the first one's report: the answer, every metric, the settings
that differ, and the figures of both side by side. It fetches nothing and can be printed.

The differences of several figures are several tests: choose the one that counts before looking. Takes some seconds;
tables of 14 findings of 22,433 images two minutes.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from cxrjax.base import InputError
from cxrjax.base.flags import ScoresFlags, flag

from . import _cli, _terminal, evaluate


@dataclasses.dataclass(frozen=True)
class CompareConfig(ScoresFlags):
    """The flags of this program, and its arguments."""

    set: str = flag(
        "validation",
        "which scores of a run; test: of the images held out (--test), external: of its second data set",
        choices=("validation", "test", "external"),
    )
    out: str | None = flag(
        None, "CSV file for the table, replaced if there is one; none: it is only printed", path=True
    )
    html: str | None = flag(None, "HTML file for two runs side by side, replaced if there is one", path=True)
    places: tuple[str, ...] = ()


def main(argv: list[str] | None = None) -> None:
    """Runs from the command line."""
    with _cli.one_line_for_mistakes():
        config = _cli.parse(CompareConfig(), __doc__ or "", argv, arguments="places")
        if len(config.places) != 2:
            raise InputError(
                f"two folders of finished runs, or tables of scores, must be given, got {len(config.places)} (see "
                "--help)"
            )
        a, b = (Path(place) for place in config.places)
        tables = [place for place in (a, b) if place.is_file()]
        _refuse(config, tables)
        import pandas as pd

        from cxrjax.analysis import comparison
        from cxrjax.base import files
        from cxrjax.report import comparison_page, rows
        from cxrjax.runs import results, score_sets

        _cli.start()
        if tables or config.set != "validation":
            task = evaluate.asked(config) if len(tables) == 2 else None
            compared = score_sets.compare(a, b, config.set, task, config)
        else:
            compared = {"": comparison.compare(results.read_compared(a), results.read_compared(b))}
        if config.out:
            table = pd.concat(
                [of.metrics.assign(**({"finding": finding} if finding else {})) for finding, of in compared.items()]
            )
            files.write_text(Path(config.out), table.to_csv(index=False, float_format="%.7g"))
        if config.html:
            both, (of_both, *_) = [results.reopen(place) for place in (a, b)], compared.values()
            files.write_text(Path(config.html), comparison_page.html(of_both, both, config.places, config.set))
        show = _terminal.show if config.out or config.html else print  # without them it is all there is
        for finding, of in compared.items():
            show(f"{finding}\n" * bool(finding) + rows.comparison(of, str(a), str(b)))


def _refuse(config: CompareConfig, tables: list[Path]) -> None:
    """What contradicts itself, or would change a run."""
    for name in ("out", "html"):
        if (given := getattr(config, name)) and any(
            Path(given).resolve().is_relative_to(Path(place).resolve()) for place in config.places
        ):
            raise InputError(f"--{name}={given} is inside one of the two, which are never changed")
    if config.html and tables:
        raise InputError(f"--html={config.html} is of two finished runs; {tables[0]} is a table of scores")
    if len(tables) == 2 and not config.data_dir:
        raise InputError(f"--data_dir must be given: it has the labels of the images that {tables[0]} scores")
    labels = [name for name in ("data_dir", "labels", "task", "positive", "negative") if getattr(config, name)]
    if labels and len(tables) < 2:
        raise InputError(f"--{labels[0]} is for two tables of scores; a run has its own labels and question")
    if config.set != "validation" and len(tables) == 2:
        raise InputError(f"--set={config.set} is for a run, but none is given")
    if config.logits and not tables:
        raise InputError("--logits is for a table of scores, but none is given")


if __name__ == "__main__":
    main()
