"""A program and its terminal: what the output cannot show, pipes that close, signals; real processes."""

import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from tests.conftest import ROOT

PROGRAM = """
import sys, time
from experiments import _cli, _display, _terminal
with _cli.one_line_for_mistakes("; the same command continues"):
    {body}
"""
ASCII = [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}]
MANY = "print('x\\n' * 200_000)"


def command(body):
    return [sys.executable, "-c", PROGRAM.format(body=body)]


def run(body, **options):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **options.pop("env", {})}
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
    return subprocess.run(command(body), env=environment, check=False, timeout=60, **options)


@pytest.mark.parametrize("environment", ASCII)
@pytest.mark.parametrize("write", ["print({})", "_terminal.show({})", "sys.stderr.write({})"])
def test_output_that_knows_ascii_alone_shows_what_it_can(environment, write):
    done = run(write.format(ascii("83 ± 7 %, Neumonía, 0…29, ½, \udcff 肺 ")), env=environment)
    assert done.returncode == 0
    shown = (done.stdout + done.stderr).decode()
    assert shown.strip() == r"83 +- 7 %, Neumonia, 0...29, \xbd, \udcff \u80ba"


def test_output_that_knows_more_shows_more():
    text = ascii("± – é")
    assert run(f"print({text})", env={"PYTHONIOENCODING": "utf-8"}).stdout.decode().strip() == "± – é"
    assert run(f"print({text})", env={"PYTHONIOENCODING": "latin-1"}).stdout.decode("latin-1").strip() == "± - é"


@pytest.mark.parametrize(("body", "status"), [(MANY, 141), (MANY.replace("print", "_terminal.show"), 0)])
def test_a_pipe_that_closes_is_quiet(body, status):
    """`predict | head -1`: what was to be read is lost; what tells of work that is done is not missed."""
    reading, writing = os.pipe()
    os.close(reading)
    done = run(body, stdout=writing)
    os.close(writing)
    assert done.returncode == status and done.stderr == b""


def test_a_pipe_of_messages_that_closes_stops_nothing():
    reading, writing = os.pipe()
    os.close(reading)
    body = (
        "_display.show(quiet=False); import logging; logging.getLogger('cxrjax').info('x'); print('y', file=sys.stdout)"
    )
    done = run(body, stderr=writing)
    os.close(writing)
    assert done.returncode == 0 and done.stdout == b"y\n"


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams(closed, tmp_path):
    """No file that is opened later gets their numbers."""
    body = (
        "import os; f = open('x', 'w'); print('out'); print('err', file=sys.stderr); "
        "os.write(1, b'C'); os.write(2, b'C'); f.close(); raise SystemExit(f.name != 'x')"
    )
    shell = f'exec "$@" {closed}'
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        ["bash", "-c", shell, "bash", *command(body)], cwd=tmp_path, env=environment, capture_output=True, check=False
    )
    assert done.returncode == 0
    assert (tmp_path / "x").read_bytes() == b""
    assert done.stderr == (b"" if "2>" in closed else b"err\nC")


def test_a_full_disk_behind_the_output_is_one_line():
    with pathlib.Path("/dev/full").open("wb") as full:
        done = run("print('x')", stdout=full)
        assert done.returncode == 2 and done.stderr.startswith(b"error: no room left") and done.stderr.count(b"\n") == 1
        assert run("_terminal.show('x')", stdout=full).returncode == 0
        assert run("print('x', file=sys.stderr)", stderr=full).returncode != 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_are_one_line(number):
    process = started("print('ready', flush=True); time.sleep(60)")
    process.send_signal(number)
    _, error = process.communicate(timeout=60)
    assert (process.returncode, error) == (128 + number, b"interrupted; the same command continues\n")


def test_a_second_signal_ends_at_once():
    process = started(
        "\n    try:\n        print('ready', flush=True); time.sleep(60)"
        "\n    finally:\n        print('cleaning', flush=True); time.sleep(60)"
    )
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == b"cleaning\n"
    process.send_signal(signal.SIGTERM)
    _, error = process.communicate(timeout=60)
    assert (process.returncode, error) == (128 + signal.SIGTERM, b"")


def test_a_signal_that_waits_for_a_call_is_told_of_and_a_second_ends_that_call():
    """A call that lasts and sees no signal, as a compiled program does."""
    with started(
        "import hashlib; print('ready', flush=True); hashlib.pbkdf2_hmac('md5', b'', b'', 2**31 - 1)"
    ) as process:
        try:
            process.send_signal(signal.SIGINT)
            told = process.stderr.readline()
            process.send_signal(signal.SIGINT)
            assert (process.wait(timeout=60), process.stderr.read()) == (128 + signal.SIGINT, b"")
        finally:
            process.kill()
    assert told == b"stopping when the call under way has returned; Ctrl-C once more stops at once\n"


def test_a_signal_that_is_ignored_stays_so():
    """`nohup`, and jobs in the background of a shell."""
    process = started("print('ready', flush=True); time.sleep(0.5)", ["bash", "-c", 'trap "" HUP; exec "$@"', "bash"])
    process.send_signal(signal.SIGHUP)
    _, error = process.communicate(timeout=60)
    assert (process.returncode, error) == (0, b"")


def started(body, wrapper=()):
    """A process that has said that it is ready."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen([*wrapper, *command(body)], env=environment, **pipes)
    assert process.stdout.readline() == b"ready\n"
    time.sleep(0.05)
    return process


def test_a_mistake_of_the_program_keeps_its_traceback():
    done = run("raise KeyError('a bug')")
    assert done.returncode == 1 and b"Traceback" in done.stderr
