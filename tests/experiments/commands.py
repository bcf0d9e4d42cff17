"""Programs called in this process, as `cxrjax PROGRAM --flag=value` calls them."""

import functools

from cxrjax.runs import cost, experiment
from experiments import __main__ as command
from tests.runs.handmade import fake_run


def call(program, *argv):
    """Exit status of a program; 0 if it returns."""
    try:
        command.main([program, *map(str, argv)])
    except SystemExit as stop:
        return stop.code
    return 0


def mistake(capsys, program, *argv):
    """The one line that a program says of a mistake; its exit status is 2, and it prints nothing else."""
    capsys.readouterr()
    assert call(program, *argv) == 2
    output = capsys.readouterr()
    error = output.err.strip().splitlines()[-1]
    assert error.startswith("error: ") and "Traceback" not in output.err
    assert not output.out
    return error


def small_table(program, store, out, monkeypatch):
    """`call` of a table of runs on a small store and random weights, with made-up training."""
    monkeypatch.setattr(cost, "measure", lambda *_: cost.Speed(1e11, 1e11))
    monkeypatch.setattr(experiment, "run", fake_run)
    usual = (f"--data_dir={store}", "--weights=random", "--seeds=2", "--epochs=2", "--small_ok", f"--out={out}")
    return functools.partial(call, program, *usual)
