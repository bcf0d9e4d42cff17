"""Programs called in this process, as `cxrjax PROGRAM --flag=value` calls them."""

from experiments import __main__ as command


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
