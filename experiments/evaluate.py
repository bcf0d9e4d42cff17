"""How good are the scores of any model, on images whose labels a data set's table knows?

  python -m experiments.evaluate --predictions=CSV --data_dir=NIH_FOLDER

The CSV (also .gz) has a column of images and a column of scores from 0 to 1 for each finding (Effusion, prob_Pleural
Thickening, ...), or with --positive and --negative, or --task=p_vs_nf, one that is called score or the like. What was
read as what is told, and how many rows fit an image. Labels come from the table of --data_dir, and for the images that
it names from --labels, whether or not an image is on disk; none is decoded. Into --out go report.html, findings.csv,
summary.json, and of each finding metrics, subgroups, calibration, decisions and errors as CSV files.

A CheXNet's 14 scores of 22,433 NIH images take about a minute: AUROCs with intervals by 2,000 draws of patients.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from cxrjax.base import InputError, tasks
from cxrjax.base.flags import ScoresFlags, flag

from . import _cli, _terminal, train


@dataclasses.dataclass(frozen=True)
class EvaluateConfig(ScoresFlags):
    """The flags of this program."""

    predictions: str | None = flag(None, "CSV file of scores", path=True)
    prevalence: float = flag(0.013, "share of positives for which PPV and NPV are given, too", lower=0, upper=1)
    out: str = flag("runs/evaluate", "folder for the report and its tables, which replace earlier ones", path=True)


def main(argv: list[str] | None = None) -> None:
    """Runs from the command line."""
    with _cli.one_line_for_mistakes():
        config = _cli.parse(EvaluateConfig(), __doc__ or "", argv)
        if not config.predictions or not config.data_dir:
            raise InputError("--predictions and --data_dir must be given (--help lists the flags)")
        path, out = Path(config.predictions), Path(config.out)
        task = asked(config)
        if not path.is_file():
            raise InputError(f"--predictions={path} must be a file")
        _cli.refuse_out(out, {"data_dir": config.data_dir})
        from cxrjax.runs import evaluate

        _cli.start()
        evaluations = evaluate.run(path, config, task, config.prevalence)
        evaluate.write(out, path, config, task, evaluations, config.prevalence)
        table = evaluate.table(task, evaluations)[
            ["finding", "images", "positives", "auroc", "auroc_low", "auroc_high"]
        ]
        _terminal.show(f"{table.to_string(index=False, float_format='%.4f')}\nmean AUROC {table['auroc'].mean():.4f}")
        _terminal.show(f"report: {out / 'report.html'}")


def asked(flags: ScoresFlags) -> tasks.Task:
    """The question that the flags name; without one the 14 findings.

    Raises:
      InputError: see `named` in experiments.train.
    """
    if not flags.task and not flags.positive and not flags.negative:
        return tasks.get("chestxray14")
    return tasks.get(train.named(flags.task, flags.positive, flags.negative))


if __name__ == "__main__":
    main()
