"""What a program owes its terminal: characters that it can show, pipes that close, signals that ask it to stop."""

from __future__ import annotations

import codecs
import contextlib
import os
import signal
import sys
import threading
import unicodedata
from collections.abc import Collection, Iterator
from types import FrameType
from typing import NoReturn, TextIO

_PLAIN = {"±": "+-", "–": "-", "—": "-", "×": "x", "≤": "<=", "≥": ">=", "…": "...", "“": '"', "”": '"', "’": "'"}
_CURSOR = b"\x1b[?25h\n"  # shown again below the bars, which hide it
_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_PATIENCE = 0.5  # seconds until it is said that a signal waits for a call
_END = 0  # no signal has this number


class Stopped(KeyboardInterrupt):
    """A signal asked the program to stop; `args[0]` is its number."""


def _plain(error: UnicodeError) -> tuple[str, int]:
    """What the output cannot encode, in ASCII: ± as +-, é as e, all else escaped."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(_ascii, error.object[error.start : error.end])), error.end


def _ascii(character: str) -> str:
    base = unicodedata.normalize("NFD", character)[:1]  # a letter without its accent
    return _PLAIN.get(character) or (base if base.isascii() else character.encode("ascii", "backslashreplace").decode())


codecs.register_error("cxrjax.plain", _plain)


def prepare() -> None:
    """Makes standard output and error take every text, also where they are closed or know few characters."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number, which no other file must get
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115 - as long as the process
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a notebook's has not
            stream.reconfigure(errors="cxrjax.plain")


def show(text: str, stream: TextIO | None = None, end: str = "\n") -> None:
    """Prints a line about work that is done; that nobody can read it is no failure.

    Args:
      text: one line or more.
      stream: None: standard output.
      end: what follows the text.
    """
    stream = stream or sys.stdout
    try:
        print(text, file=stream, end=end, flush=True)
    except OSError:  # a closed pipe, a full disk
        silence(stream)


def silence(stream: TextIO) -> None:
    """What the stream still holds, and whatever comes, goes nowhere: Python would fail at the end to write it."""
    with contextlib.suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)


def end() -> None:
    """Writes what the streams hold; what cannot be written any more is given up."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            silence(stream)


@contextlib.contextmanager
def signals() -> Iterator[None]:
    """In the body the first of Ctrl-C, SIGTERM and SIGHUP raises `Stopped`, the second ends the process at once.

    Python raises when the call under way returns, which may take a minute; a thread says so meanwhile.
    A signal that is ignored (`nohup`) or handled already stays so, and so do all in a thread.
    """
    stopped = threading.Event()

    def stop(number: int, frame: FrameType | None) -> None:
        if stopped.is_set():
            _exit(number)
        stopped.set()
        raise Stopped(number)

    usual = (signal.SIG_DFL, signal.default_int_handler)
    handlers = {}
    if threading.current_thread() is threading.main_thread():
        handlers = {number: signal.getsignal(number) for number in _STOPPING if signal.getsignal(number) in usual}
    for number in handlers:
        signal.signal(number, stop)
    try:
        with _watched(handlers, stopped) if handlers else contextlib.nullcontext():
            yield
    finally:
        for number, handler in handlers.items():
            signal.signal(
                number, signal.SIG_DFL if stopped.is_set() else handler
            )  # Ctrl-C at Python's own end says nothing


@contextlib.contextmanager
def _watched(numbers: Collection[int], stopped: threading.Event) -> Iterator[None]:
    """In the body a thread sees signals as they come: it says what the first waits for; the second ends the process.

    Args:
      numbers: of the signals.
      stopped: set when Python has seen the first.
    """
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)

    def watch() -> None:
        seen = 0
        while (number := os.read(reading, 1)[0]) != _END:
            if number in numbers and (seen := seen + 1) > 1:
                _exit(number)
            elif number in numbers and not stopped.wait(_PATIENCE):
                show("stopping when the call under way has returned; Ctrl-C once more stops at once", sys.stderr)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        os.write(writing, bytes([_END]))
        watcher.join()
        os.close(reading)
        os.close(writing)


def _exit(number: int) -> NoReturn:
    """Ends the process at once, the terminal's cursor shown."""
    if os.isatty(2):
        os.write(2, _CURSOR)
    os._exit(128 + number)
