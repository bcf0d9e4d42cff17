"""The command `cxrjax`, and how programs name each other."""

import subprocess
import sys

import pytest

from cxrjax.base.config import ExperimentConfig, command_line, install_command, program
from experiments import __main__ as command
from experiments import _cli
from tests.conftest import ROOT


def test_the_command_lists_every_program_with_its_question(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["cxrjax", "--help"])
    command.main()
    lines = " ".join(capsys.readouterr().out.split())
    files = {file.stem for file in (ROOT / "experiments").glob("[!_]*.py")}
    assert set(command.questions()) == files and {"p_vs_nf", "convert_weights", "predict"} <= files
    for name, question in command.questions().items():
        assert question and f"{name} {question}" in lines


def test_the_command_runs_a_program_and_refuses_an_unknown_one(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["cxrjax", "compare", "--what=is_this"])
    with pytest.raises(SystemExit) as stopped:
        command.main()
    assert stopped.value.code == 2 and "no flag --what " in capsys.readouterr().err
    for name, near in (("_cli", ""), ("p_vs_nff", "; did you mean p_vs_nf?")):
        with pytest.raises(SystemExit) as stopped:
            command.main([name])
        line = f"error: no program is called '{name}'{near} (`cxrjax --help` lists them)\n"
        assert stopped.value.code == 2 and capsys.readouterr().err == line


def test_weights_convert_is_the_same_program(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "weights.convert", "--source=caffe", f"--out={tmp_path / 'new'}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2 and "--file" in done.stderr


def test_programs_are_named_as_they_start_where_the_user_is(monkeypatch, tmp_path, capsys):
    """By module in the checkout's folder, by the command `cxrjax` elsewhere, in messages as in --help."""
    config = ExperimentConfig("p_vs_nf", "p_vs_nf", seeds=3)
    description = "python -m experiments.prepare --source=A, python -m weights.convert; a store by experiments.prepare"
    shown = {}
    for folder in (ROOT, tmp_path):
        monkeypatch.chdir(folder)
        with pytest.raises(SystemExit):
            _cli.parse(config, description, ["--help"])
        commands = command_line(config), program("convert_weights"), install_command("tf")
        shown[folder] = capsys.readouterr().out.splitlines()[0], *commands
    assert shown[ROOT] == (
        description,
        "python -m experiments.p_vs_nf --seeds=3",
        "python -m weights.convert",
        'pip install -e ".[tf]"',
    )
    assert shown[tmp_path] == (
        "cxrjax prepare --source=A, cxrjax convert_weights; a store by cxrjax prepare",
        "cxrjax p_vs_nf --seeds=3",
        "cxrjax convert_weights",
        'pip install "cxrjax[tf]"',
    )
