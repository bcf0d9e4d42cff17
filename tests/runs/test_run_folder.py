"""What a run's folder tells of its configuration."""

import dataclasses
import shlex

from cxrjax.base.config import ExperimentConfig, command_line
from experiments import _cli


def test_the_command_makes_the_run_anew():
    """The words of the command, parsed as the command line parses them, give the configuration back."""
    values = {
        "data_dir": "a b/c'd|`$(x)`", "seeds": 7, "learning_rate": 0.00125, "momentum": 0.9, "flip": False,
        "floors": True, "split_by": "both", "prevalence": 0.25, "negatives": "17", "external_dir": "--odd",
        "out": "runs/x y",
    }  # fmt: skip
    config = ExperimentConfig("p_vs_nf", "p_vs_nf", **values)
    words = shlex.split(command_line(dataclasses.replace(config, overwrite=True)))
    assert words[:3] == ["python", "-m", "experiments.p_vs_nf"]
    assert _cli.parse(ExperimentConfig("p_vs_nf", "p_vs_nf"), "", words[3:]) == config
    assert command_line(ExperimentConfig("p_vs_np", "p_vs_np")) == "python -m experiments.p_vs_np"
