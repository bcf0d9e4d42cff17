"""What a program shows while it works: live bars on a terminal (a real pseudo-terminal), plain lines elsewhere."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time

import pytest

from cxrjax.base.config import ExperimentConfig
from experiments import _cli
from tests.conftest import ROOT

PROGRAM = """
import logging, sys, time
from experiments import _cli, _display
from cxrjax.base import progress
log = logging.getLogger("cxrjax.test")
with _cli.one_line_for_mistakes("; the same command continues"):
    _display.show(quiet={quiet})
    log.info("begun")
    with progress.stage("trunk", 8, "images") as bar:
        for done in range(8):
            time.sleep(0.1)
            bar.advance(1, loss=1 / (done + 2))
            if done == 3:
                log.warning("half of it [bold]")
                print("on standard output", flush=True)
    {then}
    print("result")
"""
ESCAPE = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")
COLOUR = re.compile(r"\x1b\[[0-9;]*3[0-9][0-9;]*m")
HIDE, SHOW = "\x1b[?25l", "\x1b[?25h"


def environment(**variables):
    kept = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR", "COLUMNS")}
    return kept | {"PYTHONPATH": str(ROOT), "TERM": "xterm-256color"} | variables


def command(quiet=False, then="pass"):
    return [sys.executable, "-c", PROGRAM.format(quiet=quiet, then=then)]


class Terminal:
    """A program whose standard error (and output, unless it is piped) is a terminal of so many columns."""

    def __init__(self, words, columns=100, output=None, **variables):
        self._main, of_program = pty.openpty()
        fcntl.ioctl(of_program, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        self.process = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=output or of_program,
            stderr=of_program,
            env=environment(**variables),
        )
        os.close(of_program)
        self.shown = ""

    def read(self, until=None):
        """All that is shown until a text, or to the end."""
        end = time.monotonic() + 60
        while until is None or until not in self.shown:
            assert time.monotonic() < end, self.shown
            if not select.select([self._main], [], [], 1)[0]:
                continue
            try:
                self.shown += os.read(self._main, 4096).decode()
            except OSError:  # EIO: the program has ended
                break
        return self.shown

    def close(self):
        self.read()
        os.close(self._main)
        return self.process.wait(timeout=60)


def test_a_terminal_gets_a_live_bar():
    terminal = Terminal(command())
    assert terminal.close() == 0
    shown = terminal.shown
    shares = [int(share) for share in re.findall(r"(\d+)%", ESCAPE.sub("", shown))]
    assert shares == sorted(shares) and shares[-1] == 100 and len(set(shares)) > 2  # drawn again and again
    assert "images/s" in shown and "s left, loss 0." in ESCAPE.sub("", shown)
    assert COLOUR.search(shown) and "\x1b[2K" in shown  # in place
    assert shown.count(HIDE) == shown.count(SHOW) == 1 and shown.index(HIDE) < shown.index(SHOW)
    assert "half of it [bold]\r\n" in shown and shown.endswith("result\r\n")


def test_no_color_leaves_the_bar_without_colours():
    terminal = Terminal(command(), NO_COLOR="1")
    assert terminal.close() == 0
    assert "100%" in terminal.shown and not COLOUR.search(terminal.shown)


@pytest.mark.parametrize("columns", [20, 40])
def test_a_narrow_terminal_does_not_scroll(columns):
    """Each drawing is one line: what does not fit is cut."""
    terminal = Terminal(command(), columns=columns)
    assert terminal.close() == 0
    drawn = re.split(r"\r(?:\x1b\[2K)?|\n", terminal.shown)
    assert max(len(ESCAPE.sub("", line)) for line in drawn if "trunk" in line) <= columns


@pytest.mark.parametrize("variables", [{}, {"FORCE_COLOR": "1"}])
def test_elsewhere_are_plain_lines(variables):
    done = subprocess.run(command(), env=environment(**variables), capture_output=True, text=True, check=True)
    assert "\x1b" not in done.stderr + done.stdout and done.stdout == "on standard output\nresult\n"
    plain = [line.partition(" ")[2] for line in done.stderr.splitlines()]
    assert plain[:2] == ["begun", "half of it [bold]"] and plain[2].startswith("trunk: 8 of 8 images in ")


def test_a_dumb_terminal_gets_plain_lines():
    terminal = Terminal(command(), TERM="dumb")
    assert terminal.close() == 0
    assert "\x1b" not in terminal.shown and "trunk: 8 of 8 images in " in terminal.shown


def test_output_to_a_file_stays_out_of_the_bars():
    reading, writing = os.pipe()
    terminal = Terminal(command(), output=writing)
    os.close(writing)
    assert terminal.close() == 0
    with os.fdopen(reading) as output:
        assert output.read() == "on standard output\nresult\n"
    assert "on standard output" not in terminal.shown


def test_quiet_shows_the_result_alone():
    terminal = Terminal(command(quiet=True))
    assert terminal.close() == 0
    assert terminal.shown == "on standard output\r\nresult\r\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_bar_leaves_a_clean_terminal(number):
    then = "\n    with progress.stage('waiting', 3, 'images') as bar: bar.advance(1); time.sleep(60)"
    terminal = Terminal(command(then=then))
    terminal.read(until="waiting")
    terminal.process.send_signal(number)
    assert terminal.close() == 128 + number
    assert terminal.shown.count(HIDE) == terminal.shown.count(SHOW) == 2
    end = terminal.shown[terminal.shown.rindex(SHOW) - 2 :]
    assert ESCAPE.sub("", end) == "\r\ninterrupted; the same command continues\r\n"  # on a line of its own


def test_a_second_signal_shows_the_cursor_again():
    stubborn = "\n    with progress.stage('b', 1, 'images'):\n        try: print('ready', flush=True); time.sleep(60)"
    stubborn += "\n        finally: print('cleaning', flush=True); time.sleep(60)"
    terminal = Terminal(command(then=stubborn))
    for text in ("ready", "cleaning"):
        terminal.read(until=text)
        terminal.process.send_signal(signal.SIGINT)
    assert terminal.close() == 128 + signal.SIGINT
    assert terminal.shown.rindex(SHOW) > terminal.shown.rindex(HIDE)


def test_an_error_is_told_below_the_bars_whoever_still_holds_one():
    """A generator that is not closed keeps its stage open."""
    then = "\n    def work():\n        with progress.stage('b', 2, 'images') as bar: yield bar"
    then += "\n    held = work(); next(held)\n    raise _cli.InputError('--seeds must be more')"
    terminal = Terminal(command(then=then))
    assert terminal.close() == 2
    assert terminal.shown.count(HIDE) == terminal.shown.count(SHOW) and terminal.shown.endswith(
        "error: --seeds must be more\r\n"
    )


def test_stages_inside_others_leave_one_line():
    then = "\n    with progress.stage('outer', 2, 'rows') as rows:"
    then += "\n        with progress.stage('inner', 1, 'images') as bar:"
    then += "\n            bar.advance(1); time.sleep(0.6)\n        rows.advance(2)"
    terminal = Terminal(command(then=then))
    assert terminal.close() == 0
    assert "inner" in terminal.shown
    last = ESCAPE.sub("", terminal.shown[terminal.shown.rindex("outer") :])
    assert "100%" in last and "inner" not in last


def test_the_log_is_as_it_was_when_a_program_has_ended(caplog, capsys):
    """Programs that are called by tests or notebooks leave no handler behind."""
    import logging

    logger = logging.getLogger("cxrjax")
    before = (list(logger.handlers), logger.level, logger.propagate)
    with pytest.raises(SystemExit):
        _cli.main(ExperimentConfig("p_vs_nf", "p_vs_nf"), "", ["--no_such_flag"])
    with _cli.one_line_for_mistakes():
        _cli._display.show(quiet=False)
        logger.info("seen")
        assert logger.handlers != before[0]
    assert (logger.handlers, logger.level, logger.propagate) == before
    assert "seen" in capsys.readouterr().err


TABLE = """
from cxrjax.report.terminal import Table
rows = (("this network", "83.1 ± 3.0", "+0.31 (+0.20 to +0.42)"), ("poster [2018]", "83 ± 7", ""))
_display.result(Table("P vs NF, 10 seeds", ("validation", "accuracy %", "network minus it"), rows, ("a note",)))
"""
ROWS = ["this network   83.1 ± 3.0  +0.31 (+0.20 to +0.42)", "poster [2018]      83 ± 7"]


def table_program():
    return [sys.executable, "-c", "from experiments import _display, _terminal\n_terminal.prepare()" + TABLE]


@pytest.mark.parametrize("variables", [{}, {"FORCE_COLOR": "1"}, {"COLUMNS": "20"}])
def test_a_table_elsewhere_is_plain_text_of_any_width(variables):
    done = subprocess.run(table_program(), env=environment(**variables), capture_output=True, check=True)
    lines = done.stdout.decode().splitlines()
    assert [line.strip() for line in lines[4:6]] == ROWS and "\x1b" not in done.stdout.decode()
    assert (lines[0], lines[-1]) == ("P vs NF, 10 seeds", "a note")


def test_a_table_on_a_terminal_is_as_wide_as_that():
    terminal = Terminal(table_program(), columns=50)
    assert terminal.close() == 0
    shown = ESCAPE.sub("", terminal.shown)
    assert "\x1b[" in terminal.shown and max(map(len, shown.split("\r\n"))) <= 50 and "poster [2018]" in shown


def test_a_table_survives_an_output_that_knows_ascii_alone():
    done = subprocess.run(table_program(), env=environment(PYTHONIOENCODING="ascii"), capture_output=True, check=True)
    assert b"83.1 +- 3.0" in done.stdout
