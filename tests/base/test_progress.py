"""How far long work has come: rates and times left by hand, lines of the log, displays."""

import contextlib
import threading

import pytest

from cxrjax.base import progress


@pytest.fixture
def now(monkeypatch):
    """A clock by hand."""
    clock = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    return clock


def test_time_left_by_hand(now):
    """10 of 100 were done when compilation was over; 30 more took 60 s, so 60 take 120 s, of which 5 are behind."""
    bar = progress.Stage("trunk", 100, "images")
    now[0] = 15.0
    bar.advance(10)
    assert bar.rate is None and bar.seconds_left is None
    now[0] = 75.0
    bar.advance(30, loss=0.41234, epoch="3 of 12")
    assert (bar.rate, bar.seconds_left) == (0.5, 120.0)
    assert bar.line() == "trunk: 40 of 100 images (40 %), 0.5 images/s, 2 min left, loss 0.412, epoch 3 of 12"
    now[0] = 80.0
    assert bar.seconds_left == 115.0
    assert bar.last_line() == "trunk: 40 of 100 images in 80 s, loss 0.412, epoch 3 of 12"


def test_what_was_done_before_counts_for_no_rate(now):
    """Seed 0 was trained by an interrupted attempt; then, after 8 s of compilation, 2 epochs take 4 s; seed 2, too."""
    bar = progress.Stage("training", 30, "epochs")
    bar.skip(10)
    now[0] = 8.0
    bar.advance(1)
    for now[0] in (10.0, 12.0):
        bar.advance(1)
    assert (bar.done, bar.rate, bar.seconds_left) == (13, 0.5, 34.0)
    bar.skip(10)
    assert (bar.done, bar.rate, bar.seconds_left) == (23, 0.5, 14.0)


def test_what_has_a_stage_of_its_own_takes_no_time_of_this_one(now):
    """A bank takes 100 s; then an epoch takes 3 s, and the next one of another group, after 50 s of its bank, too."""
    bar = progress.Stage("training", 10, "epochs")
    with bar.aside():
        now[0] = 100.0
    now[0] = 103.0
    bar.advance(1)
    with bar.aside():
        now[0] = 153.0
    now[0] = 156.0
    bar.advance(1)
    assert (bar.rate, bar.seconds_left) == (1 / 3, 24.0)
    assert bar.last_line() == "training: 2 of 10 epochs in 6 s"


@pytest.mark.parametrize(("total", "line"), [(3 << 20, "2 of 3 MiB (67 %)"), (0, "2 MiB")])
def test_bytes_are_told_in_mebibytes_and_a_total_may_be_unknown(now, total, line):
    bar = progress.Stage("download", total, "bytes")
    bar.advance(1 << 20)
    now[0] = 0.05
    bar.advance(1 << 20)
    assert bar.line() == f"download: {line}, 20 MiB/s" + ", 0 s left" * bool(total)


def test_without_a_display_a_line_every_half_minute_and_one_at_the_end(now, caplog):
    caplog.set_level("INFO", "cxrjax")
    with progress.stage("trunk", 100, "images") as bar:
        for second in range(100):
            now[0] = float(second)
            bar.advance(1)
    assert [message[:30] for message in caplog.messages] == [
        "trunk: 31 of 100 images (31 %)", "trunk: 61 of 100 images (61 %)", "trunk: 91 of 100 images (91 %)",
        "trunk: 100 of 100 images in 99",
    ]  # fmt: skip


def test_a_line_comes_also_while_nothing_advances(monkeypatch, caplog):
    caplog.set_level("INFO", "cxrjax")
    monkeypatch.setattr(progress, "LOG_SECONDS", 0.01)
    logged, log = threading.Event(), progress.log.info
    monkeypatch.setattr(progress.log, "info", lambda *line: (log(*line), logged.set()))
    with progress.stage("trunk", 100, "images"):
        assert logged.wait(60)
    assert caplog.messages[0] == "trunk: 0 of 100 images (0 %)"
    assert not [thread for thread in threading.enumerate() if thread.name.endswith("(watch)")]


def test_work_that_fails_has_no_last_line(caplog):
    caplog.set_level("INFO", "cxrjax")
    with pytest.raises(KeyError), progress.stage("trunk", 1, "images"):
        raise KeyError
    assert caplog.messages == []


def test_a_display_stands_in_for_the_log_while_it_is_installed(caplog):
    caplog.set_level("INFO", "cxrjax")
    seen = []

    @contextlib.contextmanager
    def display(stage):
        seen.append(f"{stage.name} begins")
        yield lambda: seen.append(stage.done)
        seen.append("ends")

    with progress.shown_by(display), progress.stage("a", 2, "images") as bar:
        bar.advance(2)
    with progress.stage("b", 1, "images"):
        pass
    assert seen == ["a begins", 2, "ends"] and len(caplog.messages) == 1


@pytest.mark.parametrize(
    ("seconds", "told"), [(0.4, "0 s"), (99.4, "99 s"), (101, "2 min"), (3570, "1 h 00 min"), (5400, "1 h 30 min")]
)
def test_durations(seconds, told):
    assert progress.duration(seconds) == told
