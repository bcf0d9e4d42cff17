"""A run's folder: what it tells of its configuration, and runs of earlier versions."""

import dataclasses
import json
import shlex

import pytest

from cxrjax.base import InputError
from cxrjax.base.config import ExperimentConfig, command_line
from cxrjax.runs import run_folder
from experiments import _cli
from tests.runs.handmade import RESOLVED


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


def test_a_run_knows_its_data_from_anywhere(tmp_path, monkeypatch):
    """Paths are written absolute; the same run goes on though they are spelled otherwise, and from elsewhere."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    config = ExperimentConfig("p_vs_nf", "p_vs_nf", data_dir="nih", weights="../w", external_dir="./far", out="../run")
    with run_folder.claim(config, RESOLVED) as folder:
        written = json.loads((folder / "config.json").read_text())
    expected = {"data_dir": "here/nih", "weights": "w", "external_dir": "here/far"}
    assert {name: written[name] for name in expected} == {k: str(tmp_path / v) for k, v in expected.items()}
    monkeypatch.chdir(tmp_path)
    respelled = dataclasses.replace(
        config, data_dir="here/../here/nih", weights="./w", external_dir=str(tmp_path / "here" / "far"), out="run"
    )
    assert run_folder.recall(respelled) == RESOLVED
    with run_folder.claim(respelled, RESOLVED):
        pass
    moved = dataclasses.replace(respelled, data_dir="copy", weights="other/w", external_dir="near")
    assert run_folder.recall(moved) == RESOLVED  # hashes tell what lies there
    with run_folder.claim(moved, RESOLVED):
        pass
    with (
        pytest.raises(InputError, match=r"data_sha256 \(was 'd', now 'e'\), data_dir \(was '.*/copy', now '.*/nih'\)"),
        run_folder.claim(dataclasses.replace(moved, data_dir="nih"), dataclasses.replace(RESOLVED, data_sha256="e")),
    ):
        pass
    random = dataclasses.replace(config, data_dir=None, weights="random", out="other")
    with run_folder.claim(random, RESOLVED) as folder:
        written = json.loads((folder / "config.json").read_text())
    assert (written["data_dir"], written["weights"]) == (None, "random")


@pytest.mark.parametrize(
    ("fields", "flag", "now"),
    [
        ({"hold_out_boxes": True}, "--hold_out_boxes", "boxes"),
        ({"split_by": "official"}, "--split_by=official", "official"),
    ],
)
def test_runs_of_flags_that_are_no_more(tmp_path, fields, flag, now):
    """Those that had them are refused with the flag of today, finished or not; the others load."""
    config = ExperimentConfig("p_vs_nf", "p_vs_nf", out=str(tmp_path))
    with run_folder.claim(config, RESOLVED):
        pass
    written = json.loads((tmp_path / "config.json").read_text())
    written["hold_out_boxes"] = False
    (tmp_path / "config.json").write_text(json.dumps(written))
    assert run_folder.recall(config) == RESOLVED
    with run_folder.claim(config, RESOLVED):
        written = json.loads((tmp_path / "config.json").read_text()) | {"hold_out_boxes": False}
    (tmp_path / "config.json").write_text(json.dumps(written | fields))
    with (
        pytest.raises(InputError, match=f"another configuration: {next(iter(fields))}"),
        run_folder.claim(config, RESOLVED),
    ):
        pass
    (tmp_path / "summary.json").write_text("{}")
    with pytest.raises(InputError, match=f"a run made with {flag}, which is --test={now} now"):
        run_folder.read_finished(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(written))
    assert run_folder.read_finished(tmp_path)[0].split_by == "patient"


@pytest.mark.parametrize("finished", [True, False])
def test_runs_of_earlier_versions_are_refused_in_one_line(tmp_path, finished):
    config = ExperimentConfig("p_vs_nf", "p_vs_nf", out=str(tmp_path))
    (tmp_path / "config.json").write_text('{"name": "p_vs_nf", "negative_class": "NF"}')
    (tmp_path / "settled.json").write_text('{"weights_sha256": null}')
    if finished:
        (tmp_path / "summary.json").write_text("{}")
        with pytest.raises(InputError, match=r"an earlier version of cxrjax \(settled\.json\)"):
            run_folder.read_finished(tmp_path)
    message = "finished run" if finished else "earlier version"
    with pytest.raises(InputError, match=message), run_folder.claim(config, RESOLVED):
        pass
    with run_folder.claim(dataclasses.replace(config, overwrite=True), RESOLVED):
        assert not (tmp_path / "settled.json").exists()
