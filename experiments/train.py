"""Any question of chest radiographs, by any network and recipe.

  python -m experiments.train --positive=Effusion --negative="No Finding" --data_dir=NIH_FOLDER
  python -m experiments.train --task=chestxray14 --model=resnet50 --data_dir=NIH_FOLDER

Images with the positive finding are told from those of the negative one: another finding, `No Finding`, or `rest`, all
images without the positive finding. As many negatives are drawn as there are positives, anew for each run. Everything
else is as in experiments.p_vs_nf, which is this program with --task=p_vs_nf.
"""

from __future__ import annotations

import dataclasses

from cxrjax.base import InputError, tasks
from cxrjax.base.config import ANY, ExperimentConfig
from cxrjax.base.flags import flag

from . import _cli


@dataclasses.dataclass(frozen=True)
class TrainConfig(ExperimentConfig):
    """The flags of this program: those of an experiment, and its question."""

    task: str = flag("", f"the question: {', '.join(tasks.TASKS)}; none: that of --positive and --negative")
    positive: str = flag("", "finding to recognise, spelled as in the labels: Effusion, Pleural_Thickening")
    negative: str = flag(
        "", "class to tell it from: a finding, No Finding, or rest (the default): all images without the finding"
    )


def main(argv: list[str] | None = None) -> None:
    """Runs from the command line."""
    _cli.main(TrainConfig(name=ANY), __doc__ or "", argv, experiment)


def experiment(flags: TrainConfig) -> ExperimentConfig:
    """The experiment that the flags ask for.

    Raises:
      InputError: if they name no question, or two.
    """
    task = named(flags.task, flags.positive, flags.negative)
    tasks.get(task)
    names = [field.name for field in dataclasses.fields(ExperimentConfig) if field.name != "task"]
    return ExperimentConfig(task=task, **{name: getattr(flags, name) for name in names})


def named(task: str, positive: str, negative: str) -> str:
    """Name of the task that three flags ask for.

    Raises:
      InputError: if they name no question, or two.
    """
    if task and (positive or negative):
        raise InputError(f"--task={task} and --positive or --negative are two questions; give one of them")
    if not task and not positive:
        raise InputError("--task, or --positive and --negative must be given (--help lists the flags)")
    return task or f"{_spelled(positive)} vs {_spelled(negative or tasks.REST)}"


def _spelled(finding: str) -> str:
    """As labels spell it, whatever its case and synonym; what is not known may be a finding of the data."""
    from cxrjax.data.phrases import Vocabulary

    return finding if finding == tasks.REST else Vocabulary().finding(finding) or finding


if __name__ == "__main__":
    main()
